//! Sessions: inputs are set one by one, then run, then outputs are read.

use crate::{
    OdcArtifact,
    error::{Failure, OdcError, c_str, non_null, report, store},
};
use alloc::{boxed::Box, format, vec::Vec};
use core::ffi::{c_char, c_int, c_void};
use odc_runtime::{
    DType, Session, SessionOptions, TensorView,
    format::{MAX_RANK, TensorInfo},
};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct OdcTensor {
    dtype: u32,
    rank: usize,
    shape: *const usize,
    data: *const c_void,
    bytes: usize,
}

pub struct OdcSession {
    session: Session,
    inputs: Vec<Input>,
    /// Room for the list of a run, so that runs do not allocate.
    views: Vec<TensorView<'static>>,
    /// Whether the outputs of a run are there to be read.
    ran: bool,
}

/// What an input was set to.
#[derive(Default)]
struct Input {
    dtype: Option<DType>,
    shape: Vec<usize>,
    data: &'static [u8],
}

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_session_new(
    artifact: *const OdcArtifact,
    threads: usize,
    out: *mut *mut OdcSession,
    error: *mut OdcError,
) -> c_int {
    let body = || {
        // SAFETY: odc.h.
        let artifact = unsafe {
            store(out, core::ptr::null_mut())?;
            non_null(artifact, "the artifact")?
        };
        let session = artifact.artifact.session(SessionOptions::threads(threads))?;
        let count = artifact.artifact.manifest().inputs.len();
        let inputs = (0..count).map(|_| Input::default()).collect();
        let session = OdcSession { session, inputs, views: Vec::with_capacity(count), ran: false };
        // SAFETY: odc.h.
        unsafe { store(out, Box::into_raw(Box::new(session))) }
    };
    // SAFETY: odc.h.
    unsafe { report(error, body) }
}

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_session_free(session: *mut OdcSession) {
    if !session.is_null() {
        // SAFETY: made by `odc_session_new`, freed once.
        drop(unsafe { Box::from_raw(session) });
    }
}

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_session_bytes(session: *const OdcSession) -> usize {
    // SAFETY: odc.h.
    unsafe { session.as_ref() }.map_or(0, |s| s.session.memory().allocated)
}

/// # Safety
/// `session` is null or valid for `'a`, and nobody else uses it.
unsafe fn exclusive<'a>(session: *mut OdcSession) -> Result<&'a mut OdcSession, Failure> {
    // SAFETY: the caller's promise.
    unsafe { session.as_mut() }.ok_or_else(|| Failure::usage("the session is NULL"))
}

fn position(tensors: &[TensorInfo], name: &str, kind: &str) -> Result<usize, Failure> {
    let names = || tensors.iter().map(|t| t.name.as_str()).collect::<Vec<_>>().join(", ");
    let missing = || Failure::usage(format!("the model has no {kind} \"{name}\", only {}", names()));
    tensors.iter().position(|t| t.name == name).ok_or_else(missing)
}

