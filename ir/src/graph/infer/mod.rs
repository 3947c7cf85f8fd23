//! Typing rules of the graph ops, by family. [`infer`] gives the result types where attributes and operands decide them;
//! [`accepts`] checks stated result types of every op, and is the whole rule where the shape is part of the model (`reshape`).
//!
//! Sizes are compared as algebra under the ranges of their symbols. Where a rule is an inequality or a value that importers may
//! write in several ways, only a provable violation is an error. Messages are read by the owner of the model: they show shapes.

mod data;
mod elementwise;
mod linear;
mod movement;
mod reduce;
mod window;

pub use linear::parse_equation;
pub use window::{conv_transpose_size, window_size};

use super::ops::Op;
use crate::core::{Const, DType, Dim, OpSet, Ranges, TensorType};

/// What typing may look at beside the operands.
#[derive(Clone, Copy, Debug)]
pub struct Cx<'a> {
    pub consts: &'a [Const],
    pub ranges: &'a Ranges,
}

/// The result types that follow from `op` and its operands. An error for ops whose result's shape is part of the model: their
/// results are stated and then checked with [`accepts`]; [`result_follows`] tells which is which.
pub fn infer(op: &Op, operands: &[&TensorType], cx: &Cx) -> Result<Vec<TensorType>, String> {
    arity(op, operands)?;
    match rule(op, operands, cx)? {
        Rule::Is(t) => Ok(vec![t]),
        Rule::Stated => Err(format!("the result's type of {} does not follow from its operands: state it", op.info().mnemonic)),
    }
}

/// Are these result types right for `op` on these operands?
pub fn accepts(op: &Op, operands: &[&TensorType], results: &[&TensorType], cx: &Cx) -> Result<(), String> {
    arity(op, operands)?;
    let [result] = results else {
        return Err(format!("{} has one result, not {}", op.info().mnemonic, results.len()));
    };
    match rule(op, operands, cx)? {
        Rule::Is(t) if t.dtype == result.dtype && cx.same_shape(&t.shape, &result.shape) => Ok(()),
        Rule::Is(t) => Err(format!("the result of {} is {t}, not {result}", described(op, operands))),
        Rule::Stated => stated(op, operands, result, cx).map_err(|e| format!("{} to {result}: {e}", described(op, operands))),
    }
}

/// Does [`infer`] give the result types of `op`?
pub fn result_follows(op: &Op) -> bool {
    match op {
        Op::Dims { .. }
        | Op::Cast {}
        | Op::Bitcast {}
        | Op::ConvTranspose { .. }
        | Op::Pool { .. }
        | Op::Reshape {}
        | Op::Expand {}
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Tile {}
        | Op::Resize { .. }
        | Op::Range {}
        | Op::OneHot { .. }
        | Op::If { .. }
        | Op::Loop { .. } => false,
        Op::Constant { .. }
        | Op::Unary { .. }
        | Op::Binary { .. }
        | Op::Select {}
        | Op::LeakyRelu { .. }
        | Op::Elu { .. }
        | Op::HardSigmoid { .. }
        | Op::MatMul {}
        | Op::Einsum { .. }
        | Op::Conv { .. }
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Softmax { .. }
        | Op::LayerNorm { .. }
        | Op::RmsNorm { .. }
        | Op::GroupNorm { .. }
        | Op::BatchNorm { .. }
        | Op::Transpose { .. }
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::GatherNd { .. }
        | Op::ScatterNd { .. }
        | Op::ScatterElements { .. }
        | Op::CumSum { .. }
        | Op::Suppress {}
        | Op::Trilu { .. } => true,
    }
}

enum Rule {
    Is(TensorType),
    /// The result's type is stated and checked by [`stated`].
    Stated,
}

fn rule(op: &Op, x: &[&TensorType], cx: &Cx) -> Result<Rule, String> {
    if !result_follows(op) {
        return Ok(Rule::Stated);
    }
    inferred(op, x, cx).map(Rule::Is)
}

