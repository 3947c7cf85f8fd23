//! A session: one arena, a few remembered plans, and the threads. Running a shape that it knows allocates nothing.

use crate::{
    Artifact, KernelFn, LoadError, RunError, TensorView,
    bind::{Plan, Step, check_dtype, check_length, check_rank, describe, describe_inputs, order_inputs},
    control::{Control, Places},
    in_range::check_values,
    memory::Block,
    pool::Pool,
};
use alloc::{format, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};

/// Plans that a session remembers; a longer cycle of shapes binds anew each time.
const PLANS: usize = 8;

#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Threads that compute, the caller's included; 0: as many as the machine has cores.
    pub threads: usize,
    /// Iterations that all loops of a run may come to together: a model may have a loop without an end.
    pub iterations: u64,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions { threads: 1, iterations: 1 << 24 }
    }
}

impl SessionOptions {
    pub fn threads(threads: usize) -> Self {
        SessionOptions { threads, ..SessionOptions::default() }
    }

    pub fn iterations(self, iterations: u64) -> Self {
        SessionOptions { iterations, ..self }
    }
}

/// What a session holds, in bytes. Weights and code belong to the artifact and are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryUse<'a> {
    /// Of the latest run; `None` before the first.
    pub arena: Option<usize>,
    /// `arena` as a formula of the dims.
    pub arena_formula: &'a str,
    pub scratch_per_thread: usize,
    pub threads: usize,
    /// Allocated for arena and scratch together: the most that a run needed so far.
    pub allocated: usize,
}

/// Stops a run of its session, from any thread.
#[derive(Debug, Clone, Default)]
pub struct Canceller(Arc<AtomicBool>);

impl Canceller {
    /// The run that goes on, or else the next one, ends with [`RunError::Cancelled`] before its next kernel.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Was it asked for? It is for one run only.
    fn take(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

pub struct Session {
    artifact: Artifact,
    threads: usize,
    iterations: u64,
    canceller: Canceller,
    pool: Option<Pool>,
    arena: Block,
    /// The latest first.
    plans: Vec<Plan>,
    /// The caller's position of each input.
    order: Vec<usize>,
    inputs: Vec<*const u8>,
    /// Buffers of the dispatch that runs.
    buffers: Vec<*mut u8>,
    control: Control,
}

// SAFETY: the pointers are only used during a run, for which the session is borrowed mutably.
unsafe impl Send for Session {}

/// One dispatch, ready to call.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub kernel: KernelFn,
    pub buffers: *const *mut u8,
    pub dims: *const i64,
    /// Of thread 0; that of thread k lies `k * scratch_stride` behind it.
    pub scratch: *mut u8,
    pub scratch_stride: usize,
}

impl Call {
    /// # Safety
    /// The pointers are those of a bound plan, `thread` is less than the session's threads, nobody else computes the
    /// same items, and the kernel keeps the artifact's promise.
    pub(crate) unsafe fn run(&self, thread: usize, begin: i64, end: i64) {
        // SAFETY: the caller's promise; each thread has its own scratch.
        unsafe {
            let scratch = self.scratch.wrapping_add(thread * self.scratch_stride);
            (self.kernel)(self.buffers, self.dims, scratch, begin, end);
        }
    }
}

impl Session {
    pub(crate) fn new(artifact: Artifact, options: SessionOptions) -> Result<Session, LoadError> {
        let threads = match options.threads {
            0 => available_threads(),
            n => n,
        };
        let inputs = artifact.0.manifest.inputs.len();
        Ok(Session {
            pool: if threads > 1 { Some(Pool::new(threads)?) } else { None },
            artifact,
            threads,
            iterations: options.iterations,
            canceller: Canceller::default(),
            arena: Block::empty(),
            plans: Vec::with_capacity(PLANS),
            order: Vec::with_capacity(inputs),
            inputs: Vec::with_capacity(inputs),
            buffers: Vec::new(),
            control: Control::default(),
        })
    }

    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// What stops a run of this session.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    pub fn memory(&self) -> MemoryUse<'_> {
        let plan = self.plans.first();
        MemoryUse {
            arena: plan.map(|p| p.arena),
            arena_formula: &self.artifact.0.target.peak_text,
            scratch_per_thread: plan.map_or(0, |p| p.scratch),
            threads: self.threads,
            allocated: self.arena.len(),
        }
    }

