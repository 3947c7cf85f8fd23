//! Constants that are too long for text: files named by their hash in the folder `blobs` beside it.

use crate::output::{folder_of, make_folder, write_bytes};
use crate::problem::Problem;
use bytes::Bytes;
use odc_ir::core::{Const, INLINE_ELEMENTS, hex};
use std::path::{Path, PathBuf};

fn place(folder: &Path, hash: &str) -> PathBuf {
    folder.join("blobs").join(format!("{hash}.bin"))
}

/// Writes those that are not there yet.
pub fn write<'a>(folder: &Path, consts: impl Iterator<Item = &'a Const>) -> Result<(), Problem> {
    for c in consts.filter(|c| c.elements() > INLINE_ELEMENTS) {
        make_folder(&folder.join("blobs"))?;
        let path = place(folder, &hex(&c.hash()));
        if !path.exists() {
            write_bytes(&path, &c.bytes)?;
        }
    }
    Ok(())
}

/// The bytes that a text at `path` calls `hash`.
pub fn find(path: &Path, hash: &str) -> Option<Bytes> {
    // The text is not trusted to stay in its folder.
    let name = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    let bytes = name.then(|| std::fs::read(place(folder_of(path), hash)).ok())??;
    Some(bytes.into())
}
