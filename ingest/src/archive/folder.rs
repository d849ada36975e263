//! An archive in a folder: private files in private folders. A folder that exists keeps its mode.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
};

use crate::private;

/// The end of the name of a file that is not whole yet.
const PART: &str = ".part";

/// Creates a folder and its parents, as far as they do not exist, with the mode 0700.
pub(super) fn create(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)
}

/// Writes the file `name` below a folder with the mode 0600. The file has its name once its bytes are
/// on disk.
pub(super) fn put(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = folder.join(name);
    create(path.parent().unwrap_or(folder))?;
    let mut part = path.clone().into_os_string();
    part.push(PART);
    // A file that an upload has left could have another mode.
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private::open(OpenOptions::new().write(true).create_new(true), Path::new(&part))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, &path)?;
    #[cfg(unix)]
    for parent in path.ancestors().skip(1) {
        fs::File::open(parent)?.sync_all()?;
        if parent == folder {
            break;
        }
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_and_new_folders_are_private_and_an_existing_folder_keeps_its_mode() {
        let root = tempfile::tempdir().unwrap();
        let archive = root.path().join("archive");
        fs::create_dir(&archive).unwrap();
        fs::write(archive.join("other"), "other").unwrap();
        let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set_mode(&archive, 0o775);
        set_mode(&archive.join("other"), 0o644);
        create(&archive).unwrap();
        for text in ["first", "second"] {
            // As an interrupted upload leaves it.
            create(&archive.join("table/day")).unwrap();
            fs::write(archive.join("table/day/file.part"), "torn").unwrap();
            set_mode(&archive.join("table/day/file.part"), 0o644);
            put(&archive, "table/day/file", text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(archive.join("table/day/file")).unwrap(), text);
        }
        let mode = |name: &str| fs::metadata(archive.join(name)).unwrap().permissions().mode() & 0o777;
        let modes = ["", "other", "table", "table/day", "table/day/file"].map(mode);
        assert_eq!(modes, [0o775, 0o644, 0o700, 0o700, 0o600]);
        assert!(!archive.join("table/day/file.part").exists());
    }
}
