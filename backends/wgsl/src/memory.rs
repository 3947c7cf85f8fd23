//! The arrays a kernel accesses: which are stored to, which hold atomics, and which can be declared as arrays of vectors because
//! every access takes a whole vector.

use crate::kernel::Context;
use odc_backend::{BackendError, GpuFeature};
use odc_ir::core::{DType, Value};
use odc_ir::loops::{Func, LoopType, Op};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A storage buffer.
    Binding(u32),
    /// Workgroup memory of so many elements.
    Shared(u32),
}

#[derive(Clone, Debug)]
pub struct Array {
    pub place: Place,
    pub dtype: DType,
    /// Lanes of the declared element.
    pub lanes: u32,
    pub atomic: bool,
    pub loaded: bool,
    pub stored: bool,
    /// Lanes of the accesses.
    seen: BTreeSet<u32>,
}

/// The arrays by the value that points to them.
pub type Arrays = BTreeMap<Value, Array>;

pub fn arrays(cx: &Context<'_>, f: &Func) -> Result<Arrays, BackendError> {
    let mut out = Arrays::new();
    let new = |place, dtype| Array { place, dtype, lanes: 1, atomic: false, loaded: false, stored: false, seen: BTreeSet::new() };
    for (k, v) in f.body.args.iter().enumerate() {
        if let LoopType::Ptr(d, _) = f.ty(*v) {
            out.insert(*v, new(Place::Binding(u32::try_from(k).unwrap_or(u32::MAX)), *d));
        }
    }
    let mut error = None;
    f.body.visit_ops(&mut |op| {
        let pointers = op.operands.iter().skip(1).filter(|v| matches!(f.ty(**v), LoopType::Ptr(..))).count();
        let first = op.operands.first().copied();
        let array = first.and_then(|p| out.get_mut(&p));
        let lanes_of = |v: Option<&Value>| v.map_or(1, |v| f.ty(*v).lanes());
        match (&op.op, array) {
            (Op::Load {}, Some(a)) => {
                a.loaded = true;
                a.seen.insert(lanes_of(op.results.first()));
            }
            (Op::Store {}, Some(a)) => {
                a.stored = true;
                a.seen.insert(lanes_of(op.operands.get(2)));
            }
            (Op::Atomic { .. }, Some(a)) => {
                (a.stored, a.atomic) = (true, true);
                a.seen.insert(1);
            }
            (Op::Shared { dtype, len }, _) => {
                out.extend(op.result().map(|r| (r, new(Place::Shared(*len), *dtype))));
            }
            (Op::CoopLoad {} | Op::CoopStore {}, _) => {
                error.get_or_insert_with(|| cx.no_matrices());
            }
            (Op::Scratch {}, _) => {
                error.get_or_insert_with(|| cx.unsupported("scratch memory", "keep values of an invocation in registers"));
            }
            (_, None) if pointers == 0 => {}
            _ => {
                let hint = "load and store through the kernel's buffers and shared arrays";
                error.get_or_insert_with(|| cx.unsupported("a computed pointer", hint));
            }
        }
    });
    if let Some(e) = error {
        return Err(e);
    }
    for a in out.values_mut() {
        match a.dtype {
            DType::F32 | DType::I32 | DType::U32 => {}
            DType::F16 => cx.feature(GpuFeature::F16, "a buffer of 16-bit floats")?,
            d => return Err(cx.unsupported(format!("a buffer of {d}"), "legalise the kernel first")),
        }
        let whole = |n: &u32| !a.atomic && a.seen.iter().eq([n]) && !matches!(a.place, Place::Shared(len) if len % n != 0);
        a.lanes = [4, 2].into_iter().find(whole).unwrap_or(1);
    }
    Ok(out)
}

impl Array {
    /// The declared element.
    pub fn element(&self) -> String {
        match (self.atomic, self.lanes) {
            (true, _) => format!("atomic<{}>", self.dtype),
            (false, 1) => self.dtype.name().into(),
            (false, n) => format!("vec{n}<{}>", self.dtype),
        }
    }
    /// Bytes of workgroup memory as WebGPU counts them.
    pub fn shared_bytes(&self) -> u64 {
        match self.place {
            Place::Binding(_) => 0,
            Place::Shared(len) => (u64::from(len) * self.dtype.size() as u64).next_multiple_of(16),
        }
    }
}

/// Must barriers order global memory too? Only if something that is stored there is also read.
pub fn orders_storage(arrays: &Arrays) -> bool {
    arrays.values().any(|a| matches!(a.place, Place::Binding(_)) && a.loaded && a.stored)
}
