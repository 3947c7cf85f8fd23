//! Convolutions as contractions through index maps: the window is in the load's index, padding in a select around it. Transposed
//! ones ask, for each output element, which inputs reach it.

use super::LowerError;
use super::cx::{Args, Cx, Reduction, Src, axes, i, r, raxes, wide};
use odc_ir::core::{Binary, Dim, Value};
use odc_ir::tensor::{Expr, Program, ReduceKind};

type Result<T = Value> = std::result::Result<T, LowerError>;

/// The attributes that convolutions and pools share; one stride and dilation a spatial axis, begin pads then end pads.
pub(super) struct Window<'a> {
    pub strides: &'a [i64],
    pub pads: &'a [i64],
    pub dilations: &'a [i64],
    pub group: i64,
}

impl Window<'_> {
    pub fn stride(&self, k: usize) -> i64 {
        self.strides.get(k).copied().unwrap_or(1)
    }
    pub fn dilation(&self, k: usize) -> i64 {
        self.dilations.get(k).copied().unwrap_or(1)
    }
    pub fn begin(&self, k: usize) -> i64 {
        self.pads.get(k).copied().unwrap_or(0)
    }
    pub fn end(&self, k: usize, spatial: usize) -> i64 {
        self.pads.get(spatial + k).copied().unwrap_or(0)
    }
}

/// How output channels relate to input channels.
struct Channels {
    /// Parallel axes: `n, o` or `n, g, o in group`, before the spatial ones.
    extents: Vec<Dim>,
    /// The output channel.
    o: Dim,
    /// The group, as a dim.
    group: Dim,
    /// One input channel a group: no channel is summed over.
    depthwise: bool,
    /// Output channels a group.
    per_group: Dim,
}

fn channels(a: &Args, in_channels: &Dim, group: i64) -> Result<Channels> {
    let (n, o) = (a.out_dim(0)?.clone(), a.out_dim(1)?.clone());
    let per_group = o.floordiv(&Dim::from(group.max(1)));
    let depthwise = group > 1 && in_channels.is(group);
    Ok(if group <= 1 {
        Channels { extents: vec![n, o], o: i(1), group: Dim::ZERO, depthwise, per_group }
    } else if depthwise {
        Channels { extents: vec![n, o], o: i(1), group: i(1).floordiv(&per_group), depthwise, per_group }
    } else {
        Channels { extents: vec![n, Dim::from(group), per_group.clone()], o: i(1) * &per_group + i(2), group: i(1), depthwise, per_group }
    })
}

/// Reduced axes as they are added.
#[derive(Default)]
struct Reduced(Vec<Dim>);

impl Reduced {
    fn add(&mut self, extent: Dim) -> Dim {
        self.0.push(extent);
        r(self.0.len() - 1)
    }
    /// A kernel axis: one of size 1 needs no loop.
    fn kernel(&mut self, extent: &Dim) -> Dim {
        if extent.is(1) { Dim::ZERO } else { self.add(extent.clone()) }
    }
}

/// The sum over `reduced` of `x * w`, plus bias.
fn contraction(cx: &mut Cx, a: &Args, ch: &Channels, spatial: Vec<Dim>, reduced: Reduced, body: Program) -> Result {
    let mut epilogue = Program::identity(body.result_dtype());
    if let (Some(bias), Some(acc)) = (a.xs.get(2), epilogue.root) {
        let b = bias.wide(&mut epilogue, [ch.o.clone()]);
        let v = epilogue.binary(Binary::Add, acc, b);
        epilogue = epilogue.returning(v);
    }
    let mut extents = ch.extents.clone();
    let first = extents.len();
    let mut store = vec![i(0), ch.o.clone()];
    store.extend((0..spatial.len()).map(|k| i(first + k)));
    extents.extend(spatial);
    let red = Reduction { kind: ReduceKind::Sum, axes: axes(&extents), raxes: raxes(&reduced.0), store, body, epilogue };
    Ok(cx.reduce(&a.operands, a.out.clone(), red))
}

/// `x[index]` where `inside` holds, else zero; the bare load when nothing can be outside.
fn padded(x: &Src, p: &mut Program, index: Vec<Dim>, inside: Vec<(Dim, Dim)>) -> odc_ir::tensor::ExprId {
    let v = x.wide(p, index);
    if inside.is_empty() {
        return v;
    }
    let zero = p.constant(wide(x.ty.dtype), 0.0);
    let c = p.push(Expr::Inside(inside));
    p.select(c, v, zero)
}

