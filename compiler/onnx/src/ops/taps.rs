//! Resampling by tables: where sizes are constant, each place of an axis is the weighted sum of a few known elements. Antialiasing and
//! cropping Resize and Col2Im are of this kind; axes follow one another.

use super::conv::Window;
use super::resize::Coordinates;
use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::compose::{table, wide};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{NearestMode, Op, ReduceFn, ResizeMode};

/// So many entries may a table have.
const MOST: f64 = (1 << 22) as f64;

fn checked(entries: f64) -> Got<()> {
    if entries <= MOST {
        return Ok(());
    }
    Err(unsupported_use(format!("a table of {entries:.0} taps for one axis; at most {MOST} are supported")))
}

/// For each result place along one axis: elements with their weights, and whether it lies outside (and has a value of its own).
#[derive(Default)]
pub struct Taps {
    rows: Vec<Vec<(i64, f64)>>,
    outside: Vec<bool>,
}

impl Taps {
    /// `result[m] = sum over k of weight[m, k] * x[at[m, k]]` along `axis`.
    pub fn apply(&self, c: &mut Call, x: &Val, axis: usize) -> Got<Val> {
        let (m, k) = (self.rows.len(), self.rows.iter().map(Vec::len).max().unwrap_or(0).max(1));
        let at = |row: &Vec<(i64, f64)>, k: usize| row.get(k).copied().unwrap_or((row.first().map_or(0, |t| t.0), 0.0));
        let all = || self.rows.iter().flat_map(|row| (0..k).map(move |k| at(row, k)));
        let ones = all().all(|(_, w)| w == 1.0);
        let (m, k) = (m as i64, k as i64);
        let index = table(DType::I64, &if k == 1 { vec![m] } else { vec![m, k] }, all().map(|(i, _)| i as f64));
        let mut shape = x.shape().to_vec();
        if k == 1 {
            shape.splice(axis..=axis, [Dim::from(m)]);
        } else {
            shape.splice(axis..=axis, [Dim::from(m), Dim::from(k)]);
        }
        let v = c.emit(Op::Gather { axis }, &[x, &index], x.dtype(), shape.clone())?;
        if k == 1 && ones {
            return Ok(v);
        }
        let mut own = vec![1; shape.len() - axis];
        own.iter_mut().zip([m, k]).take(if k == 1 { 1 } else { 2 }).for_each(|(slot, n)| *slot = n);
        let weight = table(x.dtype(), &own, all().map(|(_, w)| w));
        let v = c.mul(&v, &weight)?;
        if k == 1 { Ok(v) } else { c.reduce(ReduceFn::Sum, &v, &[axis + 1], false) }
    }
}

/// One axis of a Resize with constant sizes.
pub struct Axis {
    pub n: i64,
    pub m: i64,
    pub scale: f64,
    /// Start and end of the part to crop, as fractions.
    pub roi: (f64, f64),
}

pub struct Sampling {
    pub mode: ResizeMode,
    pub coord: Coordinates,
    pub nearest: NearestMode,
    pub cubic_a: f64,
    pub exclude_outside: bool,
    pub antialias: bool,
}

impl Sampling {
    fn coordinate(&self, a: &Axis, i: i64) -> f64 {
        let (n, m, x) = (a.n as f64, a.m as f64, i as f64);
        let half_pixel = (x + 0.5) / a.scale - 0.5;
        match self.coord {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => n / 2.0 * (1.0 - m / (a.scale * n)) + half_pixel,
            Coordinates::PytorchHalfPixel => {
                if a.m > 1 {
                    half_pixel
                } else {
                    0.0
                }
            }
            Coordinates::AlignCorners => {
                if a.m > 1 {
                    x * (n - 1.0) / (m - 1.0)
                } else {
                    0.0
                }
            }
            Coordinates::Asymmetric => x / a.scale,
            Coordinates::TfHalfPixel => (x + 0.5) / a.scale,
            Coordinates::Crop if a.m > 1 => a.roi.0 * (n - 1.0) + x * (a.roi.1 - a.roi.0) * (n - 1.0) / (m - 1.0),
            Coordinates::Crop => (a.roi.0 + a.roi.1) / 2.0 * (n - 1.0),
        }
    }

    pub fn taps(&self, a: &Axis) -> Taps {
        let mut t = Taps::default();
        for i in 0..a.m {
            let x = self.coordinate(a, i);
            t.outside.push(self.coord == Coordinates::Crop && !(0.0..=(a.n - 1) as f64).contains(&x));
            t.rows.push(self.row(a, x));
        }
        t
    }

