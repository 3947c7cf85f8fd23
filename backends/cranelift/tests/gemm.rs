//! A gemm micro-kernel by hand: 3 rows by 12 columns in registers, A row-major, B in packed panels of 12 columns. Checks the result,
//! and on demand how fast it is: `cargo test --release -p odc-cranelift --test gemm -- --ignored --nocapture`.

mod jit;

use jit::*;
use odc_backend::{Backend, Target, TextKind};
use odc_cranelift::Cranelift;
use odc_ir::core::{Binary, Builder, DType, Scalar, Value};
use odc_ir::loops::{Func, Loop, LoopKind, LoopType, Op, Space};

/// The grid runs over row triples; `n` is 12 times the panels; `unroll` steps of k at once.
fn gemm(unroll: i64) -> Func {
    let mut f = Func::new("gemm");
    let ptr = LoopType::Ptr(DType::F32, Space::Global);
    let [a, b_, c] = ["a", "b", "c"].map(|n| f.param(n, ptr));
    let [rows, n, depth] = ["m3", "n", "k"].map(|n| f.param(n, LoopType::Index));
    let args = std::mem::take(&mut f.body.args);
    let mut b = Builder::<Loop>::new(&mut f);
    b.block.args = args;
    let v4 = LoopType::Vector(DType::F32, 4);
    let int = |b: &mut Builder<'_, Loop>, k: i64| b.op1(Op::Const { value: Scalar::Int(k) }, &[], LoopType::Index);
    let op = |b: &mut Builder<'_, Loop>, f, x: Value, y: Value| b.op1(Op::Binary { f }, &[x, y], LoopType::Index);
    let [zero, one, three, twelve, step] = [0, 1, 3, 12, unroll].map(|k| int(&mut b, k));
    let zeros = b.op1(Op::Const { value: Scalar::Float(0.0) }, &[], v4);
    let region = b.block(&[LoopType::Index], |b, g| {
        let row = op(b, Binary::Mul, g[0], three);
        let panels = b.block(&[LoopType::Index], |b, j| {
            let panel = op(b, Binary::Mul, j[0], depth);
            let mut types = vec![LoopType::Index];
            types.extend([v4; 9]);
            let inner = b.block(&types, |b, args| {
                let mut acc = args[1..].to_vec();
                for u in 0..unroll {
                    let u = int(b, u);
                    let k = op(b, Binary::Add, args[0], u);
                    let kb = op(b, Binary::Mul, k, twelve);
                    let kb = op(b, Binary::Add, panel, kb);
                    let bs: Vec<_> = (0..3)
                        .map(|v| {
                            let d = int(b, 4 * v);
                            let at = op(b, Binary::Add, kb, d);
                            b.op1(Op::Load {}, &[b_, at], v4)
                        })
                        .collect();
                    for r in 0..3 {
                        let ri = int(b, r as i64);
                        let i = op(b, Binary::Add, row, ri);
                        let base = op(b, Binary::Mul, i, depth);
                        let at = op(b, Binary::Add, base, k);
                        let x = b.op1(Op::Load {}, &[a, at], LoopType::Scalar(DType::F32));
                        let x = b.op1(Op::Splat {}, &[x], v4);
                        for v in 0..3 {
                            acc[3 * r + v] = b.op1(Op::Fma {}, &[x, bs[v], acc[3 * r + v]], v4);
                        }
                    }
                }
                acc
            });
            let mut operands = vec![zero, depth, step];
            operands.extend([zeros; 9]);
            let acc = b.region_op(Op::For { kind: LoopKind::Serial }, &operands, &[v4; 9], vec![inner]);
            for r in 0..3 {
                for v in 0..3 {
                    let ri = int(b, r as i64);
                    let i = op(b, Binary::Add, row, ri);
                    let base = op(b, Binary::Mul, i, n);
                    let base = op(b, Binary::Add, base, j[0]);
                    let d = int(b, 4 * v as i64);
                    let at = op(b, Binary::Add, base, d);
                    b.op(Op::Store {}, &[c, at, acc[3 * r + v]], &[]);
                }
            }
            vec![]
        });
        b.region_op(Op::For { kind: LoopKind::Serial }, &[zero, n, twelve], &[], vec![panels]);
        vec![]
    });
    b.region_op(Op::For { kind: LoopKind::Grid }, &[zero, rows, one], &[], vec![region]);
    b.finish(&[]);
    f
}

fn data(n: usize, seed: u32) -> Vec<u8> {
    let mut s = seed;
    let mut next = || {
        s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((s >> 24) as f32 / 16.0 - 8.0).to_le_bytes()
    };
    (0..n).flat_map(|_| next()).collect()
}

#[test]
fn gemm_is_right() {
    let (m, n, k) = (9, 36, 20);
    for t in targets() {
        for unroll in [1, 2, 4] {
            let jit = Jit::compile(&gemm(unroll), &t);
            let mut buffers = vec![data(m * k, 1), data(k * n, 2), vec![0; 4 * m * n]];
            jit.run(&mut buffers, &[m as i64 / 3, n as i64, k as i64], 0, 0, m as i64 / 3);
            let x: Vec<_> = buffers.iter().map(|b| scalars(DType::F32, b)).collect();
            for i in 0..m {
                for j in 0..n {
                    let b_at = |p: usize| (j / 12) * 12 * k + p * 12 + j % 12;
                    let want: f64 = (0..k).map(|p| x[0][i * k + p].as_f64() * x[1][b_at(p)].as_f64()).sum();
                    assert_eq!(x[2][i * n + j].as_f64(), want, "{} {i} {j}", t.name);
                }
            }
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn gemm_speed() {
    let (m, n, k) = (12, 24, 256);
    let t = Target::host().unwrap();
    for unroll in [1, 2, 4] {
        let f = gemm(unroll);
        if unroll == 1 {
            println!("{}", Cranelift.text(&f, &t, TextKind::Asm).unwrap());
        }
        let jit = Jit::compile(&f, &t);
        let mut buffers = vec![data(m * k, 1), data(k * n, 2), vec![0; 4 * m * n]];
        let mut best = f64::MAX;
        for _ in 0..200 {
            let start = std::time::Instant::now();
            for _ in 0..20 {
                jit.run(&mut buffers, &[m as i64 / 3, n as i64, k as i64], 0, 0, m as i64 / 3);
            }
            best = best.min(start.elapsed().as_secs_f64() / 20.0);
        }
        println!("unroll {unroll}: {:.1} GFLOP/s", 2.0 * (m * n * k) as f64 / best / 1e9);
    }
}
