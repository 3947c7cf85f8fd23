//! Binding: from input shapes to a plan, in which every size and offset is a checked number. Made once for a set of
//! shapes; running a plan needs no check any more.

use crate::{RunError, TensorView, artifact::Loaded, control::LoopPlan, memory::ALIGN};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::ops::Range;
use odc_format::{BufferRef, Command, DType, Manifest, Slot, TensorInfo, structure};

/// A buffer whose place is known.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Input(usize),
    /// Offset in the weights section.
    Weight(usize),
    /// Offset in the arena.
    Arena(usize),
    /// What a loop around says.
    Local(usize),
}

#[derive(Debug)]
pub(crate) enum Step {
    Dispatch {
        kernel: usize,
        buffers: Range<usize>,
        dims: Range<usize>,
        grid: i64,
        grain: i64,
    },
    Copy {
        src: Place,
        dst: Place,
        bytes: usize,
    },
    /// The number there is a size; what comes after is bound anew.
    Size {
        index: usize,
        from: Place,
    },
    /// On to the next step, or to step `otherwise`.
    If {
        condition: Place,
        otherwise: usize,
    },
    Goto(usize),
    /// On to the body, or to step `after`.
    Loop {
        index: usize,
        after: usize,
    },
    /// Back to step `body`, or on.
    Next {
        index: usize,
        body: usize,
    },
}

#[derive(Debug)]
pub(crate) struct OutputPlan {
    pub place: Place,
    pub bytes: usize,
    /// In `Plan::output_shapes`.
    pub shape: Range<usize>,
}

#[derive(Debug)]
pub(crate) struct Plan {
    /// All dims of all inputs, in order; ranks are the manifest's.
    key: Vec<usize>,
    pub input_bytes: Vec<usize>,
    pub steps: Vec<Step>,
    pub loops: Vec<LoopPlan>,
    /// Of each command: where its body ends, or begins.
    partner: Vec<usize>,
    /// Bytes that each local is.
    pub locals: Vec<usize>,
    pub buffers: Vec<Place>,
    pub dims: Vec<i64>,
    pub outputs: Vec<OutputPlan>,
    pub output_shapes: Vec<usize>,
    pub arena: usize,
    /// Scratch of one thread, rounded up to the alignment.
    pub scratch: usize,
    /// The most buffers that a dispatch has.
    pub max_buffers: usize,
    /// The shape program's results.
    pub slots: Vec<i64>,
    /// For each: how many sizes must have been said; empty where no data decides sizes.
    waits: Vec<u32>,
    /// What the size commands of this run have said.
    said: Vec<i64>,
}

