//! The numbers that strings have at a model's boundary.

use crate::{
    OdcArtifact,
    error::{Failure, OdcError, non_null, report, store},
};
use alloc::boxed::Box;
use core::ffi::{c_char, c_int};
use odc_runtime::Strings;

pub struct OdcStrings(Strings);

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_strings_new(artifact: *const OdcArtifact, out: *mut *mut OdcStrings, error: *mut OdcError) -> c_int {
    // SAFETY: odc.h.
    unsafe {
        report(error, || {
            store(out, core::ptr::null_mut())?;
            let strings = non_null(artifact, "the artifact")?.artifact.strings();
            store(out, Box::into_raw(Box::new(OdcStrings(strings))))
        })
    }
}

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_strings_free(strings: *mut OdcStrings) {
    if !strings.is_null() {
        // SAFETY: made by `odc_strings_new`, freed once.
        drop(unsafe { Box::from_raw(strings) });
    }
}

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_string_number(
    strings: *mut OdcStrings,
    text: *const c_char,
    len: usize,
    out: *mut i32,
    error: *mut OdcError,
) -> c_int {
    let body = || {
        // SAFETY: odc.h.
        let strings = unsafe { strings.as_mut() }.ok_or_else(|| Failure::usage("the strings are NULL"))?;
        if text.is_null() && len > 0 || len > isize::MAX as usize {
            return Err(Failure::usage("the text is NULL, or its length is impossible"));
        }
        // SAFETY: checked above; that so much is there is odc.h's demand.
        let bytes = if len == 0 { &[] } else { unsafe { core::slice::from_raw_parts(text.cast(), len) } };
        let text = core::str::from_utf8(bytes).map_err(|_| Failure::usage("the text is not UTF-8"))?;
        let number = strings.0.number(text)?;
        // SAFETY: odc.h.
        unsafe { store(out, number) }
    };
    // SAFETY: odc.h.
    unsafe { report(error, body) }
}

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_string_text(strings: *const OdcStrings, number: i32, len: *mut usize) -> *const c_char {
    // SAFETY: odc.h.
    let text = unsafe { strings.as_ref() }.and_then(|s| s.0.text(number));
    // SAFETY: odc.h.
    if let Some(len) = unsafe { len.as_mut() } {
        *len = text.map_or(0, str::len);
    }
    text.map_or(core::ptr::null(), |t| t.as_ptr().cast())
}

/// # Safety
/// As `odc.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odc_strings_clear(strings: *mut OdcStrings) {
    // SAFETY: odc.h.
    if let Some(s) = unsafe { strings.as_mut() } {
        s.0.clear();
    }
}
