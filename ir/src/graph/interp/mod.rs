//! The meaning of graph modules: every op evaluated element by element, in f64 or i64, rounded to its element type once at the
//! end of each op. Slow and plain on purpose: this is the oracle of every other level and backend.

mod data;
mod elementwise;
mod linear;
mod movement;
mod norm;
mod reduce;
mod resize;
mod suppress;
mod window;

use super::{Func, Module, Op, Operation};
use crate::core::control::{MAX_CALLS, run_loop, single};
use crate::core::{self, Binding, Const, DType, InterpError, OpSet, Scalar, TensorType, TensorValue, bind_inputs};
use std::rc::Rc;

/// Runs the module's first function.
pub fn run(m: &Module, inputs: &[(String, TensorValue)]) -> Result<Vec<TensorValue>, InterpError> {
    let f = m.main().ok_or(InterpError::NoFunction)?;
    let params: Vec<(&str, &TensorType)> = f.param_names.iter().zip(&f.body.args).map(|(n, v)| (n.as_str(), f.ty(*v))).collect();
    let (mut binding, args) = bind_inputs(&m.symbols, &params, inputs)?;
    core::check_inputs(&m.in_range, inputs, &binding)?;
    let out = call(m, f, &mut binding, args.into_iter().map(Rc::new).collect(), 0)?;
    let outputs = f.result_names.iter().zip(out).filter(|(name, _)| core::size_of_result(name).is_none());
    Ok(outputs.map(|(_, t)| (*t).clone()).collect())
}

/// Runs a function of the module on its arguments.
fn call(
    m: &Module,
    f: &Func,
    binding: &mut Binding,
    args: Vec<Rc<TensorValue>>,
    depth: usize,
) -> Result<Vec<Rc<TensorValue>>, InterpError> {
    if depth > MAX_CALLS || args.len() != f.body.args.len() {
        return Err(fail(format!("@{} is called too deeply or with other arguments than it takes", f.name)));
    }
    let mut values: Vec<Option<Rc<TensorValue>>> = vec![None; f.types.len()];
    let mut left = use_counts(f);
    for (v, x) in f.body.args.iter().zip(args) {
        set(&mut values, *v, x)?;
    }
    for op in &f.body.ops {
        let operands = op.operands.iter().map(|v| get(&values, *v)).collect::<Result<Vec<_>, _>>()?;
        let out = match &op.op {
            Op::If { .. } | Op::Loop { .. } => control(m, f, op, binding, &operands, depth).map_err(|e| located(e, op))?,
            _ => {
                let ty = result(f, op)?;
                let refs: Vec<&TensorValue> = operands.iter().map(Rc::as_ref).collect();
                vec![Rc::new(eval(&op.op, &refs, ty, binding, &m.consts).map_err(|e| located(e, op))?)]
            }
        };
        for (v, x) in op.results.iter().zip(out) {
            for (_, size) in f.sizes().filter(|(of, _)| of == v) {
                let value = x.data.first().copied().map_or(-1, Scalar::as_i64);
                binding.learn(&m.symbols, &size, value).map_err(|e| located(e, op))?;
            }
            set(&mut values, *v, x)?;
        }
        drop(operands);
        release(&mut values, &mut left, op);
    }
    f.body.yields.iter().map(|v| get(&values, *v)).collect()
}

/// The results of an `if` or a `loop`.
fn control(
    m: &Module,
    f: &Func,
    op: &Operation,
    binding: &mut Binding,
    operands: &[Rc<TensorValue>],
    depth: usize,
) -> Result<Vec<Rc<TensorValue>>, InterpError> {
    let callee = |name: &core::Callee| m.func(name).ok_or_else(|| fail(format!("there is no function @{}", name.0)));
    match (&op.op, operands) {
        (Op::If { then, otherwise }, [condition, given @ ..]) => {
            let name = if single(condition)?.as_bool() { then } else { otherwise };
            call(m, callee(name)?, binding, given.to_vec(), depth + 1)
        }
        (Op::Loop { body, trips, form }, _) => {
            let body = callee(body)?;
            let types = op.results.iter().map(|v| f.types.get(v.index()).cloned()).collect::<Option<Vec<_>>>();
            let types = types.ok_or_else(|| fail("a result has no type"))?;
            let sizes = binding.clone();
            run_loop((trips, form), operands, &types, &sizes, &mut |args| call(m, body, binding, args, depth + 1))
        }
        _ => Err(fail("it has no condition")),
    }
}