/// # Safety
/// `tensor` is as `odc.h` says.
unsafe fn set(session: &mut OdcSession, index: usize, tensor: *const OdcTensor) -> Result<(), Failure> {
    // SAFETY: odc.h.
    let tensor = unsafe { non_null(tensor, "the tensor") }?;
    let count = session.inputs.len();
    let input = session.inputs.get_mut(index);
    let input = input.ok_or_else(|| Failure::usage(format!("the model has {count} inputs, none with index {index}")))?;
    let dtype = DType::ALL.get(tensor.dtype as usize).copied();
    let dtype = dtype.ok_or_else(|| Failure::usage(format!("{} is not an OdcDType", tensor.dtype)))?;
    let too_long = tensor.rank > MAX_RANK || tensor.bytes > isize::MAX as usize;
    if too_long || (tensor.rank > 0 && tensor.shape.is_null()) || (tensor.bytes > 0 && tensor.data.is_null()) {
        return Err(Failure::usage("the tensor's shape or data is NULL, or its rank or size is impossible"));
    }
    session.ran = false;
    input.dtype = Some(dtype);
    input.shape.clear();
    input.data = &[];
    // SAFETY: checked above; that so much is there, and stays, is odc.h's demand.
    unsafe {
        if tensor.rank > 0 {
            input.shape.extend_from_slice(core::slice::from_raw_parts(tensor.shape, tensor.rank));
        }
        if tensor.bytes > 0 {
            input.data = core::slice::from_raw_parts(tensor.data.cast(), tensor.bytes);
        }
    }
    Ok(())
}

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_set_input(session: *mut OdcSession, index: usize, tensor: *const OdcTensor, error: *mut OdcError) -> c_int {
    // SAFETY: odc.h.
    unsafe { report(error, || set(exclusive(session)?, index, tensor)) }
}

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_set_input_by_name(
    session: *mut OdcSession,
    name: *const c_char,
    tensor: *const OdcTensor,
    error: *mut OdcError,
) -> c_int {
    // SAFETY: odc.h.
    unsafe {
        report(error, || {
            let session = exclusive(session)?;
            let index = position(&session.session.artifact().manifest().inputs, c_str(name, "the name")?, "input")?;
            set(session, index, tensor)
        })
    }
}

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_run(session: *mut OdcSession, error: *mut OdcError) -> c_int {
    let body = || {
        // SAFETY: odc.h.
        let s = unsafe { exclusive(session) }?;
        s.ran = false;
        s.views.clear();
        for (i, input) in s.inputs.iter().enumerate() {
            let Some(dtype) = input.dtype else {
                let info = s.session.artifact().manifest().inputs.get(i);
                let name = info.map_or("", |t| t.name.as_str());
                return Err(Failure::usage(format!("input {i} \"{name}\" is not set; odc_set_input sets it")));
            };
            // SAFETY: the shape lives in the session and does not change while the views are used, which is until the
            // end of this function; the outputs do not refer to it.
            let shape: &'static [usize] = unsafe { core::slice::from_raw_parts(input.shape.as_ptr(), input.shape.len()) };
            s.views.push(TensorView::new(dtype, shape, input.data));
        }
        s.session.run_ordered(&s.views)?;
        s.ran = true;
        Ok(())
    };
    // SAFETY: odc.h.
    unsafe { report(error, body) }
}

fn get(session: &OdcSession, index: usize, out: *mut OdcTensor) -> Result<(), Failure> {
    if !session.ran {
        return Err(Failure::usage("there are no outputs: odc_run has not succeeded since the inputs were set"));
    }
    // SAFETY: `ran`: the latest run succeeded and no input was set since; odc.h demands that their data are still there.
    let outputs = unsafe { session.session.outputs() };
    let count = outputs.len();
    let output = outputs.at(index);
    let output = output.ok_or_else(|| Failure::usage(format!("the model has {count} outputs, none with index {index}")))?;
    let dtype = DType::ALL.iter().position(|&d| d == output.dtype).unwrap_or(0) as u32;
    let tensor = OdcTensor {
        dtype,
        rank: output.shape.len(),
        shape: output.shape.as_ptr(),
        data: output.data.as_ptr().cast(),
        bytes: output.data.len(),
    };
    // SAFETY: odc.h.
    unsafe { store(out, tensor) }
}

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_get_output(session: *const OdcSession, index: usize, out: *mut OdcTensor, error: *mut OdcError) -> c_int {
    // SAFETY: odc.h.
    unsafe { report(error, || get(non_null(session, "the session")?, index, out)) }
}

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_get_output_by_name(
    session: *const OdcSession,
    name: *const c_char,
    out: *mut OdcTensor,
    error: *mut OdcError,
) -> c_int {
    // SAFETY: odc.h.
    unsafe {
        report(error, || {
            let session = non_null(session, "the session")?;
            let index = position(&session.session.artifact().manifest().outputs, c_str(name, "the name")?, "output")?;
            get(session, index, out)
        })
    }
}
