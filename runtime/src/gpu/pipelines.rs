//! Pipelines: all of them at load, on several threads, with explicit layouts, so that a run never compiles.

use super::{
    GpuError, bad_plan,
    count::{Counts, add},
    sync::scoped,
};
use odc_format::{Access, Command, Device, Kernel, Language, TargetProgram};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Pipelines are compiled by at most so many threads.
const THREADS: usize = 8;

/// What a bind group of a kernel looks like: for each buffer whether it is written, and whether sizes follow.
pub(super) type Shape = (Vec<bool>, bool);

pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    /// In `Pipelines::layouts`: kernels with equal bindings share one.
    pub layout: usize,
}

pub(super) struct Pipelines {
    pub layouts: Vec<wgpu::BindGroupLayout>,
    /// One a kernel; none for a kernel that no command uses.
    pub kernels: Vec<Option<Pipeline>>,
}

/// The bindings of each kernel that is dispatched.
fn shapes(target: &TargetProgram) -> Result<Vec<Option<Shape>>, GpuError> {
    let mut shapes: Vec<Option<Shape>> = vec![None; target.kernels.len()];
    for command in &target.commands {
        let Command::Dispatch(d) = command else {
            continue;
        };
        let (Some(kernel), Some(slot)) = (target.kernels.get(d.kernel as usize), shapes.get_mut(d.kernel as usize)) else {
            continue;
        };
        let access = kernel.gpu.as_ref().map(|g| g.access.iter().map(|a| *a == Access::ReadWrite).collect());
        let shape: Shape = (access.unwrap_or_default(), !d.dims.is_empty());
        if slot.as_ref().is_some_and(|s| *s != shape) {
            return Err(bad_plan(format!("kernel \"{}\" is dispatched with and without sizes", kernel.name)));
        }
        *slot = Some(shape);
    }
    Ok(shapes)
}

impl Pipelines {
    pub(super) fn new(
        target: &TargetProgram,
        code: &[u8],
        device: &wgpu::Device,
        trusted: bool,
        counts: &Counts,
    ) -> Result<Pipelines, GpuError> {
        let shapes = shapes(target)?;
        let mut known: BTreeMap<&Shape, usize> = BTreeMap::new();
        let (mut layouts, mut pipeline_layouts) = (Vec::new(), Vec::new());
        for shape in shapes.iter().flatten() {
            if known.contains_key(shape) {
                continue;
            }
            known.insert(shape, layouts.len());
            let (layout, pipeline_layout) = scoped(device, "a bind group layout", 0, || new_layout(device, shape))?;
            layouts.push(layout);
            pipeline_layouts.push(pipeline_layout);
        }
        let wanted: Vec<(usize, &Kernel, usize, &wgpu::PipelineLayout)> = shapes
            .iter()
            .zip(&target.kernels)
            .enumerate()
            .filter_map(|(k, (shape, kernel))| {
                let layout = *known.get(shape.as_ref()?)?;
                Some((k, kernel, layout, pipeline_layouts.get(layout)?))
            })
            .collect();
        let Device::Gpu { language, .. } = target.device else {
            return Err(bad_plan("a program for a CPU has no GPU kernels"));
        };
        let done: Mutex<Vec<(usize, Result<Pipeline, GpuError>)>> = Mutex::new(Vec::with_capacity(wanted.len()));
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(&(k, kernel, layout, pipeline_layout)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                let made = new_pipeline(device, language, kernel, code, pipeline_layout, trusted);
                let made = made.map(|pipeline| Pipeline { pipeline, layout });
                let failed = made.is_err();
                done.lock().unwrap_or_else(PoisonError::into_inner).push((k, made));
                if failed {
                    next.store(usize::MAX / 2, Ordering::Relaxed);
                }
            }
        };
        std::thread::scope(|scope| {
            let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS).min(wanted.len());
            for _ in 1..threads {
                // Without another thread this one does all.
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        // The error that is reported does not depend on which thread was faster.
        done.sort_by_key(|(k, _)| *k);
        let mut kernels: Vec<Option<Pipeline>> = target.kernels.iter().map(|_| None).collect();
        for (k, made) in done {
            if let Some(slot) = kernels.get_mut(k) {
                *slot = Some(made?);
                add(&counts.pipelines, 1);
            }
        }
        Ok(Pipelines { layouts, kernels })
    }
}

fn new_layout(device: &wgpu::Device, (writes, sizes): &Shape) -> (wgpu::BindGroupLayout, wgpu::PipelineLayout) {
    let storage = writes.iter().map(|&write| wgpu::BufferBindingType::Storage { read_only: !write });
    let all = storage.chain(sizes.then_some(wgpu::BufferBindingType::Uniform));
    let entry = |(binding, ty)| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let entries: Vec<_> = (0..).zip(all).map(entry).collect();
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some("odc"), entries: &entries });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some("odc"),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    (layout, pipeline_layout)
}

