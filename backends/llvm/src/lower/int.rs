//! Functions of two operands, and integers: wrapping, division that never traps, shifts that run out, powers.

use super::helpers::Helper;
use super::{Lower, Result, element, everywhere};
use odc_ir::core::{Binary, DType, Unary};
use odc_ir::loops::LoopType;

impl Lower<'_> {
    pub(super) fn binary(&mut self, f: Binary, t: LoopType, x: &str, y: &str) -> Result<String> {
        match t.dtype() {
            DType::F16 | DType::BF16 => {
                let wide = t.with_dtype(DType::F32);
                let (a, b) = (self.cast(t, wide, x)?, self.cast(t, wide, y)?);
                let r = self.binary(f, wide, &a, &b)?;
                if f.is_compare() { Ok(r) } else { self.cast(wide, t, &r) }
            }
            DType::F32 | DType::F64 => self.binary_float(f, t, x, y),
            DType::Bool => self.binary_bool(f, t, x, y),
            _ => self.binary_int(f, t, x, y),
        }
    }

    /// Numbers 0 and 1, of which any but 0 is true.
    fn binary_bool(&mut self, f: Binary, t: LoopType, x: &str, y: &str) -> Result<String> {
        let held = self.held(t)?;
        let bits = match f {
            Binary::And | Binary::Mul | Binary::Min => "and",
            Binary::Or | Binary::Add | Binary::Max => "or",
            Binary::Xor | Binary::Sub | Binary::Ne => "xor",
            Binary::Eq => "icmp eq",
            Binary::Lt => "icmp ult",
            Binary::Le => "icmp ule",
            Binary::Gt => "icmp ugt",
            Binary::Ge => "icmp uge",
            Binary::Div | Binary::Rem | Binary::FloorDiv | Binary::Mod | Binary::Pow | Binary::Shl | Binary::Shr => {
                let wide = t.with_dtype(DType::U8);
                let (a, b) = (self.cast(t, wide, x)?, self.cast(t, wide, y)?);
                let r = self.binary_int(f, wide, &a, &b)?;
                return self.cast(wide, t, &r);
            }
        };
        Ok(self.w.value(format_args!("{bits} {held} {x}, {y}")))
    }

    fn binary_int(&mut self, f: Binary, t: LoopType, x: &str, y: &str) -> Result<String> {
        let (held, signed) = (self.held(t)?, t.dtype().is_signed_int());
        let (s, ashr) = if signed { ("s", "ashr") } else { ("u", "lshr") };
        let simple = match f {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::And => "and",
            Binary::Or => "or",
            Binary::Xor => "xor",
            Binary::Eq => "icmp eq",
            Binary::Ne => "icmp ne",
            Binary::Lt => &format!("icmp {s}lt"),
            Binary::Le => &format!("icmp {s}le"),
            Binary::Gt => &format!("icmp {s}gt"),
            Binary::Ge => &format!("icmp {s}ge"),
            Binary::Min | Binary::Max => {
                let name = if f == Binary::Min { "min" } else { "max" };
                return self.intrinsic(&format!("{s}{name}"), t, &[x, y]);
            }
            Binary::Shl | Binary::Shr => {
                let bits = everywhere(element(t.dtype()), t.lanes(), &(8 * t.dtype().size()).to_string());
                let zero = everywhere(element(t.dtype()), t.lanes(), "0");
                let inside = self.w.value(format_args!("icmp ult {held} {y}, {bits}"));
                let shifted = self.w.value(format_args!("{} {held} {x}, {y}", if f == Binary::Shl { "shl" } else { ashr }));
                return self.choose(t, &inside, &shifted, &zero);
            }
            Binary::Div | Binary::Rem | Binary::FloorDiv | Binary::Mod => return self.divide(f, t, x, y),
            Binary::Pow if t.lanes() > 1 => {
                let one = LoopType::Scalar(t.dtype());
                return self.by_lane(t, t, &[x, y], |l, xs| match xs {
                    [x, y] => l.binary_int(f, one, x, y),
                    _ => l.malformed("two operands"),
                });
            }
            Binary::Pow => {
                self.helpers.insert(Helper::Power);
                let (wide, d) = (LoopType::Scalar(DType::I64), t.dtype());
                let (a, b) = (self.cast(t, wide, x)?, self.cast(t, wide, y)?);
                let r = self.w.value(format_args!("call i64 @odc_power(i64 {a}, i64 {b})"));
                return self.cast(wide, LoopType::Scalar(d), &r);
            }
        };
        Ok(self.w.value(format_args!("{simple} {held} {x}, {y}")))
    }

    /// Division by 0 gives 0; of the least number by -1, itself. Both would trap: the machine divides by 1 instead.
    fn divide(&mut self, f: Binary, t: LoopType, x: &str, y: &str) -> Result<String> {
        let (held, e, n) = (self.held(t)?, element(t.dtype()), t.lanes());
        let all = |k: &str| everywhere(e, n, k);
        let is_zero = self.w.value(format_args!("icmp eq {held} {y}, {}", all("0")));
        if !t.dtype().is_signed_int() {
            let safe = self.choose(t, &is_zero, &all("1"), y)?;
            let op = if matches!(f, Binary::Div | Binary::FloorDiv) { "udiv" } else { "urem" };
            let r = self.w.value(format_args!("{op} {held} {x}, {safe}"));
            return self.choose(t, &is_zero, &all("0"), &r);
        }
        let is_minus = self.w.value(format_args!("icmp eq {held} {y}, {}", all("-1")));
        let bit = super::shaped("i1", n);
        let bad = self.w.value(format_args!("or {bit} {is_zero}, {is_minus}"));
        let safe = self.choose(t, &bad, &all("1"), y)?;
        if f == Binary::Rem {
            return Ok(self.w.value(format_args!("srem {held} {x}, {safe}")));
        }
        let q = self.w.value(format_args!("sdiv {held} {x}, {safe}"));
        let mut result = q.clone();
        if f != Binary::Div {
            let r = self.w.value(format_args!("srem {held} {x}, {safe}"));
            let signs = self.w.value(format_args!("xor {held} {r}, {safe}"));
            let differ = self.w.value(format_args!("icmp slt {held} {signs}, {}", all("0")));
            let rest = self.w.value(format_args!("icmp ne {held} {r}, {}", all("0")));
            let below = self.w.value(format_args!("and {bit} {differ}, {rest}"));
            if f == Binary::Mod {
                let add = self.choose(t, &below, &safe, &all("0"))?;
                return Ok(self.w.value(format_args!("add {held} {r}, {add}")));
            }
            let one = self.w.value(format_args!("zext {bit} {below} to {held}"));
            result = self.w.value(format_args!("sub {held} {q}, {one}"));
        }
        let negated = self.w.value(format_args!("sub {held} {}, {x}", all("0")));
        let result = self.choose(t, &is_zero, &all("0"), &result)?;
        self.choose(t, &is_minus, &negated, &result)
    }

    pub(super) fn unary_int(&mut self, f: Unary, t: LoopType, x: &str) -> Result<String> {
        let (held, e, n, d) = (self.held(t)?, element(t.dtype()), t.lanes(), t.dtype());
        let all = |k: &str| everywhere(e, n, k);
        Ok(match f {
            Unary::IsNan | Unary::IsInf => everywhere("i1", n, "false"),
            Unary::Not if d == DType::Bool => self.w.value(format_args!("xor {held} {x}, {}", all("true"))),
            Unary::Not => self.w.value(format_args!("xor {held} {x}, {}", all("-1"))),
            _ if d == DType::Bool => x.into(),
            Unary::Neg => self.w.value(format_args!("sub {held} {}, {x}", all("0"))),
            Unary::Abs if d.is_signed_int() => {
                let minus = self.w.value(format_args!("sub {held} {}, {x}", all("0")));
                self.intrinsic("smax", t, &[x, &minus])?
            }
            Unary::Sign if d.is_signed_int() => {
                let low = self.intrinsic("smax", t, &[x, &all("-1")])?;
                self.intrinsic("smin", t, &[&low, &all("1")])?
            }
            Unary::Sign => self.intrinsic("umin", t, &[x, &all("1")])?,
            Unary::Abs | Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round => x.into(),
            _ => return self.malformed(format!("{f} of {t}")),
        })
    }

    /// `@llvm.NAME` of operands and a result of type `t`.
    pub(super) fn intrinsic(&mut self, name: &str, t: LoopType, operands: &[&str]) -> Result<String> {
        let held = self.held(t)?;
        let d = match element(t.dtype()) {
            "float" => "f32",
            "double" => "f64",
            int => int,
        };
        let suffix = if t.lanes() == 1 { d.to_string() } else { format!("v{}{d}", t.lanes()) };
        let args: Vec<String> = operands.iter().map(|x| format!("{held} {x}")).collect();
        Ok(self.w.value(format_args!("call {held} @llvm.{name}.{suffix}({})", args.join(", "))))
    }

    /// `c ? a : b`, lane by lane.
    pub(super) fn choose(&mut self, t: LoopType, c: &str, a: &str, b: &str) -> Result<String> {
        let held = self.held(t)?;
        let bit = super::shaped("i1", t.lanes());
        Ok(self.w.value(format_args!("select {bit} {c}, {held} {a}, {held} {b}")))
    }
}
