//! Files appear whole or not at all: written beside their place under another name, then renamed.

use crate::problem::Problem;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Lets `fill` write a file that replaces `path` only when all of it is on disk.
pub fn write_file(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Problem> {
    let fail = |e: io::Error| Problem::unwritable(path, e);
    writable(path)?;
    // Devices and pipes cannot be renamed over.
    if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        let mut file = BufWriter::new(std::fs::File::create(path).map_err(fail)?);
        return fill(&mut file).and_then(|()| file.flush()).map_err(fail);
    }
    let folder = folder_of(path);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".odc-");
    #[cfg(unix)]
    {
        // As a newly created file would get; temporary files are private otherwise.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let temporary = builder.tempfile_in(folder).map_err(fail)?;
    let mut file = BufWriter::new(temporary);
    fill(&mut file).map_err(fail)?;
    let temporary = file.into_inner().map_err(|e| fail(e.into_error()))?;
    temporary.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

/// What can be said before the work is done.
pub fn writable(path: &Path) -> Result<(), Problem> {
    let folder = folder_of(path);
    if path.is_dir() {
        Err(Problem::unwritable(path, "it is a folder"))
    } else if !folder.is_dir() {
        Err(Problem::unwritable(path, format!("there is no folder {}", folder.display())))
    } else {
        Ok(())
    }
}

pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    write_file(path, |w| w.write_all(bytes))
}

/// The folder that a file lies in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

pub fn make_folder(path: &Path) -> Result<(), Problem> {
    std::fs::create_dir_all(path).map_err(|e| Problem::unwritable(path, e))
}

/// A name from a model as a file name: what paths give a meaning to becomes `_`.
pub fn file_name(name: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || "-_.+".contains(c) { c } else { '_' };
    let name: String = name.chars().take(150).map(safe).collect();
    match name.trim_start_matches('.') {
        "" => "_".into(),
        rest => rest.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.odc");
        write_bytes(&path, b"old").unwrap();
        let failed = write_file(&path, |w| {
            w.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.unwrap_err().message.contains("disk full"));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        write_bytes(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn places_that_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write_bytes(dir.path(), b"x").unwrap_err().message.contains("is a folder"));
        let none = dir.path().join("none/x.odc");
        assert!(write_bytes(&none, b"x").unwrap_err().message.contains("there is no folder"));
    }

    #[test]
    fn names_stay_in_their_folder() {
        assert_eq!(file_name("../../etc/passwd"), "_.._etc_passwd");
        assert_eq!(file_name(".."), "_");
        assert_eq!(file_name("a:b/c 1"), "a_b_c_1");
    }
}
