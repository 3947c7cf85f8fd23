//! A session: what one stream of runs needs besides the model. It remembers shapes and the caller's buffers, so that
//! repeating a run makes nothing.

use super::{
    Counters, GpuError, GpuMemory, GpuModel, HostTensor,
    bind::{Prepared, locate},
    buffers::Buffers,
    count::{Counts, add},
    given::{Given, Part},
    plan::{CopyPlan, Plan, Segment},
    sync::scoped,
    weights::write,
};
use crate::{
    DType, TensorView,
    bind::{check_dtype, check_length, check_rank, order_inputs},
    in_range::check_values,
};

/// Sets of shapes that a session remembers.
const PLANS: usize = 8;

/// An input where it is.
#[derive(Clone, Copy)]
pub enum GpuInput<'a> {
    /// Copied to the GPU: `encode` writes it through the queue, so it is there from the next submit on. Two uses of one
    /// session before a submit would both see the second one's data.
    Host(TensorView<'a>),
    /// Read in place, so that nobody checks indices in it: `STORAGE`, and as many bytes as the tensor has, rounded up to 4.
    Buffer { buffer: wgpu::BufferSlice<'a>, shape: &'a [usize] },
}

impl<'a> From<TensorView<'a>> for GpuInput<'a> {
    fn from(view: TensorView<'a>) -> Self {
        GpuInput::Host(view)
    }
}

impl<'a> GpuInput<'a> {
    pub fn buffer(buffer: &'a wgpu::Buffer, shape: &'a [usize]) -> Self {
        GpuInput::Buffer { buffer: buffer.slice(..), shape }
    }

    fn shape(&self) -> &'a [usize] {
        match *self {
            GpuInput::Host(view) => view.shape,
            GpuInput::Buffer { shape, .. } => shape,
        }
    }
}

/// Where an output lies after a run.
#[derive(Debug, Clone, Copy)]
pub struct GpuOutput<'s> {
    pub name: &'s str,
    pub dtype: DType,
    pub shape: &'s [usize],
    /// The caller's, or the session's, which the next run overwrites.
    pub buffer: &'s wgpu::Buffer,
    pub offset: u64,
    pub bytes: u64,
}

/// Its buffers, bind groups and counts; weights and pipelines are the model's.
pub struct GpuSession {
    pub(super) model: GpuModel,
    pub(super) counts: Counts,
    pub(super) buffers: Buffers,
    /// Latest first.
    plans: Vec<Prepared>,
    order: Vec<usize>,
    /// Whether the front plan has run.
    ran: bool,
}

impl GpuSession {
    pub fn new(model: &GpuModel) -> GpuSession {
        let manifest = &model.0.manifest;
        GpuSession {
            model: model.clone(),
            counts: Counts::default(),
            buffers: Buffers::new(manifest.inputs.len(), manifest.outputs.len()),
            plans: Vec::with_capacity(PLANS),
            order: Vec::new(),
            ran: false,
        }
    }

    pub fn model(&self) -> &GpuModel {
        &self.model
    }

    /// Bytes that are allocated now. The weights are shared with the other sessions of the model.
    pub fn memory(&self) -> GpuMemory {
        let dims = self.plans.iter().map(Prepared::dims_bytes).sum();
        GpuMemory { dims, ..self.buffers.memory(&self.model.0) }
    }

    /// What this session made and did; loading is counted by the model.
    pub fn counters(&self) -> Counters {
        self.counts.get()
    }

    /// Makes everything for these input shapes, so that the first run is as fast as the next ones: for inputs from
    /// host memory and outputs of the session's own.
    pub fn prepare(&mut self, shapes: &[(&str, &[usize])]) -> Result<(), GpuError> {
        order_inputs(&self.model.0.manifest, shapes.iter().map(|(name, _)| *name), &mut self.order)?;
        let order = core::mem::take(&mut self.order);
        let shape = |i: usize| order.get(i).and_then(|&at| shapes.get(at)).map_or(&[][..], |(_, shape)| *shape);
        let own = Given::none(self.model.0.manifest.inputs.len(), self.model.0.manifest.outputs.len());
        let done = self.select(shape, &own);
        self.order = order;
        self.model.0.watch.explain(done)
    }

    /// Runs the model on host data. One submit; the outputs stay on the GPU until they are read.
    pub fn run(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<GpuOutputs<'_>, GpuError> {
        self.submit(inputs.iter().map(|(name, _)| *name), |at| inputs.get(at).map(|&(_, view)| view.into()), &[])
    }

