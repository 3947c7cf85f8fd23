//! Every op on single elements, scalar and vector, on every CPU level this machine runs, against the meaning in `odc_ir::core`.

use odc_cpu_tests::*;
use odc_ir::core::{Binary, DType, Scalar, Unary};
use odc_ir::loops::{LoopType, Op};

fn pairs(d: DType) -> (Vec<Scalar>, Vec<Scalar>) {
    let e = edges(d);
    e.iter().flat_map(|a| e.iter().map(move |b| (*a, *b))).unzip()
}

#[test]
fn unary() {
    for t in targets() {
        for d in computed() {
            for f in Unary::ALL.iter().filter(|f| !f.is_transcendental()) {
                if (*f == Unary::Not && d.is_float()) || (*f == Unary::Sqrt && !d.is_float()) {
                    continue;
                }
                let (xs, out) = (edges(*d), f.result_dtype(*d));
                for n in [1, lanes(*d)] {
                    let k = map_kernel(&[*d], out, n, |b, v| b.op1(Op::Unary { f: *f }, v, vector(out, n)));
                    let ys = run(&k, &t, n, &[(*d, xs.clone())], out);
                    for (x, y) in xs.iter().zip(ys) {
                        let want = f.eval(*d, *x);
                        assert!(same(y, want), "{}: {f} {d} x{n}: {x:?} -> {y:?}, not {want:?}", t.name);
                    }
                }
            }
        }
    }
}

#[test]
fn binary() {
    for t in targets() {
        for d in computed() {
            for f in Binary::ALL {
                let bits = matches!(f, Binary::And | Binary::Or | Binary::Xor | Binary::Shl | Binary::Shr | Binary::Pow);
                if bits && d.is_float() {
                    continue;
                }
                let ((xs, ys), out) = (pairs(*d), f.result_dtype(*d));
                for n in [1, lanes(*d)] {
                    let k = map_kernel(&[*d, *d], out, n, |b, v| b.op1(Op::Binary { f: *f }, v, vector(out, n)));
                    let zs = run(&k, &t, n, &[(*d, xs.clone()), (*d, ys.clone())], out);
                    for ((x, y), z) in xs.iter().zip(&ys).zip(zs) {
                        let want = f.eval(*d, *x, *y);
                        assert!(same(z, want), "{}: {f} {d} x{n}: {x:?}, {y:?} -> {z:?}, not {want:?}", t.name);
                    }
                }
            }
        }
    }
}

/// A mask must be all ones or all zeros in every lane, or selecting by it mixes bits.
#[test]
fn masks_stay_masks() {
    for t in targets() {
        for d in [DType::F32, DType::I64] {
            let n = lanes(d);
            let k = map_kernel(&[d, d], d, n, |b, v| {
                let c = b.op1(Op::Binary { f: Binary::Lt }, v, vector(DType::Bool, n));
                let c = b.op1(Op::Unary { f: Unary::Not }, &[c], vector(DType::Bool, n));
                b.op1(Op::Select {}, &[c, v[0], v[1]], vector(d, n))
            });
            let (xs, ys) = pairs(d);
            let zs = run(&k, &t, n, &[(d, xs.clone()), (d, ys.clone())], d);
            for ((x, y), z) in xs.iter().zip(&ys).zip(zs) {
                let want = if Binary::Lt.eval(d, *x, *y).as_bool() { *y } else { *x };
                assert!(same(z, want), "{}: {d}: {x:?}, {y:?} -> {z:?}", t.name);
            }
        }
    }
}

/// Divisors, shift amounts and bounds that are known while compiling take other paths.
#[test]
fn binary_with_constants() {
    for t in targets() {
        for d in [DType::I32, DType::I64, DType::U8, DType::I8, DType::U32, DType::U64, DType::F32] {
            for f in Binary::ALL {
                let skip = matches!(f, Binary::And | Binary::Or | Binary::Xor | Binary::Shl | Binary::Shr | Binary::Pow);
                if d.is_float() && skip {
                    continue;
                }
                let (xs, out) = (edges(d), f.result_dtype(d));
                for c in [0, 1, 2, 3, 7, 8, 12, -1, -2, -5, 31, 40, i64::MIN] {
                    let c = if d.is_float() { Scalar::Float(c as f64) } else { Scalar::Int(c).wrap(d) };
                    for n in [1, lanes(d)] {
                        let k = map_kernel(&[d], out, n, |b, v| {
                            let c = b.op1(Op::Const { value: c }, &[], vector(d, n));
                            b.op1(Op::Binary { f: *f }, &[v[0], c], vector(out, n))
                        });
                        let ys = run(&k, &t, n, &[(d, xs.clone())], out);
                        for (x, y) in xs.iter().zip(ys) {
                            let want = f.eval(d, *x, c);
                            assert!(same(y, want), "{}: {f} {d} x{n}: {x:?}, {c:?} -> {y:?}, not {want:?}", t.name);
                        }
                    }
                }
            }
        }
    }
}

