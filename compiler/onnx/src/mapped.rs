//! Files as bytes without copying them. The one place of this crate with `unsafe`.

use bytes::Bytes;
use memmap2::Mmap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{0} does not exist")]
    Missing(String),
    #[error("{0} is a {1}, not a regular file")]
    NotAFile(String, &'static str),
    #[error("{0} cannot be read: {1}")]
    Io(String, #[source] io::Error),
}

/// Maps a regular file read-only.
pub fn map_file(path: &Path) -> Result<Bytes, FileError> {
    let name = || path.display().to_string();
    let io_error = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => FileError::Missing(name()),
        _ => FileError::Io(name(), e),
    };
    // Asked before opening as well: opening a FIFO would wait for a writer.
    let regular = |meta: &fs::Metadata| match kind(meta.file_type()) {
        None => Ok(()),
        Some(kind) => Err(FileError::NotAFile(name(), kind)),
    };
    regular(&fs::metadata(path).map_err(io_error)?)?;
    let file = File::open(path).map_err(io_error)?;
    let meta = file.metadata().map_err(io_error)?;
    regular(&meta)?;
    if meta.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the map is read-only and private to this process' view. As with every user of mapped files, someone who
    // shortens the file while it is in use can end the process (SIGBUS), but cannot make it read memory that is not the file's.
    let map = unsafe { Mmap::map(&file) }.map_err(io_error)?;
    Ok(Bytes::from_owner(map))
}

fn kind(t: fs::FileType) -> Option<&'static str> {
    if t.is_file() {
        return None;
    }
    if t.is_dir() {
        return Some("folder");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if t.is_fifo() {
            return Some("FIFO");
        }
        if t.is_socket() {
            return Some("socket");
        }
        if t.is_block_device() || t.is_char_device() {
            return Some("device");
        }
    }
    Some("special file")
}
