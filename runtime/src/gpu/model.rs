//! A model on a device: its weights and pipelines, made once and shared by all sessions.

use super::{
    GpuError, GpuMemory, bad_plan,
    count::{Counters, Counts},
    device::choose,
    pipelines::Pipelines,
    plan::{Caps, Plan, padded},
    sync::Watch,
    weights::{Weights, pack},
};
use crate::{ArtifactBytes, LoadError};
use odc_format::{ArtifactView, BufferRef, Code, Manifest, TargetProgram};
use std::sync::Arc;

#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GpuOptions {
    /// The program to run, by its name in the artifact ("wgsl", "spirv:f16") or its language. Else, and of several in that language,
    /// the first that the device can run: artifacts have the most capable first.
    pub target: Option<String>,
    /// Runs WGSL without the bounds checks that wgpu adds where the driver has none. SPIR-V never has them.
    pub trusted: bool,
    /// Part of the name of the GPU that [`own_device`](super::own_device) takes. Else the environment's, or the fastest.
    pub adapter: Option<String>,
    /// Sets the device's lost callback, once for all models on it. Turn it off when the application has its own, and
    /// call [`GpuModel::device_lost`] from there.
    pub watch_device: bool,
}

impl Default for GpuOptions {
    fn default() -> Self {
        GpuOptions { target: None, trusted: false, adapter: None, watch_device: true }
    }
}

impl GpuOptions {
    pub fn target(mut self, name: impl Into<String>) -> Self {
        self.target = Some(name.into());
        self
    }

    pub fn trusted(mut self, trusted: bool) -> Self {
        self.trusted = trusted;
        self
    }

    pub fn adapter(mut self, name: impl Into<String>) -> Self {
        self.adapter = Some(name.into());
        self
    }

    pub fn watch_device(mut self, watch: bool) -> Self {
        self.watch_device = watch;
        self
    }
}

/// Cheap to clone; the last clone or session frees it.
#[derive(Clone)]
pub struct GpuModel(pub(super) Arc<Inner>);

pub(super) struct Inner {
    /// From which `resume` makes everything again.
    artifact: ArtifactBytes,
    options: GpuOptions,
    pub manifest: Manifest,
    pub target: TargetProgram,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub watch: Arc<Watch>,
    pub caps: Caps,
    pub weights: Weights,
    pub pipelines: Pipelines,
    counts: Counts,
}

impl GpuModel {
    /// Uploads the weights that the chosen program uses and makes all of its pipelines. The device is checked first.
    pub fn load(
        artifact: impl Into<ArtifactBytes>,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        options: GpuOptions,
    ) -> Result<GpuModel, GpuError> {
        let artifact = artifact.into();
        let bytes = artifact.bytes();
        let ArtifactView { mut manifest, layout, .. } = ArtifactView::parse(bytes).map_err(LoadError::from)?;
        let index = choose(&manifest, device, &options)?;
        if index >= manifest.targets.len() {
            return Err(bad_plan("there is no program"));
        }
        let target = manifest.targets.swap_remove(index);
        if let Some(k) = (0u32..).zip(&target.outputs).find_map(|(k, b)| (*b != BufferRef::Output(k)).then_some(k)) {
            return Err(bad_plan(format!("output {k} of a GPU program is not in a buffer of its own")));
        }
        let Code::Section(section) = target.code else {
            return Err(bad_plan("a GPU program has no code section"));
        };
        let code = layout.code.get(section as usize).cloned().and_then(|range| bytes.get(range)).unwrap_or_default();
        let limits = device.limits();
        let caps = Caps { buffer: limits.max_buffer_size, binding: limits.max_storage_buffer_binding_size };
        let packing = pack(&target, &manifest.weights, caps.buffer)?;
        let watch = Watch::of(device, options.watch_device);
        watch.poll(false)?;
        let counts = Counts::default();
        // Pipelines first: when the device refuses one, nothing was uploaded in vain.
        let pipelines = watch.explain(Pipelines::new(&target, code, device, options.trusted, &counts))?;
        let section = bytes.get(layout.weights).unwrap_or_default();
        let weights = watch.explain(Weights::upload(packing, &manifest.weights, section, device, queue, &watch, &counts))?;
        let (device, queue) = (device.clone(), queue.clone());
        Ok(GpuModel(Arc::new(Inner { artifact, options, manifest, target, device, queue, watch, caps, weights, pipelines, counts })))
    }

    /// Makes everything again on another device, after the old one was lost. Sessions of the old model stay with the
    /// old device: make new ones.
    pub fn resume(&mut self, device: &wgpu::Device, queue: &wgpu::Queue) -> Result<(), GpuError> {
        *self = GpuModel::load(self.0.artifact.clone(), device, queue, self.0.options.clone())?;
        Ok(())
    }

    /// What an application tells that watches its device itself: every later run is an error.
    pub fn device_lost(&self, reason: &str) {
        self.0.watch.set_lost(reason);
    }

    /// What the artifact says about itself. `targets` holds those that were not chosen.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// The program that runs.
    pub fn target(&self) -> &TargetProgram {
        &self.0.target
    }

    pub fn device(&self) -> &wgpu::Device {
        &self.0.device
    }

    pub fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    /// Bytes of the weights on the device, which sessions share.
    pub fn weight_bytes(&self) -> u64 {
        self.0.weights.bytes()
    }

    /// What loading made. It never changes afterwards: sessions count their own.
    pub fn counters(&self) -> Counters {
        self.0.counts.get()
    }
}

/// The GPU memory of a session with inputs from host memory and outputs of its own, at given values of the symbols,
/// before any device is there; `None` when a symbol is missing or the shapes do not fit the model.
pub fn memory_at(manifest: &Manifest, target: &TargetProgram, symbols: &[(&str, i64)]) -> Option<GpuMemory> {
    let value = |name: &str| symbols.iter().find(|(n, _)| *n == name).map(|&(_, v)| v);
    let known: Vec<_> = manifest.symbols.iter().filter_map(|s| Some((s.slot, value(&s.name)?))).collect();
    let slots = manifest.shape_program.evaluate_at(&known);
    let dim = |slot: odc_format::Slot| usize::try_from(slots.get(slot.index()).copied().flatten()?).ok();
    let shape = |t: &odc_format::TensorInfo| t.shape.iter().map(|&s| dim(s)).collect::<Option<Vec<usize>>>();
    let shapes = manifest.inputs.iter().map(shape).collect::<Option<Vec<_>>>()?;
    let packing = pack(target, &manifest.weights, u64::MAX).ok()?;
    let input = |i: usize| shapes.get(i).map_or(&[][..], |s| s.as_slice());
    let plan = Plan::new(manifest, target, &packing.places, Caps::NONE, input).ok()?;
    Some(GpuMemory {
        weights: packing.sizes.iter().sum(),
        arena: plan.arena,
        outputs: plan.outputs.iter().map(|o| padded(o.bytes)).sum(),
        inputs: plan.input_bytes.iter().map(|&bytes| padded(bytes)).sum(),
        dims: plan.dims.len() as u64,
        staging: 0,
    })
}
