//! Weights, once each however many programs read them, and the digests by which a page checks what it downloads.

use crate::problem::Problem;
use bytes::Bytes;
use odc_format::{Digests, WeightInfo, place_weights};
use odc_ir::core::ConstId;
use odc_ir::program::Program;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Pieces in which a page downloads the weights.
const CHUNK: usize = 1 << 20;

/// Distinct constants in order of first use.
#[derive(Default)]
pub struct Weights {
    known: BTreeMap<[u8; 32], u32>,
    pub list: Vec<([u8; 32], Bytes)>,
    /// For each program, its constants' places in the list.
    of: Vec<Vec<u32>>,
}

impl Weights {
    pub fn add(&mut self, program: &Program) {
        let mut index = vec![];
        for c in &program.consts {
            let hash = c.hash();
            index.push(*self.known.entry(hash).or_insert_with(|| {
                self.list.push((hash, c.bytes.clone()));
                self.list.len() as u32 - 1
            }));
        }
        self.of.push(index);
    }

    /// The place of a constant of the n-th program.
    pub fn index(&self, program: usize, id: ConstId) -> Option<u32> {
        self.of.get(program)?.get(id.0 as usize).copied()
    }

    pub fn infos(&self) -> Result<Vec<WeightInfo>, Problem> {
        let info = |(hash, bytes): &([u8; 32], Bytes)| WeightInfo { hash: *hash, offset: 0, len: bytes.len() as u64 };
        let mut infos: Vec<WeightInfo> = self.list.iter().map(info).collect();
        place_weights(&mut infos).map_err(|e| Problem::new(e.code(), e))?;
        Ok(infos)
    }

    /// Digests of the code sections, and of the weights section chunk by chunk.
    pub fn digests(&self, infos: &[WeightInfo], code: &[Vec<u8>]) -> Digests {
        let mut chunks = Chunks::default();
        for (info, (_, bytes)) in infos.iter().zip(&self.list) {
            chunks.zeros_to(info.offset);
            chunks.add(bytes);
        }
        let code = code.iter().map(|c| Sha256::digest(c).into()).collect();
        Digests { code, chunk_bytes: CHUNK as u64, chunks: chunks.finish() }
    }
}

#[derive(Default)]
struct Chunks {
    at: u64,
    /// Bytes of the chunk that is not complete yet.
    filled: usize,
    hash: Sha256,
    done: Vec<[u8; 32]>,
}

impl Chunks {
    fn add(&mut self, mut bytes: &[u8]) {
        self.at += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.filled));
            self.hash.update(now);
            self.filled += now.len();
            if self.filled == CHUNK {
                self.done.push(self.hash.finalize_reset().into());
                self.filled = 0;
            }
            bytes = later;
        }
    }
    fn zeros_to(&mut self, offset: u64) {
        while self.at < offset {
            let zeros = [0; 256];
            let n = usize::try_from(offset - self.at).unwrap_or(zeros.len()).min(zeros.len());
            self.add(zeros.get(..n).unwrap_or(&zeros));
        }
    }
    fn finish(mut self) -> Vec<[u8; 32]> {
        if self.filled > 0 {
            self.done.push(self.hash.finalize_reset().into());
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_those_of_the_section() {
        let parts: Vec<(u64, Vec<u8>)> = vec![(0, vec![1; 300]), (512, vec![2; CHUNK]), (CHUNK as u64 + 512, vec![3; 2 * CHUNK - 512])];
        let mut section = vec![];
        let mut chunks = Chunks::default();
        for (offset, bytes) in &parts {
            section.resize(*offset as usize, 0);
            section.extend_from_slice(bytes);
            chunks.zeros_to(*offset);
            chunks.add(bytes);
        }
        let want: Vec<[u8; 32]> = section.chunks(CHUNK).map(|c| Sha256::digest(c).into()).collect();
        assert_eq!((section.len(), chunks.finish()), (3 * CHUNK, want));
    }
}
