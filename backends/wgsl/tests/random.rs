//! Random kernels with loops, branches, vectors and memory that is read and written: naga accepts each. Where `ODC_GPU_TOOLS` says that
//! the tools of `tests/gpu` are installed (see `tests/gpu/env.sh`), a Vulkan device runs them too and agrees with the interpreter bit for bit.

mod common;

use common::*;
use odc_backend::GpuCode;
use odc_ir::core::{Binary, Builder, DType, Scalar, Unary, Value};
use odc_ir::loops::interp::{self, Buffer, Run};
use odc_ir::loops::{Block, Func, Loop, LoopKind, LoopType, Op, Space};
use std::path::{Path, PathBuf};
use std::process::Command;

const F: LoopType = LoopType::Scalar(DType::F32);
const I: LoopType = LoopType::Scalar(DType::I32);
const U: LoopType = LoopType::Scalar(DType::U32);
const B: LoopType = LoopType::Scalar(DType::Bool);
const F4: LoopType = LoopType::Vector(DType::F32, 4);
const I4: LoopType = LoopType::Vector(DType::I32, 4);
const F2: LoopType = LoopType::Vector(DType::F32, 2);
const N: LoopType = LoopType::Index;
const TYPES: &[LoopType] = &[F, I, U, B, F4, I4, F2, N];

const GROUPS: i64 = 4;
const WIDTH: i64 = 8;
/// Elements of an input.
const LEN: i64 = 64;
/// Elements of an output that belong to one invocation.
const OWN: i64 = 16;

struct Gen<'f> {
    seed: u64,
    b: Builder<'f, Loop>,
    pool: Vec<Value>,
    /// f32 and i32 read by elements, f32 read by vectors.
    inputs: [Value; 3],
    /// f32, i32, u32.
    outputs: [Value; 3],
    /// Where this invocation's elements begin.
    own: Value,
}

