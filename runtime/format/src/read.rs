//! Reading: from bytes (mapped or owned) to a manifest that may be trusted.

use crate::{
    FormatError, Manifest,
    container::{CODE, MANIFEST, Section, read_sections, section_name},
    validate::validate,
};
use alloc::{format, vec::Vec};
use core::ops::Range;
use xxhash_rust::xxh3::xxh3_64;

/// Where the sections lie in the file.
#[derive(Debug, Clone)]
pub struct Layout {
    pub code: Vec<Range<usize>>,
    pub weights: Range<usize>,
    weights_checksum: u64,
}

impl Layout {
    /// Reads all weights once; [`ArtifactView::parse`] does not, since they are mapped and may be gigabytes.
    pub fn verify_weights(&self, bytes: &[u8]) -> Result<(), FormatError> {
        let weights = bytes.get(self.weights.clone()).unwrap_or_default();
        checksum("the weights", weights, self.weights_checksum)
    }
}

/// An artifact whose manifest and code are checked.
#[derive(Debug, Clone)]
pub struct ArtifactView<'a> {
    pub manifest: Manifest,
    pub layout: Layout,
    bytes: &'a [u8],
}

fn checksum(section: &'static str, bytes: &[u8], stored: u64) -> Result<(), FormatError> {
    let computed = xxh3_64(bytes);
    if computed == stored { Ok(()) } else { Err(FormatError::Checksum { section, stored, computed }) }
}

impl<'a> ArtifactView<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let sections = read_sections(bytes)?;
        let content = |s: &Section| bytes.get(s.range.clone()).unwrap_or_default();
        let no_weights = FormatError::Sections { why: "no weights section" };
        let (weights, checked) = sections.split_last().ok_or(no_weights)?;
        for s in checked {
            checksum(section_name(s.kind), content(s), s.checksum)?;
        }
        let encoded = checked.iter().find(|s| s.kind == MANIFEST).map(content).unwrap_or_default();
        let (manifest, rest) = postcard::take_from_bytes::<Manifest>(encoded).map_err(|e| FormatError::Manifest { why: format!("{e}") })?;
        if !rest.is_empty() {
            return Err(FormatError::Manifest { why: format!("{} bytes too many", rest.len()) });
        }
        let code: Vec<_> = checked.iter().filter(|s| s.kind == CODE).map(|s| s.range.clone()).collect();
        let code_lens: Vec<u64> = code.iter().map(|r| r.len() as u64).collect();
        validate(&manifest, &code_lens, weights.range.len() as u64)?;
        let layout = Layout { code, weights: weights.range.clone(), weights_checksum: weights.checksum };
        Ok(ArtifactView { manifest, layout, bytes })
    }

    pub fn code(&self, section: u32) -> &'a [u8] {
        let range = self.layout.code.get(section as usize).cloned().unwrap_or(0..0);
        self.bytes.get(range).unwrap_or_default()
    }

    pub fn weights(&self) -> &'a [u8] {
        self.bytes.get(self.layout.weights.clone()).unwrap_or_default()
    }

    /// The bytes of one weight.
    pub fn weight(&self, index: u32) -> &'a [u8] {
        let range = |info: &crate::WeightInfo| {
            let start = usize::try_from(info.offset).ok()?;
            self.weights().get(start..start.checked_add(usize::try_from(info.len).ok()?)?)
        };
        self.manifest.weights.get(index as usize).and_then(range).unwrap_or_default()
    }

    pub fn verify_weights(&self) -> Result<(), FormatError> {
        self.layout.verify_weights(self.bytes)
    }
}