fn new_pipeline(
    device: &wgpu::Device,
    language: Language,
    kernel: &Kernel,
    code: &[u8],
    layout: &wgpu::PipelineLayout,
    trusted: bool,
) -> Result<wgpu::ComputePipeline, GpuError> {
    let refused = |reason: String| GpuError::Kernel { kernel: kernel.name.clone(), reason };
    let start = kernel.offset as usize;
    let bytes = start.checked_add(kernel.len as usize).and_then(|end| code.get(start..end)).unwrap_or_default();
    let words: Vec<u32>;
    let text;
    match language {
        Language::Spirv => {
            let (whole, rest) = bytes.as_chunks::<4>();
            if !rest.is_empty() {
                return Err(refused(format!("{} bytes are not words", bytes.len())));
            }
            words = whole.iter().map(|w| u32::from_le_bytes(*w)).collect();
            text = "";
        }
        Language::Wgsl | Language::Msl => {
            words = Vec::new();
            text = core::str::from_utf8(bytes).map_err(|e| refused(format!("its text is not UTF-8: {e}")))?;
        }
    }
    let made = scoped(device, "a pipeline", 0, || {
        let module = match language {
            Language::Spirv => spirv_module(device, kernel, words.into()),
            Language::Wgsl | Language::Msl => wgsl_module(device, kernel, text, trusted),
        };
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&kernel.name),
            layout: Some(layout),
            module: &module,
            entry_point: Some(&kernel.name),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Kernels read nothing from workgroup memory that they did not write; SPIR-V has no such zeroing either.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        })
    });
    made.map_err(|e| match e {
        GpuError::Device { reason, .. } => refused(reason),
        other => other,
    })
}

/// Bounds stay checked unless the application asks otherwise. Kernels prove their bounds and artifacts are trusted as
/// code, but a kernel that is wrong after all should give wrong numbers and not take the application's device away;
/// where the driver can check by itself, it costs nothing. Loops of kernels count to a bound: limiting them once
/// more would slow every inner loop.
fn wgsl_module(device: &wgpu::Device, kernel: &Kernel, text: &str, trusted: bool) -> wgpu::ShaderModule {
    let checks = match trusted {
        true => wgpu::ShaderRuntimeChecks::unchecked(),
        false => wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() },
    };
    let desc = wgpu::ShaderModuleDescriptor { label: Some(&kernel.name), source: wgpu::ShaderSource::Wgsl(text.into()) };
    // SAFETY: the compiler emits counted loops only; that the artifact's kernels are what it emitted, and keep inside
    // their buffers, is what who opens an artifact vouches for.
    unsafe { device.create_shader_module_trusted(desc, checks) }
}

fn spirv_module(device: &wgpu::Device, kernel: &Kernel, words: std::borrow::Cow<'_, [u32]>) -> wgpu::ShaderModule {
    let [x, y, z] = kernel.gpu.as_ref().map_or([1; 3], |g| g.workgroup);
    let entry = wgpu::PassthroughShaderEntryPoint { name: kernel.name.as_str().into(), workgroup_size: (x, y, z) };
    let desc = wgpu::ShaderModuleDescriptorPassthrough {
        label: Some(kernel.name.as_str()),
        entry_points: vec![entry].into(),
        spirv: Some(words),
        ..Default::default()
    };
    // SAFETY: nobody checks SPIR-V: an artifact is trusted like a program, as the crate's documentation says.
    unsafe { device.create_shader_module_passthrough(desc) }
}
