//! Ops that compute values, as expressions. What constants alone decide is computed here: WGSL refuses constant expressions that
//! overflow, and unrolled loops leave many.

use crate::emit::{Builtin, Emitter, Held, Result};
use crate::expr::Expr;
use crate::helpers::{Helper, Type};
use odc_backend::GpuFeature;
use odc_ir::core::{Binary, DType, Scalar, Unary, Value};
use odc_ir::loops::{LaneInfo, Op, Operation};

impl Emitter<'_> {
    /// What `op` computes.
    pub fn value(&mut self, op: &Operation, result: Value) -> Result<Held> {
        let t = self.ty(result)?;
        let x = op.operands.as_slice();
        match (&op.op, x) {
            (Op::Const { value }, _) => Ok(Held::Const(index_or(*value, t))),
            (Op::Unary { f }, [x]) => self.unary(*f, *x),
            (Op::Binary { f }, [a, b]) => self.binary(*f, *a, *b),
            (Op::Fma {}, [a, b, c]) => self.fma(*a, *b, *c, t),
            (Op::Select {}, [c, a, b]) => self.select(*c, *a, *b),
            (Op::Cast {}, [x]) => self.cast(*x, t),
            (Op::Bitcast {}, [x]) => self.bitcast(*x, t),
            (Op::Splat {}, [x]) => self.splat(*x, t),
            (Op::Extract { lane }, [v]) => match self.held(*v)? {
                Held::Const(c) => Ok(Held::Const(c)),
                Held::Expr(e) => Ok(Held::Expr(e.lane(*lane))),
            },
            (Op::Insert { lane }, [v, s]) => self.insert(*v, *s, *lane, t),
            (Op::HalfBits {}, [x]) => {
                if let Held::Const(c) = self.held(*x)? {
                    let mut bytes = vec![];
                    c.write(DType::F16, &mut bytes);
                    return Ok(Held::Const(Scalar::read(DType::U16, &bytes).unwrap_or(Scalar::Int(0))));
                }
                let zero = Expr::literal("0.0".into());
                let pair = Expr::call("vec2<f32>", &[&self.expr(*x)?, &zero]);
                Ok(Held::Expr(Expr::call("pack2x16float", &[&pair])))
            }
            (Op::FromHalfBits {}, [x]) => {
                if let Held::Const(c) = self.held(*x)? {
                    let mut bytes = vec![];
                    c.write(DType::U16, &mut bytes);
                    return Ok(Held::Const(Scalar::read(DType::F16, &bytes).unwrap_or(Scalar::Float(0.0))));
                }
                let e = Expr::call("unpack2x16float", &[&self.expr(*x)?]);
                Ok(Held::Expr(Expr { reads: e.reads, ..Expr::new(format!("{}.x", e.text), e.level) }))
            }
            (Op::Dot4 { signed }, [a, b, acc]) => self.dot4(*signed, [*a, *b, *acc]),
            (Op::Subgroup { f }, [x]) => self.subgroup(*f, *x),
            (Op::Lane { info }, _) => self.lane_info(*info),
            (Op::Load {}, [p, at]) => self.load(*p, *at, t),
            _ => Err(self.cx.malformed(format!("{:?} computes no value here", op.op))),
        }
    }

    fn unary(&mut self, f: Unary, x: Value) -> Result<Held> {
        let t = self.ty(x)?;
        if let Held::Const(c) = self.held(x)? {
            return Ok(Held::Const(f.eval(self.folding_type(x, t)?, c)));
        }
        let e = self.expr(x)?;
        let call = |name| Expr::call(name, &[&e]);
        let float = t.dtype.is_float();
        Ok(Held::Expr(match (f, t.dtype) {
            (Unary::Not, DType::Bool) => Expr::prefix('!', &e),
            (Unary::Not, _) => Expr::prefix('~', &e),
            (Unary::IsNan | Unary::IsInf, DType::F32) => {
                let magnitude =
                    Expr::infix(&Expr::call(&format!("bitcast<{}>", t.with(DType::U32).text()), &[&e]), "&", &self.word(0x7fff_ffff, t)?);
                Expr::infix(&magnitude, if f == Unary::IsNan { ">" } else { "==" }, &self.word(0x7f80_0000, t)?)
            }
            (Unary::IsNan | Unary::IsInf, d) if !d.is_float() => return Ok(Held::Const(Scalar::Bool(false))),
            (Unary::Neg, DType::U32) => Expr::infix(&self.constant(Scalar::Int(0), t)?, "-", &e),
            (Unary::Neg, DType::F32 | DType::F16 | DType::I32) => Expr::prefix('-', &e),
            (Unary::Sign, DType::U32) => Expr::call("min", &[&e, &self.constant(Scalar::Int(1), t)?]),
            (Unary::Sign, DType::F32 | DType::F16 | DType::I32) => call("sign"),
            (Unary::Abs, DType::F32 | DType::F16 | DType::I32) => call("abs"),
            (Unary::Abs | Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round, DType::I32 | DType::U32) => e,
            (Unary::Sqrt | Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round | Unary::Exp | Unary::Log, _) if float => {
                call(f.name())
            }
            _ => return Err(self.cx.unsupported(format!("{f} of {}", t.text()), "legalise the kernel first")),
        }))
    }

    /// A u32 in hexadecimal, in as many lanes as `t` has.
    fn word(&mut self, bits: u32, t: Type) -> Result<Expr> {
        let literal = Expr::literal(format!("0x{bits:x}u"));
        Ok(if t.lanes == 1 { literal } else { Expr::call(&t.with(DType::U32).text(), &[&literal]) })
    }

    fn fma(&mut self, a: Value, b: Value, c: Value, t: Type) -> Result<Held> {
        if let (Held::Const(a), Held::Const(b), Held::Const(c)) = (self.held(a)?, self.held(b)?, self.held(c)?) {
            return Ok(Held::Const(match t.dtype.is_float() {
                true => Scalar::Float(a.as_f64().mul_add(b.as_f64(), c.as_f64())).wrap(t.dtype),
                false => Binary::Add.eval(t.dtype, Binary::Mul.eval(t.dtype, a, b), c),
            }));
        }
        let (a, b, c) = (self.expr(a)?, self.expr(b)?, self.expr(c)?);
        match t.dtype {
            DType::F32 | DType::F16 => Ok(Held::Expr(Expr::call("fma", &[&a, &b, &c]))),
            DType::Bool => Err(self.cx.unsupported("fma of bool", "legalise the kernel first")),
            _ => Ok(Held::Expr(Expr::infix(&Expr::infix(&a, "*", &b), "+", &c))),
        }
    }

    fn select(&mut self, c: Value, a: Value, b: Value) -> Result<Held> {
        if let Held::Const(c) = self.held(c)? {
            return self.held(if c.as_bool() { a } else { b });
        }
        let (c, a, b) = (self.expr(c)?, self.expr(a)?, self.expr(b)?);
        Ok(Held::Expr(Expr::call("select", &[&b, &a, &c])))
    }

    fn cast(&mut self, x: Value, to: Type) -> Result<Held> {
        let from = self.ty(x)?;
        if from.dtype == to.dtype {
            return self.held(x);
        }
        if let Held::Const(c) = self.held(x)? {
            return Ok(Held::Const(c.cast(from.dtype, to.dtype)));
        }
        let e = self.expr(x)?;
        if to.dtype == DType::Bool {
            let zero = self.constant(Scalar::Int(0).wrap(from.dtype), from)?;
            return Ok(Held::Expr(Expr::infix(&e, "!=", &zero)));
        }
        if from.dtype.is_float() && to.dtype.is_int() {
            let wide = from.with(DType::F32);
            let e = if from.dtype == DType::F16 { Expr::call(&wide.text(), &[&e]) } else { e };
            let helper = if to.dtype == DType::I32 { Helper::ToI32(wide) } else { Helper::ToU32(wide) };
            return Ok(Held::Expr(self.help(helper, &[&e])));
        }
        Ok(Held::Expr(Expr::call(&to.text(), &[&e])))
    }

    fn bitcast(&mut self, x: Value, to: Type) -> Result<Held> {
        let from = self.ty(x)?;
        if from.dtype == to.dtype {
            return self.held(x);
        }
        if from.dtype.size() != to.dtype.size() {
            let hint = "indices have 32 bits on a GPU; cast first";
            return Err(self.cx.unsupported(format!("a bitcast from {} to {}", from.text(), to.text()), hint));
        }
        if let Held::Const(c) = self.held(x)? {
            let mut bytes = vec![];
            c.write(from.dtype, &mut bytes);
            return Ok(Held::Const(Scalar::read(to.dtype, &bytes).unwrap_or(c)));
        }
        Ok(Held::Expr(Expr::call(&format!("bitcast<{}>", to.text()), &[&self.expr(x)?])))
    }

    fn splat(&mut self, x: Value, t: Type) -> Result<Held> {
        Ok(match self.held(x)? {
            Held::Const(c) => Held::Const(c),
            Held::Expr(e) => {
                let lanes = e.simple.then(|| vec![e.clone(); t.lanes as usize]);
                Held::Expr(Expr { lanes, ..Expr::call(&t.text(), &[&e]) })
            }
        })
    }

    /// A vector whose lanes are known or cheap is written anew; another gets a name first.
    fn insert(&mut self, v: Value, s: Value, lane: u32, t: Type) -> Result<Held> {
        let mut base = self.expr(v)?;
        if base.lanes.is_none() && !base.simple {
            self.name(v);
            base = self.expr(v)?;
        }
        let s = self.expr(s)?;
        let lanes = (0..t.lanes).map(|k| if k == lane { s.clone() } else { base.lane(k) }).collect();
        Ok(Held::Expr(Expr::vector(&t.text(), lanes)))
    }

    fn dot4(&mut self, signed: bool, [a, b, acc]: [Value; 3]) -> Result<Held> {
        self.cx.feature(GpuFeature::Dot, "a product of packed bytes")?;
        self.dot = true;
        let factors = [&self.expr(a)?, &self.expr(b)?];
        let sum = if signed { Expr::call("dot4I8Packed", &factors) } else { Expr::call("i32", &[&Expr::call("dot4U8Packed", &factors)]) };
        if matches!(self.held(acc)?, Held::Const(Scalar::Int(0))) {
            return Ok(Held::Expr(sum));
        }
        Ok(Held::Expr(Expr::infix(&sum, "+", &self.expr(acc)?)))
    }

    fn subgroup(&mut self, f: Binary, x: Value) -> Result<Held> {
        self.subgroups()?;
        let name = match f {
            Binary::Add => "subgroupAdd",
            Binary::Mul => "subgroupMul",
            Binary::Min => "subgroupMin",
            Binary::Max => "subgroupMax",
            _ => return Err(self.cx.malformed(format!("{f} over a subgroup"))),
        };
        // Like a read: it must not move into other control flow.
        Ok(Held::Expr(Expr::call(name, &[&self.expr(x)?]).reading()))
    }

    fn subgroups(&mut self) -> Result<()> {
        self.cx.feature(GpuFeature::Subgroups, "a subgroup operation")?;
        self.subgroups = true;
        Ok(())
    }

    fn lane_info(&mut self, info: LaneInfo) -> Result<Held> {
        self.subgroups()?;
        let builtin = if info == LaneInfo::Lane { Builtin::SubgroupLane } else { Builtin::SubgroupSize };
        self.builtins.insert(builtin);
        let size = Expr::call("i32", &[&Expr::name("subgroup_size")]);
        Ok(Held::Expr(match info {
            LaneInfo::Lane => Expr::call("i32", &[&Expr::name("subgroup_lane")]),
            LaneInfo::Size => size,
            LaneInfo::Subgroup => match self.lane.clone() {
                Held::Const(_) => return Ok(Held::Const(Scalar::Int(0))),
                Held::Expr(lane) => Expr::infix(&lane, "/", &size),
            },
            LaneInfo::Count => {
                let most = Expr::infix(&size, "+", &Expr::literal(self.width.saturating_sub(1).to_string()));
                Expr::infix(&most, "/", &size)
            }
        }))
    }

    pub fn help(&mut self, helper: Helper, args: &[&Expr]) -> Expr {
        self.helpers.insert(helper);
        Expr::call(&helper.name(), args)
    }
}

/// A constant as its type holds it, but for an index that is too large: that is refused where it is used.
fn index_or(x: Scalar, t: Type) -> Scalar {
    if t.dtype == DType::I32 { x } else { x.wrap(t.dtype) }
}
