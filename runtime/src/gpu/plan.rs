//! From input shapes to sizes: what each dispatch binds, how many workgroups it has, and what is copied. No device
//! objects yet; made once for a set of shapes.

use super::{GpuError, bad_plan, weights::WeightPlace};
use crate::bind::{Sizes, byte_size, check_rank, evaluate};
use core::ops::Range;
use odc_format::{Access, BufferRef, Command, Dispatch, Manifest, Slot, TargetProgram};

/// Workgroups along x; more of them go to y.
pub(super) const MAX_GRID_X: i64 = 65535;
/// Alignment of a dispatch's sizes in the uniform buffer.
const DIMS_ALIGN: usize = 256;
/// Behind the arena, so that a binding of an empty tensor at its end is not empty.
pub(super) const ARENA_SLACK: u64 = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Input(usize),
    Output(usize),
    Weight { buffer: usize, offset: u64 },
    Arena(u64),
}

/// `bytes` from a place on; bindings are rounded up to 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Binding {
    pub place: Place,
    pub bytes: u64,
}

#[derive(Debug)]
pub(super) struct DispatchPlan {
    pub kernel: usize,
    pub buffers: Vec<Binding>,
    pub writes: Vec<bool>,
    /// In `Plan::dims`.
    pub dims: Option<Range<u64>>,
    pub grid: [u32; 2],
}

#[derive(Debug)]
pub(super) struct CopyPlan {
    pub src: Binding,
    pub dst: Binding,
}

/// Copies cannot be inside a compute pass.
#[derive(Debug)]
pub(super) enum Segment {
    Pass(Range<usize>),
    Copies(Range<usize>),
}

#[derive(Debug)]
pub(super) struct OutputPlan {
    pub shape: Vec<usize>,
    pub bytes: u64,
}

#[derive(Debug)]
pub(super) struct Plan {
    /// All dims of all inputs, in order.
    key: Vec<usize>,
    pub input_bytes: Vec<u64>,
    pub outputs: Vec<OutputPlan>,
    /// Bytes of the arena buffer; 0 when nothing lies in it.
    pub arena: u64,
    /// Content of the uniform buffer.
    pub dims: Vec<u8>,
    pub dispatches: Vec<DispatchPlan>,
    pub copies: Vec<CopyPlan>,
    pub segments: Vec<Segment>,
    /// The shape program's results.
    pub slots: Vec<i64>,
}

/// The device's limits that depend on input shapes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    pub buffer: u64,
    pub binding: u64,
}

impl Caps {
    pub(super) const NONE: Caps = Caps { buffer: u64::MAX, binding: u64::MAX };
}

/// What a binding or a buffer of so many bytes takes.
pub(super) fn padded(bytes: u64) -> u64 {
    bytes.max(1).checked_next_multiple_of(16).unwrap_or(u64::MAX)
}

enum Step {
    Dispatch(DispatchPlan),
    Copy(CopyPlan),
}

