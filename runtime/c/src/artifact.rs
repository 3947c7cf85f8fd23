//! Opening artifacts, and asking what a model wants and gives.

use crate::error::{Failure, OdcError, c_str, non_null, report, store};
use alloc::{boxed::Box, ffi::CString, format, vec::Vec};
use core::ffi::{c_char, c_int, c_void};
use odc_runtime::{Artifact, StaticModel, format::TensorInfo};

const NONE: usize = usize::MAX;

pub struct OdcArtifact {
    pub(crate) artifact: Artifact,
    inputs: Vec<Texts>,
    outputs: Vec<Texts>,
}

/// Name and type of a tensor as C strings.
struct Texts {
    name: CString,
    ty: CString,
}

impl Texts {
    fn new(t: &TensorInfo) -> Texts {
        let c = |text: &str| CString::new(text.replace('\0', "?")).unwrap_or_default();
        Texts { name: c(&t.name), ty: c(&format!("{}[{}]", t.dtype, t.shape_text.join(", "))) }
    }
}

/// Checks the place for the result first: what could not be returned would leak.
fn give(out: *mut *mut OdcArtifact, open: impl FnOnce() -> Result<Artifact, Failure>) -> Result<(), Failure> {
    // SAFETY: odc.h: a place for a pointer, or null.
    unsafe { store(out, core::ptr::null_mut()) }?;
    let artifact = open()?;
    let manifest = artifact.manifest();
    let inputs = manifest.inputs.iter().map(Texts::new).collect();
    let outputs = manifest.outputs.iter().map(Texts::new).collect();
    // SAFETY: as above.
    unsafe { store(out, Box::into_raw(Box::new(OdcArtifact { artifact, inputs, outputs }))) }
}

/// # Safety
/// As `odc.h` says.
#[cfg(feature = "std")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_open_file(path: *const c_char, out: *mut *mut OdcArtifact, error: *mut OdcError) -> c_int {
    // SAFETY: odc.h.
    unsafe { report(error, || give(out, || Ok(Artifact::open(c_str(path, "the path")?)?))) }
}

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_open_memory(bytes: *const c_void, len: usize, out: *mut *mut OdcArtifact, error: *mut OdcError) -> c_int {
    let open = || {
        if bytes.is_null() || len > isize::MAX as usize {
            return Err(Failure::usage("the memory is NULL or longer than memory can be"));
        }
        // SAFETY: odc.h: the memory stays until the artifact and its sessions are gone.
        let bytes: &'static [u8] = unsafe { core::slice::from_raw_parts(bytes.cast(), len) };
        Ok(Artifact::from_bytes(bytes)?)
    };
    // SAFETY: odc.h.
    unsafe { report(error, || give(out, open)) }
}

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_open_static(model: *const StaticModel, out: *mut *mut OdcArtifact, error: *mut OdcError) -> c_int {
    let open = || {
        // SAFETY: odc.h: an object file's constant.
        let model = unsafe { non_null(model, "the model") }?;
        if model.artifact.is_null() || model.kernels.is_null() || model.artifact_len > isize::MAX as usize {
            return Err(Failure::usage("the model is not one that odc made"));
        }
        // SAFETY: as above: pointers to constants of the program, and the kernels of this artifact.
        unsafe {
            let artifact = core::slice::from_raw_parts(model.artifact, model.artifact_len);
            let kernels = core::slice::from_raw_parts(model.kernels, model.kernel_count);
            Ok(Artifact::from_static(artifact, kernels)?)
        }
    };
    // SAFETY: odc.h.
    unsafe { report(error, || give(out, open)) }
}

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_verify_weights(artifact: *const OdcArtifact, error: *mut OdcError) -> c_int {
    // SAFETY: odc.h.
    unsafe {
        report(error, || {
            let verified = non_null(artifact, "the artifact")?.artifact.verify_weights();
            verified.map_err(|e| odc_runtime::LoadError::from(e).into())
        })
    }
}

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_artifact_free(artifact: *mut OdcArtifact) {
    if !artifact.is_null() {
        // SAFETY: made by `give`, freed once.
        drop(unsafe { Box::from_raw(artifact) });
    }
}

/// Functions over the inputs or the outputs of an artifact.
macro_rules! queries {
    ($field:ident, $count:ident, $name:ident, $ty:ident, $index:ident) => {
        /// # Safety
        /// As `odc.h` says.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $count(artifact: *const OdcArtifact) -> usize {
            // SAFETY: odc.h.
            unsafe { artifact.as_ref() }.map_or(0, |a| a.$field.len())
        }

        /// # Safety
        /// As `odc.h` says.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(artifact: *const OdcArtifact, index: usize) -> *const c_char {
            // SAFETY: odc.h.
            unsafe { artifact.as_ref() }.and_then(|a| a.$field.get(index)).map_or(core::ptr::null(), |t| t.name.as_ptr())
        }

        /// # Safety
        /// As `odc.h` says.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $ty(artifact: *const OdcArtifact, index: usize) -> *const c_char {
            // SAFETY: odc.h.
            unsafe { artifact.as_ref() }.and_then(|a| a.$field.get(index)).map_or(core::ptr::null(), |t| t.ty.as_ptr())
        }

        /// # Safety
        /// As `odc.h` says.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $index(artifact: *const OdcArtifact, name: *const c_char) -> usize {
            // SAFETY: odc.h.
            let (artifact, name) = unsafe { (artifact.as_ref(), c_str(name, "the name")) };
            let (Some(artifact), Ok(name)) = (artifact, name) else { return NONE };
            artifact.artifact.manifest().$field.iter().position(|t| t.name == name).unwrap_or(NONE)
        }
    };
}

queries!(inputs, odc_input_count, odc_input_name, odc_input_type, odc_input_index);
queries!(outputs, odc_output_count, odc_output_name, odc_output_type, odc_output_index);
