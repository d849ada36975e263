//! The secret of the hashes: without it, a client could choose keys whose hashes are equal.

use std::{
    fs::{self, File},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::block::row_key::KeyHash;

/// The name of the secret's file.
const FILE: &str = "secret";

/// The secret, which the first hash creates.
#[derive(Debug)]
pub(super) struct Secret {
    hasher: OnceLock<SipHasher13>,
    /// The folder for the secret; `None` if it need not outlive the process.
    folder: Option<PathBuf>,
    /// Held by the thread that creates the secret.
    creation: Mutex<()>,
}

impl Secret {
    /// Returns a new secret for this process alone.
    pub(super) fn in_memory() -> Self {
        Self {
            hasher: OnceLock::new(),
            folder: None,
            creation: Mutex::new(()),
        }
    }

    /// Reads the secret in `folder`, if there is one.
    ///
    /// # Errors
    /// The file system's, or `InvalidData` if the file is no secret.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let secret = Self {
            folder: Some(folder.to_owned()),
            ..Self::in_memory()
        };
        match fs::read(folder.join(FILE)) {
            Ok(bytes) => {
                let bytes: [u8; 16] = bytes.try_into().map_err(|_| {
                    let path = folder.join(FILE);
                    let text = format!("{} is damaged: remove its folder, and the keys with it", path.display());
                    io::Error::new(io::ErrorKind::InvalidData, text)
                })?;
                _ = secret.hasher.set(SipHasher13::new_with_key(&bytes));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(secret)
    }

    /// Returns the hash of `parts`, each apart from the others.
    ///
    /// # Errors
    /// The file system's, of a secret that is to be created.
    pub(super) fn hash(&self, parts: &[&[u8]]) -> io::Result<KeyHash> {
        let mut hasher = match self.hasher.get() {
            Some(hasher) => *hasher,
            None => self.create()?,
        };
        for part in parts {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        Ok(KeyHash(hasher.finish128().as_u128()))
    }

    #[cold]
    fn create(&self) -> io::Result<SipHasher13> {
        let _creation = self.creation.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hasher) = self.hasher.get() {
            return Ok(*hasher);
        }
        // The keys of a `RandomState` come from the operating system.
        let half = || RandomState::new().build_hasher().finish().to_le_bytes();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&half());
        bytes[8..].copy_from_slice(&half());
        if let Some(folder) = &self.folder {
            write(folder, &bytes)?;
        }
        let hasher = SipHasher13::new_with_key(&bytes);
        Ok(*self.hasher.get_or_init(|| hasher))
    }
}

/// Writes the secret, and returns once it survives a loss of power.
fn write(folder: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let unfinished = folder.join("secret.new");
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(unfinished, folder.join(FILE))?;
    File::open(folder)?.sync_all()?;
    if let Some(parent) = folder.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}