    fn row(&self, a: &Axis, x: f64) -> Vec<(i64, f64)> {
        let clamp = |i: f64| (i.clamp(0.0, (a.n - 1).max(0) as f64)) as i64;
        let radius = match self.mode {
            ResizeMode::Nearest => {
                let i = match self.nearest {
                    NearestMode::Floor => x.floor(),
                    NearestMode::Ceil => x.ceil(),
                    NearestMode::RoundPreferFloor => (x - 0.5).ceil(),
                    NearestMode::RoundPreferCeil => (x + 0.5).floor(),
                };
                return vec![(clamp(i), 1.0)];
            }
            ResizeMode::Linear => 1.0,
            ResizeMode::Cubic => 2.0,
        };
        // When shrinking, an antialiasing kernel is as much wider.
        let scale = if self.antialias { a.scale.min(1.0) } else { 1.0 };
        let (first, last) = ((x - radius / scale).floor() as i64, (x + radius / scale).ceil() as i64);
        let weight = |i: i64| {
            let d = ((i as f64 - x) * scale).abs();
            let c = self.cubic_a;
            match self.mode {
                ResizeMode::Nearest | ResizeMode::Linear => (1.0 - d).max(0.0),
                ResizeMode::Cubic if d <= 1.0 => ((c + 2.0) * d - (c + 3.0)) * d * d + 1.0,
                ResizeMode::Cubic if d < 2.0 => ((c * d - 5.0 * c) * d + 8.0 * c) * d - 4.0 * c,
                ResizeMode::Cubic => 0.0,
            }
        };
        let outside = |i: i64| i < 0 || i >= a.n;
        let all: Vec<_> = (first..=last).filter(|i| !(self.exclude_outside && outside(*i))).map(|i| (clamp(i as f64), weight(i))).collect();
        let used: Vec<_> = all.into_iter().filter(|(_, w)| *w != 0.0).collect();
        let sum: f64 = used.iter().map(|(_, w)| w).sum();
        used.into_iter().map(|(i, w)| (i, if sum == 0.0 { w } else { w / sum })).collect()
    }
}

/// Axis after axis; `fill` for places that crop outside of the operand.
pub fn resample(c: &mut Call, x: &Val, axes: &[(usize, Axis)], s: &Sampling, fill: f64) -> Got<Val> {
    let mut v = if s.mode == ResizeMode::Nearest { x.clone() } else { c.convert(x, wide(x.dtype()))? };
    let mut outside: Option<Val> = None;
    for (axis, a) in axes {
        // Taps a place: the kernel is as much wider as the axis shrinks.
        let wider = if s.antialias { (1.0 / a.scale).max(1.0) } else { 1.0 };
        checked(a.m as f64 * 6.0 * wider)?;
        let taps = s.taps(a);
        v = taps.apply(c, &v, *axis)?;
        if taps.outside.contains(&true) {
            let shape: Vec<i64> = (0..x.rank()).map(|k| if k == *axis { a.m } else { 1 }).collect();
            let mask = table(DType::Bool, &shape, taps.outside.iter().map(|o| f64::from(u8::from(*o))));
            outside = Some(match outside {
                Some(o) => c.binary(odc_ir::graph::BinaryFn::Or, &o, &mask)?,
                None => mask,
            });
        }
    }
    if let Some(mask) = outside {
        v = c.choose(&mask, &Val::scalar(v.dtype(), fill), &v)?;
    }
    c.convert(&v, x.dtype())
}

/// The sum of all blocks at their places in an image: along each axis a place gathers one element a kernel tap that reaches it.
pub fn col2im(c: &mut Call) -> Out {
    let (x, image, block) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let (image, block) = (c.const_ints(&image, "the image's shape")?, c.const_ints(&block, "the block's shape")?);
    if image.len() != block.len() || block.iter().chain(&image).any(|v| !(1..=1 << 31).contains(v)) {
        return Err(operand("image and block must have as many positive sizes"));
    }
    for (size, taps) in image.iter().zip(&block) {
        checked(*size as f64 * *taps as f64)?;
    }
    checked(block.iter().map(|v| *v as f64).product())?;
    let window = Window::of(c, block.clone())?;
    let mut starts = vec![];
    for (k, d) in image.iter().enumerate() {
        let size = window.output(c, k, &Dim::from(*d), false)?.as_const();
        starts.push(size.ok_or_else(|| unsupported_use("the image must have constant sizes"))?);
    }
    let [n, rows, _] = x.shape() else { return Err(operand(format!("needs [n, c * block, places], is {}", x.ty))) };
    let taps: i64 = block.iter().product();
    let channels = c.build.dims.ranges.floordiv(rows, &Dim::from(taps));
    c.equal(&(&channels * taps), rows, "rows, which must be a multiple of the block")?;
    if x.shape().last().is_none_or(|d| Dim::product(&starts.iter().map(|s| Dim::from(*s)).collect::<Vec<_>>()) != *d) {
        return Err(bad("pads", format!("strides and dilations give {starts:?} places, which does not fit {}", x.ty)));
    }
    let axes = image.len();
    let wide_shape = [n.clone(), channels.clone()].into_iter().chain(block.iter().chain(&starts).map(|v| Dim::from(*v))).collect();
    let mut v = c.reshape(&x, wide_shape)?;
    // From [n, c, k0.., l0..] to [n, c, k0, l0, k1, l1, ..]: each pair becomes one image axis.
    let perm = [0, 1].into_iter().chain((0..axes).flat_map(|k| [2 + k, 2 + axes + k])).collect();
    v = c.transpose(&v, perm)?;
    for (k, ((size, taps), places)) in image.iter().zip(&block).zip(&starts).enumerate() {
        let mut shape = v.shape().to_vec();
        shape.splice(2 + k..4 + k, [Dim::from(taps * places)]);
        v = c.reshape(&v, shape)?;
        let dilation = window.dilations.get(k).copied().unwrap_or(1);
        let (stride, begin) = (window.stride(k), window.begin(k));
        let place = |i: i64, t: i64| Some(i + begin - t * dilation).filter(|at| at % stride == 0).map(|at| at / stride);
        let reach = |i| (0..*taps).filter_map(move |t| place(i, t).filter(|l| (0..*places).contains(l)).map(|l| (t * places + l, 1.0)));
        let rows = (0..*size).map(|i| reach(i).collect()).collect();
        v = Taps { rows, outside: vec![] }.apply(c, &v, 2 + k)?;
    }
    Ok(vec![v])
}
