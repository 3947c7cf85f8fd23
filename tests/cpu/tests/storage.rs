//! Casts of the types that only exist to be stored, as `expand` writes them, compiled: every code up, and floats of every kind down,
//! against the meaning that `Scalar` states.

use odc_cpu_tests::*;
use odc_ir::core::{DType, Scalar};
use odc_ir::loops::Op;
use odc_passes::expand::expand;

fn stored() -> Vec<DType> {
    DType::ALL.iter().copied().filter(|d| d.is_storage()).collect()
}

/// Every code that the type has, a byte each.
fn codes(d: DType) -> Vec<Scalar> {
    (0..1u32 << d.bits()).filter_map(|c| Scalar::read(d, &[c as u8])).collect()
}

/// All halves, what lies between them and numbers beyond.
fn floats() -> Vec<Scalar> {
    let halves = (0..=u16::MAX).step_by(3).filter_map(|b| Scalar::read(DType::F16, &b.to_le_bytes()));
    let more = edges(DType::F32).into_iter().chain(edges(DType::BF16));
    let near = |x: Scalar| {
        let x = x.as_f64() as f32;
        [x, f32::from_bits(x.to_bits() ^ 1), f32::from_bits(x.to_bits() ^ 0x8000_0000)].map(|x| Scalar::Float(f64::from(x)))
    };
    halves.chain(more).flat_map(near).collect()
}

fn check(from: DType, to: DType, lanes: u32, mut xs: Vec<Scalar>) {
    while !xs.len().is_multiple_of(lanes as usize) {
        xs.push(xs[0]);
    }
    let mut k = map_kernel(&[from], to, lanes, |b, v| b.op1(Op::Cast {}, v, vector(to, lanes)));
    expand(&mut k);
    let printed = text(&k);
    assert!(stored().iter().all(|d| !printed.contains(&format!("{d},")) && !printed.contains(&format!(": {d}"))), "{printed}");
    for t in targets() {
        let ys = run(&k, &t, lanes, &[(from, xs.clone())], to);
        for (x, y) in xs.iter().zip(ys) {
            // f8e8m0 is made from f32.
            let want = if to == DType::F8E8M0 { x.cast(from, DType::F32).cast(DType::F32, to) } else { x.cast(from, to) };
            assert!(same(y, want), "{}: {from} to {to} x{lanes}: {x:?} -> {y:?}, not {want:?}", t.name);
        }
    }
}

#[test]
fn every_code_up() {
    for d in stored() {
        for lanes in [1, 4] {
            check(d, DType::F32, lanes, codes(d));
        }
        for to in [DType::F64, DType::F16, DType::I32, DType::U8, DType::I64, DType::Bool] {
            check(d, to, 1, codes(d));
        }
    }
}

#[test]
fn floats_down() {
    for d in stored() {
        for lanes in [1, 4] {
            check(DType::F32, d, lanes, floats());
        }
        check(DType::F16, d, 1, edges(DType::F16));
        // A double just beyond a tie is not one, though an f32 rounds it to the tie.
        let ties: Vec<Scalar> = codes(d)
            .iter()
            .zip(codes(d).iter().skip(1))
            .map(|(a, b)| (a.as_f64() + b.as_f64()) / 2.0)
            .flat_map(|x| [x, x * (1.0 + 1e-12), x * (1.0 - 1e-12)])
            .map(Scalar::Float)
            .collect();
        check(DType::F64, d, 1, ties.into_iter().chain(edges(DType::F64)).collect());
    }
}

/// f64 to a half float is rounded once: what lies just beyond a tie is no tie, though f32 would round it to one.
#[test]
fn doubles_to_halves() {
    for d in [DType::F16, DType::BF16] {
        let near = |x: f64| [x, x * (1.0 + 1e-12), x * (1.0 - 1e-12), -x].map(Scalar::Float);
        let ties =
            edges(d).into_iter().flat_map(|x| near(x.as_f64() * (1.0 + if d == DType::F16 { 2f64.powi(-11) } else { 2f64.powi(-8) })));
        let small = (0..40).flat_map(|k| near(2f64.powi(-10 - 4 * k) * 1.5));
        check(DType::F64, d, 1, ties.chain(small).chain(edges(DType::F64)).collect());
    }
}

#[test]
fn integers_and_each_other() {
    for d in stored() {
        for from in [DType::I32, DType::U8, DType::I8, DType::Bool] {
            check(from, d, 1, edges(from));
        }
        for from in stored() {
            check(from, d, 1, codes(from));
        }
    }
}

#[test]
fn bits_stay() {
    for (from, to) in [
        (DType::F8E5M2, DType::I8),
        (DType::U8, DType::F8E4M3FN),
        (DType::I4, DType::U4),
        (DType::U4, DType::F4E2M1),
        (DType::F4E2M1, DType::I4),
        (DType::U2, DType::I2),
    ] {
        let xs: Vec<Scalar> = codes(from).into_iter().filter(|x| !x.as_f64().is_nan()).collect();
        let xs = if from == DType::U8 { (0..256).map(Scalar::Int).collect() } else { xs };
        let mut k = map_kernel(&[from], to, 1, |b, v| b.op1(Op::Bitcast {}, v, vector(to, 1)));
        expand(&mut k);
        for t in targets() {
            for (x, y) in xs.iter().zip(run(&k, &t, 1, &[(from, xs.clone())], to)) {
                assert!(same(y, x.bitcast(from, to)), "{from} to {to}: {x:?} -> {y:?}");
            }
        }
    }
}