fn inferred(op: &Op, x: &[&TensorType], cx: &Cx) -> Result<TensorType, String> {
    match op {
        Op::Constant { value } => {
            let c = cx.consts.get(value.0 as usize).ok_or_else(|| format!("there is no constant #{}", value.0))?;
            Ok(c.tensor_type())
        }
        Op::Unary { f } => elementwise::unary(*f, operand(x, 0)?),
        Op::Binary { f } => elementwise::binary(*f, operand(x, 0)?, operand(x, 1)?, cx),
        Op::Select {} => elementwise::select(operand(x, 0)?, operand(x, 1)?, operand(x, 2)?, cx),
        Op::LeakyRelu { .. } | Op::Elu { .. } | Op::HardSigmoid { .. } => elementwise::float(op, operand(x, 0)?),
        Op::MatMul {} => linear::matmul(operand(x, 0)?, operand(x, 1)?, cx),
        Op::Einsum { equation } => linear::einsum(equation, x, cx),
        Op::Conv { strides, pads, dilations, group } => window::conv(x, strides, pads, dilations, *group, cx),
        Op::Reduce { f, axes, keep } => reduce::reduce(*f, axes, *keep, operand(x, 0)?),
        Op::ArgReduce { axis, keep, .. } => reduce::arg_reduce(*axis, *keep, operand(x, 0)?),
        Op::Softmax { axis, .. } => reduce::softmax(*axis, operand(x, 0)?),
        Op::CumSum { axis, .. } => reduce::cum_sum(*axis, operand(x, 0)?),
        Op::Suppress {} => data::suppress(x, cx),
        Op::LayerNorm { axis, .. } | Op::RmsNorm { axis, .. } => reduce::layer_norm(op, *axis, x, cx),
        Op::GroupNorm { groups, .. } => reduce::group_norm(*groups, x, cx),
        Op::BatchNorm { .. } => reduce::channel_params(op, x, cx),
        Op::Transpose { perm } => movement::transpose(perm, operand(x, 0)?),
        Op::Concat { axis } => movement::concat(*axis, x, cx),
        Op::Trilu { .. } => movement::trilu(operand(x, 0)?),
        Op::Gather { axis } => data::gather(*axis, operand(x, 0)?, operand(x, 1)?),
        Op::GatherElements { axis } => data::gather_elements(*axis, operand(x, 0)?, operand(x, 1)?, cx),
        Op::GatherNd { batch_dims } => data::gather_nd(*batch_dims, operand(x, 0)?, operand(x, 1)?, cx),
        Op::ScatterNd { f } => data::scatter_nd(*f, operand(x, 0)?, operand(x, 1)?, operand(x, 2)?, cx),
        Op::ScatterElements { axis, f } => data::scatter_elements(*axis, *f, operand(x, 0)?, operand(x, 1)?, operand(x, 2)?, cx),
        Op::Dims { .. }
        | Op::Cast {}
        | Op::Bitcast {}
        | Op::ConvTranspose { .. }
        | Op::Pool { .. }
        | Op::Reshape {}
        | Op::Expand {}
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Tile {}
        | Op::Resize { .. }
        | Op::Range {}
        | Op::OneHot { .. }
        | Op::If { .. }
        | Op::Loop { .. } => Err("its result is stated".into()),
    }
}

/// Checks a result whose shape is part of the model.
fn stated(op: &Op, x: &[&TensorType], result: &TensorType, cx: &Cx) -> Result<(), String> {
    match op {
        Op::Dims { values } => movement::dims(values, result),
        // Their numbers may be looked at, not made.
        Op::Bitcast {} if operand(x, 0)?.dtype == DType::Str && result.dtype == DType::I32 => cx.need_same_shape(operand(x, 0)?, result),
        Op::Cast {} | Op::Bitcast {} if result.dtype == DType::Str || operand(x, 0)?.dtype == DType::Str => {
            Err("strings are not converted to other types or from them".into())
        }
        Op::Cast {} => cx.need_same_shape(operand(x, 0)?, result),
        Op::Bitcast {} => {
            let x = operand(x, 0)?;
            if x.dtype.bits() != result.dtype.bits() || (result.dtype == DType::Bool && x.dtype != DType::Bool) {
                return Err(format!("{} and {} do not have the same bits", x.dtype, result.dtype));
            }
            cx.need_same_shape(x, result)
        }
        Op::ConvTranspose { strides, pads, dilations, group } => window::conv_transpose(x, strides, pads, dilations, *group, result, cx),
        Op::Pool { kind, kernel, strides, pads, dilations, .. } => {
            window::pool(*kind, operand(x, 0)?, &window::Windows { kernel, strides, pads, dilations }, result, cx)
        }
        Op::Reshape {} => movement::reshape(operand(x, 0)?, result, cx),
        Op::Expand {} => movement::expand(operand(x, 0)?, result, cx),
        Op::Slice { starts, steps } => movement::slice(starts, steps, operand(x, 0)?, result, cx),
        Op::Pad { mode, before } => movement::pad(*mode, before, x, result, cx),
        Op::Tile {} => movement::tile(operand(x, 0)?, result, cx),
        Op::Resize { scales, .. } => movement::resize(scales, operand(x, 0)?, result, cx),
        Op::Range {} => movement::range(operand(x, 0)?, operand(x, 1)?, result),
        Op::OneHot { axis } => data::one_hot(*axis, operand(x, 0)?, operand(x, 1)?, result, cx),
        Op::If { .. } | Op::Loop { .. } => Err("the verifier checks it against its functions".into()),
        Op::Constant { .. }
        | Op::Unary { .. }
        | Op::Binary { .. }
        | Op::Select {}
        | Op::LeakyRelu { .. }
        | Op::Elu { .. }
        | Op::HardSigmoid { .. }
        | Op::MatMul {}
        | Op::Einsum { .. }
        | Op::Conv { .. }
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Softmax { .. }
        | Op::LayerNorm { .. }
        | Op::RmsNorm { .. }
        | Op::GroupNorm { .. }
        | Op::BatchNorm { .. }
        | Op::Transpose { .. }
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::GatherNd { .. }
        | Op::ScatterNd { .. }
        | Op::ScatterElements { .. }
        | Op::CumSum { .. }
        | Op::Suppress {}
        | Op::Trilu { .. } => Err("its result follows from its operands".into()),
    }
}

