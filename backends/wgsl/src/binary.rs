//! Functions of two elements.

use crate::emit::{Emitter, Held, Result};
use crate::expr::{Expr, Level};
use crate::helpers::{Helper, Type};
use odc_ir::core::{Binary, DType, Scalar, Value};
use odc_ir::loops::LoopType;

impl Emitter<'_> {
    pub fn binary(&mut self, f: Binary, a: Value, b: Value) -> Result<Held> {
        let t = self.ty(a)?;
        let (x, y) = (self.held(a)?, self.held(b)?);
        if let (Held::Const(x), Held::Const(y)) = (&x, &y) {
            return Ok(Held::Const(f.eval(self.folding_type(a, t)?, *x, *y)));
        }
        if t.dtype.is_int()
            && let Some(v) = by_constant(f, &x, &y)
        {
            return Ok(v);
        }
        match f {
            Binary::Shl | Binary::Shr => self.shift(f, a, b, t),
            _ if t.dtype == DType::Bool => self.logic(f, a, b),
            _ => self.arithmetic(f, a, b, t),
        }
    }

    /// Indices are folded in 64 bits, so that one that does not fit shows.
    pub fn folding_type(&self, v: Value, t: Type) -> Result<DType> {
        Ok(if self.ir_type(v)? == LoopType::Index { DType::I64 } else { t.dtype })
    }

    fn arithmetic(&mut self, f: Binary, a: Value, b: Value, t: Type) -> Result<Held> {
        let by = match self.held(b)? {
            Held::Const(c) => Some(c),
            Held::Expr(_) => None,
        };
        let (x, mut y) = (self.expr(a)?, self.expr(b)?);
        let float = t.dtype.is_float();
        let infix = |op| Expr::infix(&x, op, &y);
        Ok(Held::Expr(match f {
            Binary::Add | Binary::Sub => {
                let op = if f == Binary::Add { "+" } else { "-" };
                // A negative literal turns the operator; not for the one integer whose negative does not exist.
                match by.filter(|_| t.lanes == 1 && y.level == Level::Unary && y.text != "-2147483648") {
                    Some(_) => {
                        y.text.remove(0);
                        y.level = Level::Atom;
                        Expr::infix(&x, if f == Binary::Add { "-" } else { "+" }, &y)
                    }
                    None => infix(op),
                }
            }
            Binary::Mul => infix("*"),
            Binary::Div => infix("/"),
            Binary::Min => Expr::call("min", &[&x, &y]),
            Binary::Max => Expr::call("max", &[&x, &y]),
            Binary::FloorDiv if float => Expr::call("floor", &[&infix("/")]),
            Binary::Rem if float => self.help(Helper::Remainder(t), &[&x, &y]),
            Binary::Mod if float => self.help(Helper::FloorMod(t), &[&x, &y]),
            Binary::Rem => infix("%"),
            Binary::FloorDiv if t.dtype == DType::U32 => infix("/"),
            Binary::Mod if t.dtype == DType::U32 => infix("%"),
            Binary::FloorDiv | Binary::Mod => {
                // A power of two: shifts and masks round toward minus infinity by themselves.
                match by.map(Scalar::as_i64).filter(|c| *c > 0 && c & (c - 1) == 0) {
                    Some(c) if f == Binary::Mod => Expr::infix(&x, "&", &self.constant(Scalar::Int(c - 1), t)?),
                    Some(c) => {
                        let amount = self.constant(Scalar::Int(i64::from(c.trailing_zeros())), t.with(DType::U32))?;
                        Expr::infix(&x, ">>", &amount)
                    }
                    // Truncating does the same on what is not negative.
                    None if self.facts.nonneg(a) && by.is_some_and(|c| c.as_i64() > 0) => infix(if f == Binary::Mod { "%" } else { "/" }),
                    None if f == Binary::Mod => self.help(Helper::FloorMod(t), &[&x, &y]),
                    None => self.help(Helper::FloorDiv(t), &[&x, &y]),
                }
            }
            Binary::And | Binary::Or | Binary::Xor => {
                let op = match f {
                    Binary::And => "&",
                    Binary::Or => "|",
                    _ => "^",
                };
                Expr::infix(&self.mask(a, x, t)?, op, &self.mask(b, y, t)?)
            }
            Binary::Eq => infix("=="),
            Binary::Ne => infix("!="),
            Binary::Lt => infix("<"),
            Binary::Le => infix("<="),
            Binary::Gt => infix(">"),
            Binary::Ge => infix(">="),
            Binary::Pow | Binary::Shl | Binary::Shr => {
                return Err(self.cx.unsupported(format!("{f} of {}", t.text()), "legalise the kernel first"));
            }
        }))
    }

    /// Masks read better in hexadecimal.
    fn mask(&mut self, v: Value, e: Expr, t: Type) -> Result<Expr> {
        Ok(match self.held(v)? {
            Held::Const(Scalar::Int(c)) if t.dtype == DType::U32 && t.lanes == 1 && c > 9 => Expr::literal(format!("0x{c:x}u")),
            _ => e,
        })
    }

    /// On truth values, as on the integers 0 and 1.
    fn logic(&mut self, f: Binary, a: Value, b: Value) -> Result<Held> {
        let (x, y) = (self.expr(a)?, self.expr(b)?);
        let (not_x, not_y) = (Expr::prefix('!', &x), Expr::prefix('!', &y));
        Ok(Held::Expr(match f {
            Binary::And | Binary::Mul | Binary::Min => Expr::infix(&x, "&", &y),
            Binary::Or | Binary::Add | Binary::Max => Expr::infix(&x, "|", &y),
            Binary::Xor | Binary::Sub | Binary::Ne => Expr::infix(&x, "!=", &y),
            Binary::Eq => Expr::infix(&x, "==", &y),
            Binary::Lt => Expr::infix(&not_x, "&", &y),
            Binary::Le => Expr::infix(&not_x, "|", &y),
            Binary::Gt => Expr::infix(&x, "&", &not_y),
            Binary::Ge => Expr::infix(&x, "|", &not_y),
            _ => return Err(self.cx.unsupported(format!("{f} of bool"), "legalise the kernel first")),
        }))
    }

    fn shift(&mut self, f: Binary, a: Value, b: Value, t: Type) -> Result<Held> {
        if t.dtype == DType::Bool {
            return Err(self.cx.unsupported(format!("{f} of bool"), "legalise the kernel first"));
        }
        let x = self.expr(a)?;
        let amounts = t.with(DType::U32);
        let amount = match self.held(b)? {
            Held::Const(n) if !(0..32).contains(&n.as_i64()) => return Ok(Held::Const(Scalar::Int(0))),
            Held::Const(n) => self.constant(n, amounts)?,
            Held::Expr(e) if t.dtype == DType::U32 => e,
            Held::Expr(e) => Expr::call(&amounts.text(), &[&e]),
        };
        let in_range = self.facts.at_most(b).is_some_and(|n| n < 32) || matches!(self.held(b)?, Held::Const(_));
        Ok(Held::Expr(match (in_range, f) {
            (true, Binary::Shl) => Expr::infix(&x, "<<", &amount),
            (true, _) => Expr::infix(&x, ">>", &amount),
            (false, Binary::Shl) => self.help(Helper::ShiftLeft(t), &[&x, &amount]),
            (false, _) => self.help(Helper::ShiftRight(t), &[&x, &amount]),
        }))
    }
}

/// What one constant integer decides. Division by 0 gives 0 in loop IR and is an error in WGSL.
fn by_constant(f: Binary, x: &Held, y: &Held) -> Option<Held> {
    let int = |h: &Held| match h {
        Held::Const(c) => Some(c.as_i64()),
        Held::Expr(_) => None,
    };
    match (f, int(x), int(y)) {
        (Binary::Add | Binary::Sub | Binary::Or | Binary::Xor | Binary::Shl | Binary::Shr, _, Some(0)) => Some(x.clone()),
        (Binary::Add | Binary::Or | Binary::Xor, Some(0), _) => Some(y.clone()),
        (Binary::Mul | Binary::Div | Binary::FloorDiv, _, Some(1)) => Some(x.clone()),
        (Binary::Mul, Some(1), _) => Some(y.clone()),
        (Binary::Mul | Binary::And | Binary::Div | Binary::Rem | Binary::FloorDiv | Binary::Mod, _, Some(0))
        | (Binary::Rem | Binary::Mod, _, Some(1))
        | (Binary::Mul | Binary::And, Some(0), _) => Some(Held::Const(Scalar::Int(0))),
        _ => None,
    }
}
