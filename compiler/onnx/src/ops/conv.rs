//! Convolutions, and the window arithmetic that pooling shares: output sizes and padding, also where sizes are symbols.

use crate::attrs::bad;
use crate::diag::{Code, Fault};
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::value::Val;
use odc_ir::core::Dim;
use odc_ir::graph::{Op, PadMode};

#[derive(Clone, Copy, PartialEq)]
pub enum AutoPad {
    NotSet,
    Valid,
    SameUpper,
    SameLower,
}

/// What a sliding window is, per spatial axis.
#[derive(Clone)]
pub struct Window {
    pub kernel: Vec<i64>,
    pub strides: Vec<i64>,
    pub dilations: Vec<i64>,
    /// Begins, then ends; zero under `auto`.
    pub pads: Vec<i64>,
    pub auto: AutoPad,
}

impl Window {
    pub fn of(c: &Call, kernel: Vec<i64>) -> Got<Window> {
        let rank = kernel.len();
        let choices = [
            ("NOTSET", AutoPad::NotSet),
            ("VALID", AutoPad::Valid),
            ("SAME_UPPER", AutoPad::SameUpper),
            ("SAME_LOWER", AutoPad::SameLower),
            ("", AutoPad::NotSet),
        ];
        let auto = c.attrs.choice("auto_pad", "NOTSET", &choices)?;
        let strides = c.attrs.positive_ints("strides", rank, 1)?;
        let dilations = c.attrs.positive_ints("dilations", rank, 1)?;
        let mut pads = match c.attrs.ints("pads")? {
            Some([]) | None => vec![0; rank * 2],
            Some(p) if p.len() == rank * 2 => p.to_vec(),
            Some(p) => return Err(bad("pads", format!("must be {} ints, is {p:?}", rank * 2))),
        };
        if auto != AutoPad::NotSet {
            pads = vec![0; rank * 2];
        }
        if kernel.iter().chain(&strides).chain(&dilations).chain(&pads).any(|v| v.abs() > 1 << 31) {
            return Err(Fault::new(Code::Limit, "kernel, strides, dilations or pads are too large"));
        }
        Ok(Window { kernel, strides, dilations, pads, auto })
    }

    fn at(v: &[i64], k: usize) -> i64 {
        v.get(k).copied().unwrap_or(0)
    }
    pub fn begin(&self, k: usize) -> i64 {
        Window::at(&self.pads, k)
    }
    pub fn end(&self, k: usize) -> i64 {
        Window::at(&self.pads, k + self.kernel.len())
    }
    pub fn stride(&self, k: usize) -> i64 {
        Window::at(&self.strides, k).max(1)
    }
    /// Elements from the first to the last tap.
    pub fn extent(&self, k: usize) -> i64 {
        (Window::at(&self.kernel, k) - 1) * Window::at(&self.dilations, k) + 1
    }

    /// Output size along spatial axis `k`.
    pub fn output(&self, c: &Call, k: usize, size: &Dim, ceil: bool) -> Got<Dim> {
        let stride = Dim::from(self.stride(k));
        let dims = &c.build.dims;
        let out = match self.auto {
            AutoPad::SameUpper | AutoPad::SameLower => size.ceildiv(&stride),
            AutoPad::NotSet | AutoPad::Valid => {
                let span = size + (self.begin(k) + self.end(k) - self.extent(k));
                if ceil {
                    // The last window must start inside of the input or its front padding.
                    let starts = (size + (self.begin(k) - 1)).floordiv(&stride) + 1;
                    (span.ceildiv(&stride) + 1).min_with(&starts)
                } else {
                    span.floordiv(&stride) + 1
                }
            }
        };
        let out = dims.simplify(&out);
        match out.as_const() {
            Some(v) if v < 0 => Err(operand(format!("a window of {} does not fit an axis of size {size}", self.extent(k)))),
            _ => Ok(out),
        }
    }

    /// Padding of SAME along axis `k`: before and behind, as sizes.
    fn same(&self, c: &Call, k: usize, size: &Dim) -> (Dim, Dim) {
        let stride = Dim::from(self.stride(k));
        let total = (size.ceildiv(&stride) - 1) * &stride + self.extent(k) - size;
        let total = c.build.dims.simplify(&total.max_with(&Dim::ZERO));
        let half = c.build.dims.simplify(&total.floordiv(&Dim::from(2)));
        // Between two bounds that agree it is a number after all: 0 or 1 halved is 0.
        let (lo, hi) = same_bounds(self.extent(k), self.stride(k));
        let half = if lo / 2 == hi / 2 { Dim::from(lo / 2) } else { half };
        if self.auto == AutoPad::SameLower {
            let (lo_up, hi_up) = ((lo + 1) / 2, (hi + 1) / 2);
            let big = if lo_up == hi_up { Dim::from(lo_up) } else { &total - &half };
            (big, half)
        } else {
            (half.clone(), total - half)
        }
    }

