//! Pooling over regions that data names: RoiAlign reads between elements, MaxRoiPool takes the greatest of whole ones.

use super::pool::lowest;
use super::sample::{Tap, combine};
use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::compose::wide;
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op, ReduceFn, UnaryFn};

/// Samples a bin that touch one element, at most: with as many samples as a bin is long (rounded up) they lie more than half an
/// element apart, two elements wide; one more for rounding on either side.
const TOUCHING: i64 = 7;

struct Regions {
    x: Val,
    rois: Val,
    batch: Val,
    /// Operand `[n, c, h, w]`.
    sizes: [Dim; 4],
    count: Dim,
    half_pixel: bool,
    samples: i64,
    scale: f64,
    dtype: DType,
}

/// Start of a region along an axis, length of a bin, how many samples there are in a bin (a float); one a region, `[r, 1]`.
struct Span {
    start: Val,
    bin: Val,
    samples: Val,
}

pub fn roi_align(c: &mut Call) -> Out {
    let (x, rois, batch) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let modes = [("half_pixel", true), ("output_half_pixel", false)];
    let default = if c.opset < 16 { "output_half_pixel" } else { "half_pixel" };
    let half_pixel = c.attrs.choice("coordinate_transformation_mode", default, &modes)?;
    let greatest = c.attrs.choice("mode", "avg", &[("avg", false), ("max", true)])?;
    let (height, width) = (c.attrs.positive_or("output_height", 1)?, c.attrs.positive_or("output_width", 1)?);
    let samples = c.attrs.int_or("sampling_ratio", 0)?;
    if !(0..=64).contains(&samples) {
        return Err(bad("sampling_ratio", format!("must be 0 to 64, is {samples}")));
    }
    let scale = f64::from(c.attrs.float_or("spatial_scale", 1.0)?);
    let ([n, ch, h, w], [count, four], [m]) = (x.shape(), rois.shape(), batch.shape()) else {
        return Err(operand(format!("needs [n, c, h, w], [r, 4] and [r], has {}, {} and {}", x.ty, rois.ty, batch.ty)));
    };
    if !four.is(4) {
        return Err(operand(format!("a region has 4 numbers, not {four}")));
    }
    let sizes = [n.clone(), ch.clone(), h.clone(), w.clone()];
    let count = c.equal(count, m, "regions and their batch indices")?;
    let dtype = wide(x.dtype());
    c.in_range(&batch, &[(Dim::ZERO, n - 1)], "a batch index")?;
    let (rois, batch) = (c.convert(&rois, dtype)?, c.convert(&batch, DType::I64)?);
    let r = Regions { x: x.clone(), rois, batch, sizes, count, half_pixel, samples, scale, dtype };
    let y = match (samples, greatest) {
        (0, true) => {
            return Err(
                unsupported_use("the greatest of a number of samples that data decides is not supported").help("set sampling_ratio")
            );
        }
        (0, false) => r.adaptive(c, height, width)?,
        _ => r.sampled(c, height, width, greatest)?,
    };
    Ok(vec![c.convert(&y, x.dtype())?])
}

impl Regions {
    /// The region along an axis: 0 for x, 1 for y.
    fn span(&self, c: &mut Call, axis: i64, bins: i64) -> Got<Span> {
        let offset = if self.half_pixel { -0.5 } else { 0.0 };
        let mut edge = |at: i64| -> Got<Val> {
            let v = c.part(&self.rois, 1, Dim::from(at), Dim::ONE)?;
            let v = c.times(&v, self.scale)?;
            c.plus(&v, offset)
        };
        let (start, end) = (edge(axis)?, edge(axis + 2)?);
        let length = c.sub(&end, &start)?;
        let length = if self.half_pixel { length } else { c.with(BinaryFn::Max, &length, 1.0)? };
        let bin = c.times(&length, 1.0 / bins as f64)?;
        let samples = if self.samples > 0 { Val::scalar(self.dtype, self.samples as f64) } else { c.function(UnaryFn::Ceil, &bin)? };
        Ok(Span { start, bin, samples })
    }

