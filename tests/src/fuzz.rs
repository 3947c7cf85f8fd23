//! Bodies of the fuzz targets: a fuzzer's bytes in, a panic if odc panics or contradicts itself. The targets in `fuzz/` call them
//! without end, the suite calls them for a few seconds with fixed seeds.

use crate::choices::Choices;
use crate::filetest::close;
use crate::generate::{self, dims, inputs};
use crate::level::AnyModule;
use crate::pipeline;
use odc_format::{Arch, ArtifactView, Instr, ShapeBuilder, ShapeProgram, Slot};
use odc_ir::core::{Level, Module, Origin, Sym, TensorType, hex, parse_module};
use odc_ir::program::{Port, Program, ShapeCode};
use odc_ir::{graph, loops, tensor};
use odc_runtime::{Artifact, SessionOptions};
use std::sync::OnceLock;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// An ONNX file: diagnostics, or a module that verifies.
pub fn onnx_import(bytes: &[u8]) {
    let Ok(model) = odc_onnx::Model::from_bytes(bytes.to_vec()) else { return };
    match odc_onnx::import(&model, &odc_onnx::ImportOptions::default()) {
        Ok(m) => assert_eq!(graph::verify(&m).first(), None, "{m}"),
        Err(diagnostics) => assert!(!diagnostics.is_empty(), "refused without a reason"),
    }
}

pub fn parse_graph(bytes: &[u8]) {
    parse::<graph::Graph>(bytes, |m| drop(graph::verify(m)));
}
pub fn parse_tensor(bytes: &[u8]) {
    parse::<tensor::Tensor>(bytes, |m| drop(tensor::verify(m)));
}
pub fn parse_loop(bytes: &[u8]) {
    parse::<loops::Loop>(bytes, |m| drop(loops::verify(m)));
}

/// Text: an error with a place, or a module that the verifier answers and whose text gives the same text again.
fn parse<L: Level>(bytes: &[u8], verify: impl Fn(&Module<L>)) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(m) = parse_module::<L>(text, &odc_ir::core::no_blobs) else { return };
    verify(&m);
    let printed = m.to_string();
    let blobs = |hash: &str| m.consts.iter().find(|c| hex(&c.hash()) == hash).map(|c| c.bytes.clone());
    match parse_module::<L>(&printed, &blobs) {
        Ok(back) => assert_eq!(back.to_string(), printed, "of\n{text}"),
        Err(e) => panic!("its own print does not parse: {e}\n{printed}\nof\n{text}"),
    }
}

/// Text with a few characters changed, for seeds: random bytes alone seldom get past the first word.
pub fn damaged_text(module: &AnyModule, c: &mut Choices) -> Vec<u8> {
    let mut text = module.to_string().into_bytes();
    for _ in 0..1 + c.below(3) {
        let (at, from) = (c.below(text.len()), c.below(text.len()));
        match c.below(4) {
            0 => text[at] = *c.pick(b"0%#@-1 {}[](),:\"xn9e"),
            1 => drop(text.remove(at)),
            2 => text.insert(at, *c.pick(b"0%#@-1 {}[](),:\"xn9e")),
            _ => {
                // A piece from elsewhere.
                let piece: Vec<u8> = text[from..(from + 1 + c.below(12)).min(text.len())].to_vec();
                text.splice(at..(at + c.below(12)).min(text.len()), piece);
            }
        }
    }
    text
}

/// A compiled model for damage: weights, a symbolic size, several commands.
fn small_artifact() -> &'static [u8] {
    const MODEL: &str = r#"graph module "small" {
  dim n in 1..64 from "x" 0
  const #0 : f32[4, 3] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
  func @main(%0 "x": f32[n, 4]) {
    %1 = constant {value = #0} : f32[4, 3]
    %2 = matmul %0, %1 : f32[n, 3]
    %3 = softmax {axis = 1, log = false} %2 : f32[n, 3]
    yield %2 "logits", %3 "scores"
  }
}"#;
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let m = parse_module(MODEL, &odc_ir::core::no_blobs).expect("the model parses");
        pipeline::compile(&m, true).expect("the model compiles")
    })
}

