//! Loads, stores and atomics: one element as it is declared, or lane by lane.

use crate::emit::{Emitter, Held, Result};
use crate::expr::Expr;
use crate::helpers::Type;
use crate::memory::Array;
use odc_ir::core::{Binary, Scalar, Value};
use odc_ir::loops::Operation;

impl Emitter<'_> {
    fn array(&self, p: Value) -> Result<(Array, String)> {
        match (self.arrays.get(&p), self.array_names.get(&p)) {
            (Some(a), Some(n)) => Ok((a.clone(), n.clone())),
            _ => Err(self.cx.unsupported("a computed pointer", "load and store through the kernel's buffers and shared arrays")),
        }
    }

    /// The element `k` places behind an offset.
    fn element(&mut self, array: &str, at: Value, k: u32) -> Result<Expr> {
        let index = match self.held(at)? {
            Held::Const(c) => {
                let t = self.ty(at)?;
                self.constant(Scalar::Int(c.as_i64().saturating_add(k.into())), t)?
            }
            Held::Expr(e) if k == 0 => e,
            Held::Expr(e) => Expr::infix(&e, "+", &Expr::literal(k.to_string())),
        };
        Ok(Expr { reads: index.reads, ..Expr::new(format!("{array}[{}]", index.text), crate::expr::Level::Atom) })
    }

    pub fn load(&mut self, p: Value, at: Value, t: Type) -> Result<Held> {
        let (array, name) = self.array(p)?;
        let get = |e: Expr| match array.atomic {
            true => Expr::new(format!("atomicLoad(&{})", e.text), e.level).reading(),
            false => e.reading(),
        };
        if array.lanes == t.lanes {
            return Ok(Held::Expr(get(self.element(&name, at, 0)?)));
        }
        self.simplify(&[at]);
        let lanes = (0..t.lanes).map(|k| self.element(&name, at, k).map(get)).collect::<Result<Vec<_>>>()?;
        Ok(Held::Expr(Expr::vector(&t.text(), lanes)))
    }

    pub fn store(&mut self, op: &Operation) -> Result<()> {
        let [p, at, value] = *op.operands.as_slice() else { return Err(self.cx.malformed("a store takes three operands")) };
        let (array, name) = self.array(p)?;
        let t = self.ty(value)?;
        let whole = array.lanes == t.lanes;
        if !whole {
            let reads = self.expr(value)?.reads;
            let simple = self.expr(value)?.lanes.is_some() && !reads;
            self.name(at);
            if !simple {
                self.name(value);
            }
        }
        let set = |target: &Expr, v: &Expr| match array.atomic {
            true => format!("atomicStore(&{}, {});", target.text, v.text),
            false => format!("{} = {};", target.text, v.text),
        };
        let mut lines = vec![];
        self.fit(&[at, value], &mut |e| {
            let v = e.expr(value)?;
            lines.clear();
            for k in 0..if whole { 1 } else { t.lanes } {
                let v = if whole { v.clone() } else { v.lane(k) };
                lines.push(set(&e.element(&name, at, k)?, &v));
            }
            let longest = lines.iter().max_by_key(|l| l.len()).cloned().unwrap_or_default();
            Ok(Held::Expr(Expr::name(&longest)))
        })?;
        self.used(&[at, value]);
        self.settle();
        lines.iter().for_each(|l| self.line(l));
        Ok(())
    }

    pub fn atomic(&mut self, f: Binary, op: &Operation) -> Result<()> {
        let [p, at, value] = *op.operands.as_slice() else { return Err(self.cx.malformed("an atomic takes three operands")) };
        let (_, name) = self.array(p)?;
        let function = match f {
            Binary::Add => "atomicAdd",
            Binary::And => "atomicAnd",
            Binary::Or => "atomicOr",
            Binary::Xor => "atomicXor",
            Binary::Min => "atomicMin",
            Binary::Max => "atomicMax",
            _ => return Err(self.cx.malformed(format!("an atomic {f}"))),
        };
        let mut text = String::new();
        self.fit(&[at, value], &mut |e| {
            let target = e.element(&name, at, 0)?;
            let call = Expr::call(function, &[&Expr::name(&format!("&{}", target.text)), &e.expr(value)?]);
            text = format!("{};", call.text);
            Ok(Held::Expr(call))
        })?;
        self.used(&[at, value]);
        self.settle();
        self.line(&text);
        Ok(())
    }
}
