//! Resampling. Nearest with a scale that is a small fraction is an exact index map; otherwise the source coordinate is computed in
//! f32, in ONNX Runtime's order of operations, and taps are loaded by value. Axes that keep their size keep their exact index.

use super::LowerError;
use super::cx::{Args, Cx, axes, i};
use odc_ir::core::{Binary, DType, Dim, Ranges, Unary, Value};
use odc_ir::graph::{CoordMode, NearestMode, ResizeMode};
use odc_ir::tensor::{Expr, ExprId, Index, Program};

pub(super) struct Resize<'a> {
    pub mode: ResizeMode,
    pub coord: CoordMode,
    pub nearest: NearestMode,
    pub scales: &'a [f64],
    pub cubic_a: f64,
    pub exclude_outside: bool,
}

/// Where a result element reads along one axis: source indices with their weights (none for the only tap).
type Taps = Vec<(Index, Option<ExprId>)>;

pub(super) fn resize(cx: &mut Cx, a: &Args, rs: &Resize) -> Result<Value, LowerError> {
    let x = a.x(0)?;
    let mut p = Program::new();
    let known = cx.known(&axes(&a.out.shape), &[]);
    let mut taps: Vec<Taps> = vec![];
    for (k, n) in x.ty.shape.iter().enumerate() {
        let axis = Axis { at: i(k), n: n.clone(), m: a.out_dim(k)?.clone(), scale: rs.scales.get(k).copied().unwrap_or(0.0) };
        taps.push(match rs.mode {
            _ if axis.m == axis.n && (axis.scale == 0.0 || axis.scale == 1.0) => vec![(Index::Dim(i(k)), None)],
            ResizeMode::Nearest => vec![(axis.nearest(&mut p, rs, &known), None)],
            ResizeMode::Linear => axis.linear(&mut p, rs),
            ResizeMode::Cubic => axis.cubic(&mut p, rs),
        });
    }
    let nearest = rs.mode == ResizeMode::Nearest;
    let dt = if nearest || x.ty.dtype == DType::F64 { x.ty.dtype } else { DType::F32 };
    let mut chosen = vec![];
    let v = weighted(&taps, &mut chosen, None, &mut p, &mut |p, index| {
        let v = x.at(p, index.to_vec());
        p.cast(dt, v)
    });
    Ok(cx.map(&a.operands, a.out.clone(), p, v))
}

/// The sum over all taps of the remaining axes of the product of weights and the element.
fn weighted(
    taps: &[Taps],
    chosen: &mut Vec<Index>,
    weight: Option<ExprId>,
    p: &mut Program,
    load: &mut dyn FnMut(&mut Program, &[Index]) -> ExprId,
) -> ExprId {
    let Some((axis, rest)) = taps.split_first() else {
        let v = load(p, chosen);
        return match weight {
            Some(w) => {
                let w = p.cast(p.dtype(v), w);
                p.binary(Binary::Mul, v, w)
            }
            None => v,
        };
    };
    let mut sum = None;
    for (index, w) in axis {
        let weight = match (weight, w) {
            (Some(a), Some(b)) => Some(p.binary(Binary::Mul, a, *b)),
            (a, b) => a.or(*b),
        };
        chosen.push(index.clone());
        let v = weighted(rest, chosen, weight, p, load);
        chosen.pop();
        sum = Some(sum.map_or(v, |s| p.binary(Binary::Add, s, v)));
    }
    // An axis has at least one tap.
    sum.unwrap_or_else(|| p.constant(DType::F32, 0.0))
}

struct Axis {
    at: Dim,
    /// Sizes before and after.
    n: Dim,
    m: Dim,
    /// As the model states it; 0 for unknown.
    scale: f64,
}

impl Axis {
    /// The scale as a fraction `p/q` with a power of two below it: exact in f32 as well.
    fn fraction(&self) -> Option<(i64, i64)> {
        if self.scale == 0.0 {
            // Sizes alone: a whole multiple, or a power of two less.
            let (up, down) = (self.m.floordiv(&self.n), self.n.floordiv(&self.m));
            let whole = |f: &Dim, a: &Dim, b: &Dim| f.as_const().filter(|k| *k > 0 && a * *k == *b);
            let grown = whole(&up, &self.n, &self.m).map(|k| (k, 1));
            return grown.or_else(|| whole(&down, &self.m, &self.n).filter(|k| k.count_ones() == 1).map(|k| (1, k)));
        }
        [1i64, 2, 4, 8, 16].into_iter().find_map(|q| {
            let p = self.scale * q as f64;
            ((1.0..1e4).contains(&p) && p.fract() == 0.0).then_some((p as i64, q))
        })
    }