impl Plan {
    pub(crate) fn is_for<'a>(&self, mut input: impl FnMut(usize) -> TensorView<'a>) -> bool {
        let mut key = &self.key[..];
        (0..self.input_bytes.len()).all(|i| {
            let shape = input(i).shape;
            let rest = key.strip_prefix(shape);
            key = rest.unwrap_or_default();
            rest.is_some()
        })
    }

    /// Inputs have the right ranks already.
    pub(crate) fn new<'a>(model: &Loaded, input: impl Fn(usize) -> TensorView<'a>) -> Result<Plan, RunError> {
        let manifest = &model.manifest;
        let says = model.target.commands.iter().any(|c| matches!(c, Command::Size { .. }));
        let waits = if says { manifest.shape_program.waits() } else { Vec::new() };
        let slots = evaluate(manifest, &|i| input(i).shape, &waits)?;
        let mut plan = Plan {
            key: (0..manifest.inputs.len()).flat_map(|i| input(i).shape.iter().copied()).collect(),
            input_bytes: Vec::new(),
            steps: Vec::new(),
            loops: Vec::new(),
            partner: structure(&model.target.commands, |_, _| {}).map_err(|what| RunError::BadPlan { what })?.partner,
            locals: Vec::new(),
            buffers: Vec::new(),
            dims: Vec::new(),
            outputs: Vec::new(),
            output_shapes: Vec::new(),
            arena: 0,
            scratch: 0,
            max_buffers: 0,
            slots: Vec::new(),
            waits,
            said: Vec::new(),
        };
        for (i, info) in manifest.inputs.iter().enumerate() {
            let bytes = byte_size(info, input(i).shape);
            let too_large = || RunError::TooLarge { what: format!("input \"{}\" has too many bytes", info.name) };
            plan.input_bytes.push(bytes.ok_or_else(too_large)?);
        }
        let sizes = Sizes { slots: &slots, manifest };
        plan.arena = sizes.size(model.target.arena_bytes, "the arena")?;
        for kernel in &model.target.kernels {
            plan.scratch = plan.scratch.max(sizes.size(kernel.scratch_bytes, "scratch")?);
        }
        let too_large = |what: &str| RunError::TooLarge { what: what.to_string() };
        plan.scratch = plan.scratch.checked_next_multiple_of(ALIGN).ok_or_else(|| too_large("scratch"))?;
        plan.fill(model, &slots)?;
        plan.slots = slots;
        Ok(plan)
    }

    /// A run begins: nothing is said yet.
    pub(crate) fn begin(&mut self) {
        self.said.clear();
    }

    /// Takes in what the `index`-th size command says, and binds everything again. It allocates nothing.
    pub(crate) fn say<'a>(
        &mut self,
        model: &Loaded,
        index: usize,
        value: i64,
        input: impl Fn(usize) -> TensorView<'a>,
    ) -> Result<(), RunError> {
        let program = &model.manifest.shape_program;
        self.said.truncate(index);
        self.said.push(value);
        let dim = |i: u32, axis: u32| input(i as usize).shape.get(axis as usize).and_then(|&d| i64::try_from(d).ok());
        let mut slots = core::mem::take(&mut self.slots);
        let evaluated = program.evaluate_said(dim, &self.said, &mut slots);
        let due = self.said.len() as u32;
        let failed = program.checks.iter().find(|c| waits_of(&self.waits, &c.condition) == due && c.condition.holds(&slots) == Some(false));
        let result = match (failed, evaluated) {
            (Some(check), _) => Err(RunError::CheckFailed { what: format!("{} (here {value})", check.what) }),
            (None, Err(e)) => Err(RunError::TooLarge { what: e.to_string() }),
            (None, Ok(())) => self.fill(model, &slots),
        };
        self.slots = slots;
        result
    }

    /// Steps and outputs under the values of the slots.
    fn fill(&mut self, model: &Loaded, slots: &[i64]) -> Result<(), RunError> {
        let manifest = &model.manifest;
        let sizes = Sizes { slots, manifest };
        let plan = self;
        plan.steps.clear();
        plan.buffers.clear();
        plan.dims.clear();
        plan.outputs.clear();
        plan.output_shapes.clear();
        let too_large = |what: &str| RunError::TooLarge { what: what.to_string() };
        let mut said = 0;
        plan.locals.clear();
        let mut loops = core::mem::take(&mut plan.loops);
        let mut bound = 0;
        for (at, command) in model.target.commands.iter().enumerate() {
            let partner = plan.partner.get(at).copied().unwrap_or(at);
            let step = match command {
                Command::If { condition } => {
                    plan.place(&sizes, *condition, 1).map(|condition| Step::If { condition, otherwise: partner + 1 })
                }
                Command::Else => Ok(Step::Goto(partner + 1)),
                Command::Loop(l) => {
                    if loops.len() == bound {
                        loops.push(LoopPlan::default());
                    }
                    bound += 1;
                    let made = loops.get_mut(bound - 1).map_or(Ok(()), |made| made.bind(plan, &sizes, l, at));
                    plan.locals.extend(loops.get(bound - 1).into_iter().flat_map(LoopPlan::rooms));
                    made.map(|()| Step::Loop { index: bound - 1, after: partner + 1 })
                }
                Command::End => Ok(match loops.iter().position(|l| l.is_at(partner)) {
                    Some(index) => Step::Next { index, body: partner + 1 },
                    None => Step::Goto(at + 1),
                }),
                Command::Dispatch(_) | Command::Copy { .. } | Command::Size { .. } => plan.step(&sizes, command, &mut said),
            };
            let step = step.map_err(|e| match e {
                RunError::BadPlan { what } => RunError::BadPlan { what: format!("command {at}: {what}") },
                other => other,
            })?;
            plan.steps.push(step);
        }
        plan.loops = loops;
        for (info, &buffer) in manifest.outputs.iter().zip(&model.target.outputs) {
            let start = plan.output_shapes.len();
            for &dim in &info.shape {
                plan.output_shapes.push(sizes.size(dim, &info.name)?);
            }
            let shape = start..plan.output_shapes.len();
            let bytes = plan.output_shapes.get(shape.clone()).and_then(|dims| byte_size(info, dims));
            let bytes = bytes.ok_or_else(|| too_large(&format!("output \"{}\" has too many bytes", info.name)))?;
            let place = plan.place(&sizes, buffer, bytes)?;
            plan.outputs.push(OutputPlan { place, bytes, shape });
        }
        Ok(())
    }

    fn step(&mut self, sizes: &Sizes, command: &Command, said: &mut usize) -> Result<Step, RunError> {
        match command {
            Command::Dispatch(d) => {
                let (b, n) = (self.buffers.len(), self.dims.len());
                for &buffer in &d.buffers {
                    let place = self.place(sizes, buffer, 0)?;
                    self.buffers.push(place);
                }
                for &dim in &d.dims {
                    let value = sizes.value(dim)?;
                    self.dims.push(value);
                }
                self.max_buffers = self.max_buffers.max(d.buffers.len());
                let grid = sizes.size(d.grid, "a grid")? as i64;
                let grain = sizes.value(d.grain)?.max(1);
                let (buffers, dims) = (b..self.buffers.len(), n..self.dims.len());
                Ok(Step::Dispatch { kernel: d.kernel as usize, buffers, dims, grid, grain })
            }
            Command::Copy { src, dst, bytes } => {
                let bytes = sizes.size(*bytes, "a copy")?;
                Ok(Step::Copy { src: self.place(sizes, *src, bytes)?, dst: self.place(sizes, *dst, bytes)?, bytes })
            }
            Command::Size { from } => {
                *said += 1;
                Ok(Step::Size { index: *said - 1, from: self.place(sizes, *from, size_of::<i64>())? })
            }
            Command::If { .. } | Command::Else | Command::Loop(_) | Command::End => Ok(Step::Goto(self.steps.len() + 1)),
        }
    }

    /// Where a buffer starts, when at least `bytes` bytes are there.
    pub(crate) fn place(&self, sizes: &Sizes, buffer: BufferRef, bytes: usize) -> Result<Place, RunError> {
        let fits = |what: &str, offset: usize, room: usize| match offset.checked_add(bytes) {
            Some(end) if end <= room => Ok(offset),
            _ => Err(RunError::BadPlan { what: format!("{bytes} bytes at {offset} of {what}, which has {room}") }),
        };
        match buffer {
            // Validation keeps it out of CPU programs.
            BufferRef::Output(k) => Err(RunError::BadPlan { what: format!("output {k} has no memory of its own") }),
            BufferRef::Local(k) => {
                let room = self.locals.get(k as usize).copied().unwrap_or(0);
                fits("a loop's buffer", 0, room).map(|_| Place::Local(k as usize))
            }
            BufferRef::Input(i) => {
                let room = self.input_bytes.get(i as usize).copied().unwrap_or(0);
                fits("an input", 0, room).map(|_| Place::Input(i as usize))
            }
            BufferRef::Weight { index, offset } => {
                let info = sizes.manifest.weights.get(index as usize);
                let (start, len) = info.map_or((0, 0), |w| (w.offset as usize, w.len as usize));
                fits("a weight", offset as usize, len).map(|offset| Place::Weight(start + offset))
            }
            BufferRef::Arena { offset } => fits("the arena", sizes.size(offset, "an offset")?, self.arena).map(Place::Arena),
        }
    }
}

