//! Operators around a state that is carried from call to call: TensorScatter, CausalConvWithState; and ReverseSequence, which too goes by a
//! number a batch element.

use crate::import::call::{Call, Out, operand};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op, PadMode, UnaryFn};

/// The cache with an update written from an index on, one index a batch element. Each place reads its update or keeps what it had.
pub fn tensor_scatter(c: &mut Call) -> Out {
    let (past, update) = (c.input(0)?, c.input(1)?);
    c.same_dtype(&past, &update)?;
    let circular = c.attrs.choice("mode", "linear", &[("linear", false), ("circular", true)])?;
    let axis = c.axis(c.attrs.int_or("axis", -2)?, past.rank())?;
    if axis == 0 || update.rank() != past.rank() {
        return Err(operand(format!("the update {} does not fit the cache {}", update.ty, past.ty)));
    }
    let rank = past.rank();
    let (n, m) = (past.shape().get(axis).cloned().unwrap_or(Dim::ONE), update.shape().get(axis).cloned().unwrap_or(Dim::ONE));
    let mut at = c.positions(&n, DType::I64, axis, rank)?;
    if let Some(first) = c.opt(2) {
        if !circular {
            c.in_range(&first, &[(Dim::ZERO, &n - &m)], "where to write")?;
        }
        let first = c.convert(&first, DType::I64)?;
        let first = c.along(&first, 0, rank)?;
        at = c.sub(&at, &first)?;
        if circular {
            let n = c.size(&n, DType::I64)?;
            at = c.apply(BinaryFn::Mod, &at, &n)?;
        }
    }
    let m = c.size(&m, DType::I64)?;
    let (after, before) = (c.with(BinaryFn::Ge, &at, 0.0)?, c.apply(BinaryFn::Lt, &at, &m)?);
    let written = c.all(&after, &before)?;
    let last = c.plus(&m, -1.0)?;
    let at = c.clamp(&at, &Val::scalar(DType::I64, 0.0), &last)?;
    let at = c.expand(&at, past.shape().to_vec())?;
    let new = c.emit(Op::GatherElements { axis }, &[&update, &at], past.dtype(), past.shape().to_vec())?;
    Ok(vec![c.choose(&written, &new, &past)?])
}

/// A convolution of each channel that sees what went before: the last `k - 1` elements are carried over.
pub fn causal_conv(c: &mut Call) -> Out {
    let (x, weight) = (c.input(0)?, c.input(1)?);
    let silu = c.attrs.choice("activation", "none", &[("none", false), ("silu", true), ("swish", true)])?;
    let ([n, channels, length], Some([_, 1, k])) =
        (x.shape(), weight.ty.static_shape().as_deref().and_then(|s| <[i64; 3]>::try_from(s).ok()))
    else {
        return Err(operand(format!("needs [n, c, length] and [c, 1, k], has {} and {}", x.ty, weight.ty)));
    };
    let group = weight.shape().first().and_then(Dim::as_const).unwrap_or(1);
    let (n, channels, length) = (n.clone(), c.equal(channels, &Dim::from(group), "channels and weights")?, length.clone());
    let whole = vec![n.clone(), channels.clone(), &length + (k - 1)];
    let carried = vec![n, channels, Dim::from(k - 1)];
    let all = match c.opt(3) {
        _ if k == 1 => x.clone(),
        Some(past) => c.concat(&[&past, &x], 2)?,
        None => {
            c.emit(Op::Pad { mode: PadMode::Constant, before: vec![Dim::ZERO, Dim::ZERO, Dim::from(k - 1)] }, &[&x], x.dtype(), whole)?
        }
    };
    let op = Op::Conv { strides: vec![1], pads: vec![0, 0], dilations: vec![1], group };
    let bias = c.opt(2);
    let operands: Vec<&Val> = [&all, &weight].into_iter().chain(&bias).collect();
    let mut y = c.emit(op, &operands, x.dtype(), x.shape().to_vec())?;
    if silu {
        y = c.function(UnaryFn::Silu, &y)?;
    }
    let op = Op::Slice { starts: vec![Dim::ZERO, Dim::ZERO, length], steps: vec![1; 3] };
    let state = c.emit(op, &[&all], x.dtype(), carried)?;
    Ok(vec![y, state])
}

/// The first elements of each sequence backwards, as many as `sequence_lens` says.
pub fn reverse_sequence(c: &mut Call) -> Out {
    let (x, lengths) = (c.input(0)?, c.input(1)?);
    c.want_rank(&x, 2, "the operand")?;
    let batch = c.axis(c.attrs.int_or("batch_axis", 1)?, x.rank())?;
    let time = c.axis(c.attrs.int_or("time_axis", 0)?, x.rank())?;
    if batch == time {
        return Err(operand("batch and time axis are the same"));
    }
    let n = x.shape().get(time).cloned().unwrap_or(Dim::ONE);
    c.in_range(&lengths, &[(Dim::ZERO, n.clone())], "the length of a sequence")?;
    let lengths = c.convert(&lengths, DType::I64)?;
    let lengths = c.along(&lengths, batch, x.rank())?;
    let t = c.positions(&n, DType::I64, time, x.rank())?;
    let inside = c.apply(BinaryFn::Lt, &t, &lengths)?;
    let last = c.plus(&lengths, -1.0)?;
    let back = c.sub(&last, &t)?;
    let at = c.choose(&inside, &back, &t)?;
    let at = c.expand(&at, x.shape().to_vec())?;
    Ok(vec![c.emit(Op::GatherElements { axis: time }, &[&x, &at], x.dtype(), x.shape().to_vec())?])
}
