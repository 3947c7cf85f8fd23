//! Where packed weights wait until the artifact is written. The first are held in memory; of a large model the others lie in files
//! that nobody else sees, mapped as the model itself is: the system may drop their pages, so that a model which is larger than
//! memory still compiles.

use bytes::Bytes;
use odc_onnx::map_file;
use std::cell::Cell;
use std::io::Write;

/// Bytes that are held in memory before anything is written to a file, and what is too small for a file of its own.
const HELD: usize = 256 << 20;
const SMALL: usize = 64 << 10;

pub struct Spill {
    held: Cell<usize>,
    room: usize,
}

impl Default for Spill {
    fn default() -> Self {
        Spill { held: Cell::new(0), room: HELD }
    }
}

impl Spill {
    /// The same bytes, in memory or not. Where no file can be made, they stay in memory.
    pub fn keep(&self, bytes: Vec<u8>) -> Bytes {
        let all = self.held.get().saturating_add(bytes.len());
        if all > self.room
            && bytes.len() >= SMALL
            && let Some(mapped) = in_file(&bytes)
        {
            return mapped;
        }
        self.held.set(all);
        bytes.into()
    }
}

/// The file is gone with its last map: its name is taken back at once.
fn in_file(bytes: &[u8]) -> Option<Bytes> {
    let mut file = tempfile::NamedTempFile::new().ok()?;
    file.write_all(bytes).ok()?;
    map_file(file.path()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_the_same_elsewhere() {
        let spill = Spill { room: 3 * SMALL, ..Spill::default() };
        let weights = |n: usize| (0..n).map(|k| (k * 7 + n) as u8).collect::<Vec<u8>>();
        // Room for two; the small one is held in any case.
        let sizes = [SMALL, 2 * SMALL, SMALL + 1, 10, 3 * SMALL];
        let kept: Vec<Bytes> = sizes.iter().map(|n| spill.keep(weights(*n))).collect();
        sizes.iter().zip(&kept).for_each(|(n, b)| assert_eq!(b[..], weights(*n)[..]));
        assert_eq!(spill.held.get(), 3 * SMALL + 10);
    }
}
