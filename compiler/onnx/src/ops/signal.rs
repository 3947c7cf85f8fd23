//! Window functions and the mel filter bank.

use crate::import::call::{Call, Got, Out, dtype_number, operand};
use crate::import::compose::table;
use odc_ir::core::DType;
use odc_ir::graph::{BinaryFn, UnaryFn};
use std::f64::consts::TAU;

/// `a0 - a1 cos(2 pi k / n) + a2 cos(4 pi k / n)`, where `n` is one less for symmetric windows.
fn window(c: &mut Call, [a0, a1, a2]: [f64; 3]) -> Out {
    let size = c.input(0)?;
    let periodic = c.attrs.flag("periodic", true)?;
    let to = dtype_of(c)?;
    let n = match c.sizes(&size, "the size")?.as_slice() {
        [n] => n.clone(),
        _ => return Err(operand("the size must be one number")),
    };
    let k = c.iota(&n, DType::F32)?;
    let steps = c.size(&if periodic { n } else { n - 1 }, DType::F32)?;
    let steps = c.with(BinaryFn::Max, &steps, 1.0)?;
    let turn = c.div(&k, &steps)?;
    let mut sum = c.times(&turn, TAU)?;
    sum = c.function(UnaryFn::Cos, &sum)?;
    sum = c.times(&sum, -a1)?;
    sum = c.plus(&sum, a0)?;
    if a2 != 0.0 {
        let twice = c.times(&turn, 2.0 * TAU)?;
        let twice = c.function(UnaryFn::Cos, &twice)?;
        let twice = c.times(&twice, a2)?;
        sum = c.add(&sum, &twice)?;
    }
    Ok(vec![c.convert(&sum, to)?])
}

fn dtype_of(c: &Call) -> Got<DType> {
    dtype_number(i32::try_from(c.attrs.int_or("output_datatype", 1)?).unwrap_or(0))
}

pub fn hann(c: &mut Call) -> Out {
    window(c, [0.5, 0.5, 0.0])
}
pub fn hamming(c: &mut Call) -> Out {
    // 25/46 and 21/46, as the standard has it.
    window(c, [25.0 / 46.0, 21.0 / 46.0, 0.0])
}
pub fn blackman(c: &mut Call) -> Out {
    window(c, [0.42, 0.5, 0.08])
}

/// Triangles over the bins of a spectrum, evenly spaced by pitch.
pub fn mel_weight_matrix(c: &mut Call) -> Out {
    let to = dtype_of(c)?;
    let number = |k: usize, what: &str| c.input(k).and_then(|v| c.const_float(&v, what));
    let (mels, length) = (number(0, "the number of bands")? as i64, number(1, "the length of the transform")? as i64);
    let (rate, low, high) = (number(2, "the sample rate")?, number(3, "the lower edge")?, number(4, "the upper edge")?);
    if !(1..=1 << 16).contains(&mels) || !(1..=1 << 20).contains(&length) || rate <= 0.0 {
        return Err(operand(format!("{mels} bands, {length} elements at {rate} Hz")));
    }
    let bins = length / 2 + 1;
    if mels.saturating_mul(bins) > 1 << 22 {
        return Err(operand(format!("a filter bank of {mels} bands over {bins} bins is too large")));
    }
    let mel = |f: f64| 2595.0 * (1.0 + f / 700.0).log10();
    let step = (mel(high) - mel(low)) / (mels + 2) as f64;
    let edges: Vec<i64> = (0..mels + 2)
        .map(|k| 700.0 * (10f64.powf((k as f64 * step + mel(low)) / 2595.0) - 1.0))
        .map(|hertz| ((length + 1) as f64 * hertz / rate).floor() as i64)
        .collect();
    let weight = |j: i64, i: usize| match edges.get(i..i + 3) {
        Some([_, centre, right]) if j >= *centre && j < *right => (right - j) as f64 / (right - centre) as f64,
        Some([left, centre, _]) if left == centre && j == *centre => 1.0,
        Some([left, centre, _]) if j >= *left && j <= *centre && left < centre => (j - left) as f64 / (centre - left) as f64,
        _ => 0.0,
    };
    let all = (0..bins).flat_map(|j| (0..mels as usize).map(move |i| (j, i)));
    Ok(vec![table(to, &[bins, mels], all.map(|(j, i)| weight(j, i)))])
}
