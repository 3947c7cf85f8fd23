//! Constants as bytes and numbers: strided copies for big weights, values by channel for folding.

use odc_ir::core::{Const, DType, Scalar, row_major_strides};

/// Row-major bytes of `shape`, read from `bytes` at `base + Σ index * stride` (in elements of `size` bytes).
pub fn strided(bytes: &[u8], size: usize, base: i64, strides: &[i64], shape: &[usize]) -> Option<Vec<u8>> {
    let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
    let mut out = Vec::with_capacity(count.checked_mul(size)?);
    if count == 0 {
        return Some(out);
    }
    let (row, outer, row_stride) = match (shape.split_last(), strides.split_last()) {
        (Some((n, outer)), Some((s, _))) => (*n, outer, *s),
        _ => (1, shape, 0),
    };
    let mut index = vec![0usize; outer.len()];
    loop {
        let start = index.iter().zip(strides).try_fold(base, |at, (i, s)| at.checked_add(i64::try_from(*i).ok()?.checked_mul(*s)?))?;
        for k in 0..row {
            let at = (k as i64).checked_mul(row_stride)?.checked_add(start)?;
            let at = usize::try_from(at).ok()?.checked_mul(size)?;
            out.extend_from_slice(bytes.get(at..at + size)?);
        }
        let mut axis = outer.len();
        loop {
            let Some(k) = axis.checked_sub(1) else { return Some(out) };
            axis = k;
            let i = index.get_mut(k)?;
            *i += 1;
            if *i < *outer.get(k)? {
                break;
            }
            *i = 0;
        }
    }
}

/// Sizes of a constant as counts.
pub fn sizes(shape: &[i64]) -> Option<Vec<usize>> {
    shape.iter().map(|d| usize::try_from(*d).ok()).collect()
}

pub fn strides(shape: &[usize]) -> Vec<i64> {
    row_major_strides(shape).into_iter().map(|s| s as i64).collect()
}

/// The constant's bytes broadcast to `shape`.
pub fn broadcast(c: &Const, shape: &[usize]) -> Option<Vec<u8>> {
    let from = sizes(&c.shape)?;
    let skip = shape.len().checked_sub(from.len())?;
    let mut by = vec![0; skip];
    by.extend(strides(&from).into_iter().zip(&from).map(|(s, d)| if *d == 1 { 0 } else { s }));
    strided(&c.bytes, c.dtype.size(), 0, &by, shape)
}

/// One number a channel, if the constant varies along axis `axis` of a tensor of rank `rank` and nowhere else.
pub fn by_channel(c: &Const, rank: usize, axis: usize, channels: usize) -> Option<Vec<f64>> {
    if !matches!(c.dtype, DType::F32 | DType::F64) {
        return None;
    }
    let skip = rank.checked_sub(c.shape.len())?;
    let only = c.shape.iter().enumerate().all(|(k, d)| *d == 1 || (k + skip == axis && usize::try_from(*d) == Ok(channels)));
    let values: Vec<f64> = c.scalars().map(|s| s.as_f64()).collect();
    match (only, values.as_slice()) {
        (true, [one]) => Some(vec![*one; channels]),
        (true, _) if values.len() == channels => Some(values),
        _ => None,
    }
}

/// The constant with element `k` multiplied by `factor(k)`.
pub fn scaled(c: &Const, factor: impl Fn(usize) -> Option<f64>) -> Option<Const> {
    from_options(c.dtype, &c.shape, c.scalars().enumerate().map(|(k, s)| Some(Scalar::Float(s.as_f64() * factor(k)?))))
}

/// `None` if an element is; nothing but the bytes is held, as weights are large.
pub fn from_options(dtype: DType, shape: &[i64], data: impl Iterator<Item = Option<Scalar>>) -> Option<Const> {
    let mut complete = true;
    let c = Const::from_scalars(
        dtype,
        shape,
        data.map_while(|x| {
            complete &= x.is_some();
            x
        }),
    );
    complete.then_some(c)
}
