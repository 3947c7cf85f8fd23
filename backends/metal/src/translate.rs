//! The translation itself: parse and validate the WGSL, refuse what Metal lacks, write MSL with fixed buffer indices.
//! naga's safety nets are off because a kernel comes with its own guards, and they cost up to a hundredfold.

use crate::MetalError;
use naga::back::msl;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Expression, Module, ShaderStage, StorageAccess, TypeInner};

/// The MSL version of every kernel: SIMD-group matrices need 2.3; 2.4 is macOS 12 and iOS 15.
pub const LANGUAGE: (u8, u8) = (2, 4);

/// Buffer indices that a Metal kernel can have, less the one for naga's own argument.
pub const MAX_BUFFERS: u32 = 30;

/// Where naga's argument with the buffers' sizes goes before it is dropped.
const SIZES_SLOT: u8 = 30;

/// A kernel for Metal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Msl {
    /// The source, in MSL [`LANGUAGE`]; WGSL's binding `k` of group 0 is `[[buffer(k)]]`.
    pub text: String,
    /// The function to look up. The WGSL entry point's name, unless that is taken in MSL: then naga appends `_`.
    pub entry: String,
    /// Threads a threadgroup; Metal takes them at dispatch, not from the source.
    pub workgroup: [u32; 3],
    /// Bytes of each threadgroup argument, in order, in Metal's multiples of 16: the app sets the k-th at index k.
    pub threadgroup_memory: Vec<u32>,
}

/// Translates a WGSL module with one compute entry point.
pub fn translate(wgsl: &str) -> Result<Msl, MetalError> {
    // Browsers want this line, naga knows the built-ins without it and refuses it.
    let wgsl = &wgsl.replace("enable subgroups;", "");
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|e| MetalError::Parse { text: e.emit_to_string(wgsl) })?;
    let able = Capabilities::SHADER_FLOAT16
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::SUBGROUP
        | Capabilities::SUBGROUP_BARRIER
        | Capabilities::COOPERATIVE_MATRIX;
    let info =
        Validator::new(ValidationFlags::all(), able).validate(&module).map_err(|e| MetalError::Invalid { text: e.emit_to_string(wgsl) })?;

    let (name, workgroup) = entry_point(&module)?;
    check_matrices(&module)?;
    check_lengths(&module)?;
    let resources = bindings(&module)?;
    let resources = msl::EntryPointResources { resources, immediates_buffer: None, sizes_buffer: Some(SIZES_SLOT) };
    let options = msl::Options {
        lang_version: LANGUAGE,
        per_entry_point_map: [(name.clone(), resources)].into(),
        fake_missing_bindings: false,
        bounds_check_policies: unchecked(),
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        // WGSL's x / 0 == x stays: a kernel may rely on it, and the guard folds away for constant divisors.
        emit_int_div_checks: true,
        ..Default::default()
    };
    let pipeline = msl::PipelineOptions { entry_point: Some((ShaderStage::Compute, name)), ..Default::default() };
    let failed = |text: String| MetalError::Write { text };
    let (text, names) = msl::write_string(&module, &info, &options, &pipeline).map_err(|e| failed(e.to_string()))?;
    let entry = names.entry_point_names.into_iter().next();
    let entry = entry.ok_or_else(|| failed("no entry point came out".into()))?.map_err(|e| failed(e.to_string()))?;
    let threadgroup_memory = threadgroup_memory(&module, &info);
    Ok(Msl { text: without_sizes(text)?, entry, workgroup, threadgroup_memory })
}

/// Drops the argument with the buffers' byte sizes, which naga adds wherever a runtime array is used, needed or not:
/// nothing reads it (`check_lengths`), and an app must not wonder what to bind there.
fn without_sizes(text: String) -> Result<String, MetalError> {
    let mut text = text
        .replace(&format!("\n, constant _mslBufferSizes& _buffer_sizes [[buffer({SIZES_SLOT})]]"), "")
        .replace(",\n    constant _mslBufferSizes& _buffer_sizes\n", "\n")
        .replace(", _buffer_sizes)", ")");
    if let Some((head, rest)) = text.split_once("struct _mslBufferSizes {")
        && let Some((_, tail)) = rest.split_once("};\n\n")
    {
        text = format!("{head}{tail}");
    }
    if text.contains("_mslBufferSizes") || text.contains("_buffer_sizes") {
        return Err(MetalError::Write { text: "the buffers' sizes stayed in it (is something named _buffer_sizes?)".into() });
    }
    Ok(text)
}

