//! Private files: what the collector writes is for its own user, since it holds people's data.
//!
//! Folders get the mode 0700 and files 0600. A file that is opened for writing is never a link, which
//! somebody else could have put there to lead the collector to another file. A folder may be a link:
//! operators put the data on another disk in this way.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
};

/// Opens a file for writing, as `options` say.
pub(crate) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        options.mode(0o600).custom_flags(no_follow);
    }
    options.open(path).map_err(|error| {
        let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        match is_link {
            true => io::Error::new(
                error.kind(),
                format!("{} is a link, which the collector does not follow", path.display()),
            ),
            false => error,
        }
    })
}

/// Creates a folder and its parents, or makes an existing folder and its files private.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)?;
    #[cfg(unix)]
    match tighten(path) {
        Ok(false) => {}
        Ok(true) => {
            tracing::info!(folder = %path.display(), "other users of this machine can no longer read the folder")
        }
        // The folder belongs to another user, who has let this one write into it.
        Err(error) => {
            tracing::warn!(folder = %path.display(), %error, "other users of this machine may read the folder")
        }
    }
    Ok(())
}

/// Takes the rights of other users from a folder and its files. Returns whether they had any to the
/// folder.
#[cfg(unix)]
fn tighten(folder: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let is_open = |metadata: &fs::Metadata| metadata.permissions().mode() & 0o077 != 0;
    if !is_open(&fs::metadata(folder)?) {
        return Ok(false);
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // The metadata of a link are those of the link itself.
        let metadata = entry.metadata()?;
        if metadata.is_file() && is_open(&metadata) {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o600))?;
        }
    }
    Ok(true)
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn new_folders_and_files_are_private() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        folder(&path).unwrap();
        assert_eq!((mode(&path), mode(&root.path().join("a"))), (0o700, 0o700));
        let file = path.join("file");
        open(OpenOptions::new().write(true).create(true), &file).unwrap();
        assert_eq!(mode(&file), 0o600);
    }

    #[test]
    fn the_folder_of_an_older_release_becomes_private() {
        let root = tempfile::tempdir().unwrap();
        let (path, outside) = (root.path().join("spool"), root.path().join("outside"));
        fs::create_dir(&path).unwrap();
        for file in [&outside, &path.join("1.spool")] {
            fs::write(file, "rows").unwrap();
            set_mode(file, 0o644);
        }
        symlink(&outside, path.join("link")).unwrap();
        set_mode(&path, 0o755);
        folder(&path).unwrap();
        assert_eq!((mode(&path), mode(&path.join("1.spool"))), (0o700, 0o600));
        assert_eq!(mode(&outside), 0o644);
        assert_eq!(fs::read(path.join("1.spool")).unwrap(), b"rows");
        // A link to the folder is as good as the folder.
        let link = root.path().join("data");
        symlink(&path, &link).unwrap();
        folder(&link).unwrap();
    }

    #[test]
    fn a_link_is_not_opened_for_writing() {
        let root = tempfile::tempdir().unwrap();
        let (target, link) = (root.path().join("target"), root.path().join("link"));
        fs::write(&target, "kept").unwrap();
        symlink(&target, &link).unwrap();
        let error = open(OpenOptions::new().write(true).truncate(true).create(true), &link).unwrap_err();
        assert!(error.to_string().contains("is a link"), "{error}");
        let dangling = root.path().join("dangling");
        symlink(root.path().join("new"), &dangling).unwrap();
        assert!(open(OpenOptions::new().append(true).create(true), &dangling).is_err());
        assert_eq!(fs::read(&target).unwrap(), b"kept");
        assert!(!root.path().join("new").exists());
    }
}
