//! Running sums and products. A sum over a long axis goes by blocks: sums within blocks, then of whole blocks, so that `n` elements
//! take about `n * sqrt(n)` additions instead of `n * n`.

use super::reduce::only;
use crate::import::call::{Call, Got, Out};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op, PadMode, ReduceFn};

/// Shorter axes are summed directly.
const SHORT: i64 = 128;

struct Run {
    axis: usize,
    exclusive: bool,
    reverse: bool,
}

impl Run {
    fn of(c: &mut Call) -> Got<(Val, Run)> {
        let (x, axis) = (c.input(0)?, c.input(1)?);
        let axis = only(&c.const_ints(&axis, "the axis")?)?;
        let axis = c.axis(axis, x.rank())?;
        Ok((x, Run { axis, exclusive: c.attrs.flag("exclusive", false)?, reverse: c.attrs.flag("reverse", false)? }))
    }
}

pub fn cum_sum(c: &mut Call) -> Out {
    let (x, run) = Run::of(c)?;
    Ok(vec![run.sums(c, &x)?])
}

/// The sums up to and with each element along an axis.
pub fn sums(c: &mut Call, x: &Val, axis: usize) -> Got<Val> {
    Run { axis, exclusive: false, reverse: false }.sums(c, x)
}

impl Run {
    fn sums(&self, c: &mut Call, x: &Val) -> Got<Val> {
        let size = x.shape().get(self.axis).cloned().unwrap_or(Dim::ONE);
        if c.build.dims.ranges.le(&size, &Dim::from(SHORT)) {
            return direct(c, x, self.axis, self.exclusive, self.reverse);
        }
        // A power of two near the root of the size.
        let block = size.as_const().map_or(64, |n| 1i64 << (n.ilog2() / 2 + 1));
        let blocks = c.build.dims.simplify(&size.ceildiv(&Dim::from(block)));
        let mut shape = x.shape().to_vec();
        if let Some(slot) = shape.get_mut(self.axis) {
            *slot = &blocks * block;
        }
        // Zeros behind the last element change no sum.
        let whole = if shape == x.shape() {
            x.clone()
        } else {
            c.emit(Op::Pad { mode: PadMode::Constant, before: vec![Dim::ZERO; x.rank()] }, &[x], x.dtype(), shape.clone())?
        };
        let mut parts = shape.clone();
        parts.splice(self.axis..=self.axis, [blocks, Dim::from(block)]);
        let v = c.reshape(&whole, parts)?;
        let within = direct(c, &v, self.axis + 1, self.exclusive, self.reverse)?;
        let totals = c.reduce(ReduceFn::Sum, &v, &[self.axis + 1], true)?;
        let before = direct(c, &totals, self.axis, true, self.reverse)?;
        let sum = c.add(&within, &before)?;
        let sum = c.reshape(&sum, shape)?;
        c.part(&sum, self.axis, Dim::ZERO, size)
    }
}

fn direct(c: &mut Call, x: &Val, axis: usize, exclusive: bool, reverse: bool) -> Got<Val> {
    c.emit(Op::CumSum { axis, exclusive, reverse }, &[x], x.dtype(), x.shape().to_vec())
}

/// The product over the elements up to each: of all, those beyond counting as 1.
pub fn cum_prod(c: &mut Call) -> Out {
    let (x, run) = Run::of(c)?;
    let (axis, rank) = (run.axis, x.rank() + 1);
    let n = x.shape().get(axis).cloned().unwrap_or(Dim::ONE);
    let (i, j) = (c.positions(&n, DType::I64, axis, rank)?, c.positions(&n, DType::I64, axis + 1, rank)?);
    let f = match (run.reverse, run.exclusive) {
        (false, false) => BinaryFn::Le,
        (false, true) => BinaryFn::Lt,
        (true, false) => BinaryFn::Ge,
        (true, true) => BinaryFn::Gt,
    };
    let counts = c.apply(f, &j, &i)?;
    let other = c.unsqueeze(&x, axis)?;
    let v = c.choose(&counts, &other, &Val::scalar(x.dtype(), 1.0))?;
    Ok(vec![c.reduce(ReduceFn::Prod, &v, &[axis + 1], false)?])
}
