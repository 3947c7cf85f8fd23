//! Machine code from an artifact, in memory that is never writable and executable at once.

/// A kernel, as the artifact's format defines it: buffers, dims, scratch, begin, end.
#[cfg(target_arch = "x86_64")]
pub type KernelFn = unsafe extern "sysv64" fn(*const *mut u8, *const i64, *mut u8, i64, i64);
/// A kernel, as the artifact's format defines it: buffers, dims, scratch, begin, end.
#[cfg(not(target_arch = "x86_64"))]
pub type KernelFn = unsafe extern "C" fn(*const *mut u8, *const i64, *mut u8, i64, i64);

#[cfg(all(feature = "std", unix))]
pub(crate) use unix::CodeMemory;

#[cfg(all(feature = "std", unix))]
mod unix {
    use super::KernelFn;
    use crate::LoadError;
    use alloc::{format, string::ToString};

    /// A private copy of a code section, readable and executable.
    pub(crate) struct CodeMemory {
        base: *mut u8,
        len: usize,
    }

    // SAFETY: the memory is never written after `new`.
    unsafe impl Send for CodeMemory {}
    // SAFETY: as above.
    unsafe impl Sync for CodeMemory {}

    impl CodeMemory {
        pub(crate) fn new(code: &[u8]) -> Result<Self, LoadError> {
            let refused = |what: &str| LoadError::CodeMemory { reason: format!("{what}: {}", std::io::Error::last_os_error()) };
            if code.is_empty() {
                return Ok(CodeMemory { base: core::ptr::null_mut(), len: 0 });
            }
            let (rw, rx) = (libc::PROT_READ | libc::PROT_WRITE, libc::PROT_READ | libc::PROT_EXEC);
            let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
            // SAFETY: a new anonymous mapping, at an address of the system's choice.
            let base = unsafe { libc::mmap(core::ptr::null_mut(), code.len(), rw, flags, -1, 0) };
            if base == libc::MAP_FAILED {
                return Err(refused("mmap"));
            }
            let memory = CodeMemory { base: base.cast(), len: code.len() };
            // SAFETY: the mapping is new, writable and at least `code.len()` bytes.
            unsafe { core::ptr::copy_nonoverlapping(code.as_ptr(), memory.base, code.len()) };
            flush_instruction_cache(memory.base, memory.len);
            // SAFETY: exactly the mapping made above.
            if unsafe { libc::mprotect(base, code.len(), rx) } != 0 {
                return Err(refused("mprotect"));
            }
            Ok(memory)
        }

        /// The function at an offset that the artifact's validation found to be inside the section.
        pub(crate) fn function(&self, offset: u64) -> Result<KernelFn, LoadError> {
            let offset = usize::try_from(offset).ok().filter(|&o| o < self.len);
            let offset = offset.ok_or_else(|| LoadError::CodeMemory { reason: "kernel outside its section".to_string() })?;
            // SAFETY: inside the mapping, which lives as long as the artifact that holds this and the pointers. That
            // kernel code is there is the artifact's promise, see the crate's documentation.
            Ok(unsafe { core::mem::transmute::<*mut u8, KernelFn>(self.base.add(offset)) })
        }
    }

    impl Drop for CodeMemory {
        fn drop(&mut self) {
            if self.len > 0 {
                // SAFETY: the mapping made in `new`; no session is left that could call into it.
                unsafe { libc::munmap(self.base.cast(), self.len) };
            }
        }
    }

    /// x86 keeps the caches in step by itself.
    #[cfg(not(target_arch = "aarch64"))]
    fn flush_instruction_cache(_base: *mut u8, _len: usize) {}

    #[cfg(all(target_arch = "aarch64", target_vendor = "apple"))]
    fn flush_instruction_cache(base: *mut u8, len: usize) {
        unsafe extern "C" {
            fn sys_icache_invalidate(start: *mut core::ffi::c_void, len: usize);
        }
        // SAFETY: a range of our own mapping.
        unsafe { sys_icache_invalidate(base.cast(), len) };
    }

    #[cfg(all(target_arch = "aarch64", not(target_vendor = "apple")))]
    fn flush_instruction_cache(base: *mut u8, len: usize) {
        use core::arch::asm;
        let cache_type: usize;
        // SAFETY: user programs may read CTR_EL0, clean and invalidate lines of their own memory.
        unsafe {
            asm!("mrs {}, ctr_el0", out(reg) cache_type, options(nomem, nostack));
            let (data_line, code_line) = (4usize << ((cache_type >> 16) & 15), 4usize << (cache_type & 15));
            for at in (0..len).step_by(data_line) {
                asm!("dc cvau, {}", in(reg) base.add(at), options(nostack));
            }
            asm!("dsb ish", options(nostack));
            for at in (0..len).step_by(code_line) {
                asm!("ic ivau, {}", in(reg) base.add(at), options(nostack));
            }
            asm!("dsb ish", "isb", options(nostack));
        }
    }
}
