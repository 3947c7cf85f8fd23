//! Random graphs of dispatches (chains, diamonds, residuals, several outputs, views, symbolic sizes) and the rules that any plan
//! keeps.

use super::*;
use odc_ir::core::Block;
use odc_ir::core::{Builder, Const, DType, Func, Loc, Origin, Scalar, Sym, Symbol, TensorType, TensorValue, Value, parse_dim};
use odc_ir::loops::{self, Loop, Space};
use odc_ir::program::{Command, Kernel, parse_program, verify_program};
use odc_ir::tensor::{self, Op, Schedule, Tensor};

/// xorshift: the tests must not depend on a seed from outside.
struct Rng(u64);
impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

fn map(b: &mut Builder<Tensor>, operands: &[Value], shape: &[Dim]) -> Value {
    let ty = TensorType::new(DType::F32, shape);
    let axes: tensor::Axes = shape.iter().enumerate().map(|(k, d)| (Sym::new(&format!("i{k}")), d.clone())).collect();
    let at: Vec<Dim> = axes.iter().map(|(s, _)| Dim::from(s)).collect();
    let types: Vec<TensorType> = operands.iter().map(|v| b.ty(*v).clone()).collect();
    let region: Block<Tensor> = b.block(&types, |b, args| {
        let mut body = tensor::Program::new();
        let mut sum = body.constant(DType::F32, 1.0);
        for (k, ty) in types.iter().enumerate() {
            // Operands of another shape are read at their first element.
            let index = if ty.shape == shape { at.clone() } else { vec![Dim::ZERO; ty.rank()] };
            let x = body.load(k as u32, DType::F32, index);
            sum = body.binary(odc_ir::core::Binary::Add, sum, x);
        }
        let body = body.returning(sum);
        vec![b.op1(Op::Map { axes: axes.clone(), store: at.clone(), body }, args, ty.clone())]
    });
    b.region_op(Op::Dispatch { schedule: Schedule::loops(0, 1) }, operands, &[TensorType::new(DType::F32, shape)], vec![region])[0]
}

fn kernel(name: &str, buffers: usize, dims: Vec<Dim>) -> Kernel {
    let mut func = loops::Func::new(name);
    for k in 0..buffers {
        func.param(&format!("b{k}"), loops::LoopType::Ptr(DType::F32, Space::Global));
    }
    for k in 0..dims.len() {
        func.param(&format!("d{k}"), loops::LoopType::Index);
    }
    Builder::<Loop>::new(&mut func).finish(&[]);
    Kernel { func, dims, grid: Dim::ONE, grain: Dim::ONE, scratch_bytes: Dim::ZERO, note: String::new() }
}

fn kernels(m: &Module) -> Vec<Kernel> {
    let main = m.main().unwrap();
    let calls = main.body.ops.iter().filter(|o| matches!(o.op, Op::Dispatch { .. }));
    calls
        .enumerate()
        .map(|(k, o)| {
            kernel(&format!("k{k}"), o.operands.len() + o.results.len(), o.results.iter().map(|r| main.ty(*r).elements()).collect())
        })
        .collect()
}

fn module(symbols: &[(&str, i64, Option<i64>)], build: impl FnOnce(&mut Builder<Tensor>, Value) -> Vec<Value>) -> Module {
    let mut m = Module::new("t");
    let mut shape: Vec<Dim> = vec![];
    for (axis, (s, lo, hi)) in symbols.iter().enumerate() {
        let origin = Some(Origin { input: "x".into(), axis });
        m.symbols.insert(Sym::new(s), Symbol { lo: *lo, hi: *hi, multiple_of: 1, origin, most: None });
        shape.push(Dim::sym(s));
    }
    shape.push(16.into());
    m.add_const(Const::from_scalars(DType::F32, &[1], [Scalar::Float(1.0)]));
    m.add_const(Const::from_scalars(DType::F32, &[2], [Scalar::Float(1.0), Scalar::Float(2.0)]));
    let mut f = Func::new("main");
    let x = f.param("x", TensorType::new(DType::F32, shape));
    let mut b = Builder::new(&mut f);
    let outs = build(&mut b, x);
    let named: Vec<_> = outs.into_iter().enumerate().map(|(k, v)| (format!("y{k}"), v)).collect();
    b.finish(&named);
    m.funcs.push(f);
    m
}