/// Damage under right checksums (three bytes a change: where, what): an error, or an artifact that opens and tells its sizes.
/// Its kernels are not called: an artifact is trusted as far as its code is.
pub fn artifact(bytes: &[u8]) {
    assert!(Artifact::from_bytes(bytes.to_vec()).is_err() || bytes.len() > 160, "too short to be an artifact");
    let mut damaged = small_artifact().to_vec();
    let number = |at: usize| u64::from_le_bytes(damaged[at..at + 8].try_into().expect("eight bytes")) as usize;
    let (manifest, manifest_len) = (number(72), number(80));
    for change in bytes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % (manifest_len + 96);
        damaged[if at < 96 { 64 + at } else { manifest + at - 96 }] = change[2];
    }
    seal(&mut damaged);
    let Ok(view) = ArtifactView::parse(&damaged) else { return };
    let mut slots = vec![];
    let _ = view.manifest.shape_program.evaluate(|_, _| Some(i64::MAX), &mut slots);
    let _ = view.verify_weights();
    if let Ok(a) = Artifact::from_bytes(damaged) {
        let _ = a.arena_bytes_at(&[("n", i64::MAX)]);
        let _ = a.session(SessionOptions::default()).map(|s| s.memory().threads);
    }
}

/// Makes the checksums of an artifact with three sections right again, as an attacker would.
fn seal(bytes: &mut [u8]) {
    for entry in (64..160).step_by(32) {
        let at = |o: usize| u64::from_le_bytes(bytes[entry + o..entry + o + 8].try_into().expect("eight bytes")) as usize;
        let (offset, len) = (at(8), at(16));
        let sum = xxh3_64(bytes.get(offset..offset.saturating_add(len)).unwrap_or_default());
        bytes[entry + 24..entry + 32].copy_from_slice(&sum.to_le_bytes());
    }
    let mut hash = Xxh3::new();
    hash.update(&bytes[..24]);
    hash.update(&bytes[32..160]);
    bytes[24..32].copy_from_slice(&hash.digest().to_le_bytes());
}

/// Sizes: a random expression, its shape code and plain integers agree; random instructions give what their folded form gives.
pub fn shape_program(bytes: &[u8]) {
    let mut c = Choices::from_bytes(bytes);
    let tree = dims::Tree::random(&mut c, 4);
    let binding = dims::binding(&mut c);
    let mut p = Program::new("sizes");
    for (axis, (name, ..)) in dims::SYMBOLS.iter().enumerate() {
        p.symbols.insert(Sym::new(name), dims::symbol(name, Some(Origin { input: "x".into(), axis })));
    }
    let shape: Vec<_> = dims::SYMBOLS.iter().map(|(name, ..)| odc_ir::core::Dim::sym(name)).collect();
    p.inputs.push(Port { name: "x".into(), ty: TensorType::new(odc_ir::core::DType::F32, shape) });
    let mut code = ShapeCode::new(&p);
    let size = |axis: u32| dims::SYMBOLS.get(axis as usize).and_then(|(name, ..)| binding.get(&Sym::new(name)).copied());
    if let (Ok(reg), Some(expected)) = (code.dim(&tree.dim()), tree.value(&binding)) {
        let values = code.eval(&|_, axis| size(axis));
        assert_eq!(values.and_then(|v| v.get(reg.0 as usize).copied()), Some(expected), "{tree:?} at {binding:?}");
    }
    instructions(&mut c);
}

