//! TopK by counting: an element's rank is how many come before it, and the element of each rank is found by that number. No data moves,
//! every rank is computed on its own, and equal elements keep their order.

use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{ArgFn, BinaryFn, Op, ReduceFn};

/// Beyond this many elements along the axis counting takes too long.
const MOST: i64 = 1 << 14;

pub fn top_k(c: &mut Call) -> Out {
    let x = c.input(0)?;
    c.want_rank(&x, 1, "the operand")?;
    let axis = c.axis(c.attrs.int_or("axis", -1)?, x.rank())?;
    let largest = c.attrs.flag("largest", true)?;
    // Sorted is one of the orders that an unsorted result may have.
    c.attrs.flag("sorted", true)?;
    let k = if c.opset < 10 {
        Dim::from(c.attrs.required_int("k")?)
    } else {
        let k = c.input(1)?;
        match c.sizes(&k, "k")?.as_slice() {
            [k] => k.clone(),
            _ => return Err(operand("k must be one number")),
        }
    };
    let n = x.shape().get(axis).cloned().unwrap_or(Dim::ONE);
    if k.as_const().zip(n.as_const()).is_some_and(|(k, n)| k < 0 || k > n) {
        return Err(operand(format!("k is {k}, but the axis has {n} elements")));
    }
    let f = if largest { ArgFn::Max } else { ArgFn::Min };
    let at = if k.is(1) {
        let mut shape = x.shape().to_vec();
        if let Some(slot) = shape.get_mut(axis) {
            *slot = Dim::ONE;
        }
        c.emit(Op::ArgReduce { f, axis, keep: true, last: false }, &[&x], DType::I64, shape)?
    } else {
        if let Some(n) = n.as_const().filter(|n| *n > MOST) {
            return Err(unsupported_use(format!("the first {k} of {n} elements; at most {MOST} are supported")));
        }
        ranked(c, &x, axis, &n, &k, largest)?
    };
    let values = c.emit(Op::GatherElements { axis }, &[&x, &at], x.dtype(), at.shape().to_vec())?;
    Ok(vec![values, at])
}

/// The positions of the first `k` elements in order, along `axis`.
fn ranked(c: &mut Call, x: &Val, axis: usize, n: &Dim, k: &Dim, largest: bool) -> Got<Val> {
    let rank = x.rank();
    // Counted in 32 bits, of which a vector holds more.
    // Element i in front of element j on a new axis behind.
    let (own, other) = (c.unsqueeze(x, axis + 1)?, c.unsqueeze(x, axis)?);
    let (i, j) = (c.positions(n, DType::I32, axis, rank + 1)?, c.positions(n, DType::I32, axis + 1, rank + 1)?);
    let before = c.apply(if largest { BinaryFn::Gt } else { BinaryFn::Lt }, &other, &own)?;
    let same = c.apply(BinaryFn::Eq, &other, &own)?;
    let earlier = c.apply(BinaryFn::Lt, &j, &i)?;
    let tie = c.all(&same, &earlier)?;
    let before = c.apply(BinaryFn::Or, &before, &tie)?;
    let before = c.convert(&before, DType::I32)?;
    let place = c.reduce(ReduceFn::Sum, &before, &[axis + 1], false)?;
    // For each place the one element of that rank.
    let place = c.unsqueeze(&place, axis)?;
    let wanted = c.positions(k, DType::I32, axis, rank + 1)?;
    let hit = c.apply(BinaryFn::Eq, &place, &wanted)?;
    let at = c.choose(&hit, &j, &Val::scalar(DType::I32, 0.0))?;
    let at = c.reduce(ReduceFn::Sum, &at, &[axis + 1], false)?;
    c.convert(&at, DType::I64)
}
