//! Random small kernels: compiled code and the interpreter of loop IR agree, on every CPU level that this machine runs.

use odc_backend::Feature;
use odc_cpu_tests::*;
use odc_ir::core::{Binary, Builder, DType, Scalar, Unary, Value};
use odc_ir::loops::interp::{self, Buffer, Run};
use odc_ir::loops::{Block, Func, Loop, LoopKind, LoopType, Op, verify_func};
use proptest::prelude::*;

const TYPES: &[DType] = &[DType::F32, DType::I32, DType::U8, DType::I8, DType::U16, DType::U32, DType::Bool];

/// A stream of choices.
struct Choice(u64);

impl Choice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

type B<'f> = Builder<'f, Loop>;

/// A value of type `d` from what there is, else a literal.
fn pick(c: &mut Choice, b: &mut B<'_>, pool: &[Value], d: DType, lanes: u32) -> Value {
    let fit: Vec<_> = pool.iter().copied().filter(|v| *b.ty(*v) == vector(d, lanes)).collect();
    if fit.is_empty() || c.below(8) == 0 {
        let value = c.of(&edges(d));
        return b.op1(Op::Const { value }, &[], vector(d, lanes));
    }
    c.of(&fit)
}

/// Adds one random op to the pool.
fn grow(c: &mut Choice, b: &mut B<'_>, pool: &mut Vec<Value>, lanes: u32, depth: u32) {
    let d = c.of(TYPES);
    let t = vector(d, lanes);
    let y = match c.below(8) {
        0 => {
            let mut fs = vec![Unary::Neg, Unary::Abs, Unary::Sign, Unary::Floor, Unary::Ceil, Unary::Trunc, Unary::Round, Unary::IsNan];
            fs.push(if d.is_float() { Unary::Sqrt } else { Unary::Not });
            let f = c.of(&fs);
            let x = pick(c, b, pool, d, lanes);
            b.op1(Op::Unary { f }, &[x], t.with_dtype(f.result_dtype(d)))
        }
        1..=3 => {
            // Minimum and maximum of zeros may have either sign, which a division would show.
            let fs: Vec<_> = Binary::ALL
                .iter()
                .copied()
                .filter(|f| !d.is_float() || f.is_compare() || matches!(f, Binary::Add | Binary::Sub | Binary::Mul | Binary::Div))
                .collect();
            let f = c.of(&fs);
            let (x, y) = (pick(c, b, pool, d, lanes), pick(c, b, pool, d, lanes));
            b.op1(Op::Binary { f }, &[x, y], t.with_dtype(f.result_dtype(d)))
        }
        4 => {
            let (x, y, z) = (pick(c, b, pool, d, lanes), pick(c, b, pool, d, lanes), pick(c, b, pool, d, lanes));
            b.op1(Op::Fma {}, &[x, y, z], t)
        }
        5 => {
            let from = c.of(TYPES);
            let x = pick(c, b, pool, from, lanes);
            b.op1(Op::Cast {}, &[x], t)
        }
        6 if depth < 2 && lanes == 1 => {
            let condition = pick(c, b, pool, DType::Bool, 1);
            let mut arm = |b: &mut B<'_>| -> Block {
                let mut pool = pool.clone();
                b.block(&[], |b, _| {
                    (0..c.below(4)).for_each(|_| grow(c, b, &mut pool, 1, depth + 1));
                    vec![pick(c, b, &pool, d, 1)]
                })
            };
            let arms = vec![arm(b), arm(b)];
            b.region_op(Op::If {}, &[condition], &[t], arms)[0]
        }
        7 if depth < 2 => {
            let [lo, hi, step] =
                [c.below(3), c.below(7), 1 + c.below(3)].map(|k| b.op1(Op::Const { value: Scalar::Int(k as i64) }, &[], LoopType::Index));
            let init = pick(c, b, pool, d, lanes);
            let kind = c.of(&[LoopKind::Serial, LoopKind::Unrolled]);
            let mut inner = pool.clone();
            let body = b.block(&[LoopType::Index, t], |b, args| {
                let counter = b.op1(Op::Cast {}, &[args[0]], LoopType::Scalar(DType::I32));
                let spread = if lanes == 1 { counter } else { b.op1(Op::Splat {}, &[counter], vector(DType::I32, lanes)) };
                inner.extend([spread, args[1]]);
                (0..1 + c.below(4)).for_each(|_| grow(c, b, &mut inner, lanes, depth + 1));
                vec![pick(c, b, &inner, d, lanes)]
            });
            b.region_op(Op::For { kind }, &[lo, hi, step, init], &[t], vec![body])[0]
        }
        _ => {
            let condition = pick(c, b, pool, DType::Bool, lanes);
            let (x, y) = (pick(c, b, pool, d, lanes), pick(c, b, pool, d, lanes));
            b.op1(Op::Select {}, &[condition, x, y], t)
        }
    };
    pool.push(y);
}

fn kernel(seed: u64, out: DType) -> (Func, u32) {
    let mut c = Choice(seed);
    let lanes = c.of(&[1, 4]);
    let f = map_kernel(TYPES, out, lanes, |b, inputs| {
        let mut pool = inputs.to_vec();
        (0..4 + c.below(16)).for_each(|_| grow(&mut c, b, &mut pool, lanes, 0));
        pick(&mut Choice(seed ^ 1), b, &pool[inputs.len()..], out, lanes)
    });
    (f, lanes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compiled_code_agrees_with_the_interpreter(seed: u64, out in prop::sample::select(TYPES)) {
        let (f, lanes) = kernel(seed, out);
        prop_assert_eq!(verify_func(&f), vec![]);
        let n = 24;
        let mut c = Choice(seed ^ 2);
        let inputs: Vec<Buffer> = TYPES.iter().map(|d| { let e = edges(*d); Buffer::from_scalars(*d, (0..n).map(|_| c.of(&e))) }).collect();
        let groups = (n / lanes as usize) as i64;
        for t in targets() {
            let mut buffers = inputs.clone();
            buffers.push(Buffer::zeros(out, n));
            let mut raw: Vec<_> = buffers.iter().map(|b| b.bytes.clone()).collect();
            let how = Run { dims: &[groups], scratch: 0, grid: None, fused: t.has(Feature::Fma) || !t.name.contains("x86"), subgroup: 1 };
            interp::run(&f, &mut buffers, how).map_err(|e| TestCaseError::fail(e.to_string()))?;
            Jit::compile(&f, &t).run(&mut raw, &[groups], 0, 0, groups);
            let compiled = scalars(out, raw.last().unwrap());
            for (k, (x, y)) in buffers.last().unwrap().scalars().into_iter().zip(compiled).enumerate() {
                prop_assert!(same(x, y), "{} element {k}: interpreter {x:?}, compiled {y:?}\n{}", t.name, text(&f));
            }
        }
    }
}
