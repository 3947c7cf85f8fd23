//! Pools: a reduction over the window. Positions outside the input count as the neutral element; an average's divisor is a number
//! where every window is whole, else an expression of the position.

use super::LowerError;
use super::conv::Window;
use super::cx::{Args, Cx, Reduction, axes, i, is, r, raxes, wide};
use odc_ir::core::{Binary, DType, Dim, Value};
use odc_ir::graph::PoolKind;
use odc_ir::tensor::{Expr, Program, ReduceKind};

pub(super) fn pool(cx: &mut Cx, a: &Args, kind: PoolKind, kernel: &[i64], win: &Window, count_pads: bool) -> Result<Value, LowerError> {
    let x = a.x(0)?;
    let spatial = kernel.len();
    if x.ty.rank() != spatial + 2 || a.rank() != spatial + 2 {
        return Err(LowerError::new(format!("a window of {spatial} axes does not fit {}", x.ty)));
    }
    let dt = wide(x.ty.dtype);
    let mut body = Program::new();
    let mut index = vec![i(0), i(1)];
    let mut inside = vec![];
    let mut count = Dim::ONE;
    for (s, &size) in kernel.iter().enumerate() {
        let n = x.dim(2 + s)?;
        let (dilation, begin) = (win.dilation(s), win.begin(s));
        let start = i(2 + s) * win.stride(s) - begin;
        let at = &start + &(r(s) * dilation);
        inside.push((at.clone(), n.clone()));
        index.push(at);
        let step = Dim::from(dilation);
        let (first, limit) =
            if count_pads { (Dim::ZERO, n + win.end(s, spatial)) } else { ((-&start).ceildiv(&step).max_with(&Dim::ZERO), n.clone()) };
        let last = (&limit - &start).ceildiv(&step).min_with(&Dim::from(size));
        count = count * (last - first);
    }
    let v = x.wide(&mut body, index);
    let outside = match kind {
        PoolKind::Max => body.constant(dt, least(dt)),
        PoolKind::Average => body.constant(dt, 0.0),
    };
    let c = body.push(Expr::Inside(inside));
    let v = body.select(c, v, outside);
    let mut epilogue = Program::identity(dt);
    let kind = match kind {
        PoolKind::Max => ReduceKind::Max,
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

/// What no element is below.
fn least(dt: DType) -> f64 {
    match dt {
        DType::F32 | DType::F64 | DType::F16 | DType::BF16 => f64::NEG_INFINITY,
        DType::I8 => f64::from(i8::MIN),
        DType::I16 => f64::from(i16::MIN),
        DType::I32 => f64::from(i32::MIN),
        DType::I64 => i64::MIN as f64,
        DType::U8 | DType::U16 | DType::U32 | DType::U64 | DType::Bool => 0.0,
    }
}
