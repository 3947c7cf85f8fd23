//! Reading between the elements: the weighted sum of neighbours that GridSample, DeformConv and RoiAlign share, and the grids that
//! AffineGrid makes. A place has one coordinate an axis; each coordinate becomes taps, a position with a weight.

use crate::import::call::{Call, Got, Out, operand};
use crate::import::compose::wide;
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op, UnaryFn};

/// One neighbour along an axis: its position (i64, inside of the axis) and its weight (none: 1).
pub struct Tap {
    pub at: Val,
    pub weight: Option<Val>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Beyond {
    Zeros,
    Border,
    Reflection,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kernel {
    Nearest,
    Linear,
    Cubic,
}

/// Combines over all combinations of taps `f(weights * element)`. `planes` has the sampled axes, of these sizes, as its flat last
/// one; positions and weights broadcast against it, their last axis being that of the places.
pub fn combine(c: &mut Call, planes: &Val, sizes: &[Dim], taps: &[Vec<Tap>], dtype: DType, f: BinaryFn) -> Got<Val> {
    let mut combinations: Vec<(Option<Val>, Option<Val>)> = vec![(None, None)];
    for (axis, n) in taps.iter().zip(sizes) {
        let n = c.size(n, DType::I64)?;
        let mut next = vec![];
        for (flat, weight) in &combinations {
            for tap in axis {
                let at = match flat {
                    None => tap.at.clone(),
                    Some(flat) => {
                        let row = c.mul(flat, &n)?;
                        c.add(&row, &tap.at)?
                    }
                };
                let weight = match (weight, &tap.weight) {
                    (Some(a), Some(b)) => Some(c.mul(a, b)?),
                    (a, b) => a.clone().or_else(|| b.clone()),
                };
                next.push((Some(at), weight));
            }
        }
        combinations = next;
    }
    let axis = planes.rank().saturating_sub(1);
    let mut total: Option<Val> = None;
    for (at, weight) in combinations {
        let at = at.ok_or_else(|| operand("no axis to sample"))?;
        let mut shape = planes.shape().get(..axis).unwrap_or(&[]).to_vec();
        shape.extend(at.shape().last().cloned());
        let at = c.expand(&at, shape.clone())?;
        let v = c.emit(Op::GatherElements { axis }, &[planes, &at], planes.dtype(), shape)?;
        let v = c.convert(&v, dtype)?;
        let v = match weight {
            Some(w) => c.mul(&v, &w)?,
            None => v,
        };
        total = Some(match total {
            Some(t) => c.apply(f, &t, &v)?,
            None => v,
        });
    }
    total.ok_or_else(|| operand("no axis to sample"))
}

/// `x` reflected between `lo` and `hi`, as often as needed.
fn reflect(c: &mut Call, x: &Val, lo: &Val, hi: &Val) -> Got<Val> {
    let span = c.sub(hi, lo)?;
    // An axis of one element between its corners has no span: everything is at `lo`.
    let span = c.with(BinaryFn::Max, &span, 1e-30)?;
    let d = c.sub(x, lo)?;
    let d = c.function(UnaryFn::Abs, &d)?;
    let turns = c.div(&d, &span)?;
    let turns = c.floor(&turns)?;
    let whole = c.mul(&turns, &span)?;
    let rest = c.sub(&d, &whole)?;
    let half = c.times(&turns, 0.5)?;
    let half = c.floor(&half)?;
    let even = c.times(&half, 2.0)?;
    let even = c.apply(BinaryFn::Eq, &even, &turns)?;
    let (up, down) = (c.add(lo, &rest)?, c.sub(hi, &rest)?);
    c.choose(&even, &up, &down)
}

/// How coordinates along one axis of `n` elements are read.
pub struct Line {
    pub n: Dim,
    pub beyond: Beyond,
    pub kernel: Kernel,
    pub align_corners: bool,
}

impl Line {
    /// The taps of coordinates in elements.
    pub fn taps(&self, c: &mut Call, x: &Val) -> Got<Vec<Tap>> {
        let n = c.size(&self.n, x.dtype())?;
        let last = c.plus(&n, -1.0)?;
        let zero = Val::scalar(x.dtype(), 0.0);
        let (lo, hi) = if self.align_corners { (zero.clone(), last.clone()) } else { (Val::scalar(x.dtype(), -0.5), c.plus(&n, -0.5)?) };
        let x = if self.kernel == Kernel::Nearest { c.function(UnaryFn::Round, x)? } else { x.clone() };
        let x = match self.beyond {
            Beyond::Border if self.kernel == Kernel::Cubic => {
                // Between an edge and its element's centre a cubic kernel is itself; only from the edge on it is held.
                let held = c.clamp(&x, &zero, &last)?;
                let (before, after) = (c.apply(BinaryFn::Lt, &x, &lo)?, c.apply(BinaryFn::Gt, &x, &hi)?);
                let beyond = c.apply(BinaryFn::Or, &before, &after)?;
                c.choose(&beyond, &held, &x)?
            }
            Beyond::Border => c.clamp(&x, &zero, &last)?,
            Beyond::Reflection => {
                let x = reflect(c, &x, &lo, &hi)?;
                if self.kernel == Kernel::Cubic { x } else { c.clamp(&x, &zero, &last)? }
            }
            Beyond::Zeros => x,
        };
        let floor = c.floor(&x)?;
        let fraction = c.sub(&x, &floor)?;
        let weights = match self.kernel {
            Kernel::Nearest => vec![(0.0, None)],
            Kernel::Linear => {
                let near = c.times(&fraction, -1.0)?;
                vec![(0.0, Some(c.plus(&near, 1.0)?)), (1.0, Some(fraction))]
            }
            Kernel::Cubic => {
                let mut all = vec![];
                for k in [-1.0, 0.0, 1.0, 2.0] {
                    let d = c.plus(&fraction, -k)?;
                    let d = c.function(UnaryFn::Abs, &d)?;
                    all.push((k, Some(keys(c, &d, k == 0.0 || k == 1.0, -0.75)?)));
                }
                all
            }
        };
        let mut out = vec![];
        for (offset, weight) in weights {
            let at = c.plus(&floor, offset)?;
            let at = if self.beyond == Beyond::Reflection && self.kernel == Kernel::Cubic { reflect(c, &at, &lo, &hi)? } else { at };
            let inside = c.clamp(&at, &zero, &last)?;
            let weight = if self.beyond == Beyond::Zeros {
                let same = c.apply(BinaryFn::Eq, &inside, &at)?;
                let w = weight.unwrap_or_else(|| Val::scalar(x.dtype(), 1.0));
                Some(c.choose(&same, &w, &zero)?)
            } else {
                weight
            };
            out.push(Tap { at: c.convert(&inside, DType::I64)?, weight });
        }
        Ok(out)
    }
}

/// Keys' cubic kernel at distance `d`: the inner piece up to 1, the outer one up to 2.
fn keys(c: &mut Call, d: &Val, inner: bool, a: f64) -> Got<Val> {
    let factors = if inner { [a + 2.0, -(a + 3.0), 0.0, 1.0] } else { [a, -5.0 * a, 8.0 * a, -4.0 * a] };
    let [first, rest @ ..] = factors;
    let mut v = Val::scalar(d.dtype(), first);
    for k in rest {
        v = c.mul(&v, d)?;
        v = c.plus(&v, k)?;
    }
    Ok(v)
}

pub fn grid_sample(c: &mut Call) -> Out {
    let (x, grid) = (c.input(0)?, c.input(1)?);
    c.want_rank(&x, 3, "the operand")?;
    let rank = x.rank() - 2;
    if grid.rank() != x.rank() || grid.shape().last().is_none_or(|d| !d.is(rank as i64)) {
        return Err(operand(format!("the grid {} does not fit {}", grid.ty, x.ty)));
    }
    let kernels = [
        ("bilinear", Kernel::Linear),
        ("linear", Kernel::Linear),
        ("nearest", Kernel::Nearest),
        ("bicubic", Kernel::Cubic),
        ("cubic", Kernel::Cubic),
    ];
    let kernel = c.attrs.choice("mode", "linear", &kernels)?;
    let beyond = [("zeros", Beyond::Zeros), ("border", Beyond::Border), ("reflection", Beyond::Reflection)];
    let beyond = c.attrs.choice("padding_mode", "zeros", &beyond)?;
    let align_corners = c.attrs.flag("align_corners", false)?;
    let (batch, places) = match (x.shape(), grid.shape()) {
        ([n, ..], [m, places @ .., _]) => (c.equal(n, m, "batch axes")?, places.to_vec()),
        _ => return Err(operand("the grid has no axes")),
    };
    let count = Dim::product(&places);
    let channels = x.shape().get(1).cloned().unwrap_or(Dim::ONE);
    let sizes: Vec<Dim> = x.shape().iter().skip(2).cloned().collect();
    let dtype = wide(x.dtype());
    let mut taps = vec![];
    for (k, n) in sizes.iter().enumerate() {
        // The last coordinate is that of the first axis.
        let g = c.last(&grid, (rank - 1 - k) as i64)?;
        let g = c.reshape(&g, vec![batch.clone(), Dim::ONE, count.clone()])?;
        let g = c.convert(&g, dtype)?;
        let size = c.size(n, dtype)?;
        let g = c.plus(&g, 1.0)?;
        let at = if align_corners {
            let last = c.plus(&size, -1.0)?;
            let half = c.times(&last, 0.5)?;
            c.mul(&g, &half)?
        } else {
            let scaled = c.mul(&g, &size)?;
            let moved = c.plus(&scaled, -1.0)?;
            c.times(&moved, 0.5)?
        };
        taps.push(Line { n: n.clone(), beyond, kernel, align_corners }.taps(c, &at)?);
    }
    let planes = c.reshape(&x, vec![batch.clone(), channels.clone(), Dim::product(&sizes)])?;
    let y = combine(c, &planes, &sizes, &taps, dtype, BinaryFn::Add)?;
    let y = c.convert(&y, x.dtype())?;
    let shape = [batch, channels].into_iter().chain(places).collect();
    Ok(vec![c.reshape(&y, shape)?])
}

/// The grid of an affine map: for every place its coordinates in `-1..1` under `theta`.
pub fn affine_grid(c: &mut Call) -> Out {
    let (theta, size) = (c.input(0)?, c.input(1)?);
    let align_corners = c.attrs.flag("align_corners", false)?;
    let size = c.sizes(&size, "the size")?;
    let [batch, _, places @ ..] = size.as_slice() else { return Err(operand("the size has fewer than two entries")) };
    let k = places.len();
    let fits = theta.rank() == 3
        && theta.shape().get(1).is_some_and(|d| d.is(k as i64))
        && theta.shape().get(2).is_some_and(|d| d.is(k as i64 + 1));
    if !fits || !(2..=3).contains(&k) {
        return Err(operand(format!("theta {} does not fit {k} spatial axes", theta.ty)));
    }
    let first = theta.shape().first().cloned().unwrap_or(Dim::ONE);
    let batch = c.equal(&first, batch, "batch axes")?;
    let dtype = wide(theta.dtype());
    let theta = c.convert(&theta, dtype)?;
    let mut coordinates = vec![];
    for (axis, n) in places.iter().enumerate().rev() {
        let i = c.positions(n, dtype, axis + 1, k + 1)?;
        let size = c.size(n, dtype)?;
        let twice = c.times(&i, 2.0)?;
        let (above, below) = if align_corners {
            let steps = c.plus(&size, -1.0)?;
            (twice, c.with(BinaryFn::Max, &steps, 1.0)?)
        } else {
            (c.plus(&twice, 1.0)?, size)
        };
        let v = c.div(&above, &below)?;
        coordinates.push(c.plus(&v, -1.0)?);
    }
    let shape: Vec<Dim> = [&batch].into_iter().chain(places).cloned().collect();
    let column: Vec<Dim> = (0..=k).map(|a| if a == 0 { batch.clone() } else { Dim::ONE }).collect();
    let mut rows = vec![];
    for r in 0..k {
        let row = c.part(&theta, 1, Dim::from(r as i64), Dim::ONE)?;
        let mut sum: Option<Val> = None;
        for j in 0..=k {
            let f = c.part(&row, 2, Dim::from(j as i64), Dim::ONE)?;
            let f = c.reshape(&f, column.clone())?;
            let term = match coordinates.get(j) {
                Some(x) => c.mul(&f, x)?,
                None => f,
            };
            sum = Some(match sum {
                Some(s) => c.add(&s, &term)?,
                None => term,
            });
        }
        let sum = sum.ok_or_else(|| operand("theta has no columns"))?;
        rows.push(c.expand(&sum, shape.clone())?);
    }
    let rows: Vec<&Val> = rows.iter().collect();
    let grid = c.stack_last(&rows)?;
    let to = c.input(0)?.dtype();
    Ok(vec![c.convert(&grid, to)?])
}