fn random(seed: u64, n: usize, shapes: &[Vec<Dim>], symbols: &[(&str, i64, Option<i64>)]) -> Module {
    let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    module(symbols, |b, x| {
        let mut values = vec![x];
        for k in 0..n {
            b.loc = Loc::new(&format!("/node{k}"));
            let near = values.len().min(if rng.below(5) == 0 { values.len() } else { 3 });
            let mut operands = vec![];
            for _ in 0..1 + rng.below(3) {
                let v = values[values.len() - 1 - rng.below(near)];
                if !operands.contains(&v) {
                    operands.push(v);
                }
            }
            let same = b.ty(operands[0]).shape.clone();
            let shape = if rng.below(3) == 0 && operands[0] != x { same } else { shapes[rng.below(shapes.len())].clone() };
            let v = map(b, &operands, &shape);
            values.push(v);
            if rng.below(6) == 0 {
                let flat = TensorType::new(DType::F32, vec![Dim::product(&shape)]);
                let v = b.op1(Op::View {}, &[v], flat);
                values.push(v);
            }
        }
        let mut outs = vec![values[values.len() - 1]];
        if rng.below(2) == 0 {
            outs.push(values[values.len() / 2]);
        }
        outs
    })
}

fn shapes(texts: &[&[&str]]) -> Vec<Vec<Dim>> {
    texts.iter().map(|s| s.iter().map(|d| parse_dim(d).unwrap()).collect()).collect()
}

fn sound(p: &Program) {
    let errors = verify_program(p);
    assert!(errors.is_empty(), "{}\n{p}", errors.iter().map(|e| e.to_string()).collect::<Vec<_>>().join("\n"));
    let blobs = odc_ir::core::no_blobs;
    assert_eq!(parse_program(&p.to_string(), &blobs).unwrap(), *p);
}

#[test]
fn static_graphs_pack_close_to_what_is_alive() {
    let shapes = shapes(&[&["100"], &["1000"], &["37", "11"], &["64", "64"], &["7"], &["3", "1500"]]);
    let (mut worst, mut sum) = (0f64, 0f64);
    for seed in 1..=60 {
        let m = random(seed, 10 + seed as usize, &shapes, &[]);
        let p = plan(&m, kernels(&m)).unwrap();
        sound(&p);
        assert_eq!(p, plan(&m, kernels(&m)).unwrap());
        let r = report(&p).unwrap();
        let ratio = r.arena_bytes as f64 / r.live_bytes.max(1) as f64;
        (worst, sum) = (worst.max(ratio), sum + ratio);
        assert!(ratio <= 1.3, "seed {seed}: {} bytes for {} alive", r.arena_bytes, r.live_bytes);
    }
    println!("arena over live bytes: worst {worst:.3}, mean {:.3}", sum / 60.0);
}

#[test]
fn symbolic_graphs_are_sound_and_near() {
    let shapes = shapes(&[
        &["n", "16"],
        &["n", "s", "16"],
        &["n", "4", "s", "s"],
        &["s", "7"],
        &["n", "64"],
        &["100"],
        &["n", "floordiv(s + 1, 2)", "32"],
    ]);
    let mut ratios = vec![];
    for seed in 1..=60 {
        let m = random(seed, 8 + seed as usize / 2, &shapes, &[("n", 1, Some(64)), ("s", 1, None)]);
        let p = plan(&m, kernels(&m)).unwrap();
        sound(&p);
        assert_eq!(p, plan(&m, kernels(&m)).unwrap());
        for b in p.samples() {
            let r = report_at(&p, b).unwrap();
            ratios.push(r.arena_bytes as f64 / r.live_bytes.max(1) as f64);
        }
    }
    let (mean, worst) = (ratios.iter().sum::<f64>() / ratios.len() as f64, ratios.iter().copied().fold(0.0, f64::max));
    println!("arena over live bytes: worst {worst:.3}, mean {mean:.3}");
    assert!(mean <= 1.1 && worst <= 2.5);
}

