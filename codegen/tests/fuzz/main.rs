//! No input of YAML or of a type makes the crate panic, hang or use more than 512 MiB.
//!
//! A generator cuts, mixes, repeats and nests the pinned cases. Its seeds are fixed here, so that
//! each run tries the same inputs. The process has a memory limit, and a watchdog thread ends it
//! when one input takes a minute.
//!
//! `ROWMILL_FUZZ_SECONDS=600 cargo test -p rowmill-codegen --release --test fuzz -- --ignored`
//! continues with new seeds for ten minutes. An input that fails is in `target/tmp/fuzz.yml`; move
//! it to `tests/fuzz/inputs/`, which each run tries first.

#![allow(clippy::unwrap_used, clippy::panic)]

mod bombs;
mod mutation;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mutation::Mutator;
use nix::sys::resource::{Resource, setrlimit};
use rowmill_codegen::generate_texts;

/// The memory limit: 512 MiB, plus at most 64 MiB for the code and the stacks of the threads.
const MAX_MEMORY_BYTES: u64 = (512 + 64) << 20;

/// The time limit for one input on a slow machine, far above the slowest.
const MAX_SECONDS: u64 = 60;

/// The first seed of each short run.
const SEEDS: [u64; 4] = [1, 0x5eed, 20_240_131, u64::MAX / 3];

/// The number of inputs that a short run tries for each seed.
const SHORT: u64 = 30;

#[test]
fn no_input_panics_hangs_or_exceeds_the_memory_limit() {
    let trial = Trial::start();
    for path in files("tests/fuzz/inputs") {
        trial.run(&fs::read_to_string(path).unwrap());
    }
    for bomb in bombs::all() {
        trial.run(&bomb);
    }
    let mutator = Mutator::new(corpus());
    for seed in SEEDS {
        for input in 0..SHORT {
            trial.run(&mutator.input(seed.wrapping_add(input)));
        }
    }
}

#[test]
#[ignore = "takes ten minutes; see CONTRIBUTING.md"]
fn no_input_of_a_long_run_panics_hangs_or_exceeds_the_memory_limit() {
    let seconds = env::var("ROWMILL_FUZZ_SECONDS").map_or(600, |seconds| seconds.parse().unwrap());
    let first = env::var("ROWMILL_FUZZ_SEED").map_or(1 << 32, |seed| seed.parse().unwrap());
    let trial = Trial::start();
    let mutator = Mutator::new(corpus());
    let start = Instant::now();
    let mut seed = first;
    while start.elapsed() < Duration::from_secs(seconds) {
        trial.run(&mutator.input(seed));
        seed += 1;
    }
    println!("{} inputs, the next seed is {seed}", seed - first);
}

/// Runs inputs one after another, and keeps the current one in a file.
struct Trial {
    path: PathBuf,
    /// Counts the inputs that have completed.
    done: Arc<AtomicU64>,
}

impl Trial {
    fn start() -> Self {
        setrlimit(Resource::RLIMIT_AS, MAX_MEMORY_BYTES, MAX_MEMORY_BYTES).unwrap();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz.yml");
        let done = Arc::new(AtomicU64::new(0));
        let (watched, input) = (Arc::clone(&done), path.clone());
        thread::spawn(move || {
            loop {
                let before = watched.load(Ordering::Relaxed);
                thread::sleep(Duration::from_secs(MAX_SECONDS));
                if watched.load(Ordering::Relaxed) == before {
                    eprintln!("an input takes more than {MAX_SECONDS} seconds: {}", input.display());
                    process::exit(1);
                }
            }
        });
        Self { path, done }
    }

    fn run(&self, input: &str) {
        fs::write(&self.path, input).unwrap();
        let generated = generate_texts([("fuzz.yml", input)]);
        assert!(
            !generated.problems.errors.is_empty() || syn::parse_file(&generated.code).is_ok(),
            "the generated code is not valid Rust: {}",
            self.path.display()
        );
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns the schemas and types that the generator mixes.
fn corpus() -> Vec<String> {
    let mut corpus: Vec<String> = ["tests/cases/bad", "tests/cases/good"]
        .iter()
        .flat_map(|folder| files(folder))
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .map(|path| fs::read_to_string(path).unwrap())
        // The bombs cover large inputs.
        .filter(|text| text.len() < 4096)
        .collect();
    for path in files("src/types/testdata") {
        let text = fs::read_to_string(path).unwrap();
        corpus.extend(text.lines().map(|line| line.split('\t').next().unwrap().to_owned()));
    }
    corpus
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}
