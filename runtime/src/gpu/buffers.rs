//! A session's own buffers: as large as the largest shapes so far needed them.

use super::{
    GpuError, GpuMemory,
    count::{Counts, add},
    given::Given,
    model::Inner,
    plan::{Plan, padded},
    sync::scoped,
};
use wgpu::BufferUsages;

pub(super) const WEIGHT_USAGE: BufferUsages = BufferUsages::STORAGE.union(BufferUsages::COPY_DST).union(BufferUsages::COPY_SRC);
const WORK_USAGE: BufferUsages = WEIGHT_USAGE;
pub(super) const DIMS_USAGE: BufferUsages = BufferUsages::UNIFORM.union(BufferUsages::COPY_DST);
pub(super) const STAGING_USAGE: BufferUsages = BufferUsages::MAP_READ.union(BufferUsages::COPY_DST);

pub(super) fn new_buffer(
    device: &wgpu::Device,
    counts: &Counts,
    label: &str,
    size: u64,
    usage: BufferUsages,
) -> Result<wgpu::Buffer, GpuError> {
    let desc = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
    let buffer = scoped(device, label, size, || device.create_buffer(&desc))?;
    add(&counts.buffers, 1);
    add(&counts.buffer_bytes, size);
    Ok(buffer)
}

#[derive(Default)]
pub(super) struct Buffers {
    pub arena: Option<wgpu::Buffer>,
    inputs: Vec<Option<wgpu::Buffer>>,
    outputs: Vec<Option<wgpu::Buffer>>,
    pub staging: Option<wgpu::Buffer>,
}

/// Makes the buffer larger unless it is large enough.
pub(super) fn grow(
    slot: &mut Option<wgpu::Buffer>,
    model: &Inner,
    counts: &Counts,
    label: &str,
    size: u64,
    usage: BufferUsages,
) -> Result<(), GpuError> {
    if !fits(slot, size) {
        // The old one goes first: both together could be too much.
        *slot = None;
        *slot = Some(new_buffer(&model.device, counts, label, size, usage)?);
    }
    Ok(())
}

fn fits(slot: &Option<wgpu::Buffer>, size: u64) -> bool {
    slot.as_ref().is_some_and(|b| b.size() >= size)
}

impl Buffers {
    pub(super) fn new(inputs: usize, outputs: usize) -> Buffers {
        Buffers { inputs: vec![None; inputs], outputs: vec![None; outputs], ..Default::default() }
    }

    /// Whether all that a plan needs is there, except for what the caller brings.
    pub(super) fn suffice(&self, plan: &Plan, given: &Given) -> bool {
        let mut inputs = self.inputs.iter().zip(&plan.input_bytes).enumerate();
        let mut outputs = self.outputs.iter().zip(&plan.outputs).enumerate();
        (plan.arena == 0 || fits(&self.arena, plan.arena))
            && inputs.all(|(i, (slot, &bytes))| given.input(i).is_some() || fits(slot, padded(bytes)))
            && outputs.all(|(k, (slot, o))| given.output(k).is_some() || fits(slot, padded(o.bytes)))
    }

    pub(super) fn fit(&mut self, model: &Inner, counts: &Counts, plan: &Plan, given: &Given) -> Result<(), GpuError> {
        if plan.arena > 0 {
            grow(&mut self.arena, model, counts, "odc arena", plan.arena, WORK_USAGE)?;
        }
        for (i, (slot, &bytes)) in self.inputs.iter_mut().zip(&plan.input_bytes).enumerate() {
            if given.input(i).is_none() {
                grow(slot, model, counts, "odc input", padded(bytes), WORK_USAGE)?;
            }
        }
        for (k, (slot, o)) in self.outputs.iter_mut().zip(&plan.outputs).enumerate() {
            if given.output(k).is_none() {
                grow(slot, model, counts, "odc output", padded(o.bytes), WORK_USAGE)?;
            }
        }
        Ok(())
    }

    pub(super) fn input(&self, i: usize) -> Option<&wgpu::Buffer> {
        self.inputs.get(i)?.as_ref()
    }

    pub(super) fn output(&self, k: usize) -> Option<&wgpu::Buffer> {
        self.outputs.get(k)?.as_ref()
    }

    pub(super) fn memory(&self, model: &Inner) -> GpuMemory {
        let size = |b: &Option<wgpu::Buffer>| b.as_ref().map_or(0, wgpu::Buffer::size);
        GpuMemory {
            weights: model.weights.bytes(),
            arena: size(&self.arena),
            outputs: self.outputs.iter().map(size).sum(),
            inputs: self.inputs.iter().map(size).sum(),
            dims: 0,
            staging: size(&self.staging),
        }
    }
}
