//! Shape code: dims as numbered straight-line instructions, each computed once however many sizes need it. The artifact's
//! shape program is this, word for word.

use super::{Command, Program};
use crate::core::{Atom, Dim, Monomial, Sym, checked_floordiv, counted};
use std::collections::BTreeMap;

/// The result of one instruction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Reg(pub u32);

/// 64-bit integer arithmetic; an overflow refuses the input shapes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ShapeInstr {
    Const(i64),
    InputDim {
        input: u32,
        axis: u32,
    },
    /// What the `index`-th size command of the program says; `most` until then.
    Said {
        index: u32,
        most: Reg,
    },
    Add(Reg, Reg),
    Sub(Reg, Reg),
    Mul(Reg, Reg),
    /// Rounds toward minus infinity.
    FloorDiv(Reg, Reg),
    Min(Reg, Reg),
    Max(Reg, Reg),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeCodeError {
    #[error("size `{dim}` uses `{symbol}`, which no input's shape gives")]
    UnknownSymbol { symbol: String, dim: String },
    #[error("a size overflows 64 bits or is too complex")]
    Poison,
}

/// Builds the instructions: see the module's comment.
#[derive(Clone, Debug, Default)]
pub struct ShapeCode {
    instrs: Vec<ShapeInstr>,
    known: BTreeMap<ShapeInstr, Reg>,
    dims: BTreeMap<Dim, Reg>,
    symbols: BTreeMap<Sym, Source>,
    /// Sizes that data decides: the size command, and the bound.
    counts: BTreeMap<Sym, (u32, Dim)>,
}

/// The size of `axis` of `input` is `factor * symbol + plus`.
#[derive(Clone, Debug)]
struct Source {
    input: u32,
    axis: u32,
    factor: i64,
    plus: i64,
}

impl ShapeCode {
    /// Empty code over the symbols and inputs of `program`.
    pub fn new(program: &Program) -> Self {
        let mut code = ShapeCode::default();
        let sizes = program.commands.iter().filter_map(|c| if let Command::Size { size, .. } = c { Some(size) } else { None });
        for (index, size) in sizes.enumerate() {
            if let Some(s) = counted(&program.symbols, size)
                && let Some(most) = program.symbols.get(s).and_then(|f| f.most.clone())
            {
                code.counts.entry(s.clone()).or_insert((index as u32, most));
            }
        }
        for (s, facts) in &program.symbols {
            let Some(origin) = &facts.origin else { continue };
            let Some(input) = program.inputs.iter().position(|p| p.name == origin.input) else { continue };
            let size = program.inputs.get(input).and_then(|p| p.ty.shape.get(origin.axis));
            let Some((factor, plus)) = size.and_then(|d| d.linear_in(s)) else { continue };
            if let (Some(factor @ 1..), Some(plus)) = (factor.as_const(), plus.as_const()) {
                code.symbols.insert(s.clone(), Source { input: input as u32, axis: origin.axis as u32, factor, plus });
            }
        }
        code
    }

    /// Instruction k defines `Reg(k)`.
    pub fn instrs(&self) -> &[ShapeInstr] {
        &self.instrs
    }

    /// The register that holds `dim`.
    pub fn dim(&mut self, dim: &Dim) -> Result<Reg, ShapeCodeError> {
        if let Some(r) = self.dims.get(dim) {
            return Ok(*r);
        }
        if dim.is_poison() {
            return Err(ShapeCodeError::Poison);
        }
        let reg = match dim.as_const() {
            Some(c) => self.constant(c),
            None => self.sum(dim)?,
        };
        self.dims.insert(dim.clone(), reg);
        Ok(reg)
    }

    fn constant(&mut self, c: i64) -> Reg {
        self.push(ShapeInstr::Const(c))
    }

    fn push(&mut self, i: ShapeInstr) -> Reg {
        if let Some(r) = self.known.get(&i) {
            return *r;
        }
        let r = Reg(self.instrs.len() as u32);
        self.instrs.push(i);
        self.known.insert(i, r);
        r
    }

    /// Positive terms first, so that what is subtracted is subtracted from something.
    fn sum(&mut self, dim: &Dim) -> Result<Reg, ShapeCodeError> {
        let (plus, minus): (Vec<_>, Vec<_>) = dim.terms().iter().partition(|(_, c)| *c >= 0);
        let mut total = None;
        for (m, c) in plus {
            let t = self.term(m, *c, dim)?;
            total = Some(match total {
                None => t,
                Some(sum) => self.push(ShapeInstr::Add(sum, t)),
            });
        }
        let mut total = match total {
            Some(t) => t,
            None => self.constant(0),
        };
        for (m, c) in minus {
            let c = c.checked_neg().ok_or(ShapeCodeError::Poison)?;
            let t = self.term(m, c, dim)?;
            total = self.push(ShapeInstr::Sub(total, t));
        }
        Ok(total)
    }

    fn term(&mut self, m: &Monomial, c: i64, whole: &Dim) -> Result<Reg, ShapeCodeError> {
        let mut product = None;
        for (a, e) in m.factors() {
            let x = self.atom(a, whole)?;
            for _ in 0..*e {
                product = Some(match product {
                    None => x,
                    Some(p) => self.push(ShapeInstr::Mul(p, x)),
                });
            }
        }
        Ok(match (product, c) {
            (None, c) => self.constant(c),
            (Some(p), 1) => p,
            (Some(p), c) => {
                let c = self.constant(c);
                self.push(ShapeInstr::Mul(p, c))
            }
        })
    }

