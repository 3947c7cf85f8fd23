//! The file around the parts: header and section table. All numbers little-endian.
//!
//! ```text
//!  0 magic "ODCA"   4 version   8 file length (u64)   16 section count (u32)   20 zero (u32)
//! 24 xxh3 of bytes 0..24 and 32..end of table          32 zeros
//! 64 one entry a section: kind (u32), zero (u32), offset (u64), length (u64), xxh3 of the content (u64)
//! ```
//! Sections follow in the order manifest, code..., weights, each at the next multiple of 4096; gaps are zero.

use crate::FormatError;
use alloc::vec::Vec;
use core::ops::Range;
use xxhash_rust::xxh3::Xxh3;

pub const MAGIC: [u8; 4] = *b"ODCA";
pub const FORMAT_VERSION: u32 = 5;
/// Sections start at multiples of a page, so that a mapped section is aligned for everything.
pub const SECTION_ALIGN: u64 = 4096;
/// The strictest offset of a binding in WebGPU; more than any vector needs.
pub const WEIGHT_ALIGN: u64 = 256;
pub const KERNEL_ALIGN: u64 = 16;
/// Far beyond any model; bounds what a hostile file can ask for.
pub const MAX_RANK: usize = 64;

pub(crate) const HEADER: usize = 64;
pub(crate) const ENTRY: usize = 32;
const MAX_SECTIONS: u32 = 1024;

pub(crate) const MANIFEST: u32 = 1;
pub(crate) const CODE: u32 = 2;
pub(crate) const WEIGHTS: u32 = 3;

#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub kind: u32,
    pub range: Range<usize>,
    pub checksum: u64,
}

/// Whether the bytes start like an artifact, of any version.
pub fn is_artifact(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

pub(crate) fn align_up(value: u64, to: u64) -> Option<u64> {
    value.checked_next_multiple_of(to)
}

pub(crate) fn section_name(kind: u32) -> &'static str {
    match kind {
        MANIFEST => "the manifest",
        CODE => "the code",
        _ => "the weights",
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// Checksum of the header and table, without the field that holds it.
pub(crate) fn table_checksum(head: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(head.get(..24).unwrap_or_default());
    hash.update(head.get(32..).unwrap_or_default());
    hash.digest()
}

/// Reads header and table; checks that the sections lie exactly where the layout rule puts them.
pub(crate) fn read_sections(bytes: &[u8]) -> Result<Vec<Section>, FormatError> {
    let have = bytes.len() as u64;
    if !is_artifact(bytes) {
        return Err(FormatError::NotAnArtifact);
    }
    let truncated = |what, need| FormatError::Truncated { what, need, have };
    let header = || truncated("the header", HEADER as u64);
    let version = u32_at(bytes, 4).ok_or_else(header)?;
    if version != FORMAT_VERSION {
        return Err(FormatError::Version { found: version, supported: FORMAT_VERSION });
    }
    let file_len = u64_at(bytes, 8).ok_or_else(header)?;
    let count = u32_at(bytes, 16).ok_or_else(header)?;
    let stored = u64_at(bytes, 24).ok_or_else(header)?;
    let wrong = |why| FormatError::Sections { why };
    if count > MAX_SECTIONS {
        return Err(wrong("more sections than a file can have"));
    }
    let table_end = HEADER + count as usize * ENTRY;
    let head = bytes.get(..table_end).ok_or_else(|| truncated("the section table", table_end as u64))?;
    let computed = table_checksum(head);
    if computed != stored {
        return Err(FormatError::Checksum { section: "the section table", stored, computed });
    }
    if file_len > have {
        return Err(truncated("the file", file_len));
    }
    if file_len < have {
        return Err(wrong("bytes after the last section"));
    }
    let mut sections = Vec::with_capacity(count as usize);
    let mut end = table_end as u64;
    for at in (HEADER..table_end).step_by(ENTRY) {
        let entry = || {
            let kind = u32_at(head, at)?;
            let offset = u64_at(head, at + 8)?;
            Some((kind, offset, u64_at(head, at + 16)?, u64_at(head, at + 24)?))
        };
        let (kind, offset, len, checksum) = entry().ok_or_else(|| wrong("an entry is cut short"))?;
        if Some(offset) != align_up(end, SECTION_ALIGN) {
            return Err(wrong("a section is not at the next page"));
        }
        let gap = bytes.get(end as usize..offset as usize).ok_or_else(|| truncated("a section", offset))?;
        if gap.iter().any(|&b| b != 0) {
            return Err(wrong("a gap between sections is not zero"));
        }
        end = offset.checked_add(len).filter(|&end| end <= have).ok_or_else(|| wrong("a section ends past the file"))?;
        sections.push(Section { kind, range: offset as usize..end as usize, checksum });
    }
    if end != file_len {
        return Err(wrong("the last section does not end the file"));
    }
    let kinds = || sections.iter().map(|s| s.kind);
    let rest = kinds().skip_while(|&k| k == MANIFEST).skip_while(|&k| k == CODE);
    if kinds().filter(|&k| k == MANIFEST).count() != 1 || !rest.eq([WEIGHTS]) {
        return Err(wrong("the sections are not: manifest, code, weights"));
    }
    Ok(sections)
}