impl Gen<'_> {
    fn below(&mut self, n: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as usize % n
    }
    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
    fn int(&mut self, k: i64, t: LoopType) -> Value {
        self.b.op1(Op::Const { value: Scalar::Int(k) }, &[], t)
    }
    fn binary(&mut self, f: Binary, a: Value, b: Value, t: LoopType) -> Value {
        self.b.op1(Op::Binary { f }, &[a, b], t)
    }

    fn literal(&mut self, t: LoopType) -> Value {
        let value = match t.dtype() {
            DType::F32 => Scalar::Float(self.of(&[0.0, 1.0, -1.0, 0.5, 2.25, -3.75, 100.0])),
            DType::Bool => Scalar::Bool(self.below(2) == 0),
            DType::U32 => Scalar::Int(self.of(&[0, 1, 3, 255, 0x8000_0000, 0xffff_ffff])),
            DType::I32 => Scalar::Int(self.of(&[0, 1, -1, 7, -6, i64::from(i32::MIN), i64::from(i32::MAX)])),
            _ => Scalar::Int(self.of(&[0, 1, 2, 3, 5, 8])),
        };
        self.b.op1(Op::Const { value }, &[], t)
    }

    fn pick(&mut self, t: LoopType) -> Value {
        let fit: Vec<_> = self.pool.iter().copied().filter(|v| *self.b.ty(*v) == t).collect();
        if fit.is_empty() || self.below(8) == 0 { self.literal(t) } else { self.of(&fit) }
    }

    /// An index in `0..LEN/by`, times `by`.
    fn offset(&mut self, by: i64) -> Value {
        let (a, b) = (self.pick(N), self.pick(N));
        let f = self.of(&[Binary::Add, Binary::Sub, Binary::Max]);
        let (x, room) = (self.binary(f, a, b, N), self.int(LEN / by, N));
        let x = self.binary(Binary::Mod, x, room, N);
        if by == 1 {
            return x;
        }
        let by = self.int(by, N);
        self.binary(Binary::Mul, x, by, N)
    }

    /// An own element.
    fn slot(&mut self, lanes: u32) -> Value {
        let k = self.below(OWN as usize / lanes as usize) as i64 * i64::from(lanes);
        let k = self.int(k, N);
        self.binary(Binary::Add, self.own, k, N)
    }

    /// Small enough for the next operations.
    fn bounded(&mut self, v: Value, t: LoopType) -> Value {
        let (lo, hi) = match t {
            N => (Scalar::Int(-50), Scalar::Int(50)),
            _ => (Scalar::Float(-1000.0), Scalar::Float(1000.0)),
        };
        let (lo, hi) = (self.b.op1(Op::Const { value: lo }, &[], t), self.b.op1(Op::Const { value: hi }, &[], t));
        let v = self.binary(Binary::Max, v, lo, t);
        self.binary(Binary::Min, v, hi, t)
    }

    fn compute(&mut self) -> Value {
        let t = self.of(&[F, F, I, U, F4, I4, F2, N]);
        let (x, y) = (self.pick(t), self.pick(t));
        let d = t.dtype();
        match self.below(7) {
            0 => {
                let mut fs = vec![Unary::Neg, Unary::Abs, Unary::Sign];
                if d == DType::F32 {
                    fs.extend([Unary::Floor, Unary::Ceil, Unary::Trunc, Unary::Round]);
                } else if t != N {
                    fs.push(Unary::Not);
                }
                let f = self.of(&fs);
                self.b.op1(Op::Unary { f }, &[x], t)
            }
            1 | 2 if d == DType::F32 => {
                let f = self.of(&[Binary::Add, Binary::Sub, Binary::Mul, Binary::Min, Binary::Max]);
                let z = self.binary(f, x, y, t);
                self.bounded(z, t)
            }
            1 | 2 if t == N => {
                let f = self.of(&[Binary::Add, Binary::Sub, Binary::Mul, Binary::Min, Binary::Max]);
                let z = self.binary(f, x, y, t);
                self.bounded(z, t)
            }
            1 | 2 => {
                let fs = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Min, Binary::Max, Binary::And, Binary::Or, Binary::Xor];
                let f = self.of(&[&fs[..], &[Binary::Shl, Binary::Shr]].concat());
                self.binary(f, x, y, t)
            }
            3 => {
                // Divisors: powers of two, with which float division is exact, or any positive or negative integer.
                let value = match d {
                    DType::F32 => Scalar::Float(self.of(&[0.5, 2.0, -4.0, 1.0])),
                    DType::U32 => Scalar::Int(self.of(&[1, 3, 8])),
                    _ => Scalar::Int(self.of(&[1, 3, 8, -3, 64])),
                };
                let y = self.b.op1(Op::Const { value }, &[], t);
                let f = self.of(&[Binary::Div, Binary::Rem, Binary::FloorDiv, Binary::Mod]);
                let z = self.binary(f, x, y, t);
                if d == DType::F32 { self.bounded(z, t) } else { z }
            }
            4 => {
                let f = self.of(&[Binary::Eq, Binary::Ne, Binary::Lt, Binary::Le, Binary::Gt, Binary::Ge]);
                let c = self.binary(f, x, y, t.with_dtype(DType::Bool));
                if t.lanes() == 1 && self.below(2) == 0 {
                    let (a, f) = (self.pick(B), self.of(&[Binary::And, Binary::Or, Binary::Xor, Binary::Eq, Binary::Lt, Binary::Ge]));
                    return self.binary(f, c, a, B);
                }
                self.b.op1(Op::Select {}, &[c, x, y], t)
            }
            5 => match t.lanes() {
                1 if t != N => {
                    let (from, to) = (self.of(&[F, I, U, B]), self.of(&[F, I, U, B]));
                    let x = self.pick(from);
                    let z = self.b.op1(Op::Cast {}, &[x], to);
                    if to == F { self.bounded(z, F) } else { z }
                }
                1 => {
                    let x = self.pick(I);
                    let x = self.b.op1(Op::Cast {}, &[x], N);
                    self.bounded(x, N)
                }
                n => {
                    let s = self.pick(t.with_dtype(d));
                    let lane = self.below(n as usize) as u32;
                    let scalar = LoopType::Scalar(d);
                    let s = if *self.b.ty(s) == scalar { s } else { self.pick(scalar) };
                    match self.below(3) {
                        0 => self.b.op1(Op::Splat {}, &[s], t),
                        1 => self.b.op1(Op::Insert { lane }, &[x, s], t),
                        _ => self.b.op1(Op::Extract { lane }, &[x], scalar),
                    }
                }
            },
            _ if d == DType::F32 => {
                let k = Op::Const { value: Scalar::Float(self.of(&[0.5, -2.0, 1.0])) };
                let k = self.b.op1(k, &[], t);
                let z = self.b.op1(Op::Fma {}, &[x, k, y], t);
                self.bounded(z, t)
            }
            _ => {
                let (from, to) = self.of(&[(U, I), (I, U)]);
                let x = self.pick(from);
                self.b.op1(Op::Bitcast {}, &[x], to)
            }
        }
    }

    fn load(&mut self) -> Value {
        let [f, i, v] = self.inputs;
        let [fo, io, uo] = self.outputs;
        match self.below(8) {
            0 | 1 => {
                let at = self.offset(1);
                self.b.op1(Op::Load {}, &[f, at], F)
            }
            2 => {
                let (t, by) = self.of(&[(I, 1), (I4, 4)]);
                let at = self.offset(by);
                self.b.op1(Op::Load {}, &[i, at], t)
            }
            3 => {
                let at = self.offset(4);
                self.b.op1(Op::Load {}, &[v, at], F4)
            }
            n => {
                let (p, t) = [(fo, F), (io, I), (uo, U), (fo, F4)][n - 4];
                let at = self.slot(t.lanes());
                self.b.op1(Op::Load {}, &[p, at], t)
            }
        }
    }

    fn store(&mut self) {
        let [fo, io, uo] = self.outputs;
        let (p, t) = self.of(&[(fo, F), (fo, F4), (fo, F2), (io, I), (io, I4), (uo, U)]);
        let (at, v) = (self.slot(t.lanes()), self.pick(t));
        self.b.op(Op::Store {}, &[p, at, v], &[]);
    }

    /// A block whose values stay inside.
    fn nested(&mut self, args: &[LoopType], steps: usize, depth: usize, yields: &[LoopType]) -> Block {
        let before = self.pool.len();
        let args: Vec<_> = args.iter().map(|t| self.b.func.value(*t)).collect();
        let outer = std::mem::take(&mut self.b.block);
        self.b.block.args = args.clone();
        self.pool.extend(&args);
        self.steps(steps, depth);
        let results: Vec<_> = yields.iter().map(|t| self.pick(*t)).collect();
        let mut block = std::mem::replace(&mut self.b.block, outer);
        block.yields = results;
        self.pool.truncate(before);
        block
    }

    fn steps(&mut self, n: usize, depth: usize) {
        for _ in 0..n {
            match self.below(if depth > 0 { 10 } else { 8 }) {
                0..5 => {
                    let v = self.compute();
                    self.pool.push(v);
                }
                5 | 6 => {
                    let v = self.load();
                    self.pool.push(v);
                }
                7 => self.store(),
                8 => {
                    let types: Vec<_> = (0..self.below(4)).map(|_| self.of(TYPES)).collect();
                    let (lo, step) = (self.below(3) as i64, 1 + self.below(2) as i64);
                    let (lo, step) = (self.int(lo, N), self.int(step, N));
                    let trips = self.below(6) as i64;
                    let kind = self.of(&[LoopKind::Serial, LoopKind::Unrolled]);
                    let mut hi = self.int(trips, N);
                    if kind == LoopKind::Serial && self.below(2) == 0 {
                        let x = self.pick(N);
                        hi = self.binary(Binary::Min, x, hi, N);
                    }
                    let mut operands = vec![lo, hi, step];
                    operands.extend(types.iter().map(|t| self.pick(*t)).collect::<Vec<_>>());
                    let args: Vec<_> = std::iter::once(N).chain(types.iter().copied()).collect();
                    let steps = 1 + self.below(5);
                    let body = self.nested(&args, steps, depth - 1, &types);
                    let results = self.b.region_op(Op::For { kind }, &operands, &types, vec![body]);
                    self.pool.extend(results);
                }
                _ => {
                    let types: Vec<_> = (0..self.below(3)).map(|_| self.of(TYPES)).collect();
                    let c = self.pick(B);
                    let (yes, no) = (self.below(4), self.below(3));
                    let arms = vec![self.nested(&[], yes, depth - 1, &types), self.nested(&[], no, depth - 1, &types)];
                    let results = self.b.region_op(Op::If {}, &[c], &types, arms);
                    self.pool.extend(results);
                }
            }
        }
    }
}

