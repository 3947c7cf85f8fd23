//! Errors on their way to C: a struct of the caller's with a code and a text.

use alloc::string::{String, ToString};
use core::{ffi::CStr, ffi::c_char, ffi::c_int};
use odc_runtime::{LoadError, RunError};

#[repr(C)]
pub struct OdcError {
    code: [c_char; 8],
    message: [c_char; 1016],
}

/// What goes into an [`OdcError`].
pub(crate) struct Failure {
    code: &'static str,
    message: String,
}

impl Failure {
    /// The program uses the C API in a wrong way.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure { code: "ODC0690", message: message.into() }
    }
}

impl From<LoadError> for Failure {
    fn from(e: LoadError) -> Self {
        Failure { code: e.code(), message: e.to_string() }
    }
}

impl From<RunError> for Failure {
    fn from(e: RunError) -> Self {
        Failure { code: e.code(), message: e.to_string() }
    }
}

/// As much as fits, on a character's boundary, and a NUL.
fn put(to: &mut [c_char], text: &str) {
    let mut len = text.len().min(to.len().saturating_sub(1));
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    let bytes = text.bytes().take(len).map(|b| if b == 0 { b'?' } else { b } as c_char);
    to.iter_mut().zip(bytes.chain(core::iter::once(0))).for_each(|(to, from)| *to = from);
}

/// Runs the body of an API function: 0, or 1 and the reason in `*error`.
///
/// # Safety
/// `error` is null or points to an `OdcError`, perhaps uninitialised.
pub(crate) unsafe fn report(error: *mut OdcError, body: impl FnOnce() -> Result<(), Failure>) -> c_int {
    #[cfg(feature = "std")]
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body))
        .unwrap_or_else(|_| Err(Failure { code: "ODC0699", message: "a bug in odc's runtime: it panicked; please report it".into() }));
    #[cfg(not(feature = "std"))]
    let result = body();
    let Err(failure) = result else { return 0 };
    if !error.is_null() {
        // SAFETY: the caller's promise; zeros are a valid OdcError.
        let error = unsafe {
            error.write_bytes(0, 1);
            &mut *error
        };
        put(&mut error.code, failure.code);
        put(&mut error.message, &failure.message);
    }
    1
}

/// # Safety
/// `text` is null or a C string that outlives `'a`.
pub(crate) unsafe fn c_str<'a>(text: *const c_char, what: &str) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(Failure::usage(alloc::format!("{what} is NULL")));
    }
    // SAFETY: not null, the rest is the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_| Failure::usage(alloc::format!("{what} is not UTF-8")))
}

/// # Safety
/// `pointer` is null or valid for `'a`.
pub(crate) unsafe fn non_null<'a, T>(pointer: *const T, what: &str) -> Result<&'a T, Failure> {
    // SAFETY: the caller's promise.
    unsafe { pointer.as_ref() }.ok_or_else(|| Failure::usage(alloc::format!("{what} is NULL")))
}

/// # Safety
/// `out` is null or may be written.
pub(crate) unsafe fn store<T>(out: *mut T, value: T) -> Result<(), Failure> {
    if out.is_null() {
        return Err(Failure::usage("the place for the result is NULL"));
    }
    // SAFETY: not null, the rest is the caller's promise.
    unsafe { out.write(value) };
    Ok(())
}