    fn atom(&mut self, a: &Atom, whole: &Dim) -> Result<Reg, ShapeCodeError> {
        let unknown = |s: &Sym| ShapeCodeError::UnknownSymbol { symbol: s.to_string(), dim: whole.to_string() };
        let (x, y) = match a {
            Atom::Sym(s) => {
                if let Some((index, most)) = self.counts.get(s).cloned() {
                    return self.said(index, &most);
                }
                return self.symbol(s).ok_or_else(|| unknown(s));
            }
            Atom::FloorDiv(x, y) | Atom::Min(x, y) | Atom::Max(x, y) => (self.dim(x)?, self.dim(y)?),
        };
        Ok(self.push(match a {
            Atom::FloorDiv(..) => ShapeInstr::FloorDiv(x, y),
            Atom::Min(..) => ShapeInstr::Min(x, y),
            Atom::Max(..) | Atom::Sym(_) => ShapeInstr::Max(x, y),
        }))
    }

    /// The number that the `index`-th size command says, which is at most `most`.
    pub fn said(&mut self, index: u32, most: &Dim) -> Result<Reg, ShapeCodeError> {
        let most = self.dim(most)?;
        Ok(self.push(ShapeInstr::Said { index, most }))
    }
    /// The least of two sizes.
    pub fn least(&mut self, a: Reg, b: Reg) -> Reg {
        self.push(ShapeInstr::Min(a, b))
    }

    /// An input's size solved for a symbol. That the division leaves no rest is the reader's to check: it compares every axis of
    /// every input with its dim.
    fn symbol(&mut self, s: &Sym) -> Option<Reg> {
        let Source { input, axis, factor, plus } = self.symbols.get(s)?.clone();
        let mut x = self.push(ShapeInstr::InputDim { input, axis });
        if plus != 0 {
            let plus = self.constant(plus);
            x = self.push(ShapeInstr::Sub(x, plus));
        }
        if factor != 1 {
            let factor = self.constant(factor);
            x = self.push(ShapeInstr::FloorDiv(x, factor));
        }
        Some(x)
    }

    /// All registers under the inputs' sizes; `None` on overflow, division by zero or a missing size.
    pub fn eval(&self, input_dim: &dyn Fn(u32, u32) -> Option<i64>) -> Option<Vec<i64>> {
        let mut v: Vec<i64> = Vec::with_capacity(self.instrs.len());
        for i in &self.instrs {
            let at = |r: Reg| v.get(r.0 as usize).copied();
            let x = match *i {
                ShapeInstr::Const(c) => c,
                ShapeInstr::InputDim { input, axis } => input_dim(input, axis)?,
                ShapeInstr::Said { most, .. } => at(most)?,
                ShapeInstr::Add(a, b) => at(a)?.checked_add(at(b)?)?,
                ShapeInstr::Sub(a, b) => at(a)?.checked_sub(at(b)?)?,
                ShapeInstr::Mul(a, b) => at(a)?.checked_mul(at(b)?)?,
                ShapeInstr::FloorDiv(a, b) => checked_floordiv(at(a)?, at(b)?)?,
                ShapeInstr::Min(a, b) => at(a)?.min(at(b)?),
                ShapeInstr::Max(a, b) => at(a)?.max(at(b)?),
            };
            v.push(x);
        }
        Some(v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Origin, Symbol, TensorType, parse_dim};
    use crate::program::Port;

    fn program() -> Program {
        let mut p = Program::new("t");
        for (axis, s) in ["n", "h"].into_iter().enumerate() {
            let origin = Some(Origin { input: "x".into(), axis });
            p.symbols.insert(Sym::new(s), Symbol { origin, ..Symbol::default() });
        }
        let ty = TensorType::new(crate::core::DType::F32, [Dim::sym("n"), Dim::sym("h")]);
        p.inputs.push(Port { name: "x".into(), ty });
        p
    }

    #[test]
    fn code_computes_what_the_dims_mean() {
        let mut code = ShapeCode::new(&program());
        let texts = ["7", "n", "4*n*h + 64", "64 - n", "n*n*n", "floordiv(3*n + 63, 64)*64", "max(n, h*h) - min(2*n, h)", "mod(n, h)"];
        let dims: Vec<Dim> = texts.iter().map(|t| parse_dim(t).unwrap()).collect();
        let regs: Vec<Reg> = dims.iter().map(|d| code.dim(d).unwrap()).collect();
        for (n, h) in [(1, 1), (5, 3), (100, 7)] {
            let v = code.eval(&|_, axis| Some(if axis == 0 { n } else { h })).unwrap();
            for (d, r) in dims.iter().zip(&regs) {
                let want = d.eval(&|s| Some(if s.name() == "n" { n } else { h })).unwrap();
                assert_eq!(v[r.0 as usize], want, "{d} at n={n} h={h}");
            }
        }
        let before = code.instrs().len();
        for d in &dims {
            code.dim(d).unwrap();
        }
        assert_eq!(code.instrs().len(), before);
    }

    #[test]
    fn symbols_are_solved_from_the_size_that_holds_them() {
        let mut p = program();
        p.inputs[0].ty.shape[1] = Dim::sym("h") * 8 + 3;
        let mut code = ShapeCode::new(&p);
        let h = code.dim(&Dim::sym("h")).unwrap();
        let v = code.eval(&|_, _| Some(83)).unwrap();
        assert_eq!(v[h.0 as usize], 10);
    }

    #[test]
    fn what_no_input_gives_is_an_error() {
        let mut code = ShapeCode::new(&program());
        assert!(matches!(code.dim(&Dim::sym("z")), Err(ShapeCodeError::UnknownSymbol { .. })));
        assert_eq!(code.dim(&Dim::poison()), Err(ShapeCodeError::Poison));
    }
}
