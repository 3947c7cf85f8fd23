//! Devices: what a program needs of one, which program a device can run, and a device of our own.

use super::{GpuError, GpuOptions, sync::block_on};
use crate::{ArtifactBytes, LoadError};
use odc_format::{ArtifactView, Device, Language, Manifest, TargetProgram};
use std::sync::OnceLock;

/// "Apple M3 (Metal)"
pub(super) fn device_name(info: &wgpu::AdapterInfo) -> String {
    format!("{} ({:?})", info.name, info.backend)
}

/// The feature that lets wgpu run a language.
fn language_feature(language: Language) -> wgpu::Features {
    match language {
        Language::Spirv => wgpu::Features::PASSTHROUGH_SHADERS,
        Language::Wgsl | Language::Msl => wgpu::Features::empty(),
    }
}

/// Matrices of subgroups: wgpu's own use of them is an experiment, a SPIR-V module brings its own instructions.
const MATRICES: wgpu::Features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;

/// By WebGPU's name. Other experimental ones stay off: wgpu does not promise that they are safe.
fn feature(name: &str) -> Option<wgpu::Features> {
    // Of the language, not of a device: wgpu has it wherever it runs WGSL, and turns it on in Vulkan where that has it.
    if name == "packed_4x8_integer_dot_product" {
        return Some(wgpu::Features::empty());
    }
    // Shapes and sizes are asked for apart.
    if name.starts_with("cooperative-matrix:") || name.starts_with("subgroup-size:") {
        return Some(wgpu::Features::empty());
    }
    let feature = name.parse::<wgpu::Features>().ok()?;
    (!wgpu::Features::all_experimental_mask().intersects(feature) || feature == MATRICES).then_some(feature)
}

/// Do all subgroups have the size that `name` asks for, if it asks for one?
fn has_size(name: &str, info: &wgpu::AdapterInfo) -> bool {
    name.strip_prefix("subgroup-size:")
        .is_none_or(|n| n.parse() == Ok(info.subgroup_min_size) && info.subgroup_min_size == info.subgroup_max_size)
}

/// Does the adapter multiply matrices of the shape that `name` asks for, if it asks for one? wgpu tells of floats only.
fn has_shape(name: &str, adapter: &wgpu::Adapter) -> bool {
    use wgpu::CooperativeScalarType::{F16, F32};
    let Some(wanted) = name.strip_prefix("cooperative-matrix:") else { return true };
    let is = |p: &wgpu::CooperativeMatrixProperties| {
        (p.ab_type, p.cr_type) == (F16, F32) && wanted == format!("f16:{}x{}x{}", p.m_size, p.n_size, p.k_size)
    };
    adapter.cooperative_matrix_properties().iter().any(is)
}

/// Why a device cannot run a program, or nothing.
pub(super) fn check(t: &TargetProgram, features: wgpu::Features, limits: &wgpu::Limits, info: &wgpu::AdapterInfo) -> Result<(), GpuError> {
    let device = || device_name(info);
    let Device::Gpu { language, features: names, limits: need } = &t.device else {
        return Err(GpuError::NoProgram { device: device(), reasons: format!("\"{}\" is for a CPU", t.target) });
    };
    let missing = |feature: &str| GpuError::MissingFeature { target: t.target.clone(), feature: feature.into(), device: device() };
    match language {
        Language::Wgsl => {}
        Language::Spirv if info.backend == wgpu::Backend::Vulkan => {}
        Language::Spirv => return Err(missing("vulkan")),
        // A Metal application runs it itself; here WGSL does the same.
        Language::Msl => return Err(missing("msl")),
    }
    if !features.contains(language_feature(*language)) {
        return Err(missing("passthrough-shaders"));
    }
    for name in names {
        if !feature(name).is_some_and(|f| features.contains(f)) || !has_size(name, info) {
            return Err(missing(name));
        }
    }
    let kernels = || t.kernels.iter().filter_map(|k| k.gpu.as_ref());
    let workgroup = |axis: usize| kernels().filter_map(|g| g.workgroup.get(axis)).copied().max().map_or(0, u64::from);
    let limit = |limit, needed: u64, found: u64| match needed <= found {
        true => Ok(()),
        false => Err(GpuError::LimitTooLow { target: t.target.clone(), limit, needed, found, device: device() }),
    };
    limit("maxStorageBuffersPerShaderStage", need.storage_buffers.into(), limits.max_storage_buffers_per_shader_stage.into())?;
    limit("maxStorageBufferBindingSize", need.binding_bytes, limits.max_storage_buffer_binding_size)?;
    limit("maxBufferSize", need.binding_bytes, limits.max_buffer_size)?;
    limit("maxComputeInvocationsPerWorkgroup", need.invocations.into(), limits.max_compute_invocations_per_workgroup.into())?;
    limit("maxComputeWorkgroupStorageSize", need.workgroup_bytes.into(), limits.max_compute_workgroup_storage_size.into())?;
    limit("maxComputeWorkgroupSizeX", workgroup(0), limits.max_compute_workgroup_size_x.into())?;
    limit("maxComputeWorkgroupSizeY", workgroup(1), limits.max_compute_workgroup_size_y.into())?;
    limit("maxComputeWorkgroupSizeZ", workgroup(2), limits.max_compute_workgroup_size_z.into())?;
    limit("maxComputeWorkgroupsPerDimension", super::plan::MAX_GRID_X as u64, limits.max_compute_workgroups_per_dimension.into())
}

