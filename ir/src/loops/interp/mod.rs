//! Runs a kernel on buffers, element by element: the oracle of loop IR. What compiled code would do silently is an error here: an
//! access outside a buffer, a use of memory that nothing wrote, invocations that touch the same memory in no order.

mod compute;
mod coop;
mod machine;
mod memory;
mod race;

use super::{Func, LoopType};
use crate::core::{DType, Scalar};
use machine::Machine;
use std::ops::Range;

/// A parameter's memory: little-endian elements.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Buffer {
    pub dtype: DType,
    pub bytes: Vec<u8>,
}

impl Buffer {
    pub fn from_scalars(dtype: DType, data: impl IntoIterator<Item = Scalar>) -> Buffer {
        let mut bytes = vec![];
        data.into_iter().for_each(|s| s.write(dtype, &mut bytes));
        Buffer { dtype, bytes }
    }
    pub fn zeros(dtype: DType, n: usize) -> Buffer {
        Buffer { dtype, bytes: vec![0; n * dtype.size()] }
    }
    pub fn scalars(&self) -> Vec<Scalar> {
        self.bytes.chunks_exact(self.dtype.size()).filter_map(|b| Scalar::read(self.dtype, b)).collect()
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InterpError {
    #[error("@{func}: {op} ({loc}): {memory} has {size} elements of {dtype}, accessed at {offset}..{offset}+{lanes}")]
    OutOfBounds { func: String, op: &'static str, loc: String, memory: String, dtype: DType, size: usize, offset: i64, lanes: u32 },
    #[error("@{func}: {op} ({loc}): reads byte {offset} of scratch or workgroup memory, which nothing wrote in this iteration")]
    Uninitialised { func: String, op: &'static str, loc: String, offset: i64 },
    #[error("@{func}: {op} ({loc}): touches element {offset} of {memory} while another invocation does, one of them writing")]
    Race { func: String, op: &'static str, loc: String, memory: String, offset: i64 },
    #[error("@{func}: {op} ({loc}): only some invocations of the workgroup come here")]
    Divergence { func: String, op: &'static str, loc: String },
    #[error("@{func}: {op} ({loc}): {lanes} elements of {memory} at {offset}, which is no multiple of {lanes}")]
    Misaligned { func: String, op: &'static str, loc: String, memory: String, offset: i64, lanes: u32 },
    #[error("@{func}: {message}")]
    Malformed { func: String, message: String },
}

/// How a kernel is run.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    pub dims: &'a [i64],
    /// Bytes of scratch memory.
    pub scratch: usize,
    /// The iterations of the grid that run; `None`: all that the kernel asks for.
    pub grid: Option<(i64, i64)>,
    /// Round `fma` once, as machines with the instruction do.
    pub fused: bool,
    /// Invocations of a subgroup.
    pub subgroup: u32,
}

/// A usual size of subgroups.
pub const SUBGROUP: u32 = 32;

/// Runs `f` on its buffers, in place.
pub fn run(f: &Func, buffers: &mut [Buffer], how: Run<'_>) -> Result<(), InterpError> {
    let wanted = f.body.args.iter().filter_map(|v| match f.types.get(v.index()) {
        Some(LoopType::Ptr(d, _)) => Some(*d),
        _ => None,
    });
    for (k, (b, d)) in buffers.iter().zip(wanted).enumerate() {
        if b.dtype != d {
            let message = format!("buffer {k} holds {}, the kernel wants {d}", b.dtype);
            return Err(InterpError::Malformed { func: f.name.clone(), message });
        }
    }
    let (mut memory, mut places) = (vec![], vec![]);
    for b in buffers.iter() {
        let start = memory.len();
        memory.extend_from_slice(&b.bytes);
        places.push(start..memory.len());
    }
    let done = call(f, &mut memory, &places, how);
    for (b, place) in buffers.iter_mut().zip(places) {
        if let Some(bytes) = memory.get(place) {
            b.bytes.copy_from_slice(bytes);
        }
    }
    done
}

/// Runs `f` on places in one memory, one for each pointer parameter; they may coincide, as in a call that works in place.
pub fn call(f: &Func, memory: &mut [u8], places: &[Range<usize>], how: Run<'_>) -> Result<(), InterpError> {
    Machine::new(f, memory, places, how)?.run()
}

#[cfg(test)]
mod coop_tests;
#[cfg(test)]
mod gpu_tests;
#[cfg(test)]
mod tests;