/// What a dispatch computes in the next test: every element from the kernel's name and all bytes that it reads.
fn digest(seed: &str, reads: &[&[u8]], elements: usize) -> Vec<u8> {
    let mut h = 0xcbf2_9ce4_8422_2325u64;
    let mut eat = |b: u8| h = (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
    seed.bytes().for_each(&mut eat);
    reads.iter().for_each(|r| r.iter().for_each(|b| eat(*b)));
    let mut rng = Rng(h | 1);
    (0..elements).flat_map(|_| (rng.below(1 << 20) as f32).to_le_bytes()).collect()
}

/// Planned programs compute what the module says, on poisoned memory: every value from digests of its operands.
#[test]
fn planned_memory_keeps_every_value() {
    let shapes = shapes(&[&["n", "16"], &["n", "s"], &["s", "7"], &["n", "3"], &["100"], &["n", "floordiv(s + 1, 2)"]]);
    for seed in 1..=60u64 {
        let m = random(seed, 6 + seed as usize / 2, &shapes, &[("n", 1, Some(64)), ("s", 1, None)]);
        // Every kernel is another one: its index count tells which, so that none are merged.
        let mut ks = kernels(&m);
        for (k, kernel) in ks.iter_mut().enumerate() {
            for d in 0..k {
                kernel.func.param(&format!("x{d}"), loops::LoopType::Index);
                kernel.dims.push(Dim::ZERO);
            }
        }
        let p = plan(&m, ks).unwrap();
        for (n, s) in [(1, 1), (5, 9), (8, 2)] {
            let x = odc_ir::core::TensorValue::from_fn(DType::F32, &[n, s, 16], |i| Scalar::Float((i[0] + 3 * i[1] + 7 * i[2]) as f64))
                .unwrap();
            let got = odc_ir::program::run_with(&p, &[("x".into(), x.clone())], &mut |f, memory, buffers, how| {
                let (dims, (write, reads)) = (how.dims, buffers.split_last().unwrap());
                let reads: Vec<&[u8]> = reads.iter().map(|r| &memory[r.clone()]).collect();
                let out = digest(&dims.len().to_string(), &reads, dims[0] as usize);
                assert_eq!(f.body.args.len(), buffers.len() + dims.len());
                memory[write.clone()].copy_from_slice(&out);
                Ok(())
            })
            .unwrap();
            // The same without any sharing of memory.
            let main = m.main().unwrap();
            let size = |v: Value| main.ty(v).elements().eval(&|d| Some(if d.name() == "n" { n } else { s } as i64)).unwrap() as usize;
            let mut values: BTreeMap<Value, Vec<u8>> = BTreeMap::from([(main.body.args[0], x.to_bytes())]);
            let mut k = 0;
            for op in &main.body.ops {
                let reads: Vec<&[u8]> = op.operands.iter().map(|v| values[v].as_slice()).collect();
                let out = if matches!(op.op, Op::View {}) {
                    reads[0].to_vec()
                } else {
                    k += 1;
                    digest(&k.to_string(), &reads, size(op.results[0]))
                };
                values.insert(op.results[0], out);
            }
            for (v, t) in main.body.yields.iter().zip(&got) {
                assert!(values[v] == t.to_bytes(), "seed {seed}, n = {n}, s = {s}: another value in\n{p}");
            }
        }
    }
}

#[test]
fn equal_layers_are_one_kernel_and_reuse_memory() {
    let m = module(&[("n", 1, Some(4096))], |b, x| {
        let shape = [Dim::sym("n"), 16.into()];
        let mut v = x;
        for k in 0..12 {
            b.loc = Loc::new(&format!("/layer{k}"));
            v = map(b, &[v], &shape);
        }
        vec![v]
    });
    let p = plan(&m, kernels(&m)).unwrap();
    sound(&p);
    assert_eq!((p.kernels.len(), p.dispatch_count()), (1, 12));
    // Each layer overwrites its input, but for the first, whose input is the caller's.
    assert_eq!((p.slots.len(), p.arena_bytes.to_string().as_str()), (1, "64*n"));
    assert_eq!((p.kernel_loc(0).0.len(), p.kernels[0].name.as_str()), (12, "layer0"));
}

#[test]
fn a_symbolic_chain_of_products_needs_two_buffers() {
    let m = module(&[("n", 1, None)], |b, x| {
        let (wide, narrow) = ([Dim::sym("n"), 64.into()], [Dim::sym("n"), 16.into()]);
        let mut v = x;
        for k in 0..10 {
            v = map(b, &[v], if k % 2 == 0 { &wide } else { &narrow });
        }
        vec![v]
    });
    let p = plan(&m, kernels(&m)).unwrap();
    sound(&p);
    assert_eq!(p.arena_bytes.to_string(), "320*n");
}

#[test]
fn only_exact_reads_are_overwritten() {
    // y = x0 + first element of x0 reshaped: the operand dies, but others still read its first element.
    let m = module(&[], |b, x| {
        let v = map(b, &[x], &[8.into(), 4.into()]);
        let w = map(b, &[v], &[32.into()]);
        let u = map(b, &[w], &[32.into()]);
        vec![u]
    });
    let main = m.main().unwrap();
    let ok: Vec<bool> = main.body.ops.iter().map(|o| in_place::may_overwrite(main, o, 0, &m.ranges())).collect();
    assert_eq!(ok, [false, false, true]);
    let p = plan(&m, kernels(&m)).unwrap();
    sound(&p);
    assert_eq!(p.slots.len(), 2);
}

#[test]
fn outputs_may_be_inputs_constants_and_the_same_twice() {
    let m = module(&[], |b, x| {
        let c = b.op1(Op::Constant { value: ConstId(1) }, &[], TensorType::of(DType::F32, &[2]));
        let v = b.op1(Op::View {}, &[x], TensorType::of(DType::F32, &[4, 4]));
        let y = map(b, &[x], &[16.into()]);
        let z = map(b, &[y], &[16.into()]);
        vec![x, c, v, y, y, z]
    });
    let p = plan(&m, kernels(&m)).unwrap();
    sound(&p);
    let places: Vec<_> = p.outputs.iter().map(|(_, b)| *b).collect();
    let (input, weight) = (BufferRef::Input(0), BufferRef::Const { id: ConstId(0), offset: 0 });
    assert_eq!(places[..3], [input, weight, input]);
    assert_eq!(places[3], places[4]);
    // `y` is an output, so `z` must not overwrite it.
    assert_ne!(places[4], places[5]);
    assert_eq!(p.consts.len(), 1);
}

#[test]
fn orders_that_need_less_are_found() {
    // Two large values, each needed only for a small one; as given, both large ones are made first.
    let m = module(&[], |b, x| {
        let (large, small) = ([Dim::from(4096)], [Dim::from(16), Dim::ONE]);
        let (a, c) = (map(b, &[x], &large), map(b, &[x], &large));
        let (a, c) = (map(b, &[a], &small), map(b, &[c], &small));
        vec![map(b, &[a, c], &small)]
    });
    let p = plan(&m, kernels(&m)).unwrap();
    sound(&p);
    assert!(report(&p).unwrap().arena_bytes < 2 * 4096 * 4);
}

#[test]
fn wrong_programs_are_found() {
    let m = module(&[("n", 1, None)], |b, x| {
        let v = map(b, &[x], &[Dim::sym("n"), 16.into()]);
        let w = map(b, &[v, x], &[Dim::sym("n"), 8.into()]);
        vec![map(b, &[w, v], &[Dim::sym("n"), 4.into()])]
    });
    let good = plan(&m, kernels(&m)).unwrap();
    sound(&good);
    type Break = fn(&mut Program);
    let breaks: [(Break, &str); 7] = [
        (|p| p.slots.iter_mut().for_each(|s| s.offset = Dim::ZERO), "overlap"),
        (|p| p.arena_bytes = 64.into(), "leave an arena"),
        (|p| p.slots[0].offset = p.slots[0].offset.clone() + 4, "not aligned"),
        (|p| p.commands.reverse(), "read before"),
        (|p| p.kernels.clear(), "does not exist"),
        (|p| p.symbols.clear(), "no symbol"),
        (
            |p| {
                if let Some(Command::Dispatch { buffers, .. }) = p.commands.first_mut() {
                    buffers[1] = BufferRef::Input(0);
                }
            },
            "must not change",
        ),
    ];
    for (wrong, message) in breaks {
        let mut p = good.clone();
        wrong(&mut p);
        let errors: Vec<_> = verify_program(&p).iter().map(|e| e.to_string()).collect();
        assert!(errors.iter().any(|e| e.contains(message)), "{message}: {errors:?}");
    }
}

#[test]
fn what_cannot_be_planned_is_said() {
    let m = module(&[], |b, x| vec![map(b, &[x], &[16.into()])]);
    assert_eq!(plan(&m, vec![]), Err(PlanError::KernelCount { dispatches: 1, kernels: 0 }));
    let text = plan(&m, vec![kernel("k", 5, vec![])]).unwrap_err().to_string();
    assert!(text.contains("takes 5 buffers; its dispatch has 2"), "{text}");
    assert_eq!(plan(&Module::new("empty"), vec![]), Err(PlanError::NoFunction));
    let huge = module(&[("n", 1, None)], |b, x| vec![map(b, &[x], &[Dim::sym("n") * i64::MAX])]);
    assert!(matches!(plan(&huge, kernels(&huge)), Err(PlanError::Size { .. })));
}

#[test]
fn sizes_that_could_be_negative_are_checked() {
    let m = module(&[("h", 1, None)], |b, x| {
        let valid = [Dim::sym("h") - 100, Dim::sym("h") - 100];
        let v = map(b, &[x], &valid);
        vec![map(b, &[v], &[Dim::sym("h"), 3.into()])]
    });
    let p = plan(&m, kernels(&m)).unwrap();
    sound(&p);
    assert_eq!(p.checks.iter().map(|c| c.size.to_string()).collect::<Vec<_>>(), ["h - 100"]);
    assert!(p.samples().iter().all(|b| b.0.values().all(|h| *h >= 100)));
}

#[test]
fn large_symbolic_models_plan_quickly_into_short_code() {
    let s = |t: &str| parse_dim(t).unwrap();
    let m = module(&[("n", 1, Some(64)), ("s", 1, Some(512))], |b, x| {
        let (hidden, wide, scores) = ([s("n"), s("s"), s("64")], [s("n"), s("s"), s("256")], [s("n"), s("4"), s("s"), s("s")]);
        let mut h = map(b, &[x], &hidden);
        for _ in 0..60 {
            let (q, k, v) = (map(b, &[h], &hidden), map(b, &[h], &hidden), map(b, &[h], &hidden));
            let a = map(b, &[q, k], &scores);
            let a = map(b, &[a, v], &hidden);
            let r = map(b, &[a, h], &hidden);
            let f = map(b, &[r], &wide);
            let f = map(b, &[f], &hidden);
            h = map(b, &[f, r], &hidden);
        }
        vec![h]
    });
    let p = plan(&m, kernels(&m)).unwrap();
    sound(&p);
    for b in p.samples() {
        let r = report_at(&p, b).unwrap();
        assert!(r.arena_bytes * 100 <= r.live_bytes * 115, "{} bytes for {} alive: {}", r.arena_bytes, r.live_bytes, p.arena_bytes);
    }
    let mut code = odc_ir::program::ShapeCode::new(&p);
    for s in &p.slots {
        code.dim(&s.offset).unwrap();
        code.dim(&s.bytes).unwrap();
    }
    code.dim(&p.arena_bytes).unwrap();
    assert!(code.instrs().len() < 100, "{} instructions, arena {}", code.instrs().len(), p.arena_bytes);
}

/// Stages of a residual net over images of any size: no size is provably twice another, since halves are rounded up.
#[test]
fn halved_images_waste_little() {
    let m = module(&[("b", 1, None), ("h", 1, None), ("w", 1, None)], |b, x| {
        let half = |d: &Dim| (d + 1).floordiv(&2.into());
        let (mut h, mut w) = (half(&Dim::sym("h")), half(&Dim::sym("w")));
        let mut v = map(b, &[x], &[Dim::sym("b"), 64.into(), h.clone(), w.clone()]);
        for stage in 0..4 {
            let shape = |c: i64, h: &Dim, w: &Dim| [Dim::sym("b"), Dim::from(c << stage), h.clone(), w.clone()];
            let before = (h.clone(), w.clone());
            (h, w) = (half(&h), half(&w));
            for block in 0..3 {
                let from = if block == 0 { &before } else { &(h.clone(), w.clone()) };
                let narrow = map(b, &[v], &shape(64, &from.0, &from.1));
                let middle = map(b, &[narrow], &shape(64, &h, &w));
                let beside = if block == 0 { map(b, &[v], &shape(256, &h, &w)) } else { v };
                v = map(b, &[middle, beside], &shape(256, &h, &w));
            }
        }
        vec![v]
    });
    let p = plan(&m, kernels(&m)).unwrap();
    sound(&p);
    for sizes in [[1, 224, 224], [8, 97, 300], [1, 640, 480], [64, 64, 64]] {
        let at = odc_ir::core::Binding(["b", "h", "w"].into_iter().map(Sym::new).zip(sizes).collect());
        let r = report_at(&p, at).unwrap();
        assert!(r.arena_bytes * 100 <= r.live_bytes * 105, "{} bytes for {} alive at {sizes:?}", r.arena_bytes, r.live_bytes);
    }
}

#[test]
fn on_gpus_outputs_are_apart_and_nothing_is_bound_twice() {
    let m = module(&[("n", 1, None)], |b, x| {
        let shape = [Dim::sym("n"), 16.into()];
        let v = map(b, &[x], &shape);
        let same = b.op1(Op::View {}, &[v], TensorType::new(DType::F32, [Dim::sym("n") * 16]));
        let w = map(b, &[v, same], &shape);
        let y = map(b, &[w], &shape);
        vec![y, x, y]
    });
    let p = plan_with(&m, kernels(&m), &PlanOptions::GPU).unwrap();
    sound(&p);
    let places: Vec<_> = p.outputs.iter().map(|(_, b)| *b).collect();
    assert_eq!(places, [BufferRef::Output(0), BufferRef::Output(1), BufferRef::Output(2)]);
    let copies: Vec<_> = p.commands.iter().filter(|c| matches!(c, Command::Copy { .. })).map(|c| c.to_string()).collect();
    assert_eq!(copies, ["copy in 0 to out 1 size 64*n", "copy out 0 to out 2 size 64*n"]);
    let bound = p.commands.iter().filter_map(|c| match c {
        Command::Dispatch { buffers, bytes, .. } => Some((buffers.len(), bytes.len())),
        _ => None,
    });
    assert_eq!(bound.collect::<Vec<_>>(), [(2, 2), (2, 2), (2, 2)]);
    // The first reads an input, which is bound read-only: another kernel than the others.
    assert_eq!((p.kernels.len(), p.kernel_access(0), p.kernel_access(1)), (2, vec![false, true], vec![true, true]));
    assert_eq!(p.arena_bytes.to_string(), "512*floordiv(n + 3, 4)");
}

/// Scores, their softmax, and what follows: three kernels.
fn attention(softmax: &str) -> (Module, Program) {
    let text = format!(
        r#"graph module "m" {{
  func @main(%0 "x": f32[3, 8, 8]) {{
    %1 = matmul %0, %0 : f32[3, 8, 8] loc("scores")
    {softmax}
    %3 = matmul %2, %0 : f32[3, 8, 8] loc("values")
    yield %3 "y"
  }}
}}
"#
    );
    let g: odc_ir::graph::Module = odc_ir::core::parse_module(&text, &odc_ir::core::no_blobs).unwrap();
    let mut m = crate::lower_tensor::lower(&g).unwrap();
    crate::fuse::fuse(&mut m);
    crate::schedule::schedule(&mut m);
    m.funcs.iter_mut().for_each(|f| f.renumber());
    let mut kernels = crate::lower_loop::lower(&m).unwrap();
    kernels.iter_mut().for_each(|k| crate::expand::expand(&mut k.func));
    let p = plan(&m, kernels).unwrap();
    let x = TensorValue::from_fn(DType::F32, &[3, 8, 8], |i| Scalar::Float((i[0] * 5 + i[1] * 3 + i[2] * 7) as f64 % 11.0 / 8.0)).unwrap();
    let given = [("x".to_string(), x)];
    let (got, want) = (odc_ir::program::run(&p, &given).unwrap(), odc_ir::graph::interp::run(&g, &given).unwrap());
    odc_ir::core::assert_close(&got[0], &want[0], 1e-5, 1e-6).unwrap();
    (m, p)
}