fn kernel(seed: u64) -> Func {
    let mut func = Func::new(&format!("random_{seed}"));
    let ptr = |d| LoopType::Ptr(d, Space::Global);
    let inputs = [("f", DType::F32), ("i", DType::I32), ("v", DType::F32)].map(|(n, d)| func.param(n, ptr(d)));
    let outputs = [("out/f", DType::F32), ("out/i", DType::I32), ("out/u", DType::U32)].map(|(n, d)| func.param(n, ptr(d)));
    let sizes = [func.param("groups", N), func.param("n", N)];
    let mut g =
        Gen { seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), b: Builder::new(&mut func), pool: vec![], inputs, outputs, own: sizes[0] };
    let [zero, one, width, own] = [0, 1, WIDTH, OWN].map(|k| g.int(k, N));
    g.pool.push(sizes[1]);
    let args = [N, N].map(|t| g.b.func.value(t));
    let outside = std::mem::take(&mut g.b.block);
    g.b.block.args = vec![args[0]];
    let first = g.binary(Binary::Mul, args[0], width, N);
    let uniform = std::mem::take(&mut g.b.block);
    g.b.block.args = vec![args[1]];
    let place = g.binary(Binary::Add, first, args[1], N);
    g.own = g.binary(Binary::Mul, place, own, N);
    g.pool.extend(args);
    let steps = 6 + g.below(14);
    g.steps(steps, 3);
    (0..6).for_each(|_| g.store());
    let invocation = std::mem::replace(&mut g.b.block, uniform);
    g.b.region_op(Op::For { kind: LoopKind::Block }, &[zero, width, one], &[], vec![invocation]);
    let group = std::mem::replace(&mut g.b.block, outside);
    g.b.region_op(Op::For { kind: LoopKind::Grid }, &[zero, sizes[0], one], &[], vec![group]);
    g.b.finish(&[]);
    func.renumber();
    func
}

