//! `rowmill init`: writes a new crate, or a new schema file from the gallery or from a table of
//! ClickHouse.

mod new_crate;

use std::{
    error::Error,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use rowmill_codegen::{generate, import_table};
use rowmill_ingest::ClickHouseUrl;
use tokio::runtime::Runtime;

use crate::{
    cli::InitOptions,
    gallery::{EXAMPLES, Example},
};

/// The folder of the gallery, which the name of an example may begin with.
const GALLERY: &str = "gallery/";

/// Writes the crate or the schema file that the options ask for, and prints what to do next.
pub(crate) fn init(options: &InitOptions) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = &options.name {
        return new_crate::write(folder, options.embed, options.rowmill.as_deref());
    }
    match (&options.from, &options.from_table) {
        (Some(name), _) => from_gallery(name, &options.schemas),
        (None, Some(table)) => {
            let clickhouse = options.clickhouse.as_deref();
            let clickhouse = clickhouse.ok_or("`--from-table` needs `--clickhouse`")?;
            from_table(table, &options.connection.url(clickhouse)?, &options.schemas)
        }
        (None, None) => {
            print_examples(&mut io::stdout().lock())?;
            Ok(())
        }
    }
}

fn from_gallery(name: &str, schemas: &Path) -> Result<(), Box<dyn Error>> {
    let bare = name.strip_prefix(GALLERY).unwrap_or(name).trim_end_matches(".yml");
    let Some(example) = EXAMPLES.iter().find(|example| example.name == bare) else {
        print_examples(&mut io::stderr().lock())?;
        let nearest = nearest(bare).map_or_else(String::new, |nearest| format!("; did you mean `{GALLERY}{nearest}`?"));
        return Err(format!("the gallery has no `{name}`{nearest}").into());
    };
    write_new(schemas, example.name, example.schema)?;
    check(schemas)?;
    let mut out = io::stdout().lock();
    writeln!(out, "After the next build, send the example event:\n")?;
    writeln!(out, "  {}", request(example)?)?;
    Ok(())
}

/// Returns a command that sends the example's event.
fn request(example: &Example) -> Result<String, Box<dyn Error>> {
    let event = example.event_of_yesterday()?.to_string().replace('\'', "'\\''");
    let path = example.path().unwrap_or_default();
    Ok(format!("curl http://127.0.0.1:8080/{path} --data-binary '{event}'"))
}

/// Returns the example whose name is most similar, if one is similar at all.
fn nearest(name: &str) -> Option<&'static str> {
    const SIMILAR: f64 = 0.6;
    let mut names: Vec<(f64, &str)> = EXAMPLES
        .iter()
        .map(|example| (similarity(name, example.name), example.name))
        .collect();
    names.sort_by(|left, right| right.0.total_cmp(&left.0));
    names
        .first()
        .filter(|(similarity, _)| *similarity > SIMILAR)
        .map(|(_, name)| *name)
}

/// Returns how similar a name is to an example's, or to a word of it, from 0 to 1.
fn similarity(name: &str, example: &str) -> f64 {
    let name = name.replace('-', "_").to_lowercase();
    example
        .split('_')
        .chain([example])
        .map(|part| strsim::jaro_winkler(&name, part))
        .fold(0.0, f64::max)
}

fn print_examples(out: &mut impl Write) -> io::Result<()> {
    let width = EXAMPLES
        .iter()
        .map(|example| example.name.len())
        .max()
        .unwrap_or_default();
    writeln!(out, "rowmill init --from …")?;
    for example in EXAMPLES {
        writeln!(out, "  {GALLERY}{:width$}  {}", example.name, example.summary())?;
    }
    Ok(())
}

/// Writes the schema of a table that ClickHouse has already.
fn from_table(table: &str, store: &ClickHouseUrl, schemas: &Path) -> Result<(), Box<dyn Error>> {
    let (database, name) = table.split_once('.').unwrap_or((store.database(), table));
    let quoted = |name: &str| format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"));
    let show = format!("SHOW CREATE TABLE {}.{}", quoted(database), quoted(name));
    // The whole statement is data: a `?` in it is no parameter.
    let show = show.replace('?', "??");
    let statement: String = Runtime::new()?.block_on(store.client().query(&show).fetch_one())?;
    let imported = import_table(&statement)
        .ok_or_else(|| format!("`{table}` is not a table with columns of its own, but:\n{statement}"))?;
    let file: String = imported
        .name
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    write_new(schemas, file.trim_start_matches('.'), &imported.yaml)?;
    let mut stderr = io::stderr().lock();
    for element in &imported.untranslated {
        writeln!(stderr, "warning: a schema cannot express this: {element}")?;
    }
    drop(stderr);
    check(schemas)
}

/// Writes a schema file that does not exist yet.
fn write_new(schemas: &Path, name: &str, text: &str) -> Result<PathBuf, Box<dyn Error>> {
    let path = schemas.join(format!("{name}.yml"));
    fs::create_dir_all(schemas).map_err(|error| format!("cannot create `{}`: {error}", schemas.display()))?;
    let created = File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
    match created {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(format!("`{}` exists already", path.display()).into());
        }
        Err(error) => return Err(format!("cannot write `{}`: {error}", path.display()).into()),
    }
    writeln!(io::stdout(), "wrote {}", path.display())?;
    Ok(path)
}

/// Reports the problems of the schema with its new file.
fn check(schemas: &Path) -> Result<(), Box<dyn Error>> {
    let problems = generate(schemas).problems;
    let mut stderr = io::stderr().lock();
    for problem in problems.errors.iter().chain(&problems.warnings) {
        writeln!(stderr, "{}\n", problem.text)?;
    }
    match problems.errors.len() {
        0 => Ok(()),
        _ => Err("the schema has errors with the new file".into()),
    }
}