#[test]
fn a_softmax_overwrites_its_scores() {
    let (m, p) = attention(r#"%2 = softmax {axis = 2, log = false} %1 : f32[3, 8, 8] loc("softmax")"#);
    let main = m.main().unwrap();
    let dispatches: Vec<_> = main.body.ops.iter().filter(|o| matches!(o.op, Op::Dispatch { .. })).collect();
    let ok: Vec<bool> = dispatches.iter().map(|o| in_place::may_overwrite(main, o, 0, &m.ranges())).collect();
    assert_eq!(ok, [false, true, false], "{m}");
    assert_eq!((p.slots.len(), p.arena_bytes.as_const()), (2, Some(2 * 3 * 8 * 8 * 4)), "{p}");
}

/// Were a stage to read another row than its own, that row could be overwritten before it is read.
#[test]
fn what_other_rows_read_is_not_overwritten() {
    let (mut m, _) = attention(r#"%2 = softmax {axis = 2, log = false} %1 : f32[3, 8, 8] loc("softmax")"#);
    let ranges = m.ranges();
    let main = &mut m.funcs[0];
    let at = main.body.ops.iter().position(|o| o.regions.first().is_some_and(|r| r.ops.len() > 1)).unwrap();
    let mut softmax = main.body.ops[at].clone();
    assert!(in_place::may_overwrite(main, &softmax, 0, &ranges));
    let Op::Reduce { body, .. } = &mut softmax.regions[0].ops[0].op else { panic!("{m}") };
    for e in &mut body.exprs {
        if let tensor::Expr::Load { index, .. } = e {
            index.swap(1, 2);
        }
    }
    assert!(!in_place::may_overwrite(main, &softmax, 0, &ranges));
}

#[test]
fn values_without_elements_share_no_place_on_gpus() {
    // A cache of no past steps beside what its dispatch writes.
    let m = module(&[("past", 0, None), ("n", 1, None)], |b, x| {
        let past = map(b, &[x], &[Dim::sym("past"), 16.into()]);
        let new = map(b, &[x], &[Dim::sym("n"), 16.into()]);
        let both = map(b, &[past, new], &[Dim::sym("past") + Dim::sym("n"), 16.into()]);
        vec![map(b, &[both, past], &[Dim::sym("n"), 16.into()])]
    });
    let p = plan_with(&m, kernels(&m), &PlanOptions::GPU).unwrap();
    sound(&p);
    for sizes in [[0, 1], [0, 7], [1, 1], [90, 3]] {
        let at = odc_ir::core::Binding(["past", "n"].into_iter().map(Sym::new).zip(sizes).collect());
        for c in &p.commands {
            let Command::Dispatch { buffers, .. } = c else { continue };
            let slots = buffers.iter().filter_map(|b| if let BufferRef::Arena(k) = b { p.slots.get(*k as usize) } else { None });
            let mut ranges: Vec<_> = slots.map(|s| (at.eval(&s.offset).unwrap(), at.eval(&s.bytes).unwrap().max(16))).collect();
            ranges.sort_unstable();
            assert!(ranges.windows(2).all(|w| w[0].0 + w[0].1 <= w[1].0), "{c} at {sizes:?}: {ranges:?}\n{p}");
        }
    }
}