fn arity(op: &Op, operands: &[&TensorType]) -> Result<(), String> {
    let (lo, hi) = op.info().operands;
    if (lo..=hi).contains(&operands.len()) {
        return Ok(());
    }
    Err(format!("{} does not take {} operands", op.info().mnemonic, operands.len()))
}

fn operand<'a>(x: &[&'a TensorType], k: usize) -> Result<&'a TensorType, String> {
    x.get(k).copied().ok_or_else(|| format!("operand {k} is missing"))
}

/// `conv of f32[1, 3, 8, 8], f32[4, 3, 3, 3]`.
fn described(op: &Op, x: &[&TensorType]) -> String {
    let types: Vec<_> = x.iter().map(ToString::to_string).collect();
    let of = if types.is_empty() { "" } else { " of " };
    format!("{}{of}{}", op.info().mnemonic, types.join(", "))
}

/// `[n, 3, 8]`.
fn shape_text(shape: &[Dim]) -> String {
    let dims: Vec<_> = shape.iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(", "))
}

fn need_axis(axis: usize, x: &TensorType) -> Result<(), String> {
    if axis < x.rank() { Ok(()) } else { Err(format!("axis {axis} is not one of the {} of {x}", x.rank())) }
}

fn need_rank(what: &str, x: &TensorType, rank: usize) -> Result<(), String> {
    if x.rank() == rank { Ok(()) } else { Err(format!("{what} {x} has rank {}, must have {rank}", x.rank())) }
}

fn need_float(what: &str, x: &TensorType) -> Result<(), String> {
    if x.dtype.is_float() { Ok(()) } else { Err(format!("{what} takes floats, not {x}")) }
}

fn need_number(what: &str, x: &TensorType) -> Result<(), String> {
    if x.dtype.is_storage() {
        return Err(format!("{what} does not compute with {x}: cast it first"));
    }
    if x.dtype.is_float() || x.dtype.is_int() { Ok(()) } else { Err(format!("{what} takes numbers, not {x}")) }
}

fn need_same_dtype(what: &str, a: &TensorType, b: &TensorType) -> Result<(), String> {
    if a.dtype == b.dtype { Ok(()) } else { Err(format!("{what} takes operands of one element type, not {a} and {b}")) }
}

fn need_index(what: &str, x: &TensorType) -> Result<(), String> {
    use crate::core::DType::{I32, I64};
    if matches!(x.dtype, I32 | I64) { Ok(()) } else { Err(format!("the indices of {what} are i64 or i32, not {x}")) }
}

impl Cx<'_> {
    /// Equal for all values of the symbols, as far as algebra tells.
    pub fn same(&self, a: &Dim, b: &Dim) -> bool {
        a == b || self.ranges.simplify(a) == self.ranges.simplify(b)
    }
    pub fn same_shape(&self, a: &[Dim], b: &[Dim]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.same(a, b))
    }
    fn need_same_shape(&self, a: &TensorType, b: &TensorType) -> Result<(), String> {
        if self.same_shape(&a.shape, &b.shape) { Ok(()) } else { Err(format!("the shape must stay {}", shape_text(&a.shape))) }
    }
    /// The same but for `except`, where anything goes.
    fn need_same_but(&self, a: &TensorType, b: &TensorType, except: &[usize]) -> Result<(), String> {
        need_rank("the result", b, a.rank())?;
        for (k, (da, db)) in a.shape.iter().zip(&b.shape).enumerate() {
            if !except.contains(&k) && !self.same(da, db) {
                return Err(format!("axis {k} is {da} in {a}, {db} in {b}"));
            }
        }
        Ok(())
    }
    /// The size that two sizes broadcast to: equal ones, or one of them the constant 1.
    pub fn broadcast_dim(&self, a: &Dim, b: &Dim) -> Option<Dim> {
        if a.is(1) || (a == b) {
            Some(b.clone())
        } else if b.is(1) || self.same(a, b) {
            Some(a.clone())
        } else {
            None
        }
    }
    /// numpy's broadcasting: trailing axes align.
    pub fn broadcast(&self, a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, String> {
        let rank = a.len().max(b.len());
        let at = |s: &[Dim], k: usize| (k + s.len()).checked_sub(rank).and_then(|i| s.get(i).cloned()).unwrap_or(Dim::ONE);
        (0..rank)
            .map(|k| {
                let (x, y) = (at(a, k), at(b, k));
                self.broadcast_dim(&x, &y).ok_or_else(|| {
                    format!("shapes {} and {} do not broadcast: {x} is not {y} and neither is 1", shape_text(a), shape_text(b))
                })
            })
            .collect()
    }
    /// Does `a` broadcast to exactly `to`?
    pub fn broadcasts_to(&self, a: &[Dim], to: &[Dim]) -> bool {
        self.broadcast(a, to).is_ok_and(|s| self.same_shape(&s, to))
    }
}

#[cfg(test)]
mod tests;
