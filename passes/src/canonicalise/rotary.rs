//! Rotary embedding that exporters spell out with slices: `x * cos + concat(-x[h..], x[..h]) * sin`. Over an axis of two halves it is
//! `x * cos + swapped(x) * (-sin, sin)`: no copy, and one index map for all elements.

use super::rewriter::{Cx, pair};
use odc_ir::core::{Const, Dim, Scalar, TensorType, Value};
use odc_ir::graph::{BinaryFn, Op, Operation, UnaryFn};

pub fn rotary(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (a, b) = pair(op, BinaryFn::Add)?;
    let either = |cx: &mut Cx, a: Value, b: Value| {
        let turned = cx.attempt(|cx| turned(cx, b))?;
        cx.attempt(|cx| plain(cx, a, turned.0)).map(|cos| (turned, cos))
    };
    let ((x, half, sin), cos) = either(cx, a, b).or_else(|| either(cx, b, a))?;
    let ty = cx.ty(x).clone();
    if *cx.ty(op.result()?) != ty {
        return None;
    }
    let halves = |cx: &mut Cx, v: Value| {
        let mut ty = cx.ty(v).clone();
        let last = ty.shape.pop()?.as_const()?;
        // Factors may be the same for all of a row.
        let both = if last == 2 * half { [Dim::from(2), Dim::from(half)] } else { [Dim::ONE, Dim::from(last)] };
        ty.shape.extend(both);
        (last == 2 * half || last == 1).then(|| cx.emit(Op::Reshape {}, &[v], ty))
    };
    let (x2, cos, sin) = (halves(cx, x)?, halves(cx, cos)?, halves(cx, sin)?);
    let of = cx.ty(x2).clone();
    let axis = of.rank() - 2;
    let at = |n: i64, rest: i64| (0..of.rank()).map(move |k| if k == axis { n } else { rest });
    let swap = Op::Slice { starts: at(1, 0).map(Dim::from).collect(), steps: at(-1, 1).collect() };
    let swapped = cx.emit(swap, &[x2], of.clone());
    let signs = Const::from_scalars(ty.dtype, &[2, 1], [-1.0, 1.0].map(Scalar::Float));
    let signs = cx.emit_constant(signs);
    let sin = cx.emit_binary(BinaryFn::Mul, sin, signs)?;
    let (a, b) = (cx.emit_binary(BinaryFn::Mul, x2, cos)?, cx.emit_binary(BinaryFn::Mul, swapped, sin)?);
    let sum = cx.emit_binary(BinaryFn::Add, a, b)?;
    (*cx.ty(sum) == of).then(|| cx.emit(Op::Reshape {}, &[sum], ty))
}

/// The other factor of `v = x * factor`.
fn plain(cx: &mut Cx, v: Value, x: Value) -> Option<Value> {
    let (a, b) = cx.binary(v, BinaryFn::Mul)?;
    [(a, b), (b, a)].into_iter().find(|(y, _)| *y == x).map(|(_, factor)| factor)
}

/// `x`, half of its last axis and the other factor of `v = concat(-x[h..], x[..h]) * factor`.
fn turned(cx: &mut Cx, v: Value) -> Option<(Value, i64, Value)> {
    let (a, b) = cx.binary(v, BinaryFn::Mul)?;
    let found = |cx: &mut Cx, v: Value| {
        cx.attempt(|cx| {
            let concat = cx.def(v)?;
            let (Op::Concat { axis }, [second, first]) = (&concat.op, concat.operands.as_slice()) else { return None };
            let minus = cx.unary(*second, UnaryFn::Neg)?;
            let ty = cx.ty(v).clone();
            let n = ty.shape.last()?.as_const().filter(|n| n % 2 == 0 && axis + 1 == ty.rank() && ty.dtype.is_float())?;
            let x = half(cx, *first, 0, n / 2, &ty)?;
            (half(cx, minus, n / 2, n / 2, &ty)? == x).then_some((x, n / 2))
        })
    };
    [(a, b), (b, a)].into_iter().find_map(|(v, factor)| found(cx, v).map(|(x, half)| (x, half, factor)))
}

/// What `v` is a part of: `x[..., start .. start + n]`, where x has type `ty`.
fn half(cx: &mut Cx, v: Value, start: i64, n: i64, ty: &TensorType) -> Option<Value> {
    let slice = cx.def(v)?;
    let (Op::Slice { starts, steps }, [x]) = (&slice.op, slice.operands.as_slice()) else { return None };
    let (last, before) = starts.split_last()?;
    let same = cx.ty(*x) == ty && cx.ty(v).shape.last()?.is(n);
    (same && last.is(start) && before.iter().all(|d| d.is(0)) && steps.iter().all(|s| *s == 1)).then_some(*x)
}