    /// Sample coordinates `[r, bins, samples]`.
    fn coordinates(&self, c: &mut Call, span: &Span, bins: i64) -> Got<Val> {
        let (bin, start) = (c.unsqueeze(&span.bin, 2)?, c.unsqueeze(&span.start, 2)?);
        let k = c.positions(&Dim::from(bins), self.dtype, 1, 3)?;
        let s = c.positions(&Dim::from(self.samples), self.dtype, 2, 3)?;
        let s = c.plus(&s, 0.5)?;
        let s = c.times(&s, 1.0 / self.samples as f64)?;
        let place = c.add(&k, &s)?;
        let place = c.mul(&place, &bin)?;
        c.add(&place, &start)
    }

    /// Two taps of coordinates in an axis of `n` elements; those further than 1 outside count nothing.
    fn taps(&self, c: &mut Call, x: &Val, n: &Dim) -> Got<Vec<Tap>> {
        let size = c.size(n, self.dtype)?;
        let (zero, last) = (Val::scalar(self.dtype, 0.0), c.plus(&size, -1.0)?);
        let (above, below) = (c.with(BinaryFn::Ge, x, -1.0)?, c.apply(BinaryFn::Le, x, &size)?);
        let inside = c.all(&above, &below)?;
        let x = c.clamp(x, &zero, &last)?;
        let floor = c.floor(&x)?;
        let far = c.sub(&x, &floor)?;
        let near = c.times(&far, -1.0)?;
        let near = c.plus(&near, 1.0)?;
        let next = c.plus(&floor, 1.0)?;
        let next = c.apply(BinaryFn::Min, &next, &last)?;
        let mut out = vec![];
        for (at, w) in [(floor, near), (next, far)] {
            out.push(Tap { at: c.convert(&at, DType::I64)?, weight: Some(c.choose(&inside, &w, &zero)?) });
        }
        Ok(out)
    }

    /// A fixed number of samples a bin: read where they lie.
    fn sampled(&self, c: &mut Call, height: i64, width: i64, greatest: bool) -> Got<Val> {
        let [n, ch, h, w] = &self.sizes;
        let (r, s) = (&self.count, Dim::from(self.samples));
        let all = vec![r.clone(), Dim::from(height), s.clone(), Dim::from(width), s.clone()];
        let total = vec![Dim::ONE, Dim::product(&all)];
        let mut axes = vec![];
        let whole = c.reshape(&self.batch, vec![r.clone(), Dim::ONE, Dim::ONE, Dim::ONE, Dim::ONE])?;
        let whole = c.expand(&whole, all.clone())?;
        axes.push(vec![Tap { at: c.reshape(&whole, total.clone())?, weight: None }]);
        for (axis, bins, size) in [(1, height, h), (0, width, w)] {
            let span = self.span(c, axis, bins)?;
            let x = self.coordinates(c, &span, bins)?;
            let (b, one) = (Dim::from(bins), Dim::ONE);
            let own =
                if axis == 1 { vec![r.clone(), b, s.clone(), one.clone(), one] } else { vec![r.clone(), one.clone(), one, b, s.clone()] };
            let mut taps = vec![];
            for tap in self.taps(c, &x, size)? {
                let mut spread = |v: &Val| -> Got<Val> {
                    let v = c.reshape(v, own.clone())?;
                    let v = c.expand(&v, all.clone())?;
                    c.reshape(&v, total.clone())
                };
                let (at, weight) = (spread(&tap.at)?, tap.weight.as_ref().map(&mut spread).transpose()?);
                taps.push(Tap { at, weight });
            }
            axes.push(taps);
        }
        // Channels in front, the batch beside the plane: one lookup addresses all three.
        let planes = c.transpose(&self.x, vec![1, 0, 2, 3])?;
        let planes = c.reshape(&planes, vec![ch.clone(), n * h * w])?;
        let f = if greatest { BinaryFn::Max } else { BinaryFn::Add };
        let v = combine(c, &planes, &[n.clone(), h.clone(), w.clone()], &axes, self.dtype, f)?;
        let v = c.reshape(&v, [ch].into_iter().chain(&all).cloned().collect())?;
        let v = c.reduce(if greatest { ReduceFn::Max } else { ReduceFn::Mean }, &v, &[3, 5], false)?;
        c.transpose(&v, vec![1, 0, 2, 3])
    }

