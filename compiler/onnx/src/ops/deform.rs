//! DeformConv: every tap of the kernel reads where an offset says, between elements; then a convolution is a matrix product.

use super::conv::Window;
use super::sample::{Beyond, Kernel, Line, combine};
use crate::attrs::bad;
use crate::import::call::{Call, Out, operand};
use crate::import::compose::{table, wide};
use odc_ir::core::Dim;
use odc_ir::graph::BinaryFn;

pub fn deform_conv(c: &mut Call) -> Out {
    let (x, weight, offset) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let ([n, channels, h, w], Some([out, per_group, kh, kw])) =
        (x.shape(), weight.ty.static_shape().as_deref().and_then(|s| <[i64; 4]>::try_from(s).ok()))
    else {
        return Err(operand(format!("needs [n, c, h, w] and a constant [o, c, kh, kw], has {} and {}", x.ty, weight.ty)));
    };
    let group = c.attrs.positive_or("group", 1)?;
    let offsets = c.attrs.positive_or("offset_group", 1)?;
    let window = Window::of(c, vec![kh, kw])?;
    if c.attrs.ints("kernel_shape")?.is_some_and(|k| k != [kh, kw]) {
        return Err(bad("kernel_shape", format!("differs from the weight {}", weight.ty)));
    }
    let have = group.checked_mul(per_group).filter(|ch| out % group == 0 && ch % offsets == 0);
    let have = have.ok_or_else(|| bad("group", "or offset_group does not divide the channels"))?;
    c.equal(channels, &Dim::from(have), "channels of the operand and the weight")?;
    let (n, h, w) = (n.clone(), h.clone(), w.clone());
    let sizes = [window.output(c, 0, &h, false)?, window.output(c, 1, &w, false)?];
    let [oh, ow] = sizes.clone();
    let taps = kh * kw;
    let dtype = wide(x.dtype());
    let og = Dim::from(offsets);
    let wanted = [n.clone(), &og * (taps * 2), oh.clone(), ow.clone()];
    for (a, b) in offset.shape().iter().zip(&wanted) {
        c.equal(a, b, "offsets and results")?;
    }
    let offset = c.convert(&offset, dtype)?;
    let offset = c.reshape(&offset, vec![n.clone(), og.clone(), Dim::from(taps), Dim::from(2), oh.clone(), ow.clone()])?;
    // Places, one a tap and result: their axis is flat for the lookup.
    let places = Dim::from(taps) * &oh * &ow;
    let flat = vec![n.clone(), og.clone(), Dim::ONE, places.clone()];
    let mut axes = vec![];
    for (k, size) in [&h, &w].into_iter().enumerate() {
        let tap = (0..taps).map(|t| if k == 0 { t / kw } else { t % kw } * window.dilations.get(k).copied().unwrap_or(1) - window.begin(k));
        let tap = table(dtype, &[1, 1, taps, 1, 1], tap.map(|v| v as f64));
        let o = c.positions(sizes.get(k).unwrap_or(&Dim::ONE), dtype, 3 + k, 5)?;
        let o = c.times(&o, window.stride(k) as f64)?;
        let at = c.add(&o, &tap)?;
        let own = c.part(&offset, 3, Dim::from(k as i64), Dim::ONE)?;
        let own = c.reshape(&own, vec![n.clone(), og.clone(), Dim::from(taps), oh.clone(), ow.clone()])?;
        let at = c.add(&own, &at)?;
        let at = c.reshape(&at, flat.clone())?;
        let line = Line { n: size.clone(), beyond: Beyond::Zeros, kernel: Kernel::Linear, align_corners: true };
        axes.push(line.taps(c, &at)?);
    }
    let planes = c.reshape(&x, vec![n.clone(), og.clone(), Dim::from(have / offsets), &h * &w])?;
    let mut v = combine(c, &planes, &[h, w], &axes, dtype, BinaryFn::Add)?;
    if let Some(mask) = c.opt(4) {
        let mask = c.convert(&mask, dtype)?;
        let mask = c.reshape(&mask, flat)?;
        v = c.mul(&v, &mask)?;
    }
    let (g, area) = (Dim::from(group), &oh * &ow);
    let v = c.reshape(&v, vec![n.clone(), g.clone(), Dim::from(per_group * taps), area.clone()])?;
    let weight = c.convert(&weight, dtype)?;
    let weight = c.reshape(&weight, vec![Dim::ONE, g, Dim::from(out / group), Dim::from(per_group * taps)])?;
    let y = c.matmul(&weight, &v)?;
    let y = c.reshape(&y, vec![n, Dim::from(out), oh, ow])?;
    let y = match c.opt(3) {
        Some(b) => {
            let b = c.convert(&b, dtype)?;
            let b = c.along(&b, 1, 4)?;
            c.add(&y, &b)?
        }
        None => y,
    };
    Ok(vec![c.convert(&y, x.dtype())?])
}