/// naga passes workgroup variables as arguments, in the order of their declarations, those that are used.
fn threadgroup_memory(module: &Module, info: &ModuleInfo) -> Vec<u32> {
    let used = module.global_variables.iter().filter(|(handle, var)| {
        var.space == AddressSpace::WorkGroup && !module.entry_points.is_empty() && !info.get_entry_point(0)[*handle].is_empty()
    });
    used.map(|(_, var)| module.types[var.ty].inner.size(module.to_ctx()).next_multiple_of(16)).collect()
}

fn unchecked() -> BoundsCheckPolicies {
    let off = BoundsCheckPolicy::Unchecked;
    BoundsCheckPolicies { index: off, buffer: off, image_load: off, binding_array: off }
}

/// The name and workgroup size of the only entry point; nothing may be left to be specialised.
fn entry_point(module: &Module) -> Result<(String, [u32; 3]), MetalError> {
    if let Some((_, constant)) = module.overrides.iter().next() {
        return Err(MetalError::Override { name: constant.name.clone().unwrap_or_else(|| "(unnamed)".into()) });
    }
    match module.entry_points.as_slice() {
        [one] if one.stage == ShaderStage::Compute => Ok((one.name.clone(), one.workgroup_size)),
        [one] => Err(MetalError::EntryPoints { found: format!("`{}`, a {:?} entry point", one.name, one.stage) }),
        many => Err(MetalError::EntryPoints { found: many.len().to_string() }),
    }
}

/// All expressions of a module's functions.
fn expressions(module: &Module) -> impl Iterator<Item = &Expression> {
    let functions = module.functions.iter().map(|(_, f)| f).chain(module.entry_points.iter().map(|e| &e.function));
    functions.flat_map(|f| f.expressions.iter().map(|(_, e)| e))
}

/// naga writes matrices of any shape and leaves it to Metal's compiler to refuse them.
fn check_matrices(module: &Module) -> Result<(), MetalError> {
    let declared = module.types.iter().filter_map(|(_, t)| match t.inner {
        TypeInner::CooperativeMatrix { columns, rows, .. } => Some((columns as u32, rows as u32)),
        _ => None,
    });
    let loaded = expressions(module).filter_map(|e| match e {
        Expression::CooperativeLoad { columns, rows, .. } => Some((*columns as u32, *rows as u32)),
        _ => None,
    });
    match declared.chain(loaded).find(|shape| *shape != (8, 8)) {
        Some((columns, rows)) => Err(MetalError::MatrixShape { columns, rows }),
        None => Ok(()),
    }
}

/// The length of a runtime array is known to WebGPU, not to Metal.
fn check_lengths(module: &Module) -> Result<(), MetalError> {
    match expressions(module).any(|e| matches!(e, Expression::ArrayLength(_))) {
        true => Err(MetalError::ArrayLength),
        false => Ok(()),
    }
}

/// Binding `k` of group 0 becomes buffer index `k`.
fn bindings(module: &Module) -> Result<msl::BindingMap, MetalError> {
    let mut map = msl::BindingMap::new();
    for (_, var) in module.global_variables.iter() {
        let refuse = |what: String| {
            let name = var.name.clone().unwrap_or_else(|| "(unnamed)".into());
            MetalError::Binding { name, what, limit: MAX_BUFFERS }
        };
        let mutable = match (var.space, var.binding.is_some()) {
            (AddressSpace::Storage { access }, _) => access.contains(StorageAccess::STORE),
            (AddressSpace::Uniform, _) | (_, false) => false,
            (space, true) => return Err(refuse(format!("{space:?}"))),
        };
        if var.space == AddressSpace::Immediate {
            return Err(refuse("an immediate".into()));
        }
        let Some(binding) = var.binding else { continue };
        let slot = u8::try_from(binding.binding).ok().filter(|_| binding.group == 0 && binding.binding < MAX_BUFFERS);
        let Some(slot) = slot else {
            return Err(refuse(format!("group {} binding {}", binding.group, binding.binding)));
        };
        map.insert(binding, msl::BindTarget { buffer: Some(slot), mutable, ..Default::default() });
    }
    Ok(map)
}