    /// The weight of each element of an axis in each bin, `[r, bins, n]`: the sum over the samples that touch it.
    fn weights(&self, c: &mut Call, axis: i64, bins: i64, n: &Dim) -> Got<Val> {
        let span = self.span(c, axis, bins)?;
        let column = |c: &mut Call, v: &Val| c.reshape(v, vec![self.count.clone(), Dim::ONE, Dim::ONE, Dim::ONE]);
        let (start, bin, samples) = (column(c, &span.start)?, column(c, &span.bin)?, column(c, &span.samples)?);
        let samples = c.with(BinaryFn::Max, &samples, 1.0)?;
        let step = c.div(&bin, &samples)?;
        let b = c.positions(&Dim::from(bins), self.dtype, 1, 4)?;
        let here = c.positions(n, self.dtype, 2, 4)?;
        let first = c.mul(&b, &bin)?;
        let first = c.add(&first, &start)?;
        // The first sample that can touch this element, then a few from there on.
        let reach = c.sub(&here, &first)?;
        let reach = c.plus(&reach, -1.0)?;
        let guess = c.with(BinaryFn::Max, &step, 1e-6)?;
        let guess = c.div(&reach, &guess)?;
        let guess = c.plus(&guess, -1.0)?;
        let guess = c.floor(&guess)?;
        let guess = c.with(BinaryFn::Max, &guess, 0.0)?;
        let k = c.positions(&Dim::from(TOUCHING), self.dtype, 3, 4)?;
        let k = c.add(&guess, &k)?;
        let real = c.apply(BinaryFn::Lt, &k, &samples)?;
        let at = c.plus(&k, 0.5)?;
        let at = c.mul(&at, &step)?;
        let at = c.add(&at, &first)?;
        let size = c.size(n, self.dtype)?;
        let (zero, last) = (Val::scalar(self.dtype, 0.0), c.plus(&size, -1.0)?);
        let (above, below) = (c.with(BinaryFn::Ge, &at, -1.0)?, c.apply(BinaryFn::Le, &at, &size)?);
        let inside = c.all(&above, &below)?;
        let counts = c.all(&inside, &real)?;
        let at = c.clamp(&at, &zero, &last)?;
        let d = c.sub(&at, &here)?;
        let d = c.function(UnaryFn::Abs, &d)?;
        let d = c.times(&d, -1.0)?;
        let w = c.plus(&d, 1.0)?;
        let w = c.with(BinaryFn::Max, &w, 0.0)?;
        let w = c.choose(&counts, &w, &zero)?;
        let w = c.reduce(ReduceFn::Sum, &w, &[3], false)?;
        let samples = c.reshape(&samples, vec![self.count.clone(), Dim::ONE, Dim::ONE])?;
        c.div(&w, &samples)
    }

    /// As many samples as a bin is long: interpolation is separable, so each axis is a product with its weights.
    fn adaptive(&self, c: &mut Call, height: i64, width: i64) -> Got<Val> {
        let [_, ch, h, w] = &self.sizes;
        let r = &self.count;
        let planes = c.convert(&self.x, self.dtype)?;
        let own = vec![r.clone(), ch.clone(), h.clone(), w.clone()];
        let planes = c.emit(Op::Gather { axis: 0 }, &[&planes, &self.batch], self.dtype, own)?;
        let across = self.weights(c, 0, width, w)?;
        let across = c.unsqueeze(&across, 1)?;
        let across = c.transpose(&across, vec![0, 1, 3, 2])?;
        let v = c.matmul(&planes, &across)?;
        let down = self.weights(c, 1, height, h)?;
        let down = c.unsqueeze(&down, 1)?;
        c.matmul(&down, &v)
    }
}