    /// Runs the model on inputs by name, in any order. The inputs are read in place. The outputs may be read until
    /// the next run.
    pub fn run<'s>(&'s mut self, inputs: &[(&str, TensorView<'s>)]) -> Result<Outputs<'s>, RunError> {
        self.run_watched(inputs, &mut |_| {})
    }

    /// [`run`](Self::run) that calls `watch` after every dispatch with the number of its command: for profilers.
    pub fn run_watched<'s>(&'s mut self, inputs: &[(&str, TensorView<'s>)], watch: &mut dyn FnMut(usize)) -> Result<Outputs<'s>, RunError> {
        let manifest = &self.artifact.0.manifest;
        order_inputs(manifest, inputs.iter().map(|(name, _)| *name), &mut self.order)?;
        let order = core::mem::take(&mut self.order);
        let nothing = TensorView { dtype: odc_format::DType::U8, shape: &[], data: &[] };
        let input = |i: usize| order.get(i).and_then(|&at| inputs.get(at)).map_or(nothing, |&(_, view)| view);
        let done = self.execute(input, watch);
        self.order = order;
        done?;
        Ok(Outputs { session: self })
    }

    /// Runs the model on inputs in the manifest's order.
    pub fn run_ordered<'s>(&'s mut self, inputs: &[TensorView<'s>]) -> Result<Outputs<'s>, RunError> {
        let manifest = &self.artifact.0.manifest;
        if let Some(missing) = manifest.inputs.get(inputs.len()..).filter(|missing| !missing.is_empty()) {
            let missing: Vec<_> = missing.iter().map(describe).collect();
            let expected = describe_inputs(manifest);
            return Err(RunError::MissingInputs { missing: missing.join(", "), expected });
        }
        if inputs.len() > manifest.inputs.len() {
            let name = format!("#{}", manifest.inputs.len());
            return Err(RunError::UnknownInput { name, expected: describe_inputs(manifest) });
        }
        let nothing = TensorView { dtype: odc_format::DType::U8, shape: &[], data: &[] };
        self.execute(|i| inputs.get(i).copied().unwrap_or(nothing), &mut |_| {})?;
        Ok(Outputs { session: self })
    }

    /// The outputs of the latest run again.
    ///
    /// # Safety
    /// There was a run since which no run failed, and the inputs of it are still alive and unchanged.
    pub unsafe fn outputs(&self) -> Outputs<'_> {
        Outputs { session: self }
    }

    fn execute<'a>(&mut self, input: impl Fn(usize) -> TensorView<'a>, watch: &mut dyn FnMut(usize)) -> Result<(), RunError> {
        self.check_types(&input)?;
        self.select_plan(&input)?;
        let model = &self.artifact.0;
        let Some(plan) = self.plans.first_mut() else {
            return Ok(());
        };
        plan.begin();
        self.inputs.clear();
        for (i, (info, &need)) in model.manifest.inputs.iter().zip(&plan.input_bytes).enumerate() {
            let view = input(i);
            check_length(info, view.shape, need, view.data.len())?;
            if !view.data.as_ptr().addr().is_multiple_of(info.dtype.size()) && need > 0 {
                return Err(RunError::Misaligned { name: info.name.clone(), align: info.dtype.size() });
            }
            self.inputs.push(view.data.as_ptr());
        }
        check_values(&model.manifest, &plan.slots, |i| Some(input(i)))?;
        let places = Places { weights: model.weights().as_ptr(), arena: self.arena.ptr(), inputs: &self.inputs };
        let scratch = self.arena.ptr().wrapping_add(arena_space(plan.arena).unwrap_or(0));
        let control = &mut self.control;
        control.prepare(plan);
        let mut at = 0;
        let mut iterations = 0;
        while let Some(step) = plan.steps.get(at) {
            at += 1;
            if self.canceller.take() {
                return Err(RunError::Cancelled);
            }
            match step {
                Step::Size { index, from } => {
                    let (index, from) = (*index, control.get(&places, *from).cast::<i64>());
                    // SAFETY: binding found eight bytes inside its memory; inputs are aligned to their elements, the rest better.
                    let value = unsafe { from.read_unaligned() };
                    plan.say(model, index, value, &input)?;
                }
                Step::If { condition, otherwise } => {
                    if !control.bool(&places, *condition) {
                        at = *otherwise;
                    }
                }
                Step::Goto(to) => at = *to,
                Step::Loop { index, after } => match control.begin(plan, &places, *index) {
                    true => iterations += 1,
                    false => at = *after,
                },
                Step::Next { index, body } => {
                    if control.next(plan, &places, *index) {
                        at = *body;
                        iterations += 1;
                        if iterations > self.iterations {
                            return Err(RunError::Endless { limit: self.iterations });
                        }
                    }
                }
                Step::Copy { src, dst, bytes } => {
                    // SAFETY: binding found both inside their memory; the destination is in the arena.
                    unsafe { core::ptr::copy(control.get(&places, *src), control.get(&places, *dst), *bytes) };
                }
                Step::Dispatch { grid: 0, .. } => {}
                Step::Dispatch { kernel, buffers, dims, grid, grain } => {
                    let places_of = plan.buffers.get(buffers.clone()).unwrap_or_default();
                    let Some(&kernel) = model.kernels.get(*kernel) else {
                        continue;
                    };
                    self.buffers.clear();
                    self.buffers.extend(places_of.iter().map(|&p| control.get(&places, p)));
                    let call = Call {
                        kernel,
                        buffers: self.buffers.as_ptr(),
                        dims: plan.dims.get(dims.clone()).unwrap_or_default().as_ptr(),
                        scratch,
                        scratch_stride: plan.scratch,
                    };
                    match &mut self.pool {
                        Some(pool) if grid > grain => pool.run(call, *grid, *grain),
                        // SAFETY: bound above; thread 0 is the caller, alone.
                        _ => unsafe { call.run(0, 0, *grid) },
                    }
                    watch(at - 1);
                }
            }
        }
        Ok(())
    }

    fn check_types<'a>(&self, input: &impl Fn(usize) -> TensorView<'a>) -> Result<(), RunError> {
        for (i, info) in self.artifact.0.manifest.inputs.iter().enumerate() {
            let view = input(i);
            check_dtype(info, view.dtype)?;
            check_rank(info, view.shape)?;
        }
        Ok(())
    }

    /// Brings the plan for these shapes to the front, and the arena to its size.
    fn select_plan<'a>(&mut self, input: &impl Fn(usize) -> TensorView<'a>) -> Result<(), RunError> {
        match self.plans.iter().position(|plan| plan.is_for(input)) {
            Some(0) => {}
            Some(at) => {
                if let Some(recent) = self.plans.get_mut(..=at) {
                    recent.rotate_right(1);
                }
            }
            None => {
                let plan = Plan::new(&self.artifact.0, input)?;
                self.buffers.clear();
                self.buffers.reserve(plan.max_buffers);
                self.control.prepare(&plan);
                self.plans.truncate(PLANS - 1);
                self.plans.insert(0, plan);
            }
        }
        let Some(plan) = self.plans.first() else {
            return Ok(());
        };
        let scratch = plan.scratch.checked_mul(self.threads);
        let need = arena_space(plan.arena).and_then(|arena| arena.checked_add(scratch?));
        let need = need.unwrap_or(usize::MAX);
        if need > self.arena.len() {
            // The old one goes first: both together could be too much.
            self.arena = Block::empty();
            let formula = &self.artifact.0.target.peak_text;
            self.arena = Block::zeroed(need).ok_or_else(|| RunError::OutOfMemory { bytes: need, formula: formula.clone() })?;
        }
        Ok(())
    }
}

fn available_threads() -> usize {
    #[cfg(feature = "std")]
    return std::thread::available_parallelism().map_or(1, usize::from);
    #[cfg(not(feature = "std"))]
    1
}

/// The arena's bytes before the scratch begins.
fn arena_space(arena: usize) -> Option<usize> {
    arena.checked_next_multiple_of(crate::memory::ALIGN)
}

/// The results of a run, in the manifest's order.
pub struct Outputs<'s> {
    session: &'s Session,
}