/// The value of one op under a binding of the symbols: `result` states what the op gives.
pub fn eval(
    op: &Op,
    operands: &[&TensorValue],
    result: &TensorType,
    binding: &Binding,
    consts: &[Const],
) -> Result<TensorValue, InterpError> {
    let shape = binding.shape(&result.shape)?;
    core::checked_elements(&shape)?;
    let cx = Cx { op, x: operands, dtype: result.dtype, shape: &shape, binding, consts };
    let value = dispatch(&cx)?;
    if value.dtype != result.dtype || value.shape != shape {
        return Err(fail(format!("gives {}, the module says {result}", value.type_text())));
    }
    Ok(value)
}

fn dispatch(cx: &Cx) -> Result<TensorValue, InterpError> {
    match cx.op {
        Op::Constant { value } => {
            let c = cx.consts.get(value.0 as usize).ok_or_else(|| fail(format!("there is no constant #{}", value.0)))?;
            TensorValue::from_const(c)
        }
        Op::Dims { values } => movement::dims(cx, values),
        Op::Unary { f } => elementwise::unary(cx, *f),
        Op::Binary { f } => elementwise::binary(cx, *f),
        Op::Select {} => elementwise::select(cx),
        Op::Cast {} => elementwise::cast(cx),
        Op::Bitcast {} => elementwise::bitcast(cx),
        Op::LeakyRelu { alpha } => elementwise::float(cx, |x| if x < 0.0 { alpha * x } else { x }),
        Op::Elu { alpha } => elementwise::float(cx, |x| if x < 0.0 { alpha * x.exp_m1() } else { x }),
        Op::HardSigmoid { alpha, beta } => elementwise::float(cx, |x| (alpha * x + beta).clamp(0.0, 1.0)),
        Op::MatMul {} => linear::matmul(cx),
        Op::Einsum { equation } => linear::einsum(cx, equation),
        Op::Conv { strides, pads, dilations, group } => window::conv(cx, strides, pads, dilations, *group),
        Op::ConvTranspose { strides, pads, dilations, group } => window::conv_transpose(cx, strides, pads, dilations, *group),
        Op::Pool { kind, kernel, strides, pads, dilations, count_include_pad } => {
            window::pool(cx, *kind, kernel, strides, pads, dilations, *count_include_pad)
        }
        Op::Reduce { f, axes, keep } => reduce::reduce(cx, *f, axes, *keep),
        Op::ArgReduce { f, axis, keep, last } => reduce::arg_reduce(cx, *f, *axis, *keep, *last),
        Op::Softmax { axis, log } => norm::softmax(cx, *axis, *log),
        Op::LayerNorm { axis, epsilon } => norm::layer_norm(cx, *axis, *epsilon),
        Op::RmsNorm { axis, epsilon } => norm::rms_norm(cx, *axis, *epsilon),
        Op::GroupNorm { groups, epsilon } => norm::group_norm(cx, *groups, *epsilon),
        Op::BatchNorm { epsilon } => norm::batch_norm(cx, *epsilon),
        Op::Transpose { perm } => movement::transpose(cx, perm),
        Op::Reshape {} => TensorValue::new(cx.dtype, cx.shape.to_vec(), cx.operand(0)?.data.clone()),
        Op::Expand {} => movement::expand(cx),
        Op::Slice { starts, steps } => movement::slice(cx, starts, steps),
        Op::Concat { axis } => movement::concat(cx, *axis),
        Op::Pad { mode, before } => movement::pad(cx, *mode, before),
        Op::Tile {} => movement::tile(cx),
        Op::Gather { axis } => data::gather(cx, *axis),
        Op::GatherElements { axis } => data::gather_elements(cx, *axis),
        Op::GatherNd { batch_dims } => data::gather_nd(cx, *batch_dims),
        Op::ScatterNd { f } => data::scatter_nd(cx, *f),
        Op::ScatterElements { axis, f } => data::scatter_elements(cx, *axis, *f),
        Op::Resize { mode, coord, nearest, scales, cubic_a, exclude_outside } => {
            let how = resize::How { mode: *mode, coord: *coord, nearest: *nearest, cubic_a: *cubic_a, exclude_outside: *exclude_outside };
            resize::resize(cx, &how, scales)
        }
        Op::CumSum { axis, exclusive, reverse } => reduce::cum_sum(cx, *axis, *exclusive, *reverse),
        Op::Range {} => movement::range(cx),
        Op::OneHot { axis } => data::one_hot(cx, *axis),
        Op::Suppress {} => suppress::suppress(cx),
        Op::Trilu { upper, k } => movement::trilu(cx, *upper, *k),
        Op::If { .. } | Op::Loop { .. } => Err(fail("it needs the functions of its module")),
    }
}