fn spatial_rank(x: &Src, w: &Src, a: &Args) -> Result<usize> {
    match x.ty.rank().checked_sub(2) {
        Some(s) if w.ty.rank() == s + 2 && a.rank() == s + 2 => Ok(s),
        _ => Err(LowerError::new(format!("operands {} and {} do not fit the result {}", x.ty, w.ty, a.out))),
    }
}

pub(super) fn conv(cx: &mut Cx, a: &Args, win: &Window) -> Result {
    let (x, w) = (a.x(0)?, a.x(1)?);
    let spatial = spatial_rank(x, w, a)?;
    let ch = channels(a, x.dim(1)?, win.group)?;
    let first = ch.extents.len();
    let mut red = Reduced::default();
    let mut w_index = vec![ch.o.clone()];
    let mut x_index = vec![i(0)];
    if ch.depthwise {
        x_index.push(ch.group.clone());
        w_index.push(Dim::ZERO);
    } else {
        let per_group = w.dim(1)?;
        let c = red.add(per_group.clone());
        x_index.push(&ch.group * per_group + &c);
        w_index.push(c);
    }
    let mut inside = vec![];
    for s in 0..spatial {
        let k = red.kernel(w.dim(2 + s)?);
        let at = i(first + s) * win.stride(s) + &k * win.dilation(s) - win.begin(s);
        if win.begin(s) != 0 || win.end(s, spatial) != 0 {
            inside.push((at.clone(), x.dim(2 + s)?.clone()));
        }
        x_index.push(at);
        w_index.push(k);
    }
    let mut body = Program::new();
    let lhs = padded(x, &mut body, x_index, inside);
    let rhs = w.wide(&mut body, w_index);
    let v = body.binary(Binary::Mul, lhs, rhs);
    let sizes = a.out.shape.iter().skip(2).cloned().collect();
    contraction(cx, a, &ch, sizes, red, body.returning(v))
}

pub(super) fn conv_transpose(cx: &mut Cx, a: &Args, win: &Window) -> Result {
    let (x, w) = (a.x(0)?, a.x(1)?);
    let spatial = spatial_rank(x, w, a)?;
    let in_channels = x.dim(1)?;
    let ch = channels(a, in_channels, win.group)?;
    let first = ch.extents.len();
    let mut red = Reduced::default();
    let c = if ch.depthwise {
        ch.group.clone()
    } else {
        let per_group = in_channels.floordiv(&Dim::from(win.group.max(1)));
        let c = red.add(per_group.clone());
        &ch.group * &per_group + c
    };
    let mut x_index = vec![i(0), c.clone()];
    let mut w_index = vec![c, &ch.o - &(&ch.group * &ch.per_group)];
    let mut inside = vec![];
    for s in 0..spatial {
        let (n, size, kernel) = (x.dim(2 + s)?.clone(), a.out_dim(2 + s)?, w.dim(2 + s)?);
        let stride = win.stride(s);
        let step = Dim::from(stride);
        let y = i(first + s);
        if kernel.is(stride) && win.begin(s) == 0 && win.dilation(s) == 1 {
            // Windows touch without overlapping: one kernel element reaches each output element.
            let at = y.floordiv(&step);
            if !cx.ranges.le(size, &(&n * &step)) {
                inside.push((at.clone(), n));
            }
            x_index.push(at);
            w_index.push(y.modulo(&step));
        } else {
            let k = red.kernel(kernel);
            let reach = y + win.begin(s) - &k * win.dilation(s);
            let at = reach.floordiv(&step);
            inside.push((reach.modulo(&step), Dim::ONE));
            inside.push((at.clone(), n));
            x_index.push(at);
            w_index.push(k);
        }
    }
    let mut body = Program::new();
    let lhs = padded(x, &mut body, x_index, inside);
    let rhs = w.wide(&mut body, w_index);
    let v = body.binary(Binary::Mul, lhs, rhs);
    let sizes = a.out.shape.iter().skip(2).cloned().collect();
    contraction(cx, a, &ch, sizes, red, body.returning(v))
}