fn instructions(c: &mut Choices) {
    let mut plain = ShapeProgram::default();
    let mut builder = ShapeBuilder::new();
    let mut folded: Vec<Slot> = vec![];
    for k in 0..2 + c.below(20) {
        let (a, b) = (c.below(k.max(1)), c.below(k.max(1)));
        let make = |a: Slot, b: Slot, kind: usize, n: i64| match kind {
            0 => Instr::Const(n),
            1 => Instr::InputDim { input: 0, axis: n.rem_euclid(3) as u32 },
            2 => Instr::Add(a, b),
            3 => Instr::Sub(a, b),
            4 => Instr::Mul(a, b),
            5 => Instr::FloorDiv(a, b),
            6 => Instr::CeilDiv(a, b),
            7 => Instr::Mod(a, b),
            8 => Instr::Min(a, b),
            9 => Instr::Max(a, b),
            _ => Instr::AlignUp(a, 1 + n.unsigned_abs() as u32),
        };
        let kind = if k == 0 { c.below(2) } else { c.below(11) };
        let n = if c.chance(5) { *c.pick(&[i64::MAX, i64::MIN]) } else { c.between(-9, 70) };
        let n = if kind == 10 { n.rem_euclid(128) } else { n };
        plain.instrs.push(make(Slot(a as u32), Slot(b as u32), kind, n));
        let of = |s: usize| folded.get(s).copied().unwrap_or(Slot(0));
        let slot = builder.push(make(of(a), of(b), kind, n));
        folded.push(slot);
    }
    let small = builder.finish();
    let sizes = [c.between(0, 99), c.between(0, 7), c.between(0, 4000)];
    let dim = |_: u32, axis: u32| sizes.get(axis as usize).copied();
    let (mut x, mut y) = (vec![], vec![]);
    let (a, b) = (plain.evaluate(dim, &mut x), small.evaluate(dim, &mut y));
    assert_eq!(a.map_err(|e| e.fault), b.map_err(|e| e.fault), "{plain:?}\n{small:?}");
    for (k, v) in x.iter().enumerate().filter(|_| a.is_ok()) {
        assert_eq!(y.get(folded[k].index()), Some(v), "slot {k} of {plain:?}\n{small:?}");
    }
}

/// A random graph: the interpreter's results and those of the compiled code by the runtime, with one thread and two, at two sets
/// of sizes in one session.
pub fn differential(bytes: &[u8]) {
    if let Err(e) = compare(&mut Choices::from_bytes(bytes), true) {
        panic!("{e}");
    }
}

/// The differential test as a result: the text names the sizes and holds the module.
pub fn compare(c: &mut Choices, optimise: bool) -> Result<(), String> {
    let m = generate::graph::module(c);
    compare_module(&m, c, optimise).map_err(|e| format!("{e}\nmodule:\n{m}"))
}

pub fn compare_module(m: &graph::Module, c: &mut Choices, optimise: bool) -> Result<(), String> {
    if Arch::host().is_none() {
        return Ok(());
    }
    let any = AnyModule::Graph(m.clone());
    let params = any.inputs();
    let types: Vec<_> = m.main().map_or(vec![], |f| f.body.yields.iter().map(|v| f.ty(*v).dtype).collect());
    let artifact = Artifact::from_bytes(pipeline::compile(m, optimise)?).map_err(|e| format!("load: {e}"))?;
    let mut sessions = vec![];
    for threads in [1, 2] {
        sessions.push((threads, artifact.session(SessionOptions::threads(threads)).map_err(|e| e.to_string())?));
    }
    for _ in 0..2 {
        let binding = inputs::binding(c, &m.symbols);
        let given = inputs::inputs(c, &params, &binding).map_err(|e| e.to_string())?;
        let expected = any.run(&given).map_err(|e| format!("the interpreter: {e}"))?;
        for (threads, session) in &mut sessions {
            let at = |e: String| format!("{e}, with {threads} threads at {binding:?}");
            let got = pipeline::run(session, &given, &types).map_err(at)?;
            if got.len() != expected.len() {
                return Err(at(format!("{} results instead of {}", got.len(), expected.len())));
            }
            for ((name, x), (_, y)) in got.iter().zip(&expected) {
                close(x, y).map_err(|e| at(format!("`{name}`: {e}")))?;
            }
        }
    }
    Ok(())
}
