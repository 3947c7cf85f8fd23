//! Graph IR to tensor IR: every graph op becomes structured ops over named axes, un-fused and as simple as can be. One file an op
//! family; a later pass joins the pieces.

mod activation;
mod contract;
mod conv;
mod cx;
mod elementwise;
mod gather;
mod movement;
mod norm;
mod pool;
mod reduce;
mod resize;
mod sources;
mod strings;
mod suppress;

use cx::{Args, Cx};
use odc_ir::core::{Builder, OpSet, Value};
use odc_ir::graph::{self, Op};
use odc_ir::tensor;
use std::collections::BTreeMap;

/// A graph op that has no tensor form: which, where and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot lower {op} ({loc}) to tensor ops: {message}")]
pub struct LowerError {
    pub op: String,
    pub loc: String,
    pub message: String,
}

impl LowerError {
    fn new(message: impl Into<String>) -> Self {
        LowerError { op: String::new(), loc: String::new(), message: message.into() }
    }
}

/// The module in tensor ops, with the same symbols, constants, parameters and results; strings are numbers.
pub fn lower(module: &graph::Module) -> Result<tensor::Module, LowerError> {
    let module = &*strings::as_numbers(module);
    let mut out: tensor::Module = module.next_level();
    let ranges = module.ranges();
    for f in &module.funcs {
        let mut func = tensor::Func::new(&f.name);
        let mut values = BTreeMap::new();
        for (v, name) in f.body.args.iter().zip(&f.param_names) {
            values.insert(*v, func.param(name, f.ty(*v).clone()));
        }
        let b = Builder::new(&mut func);
        let mut cx = Cx { module: &mut out, b, ranges: ranges.clone(), values, consts: BTreeMap::new() };
        for op in &f.body.ops {
            cx.b.loc = op.loc.clone();
            if let Some(call) = control(&op.op) {
                lower_control(&mut cx, op, call, f)?;
                continue;
            }
            let v = lower_op(&mut cx, op, f).map_err(|e| LowerError { op: op.op.info().mnemonic.into(), loc: op.loc.to_string(), ..e })?;
            if let Some(r) = op.result() {
                cx.values.insert(r, v);
            }
        }
        let unknown = |v: &Value| LowerError { op: "func".into(), loc: f.name.clone(), message: format!("result {v} is not defined") };
        let yields = f.result_names.iter().zip(&f.body.yields);
        let results =
            yields.map(|(n, v)| Ok((n.clone(), cx.values.get(v).copied().ok_or_else(|| unknown(v))?))).collect::<Result<Vec<_>, _>>()?;
        cx.b.finish(&results);
        out.funcs.push(func);
    }
    Ok(out)
}

/// Bodies are functions of their own, under the same names.
fn control(op: &Op) -> Option<tensor::Op> {
    match op.clone() {
        Op::If { then, otherwise } => Some(tensor::Op::If { then, otherwise }),
        Op::Loop { body, trips, form } => Some(tensor::Op::Loop { body, trips, form }),
        _ => None,
    }
}

fn lower_control(cx: &mut Cx, op: &graph::Operation, call: tensor::Op, f: &graph::Func) -> Result<(), LowerError> {
    let wrong = |what: &Value| LowerError {
        op: op.op.info().mnemonic.into(),
        loc: op.loc.to_string(),
        message: format!("{what} is not defined or has no type"),
    };
    let operands = op.operands.iter().map(|v| cx.values.get(v).copied().ok_or_else(|| wrong(v))).collect::<Result<Vec<_>, _>>()?;
    let types = op.results.iter().map(|v| f.types.get(v.index()).cloned().ok_or_else(|| wrong(v))).collect::<Result<Vec<_>, _>>()?;
    let results = cx.b.op(call, &operands, &types);
    cx.values.extend(op.results.iter().copied().zip(results));
    Ok(())
}

