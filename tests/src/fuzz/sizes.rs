//! Sizes and shape programs against plain integers.

use crate::choices::Choices;
use crate::generate::dims;
use odc_format::{Instr, ShapeBuilder, ShapeProgram, Slot};
use odc_ir::core::{DType, Origin, Sym, TensorType};
use odc_ir::program::{Port, Program, ShapeCode};

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
    p.inputs.push(Port { name: "x".into(), ty: TensorType::new(DType::F32, shape) });
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
