//! Writing: the same parts always give the same bytes, weights are streamed, and what would not load is refused.

use crate::{
    FormatError, Manifest, WeightInfo, WriteError,
    container::{CODE, ENTRY, FORMAT_VERSION, HEADER, MAGIC, MANIFEST, SECTION_ALIGN, WEIGHT_ALIGN, WEIGHTS, align_up, table_checksum},
    validate::validate,
};
use alloc::{format, string::String, vec::Vec};
use core::convert::Infallible;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const ZEROS: [u8; SECTION_ALIGN as usize] = [0; SECTION_ALIGN as usize];

/// Sets the offsets from the lengths, in order; returns the length of the weights section.
pub fn place_weights(weights: &mut [WeightInfo]) -> Result<u64, FormatError> {
    let mut end = 0u64;
    for (i, w) in weights.iter_mut().enumerate() {
        let placed = align_up(end, WEIGHT_ALIGN).and_then(|start| Some((start, start.checked_add(w.len)?)));
        let too_long = || invalid(format!("weight {i}"), "the weights are longer than 2^64 bytes");
        (w.offset, end) = placed.ok_or_else(too_long)?;
    }
    Ok(end)
}

fn invalid(at: String, why: &str) -> FormatError {
    FormatError::Invalid { at, why: why.into() }
}

/// Gives the weights section to `f`, piece by piece.
fn weight_pieces<E>(manifest: &Manifest, weights: &[&[u8]], mut f: impl FnMut(&[u8]) -> Result<(), E>) -> Result<u64, WriteError<E>>
where
    E: core::fmt::Display,
{
    let mut at = 0u64;
    if manifest.weights.len() != weights.len() {
        return Err(invalid("weights".into(), "the manifest lists another number than were given").into());
    }
    for (i, (info, bytes)) in manifest.weights.iter().zip(weights).enumerate() {
        if info.len != bytes.len() as u64 {
            return Err(invalid(format!("weight {i}"), "its length is not that of its bytes").into());
        }
        let gap = info.offset.checked_sub(at).and_then(|gap| ZEROS.get(..usize::try_from(gap).ok()?));
        let gap = gap.filter(|gap| gap.len() < WEIGHT_ALIGN as usize);
        f(gap.ok_or_else(|| invalid(format!("weight {i}"), "not where `place_weights` puts it"))?).map_err(WriteError::Sink)?;
        f(bytes).map_err(WriteError::Sink)?;
        at = info.offset.saturating_add(info.len);
    }
    Ok(at)
}

/// Writes an artifact to `sink`, front to back. The weights are read twice: once for their checksum.
pub fn write<E: core::fmt::Display>(
    manifest: &Manifest,
    code: &[&[u8]],
    weights: &[&[u8]],
    mut sink: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), WriteError<E>> {
    let mut hash = Xxh3::new();
    let weights_len = weight_pieces(manifest, weights, |piece| {
        hash.update(piece);
        Ok(())
    })?;
    let code_lens: Vec<u64> = code.iter().map(|c| c.len() as u64).collect();
    validate(manifest, &code_lens, weights_len)?;
    let encoded = postcard::to_allocvec(manifest).map_err(|e| FormatError::Manifest { why: format!("not encoded: {e}") })?;

    let small: Vec<(u32, &[u8])> = core::iter::once((MANIFEST, &encoded[..])).chain(code.iter().map(|c| (CODE, *c))).collect();
    let mut head = Vec::with_capacity(HEADER + (small.len() + 1) * ENTRY);
    head.extend(MAGIC);
    head.extend(FORMAT_VERSION.to_le_bytes());
    head.resize(HEADER, 0);
    let mut end = (HEADER + (small.len() + 1) * ENTRY) as u64;
    let sections = small.iter().map(|(kind, bytes)| (*kind, bytes.len() as u64, xxh3_64(bytes)));
    for (kind, len, checksum) in sections.chain([(WEIGHTS, weights_len, hash.digest())]) {
        let too_long = || FormatError::Sections { why: "the file is longer than 2^64 bytes" };
        let offset = align_up(end, SECTION_ALIGN).ok_or_else(too_long)?;
        end = offset.checked_add(len).ok_or_else(too_long)?;
        head.extend(u64::from(kind).to_le_bytes());
        for field in [offset, len, checksum] {
            head.extend(field.to_le_bytes());
        }
    }
    let count = (small.len() + 1) as u32;
    for (at, bytes) in [(8, &end.to_le_bytes()[..]), (16, &count.to_le_bytes()[..])] {
        head.splice(at..at + bytes.len(), bytes.iter().copied());
    }
    let checksum = table_checksum(&head).to_le_bytes();
    head.splice(24..32, checksum);

    let mut at = 0u64;
    let mut emit = |bytes: &[u8], align: bool| {
        if align {
            let gap = align_up(at, SECTION_ALIGN).map_or(0, |next| next - at);
            sink(ZEROS.get(..gap as usize).unwrap_or_default())?;
            at += gap;
        }
        at += bytes.len() as u64;
        sink(bytes)
    };
    emit(&head, false).map_err(WriteError::Sink)?;
    for (_, bytes) in &small {
        emit(bytes, true).map_err(WriteError::Sink)?;
    }
    emit(&[], true).map_err(WriteError::Sink)?;
    weight_pieces(manifest, weights, |piece| emit(piece, false))?;
    Ok(())
}

/// The artifact in memory.
pub fn to_vec(manifest: &Manifest, code: &[&[u8]], weights: &[&[u8]]) -> Result<Vec<u8>, FormatError> {
    let mut out = Vec::new();
    let written = write::<Infallible>(manifest, code, weights, |bytes| {
        out.extend_from_slice(bytes);
        Ok(())
    });
    match written {
        Ok(()) => Ok(out),
        Err(WriteError::Format(e)) => Err(e),
        Err(WriteError::Sink(never)) => match never {},
    }
}