impl Plan {
    pub(super) fn is_for<'a>(&self, shape: impl Fn(usize) -> &'a [usize]) -> bool {
        let mut key = &self.key[..];
        (0..self.input_bytes.len()).all(|i| {
            let rest = key.strip_prefix(shape(i));
            key = rest.unwrap_or_default();
            rest.is_some()
        })
    }

    pub(super) fn new<'a>(
        manifest: &Manifest,
        target: &TargetProgram,
        weights: &[Option<WeightPlace>],
        caps: Caps,
        shape: impl Fn(usize) -> &'a [usize],
    ) -> Result<Plan, GpuError> {
        for (i, info) in manifest.inputs.iter().enumerate() {
            check_rank(info, shape(i))?;
        }
        let slots = evaluate(manifest, &shape, &[])?;
        let sizes = Sizes { slots: &slots, manifest };
        let too_large = |what: &str, name: &str| crate::RunError::TooLarge { what: format!("{what} \"{name}\" has too many bytes") };
        let mut plan = Plan {
            key: (0..manifest.inputs.len()).flat_map(|i| shape(i).iter().copied()).collect(),
            input_bytes: Vec::new(),
            outputs: Vec::new(),
            arena: sizes.size(target.arena_bytes, "the arena")? as u64,
            dims: Vec::new(),
            dispatches: Vec::new(),
            copies: Vec::new(),
            segments: Vec::new(),
            slots: Vec::new(),
        };
        for (i, info) in manifest.inputs.iter().enumerate() {
            let bytes = byte_size(info, shape(i)).ok_or_else(|| too_large("input", &info.name))?;
            plan.input_bytes.push(bytes as u64);
        }
        for info in &manifest.outputs {
            let shape = info.shape.iter().map(|&dim| sizes.size(dim, &info.name)).collect::<Result<Vec<_>, _>>()?;
            let bytes = byte_size(info, &shape).ok_or_else(|| too_large("output", &info.name))? as u64;
            plan.outputs.push(OutputPlan { shape, bytes });
        }
        let builder = Builder { target, sizes, weights };
        let mut steps = Vec::with_capacity(target.commands.len());
        for (at, command) in target.commands.iter().enumerate() {
            let step = builder.step(&mut plan, command).map_err(|e| match e {
                GpuError::Run(crate::RunError::BadPlan { what }) => bad_plan(format!("command {at}: {what}")),
                other => other,
            })?;
            steps.extend(step);
        }
        plan.arrange(steps);
        let uses_arena = plan.bindings().any(|b| matches!(b.place, Place::Arena(_)));
        plan.arena = if uses_arena { plan.arena.saturating_add(ARENA_SLACK) } else { 0 };
        plan.check_limits(manifest, target, caps)?;
        plan.slots = slots;
        Ok(plan)
    }

    /// How a buffer of the caller is used.
    pub(super) fn usage(&self, place: Place) -> wgpu::BufferUsages {
        let mut usage = wgpu::BufferUsages::empty();
        usage.set(wgpu::BufferUsages::STORAGE, self.dispatches.iter().flat_map(|d| &d.buffers).any(|b| b.place == place));
        usage.set(wgpu::BufferUsages::COPY_SRC, self.copies.iter().any(|c| c.src.place == place));
        usage.set(wgpu::BufferUsages::COPY_DST, self.copies.iter().any(|c| c.dst.place == place));
        usage
    }

    fn bindings(&self) -> impl Iterator<Item = &Binding> {
        let copied = self.copies.iter().flat_map(|c| [&c.src, &c.dst]);
        self.dispatches.iter().flat_map(|d| &d.buffers).chain(copied)
    }

    /// One pass if possible: each copy goes behind the dispatches unless a later one needs it first.
    fn arrange(&mut self, steps: Vec<Step>) {
        let mut waiting: Vec<CopyPlan> = Vec::new();
        for step in steps {
            match step {
                // Copies stay in order among themselves.
                Step::Copy(copy) => waiting.push(copy),
                Step::Dispatch(d) => {
                    if waiting.iter().any(|c| conflicts(c, &d)) {
                        self.flush(&mut waiting);
                    }
                    let at = self.dispatches.len();
                    match self.segments.last_mut() {
                        Some(Segment::Pass(range)) => range.end = at + 1,
                        _ => self.segments.push(Segment::Pass(at..at + 1)),
                    }
                    self.dispatches.push(d);
                }
            }
        }
        self.flush(&mut waiting);
    }

    fn flush(&mut self, waiting: &mut Vec<CopyPlan>) {
        if waiting.is_empty() {
            return;
        }
        let at = self.copies.len();
        self.copies.append(waiting);
        self.segments.push(Segment::Copies(at..self.copies.len()));
    }

    fn check_limits(&self, manifest: &Manifest, target: &TargetProgram, caps: Caps) -> Result<(), GpuError> {
        let within = |what: &dyn Fn() -> String, needed: u64, limit, found| match needed <= found {
            true => Ok(()),
            false => Err(GpuError::TooLarge { what: what(), needed, limit, found }),
        };
        let buffer = |what: &dyn Fn() -> String, needed| within(what, needed, "maxBufferSize", caps.buffer);
        buffer(&|| format!("the arena ({})", target.peak_text), self.arena)?;
        for (info, &bytes) in manifest.inputs.iter().zip(&self.input_bytes) {
            buffer(&|| format!("input \"{}\"", info.name), padded(bytes))?;
        }
        for (info, o) in manifest.outputs.iter().zip(&self.outputs) {
            buffer(&|| format!("output \"{}\"", info.name), padded(o.bytes))?;
        }
        for d in &self.dispatches {
            let kernel = || target.kernels.get(d.kernel).map_or("", |k| &k.name);
            for (k, b) in d.buffers.iter().enumerate() {
                let what = || format!("buffer {k} of kernel \"{}\"", kernel());
                within(&what, padded(b.bytes), "maxStorageBufferBindingSize", caps.binding)?;
            }
        }
        Ok(())
    }
}

