//! Constant folding: operations on constants alone become constants, if that does not grow the model. Moves and elementwise
//! functions of weights work on bytes; the rest asks the reference interpreter, while it is cheap.

use super::constants::{broadcast, from_options, sizes, strided, strides};
use super::rewriter::Cx;
use odc_ir::core::{Binding, Const, Scalar, TensorType, TensorValue, Value};
use odc_ir::graph::{BinaryFn, Op, Operation, interp};

/// A result may have this many bytes even if it is larger than what it is made of.
const SMALL: usize = 1 << 20;
/// Broadcasts are cheaper read than stored: only small ones are folded.
const SMALL_EXPAND: usize = 1 << 12;
/// Elements, and products of sums, up to which the interpreter is asked.
const INTERPRETED: usize = 1 << 18;

pub fn fold(cx: &mut Cx, op: &Operation) -> Option<Value> {
    if matches!(op.op, Op::Constant { .. }) {
        return None;
    }
    let ty = cx.ty(op.result()?).clone();
    let shape = sizes(&ty.static_shape()?)?;
    let operands = op.operands.iter().map(|v| cx.constant(*v)).collect::<Option<Vec<_>>>()?;
    let bytes = shape.iter().try_fold(ty.dtype.size(), |n, d| n.checked_mul(*d))?;
    // Each operand once: a constant joined to itself again and again would double every time.
    let first = |k: &usize| !op.operands.iter().take(*k).any(|v| Some(v) == op.operands.get(*k));
    let from: usize = (0..operands.len()).filter(first).map(|k| operands[k].bytes.len()).sum();
    // One constant shifted by several amounts is packed data that is taken apart: it stays packed.
    let elements = shape.iter().product::<usize>();
    let unpacks = matches!(op.op, Op::Binary { f: BinaryFn::Shr }) && operands.iter().all(|c| c.elements() < elements);
    let limit = if unpacks || matches!(op.op, Op::Expand {} | Op::Tile {}) { SMALL_EXPAND } else { SMALL };
    if bytes > limit.max(from) {
        return None;
    }
    let c = direct(&op.op, &operands, &ty, &shape).or_else(|| interpreted(cx, op, &operands, &ty))?;
    Some(cx.emit_constant(c))
}

fn constant(ty: &TensorType, bytes: Vec<u8>) -> Option<Const> {
    Const::new(ty.dtype, ty.static_shape()?, bytes.into())
}

fn direct(op: &Op, x: &[&Const], ty: &TensorType, shape: &[usize]) -> Option<Const> {
    match (op, x) {
        // The bytes stay where they are.
        (Op::Reshape {}, [x]) => Const::new(ty.dtype, ty.static_shape()?, x.bytes.clone()),
        (Op::Transpose { perm }, [x]) => {
            let from = strides(&sizes(&x.shape)?);
            let by = perm.iter().map(|p| from.get(*p).copied()).collect::<Option<Vec<_>>>()?;
            constant(ty, strided(&x.bytes, x.dtype.size(), 0, &by, shape)?)
        }
        (Op::Expand {}, [x]) => constant(ty, broadcast(x, shape)?),
        (Op::Slice { starts, steps }, [x]) => {
            let from = strides(&sizes(&x.shape)?);
            let by = from.iter().zip(steps).map(|(a, b)| a.checked_mul(*b)).collect::<Option<Vec<_>>>()?;
            let starts = starts.iter().map(|d| d.as_const()).collect::<Option<Vec<_>>>()?;
            let base = from.iter().zip(starts).try_fold(0i64, |at, (s, k)| at.checked_add(s.checked_mul(k)?))?;
            constant(ty, strided(&x.bytes, x.dtype.size(), base, &by, shape)?)
        }
        (Op::Concat { axis }, parts) => {
            let outer: usize = shape.get(..*axis)?.iter().product();
            let mut bytes = vec![];
            for k in 0..outer {
                for p in parts {
                    let run = p.bytes.len().checked_div(outer)?;
                    bytes.extend_from_slice(p.bytes.get(k * run..(k + 1) * run)?);
                }
            }
            constant(ty, bytes)
        }
        (Op::Cast {}, [x]) => Some(Const::from_scalars(ty.dtype, &x.shape, x.scalars().map(|s| s.cast(x.dtype, ty.dtype)))),
        (Op::Unary { f }, [x]) => Some(Const::from_scalars(ty.dtype, &x.shape, x.scalars().map(|s| f.eval(x.dtype, s)))),
        (Op::Binary { f }, [a, b]) => {
            let (dt, size) = (a.dtype, a.dtype.size());
            let (x, y) = (broadcast(a, shape)?, broadcast(b, shape)?);
            let pairs = x.chunks_exact(size).zip(y.chunks_exact(size));
            let data = pairs.map(|(p, q)| Some(f.eval(dt, Scalar::read(dt, p)?, Scalar::read(dt, q)?)));
            from_options(ty.dtype, &ty.static_shape()?, data)
        }
        _ => None,
    }
}

fn interpreted(cx: &Cx, op: &Operation, x: &[&Const], ty: &TensorType) -> Option<Const> {
    // What a product sums over is at most the size of an operand's row; its elements bound the work well enough.
    let sums = matches!(op.op, Op::MatMul {} | Op::Einsum { .. } | Op::Conv { .. } | Op::ConvTranspose { .. } | Op::Pool { .. });
    let sums = sums || matches!(op.op, Op::CumSum { .. } | Op::Softmax { .. });
    let held: usize = x.iter().map(|c| c.elements()).sum();
    let made = sizes(&ty.static_shape()?)?.iter().product::<usize>();
    let work = if sums { held.saturating_mul(made) } else { held.saturating_add(made) };
    if work > INTERPRETED {
        return None;
    }
    let values = x.iter().map(|c| TensorValue::from_const(c).ok()).collect::<Option<Vec<_>>>()?;
    let refs: Vec<&TensorValue> = values.iter().collect();
    // An error (an index outside, say) is left to the run, which reports it in its place.
    interp::eval(&op.op, &refs, ty, &Binding::default(), cx.consts()).ok().map(|v| v.to_const())
}
