//! Weights on the GPU: those that the program uses, side by side in as few buffers as the device allows.

use super::{
    GpuError,
    count::{Counts, add},
    sync::{Watch, scoped},
};
use odc_format::{BufferRef, Command, TargetProgram, WeightInfo};

/// Offsets that bindings may start at on every device.
const ALIGN: u64 = 256;
/// Bytes of one write; the queue keeps a copy of each until it is submitted.
const CHUNK: usize = 4 << 20;
/// Bytes after which the queue is emptied.
const FLUSH: usize = 64 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WeightPlace {
    pub buffer: usize,
    pub offset: u64,
    /// With the padding behind it.
    pub room: u64,
}

/// Where each used weight goes, and the size of each buffer.
#[derive(Debug, Default)]
pub(super) struct Packing {
    pub places: Vec<Option<WeightPlace>>,
    pub sizes: Vec<u64>,
}

fn used(target: &TargetProgram) -> impl Iterator<Item = u32> + '_ {
    let weight = |b: &BufferRef| match b {
        BufferRef::Weight { index, .. } => Some(*index),
        _ => None,
    };
    let buffers = target.commands.iter().flat_map(|c| match c {
        Command::Dispatch(d) => d.buffers.clone(),
        Command::Copy { src, dst, .. } => vec![*src, *dst],
        Command::Size { from } => vec![*from],
        Command::If { .. } | Command::Else | Command::Loop(_) | Command::End => vec![],
    });
    buffers.filter_map(move |b| weight(&b))
}

pub(super) fn pack(target: &TargetProgram, weights: &[WeightInfo], max_buffer: u64) -> Result<Packing, GpuError> {
    let mut packing = Packing { places: vec![None; weights.len()], sizes: Vec::new() };
    let mut wanted = vec![false; weights.len()];
    for index in used(target) {
        if let Some(w) = wanted.get_mut(index as usize) {
            *w = true;
        }
    }
    for (index, info) in weights.iter().enumerate().filter(|(i, _)| wanted.get(*i) == Some(&true)) {
        // An empty weight has an address too.
        let room = info.len.max(1).checked_next_multiple_of(ALIGN).filter(|room| *room <= max_buffer);
        let too_low = || GpuError::LimitTooLow {
            target: target.target.clone(),
            limit: "maxBufferSize",
            needed: info.len,
            found: max_buffer,
            device: "the device".into(),
        };
        let room = room.ok_or_else(too_low)?;
        let place = match packing.sizes.last().copied() {
            Some(end) if end.checked_add(room).is_some_and(|end| end <= max_buffer) => {
                WeightPlace { buffer: packing.sizes.len() - 1, offset: end, room }
            }
            _ => {
                packing.sizes.push(0);
                WeightPlace { buffer: packing.sizes.len() - 1, offset: 0, room }
            }
        };
        if let Some(size) = packing.sizes.last_mut() {
            *size = place.offset + room;
        }
        if let Some(slot) = packing.places.get_mut(index) {
            *slot = Some(place);
        }
    }
    Ok(packing)
}

pub(super) struct Weights {
    pub buffers: Vec<wgpu::Buffer>,
    pub places: Vec<Option<WeightPlace>>,
}

impl Weights {
    pub(super) fn upload(
        packing: Packing,
        infos: &[WeightInfo],
        section: &[u8],
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        watch: &Watch,
        counts: &Counts,
    ) -> Result<Weights, GpuError> {
        let mut buffers = Vec::with_capacity(packing.sizes.len());
        for &size in &packing.sizes {
            buffers.push(super::new_buffer(device, counts, "odc weights", size, super::WEIGHT_USAGE)?);
        }
        let mut waiting = 0;
        for (info, place) in infos.iter().zip(&packing.places).filter_map(|(w, p)| p.map(|p| (w, p))) {
            let (start, len) = (info.offset as usize, info.len as usize);
            let bytes = start.checked_add(len).and_then(|end| section.get(start..end)).unwrap_or_default();
            let Some(buffer) = buffers.get(place.buffer) else {
                continue;
            };
            for (k, chunk) in bytes.chunks(CHUNK).enumerate() {
                write(device, queue, counts, buffer, place.offset + (k * CHUNK) as u64, chunk)?;
                waiting += chunk.len();
                if waiting >= FLUSH {
                    waiting = 0;
                    flush(device, queue, watch, counts)?;
                }
            }
        }
        if waiting > 0 {
            flush(device, queue, watch, counts)?;
        }
        watch.check()?;
        Ok(Weights { buffers, places: packing.places })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.buffers.iter().map(wgpu::Buffer::size).sum()
    }
}

fn flush(device: &wgpu::Device, queue: &wgpu::Queue, watch: &Watch, counts: &Counts) -> Result<(), GpuError> {
    scoped(device, "the weights", 0, || queue.submit([]))?;
    add(&counts.submits, 1);
    watch.poll(true)
}

/// Writes bytes of any length: the last word is padded with zeros. The buffer has room for it.
pub(super) fn write(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    counts: &Counts,
    buffer: &wgpu::Buffer,
    offset: u64,
    bytes: &[u8],
) -> Result<(), GpuError> {
    let whole = bytes.len() / 4 * 4;
    let (words, rest) = bytes.split_at(whole);
    scoped(device, "data", bytes.len() as u64, || {
        if !words.is_empty() {
            queue.write_buffer(buffer, offset, words);
            add(&counts.writes, 1);
        }
        if !rest.is_empty() {
            let mut last = [0; 4];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            queue.write_buffer(buffer, offset + whole as u64, &last);
            add(&counts.writes, 1);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use odc_format::{Code, Device, Slot};

    fn program(weights: &[u32]) -> TargetProgram {
        let copy = |&index: &u32| Command::Copy { src: BufferRef::Weight { index, offset: 0 }, dst: BufferRef::Output(0), bytes: Slot(0) };
        TargetProgram {
            target: "wgsl".into(),
            device: Device::Gpu { language: odc_format::Language::Wgsl, features: vec![], limits: Default::default() },
            code: Code::Section(0),
            kernels: vec![],
            commands: weights.iter().map(copy).collect(),
            outputs: vec![],
            arena_bytes: Slot(0),
            peak_text: String::new(),
            buffers: vec![],
        }
    }

    fn infos(lens: &[u64]) -> Vec<WeightInfo> {
        lens.iter().map(|&len| WeightInfo { hash: [0; 32], offset: 0, len }).collect()
    }

    #[test]
    fn packs_only_what_is_used_into_few_aligned_buffers() {
        let packing = pack(&program(&[3, 0, 1]), &infos(&[10, 600, 1 << 40, 1, 5]), 1024).unwrap();
        let place = |buffer, offset, room| Some(WeightPlace { buffer, offset, room });
        assert_eq!(packing.places, [place(0, 0, 256), place(0, 256, 768), None, place(1, 0, 256), None]);
        assert_eq!(packing.sizes, [1024, 256]);
        let none = pack(&program(&[]), &infos(&[10]), 1024).unwrap();
        assert!(none.sizes.is_empty());
    }

    #[test]
    fn a_weight_is_never_split() {
        let error = pack(&program(&[0]), &infos(&[1025]), 1024).unwrap_err();
        assert_eq!(error.code(), "ODC0723");
        assert!(pack(&program(&[0]), &infos(&[u64::MAX]), u64::MAX).is_err());
    }
}