/// How many sizes must have been said before the condition is one.
fn waits_of(waits: &[u32], c: &odc_format::Condition) -> u32 {
    c.reads().filter_map(|s| waits.get(s.index()).copied()).max().unwrap_or(0)
}

/// The shape program's results.
pub(crate) struct Sizes<'a> {
    pub slots: &'a [i64],
    pub manifest: &'a Manifest,
}

impl Sizes<'_> {
    pub(crate) fn value(&self, slot: Slot) -> Result<i64, RunError> {
        let missing = || RunError::BadPlan { what: format!("slot {} does not exist", slot.0) };
        self.slots.get(slot.index()).copied().ok_or_else(missing)
    }

    pub(crate) fn size(&self, slot: Slot, what: &str) -> Result<usize, RunError> {
        let value = self.value(slot)?;
        usize::try_from(value).map_err(|_| RunError::BadPlan { what: format!("{what} has the size {value}") })
    }
}

pub(crate) fn byte_size(info: &TensorInfo, shape: &[usize]) -> Option<usize> {
    let bytes = shape.iter().try_fold(info.dtype.size(), |n, &dim| n.checked_mul(dim))?;
    // a slice in memory cannot be longer
    (bytes <= isize::MAX as usize).then_some(bytes)
}

/// Runs the shape program and refuses shapes that the model was not compiled for. What `waits` for sizes that data decides is not
/// checked yet.
pub(crate) fn evaluate<'a>(m: &Manifest, input: &impl Fn(usize) -> &'a [usize], waits: &[u32]) -> Result<Vec<i64>, RunError> {
    let dim = |i: u32, axis: u32| input(i as usize).get(axis as usize).and_then(|&d| i64::try_from(d).ok());
    for (i, info) in m.inputs.iter().enumerate() {
        let shape = input(i);
        if shape.iter().any(|&dim| i64::try_from(dim).is_err()) {
            let what = format!("input \"{}\" has shape {}", info.name, shape_text(shape));
            return Err(RunError::TooLarge { what });
        }
    }
    let mut slots = Vec::new();
    // A dim out of bounds is a better answer than the overflow that it leads to, so errors wait.
    let evaluated = m.shape_program.evaluate(dim, &mut slots);
    let get = |slot: Slot| slots.get(slot.index()).copied();
    for (i, info) in m.inputs.iter().enumerate() {
        let shape = input(i);
        for (axis, (&found, want)) in shape.iter().zip(info.shape.iter().map(|&s| get(s))).enumerate() {
            if let Some(want) = want.filter(|&want| i64::try_from(found) != Ok(want)) {
                return Err(RunError::WrongShape {
                    name: info.name.clone(),
                    found: shape_text(shape),
                    axis,
                    dim: found,
                    want,
                    expected: describe(info),
                });
            }
        }
    }
    for s in m.symbols.iter().filter(|s| waits.get(s.slot.index()).is_none_or(|w| *w == 0)) {
        let bad = |&v: &i64| v < s.lo || v > s.hi || v.checked_rem(s.multiple_of) != Some(0);
        if let Some(value) = get(s.slot).filter(bad) {
            let hi = if s.hi == i64::MAX { String::new() } else { s.hi.to_string() };
            let multiple = if s.multiple_of > 1 { format!(", a multiple of {}", s.multiple_of) } else { String::new() };
            let expected = format!("{}..{hi}{multiple}", s.lo);
            return Err(RunError::DimOutOfBounds { symbol: s.name.clone(), value, expected });
        }
    }
    let refused = |c: &&odc_format::Check| waits_of(waits, &c.condition) == 0 && c.condition.holds(&slots) == Some(false);
    if let Some(check) = m.shape_program.checks.iter().find(refused) {
        return Err(RunError::CheckFailed { what: check.what.clone() });
    }
    evaluated.map_err(|e| RunError::TooLarge { what: e.to_string() })?;
    Ok(slots)
}

