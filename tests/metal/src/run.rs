//! Loads compiled kernels and runs them on the caller's memory.

use crate::{ShimError, build};
use libloading::Library;
use std::ffi::{CStr, c_char, c_void};
use std::sync::Mutex;

/// Buffer indices of a Metal kernel.
const BUFFERS: usize = 31;

/// Vectors in memory are read whole.
const ALIGN: usize = 16;

/// In which order the threads between two meeting points run: a missing barrier shows in one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

/// `[[buffer(index)]]` is `memory` (of the slice given to `run`) from `offset` bytes on. Several may name the same memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    pub index: u32,
    pub memory: usize,
    pub offset: usize,
}

/// What Metal is told at a dispatch: threadgroups, threads in each, and the bytes of each threadgroup argument.
#[derive(Debug, Clone, Copy)]
pub struct Dispatch<'a> {
    pub grid: [u32; 3],
    pub threads: [u32; 3],
    pub threadgroup_memory: &'a [u32],
    pub order: Order,
}

/// `odc_shim::Launch` of the C++ side.
#[repr(C)]
struct Launch {
    buffers: *const *mut c_void,
    threadgroup_memory: *const u32,
    threadgroup_memories: u32,
    grid: [u32; 3],
    threads: [u32; 3],
    reversed: u32,
}

type Entry = unsafe extern "C" fn(*const Launch) -> *const c_char;

/// Compiled kernels, for instance those of one artifact.
pub struct ShimKernels {
    /// With a lock each, because an object has one set of fibers.
    objects: Vec<(Library, Mutex<()>)>,
    names: Vec<String>,
}

impl ShimKernels {
    /// Compiles kernels given as (MSL, entry point).
    pub fn build(kernels: &[(&str, &str)]) -> Result<Self, ShimError> {
        let mut objects = vec![];
        for path in build::objects(kernels)? {
            // SAFETY: we have just compiled this object from the shim's headers and kernels; it has no constructors.
            let library = unsafe { Library::new(&path) }.map_err(|e| ShimError::Load { text: e.to_string() })?;
            objects.push((library, Mutex::new(())));
        }
        Ok(ShimKernels { objects, names: kernels.iter().map(|(_, entry)| entry.to_string()).collect() })
    }

    /// Runs kernel `kernel` for a whole grid.
    pub fn run(&self, kernel: usize, memories: &mut [&mut [u8]], bindings: &[Binding], d: Dispatch) -> Result<(), ShimError> {
        let object = self.objects.get(kernel / build::CHUNK);
        let ((library, lock), entry) = object.zip(self.names.get(kernel)).ok_or_else(|| refuse(format!("there is no kernel {kernel}")))?;
        let mut places: Vec<Place> = memories.iter_mut().map(|m| Place::of(m)).collect();
        let mut buffers = [std::ptr::null_mut::<c_void>(); BUFFERS];
        for b in bindings {
            let memory = places.get_mut(b.memory).ok_or_else(|| refuse(format!("there is no memory {}", b.memory)))?.bytes();
            let slot = buffers.get_mut(b.index as usize).ok_or_else(|| refuse(format!("Metal has no buffer index {}", b.index)))?;
            if !b.offset.is_multiple_of(ALIGN) || b.offset > memory.len() {
                return Err(refuse(format!(
                    "buffer {}: offset {} is no multiple of {ALIGN} within {} bytes",
                    b.index,
                    b.offset,
                    memory.len()
                )));
            }
            *slot = memory.as_mut_ptr().wrapping_add(b.offset).cast();
        }
        let launch = Launch {
            buffers: buffers.as_ptr(),
            threadgroup_memory: d.threadgroup_memory.as_ptr(),
            threadgroup_memories: d.threadgroup_memory.len() as u32,
            grid: d.grid,
            threads: d.threads,
            reversed: (d.order == Order::Descending) as u32,
        };
        let symbol = format!("odc_shim_run_{}\0", kernel % build::CHUNK);
        let _one_at_a_time = lock.lock().unwrap_or_else(|e| e.into_inner());
        // SAFETY: the generated function has this type; the buffers live in `places` and are ours alone until it returns.
        // A kernel that leaves its buffers is undefined behaviour here as it is in Metal.
        let error = unsafe {
            let run = library.get::<Entry>(symbol.as_bytes()).map_err(|e| ShimError::Load { text: e.to_string() })?;
            let text = run(&launch);
            if text.is_null() { None } else { Some(CStr::from_ptr(text).to_string_lossy().to_string()) }
        };
        match error {
            None => Ok(()),
            Some(text) => Err(ShimError::Run { entry: entry.clone(), text }),
        }
    }
}

fn refuse(what: String) -> ShimError {
    ShimError::Binding { what }
}

/// A caller's memory where it may be used as it is, else an aligned copy that is written back at the end.
enum Place<'a> {
    Here(&'a mut [u8]),
    Copy(&'a mut [u8], Vec<u128>),
}

impl<'a> Place<'a> {
    fn of(memory: &'a mut [u8]) -> Self {
        if memory.as_ptr().addr().is_multiple_of(ALIGN) {
            return Place::Here(memory);
        }
        let word = |bytes: &[u8]| {
            let mut whole = [0; ALIGN];
            whole[..bytes.len()].copy_from_slice(bytes);
            u128::from_ne_bytes(whole)
        };
        let words = memory.chunks(ALIGN).map(word).collect();
        Place::Copy(memory, words)
    }

    fn bytes(&mut self) -> &mut [u8] {
        match self {
            Place::Here(memory) => memory,
            Place::Copy(memory, words) => {
                // SAFETY: whole words that we own, as bytes; at least as many as the memory has.
                unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), memory.len()) }
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Place::Copy(memory, words) = self {
            for (to, from) in memory.chunks_mut(ALIGN).zip(words) {
                let bytes = from.to_ne_bytes();
                to.copy_from_slice(&bytes[..to.len()]);
            }
        }
    }
}

/// One kernel.
pub struct ShimKernel(ShimKernels);

impl ShimKernel {
    pub fn build(msl: &str, entry: &str) -> Result<Self, ShimError> {
        ShimKernels::build(&[(msl, entry)]).map(ShimKernel)
    }

    /// Runs it with `buffers[k]` as `[[buffer(k)]]`.
    pub fn run(&self, buffers: &mut [&mut [u8]], dispatch: Dispatch) -> Result<(), ShimError> {
        let bindings: Vec<_> = (0..buffers.len()).map(|k| Binding { index: k as u32, memory: k, offset: 0 }).collect();
        self.0.run(0, buffers, &bindings, dispatch)
    }
}
