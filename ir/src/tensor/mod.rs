//! Tensor IR: how values are indexed. Two structured ops over named axes (`map`, `reduce`) carry a scalar [`Program`] whose loads
//! have index maps; fusion groups them into dispatches, each with a [`Schedule`] as data.

pub mod interp;
mod ops;
mod program;
mod schedule;
mod verify;

pub use crate::core::TensorType;
pub use ops::*;
pub use program::{Expr, ExprId, Index, Program, operands};
pub use schedule::*;
pub use verify::verify;

use crate::core::{self, Level};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tensor;

impl Level for Tensor {
    const NAME: &'static str = "tensor";
    type Op = Op;
    type Type = TensorType;
}

pub type Module = core::Module<Tensor>;
pub type Func = core::Func<Tensor>;
pub type Operation = core::Operation<Tensor>;
pub type Block = core::Block<Tensor>;