    /// Is automatic padding made of numbers? `open_end`: its far side may follow from the result's size.
    pub fn settles(&self, c: &Call, sizes: &[Dim], open_end: bool) -> bool {
        let fixed = |(b, e): (Dim, Dim)| b.as_const().is_some() && (open_end || e.as_const().is_some());
        sizes.iter().enumerate().all(|(k, d)| fixed(self.same(c, k, d)))
    }

    /// Turns automatic into explicit padding. Where that depends on sizes, the operand is padded by an operation of its own,
    /// unless only the far side does and `open_end` says that this side follows from the result's size.
    pub fn settle(&mut self, c: &mut Call, x: &Val, open_end: bool) -> Got<Val> {
        if matches!(self.auto, AutoPad::NotSet | AutoPad::Valid) {
            return Ok(x.clone());
        }
        let rank = self.kernel.len();
        let sizes: Vec<Dim> = x.shape().iter().skip(2).cloned().collect();
        if !self.settles(c, &sizes, open_end) {
            return self.padded(c, x, &Val::scalar(x.dtype(), 0.0));
        }
        for (k, d) in sizes.iter().enumerate() {
            let (b, e) = self.same(c, k, d);
            if let Some(slot) = self.pads.get_mut(k) {
                *slot = b.as_const().unwrap_or(0);
            }
            if let Some(slot) = self.pads.get_mut(k + rank) {
                *slot = e.as_const().unwrap_or(0);
            }
        }
        Ok(x.clone())
    }

    /// The operand with automatic padding around it, of `fill`.
    pub fn padded(&self, c: &mut Call, x: &Val, fill: &Val) -> Got<Val> {
        let mut before = vec![Dim::ZERO; 2];
        let mut shape: Vec<Dim> = x.shape().iter().take(2).cloned().collect();
        for (k, d) in x.shape().iter().skip(2).enumerate() {
            let (b, e) = self.same(c, k, d);
            shape.push(d + &b + e);
            before.push(b);
        }
        c.emit(Op::Pad { mode: PadMode::Constant, before }, &[x, fill], x.dtype(), shape)
    }
}

/// Least and greatest total SAME padding over all sizes.
fn same_bounds(extent: i64, stride: i64) -> (i64, i64) {
    ((extent - stride).max(0), (extent - 1).max(0))
}

/// Kernel sizes from the weight, checked against the attribute.
fn kernel(c: &Call, w: &Val) -> Got<Vec<i64>> {
    let own = w.ty.static_shape().ok_or_else(|| unsupported_use(format!("the weight {} must have constant sizes", w.ty)))?;
    let own: Vec<i64> = own.into_iter().skip(2).collect();
    match c.attrs.ints("kernel_shape")? {
        Some(k) if k != own => Err(bad("kernel_shape", format!("is {k:?}, but the weight is {}", w.ty))),
        _ if own.iter().any(|k| *k < 1) => Err(operand(format!("the weight {} has no elements", w.ty))),
        _ => Ok(own),
    }
}

fn operands(c: &Call) -> Got<(Val, Val, Option<Val>)> {
    fitting(c, c.input(0)?, c.input(1)?, c.opt(2))
}

fn fitting(c: &Call, x: Val, w: Val, b: Option<Val>) -> Got<(Val, Val, Option<Val>)> {
    c.same_dtype(&x, &w)?;
    c.want_rank(&x, 3, "the operand")?;
    if w.rank() != x.rank() {
        return Err(operand(format!("the weight {} does not fit {}", w.ty, x.ty)));
    }
    if let Some(b) = &b {
        c.same_dtype(&x, b)?;
        if b.rank() != 1 {
            return Err(operand(format!("the bias is {}, must have one axis", b.ty)));
        }
    }
    Ok((x, w, b))
}

pub fn conv(c: &mut Call) -> Out {
    let (x, w, b) = operands(c)?;
    Ok(vec![conv_of(c, x, w, b)?])
}

