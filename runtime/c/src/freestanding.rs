//! What a static library needs without std: memory from the C library, and an end for panics.

use core::{
    alloc::{GlobalAlloc, Layout},
    ffi::{c_int, c_void},
};

unsafe extern "C" {
    fn posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> c_int;
    fn free(ptr: *mut c_void);
    fn abort() -> !;
}

struct CAllocator;

// SAFETY: the C library's functions fulfil the contract; posix_memalign wants at least a pointer's alignment.
unsafe impl GlobalAlloc for CAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut ptr = core::ptr::null_mut();
        // SAFETY: `ptr` is a place for the result.
        let failed = unsafe { posix_memalign(&mut ptr, layout.align().max(size_of::<usize>()), layout.size()) };
        if failed == 0 { ptr.cast() } else { core::ptr::null_mut() }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, _: Layout) {
        // SAFETY: from `alloc`.
        unsafe { free(ptr.cast()) }
    }
}

#[global_allocator]
static ALLOCATOR: CAllocator = CAllocator;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: takes nothing.
    unsafe { abort() }
}

/// Unwind tables of the precompiled core library name it; with `panic = "abort"` nothing ever calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