/// Whether a dispatch touches what an earlier copy writes, or writes what it reads.
fn conflicts(copy: &CopyPlan, d: &DispatchPlan) -> bool {
    let mut buffers = d.buffers.iter().zip(&d.writes);
    buffers.any(|(b, &write)| overlap(b, &copy.dst) || (write && overlap(b, &copy.src)))
}

fn overlap(a: &Binding, b: &Binding) -> bool {
    let crossing = |x: u64, y: u64| x < y.saturating_add(b.bytes) && y < x.saturating_add(a.bytes);
    match (a.place, b.place) {
        (Place::Arena(x), Place::Arena(y)) => crossing(x, y),
        (Place::Weight { buffer, offset: x }, Place::Weight { buffer: other, offset: y }) => buffer == other && crossing(x, y),
        (x, y) => x == y,
    }
}

struct Builder<'a> {
    target: &'a TargetProgram,
    sizes: Sizes<'a>,
    weights: &'a [Option<WeightPlace>],
}

impl Builder<'_> {
    /// Nothing for a dispatch without workgroups or a copy of nothing.
    fn step(&self, plan: &mut Plan, command: &Command) -> Result<Option<Step>, GpuError> {
        match command {
            // Validation keeps it out of GPU programs.
            Command::If { .. } | Command::Else | Command::Loop(_) | Command::End => Err(bad_plan("control flow in a program for GPUs")),
            Command::Dispatch(d) => Ok(self.dispatch(plan, d)?.map(Step::Dispatch)),
            // Validation keeps it out of GPU programs.
            Command::Size { .. } => Err(bad_plan("data decides a size, which only CPU programs may")),
            Command::Copy { src, dst, bytes } => {
                let bytes = self.sizes.size(*bytes, "a copy")? as u64;
                if bytes == 0 {
                    return Ok(None);
                }
                // A GPU copies words; what they hold too much is padding on both sides.
                let bytes = bytes.checked_next_multiple_of(4).ok_or_else(|| bad_plan("a copy is too long"))?;
                let copy = CopyPlan { src: self.binding(plan, *src, bytes)?, dst: self.binding(plan, *dst, bytes)? };
                match (copy.src.place, copy.dst.place) {
                    (Place::Arena(_), Place::Arena(_)) => Err(bad_plan("copies from the arena to the arena, which a GPU cannot")),
                    (Place::Output(a), Place::Output(b)) if a == b => Err(bad_plan(format!("copies output {a} to itself"))),
                    _ => Ok(Some(Step::Copy(copy))),
                }
            }
        }
    }

    fn dispatch(&self, plan: &mut Plan, d: &Dispatch) -> Result<Option<DispatchPlan>, GpuError> {
        let Some(grid) = workgroups(self.sizes.size(d.grid, "a grid")? as i64)? else {
            return Ok(None);
        };
        let mut buffers = Vec::with_capacity(d.buffers.len());
        for (&buffer, &bytes) in d.buffers.iter().zip(&d.bytes) {
            let bytes = self.sizes.size(bytes, "a buffer")? as u64;
            buffers.push(self.binding(plan, buffer, bytes)?);
        }
        let dims = self.dims(plan, &d.dims)?;
        let kernel = d.kernel as usize;
        let access = self.target.kernels.get(kernel).and_then(|k| k.gpu.as_ref()).map(|g| g.access.as_slice());
        let writes = access.unwrap_or_default().iter().map(|a| *a == Access::ReadWrite).collect();
        Ok(Some(DispatchPlan { kernel, buffers, writes, dims, grid }))
    }

    /// Puts the sizes behind those of the dispatches before, padded as a uniform `array<vec4<i32>>` is.
    fn dims(&self, plan: &mut Plan, dims: &[Slot]) -> Result<Option<Range<u64>>, GpuError> {
        if dims.is_empty() {
            return Ok(None);
        }
        let mut words = Vec::with_capacity(dims.len() * 4);
        for &dim in dims {
            let value = self.sizes.value(dim)?;
            let too_large = |_| crate::RunError::TooLarge { what: format!("a kernel's size is {value}, GPUs count to 2147483647") };
            words.extend(i32::try_from(value).map_err(too_large)?.to_le_bytes());
        }
        words.resize(words.len().next_multiple_of(16), 0);
        let start = plan.dims.len().next_multiple_of(DIMS_ALIGN);
        plan.dims.resize(start, 0);
        plan.dims.extend(&words);
        Ok(Some(start as u64..(start + words.len()) as u64))
    }

    fn binding(&self, plan: &Plan, buffer: BufferRef, bytes: u64) -> Result<Binding, GpuError> {
        let fits = |what: &str, offset: u64, room: u64| match offset.checked_add(bytes) {
            Some(end) if end <= room && offset.is_multiple_of(256) => Ok(()),
            Some(end) if end <= room => Err(bad_plan(format!("a buffer at {offset} of {what} is not aligned to 256"))),
            _ => Err(bad_plan(format!("{bytes} bytes at {offset} of {what}, which has {room}"))),
        };
        let place = match buffer {
            BufferRef::Input(i) => {
                let room = plan.input_bytes.get(i as usize).copied().unwrap_or(0);
                fits("an input", 0, padded(room))?;
                Place::Input(i as usize)
            }
            BufferRef::Local(_) => return Err(bad_plan("a loop's buffer in a program for GPUs")),
            BufferRef::Output(k) => {
                let room = plan.outputs.get(k as usize).map_or(0, |o| o.bytes);
                fits("an output", 0, padded(room))?;
                Place::Output(k as usize)
            }
            BufferRef::Weight { index, offset } => {
                let place = self.weights.get(index as usize).copied().flatten();
                let place = place.ok_or_else(|| bad_plan(format!("weight {index} was not uploaded")))?;
                fits("a weight", offset, place.room)?;
                Place::Weight { buffer: place.buffer, offset: place.offset + offset }
            }
            BufferRef::Arena { offset } => {
                let offset = self.sizes.size(offset, "an offset")? as u64;
                fits("the arena", offset, plan.arena)?;
                Place::Arena(offset)
            }
        };
        Ok(Binding { place, bytes })
    }
}