    fn nearest(&self, p: &mut Program, rs: &Resize, known: &Ranges) -> Index {
        if let Some((num, den)) = self.exact(rs.coord) {
            // num/den rounded: every mode is a floor of some fraction.
            let (num, den) = match rs.nearest {
                NearestMode::Floor => (num, den),
                NearestMode::Ceil => (num + (den - 1), den),
                NearestMode::RoundPreferFloor => (num * 2 + (den - 1), den * 2),
                NearestMode::RoundPreferCeil => (num * 2 + den, den * 2),
            };
            let (low, high) = (known.nonneg(&num), known.lt(&num, &(&self.n * den)));
            let at = num.floordiv(&Dim::from(den));
            let at = if low { at } else { at.max_with(&Dim::ZERO) };
            return Index::Dim(if high { at } else { at.min_with(&(&self.n - 1)) });
        }
        let x = self.coordinate(p, rs.coord);
        let half = p.constant(DType::F32, 0.5);
        let v = match rs.nearest {
            NearestMode::Floor => p.unary(Unary::Floor, x),
            NearestMode::Ceil => p.unary(Unary::Ceil, x),
            NearestMode::RoundPreferFloor => {
                let v = p.binary(Binary::Sub, x, half);
                p.unary(Unary::Ceil, v)
            }
            NearestMode::RoundPreferCeil => {
                let v = p.binary(Binary::Add, x, half);
                p.unary(Unary::Floor, v)
            }
        };
        let v = p.cast(DType::I64, v);
        Index::Value(self.clamp(p, v))
    }

    /// The source coordinate as `(numerator, denominator)`.
    fn exact(&self, coord: CoordMode) -> Option<(Dim, i64)> {
        let (up, down) = self.fraction()?;
        let half_pixel = || ((&self.at * 2 + 1) * down - up, up * 2);
        match coord {
            CoordMode::Asymmetric => Some((&self.at * down, up)),
            CoordMode::HalfPixel => Some(half_pixel()),
            CoordMode::PytorchHalfPixel if self.m.as_const().is_some_and(|m| m > 1) || up > down => Some(half_pixel()),
            // Symmetric about the centre, which is the same where the scale is the sizes' exact ratio.
            CoordMode::HalfPixelSymmetric if &self.n * up == &self.m * down => Some(half_pixel()),
            CoordMode::PytorchHalfPixel | CoordMode::HalfPixelSymmetric | CoordMode::AlignCorners => None,
        }
    }

    fn clamp(&self, p: &mut Program, v: ExprId) -> ExprId {
        let zero = p.constant(DType::I64, 0.0);
        let last = p.dim(&self.n - 1);
        let v = p.binary(Binary::Max, v, zero);
        p.binary(Binary::Min, v, last)
    }

    fn float(p: &mut Program, d: &Dim) -> ExprId {
        let d = p.dim(d.clone());
        p.cast(DType::F32, d)
    }

    fn scale(&self, p: &mut Program) -> ExprId {
        if self.scale > 0.0 {
            return p.constant(DType::F32, self.scale);
        }
        let (m, n) = (Self::float(p, &self.m), Self::float(p, &self.n));
        p.binary(Binary::Div, m, n)
    }

    /// The source coordinate in f32.
    fn coordinate(&self, p: &mut Program, coord: CoordMode) -> ExprId {
        let x = Self::float(p, &self.at);
        let half = p.constant(DType::F32, 0.5);
        match coord {
            CoordMode::Asymmetric => {
                let s = self.scale(p);
                p.binary(Binary::Div, x, s)
            }
            CoordMode::AlignCorners => {
                // One element reads the first: 0 * (n - 1) / 1.
                let (last, steps) = (Self::float(p, &(&self.n - 1)), Self::float(p, &(&self.m - 1).max_with(&Dim::ONE)));
                let v = p.binary(Binary::Mul, x, last);
                p.binary(Binary::Div, v, steps)
            }
            CoordMode::HalfPixel => self.half_pixel(p, x, half),
            CoordMode::PytorchHalfPixel => {
                let v = self.half_pixel(p, x, half);
                let several = p.push(Expr::Inside(vec![(&self.m - 2, self.m.clone())]));
                let zero = p.constant(DType::F32, 0.0);
                p.select(several, v, zero)
            }
            CoordMode::HalfPixelSymmetric => {
                // Both ends of a size that was rounded keep the same distance from the centre.
                let s = self.scale(p);
                let (n, m) = (Self::float(p, &self.n), Self::float(p, &self.m));
                let one = p.constant(DType::F32, 1.0);
                let wanted = p.binary(Binary::Mul, s, n);
                let adjustment = p.binary(Binary::Div, m, wanted);
                let rest = p.binary(Binary::Sub, one, adjustment);
                let two = p.constant(DType::F32, 2.0);
                let centre = p.binary(Binary::Div, n, two);
                let offset = p.binary(Binary::Mul, centre, rest);
                let v = self.half_pixel(p, x, half);
                p.binary(Binary::Add, offset, v)
            }
        }
    }