/// What a cast means: of integers through their own type, not through i64 as all u64 beyond would.
fn cast(from: DType, to: DType, x: Scalar) -> Scalar {
    match (x, to) {
        (Scalar::Int(k), DType::F32 | DType::F16 | DType::BF16) => {
            let f = if from == DType::U64 { k as u64 as f32 } else { k as f32 };
            Scalar::Float(f64::from(f)).wrap(to)
        }
        (Scalar::Int(k), DType::F64) if from == DType::U64 => Scalar::Float(k as u64 as f64),
        (Scalar::Float(f), DType::F16 | DType::BF16) => Scalar::Float(f64::from(f as f32)).wrap(to),
        _ => x.wrap(to),
    }
}

#[test]
fn casts() {
    for t in targets() {
        for from in computed() {
            for to in computed() {
                let xs = edges(*from);
                for n in [1, lanes(*from)] {
                    if n != 1 && n != lanes(*to) {
                        continue;
                    }
                    let k = map_kernel(&[*from], *to, n, |b, v| b.op1(Op::Cast {}, v, vector(*to, n)));
                    let ys = run(&k, &t, n, &[(*from, xs.clone())], *to);
                    for (x, y) in xs.iter().zip(ys) {
                        let want = cast(*from, *to, *x);
                        assert!(same(y, want), "{}: {from} to {to} x{n}: {x:?} -> {y:?}, not {want:?}", t.name);
                    }
                }
            }
        }
    }
}

/// All 65536 half floats up, and all of them and their neighbours down.
#[test]
fn half_floats() {
    let t = targets().pop().unwrap();
    for d in [DType::F16, DType::BF16] {
        let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let halves = scalars(d, &all);
        let singles: Vec<_> = halves
            .iter()
            .flat_map(|h| {
                let bits = (h.as_f64() as f32).to_bits();
                // Ties between two halves, and their neighbours.
                let tie = if d == DType::F16 { 1 << 12 } else { 1 << 15 };
                [bits, bits + 1, bits.wrapping_sub(1), bits + tie, bits + tie + 1, bits + tie - 1]
            })
            .map(|bits| Scalar::Float(f64::from(f32::from_bits(bits))))
            .collect();
        for n in [1, 4] {
            let up = map_kernel(&[d], DType::F32, n, |b, v| b.op1(Op::Cast {}, v, vector(DType::F32, n)));
            for (x, y) in halves.iter().zip(run(&up, &t, n, &[(d, halves.clone())], DType::F32)) {
                assert!(same(*x, y), "{d} x{n}: {x:?} -> {y:?}");
            }
            let down = map_kernel(&[DType::F32], d, n, |b, v| b.op1(Op::Cast {}, v, vector(d, n)));
            for (x, y) in singles.iter().zip(run(&down, &t, n, &[(DType::F32, singles.clone())], d)) {
                let single = x.as_f64() as f32;
                let want = if d == DType::F16 { half::f16::from_f32(single).to_f64() } else { half::bf16::from_f32(single).to_f64() };
                assert!(same(Scalar::Float(want), y), "to {d} x{n}: {x:?} -> {y:?}, not {want:?}");
            }
        }
    }
}