/// Kernels that a device runs: a software one compiles a few in a second.
const DEVICE: usize = 120;

const DIMS: [i64; 2] = [GROUPS, 5];

fn buffers() -> Vec<Buffer> {
    let own = (GROUPS * WIDTH * OWN) as usize;
    let f = |k: i64| Scalar::Float((k * 37 % 64) as f64 / 4.0 - 7.5);
    vec![
        Buffer::from_scalars(DType::F32, (0..LEN).map(f)),
        Buffer::from_scalars(
            DType::I32,
            (0..LEN).map(|k| Scalar::Int(if k % 9 == 0 { i64::from(i32::MIN) + k } else { k * 31 % 23 - 11 })),
        ),
        Buffer::from_scalars(DType::F32, (0..LEN).map(|k| f(k + 5))),
        Buffer::from_scalars(DType::F32, (0..own as i64).map(|k| f(k + 1))),
        Buffer::from_scalars(DType::I32, (0..own as i64).map(|k| Scalar::Int(k % 13 - 6))),
        Buffer::from_scalars(DType::U32, (0..own as i64).map(|k| Scalar::Int(k * 0x01f1_23bb))),
    ]
}

#[test]
fn naga_accepts_them_and_a_device_agrees() {
    let wgsl = target("wgsl");
    let kernels: Vec<(Func, GpuCode)> = (0..300)
        .map(|seed| {
            let func = kernel(seed);
            let code = compile(&wgsl, &func).unwrap_or_else(|e| panic!("{e}"));
            (func, code)
        })
        .collect();
    assert_eq!(kernels[7].1, compile(&wgsl, &kernels[7].0).unwrap());
    if std::env::var_os("ODC_GPU_TOOLS").is_some() {
        let dir = std::env::temp_dir().join(format!("odc-wgsl-random-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        compare(&kernels[..DEVICE], &dir);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

/// Runs all kernels as one job of `tests/gpu/run_wgsl.mjs`, and in the interpreter.
fn compare(kernels: &[(Func, GpuCode)], dir: &Path) {
    let start = buffers();
    let sizes = Buffer::from_scalars(DType::I32, DIMS.into_iter().chain([0, 0]).map(Scalar::Int));
    for (k, b) in start.iter().chain([&sizes]).enumerate() {
        std::fs::write(dir.join(format!("in{k}")), &b.bytes).unwrap();
    }
    let (mut files, mut places, mut dispatches, mut reads) = (vec![], vec![], vec![], vec![]);
    let buffer = |k: usize, b: &Buffer| format!(r#"{{"size":{},"init":"in{k}"}}"#, b.bytes.len());
    places.extend(start[..3].iter().enumerate().map(|(k, b)| buffer(k, b)));
    places.push(buffer(6, &sizes));
    for (k, (_, code)) in kernels.iter().enumerate() {
        std::fs::write(dir.join(format!("{k}.wgsl")), &code.bytes).unwrap();
        files.push(format!(r#"{{"file":"{k}.wgsl","entry":"{}"}}"#, code.name));
        let first = places.len();
        let mut bindings: Vec<_> = (0..3).map(|b| format!(r#"{{"buffer":{b},"type":"read-only-storage"}}"#)).collect();
        for (b, source) in start.iter().enumerate().skip(3) {
            let at = first + b - 3;
            places.push(buffer(b, source));
            // What a kernel only reads, it declares so.
            let text = String::from_utf8_lossy(&code.bytes);
            let ty = if text.contains(&format!("@binding({b}) var<storage, read_write>")) { "storage" } else { "read-only-storage" };
            bindings.push(format!(r#"{{"buffer":{at},"type":"{ty}"}}"#));
            reads.push(format!(r#"{{"buffer":{at},"size":{},"file":"out{k}_{b}"}}"#, source.bytes.len()));
        }
        bindings.push(r#"{"buffer":3,"type":"uniform"}"#.into());
        dispatches.push(format!(r#"{{"kernel":{k},"bindings":[{}],"grid":[{GROUPS},1,1]}}"#, bindings.join(",")));
    }
    let [k, b, d, r] = [files, places, dispatches, reads].map(|l| l.join(",\n"));
    let job = dir.join("job.json");
    std::fs::write(&job, format!(r#"{{"kernels":[{k}],"buffers":[{b}],"dispatches":[{d}],"read":[{r}]}}"#)).unwrap();
    let gpu = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/gpu");
    let ran = Command::new(gpu.join("env.sh")).args(["lavapipe", "node"]).arg(gpu.join("run_wgsl.mjs")).arg(&job).output().unwrap();
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    for (k, (func, code)) in kernels.iter().enumerate() {
        let mut want = buffers();
        interp::run(func, &mut want, Run { dims: &DIMS, scratch: 0, grid: None, fused: true, subgroup: 32 }).unwrap();
        for (b, want) in want.iter().enumerate().skip(3) {
            let got = Buffer { dtype: want.dtype, bytes: std::fs::read(dir.join(format!("out{k}_{b}"))).unwrap() };
            let (got, want) = (got.scalars(), want.scalars());
            // -0 and 0 are one number.
            let same = |a: &Scalar, b: &Scalar| a == b || a.as_f64() == b.as_f64();
            if let Some(at) = (0..want.len()).find(|at| !same(&got[*at], &want[*at])) {
                let text = String::from_utf8_lossy(&code.bytes);
                panic!("kernel {k}, buffer {b}, element {at}: {:?} instead of {:?}\n{text}", got[at], want[at]);
            }
        }
    }
}
