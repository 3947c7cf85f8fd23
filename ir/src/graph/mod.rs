//! Graph IR: what the model means. ONNX-like operations on whole tensors, sizes as dims, no layout and no schedule.

mod calls;
pub mod infer;
pub mod interp;
mod ops;
mod verify;

pub use crate::core::TensorType;
pub use calls::{callees, drop_uncalled, drop_unused_constants};
pub use ops::*;
pub use verify::{check, verify};

use crate::core::{self, Level};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Graph;

impl Level for Graph {
    const NAME: &'static str = "graph";
    type Op = Op;
    type Type = TensorType;
}

pub type Module = core::Module<Graph>;
pub type Func = core::Func<Graph>;
pub type Operation = core::Operation<Graph>;
