//! No allocation after the first run of a shape, counted by the allocator itself. One test, so that nobody else counts.

#[path = "../format/tests/sample/mod.rs"]
mod sample;

use odc_format::Arch;
use odc_runtime::{Artifact, SessionOptions, TensorView};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

struct Counting;
static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Relaxed);
        unsafe { System.realloc(ptr, layout, size) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
#[cfg(target_arch = "x86_64")]
fn known_shapes_run_without_allocation() {
    let artifact = Artifact::from_bytes(sample::sample(Arch::X86_64).bytes()).unwrap();
    for threads in [1, 3] {
        let mut session = artifact.session(SessionOptions::threads(threads)).unwrap();
        let x = vec![1f32; 3 * 4096];
        let mut run = |rows: usize| {
            let shape = [rows, 3];
            let outputs = session.run(&[("x", TensorView::of(&shape, &x[..rows * 3]))]).unwrap();
            outputs.get("sum").and_then(|s| s.as_slice::<f32>()).map(|s| s[rows - 1])
        };
        let before = COUNT.load(Relaxed);
        for rows in [4096, 7, 100, 1] {
            run(rows);
        }
        assert!(COUNT.load(Relaxed) > before, "the counter counts");
        let mut allocations = || {
            let before = COUNT.load(Relaxed);
            for _ in 0..100 {
                for rows in [100, 7, 1, 4096] {
                    assert_eq!(run(rows), Some(1.5));
                }
            }
            COUNT.load(Relaxed) - before
        };
        // The test harness has a thread of its own, which allocates now and then; what a run allocates, every round does.
        let least = (0..5).map(|_| allocations()).min();
        assert_eq!(least, Some(0), "{threads} threads");
    }
}
