//! Float arithmetic.

use super::helpers::Helper;
use super::{Lower, Result, element, everywhere, float_literal};
use odc_backend::{Arch, Feature};
use odc_ir::core::{Binary, DType, Unary};
use odc_ir::loops::LoopType;

impl Lower<'_> {
    fn has_fma(&self) -> bool {
        self.target.arch != Arch::X86_64 || self.target.has(Feature::Fma)
    }

    pub(super) fn binary_float(&mut self, f: Binary, t: LoopType, x: &str, y: &str) -> Result<String> {
        let held = self.held(t)?;
        let simple = match f {
            Binary::Add => "fadd",
            Binary::Sub => "fsub",
            Binary::Mul => "fmul",
            Binary::Div => "fdiv",
            // All but `ne` are false if an operand is NaN.
            Binary::Eq => "fcmp oeq",
            Binary::Ne => "fcmp une",
            Binary::Lt => "fcmp olt",
            Binary::Le => "fcmp ole",
            Binary::Gt => "fcmp ogt",
            Binary::Ge => "fcmp oge",
            Binary::Min | Binary::Max => {
                // The machine's minimum gives its second operand if one is NaN, which is right unless only the first is.
                let order = if f == Binary::Min { "olt" } else { "ogt" };
                let less = self.w.value(format_args!("fcmp {order} {held} {x}, {y}"));
                let r = self.choose(t, &less, x, y)?;
                let nan = self.w.value(format_args!("fcmp uno {held} {x}, {x}"));
                return self.choose(t, &nan, x, &r);
            }
            Binary::Rem | Binary::FloorDiv | Binary::Mod if t.lanes() > 1 => {
                let one = LoopType::Scalar(t.dtype());
                return self.by_lane(t, t, &[x, y], |l, xs| match xs {
                    [x, y] => l.binary_float(f, one, x, y),
                    _ => l.malformed("two operands"),
                });
            }
            // The quotient of f32 is floored before it is rounded to f32, or 2.99999999 would become 3.
            Binary::Rem | Binary::FloorDiv | Binary::Mod if t.dtype() == DType::F32 => {
                let wide = LoopType::Scalar(DType::F64);
                let (a, b) = (self.cast(t, wide, x)?, self.cast(t, wide, y)?);
                let r = self.binary_float(f, wide, &a, &b)?;
                return self.cast(wide, t, &r);
            }
            Binary::Rem => {
                self.helpers.insert(Helper::Remainder);
                return Ok(self.w.value(format_args!("call double @odc_remainder(double {x}, double {y})")));
            }
            Binary::FloorDiv | Binary::Mod => {
                let q = self.w.value(format_args!("fdiv double {x}, {y}"));
                let q = self.round(Unary::Floor, t, &q)?;
                if f == Binary::FloorDiv {
                    return Ok(q);
                }
                let p = self.w.value(format_args!("fmul double {q}, {y}"));
                return Ok(self.w.value(format_args!("fsub double {x}, {p}")));
            }
            Binary::Pow => return self.unsupported("pow of floats", "expand transcendental functions before code generation"),
            Binary::And | Binary::Or | Binary::Xor | Binary::Shl | Binary::Shr => return self.malformed(format!("{f} of {t}")),
        };
        Ok(self.w.value(format_args!("{simple} {held} {x}, {y}")))
    }

    pub(super) fn fma(&mut self, t: LoopType, [a, b, c]: [&str; 3]) -> Result<String> {
        match t.dtype() {
            DType::F32 | DType::F64 if self.has_fma() => self.intrinsic("fma", t, &[a, b, c]),
            DType::F16 | DType::BF16 => {
                let wide = t.with_dtype(DType::F32);
                let (a, b, c) = (self.cast(t, wide, a)?, self.cast(t, wide, b)?, self.cast(t, wide, c)?);
                let r = self.fma(wide, [&a, &b, &c])?;
                self.cast(wide, t, &r)
            }
            _ => {
                let p = self.binary(Binary::Mul, t, a, b)?;
                self.binary(Binary::Add, t, &p, c)
            }
        }
    }

    pub(super) fn unary(&mut self, f: Unary, t: LoopType, x: &str) -> Result<String> {
        let d = t.dtype();
        if f.is_transcendental() {
            return self.unsupported(format!("{f}"), "expand transcendental functions before code generation");
        }
        match d {
            DType::F16 | DType::BF16 => {
                let wide = t.with_dtype(DType::F32);
                let w = self.cast(t, wide, x)?;
                let y = self.unary(f, wide, &w)?;
                if f.result_dtype(d) == d { self.cast(wide, t, &y) } else { Ok(y) }
            }
            DType::F32 | DType::F64 => self.unary_float(f, t, x),
            _ => self.unary_int(f, t, x),
        }
    }

    fn unary_float(&mut self, f: Unary, t: LoopType, x: &str) -> Result<String> {
        let (held, d, n) = (self.held(t)?, t.dtype(), t.lanes());
        let all = |k: f64| everywhere(element(d), n, &float_literal(d, k));
        Ok(match f {
            Unary::Neg => self.w.value(format_args!("fneg {held} {x}")),
            Unary::Abs => self.intrinsic("fabs", t, &[x])?,
            Unary::Sqrt => self.intrinsic("sqrt", t, &[x])?,
            Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round => self.round(f, t, x)?,
            Unary::IsNan => self.w.value(format_args!("fcmp uno {held} {x}, {x}")),
            Unary::IsInf => {
                let size = self.intrinsic("fabs", t, &[x])?;
                self.w.value(format_args!("fcmp oeq {held} {size}, {}", all(f64::INFINITY)))
            }
            Unary::Sign => {
                // Zero or NaN stays.
                let unit = self.intrinsic("copysign", t, &[&all(1.0), x])?;
                let size = self.intrinsic("fabs", t, &[x])?;
                let other = self.w.value(format_args!("fcmp ogt {held} {size}, {}", all(0.0)));
                self.choose(t, &other, &unit, x)?
            }
            _ => return self.malformed(format!("{f} of {t}")),
        })
    }

    /// To an integer, in the given direction. Baseline x86-64 has no instruction: add and subtract 2^23 (2^52), then correct.
    fn round(&mut self, f: Unary, t: LoopType, x: &str) -> Result<String> {
        if self.target.arch != Arch::X86_64 || self.target.has(Feature::Sse41) {
            let name = match f {
                Unary::Floor => "floor",
                Unary::Ceil => "ceil",
                Unary::Trunc => "trunc",
                _ => "roundeven",
            };
            return self.intrinsic(name, t, &[x]);
        }
        let (held, d, n) = (self.held(t)?, t.dtype(), t.lanes());
        let all = |k: f64| everywhere(element(d), n, &float_literal(d, k));
        let magic = all(if d == DType::F32 { 8_388_608.0 } else { 4_503_599_627_370_496.0 });
        let size = self.intrinsic("fabs", t, &[x])?;
        let up = self.w.value(format_args!("fadd {held} {size}, {magic}"));
        let mut r = self.w.value(format_args!("fsub {held} {up}, {magic}"));
        // On the magnitude: nearest; truncation takes back what went up.
        if f == Unary::Trunc {
            let over = self.w.value(format_args!("fcmp ogt {held} {r}, {size}"));
            let by = self.choose(t, &over, &all(1.0), &all(0.0))?;
            r = self.w.value(format_args!("fsub {held} {r}, {by}"));
        }
        r = self.intrinsic("copysign", t, &[&r, x])?;
        if matches!(f, Unary::Floor | Unary::Ceil) {
            let (order, step) = if f == Unary::Floor { ("ogt", 1.0) } else { ("olt", -1.0) };
            let over = self.w.value(format_args!("fcmp {order} {held} {r}, {x}"));
            let by = self.choose(t, &over, &all(step), &all(0.0))?;
            r = self.w.value(format_args!("fsub {held} {r}, {by}"));
            r = self.intrinsic("copysign", t, &[&r, x])?;
        }
        let small = self.w.value(format_args!("fcmp olt {held} {size}, {magic}"));
        self.choose(t, &small, &r, x)
    }
}