/// The first program that the device can run, or the one that `options` names.
pub(super) fn choose(manifest: &Manifest, device: &wgpu::Device, options: &GpuOptions) -> Result<usize, GpuError> {
    let (features, limits, info) = (device.features(), device.limits(), device.adapter_info());
    let mut refused = Vec::new();
    for (index, t) in candidates(manifest, options) {
        match check(t, features, &limits, &info) {
            Ok(()) => return Ok(index),
            Err(e) => refused.push(e),
        }
    }
    let reasons = match (refused.len(), &options.target) {
        (1, _) => return refused.pop().map_or(Ok(0), Err),
        (0, Some(name)) => format!("there is none for \"{name}\", only for {}", target_names(manifest)),
        (0, None) => format!("there is none for a GPU, only for {}", target_names(manifest)),
        _ => refused.iter().map(|e| e.to_string()).collect::<Vec<_>>().join("; "),
    };
    Err(GpuError::NoProgram { device: device_name(&info), reasons })
}

/// In the order of the artifact, which has the most capable of a language first. A name is a program's own ("wgsl:f16"), or that of a
/// language if no program has just this one.
fn candidates<'m>(manifest: &'m Manifest, options: &GpuOptions) -> impl Iterator<Item = (usize, &'m TargetProgram)> {
    let language = |t: &TargetProgram| t.target.split(':').next().map(str::to_owned);
    let exact = manifest.targets.iter().any(|t| Some(&t.target) == options.target.as_ref());
    let wanted = move |t: &TargetProgram| match &options.target {
        Some(name) if exact => t.target == *name,
        Some(_) => language(t) == options.target,
        None => matches!(t.device, Device::Gpu { .. }),
    };
    manifest.targets.iter().enumerate().filter(move |(_, t)| wanted(t)).collect::<Vec<_>>().into_iter()
}

fn target_names(manifest: &Manifest) -> String {
    manifest.targets.iter().map(|t| format!("\"{}\"", t.target)).collect::<Vec<_>>().join(", ")
}

/// Makes a device that can run the artifact, with all limits that the adapter has, for programs that have none yet.
/// `WGPU_BACKEND`, `WGPU_ADAPTER_NAME` and the like choose among several.
pub fn own_device(artifact: impl Into<ArtifactBytes>, options: &GpuOptions) -> Result<(wgpu::Device, wgpu::Queue), GpuError> {
    let bytes = artifact.into();
    let manifest = ArtifactView::parse(bytes.bytes()).map_err(LoadError::from)?.manifest;
    // One for all: wgpu cannot tell objects of different instances apart.
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    let instance = INSTANCE.get_or_init(|| wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env()));
    let adapter = block_on(pick_adapter(instance, options.adapter.clone()))?;
    let (has, limits, info) = (adapter.features(), adapter.limits(), adapter.get_info());
    // What one of the programs needs, of those that the adapter can run; if it can run none, `load` says why.
    let mut required = wgpu::Features::empty();
    for (_, t) in candidates(&manifest, options).filter(|(_, t)| check(t, has, &limits, &info).is_ok()) {
        if let Device::Gpu { language, features, .. } = &t.device
            && features.iter().all(|name| has_shape(name, &adapter))
        {
            required |= features.iter().filter_map(|name| feature(name)).fold(language_feature(*language), |all, f| all | f);
        }
    }
    let experimental_features = match required.contains(MATRICES) {
        // SAFETY: the one experiment is a switch of Vulkan's for modules that are passed through as they are; wgpu's own is not used.
        true => unsafe { wgpu::ExperimentalFeatures::enabled() },
        false => wgpu::ExperimentalFeatures::disabled(),
    };
    let request = adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("odc"),
        required_features: required,
        experimental_features,
        required_limits: limits,
        // A model has few buffers of known sizes: large blocks would mostly stay empty.
        memory_hints: wgpu::MemoryHints::MemoryUsage,
        ..Default::default()
    });
    block_on(request).map_err(|e| GpuError::NoAdapter { reason: format!("{}: {e}", device_name(&info)) })
}

async fn pick_adapter(instance: &wgpu::Instance, named: Option<String>) -> Result<wgpu::Adapter, GpuError> {
    let no_adapter = |e: &dyn core::fmt::Display| GpuError::NoAdapter { reason: e.to_string() };
    if let Some(name) = named.or_else(|| std::env::var("WGPU_ADAPTER_NAME").ok()) {
        let all = instance.enumerate_adapters(wgpu::Backends::all()).await;
        let names = all.iter().map(|a| a.get_info().name).collect::<Vec<_>>().join(", ");
        let found = all.into_iter().find(|a| a.get_info().name.to_lowercase().contains(&name.to_lowercase()));
        return found.ok_or_else(|| no_adapter(&format!("none is called \"{name}\", there are: {names}")));
    }
    let options = wgpu::RequestAdapterOptions { power_preference: wgpu::PowerPreference::HighPerformance, ..Default::default() };
    instance.request_adapter(&options).await.map_err(|e| no_adapter(&e))
}
