//! The kernel under all three levels: dims, types, values, blocks, op tables, text, verification. It knows no op.

mod attr;
pub(crate) mod control;
mod counts;
mod dim;
mod dtype;
mod func;
mod in_range;
pub mod minifloat;
mod module;
mod ops;
mod parse;
mod print;

mod ranges;
mod scalar;
mod text;
mod types;
mod value;
mod verify;

pub use attr::Attr;
pub use control::{Callee, LoopForm, LoopOperands, check_if, check_loop};
pub use counts::{at_ends, counted, counts_of, size_of_result, size_result_name};
pub use dim::{Atom, Dim, DimError, MAX_TERMS, Monomial, Sym, checked_floordiv};
pub use dtype::{DType, Scalar};
pub use func::{Block, Builder, Func, Loc, Operation, Value};
pub use in_range::{InRange, broken_checks, check_inputs};
pub use module::{Const, ConstId, Module, Origin, Symbol, element_count, symbol_ranges};
pub use ops::{Effect, Level, MANY, OpInfo, OpSet};
pub use parse::{Blobs, level_name, no_blobs, parse_module};
pub(crate) use parse::{parse_declarations, parse_func};
pub(crate) use print::print_declarations;
pub use print::{INLINE_ELEMENTS, hex, print_func};
pub use ranges::{Range, Ranges};
pub use scalar::{Binary, Unary, erf};
pub use text::{ParseError, Parser, parse_dim};
pub use types::{TensorType, Type};
pub use value::{
    Binding, Difference, Indices, InterpError, MAX_ELEMENTS, TensorValue, assert_close, bind_inputs, bind_symbols, checked_elements,
    difference, indices, row_major_strides,
};
pub use verify::{Check, VerifyError, verify};