#[test]
fn lanes_and_bits() {
    let t = targets().pop().unwrap();
    for d in computed() {
        let (n, xs) = (lanes(*d), edges(*d));
        // Reverse the lanes of each group by extract and insert.
        let k = map_kernel(&[*d], *d, n, |b, v| {
            let mut y = v[0];
            for lane in 0..n {
                let s = b.op1(Op::Extract { lane: n - 1 - lane }, &[v[0]], LoopType::Scalar(*d));
                y = b.op1(Op::Insert { lane }, &[y, s], vector(*d, n));
            }
            y
        });
        let full = xs.len() / n as usize * n as usize;
        let ys = run(&k, &t, n, &[(*d, xs[..full].to_vec())], *d);
        for (group, out) in xs.chunks_exact(n as usize).zip(ys.chunks_exact(n as usize)) {
            assert!(group.iter().rev().zip(out).all(|(a, b)| same(*a, *b)), "{d}: {group:?} {out:?}");
        }
        // Broadcast lane 1, and select against the input by a comparison with it.
        let k = map_kernel(&[*d], *d, n, |b, v| {
            let s = b.op1(Op::Extract { lane: 1 }, &[v[0]], LoopType::Scalar(*d));
            let s = b.op1(Op::Splat {}, &[s], vector(*d, n));
            let c = b.op1(Op::Binary { f: Binary::Lt }, &[v[0], s], vector(DType::Bool, n));
            b.op1(Op::Select {}, &[c, s, v[0]], vector(*d, n))
        });
        let ys = run(&k, &t, n, &[(*d, xs[..full].to_vec())], *d);
        for (group, out) in xs.chunks_exact(n as usize).zip(ys.chunks_exact(n as usize)) {
            for (x, y) in group.iter().zip(out) {
                let want = if Binary::Lt.eval(*d, *x, group[1]).as_bool() { group[1] } else { *x };
                assert!(same(*y, want), "{d}: {x:?} and {:?} -> {y:?}", group[1]);
            }
        }
    }
    for (from, to) in
        [(DType::F32, DType::I32), (DType::F16, DType::I16), (DType::I16, DType::U16), (DType::I64, DType::F64), (DType::U8, DType::I8)]
    {
        for n in [1, lanes(from)] {
            let xs = edges(from);
            let k = map_kernel(&[from], to, n, |b, v| b.op1(Op::Bitcast {}, v, vector(to, n)));
            let ys = run(&k, &t, n, &[(from, xs.clone())], to);
            assert_eq!(bytes(from, &xs), bytes(to, &ys), "{from} as {to} x{n}");
        }
    }
}

#[test]
fn fma_multiplies_and_adds() {
    for t in targets() {
        for d in computed() {
            for n in [1, lanes(*d)] {
                let k = map_kernel(&[*d, *d], *d, n, |b, v| b.op1(Op::Fma {}, &[v[0], v[1], v[0]], vector(*d, n)));
                let (xs, ys) = pairs(*d);
                let zs = run(&k, &t, n, &[(*d, xs.clone()), (*d, ys.clone())], *d);
                for ((x, y), z) in xs.iter().zip(&ys).zip(zs) {
                    let p = Binary::Mul.eval(*d, *x, *y);
                    let mut ok = same(z, Binary::Add.eval(*d, p, *x));
                    if *d == DType::F32 {
                        ok |= same(z, Scalar::Float(f64::from((x.as_f64() as f32).mul_add(y.as_f64() as f32, x.as_f64() as f32))));
                    } else if d.is_float() {
                        let fused = x.as_f64().mul_add(y.as_f64(), x.as_f64());
                        ok |= same(z, Scalar::Float(fused).wrap(*d))
                            || (*d != DType::F64 && same(z, Scalar::Float(f64::from(fused as f32)).wrap(*d)));
                    }
                    assert!(ok, "{}: {d} x{n}: {x:?} * {y:?} + {x:?} -> {z:?}", t.name);
                }
            }
        }
    }
}

/// Code for the other architecture is made here too, though only its machines (or an emulator) can run it.
#[test]
fn all_ops_compile_for_aarch64() {
    for t in all_targets().into_iter().filter(|t| t.arch == odc_backend::Arch::Aarch64) {
        let compile = |f: odc_ir::loops::Func| {
            backend(&t).compile(&f, &t).unwrap_or_else(|e| panic!("{e}\n{}", text(&f)));
        };
        for d in computed() {
            for n in [1, lanes(*d)] {
                for f in Unary::ALL.iter().filter(|f| !f.is_transcendental()) {
                    if !((*f == Unary::Not && d.is_float()) || (*f == Unary::Sqrt && !d.is_float())) {
                        let out = f.result_dtype(*d);
                        compile(map_kernel(&[*d], out, n, |b, v| b.op1(Op::Unary { f: *f }, v, vector(out, n))));
                    }
                }
                for f in Binary::ALL {
                    let bits = matches!(f, Binary::And | Binary::Or | Binary::Xor | Binary::Shl | Binary::Shr | Binary::Pow);
                    if !(bits && d.is_float()) {
                        let out = f.result_dtype(*d);
                        compile(map_kernel(&[*d, *d], out, n, |b, v| b.op1(Op::Binary { f: *f }, v, vector(out, n))));
                    }
                }
                for to in computed().filter(|to| n == 1 || lanes(**to) == n) {
                    compile(map_kernel(&[*d], *to, n, |b, v| b.op1(Op::Cast {}, v, vector(*to, n))));
                }
            }
        }
    }
}
