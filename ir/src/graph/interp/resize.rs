//! Resampling, axis by axis: each result coordinate reads a few source elements with weights. Source coordinates are computed in
//! f32 as ONNX Runtime does, so that ties between neighbours fall as they do there.

use super::super::ops::{CoordMode, NearestMode, ResizeMode};
use super::{Cx, found};
use crate::core::{InterpError, Scalar, TensorValue, indices};

pub struct How {
    pub mode: ResizeMode,
    pub coord: CoordMode,
    pub nearest: NearestMode,
    pub cubic_a: f64,
    pub exclude_outside: bool,
}

impl How {
    /// Where result coordinate `i` of `m` lies among `n` elements; `scale` is 0 where only the sizes are known.
    fn coordinate(&self, i: usize, n: usize, m: usize, scale: f64) -> f64 {
        let (i, n, m) = (i as f32, n as f32, m as f32);
        let scale = if scale > 0.0 { scale as f32 } else { m / n };
        let half_pixel = (i + 0.5) / scale - 0.5;
        f64::from(match self.coord {
            CoordMode::HalfPixel => half_pixel,
            CoordMode::PytorchHalfPixel if m > 1.0 => half_pixel,
            CoordMode::PytorchHalfPixel => 0.0,
            CoordMode::Asymmetric => i / scale,
            CoordMode::AlignCorners if m == 1.0 => 0.0,
            CoordMode::AlignCorners => i * (n - 1.0) / (m - 1.0),
            CoordMode::HalfPixelSymmetric => {
                let adjustment = m / (scale * n);
                n / 2.0 * (1.0 - adjustment) + half_pixel
            }
        })
    }

    /// Source positions and weights for one result coordinate.
    fn taps(&self, i: usize, n: usize, m: usize, scale: f64) -> Vec<(usize, f64)> {
        if n == m && (scale == 0.0 || scale == 1.0) {
            return vec![(i, 1.0)];
        }
        let x = self.coordinate(i, n, m, scale);
        let last = n as f64 - 1.0;
        let place = |v: f64| v.clamp(0.0, last.max(0.0)) as usize;
        match self.mode {
            ResizeMode::Nearest => {
                let v = match self.nearest {
                    NearestMode::RoundPreferFloor => (x - 0.5).ceil(),
                    NearestMode::RoundPreferCeil => (x + 0.5).floor(),
                    NearestMode::Floor => x.floor(),
                    NearestMode::Ceil => x.ceil(),
                };
                vec![(place(v), 1.0)]
            }
            ResizeMode::Linear => {
                let t = x - x.floor();
                vec![(place(x.floor()), 1.0 - t), (place(x.floor() + 1.0), t)]
            }
            ResizeMode::Cubic => {
                let (base, t) = (x.floor(), x - x.floor());
                let mut taps: Vec<(f64, f64)> = (-1..=2).map(|k| (base + f64::from(k), self.cubic(t - f64::from(k)))).collect();
                if self.exclude_outside {
                    taps.retain(|(at, _)| (0.0..=last).contains(at));
                    let total: f64 = taps.iter().map(|(_, w)| w).sum();
                    taps.iter_mut().for_each(|(_, w)| *w /= total);
                }
                taps.into_iter().map(|(at, w)| (place(at), w)).collect()
            }
        }
    }

    /// Keys' cubic kernel at distance `d`.
    fn cubic(&self, d: f64) -> f64 {
        let (a, d) = (self.cubic_a, d.abs());
        if d <= 1.0 {
            ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
        } else if d < 2.0 {
            ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
        } else {
            0.0
        }
    }
}

pub fn resize(cx: &Cx, how: &How, scales: &[f64]) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    let sizes: Vec<(usize, usize, f64)> =
        x.shape.iter().zip(cx.shape).enumerate().map(|(k, (n, m))| (*n, *m, scales.get(k).copied().unwrap_or(0.0))).collect();
    cx.build(|i| {
        let taps: Vec<Vec<(usize, f64)>> = i.iter().zip(&sizes).map(|(i, (n, m, s))| how.taps(*i, *n, *m, *s)).collect();
        let counts: Vec<usize> = taps.iter().map(Vec::len).collect();
        let mut sum = 0.0;
        for choice in indices(&counts) {
            let mut weight = 1.0;
            let mut at = Vec::with_capacity(choice.len());
            for (axis, k) in taps.iter().zip(choice) {
                if let Some((place, w)) = axis.get(k) {
                    at.push(*place);
                    weight *= w;
                }
            }
            let e = found(x.get(&at))?;
            if how.mode == ResizeMode::Nearest {
                return Ok(e);
            }
            sum += weight * e.as_f64();
        }
        Ok(Scalar::Float(sum))
    })
}
