//! The parts of a GPU kernel: uniform ops around the grid loop, uniform ops around the block loop, and what one invocation does.

use crate::helpers::Type;
use odc_backend::{BackendError, GpuFeature, GpuTarget};
use odc_ir::core::{DType, Scalar, Value};
use odc_ir::loops::{Block, Func, LoopKind, LoopType, Op, Operation, verify_func};

/// What errors speak of.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub kernel: &'a str,
    pub target: &'a GpuTarget,
}

impl Context<'_> {
    pub fn unsupported(&self, what: impl Into<String>, hint: &str) -> BackendError {
        BackendError::Unsupported { kernel: self.kernel.into(), what: what.into(), target: self.target.name.clone(), hint: hint.into() }
    }
    pub fn malformed(&self, what: impl Into<String>) -> BackendError {
        BackendError::Malformed { kernel: self.kernel.into(), what: what.into() }
    }
    pub fn limit(&self, limit: &'static str, needs: u64, has: u64) -> Result<(), BackendError> {
        match needs > has {
            true => Err(BackendError::Limit { kernel: self.kernel.into(), target: self.target.name.clone(), limit, needs, has }),
            false => Ok(()),
        }
    }
    pub fn feature(&self, f: GpuFeature, what: &str) -> Result<(), BackendError> {
        match self.target.has(f) {
            true => Ok(()),
            false => Err(self.unsupported(what, &format!("compile for `{}:{}`", self.target.language.name(), f.name()))),
        }
    }
    pub fn no_matrices(&self) -> BackendError {
        self.unsupported("a cooperative matrix", "WGSL has none: compile for `spirv:coop`")
    }
    /// The WGSL type of a value that is no pointer; `index` is i32.
    pub fn value_type(&self, t: LoopType) -> Result<Type, BackendError> {
        let (dtype, lanes) = match t {
            LoopType::Index => (DType::I32, 1),
            LoopType::Scalar(d) => (d, 1),
            LoopType::Vector(d, lanes @ (2 | 4)) => (d, lanes),
            LoopType::Coop(_) => return Err(self.no_matrices()),
            LoopType::Vector(..) | LoopType::Ptr(..) => {
                return Err(self.unsupported(format!("a value of type {t}"), "vectors have 2 or 4 lanes, and pointers are not computed"));
            }
        };
        match dtype {
            DType::F32 | DType::I32 | DType::U32 | DType::Bool => Ok(Type { dtype, lanes }),
            DType::F16 => self.feature(GpuFeature::F16, "16-bit float arithmetic").map(|()| Type { dtype, lanes }),
            _ => Err(self.unsupported(format!("a value of type {t}"), "legalise the kernel first")),
        }
    }
}

/// A kernel taken apart.
pub struct Kernel<'f> {
    pub func: &'f Func,
    pub outer: &'f [Operation],
    /// How many workgroups: the grid loop's end.
    pub groups: Value,
    pub group: Value,
    pub uniform: &'f [Operation],
    pub lane: Option<Value>,
    pub invocation: &'f Block,
    /// Invocations of a workgroup.
    pub width: u32,
}

impl<'f> Kernel<'f> {
    pub fn new(cx: &Context<'_>, func: &'f Func) -> Result<Self, BackendError> {
        if let Some(e) = verify_func(func).first() {
            return Err(cx.malformed(e.to_string()));
        }
        let shape = || cx.malformed("it does not end in a grid loop");
        let (grid, outer) = func.body.ops.split_last().ok_or_else(shape)?;
        let ([_, groups, ..], [body]) = (grid.operands.as_slice(), grid.regions.as_slice()) else { return Err(shape()) };
        let group = *body.args.first().ok_or_else(shape)?;
        let whole = Kernel { func, outer, groups: *groups, group, uniform: &[], lane: None, invocation: body, width: 1 };
        let Some((block, uniform)) = body.ops.split_last() else { return Ok(whole) };
        if !matches!(block.op, Op::For { kind: LoopKind::Block }) {
            return Ok(whole); // one invocation does it all
        }
        let ([_, width, ..], [invocation]) = (block.operands.as_slice(), block.regions.as_slice()) else { return Err(shape()) };
        let width = constant(func, *width).and_then(|w| u32::try_from(w).ok()).ok_or_else(|| cx.malformed("its block loop has no size"))?;
        Ok(Kernel { uniform, lane: invocation.args.first().copied(), invocation, width, ..whole })
    }

    /// The count of workgroups, if it is known.
    pub fn group_count(&self) -> Option<i64> {
        constant(self.func, self.groups)
    }
}

fn constant(f: &Func, v: Value) -> Option<i64> {
    let mut found = None;
    f.body.visit_ops(&mut |op| {
        if let Op::Const { value: Scalar::Int(x) } = op.op
            && op.result() == Some(v)
        {
            found = Some(x);
        }
    });
    found
}