fn workgroups(n: i64) -> Result<Option<[u32; 2]>, GpuError> {
    if n <= 0 {
        return Ok(None);
    }
    let x = n.min(MAX_GRID_X);
    let y = n / x + i64::from(n % x != 0);
    if y > MAX_GRID_X {
        let what = format!("a kernel of {n} workgroups");
        return Err(GpuError::TooLarge { what, needed: n as u64, limit: "maxComputeWorkgroupsPerDimension", found: MAX_GRID_X as u64 });
    }
    Ok(Some([x as u32, y as u32]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_fold_into_two_axes() {
        let grid = |n| workgroups(n).unwrap();
        assert_eq!([grid(0), grid(1), grid(65535)], [None, Some([1, 1]), Some([65535, 1])]);
        assert_eq!(grid(65536), Some([65535, 2]));
        assert_eq!(grid(3 * 65535), Some([65535, 3]));
        assert_eq!(workgroups(i64::MAX).unwrap_err().code(), "ODC0726");
    }

    fn at(place: Place, bytes: u64) -> Binding {
        Binding { place, bytes }
    }

    #[test]
    fn copies_leave_the_pass_whole_unless_something_needs_them() {
        let dispatch = |buffers: Vec<Binding>, writes: Vec<bool>| {
            Step::Dispatch(DispatchPlan { kernel: 0, buffers, writes, dims: None, grid: [1, 1] })
        };
        let copy = |src, dst| Step::Copy(CopyPlan { src: at(src, 64), dst: at(dst, 64) });
        let run = |steps| {
            let empty = || Plan {
                key: vec![],
                input_bytes: vec![],
                outputs: vec![],
                arena: 0,
                dims: vec![],
                dispatches: vec![],
                copies: vec![],
                segments: vec![],
                slots: vec![],
            };
            let mut plan = empty();
            plan.arrange(steps);
            plan.segments.iter().map(|s| matches!(s, Segment::Pass(_))).collect::<Vec<_>>()
        };
        let arena = Place::Arena;
        let work = |from, to| dispatch(vec![at(arena(from), 64), at(arena(to), 64)], vec![false, true]);
        // an input that passes through, in the middle
        assert_eq!(run(vec![work(0, 256), copy(Place::Input(0), Place::Output(0)), work(256, 0)]), [true, false]);
        // the copied place is written later: the copy must come first
        assert_eq!(run(vec![work(0, 256), copy(arena(256), Place::Output(0)), work(0, 256)]), [true, false, true]);
        // only read later
        assert_eq!(run(vec![work(0, 256), copy(arena(256), Place::Output(0)), work(256, 512)]), [true, false]);
        // what the copy writes is read later
        let reads_output = dispatch(vec![at(Place::Output(0), 64)], vec![false]);
        assert_eq!(run(vec![copy(Place::Input(0), Place::Output(0)), reads_output]), [false, true]);
        assert_eq!(run(vec![]), [] as [bool; 0]);
    }
}
