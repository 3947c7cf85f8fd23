//! Values of inputs that address something: indices and lengths. Kernels clamp them; here a caller learns that they are wrong.

use crate::{RunError, TensorView};
use alloc::format;
use odc_format::{DType, InRange, Manifest, Slot};

/// Looks at each element of the inputs that the manifest has ranges for, where `input` knows their data. `slots` are the results of the
/// shape program for the inputs' shapes. Without a fault it allocates nothing.
pub(crate) fn check_values<'a>(m: &Manifest, slots: &[i64], input: impl Fn(usize) -> Option<TensorView<'a>>) -> Result<(), RunError> {
    for r in &m.in_range {
        if let Some(view) = input(r.input as usize)
            && let Some((at, value, lo, hi)) = outside(r, slots, view)
        {
            let expected = if lo > hi { "none, for the axis has no elements".into() } else { format!("{lo} to {hi}") };
            let name = m.inputs.get(r.input as usize).map(|t| t.name.clone()).unwrap_or_default();
            return Err(RunError::OutOfRange { name, at, value, what: r.what.clone(), expected });
        }
    }
    Ok(())
}

/// Place, value and range of the first element outside of its range.
fn outside(r: &InRange, slots: &[i64], view: TensorView<'_>) -> Option<(usize, i64, i64, i64)> {
    let get = |s: Slot| slots.get(s.index()).copied();
    let ends = |k: usize| r.ranges.get(k % r.ranges.len().max(1)).and_then(|&(lo, hi)| Some((get(lo)?, get(hi)?)));
    let first = ends(0)?;
    let one = r.ranges.len() == 1;
    let range = |k: usize| if one { first } else { ends(k).unwrap_or(first) };
    let unsigned = |v: u64| i64::try_from(v).unwrap_or(i64::MAX);
    let d = view.data;
    let found = match view.dtype {
        DType::I64 => find(d, i64::from_le_bytes, range),
        DType::I32 => find(d, |b| i32::from_le_bytes(b).into(), range),
        DType::I16 => find(d, |b| i16::from_le_bytes(b).into(), range),
        DType::I8 => find(d, |b| i8::from_le_bytes(b).into(), range),
        DType::U64 => find(d, |b| unsigned(u64::from_le_bytes(b)), range),
        DType::U32 => find(d, |b| u32::from_le_bytes(b).into(), range),
        DType::U16 => find(d, |b| u16::from_le_bytes(b).into(), range),
        DType::U8 => find(d, |b| u8::from_le_bytes(b).into(), range),
        // No compiler writes ranges for others.
        _ => None,
    };
    found.map(|(k, v)| (k, v, range(k).0, range(k).1))
}

fn find<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> i64, range: impl Fn(usize) -> (i64, i64)) -> Option<(usize, i64)> {
    data.as_chunks::<N>().0.iter().map(|b| read(*b)).enumerate().find(|&(k, v)| {
        let (lo, hi) = range(k);
        v < lo || v > hi
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_checked_against_their_range() {
        let slots = [-3, 2, 0, 9];
        let pair = |lo, hi| (Slot(lo), Slot(hi));
        let one = InRange { input: 0, ranges: [pair(0, 1)].into(), what: "Gather".into() };
        let two = InRange { ranges: [pair(0, 1), pair(2, 3)].into(), ..one.clone() };
        let of = |r: &InRange, v: &[i64]| outside(r, &slots, TensorView::of(&[v.len()], v));
        assert_eq!((of(&one, &[-3, 0, 2]), of(&one, &[])), (None, None));
        assert_eq!(of(&one, &[0, 1 << 32]), Some((1, 1 << 32, -3, 2)));
        assert_eq!(of(&one, &[i64::MIN]), Some((0, i64::MIN, -3, 2)));
        assert_eq!(of(&two, &[2, 9, -3, 0]), None);
        assert_eq!(of(&two, &[2, 9, 2, -1]), Some((3, -1, 0, 9)));
        assert_eq!(outside(&one, &slots, TensorView::of(&[2], &[1i32, -4])), Some((1, -4, -3, 2)));
        assert_eq!(outside(&one, &slots, TensorView::of(&[1], &[u64::MAX])), Some((0, i64::MAX, -3, 2)));
    }
}