fn lower_op(cx: &mut Cx, op: &graph::Operation, func: &graph::Func) -> Result<Value, LowerError> {
    let a: Args = cx.args(op, func)?;
    match &op.op {
        Op::Constant { value } => Ok(cx.constant(*value, a.out)),
        Op::Dims { values } => sources::dims(cx, &a, values),
        Op::Range {} => sources::range(cx, &a),
        Op::OneHot { axis } => sources::one_hot(cx, &a, *axis),
        Op::Suppress {} => suppress::suppress(cx, &a),
        Op::Trilu { upper, k } => sources::trilu(cx, &a, *upper, *k),

        Op::Unary { f } => activation::unary(cx, &a, *f),
        Op::LeakyRelu { alpha } => activation::leaky_relu(cx, &a, *alpha),
        Op::Elu { alpha } => activation::elu(cx, &a, *alpha),
        Op::HardSigmoid { alpha, beta } => activation::hard_sigmoid(cx, &a, *alpha, *beta),
        Op::Binary { f } => elementwise::binary(cx, &a, *f),
        Op::Select {} => elementwise::select(cx, &a),
        Op::Cast {} => elementwise::cast(cx, &a),
        Op::Bitcast {} => elementwise::bitcast(cx, &a),

        Op::MatMul {} => contract::matmul(cx, &a),
        Op::Einsum { equation } => contract::einsum(cx, &a, equation),
        Op::Conv { strides, pads, dilations, group } => conv::conv(cx, &a, &conv::Window { strides, pads, dilations, group: *group }),
        Op::ConvTranspose { strides, pads, dilations, group } => {
            conv::conv_transpose(cx, &a, &conv::Window { strides, pads, dilations, group: *group })
        }
        Op::Pool { kind, kernel, strides, pads, dilations, count_include_pad } => {
            pool::pool(cx, &a, *kind, kernel, &conv::Window { strides, pads, dilations, group: 1 }, *count_include_pad)
        }

        Op::Reduce { f, axes, keep } => reduce::reduce(cx, &a, *f, axes, *keep),
        Op::ArgReduce { f, axis, keep, last } => reduce::arg_reduce(cx, &a, *f, *axis, *keep, *last),
        Op::CumSum { axis, exclusive, reverse } => reduce::cum_sum(cx, &a, *axis, *exclusive, *reverse),

        Op::Softmax { axis, log } => norm::softmax(cx, &a, *axis, *log),
        Op::LayerNorm { axis, epsilon } => norm::layer_norm(cx, &a, *axis, *epsilon),
        Op::RmsNorm { axis, epsilon } => norm::rms_norm(cx, &a, *axis, *epsilon),
        Op::GroupNorm { groups, epsilon } => norm::group_norm(cx, &a, *groups, *epsilon),
        Op::BatchNorm { epsilon } => norm::batch_norm(cx, &a, *epsilon),

        Op::Transpose { perm } => movement::transpose(cx, &a, perm),
        Op::Reshape {} => {
            let x = a.x(0)?.value;
            Ok(cx.b.op1(tensor::Op::View {}, &[x], a.out))
        }
        Op::Expand {} => movement::expand(cx, &a),
        Op::Slice { starts, steps } => movement::slice(cx, &a, starts, steps),
        Op::Concat { axis } => movement::concat(cx, &a, *axis),
        Op::Pad { mode, before } => movement::pad(cx, &a, *mode, before),
        Op::Tile {} => movement::tile(cx, &a),

        Op::Gather { axis } => gather::gather(cx, &a, *axis),
        Op::GatherElements { axis } => gather::gather_elements(cx, &a, *axis),
        Op::GatherNd { batch_dims } => gather::gather_nd(cx, &a, *batch_dims),
        Op::ScatterNd { f } => gather::scatter_nd(cx, &a, *f),
        Op::ScatterElements { axis, f } => gather::scatter_elements(cx, &a, *axis, *f),

        Op::Resize { mode, coord, nearest, scales, cubic_a, exclude_outside } => {
            let r = resize::Resize {
                mode: *mode,
                coord: *coord,
                nearest: *nearest,
                scales,
                cubic_a: *cubic_a,
                exclude_outside: *exclude_outside,
            };
            resize::resize(cx, &a, &r)
        }
        Op::If { .. } | Op::Loop { .. } => Err(LowerError::new("it is lowered with its function")),
    }
}

#[cfg(test)]
mod tests;