/// The convolution that the node's attributes describe, of these operands.
pub(super) fn conv_of(c: &mut Call, x: Val, w: Val, b: Option<Val>) -> Got<Val> {
    let (x, w, b) = fitting(c, x, w, b)?;
    let mut window = Window::of(c, kernel(c, &w)?)?;
    let group = c.attrs.positive_or("group", 1)?;
    let [out_channels, per_group] = channels(&w);
    if out_channels % group != 0 {
        return Err(bad("group", format!("is {group}, which does not divide {out_channels} output channels")));
    }
    let want = per_group.checked_mul(group).ok_or_else(|| bad("group", "is too large"))?;
    let have = x.shape().get(1).cloned().unwrap_or(Dim::ONE);
    c.equal(&have, &Dim::from(want), "channels of the operand and the weight")?;
    if let Some(d) = b.as_ref().and_then(|b| b.shape().first()) {
        c.equal(d, &Dim::from(out_channels), "bias and output channels")?;
    }
    let mut shape = vec![x.shape().first().cloned().unwrap_or(Dim::ONE), Dim::from(out_channels)];
    for (k, d) in x.shape().iter().skip(2).enumerate() {
        shape.push(window.output(c, k, d, false)?);
    }
    let x = window.settle(c, &x, false)?;
    let Window { strides, pads, dilations, .. } = window;
    if pads.iter().any(|p| *p < 0) {
        return Err(bad("pads", "must not be negative"));
    }
    let operands: Vec<&Val> = [&x, &w].into_iter().chain(&b).collect();
    c.emit(Op::Conv { strides, pads, dilations, group }, &operands, x.dtype(), shape)
}

/// The first two sizes of a weight, which `kernel` found to be constant.
fn channels(w: &Val) -> [i64; 2] {
    let mut s = w.shape().iter().map(|d| d.as_const().unwrap_or(0));
    [s.next().unwrap_or(0), s.next().unwrap_or(0)]
}

pub fn conv_transpose(c: &mut Call) -> Out {
    let (x, w, b) = operands(c)?;
    let window = Window::of(c, kernel(c, &w)?)?;
    let rank = window.kernel.len();
    let group = c.attrs.positive_or("group", 1)?;
    let [in_channels, per_group] = channels(&w);
    if in_channels % group != 0 {
        return Err(bad("group", format!("is {group}, which does not divide {in_channels} input channels")));
    }
    let out_channels = per_group.checked_mul(group).ok_or_else(|| bad("group", "is too large"))?;
    let have = x.shape().get(1).cloned().unwrap_or(Dim::ONE);
    c.equal(&have, &Dim::from(in_channels), "channels of the operand and the weight")?;
    if let Some(d) = b.as_ref().and_then(|b| b.shape().first()) {
        c.equal(d, &Dim::from(out_channels), "bias and output channels")?;
    }
    let extra = c.attrs.natural_ints("output_padding", rank, 0)?;
    let wanted = match c.attrs.ints("output_shape")? {
        // Some exporters write all axes, most the spatial ones.
        Some(v) if v.len() == rank || v.len() == rank + 2 => Some(v.get(v.len() - rank..).unwrap_or(&[]).to_vec()),
        Some(v) => return Err(bad("output_shape", format!("must be {rank} ints, is {v:?}"))),
        None => None,
    };
    let mut shape = vec![x.shape().first().cloned().unwrap_or(Dim::ONE), Dim::from(out_channels)];
    let mut pads = window.pads.clone();
    for (k, d) in x.shape().iter().skip(2).enumerate() {
        let extra = extra.get(k).copied().unwrap_or(0);
        let full = (d - 1) * window.stride(k) + window.extent(k) + extra;
        let size = match (&wanted, window.auto) {
            (Some(w), _) => w.get(k).map_or(Dim::ZERO, |v| Dim::from(*v)),
            (None, AutoPad::SameUpper | AutoPad::SameLower) => d * window.stride(k),
            (None, AutoPad::NotSet | AutoPad::Valid) => &full - (window.begin(k) + window.end(k)),
        };
        if wanted.is_some() || matches!(window.auto, AutoPad::SameUpper | AutoPad::SameLower) {
            let total = c.build.dims.simplify(&(&full - &size)).as_const();
            let total = total.ok_or_else(|| unsupported_use("padding that depends on a symbolic size is not supported"))?;
            let small = total.max(0) / 2;
            let begin = if window.auto == AutoPad::SameUpper { small } else { total.max(0) - small };
            if let Some(slot) = pads.get_mut(k) {
                *slot = begin;
            }
            if let Some(slot) = pads.get_mut(k + rank) {
                *slot = total - begin;
            }
        }
        if size.as_const().is_some_and(|v| v < 0) {
            return Err(operand(format!("the result would have the size {size}")));
        }
        shape.push(size);
    }
    let Window { strides, dilations, .. } = window;
    let operands: Vec<&Val> = [&x, &w].into_iter().chain(&b).collect();
    Ok(vec![c.emit(Op::ConvTranspose { strides, pads, dilations, group }, &operands, x.dtype(), shape)?])
}