/// One op at work: its operands, and the type of its result with the sizes as numbers.
struct Cx<'a> {
    op: &'a Op,
    x: &'a [&'a TensorValue],
    dtype: DType,
    shape: &'a [usize],
    binding: &'a Binding,
    consts: &'a [Const],
}

impl<'a> Cx<'a> {
    fn operand(&self, k: usize) -> Result<&'a TensorValue, InterpError> {
        self.x.get(k).copied().ok_or_else(|| fail(format!("operand {k} is missing")))
    }
    /// The result, each element from its index.
    fn build(&self, f: impl FnMut(&[usize]) -> Result<Scalar, InterpError>) -> Result<TensorValue, InterpError> {
        TensorValue::try_from_fn(self.dtype, self.shape, f)
    }
}

fn fail(message: impl Into<String>) -> InterpError {
    InterpError::Op { op: String::new(), loc: String::new(), message: message.into() }
}

/// An element that an unverified module may lack.
fn found(x: Option<Scalar>) -> Result<Scalar, InterpError> {
    x.ok_or_else(|| fail("reads outside its operand: the operands' shapes do not fit"))
}

fn located(e: InterpError, op: &Operation) -> InterpError {
    match e {
        InterpError::Op { op: name, message, .. } if name.is_empty() => {
            InterpError::Op { op: op.op.info().mnemonic.into(), loc: op.loc.to_string(), message }
        }
        e => e,
    }
}

fn result<'f>(f: &'f Func, op: &Operation) -> Result<&'f TensorType, InterpError> {
    let v = op.result().ok_or_else(|| located(fail("it must have one result"), op))?;
    f.types.get(v.index()).ok_or_else(|| InterpError::Undefined { value: v.to_string() })
}

fn get(values: &[Option<Rc<TensorValue>>], v: core::Value) -> Result<Rc<TensorValue>, InterpError> {
    values.get(v.index()).cloned().flatten().ok_or_else(|| InterpError::Undefined { value: v.to_string() })
}

fn set(values: &mut [Option<Rc<TensorValue>>], v: core::Value, x: Rc<TensorValue>) -> Result<(), InterpError> {
    *values.get_mut(v.index()).ok_or_else(|| InterpError::Undefined { value: v.to_string() })? = Some(x);
    Ok(())
}

fn use_counts(f: &Func) -> Vec<usize> {
    let mut n = vec![0usize; f.types.len()];
    f.body.visit_uses(&mut |v| {
        if let Some(c) = n.get_mut(v.index()) {
            *c += 1;
        }
    });
    n
}

/// Forgets operands that nothing uses any more, so that real models fit into memory.
fn release(values: &mut [Option<Rc<TensorValue>>], left: &mut [usize], op: &Operation) {
    for v in &op.operands {
        if let (Some(n), Some(slot)) = (left.get_mut(v.index()), values.get_mut(v.index())) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                *slot = None;
            }
        }
    }
}

#[cfg(test)]
mod tests;
