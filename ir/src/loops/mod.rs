//! Loop IR: what a core does. SSA values, structured loops with a kind, typed pointers with a memory space, vectors. One function
//! is one kernel; its last top-level op is the `for` of kind `grid`, whose iterations may run on any thread.

pub mod interp;
mod ops;
mod types;
mod verify;

pub use ops::*;
pub use types::{Coop, LoopType, Role, Space};
pub use verify::{verify, verify_func};

use crate::core::{self, Level};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loop;

impl Level for Loop {
    const NAME: &'static str = "loop";
    type Op = Op;
    type Type = LoopType;
}

pub type Module = core::Module<Loop>;
pub type Func = core::Func<Loop>;
pub type Operation = core::Operation<Loop>;
pub type Block = core::Block<Loop>;