impl<'s> Outputs<'s> {
    pub fn len(&self) -> usize {
        self.session.plans.first().map_or(0, |plan| plan.outputs.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, name: &str) -> Option<TensorView<'s>> {
        let outputs = &self.session.artifact.0.manifest.outputs;
        outputs.iter().position(|t| t.name == name).and_then(|i| self.at(i))
    }

    pub fn at(&self, index: usize) -> Option<TensorView<'s>> {
        let session = self.session;
        let plan = session.plans.first()?;
        let output = plan.outputs.get(index)?;
        let info = session.artifact.0.manifest.outputs.get(index)?;
        let weights = session.artifact.0.weights().as_ptr();
        let places = Places { weights, arena: session.arena.ptr(), inputs: &session.inputs };
        let data: &'s [u8] = match (output.bytes, session.control.get(&places, output.place)) {
            (0, _) => &[],
            // SAFETY: binding found the bytes inside their memory, which is borrowed for 's: the arena and the weights
            // through the session, inputs by `run`'s signature.
            (bytes, ptr) => unsafe { core::slice::from_raw_parts(ptr, bytes) },
        };
        Some(TensorView { dtype: info.dtype, shape: plan.output_shapes.get(output.shape.clone())?, data })
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'s str, TensorView<'s>)> + '_ {
        let infos = &self.session.artifact.0.manifest.outputs;
        infos.iter().enumerate().filter_map(|(i, info)| Some((info.name.as_str(), self.at(i)?)))
    }
}
