//! Pools: a reduction over the window. Positions outside the input count as the neutral element; an average's divisor is a number
//! where every window is whole, else an expression of the position.

use super::LowerError;
use super::conv::Window;
use super::cx::{Args, Cx, Reduction, Src, axes, i, is, r, raxes, wide};
use odc_ir::core::{Binary, DType, Dim, Value};
use odc_ir::graph::PoolKind;
use odc_ir::tensor::{Expr, Program, ReduceKind};

pub(super) fn pool(cx: &mut Cx, a: &Args, kind: PoolKind, kernel: &[i64], win: &Window, count_pads: bool) -> Result<Value, LowerError> {
    let x = a.x(0)?;
    let spatial = kernel.len();
    if x.ty.rank() != spatial + 2 || a.rank() != spatial + 2 {
        return Err(LowerError::new(format!("a window of {spatial} axes does not fit {}", x.ty)));
    }
    if kind == PoolKind::ArgMax {
        return arg_max(cx, a, kernel, win);
    }
    let dt = wide(x.ty.dtype);
    let mut body = Program::new();
    let taps: Vec<Dim> = (0..spatial).map(r).collect();
    let (index, inside, starts) = window(x, win, &taps)?;
    let mut count = Dim::ONE;
    for (s, (&size, start)) in kernel.iter().zip(&starts).enumerate() {
        let n = x.dim(2 + s)?;
        let step = Dim::from(win.dilation(s));
        let (first, limit) =
            if count_pads { (Dim::ZERO, n + win.end(s, spatial)) } else { ((-start).ceildiv(&step).max_with(&Dim::ZERO), n.clone()) };
        let last = (&limit - start).ceildiv(&step).min_with(&Dim::from(size));
        count = count * (last - first);
    }
    let v = x.wide(&mut body, index);
    let outside = match kind {
        PoolKind::Max | PoolKind::ArgMax => body.constant(dt, least(dt)),
        PoolKind::Average | PoolKind::Sum => body.constant(dt, 0.0),
    };
    let c = body.push(Expr::Inside(inside));
    let v = body.select(c, v, outside);
    let mut epilogue = Program::identity(dt);
    let kind = match kind {
        PoolKind::Max | PoolKind::ArgMax => ReduceKind::Max,
        PoolKind::Sum => ReduceKind::Sum,
        PoolKind::Average => {
            if let Some(acc) = epilogue.root {
                let n = epilogue.dim(count);
                let n = epilogue.cast(dt, n);
                let v = epilogue.binary(Binary::Div, acc, n);
                epilogue = epilogue.returning(v);
            }
            ReduceKind::Sum
        }
    };
    let kernel: Vec<_> = kernel.iter().map(|&k| Dim::from(k)).collect();
    let (axes, store) = (axes(&a.out.shape), is(a.rank()));
    let red = Reduction { kind, axes, raxes: raxes(&kernel), store, body: body.returning(v), epilogue };
    Ok(cx.reduce(&a.operands, a.out.clone(), red))
}

/// The operand's index at these taps, the bounds that its spatial part must keep, and where each axis' window starts.
fn window(x: &Src, win: &Window, taps: &[Dim]) -> Result<Place, LowerError> {
    let (mut index, mut inside, mut starts) = (vec![i(0), i(1)], vec![], vec![]);
    for (s, tap) in taps.iter().enumerate() {
        let start = i(2 + s) * win.stride(s) - win.begin(s);
        let at = &start + &(tap * win.dilation(s));
        inside.push((at.clone(), x.dim(2 + s)?.clone()));
        index.push(at);
        starts.push(start);
    }
    Ok((index, inside, starts))
}
type Place = (Vec<Dim>, Vec<(Dim, Dim)>, Vec<Dim>);

/// The tap of the greatest element, all taps numbered along one axis, then the place of that tap in the plane.
fn arg_max(cx: &mut Cx, a: &Args, kernel: &[i64], win: &Window) -> Result<Value, LowerError> {
    let x = a.x(0)?;
    // Small integers have room below their least value for what lies outside.
    let dt = match wide(x.ty.dtype) {
        DType::I8 | DType::I16 | DType::I32 | DType::U8 | DType::U16 | DType::U32 | DType::Bool => DType::I64,
        dt => dt,
    };
    let mut rest = r(0);
    let mut taps = vec![];
    for &k in kernel.iter().rev() {
        let next = rest.floordiv(&Dim::from(k));
        taps.push(&rest - &(&next * k));
        rest = next;
    }
    taps.reverse();
    let mut body = Program::new();
    let (index, inside, starts) = window(x, win, &taps)?;
    let v = x.load(&mut body, index);
    let v = body.cast(dt, v);
    let outside = body.constant(dt, least(dt));
    let c = body.push(Expr::Inside(inside));
    let v = body.select(c, v, outside);

    let mut e = Program::new();
    let mut rest = e.push(Expr::Acc(DType::I64));
    let mut tap = vec![];
    for &k in kernel.iter().rev() {
        let k = e.constant(DType::I64, k as f64);
        let next = e.binary(Binary::Div, rest, k);
        let whole = e.binary(Binary::Mul, next, k);
        tap.push(e.binary(Binary::Sub, rest, whole));
        rest = next;
    }
    let mut at = e.constant(DType::I64, 0.0);
    for (s, (tap, start)) in tap.into_iter().rev().zip(&starts).enumerate() {
        let dilation = e.constant(DType::I64, win.dilation(s) as f64);
        let step = e.binary(Binary::Mul, tap, dilation);
        let start = e.dim(start.clone());
        let here = e.binary(Binary::Add, start, step);
        let n = e.dim(x.dim(2 + s)?.clone());
        at = e.binary(Binary::Mul, at, n);
        at = e.binary(Binary::Add, at, here);
    }
    let count = Dim::from(kernel.iter().product::<i64>());
    let (axes, store) = (axes(&a.out.shape), is(a.rank()));
    let epilogue = e.returning(at);
    let red = Reduction { kind: ReduceKind::ArgMax, axes, raxes: raxes(&[count]), store, body: body.returning(v), epilogue };
    Ok(cx.reduce(&a.operands, a.out.clone(), red))
}

/// What no element is below.
fn least(dt: DType) -> f64 {
    match dt {
        DType::F32 | DType::F64 | DType::F16 | DType::BF16 => f64::NEG_INFINITY,
        DType::I8 => f64::from(i8::MIN),
        DType::I16 => f64::from(i16::MIN),
        DType::I32 => f64::from(i32::MIN),
        DType::I64 => i64::MIN as f64,
        DType::U8 | DType::U16 | DType::U32 | DType::U64 | DType::Bool => 0.0,
        // No pool computes with them.
        DType::Str
        | DType::F8E4M3FN
        | DType::F8E4M3FNUZ
        | DType::F8E5M2
        | DType::F8E5M2FNUZ
        | DType::F8E8M0
        | DType::F6E2M3
        | DType::F6E3M2
        | DType::F4E2M1
        | DType::I4
        | DType::U4
        | DType::I2
        | DType::U2 => 0.0,
    }
}
