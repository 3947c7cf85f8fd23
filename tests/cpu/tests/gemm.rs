//! A gemm micro-kernel by hand: a tile in registers, A row-major, B in packed panels as wide as the tile. Checks the
//! result, and on demand how fast it is: `cargo test --release -p odc-cpu-tests --test gemm -- --ignored --nocapture`.

use odc_backend::{Target, TextKind};
use odc_cpu_tests::*;
use odc_ir::core::{Binary, Builder, DType, Scalar, Value};
use odc_ir::loops::{Func, Loop, LoopKind, LoopType, Op, Space};

/// Tile of `rows` by `4 * vectors`; the grid runs over groups of rows, `n` is a multiple of the tile, `unroll` steps of k at once.
fn gemm((tile, vectors, unroll): (usize, usize, i64)) -> Func {
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
    let accs = tile * vectors;
    let [zero, one, height, width, step] = [0, 1, tile as i64, 4 * vectors as i64, unroll].map(|k| int(&mut b, k));
    let zeros = b.op1(Op::Const { value: Scalar::Float(0.0) }, &[], v4);
    let region = b.block(&[LoopType::Index], |b, g| {
        let row = op(b, Binary::Mul, g[0], height);
        let panels = b.block(&[LoopType::Index], |b, j| {
            let panel = op(b, Binary::Mul, j[0], depth);
            let mut types = vec![LoopType::Index];
            types.extend(vec![v4; accs]);
            let inner = b.block(&types, |b, args| {
                let mut acc = args[1..].to_vec();
                for u in 0..unroll {
                    let u = int(b, u);
                    let k = op(b, Binary::Add, args[0], u);
                    let kb = op(b, Binary::Mul, k, width);
                    let kb = op(b, Binary::Add, panel, kb);
                    let bs: Vec<_> = (0..vectors)
                        .map(|v| {
                            let d = int(b, 4 * v as i64);
                            let at = op(b, Binary::Add, kb, d);
                            b.op1(Op::Load {}, &[b_, at], v4)
                        })
                        .collect();
                    for r in 0..tile {
                        let ri = int(b, r as i64);
                        let i = op(b, Binary::Add, row, ri);
                        let base = op(b, Binary::Mul, i, depth);
                        let at = op(b, Binary::Add, base, k);
                        let x = b.op1(Op::Load {}, &[a, at], LoopType::Scalar(DType::F32));
                        let x = b.op1(Op::Splat {}, &[x], v4);
                        for v in 0..vectors {
                            acc[vectors * r + v] = b.op1(Op::Fma {}, &[x, bs[v], acc[vectors * r + v]], v4);
                        }
                    }
                }
                acc
            });
            let mut operands = vec![zero, depth, step];
            operands.extend(vec![zeros; accs]);
            let acc = b.region_op(Op::For { kind: LoopKind::Serial }, &operands, &vec![v4; accs], vec![inner]);
            for r in 0..tile {
                for v in 0..vectors {
                    let ri = int(b, r as i64);
                    let i = op(b, Binary::Add, row, ri);
                    let base = op(b, Binary::Mul, i, n);
                    let base = op(b, Binary::Add, base, j[0]);
                    let d = int(b, 4 * v as i64);
                    let at = op(b, Binary::Add, base, d);
                    b.op(Op::Store {}, &[c, at, acc[vectors * r + v]], &[]);
                }
            }
            vec![]
        });
        b.region_op(Op::For { kind: LoopKind::Serial }, &[zero, n, width], &[], vec![panels]);
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
    let (m, n, k) = (12, 48, 20);
    for t in targets() {
        for shape in [(3, 3, 1), (3, 3, 2), (4, 2, 4), (1, 1, 1)] {
            let (rows, w) = (shape.0, 4 * shape.1);
            let jit = Jit::compile(&gemm(shape), &t);
            let mut buffers = vec![data(m * k, 1), data(k * n, 2), vec![0; 4 * m * n]];
            jit.run(&mut buffers, &[(m / rows) as i64, n as i64, k as i64], 0, 0, (m / rows) as i64);
            let x: Vec<_> = buffers.iter().map(|b| scalars(DType::F32, b)).collect();
            for i in 0..m {
                for j in 0..n {
                    let b_at = |p: usize| (j / w) * w * k + p * w + j % w;
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
    let (m, n, k) = (12, 48, 256);
    let t = Target::host().unwrap();
    if let Ok(shape) = std::env::var("ODC_GEMM_SHAPE") {
        let d: Vec<i64> = shape.split(',').filter_map(|s| s.parse().ok()).collect();
        println!("{}", backend(&t).text(&gemm((d[0] as usize, d[1] as usize, d[2])), &t, TextKind::Asm).unwrap());
    }
    for shape in [(3, 3), (2, 4), (4, 2), (3, 2), (2, 3), (6, 1), (4, 3), (2, 2), (1, 4)] {
        let speeds = [1, 2, 4].map(|unroll| {
            let jit = Jit::compile(&gemm((shape.0, shape.1, unroll)), &t);
            let mut buffers = vec![data(m * k, 1), data(k * n, 2), vec![0; 4 * m * n]];
            let groups = (m / shape.0) as i64;
            let mut best = f64::MAX;
            for _ in 0..200 {
                let start = std::time::Instant::now();
                for _ in 0..10 {
                    jit.run(&mut buffers, &[groups, n as i64, k as i64], 0, 0, groups);
                }
                best = best.min(start.elapsed().as_secs_f64() / 10.0);
            }
            2.0 * (m * n * k) as f64 / best / 1e9
        });
        println!("{}x{}: {:.1} GFLOP/s, by twos {:.1}, by fours {:.1}", shape.0, 4 * shape.1, speeds[0], speeds[1], speeds[2]);
    }
}
