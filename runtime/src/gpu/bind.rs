//! Bind groups: made when shapes or the caller's buffers are new, found again otherwise.

use super::{
    GpuError, bad_plan,
    buffers::{Buffers, DIMS_USAGE, new_buffer},
    count::{Counts, add},
    given::{Given, Part},
    model::Inner,
    plan::{Binding, Place, Plan, padded},
    sync::scoped,
};
use std::collections::BTreeMap;

/// Sets of buffers for which a plan keeps its bind groups.
const SETS: usize = 8;

/// A plan with its buffers.
pub(super) struct Prepared {
    pub plan: Plan,
    dims: Option<wgpu::Buffer>,
    /// Latest first.
    pub sets: Vec<BindSet>,
}

/// Bind groups for one set of buffers.
pub(super) struct BindSet {
    pub given: Given,
    groups: Vec<wgpu::BindGroup>,
    /// The group of each dispatch.
    of_dispatch: Vec<usize>,
}

impl BindSet {
    pub(super) fn group(&self, dispatch: usize) -> Option<&wgpu::BindGroup> {
        self.groups.get(*self.of_dispatch.get(dispatch)?)
    }
}

impl Prepared {
    /// The sizes of all dispatches are written once, here.
    pub(super) fn new(model: &Inner, counts: &Counts, plan: Plan) -> Result<Prepared, GpuError> {
        let mut dims = None;
        if !plan.dims.is_empty() {
            let buffer = new_buffer(&model.device, counts, "odc sizes", plan.dims.len() as u64, DIMS_USAGE)?;
            super::weights::write(&model.device, &model.queue, counts, &buffer, 0, &plan.dims)?;
            dims = Some(buffer);
        }
        Ok(Prepared { plan, dims, sets: Vec::new() })
    }

    pub(super) fn dims_bytes(&self) -> u64 {
        self.dims.as_ref().map_or(0, wgpu::Buffer::size)
    }

    /// Brings the bind groups for these buffers to the front.
    pub(super) fn bind(&mut self, model: &Inner, counts: &Counts, buffers: &Buffers, given: &Given) -> Result<(), GpuError> {
        if let Some(at) = self.sets.iter().position(|set| set.given == *given) {
            if let Some(recent) = self.sets.get_mut(..=at) {
                recent.rotate_right(1);
            }
            return Ok(());
        }
        given.check(model, &self.plan)?;
        let mut set = BindSet { given: given.clone(), groups: Vec::new(), of_dispatch: Vec::new() };
        // Dispatches of equal bindings share a group.
        let mut known: BTreeMap<(usize, &[Binding], Option<u64>), usize> = BTreeMap::new();
        for d in &self.plan.dispatches {
            let pipeline = model.pipelines.kernels.get(d.kernel).and_then(Option::as_ref);
            let layout_index = pipeline.map(|p| p.layout).ok_or_else(|| bad_plan("a kernel has no pipeline"))?;
            let key = (layout_index, d.buffers.as_slice(), d.dims.as_ref().map(|r| r.start));
            if let Some(&group) = known.get(&key) {
                set.of_dispatch.push(group);
                continue;
            }
            let Some(layout) = model.pipelines.layouts.get(layout_index) else {
                return Err(bad_plan("a pipeline has no layout"));
            };
            let mut entries = Vec::with_capacity(d.buffers.len() + 1);
            for b in &d.buffers {
                let (buffer, offset, room) = locate(model, buffers, given, b.place)?;
                // A buffer of the caller may end with the tensor.
                let size = wgpu::BufferSize::new(padded(b.bytes).min(room / 4 * 4));
                entries.push(wgpu::BufferBinding { buffer, offset, size });
            }
            if let Some(range) = &d.dims {
                let buffer = self.dims.as_ref().ok_or_else(|| bad_plan("sizes have no buffer"))?;
                let size = wgpu::BufferSize::new(range.end - range.start);
                entries.push(wgpu::BufferBinding { buffer, offset: range.start, size });
            }
            let entry = |(binding, b)| wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(b) };
            let entries: Vec<_> = (0..).zip(entries).map(entry).collect();
            let desc = wgpu::BindGroupDescriptor { label: Some("odc"), layout, entries: &entries };
            let group = scoped(&model.device, "the buffers of a kernel", 0, || model.device.create_bind_group(&desc))?;
            add(&counts.bind_groups, 1);
            known.insert(key, set.groups.len());
            set.of_dispatch.push(set.groups.len());
            set.groups.push(group);
        }
        self.sets.truncate(SETS - 1);
        self.sets.insert(0, set);
        Ok(())
    }
}

/// Buffer, offset, and the bytes from there on.
pub(super) fn locate<'b>(
    model: &'b Inner,
    buffers: &'b Buffers,
    given: &'b Given,
    place: Place,
) -> Result<(&'b wgpu::Buffer, u64, u64), GpuError> {
    let part = |p: &'b Part| (&p.buffer, p.offset, p.size);
    let whole = |b: &'b wgpu::Buffer| (b, 0, b.size());
    let at = |b: &'b wgpu::Buffer, offset: u64| (b, offset, b.size().saturating_sub(offset));
    let found = match place {
        Place::Input(i) => given.input(i).map(part).or_else(|| buffers.input(i).map(whole)),
        Place::Output(k) => given.output(k).map(part).or_else(|| buffers.output(k).map(whole)),
        Place::Weight { buffer, offset } => model.weights.buffers.get(buffer).map(|b| at(b, offset)),
        Place::Arena(offset) => buffers.arena.as_ref().map(|b| at(b, offset)),
    };
    found.ok_or_else(|| bad_plan(format!("{place:?} has no buffer")))
}