/// The greatest element of each of `pooled_shape` bins of a region, rows and columns one after the other.
pub fn max_roi_pool(c: &mut Call) -> Out {
    let (x, rois) = (c.input(0)?, c.input(1)?);
    let pooled = c.attrs.positive_ints("pooled_shape", 2, 1)?;
    let scale = f64::from(c.attrs.float_or("spatial_scale", 1.0)?);
    let (&[height, width], [_, ch, h, w], [r, five]) = (pooled.as_slice(), x.shape(), rois.shape()) else {
        return Err(operand(format!("needs [n, c, h, w] and [r, 5], has {} and {}", x.ty, rois.ty)));
    };
    if !five.is(5) {
        return Err(operand(format!("a region has 5 numbers, not {five}")));
    }
    let dtype = wide(x.dtype());
    let rois = c.convert(&rois, dtype)?;
    let batch = c.last(&rois, 0)?;
    let batch = c.convert(&batch, DType::I64)?;
    let own = vec![r.clone(), ch.clone(), h.clone(), w.clone()];
    let mut v = c.emit(Op::Gather { axis: 0 }, &[&x, &batch], x.dtype(), own)?;
    let low = Val::scalar(x.dtype(), lowest(x.dtype()));
    let mut empty: Option<Val> = None;
    // Columns first: [r, c, h, w, bins] over w; then rows: [r, c, h, width, bins] over h.
    for (axis, bins, n, reduced) in [(1i64, width, w, 3usize), (2, height, h, 2)] {
        let column = |c: &mut Call, v: Val| c.reshape(&v, vec![r.clone(), Dim::ONE, Dim::ONE]);
        let edge = |c: &mut Call, at: i64| -> Got<Val> {
            let v = c.last(&rois, at)?;
            let v = c.times(&v, scale)?;
            // Halves go up, as everywhere in this operator's ancestors.
            let v = c.plus(&v, 0.5)?;
            let v = c.floor(&v)?;
            column(c, v)
        };
        let (start, end) = (edge(c, axis)?, edge(c, axis + 2)?);
        let length = c.sub(&end, &start)?;
        let length = c.plus(&length, 1.0)?;
        let length = c.with(BinaryFn::Max, &length, 1.0)?;
        let bin = c.times(&length, 1.0 / bins as f64)?;
        let b = c.positions(&Dim::from(bins), dtype, 2, 3)?;
        let here = c.positions(n, dtype, 1, 3)?;
        let size = c.size(n, dtype)?;
        let zero = Val::scalar(dtype, 0.0);
        let bound = |c: &mut Call, ahead: f64, f: UnaryFn| -> Got<Val> {
            let v = c.plus(&b, ahead)?;
            let v = c.mul(&v, &bin)?;
            let v = c.function(f, &v)?;
            let v = c.add(&v, &start)?;
            c.clamp(&v, &zero, &size)
        };
        let (first, limit) = (bound(c, 0.0, UnaryFn::Floor)?, bound(c, 1.0, UnaryFn::Ceil)?);
        let (after, before) = (c.apply(BinaryFn::Ge, &here, &first)?, c.apply(BinaryFn::Lt, &here, &limit)?);
        // [r, n, bins]
        let inside = c.all(&after, &before)?;
        let none = c.apply(BinaryFn::Ge, &first, &limit)?;
        let (mask, nothing) = if reduced == 3 {
            let shape = vec![r.clone(), Dim::ONE, Dim::ONE, n.clone(), Dim::from(bins)];
            (c.reshape(&inside, shape)?, c.reshape(&none, vec![r.clone(), Dim::ONE, Dim::ONE, Dim::from(bins)])?)
        } else {
            let turned = c.transpose(&inside, vec![0, 2, 1])?;
            let shape = vec![r.clone(), Dim::ONE, Dim::from(bins), n.clone(), Dim::ONE];
            (c.reshape(&turned, shape)?, c.reshape(&none, vec![r.clone(), Dim::ONE, Dim::from(bins), Dim::ONE])?)
        };
        let open = c.unsqueeze(&v, if reduced == 3 { 4 } else { 2 })?;
        let masked = c.choose(&mask, &open, &low)?;
        v = c.reduce(ReduceFn::Max, &masked, &[3], false)?;
        empty = Some(match empty {
            Some(e) => c.apply(BinaryFn::Or, &e, &nothing)?,
            None => nothing,
        });
    }
    let empty = empty.ok_or_else(|| operand("no axes"))?;
    let zero = Val::scalar(x.dtype(), 0.0);
    Ok(vec![c.choose(&empty, &zero, &v)?])
}