    /// The same on any inputs, and into the caller's buffers for those outputs that have one.
    pub fn run_with(
        &mut self,
        inputs: &[(&str, GpuInput<'_>)],
        outputs: &[(&str, wgpu::BufferSlice<'_>)],
    ) -> Result<GpuOutputs<'_>, GpuError> {
        self.submit(inputs.iter().map(|(name, _)| *name), |at| inputs.get(at).map(|&(_, input)| input), outputs)
    }

    /// Records the model into the caller's encoder, outside of any pass; nothing runs before the caller submits it.
    /// An output buffer needs `STORAGE` (`COPY_DST` where the model only passes a tensor through) and as many bytes as
    /// the tensor has, rounded up to 4; outputs without one are in the session's own, see [`GpuSession::output`].
    pub fn encode(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        inputs: &[(&str, GpuInput<'_>)],
        outputs: &[(&str, wgpu::BufferSlice<'_>)],
    ) -> Result<(), GpuError> {
        self.model.0.watch.check()?;
        let bound = self.bind(inputs.iter().map(|(name, _)| *name), |at| inputs.get(at).map(|&(_, input)| input), outputs);
        self.model.0.watch.explain(bound)?;
        self.record(encoder)
    }

    fn submit<'n, 'a>(
        &mut self,
        names: impl Iterator<Item = &'n str> + Clone,
        input: impl Fn(usize) -> Option<GpuInput<'a>>,
        outputs: &[(&str, wgpu::BufferSlice<'_>)],
    ) -> Result<GpuOutputs<'_>, GpuError> {
        let model = self.model.clone();
        model.0.watch.check()?;
        let bound = self.bind(names, input, outputs);
        model.0.watch.explain(bound)?;
        let (device, queue) = (&model.0.device, &model.0.queue);
        let submitted = scoped(device, "a run", 0, || {
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("odc") });
            self.record(&mut encoder)?;
            queue.submit([encoder.finish()]);
            add(&self.counts.submits, 1);
            Ok::<(), GpuError>(())
        });
        model.0.watch.explain(submitted)??;
        model.0.watch.poll(false)?;
        Ok(GpuOutputs { session: self })
    }

    /// Finds or makes all that a run needs, and writes host inputs.
    fn bind<'n, 'a>(
        &mut self,
        names: impl Iterator<Item = &'n str> + Clone,
        input: impl Fn(usize) -> Option<GpuInput<'a>>,
        outputs: &[(&str, wgpu::BufferSlice<'_>)],
    ) -> Result<(), GpuError> {
        let model = self.model.clone();
        let manifest = &model.0.manifest;
        order_inputs(manifest, names, &mut self.order)?;
        let order = core::mem::take(&mut self.order);
        let input = |i: usize| order.get(i).and_then(|&at| input(at));
        let shape = |i: usize| input(i).map_or(&[][..], |input| input.shape());
        let mut given = Given { inputs: Vec::with_capacity(order.len()), outputs: self.given_outputs(outputs)? };
        for (i, info) in manifest.inputs.iter().enumerate() {
            if let Some(GpuInput::Host(view)) = input(i) {
                check_dtype(info, view.dtype)?;
                check_rank(info, view.shape)?;
            }
            given.inputs.push(match input(i) {
                Some(GpuInput::Buffer { buffer, .. }) => Some(Part::of(buffer)),
                _ => None,
            });
        }
        self.select(shape, &given)?;
        let Some(prepared) = self.plans.first() else {
            return Ok(());
        };
        let host = |i: usize| match input(i) {
            Some(GpuInput::Host(view)) => Some(view),
            _ => None,
        };
        for (i, (info, &need)) in manifest.inputs.iter().zip(&prepared.plan.input_bytes).enumerate() {
            if let Some(view) = host(i) {
                check_length(info, view.shape, need as usize, view.data.len())?;
            }
        }
        check_values(manifest, &prepared.plan.slots, host)?;
        for i in 0..manifest.inputs.len() {
            let Some(view) = host(i) else {
                continue;
            };
            if let Some(buffer) = self.buffers.input(i) {
                write(&model.0.device, &model.0.queue, &self.counts, buffer, 0, view.data)?;
            }
        }
        self.order = order;
        self.ran = true;
        Ok(())
    }

    fn given_outputs(&self, outputs: &[(&str, wgpu::BufferSlice<'_>)]) -> Result<Vec<Option<Part>>, GpuError> {
        let mut parts = vec![None; self.model.0.manifest.outputs.len()];
        for (name, slice) in outputs {
            let at = self.output_index(name)?;
            let part = parts.get_mut(at).and_then(|slot: &mut Option<Part>| slot.replace(Part::of(*slice)));
            if part.is_some() {
                return Err(GpuError::Buffer { name: (*name).into(), why: "there are two for this output".into() });
            }
        }
        Ok(parts)
    }

    pub(super) fn output_index(&self, name: &str) -> Result<usize, GpuError> {
        let outputs = &self.model.0.manifest.outputs;
        let expected = || outputs.iter().map(crate::bind::describe).collect::<Vec<_>>().join(", ");
        let unknown = || GpuError::UnknownOutput { name: name.into(), expected: expected() };
        outputs.iter().position(|t| t.name == name).ok_or_else(unknown)
    }

    /// Brings the plan for these shapes, and in it the bind groups for these buffers, to the front.
    fn select<'a>(&mut self, shape: impl Fn(usize) -> &'a [usize], given: &Given) -> Result<(), GpuError> {
        self.ran = false;
        let model = self.model.clone();
        let model = &*model.0;
        match self.plans.iter().position(|p| p.plan.is_for(&shape)) {
            Some(at) => {
                if let Some(recent) = self.plans.get_mut(..=at) {
                    recent.rotate_right(1);
                }
            }
            None => {
                let plan = Plan::new(&model.manifest, &model.target, &model.weights.places, model.caps, &shape)?;
                let prepared = Prepared::new(model, &self.counts, plan)?;
                self.plans.truncate(PLANS - 1);
                self.plans.insert(0, prepared);
            }
        }
        let enough = self.plans.first().is_none_or(|p| self.buffers.suffice(&p.plan, given));
        if !enough {
            // They refer to buffers that go.
            self.plans.iter_mut().for_each(|p| p.sets.clear());
        }
        let Some(prepared) = self.plans.first_mut() else {
            return Ok(());
        };
        if !enough {
            self.buffers.fit(model, &self.counts, &prepared.plan, given)?;
        }
        prepared.bind(model, &self.counts, &self.buffers, given)?;
        model.watch.check()
    }

    fn record(&self, encoder: &mut wgpu::CommandEncoder) -> Result<(), GpuError> {
        let Some((prepared, set)) = self.plans.first().and_then(|p| Some((p, p.sets.first()?))) else {
            return Err(GpuError::NotRun);
        };
        let (model, plan) = (&*self.model.0, &prepared.plan);
        for segment in &plan.segments {
            match segment {
                Segment::Copies(range) => {
                    for CopyPlan { src, dst } in plan.copies.get(range.clone()).unwrap_or_default() {
                        let (from, from_offset, _) = locate(model, &self.buffers, &set.given, src.place)?;
                        let (to, to_offset, _) = locate(model, &self.buffers, &set.given, dst.place)?;
                        encoder.copy_buffer_to_buffer(from, from_offset, to, to_offset, src.bytes);
                        add(&self.counts.copies, 1);
                    }
                }
                Segment::Pass(range) => {
                    let desc = wgpu::ComputePassDescriptor { label: Some(&model.manifest.name), timestamp_writes: None };
                    let mut pass = encoder.begin_compute_pass(&desc);
                    add(&self.counts.passes, 1);
                    let mut current = None;
                    for (at, d) in range.clone().zip(plan.dispatches.get(range.clone()).unwrap_or_default()) {
                        let pipeline = model.pipelines.kernels.get(d.kernel).and_then(Option::as_ref);
                        let (Some(pipeline), Some(group)) = (pipeline, set.group(at)) else {
                            return Err(super::bad_plan("a dispatch has no pipeline"));
                        };
                        if current != Some(d.kernel) {
                            pass.set_pipeline(&pipeline.pipeline);
                            current = Some(d.kernel);
                        }
                        pass.set_bind_group(0, group, &[]);
                        let [x, y] = d.grid;
                        pass.dispatch_workgroups(x, y, 1);
                    }
                    add(&self.counts.dispatches, range.len() as u64);
                }
            }
        }
        Ok(())
    }

    /// Where an output of the latest run or `encode` lies.
    pub fn output(&self, name: &str) -> Result<GpuOutput<'_>, GpuError> {
        self.output_at(self.output_index(name)?)
    }

    pub(super) fn output_at(&self, k: usize) -> Result<GpuOutput<'_>, GpuError> {
        let prepared = self.plans.first().filter(|_| self.ran).ok_or(GpuError::NotRun)?;
        let given = prepared.sets.first().and_then(|set| set.given.output(k));
        let own = self.buffers.output(k).map(|b| (b, 0));
        let (buffer, offset) = given.map(|p| (&p.buffer, p.offset)).or(own).ok_or(GpuError::NotRun)?;
        let (info, plan) = self.model.0.manifest.outputs.get(k).zip(prepared.plan.outputs.get(k)).ok_or(GpuError::NotRun)?;
        Ok(GpuOutput { name: &info.name, dtype: info.dtype, shape: &plan.shape, buffer, offset, bytes: plan.bytes })
    }

    /// Lets go of the caller's buffers, which sessions otherwise remember with their bind groups.
    pub fn forget_buffers(&mut self) {
        let caller = |g: &Given| g.inputs.iter().chain(&g.outputs).any(Option::is_some);
        self.plans.iter_mut().for_each(|p| p.sets.retain(|set| !caller(&set.given)));
        self.ran = false;
    }
}

/// The results of a run, on the GPU.
pub struct GpuOutputs<'s> {
    session: &'s mut GpuSession,
}

impl GpuOutputs<'_> {
    pub fn get(&self, name: &str) -> Result<GpuOutput<'_>, GpuError> {
        self.session.output(name)
    }

    /// Waits for the run and copies one output to host memory.
    pub fn read(&mut self, name: &str) -> Result<HostTensor, GpuError> {
        self.session.read(name)
    }

    /// Waits for the run and copies all outputs to host memory at once, in the manifest's order.
    pub fn read_all(&mut self) -> Result<Vec<HostTensor>, GpuError> {
        self.session.read_all()
    }
}