    /// `(x + 0.5) / scale - 0.5`.
    fn half_pixel(&self, p: &mut Program, x: ExprId, half: ExprId) -> ExprId {
        let s = self.scale(p);
        let v = p.binary(Binary::Add, x, half);
        let v = p.binary(Binary::Div, v, s);
        p.binary(Binary::Sub, v, half)
    }

    fn linear(&self, p: &mut Program, rs: &Resize) -> Taps {
        let x = self.coordinate(p, rs.coord);
        let (zero, one) = (p.constant(DType::F32, 0.0), p.constant(DType::F32, 1.0));
        let last = Self::float(p, &(&self.n - 1));
        let x = p.binary(Binary::Max, x, zero);
        let x = p.binary(Binary::Min, x, last);
        let floor = p.unary(Unary::Floor, x);
        let far = p.binary(Binary::Sub, x, floor);
        let near = p.binary(Binary::Sub, one, far);
        let first = p.cast(DType::I64, floor);
        let step = p.constant(DType::I64, 1.0);
        let second = p.binary(Binary::Add, first, step);
        let second = self.clamp(p, second);
        vec![(Index::Value(first), Some(near)), (Index::Value(second), Some(far))]
    }

    fn cubic(&self, p: &mut Program, rs: &Resize) -> Taps {
        let x = self.coordinate(p, rs.coord);
        let floor = p.unary(Unary::Floor, x);
        let s = p.binary(Binary::Sub, x, floor);
        let first = p.cast(DType::I64, floor);
        let mut weights = cubic_weights(p, s, rs.cubic_a);
        let mut indices = vec![];
        for (k, w) in weights.iter_mut().enumerate() {
            let offset = p.constant(DType::I64, k as f64 - 1.0);
            let at = p.binary(Binary::Add, first, offset);
            let inside = self.clamp(p, at);
            if rs.exclude_outside {
                let same = p.binary(Binary::Eq, at, inside);
                let zero = p.constant(DType::F32, 0.0);
                *w = p.select(same, *w, zero);
            }
            indices.push(Index::Value(inside));
        }
        if rs.exclude_outside {
            let sum = weights.into_iter().reduce(|a, b| p.binary(Binary::Add, a, b));
            for w in &mut weights {
                *w = sum.map_or(*w, |sum| p.binary(Binary::Div, *w, sum));
            }
        }
        indices.into_iter().zip(weights.map(Some)).collect()
    }
}

/// Keys' kernel with parameter `a`, for the taps at -1, 0, 1, 2 around the floor; `s` is the fraction.
fn cubic_weights(p: &mut Program, s: ExprId, a: f64) -> [ExprId; 4] {
    let k = |p: &mut Program, v: f64| p.constant(DType::F32, v);
    let one = k(p, 1.0);
    let (inner_a, inner_b) = (k(p, a + 2.0), k(p, a + 3.0));
    let (a1, a5, a8, a4) = (k(p, a), k(p, 5.0 * a), k(p, 8.0 * a), k(p, 4.0 * a));
    // ((a+2)t - (a+3))t^2 + 1 for t <= 1
    let inner = |p: &mut Program, t: ExprId| {
        let v = p.binary(Binary::Mul, inner_a, t);
        let v = p.binary(Binary::Sub, v, inner_b);
        let v = p.binary(Binary::Mul, v, t);
        let v = p.binary(Binary::Mul, v, t);
        p.binary(Binary::Add, v, one)
    };
    // ((at - 5a)t + 8a)t - 4a for 1 < t < 2
    let outer = |p: &mut Program, t: ExprId| {
        let v = p.binary(Binary::Mul, a1, t);
        let v = p.binary(Binary::Sub, v, a5);
        let v = p.binary(Binary::Mul, v, t);
        let v = p.binary(Binary::Add, v, a8);
        let v = p.binary(Binary::Mul, v, t);
        p.binary(Binary::Sub, v, a4)
    };
    let before = p.binary(Binary::Add, s, one);
    let rest = p.binary(Binary::Sub, one, s);
    let two = k(p, 2.0);
    let after = p.binary(Binary::Sub, two, s);
    [outer(p, before), inner(p, s), inner(p, rest), outer(p, after)]
}