/// Finds the manifest's inputs among those that a caller gives by name: `order[i]` is the caller's position of input i.
pub(crate) fn order_inputs<'n>(m: &Manifest, names: impl Iterator<Item = &'n str> + Clone, order: &mut Vec<usize>) -> Result<(), RunError> {
    order.clear();
    for info in &m.inputs {
        let mut found = names.clone().enumerate().filter(|(_, name)| *name == info.name).map(|(i, _)| i);
        match (found.next(), found.next()) {
            (Some(at), None) => order.push(at),
            (Some(_), Some(_)) => return Err(RunError::DuplicateInput { name: info.name.clone() }),
            (None, _) => {
                let missing = m.inputs.iter().filter(|t| names.clone().all(|name| name != t.name));
                let missing: Vec<_> = missing.map(describe).collect();
                return Err(RunError::MissingInputs { missing: missing.join(", "), expected: describe_inputs(m) });
            }
        }
    }
    match names.clone().find(|name| m.inputs.iter().all(|t| t.name != *name)) {
        Some(name) => Err(RunError::UnknownInput { name: name.to_string(), expected: describe_inputs(m) }),
        None => Ok(()),
    }
}

pub(crate) fn check_dtype(info: &TensorInfo, found: DType) -> Result<(), RunError> {
    if found == info.dtype {
        return Ok(());
    }
    Err(RunError::WrongType { name: info.name.clone(), found, expected: describe(info) })
}

pub(crate) fn check_rank(info: &TensorInfo, shape: &[usize]) -> Result<(), RunError> {
    let rank = shape.len();
    if rank == info.shape.len() {
        return Ok(());
    }
    Err(RunError::WrongRank { name: info.name.clone(), found: shape_text(shape), rank, expected: describe(info) })
}

pub(crate) fn check_length(info: &TensorInfo, shape: &[usize], need: usize, found: usize) -> Result<(), RunError> {
    if need == found {
        return Ok(());
    }
    Err(RunError::DataLength { name: info.name.clone(), shape: shape_text(shape), need: need.to_string(), found })
}

/// "[2, 3]"
pub(crate) fn shape_text(shape: &[usize]) -> String {
    format!("{shape:?}")
}

/// "x: f32[n, 3]"
pub(crate) fn describe(info: &TensorInfo) -> String {
    format!("{}: {}[{}]", info.name, info.dtype, info.shape_text.join(", "))
}

/// All inputs: "x: f32[n, 3], y: i64[n]"
pub(crate) fn describe_inputs(m: &Manifest) -> String {
    m.inputs.iter().map(describe).collect::<Vec<_>>().join(", ")
}
