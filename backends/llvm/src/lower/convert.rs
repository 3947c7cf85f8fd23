//! Conversions of value. Half floats convert by integer arithmetic, rounding to nearest even, alike on every machine.

use super::{Lower, Result, element, everywhere, float_literal};
use odc_ir::core::DType;
use odc_ir::loops::LoopType;

const fn is_half(d: DType) -> bool {
    matches!(d, DType::F16 | DType::BF16)
}

impl Lower<'_> {
    pub(super) fn cast(&mut self, from: LoopType, to: LoopType, x: &str) -> Result<String> {
        let (a, b) = (from.dtype(), to.dtype());
        if a == b {
            return Ok(x.into());
        }
        let via = from.with_dtype(DType::F32);
        if is_half(a) {
            let wide = self.widen_half(from, x)?;
            return self.cast(via, to, &wide);
        }
        if is_half(b) {
            let single = self.cast(from, via, x)?;
            return self.narrow_half(to, &single);
        }
        let (s, t) = (self.held(from)?, self.held(to)?);
        let op = match (a.is_float(), b.is_float()) {
            (true, true) if a == DType::F32 => "fpext",
            (true, true) => "fptrunc",
            (true, false) if b == DType::Bool => {
                let zero = everywhere(element(a), from.lanes(), &float_literal(a, 0.0));
                return Ok(self.w.value(format_args!("fcmp une {s} {x}, {zero}")));
            }
            (true, false) => {
                let sign = if b.is_signed_int() { "s" } else { "u" };
                let suffix = |d: DType| match element(d) {
                    "float" => "f32",
                    "double" => "f64",
                    int => int,
                };
                let of = |d: DType| if from.lanes() == 1 { suffix(d).to_string() } else { format!("v{}{}", from.lanes(), suffix(d)) };
                return Ok(self.w.value(format_args!("call {t} @llvm.fpto{sign}i.sat.{}.{}({s} {x})", of(b), of(a))));
            }
            (false, true) if a.is_signed_int() => "sitofp",
            (false, true) => "uitofp",
            (false, false) if b == DType::Bool => {
                let zero = everywhere(element(a), from.lanes(), "0");
                return Ok(self.w.value(format_args!("icmp ne {s} {x}, {zero}")));
            }
            (false, false) if s == t => return Ok(x.into()),
            (false, false) if a == DType::Bool => "zext",
            (false, false) => match a.size().cmp(&b.size()) {
                std::cmp::Ordering::Equal => return Ok(x.into()),
                std::cmp::Ordering::Greater => "trunc",
                std::cmp::Ordering::Less if a.is_signed_int() => "sext",
                std::cmp::Ordering::Less => "zext",
            },
        };
        Ok(self.w.value(format_args!("{op} {s} {x} to {t}")))
    }

    /// The f32 of a half float's bits.
    fn widen_half(&mut self, t: LoopType, h: &str) -> Result<String> {
        let (it, ft) = (t.with_dtype(DType::I32), t.with_dtype(DType::F32));
        let (half, int, float) = (self.held(t)?, self.held(it)?, self.held(ft)?);
        let all = |k: i64| everywhere("i32", t.lanes(), &k.to_string());
        let h = self.w.value(format_args!("zext {half} {h} to {int}"));
        if t.dtype() == DType::BF16 {
            let bits = self.w.value(format_args!("shl {int} {h}, {}", all(16)));
            return Ok(self.w.value(format_args!("bitcast {int} {bits} to {float}")));
        }
        let sign = self.w.value(format_args!("and {int} {h}, {}", all(0x8000)));
        let sign = self.w.value(format_args!("shl {int} {sign}, {}", all(16)));
        let magnitude = self.w.value(format_args!("and {int} {h}, {}", all(0x7fff)));
        let shifted = self.w.value(format_args!("shl {int} {magnitude}, {}", all(13)));
        // Exponent bias 15 to 127; infinity and NaN once more, to 255.
        let normal = self.w.value(format_args!("add {int} {shifted}, {}", all(112 << 23)));
        let special = self.w.value(format_args!("add {int} {normal}, {}", all(112 << 23)));
        let is_special = self.w.value(format_args!("icmp sgt {int} {shifted}, {}", all((31 << 23) - 1)));
        // Denormal: as if it had the leading one of 2^-14, which a subtraction takes away.
        let with_one = self.w.value(format_args!("add {int} {normal}, {}", all(1 << 23)));
        let with_one = self.w.value(format_args!("bitcast {int} {with_one} to {float}"));
        let least = everywhere("float", t.lanes(), &float_literal(DType::F32, f64::from(f32::from_bits(113 << 23))));
        let small = self.w.value(format_args!("fsub {float} {with_one}, {least}"));
        let small = self.w.value(format_args!("bitcast {float} {small} to {int}"));
        let is_small = self.w.value(format_args!("icmp slt {int} {shifted}, {}", all(1 << 23)));
        let r = self.choose(it, &is_special, &special, &normal)?;
        let r = self.choose(it, &is_small, &small, &r)?;
        let r = self.w.value(format_args!("or {int} {r}, {sign}"));
        Ok(self.w.value(format_args!("bitcast {int} {r} to {float}")))
    }

    /// The bits of the half float of type `t` that is nearest to an f32.
    fn narrow_half(&mut self, t: LoopType, x: &str) -> Result<String> {
        let (it, ft) = (t.with_dtype(DType::I32), t.with_dtype(DType::F32));
        let (half, int, float) = (self.held(t)?, self.held(it)?, self.held(ft)?);
        let all = |k: i64| everywhere("i32", t.lanes(), &k.to_string());
        let bits = self.w.value(format_args!("bitcast {float} {x} to {int}"));
        let magnitude = self.w.value(format_args!("and {int} {bits}, {}", all(0x7fff_ffff)));
        let sign = self.w.value(format_args!("lshr {int} {bits}, {}", all(16)));
        let sign = self.w.value(format_args!("and {int} {sign}, {}", all(0x8000)));
        let is_nan = self.w.value(format_args!("icmp sgt {int} {magnitude}, {}", all(0x7f80_0000)));
        // Half of the last place, less one if what stays is even.
        let drop: i64 = if t.dtype() == DType::F16 { 13 } else { 16 };
        let odd = self.w.value(format_args!("lshr {int} {magnitude}, {}", all(drop)));
        let odd = self.w.value(format_args!("and {int} {odd}, {}", all(1)));
        let rounded = self.w.value(format_args!("add {int} {magnitude}, {}", all((1 << (drop - 1)) - 1)));
        let rounded = self.w.value(format_args!("add {int} {rounded}, {odd}"));
        let (result, nan) = if t.dtype() == DType::BF16 {
            (self.w.value(format_args!("lshr {int} {rounded}, {}", all(drop))), 0x7fc0)
        } else {
            let normal = self.w.value(format_args!("sub {int} {rounded}, {}", all(112 << 23)));
            let normal = self.w.value(format_args!("lshr {int} {normal}, {}", all(drop)));
            // Denormal: next to 0.5 the float's own last place is 2^-24, and the addition rounds.
            let size = self.w.value(format_args!("bitcast {int} {magnitude} to {float}"));
            let near =
                self.w.value(format_args!("fadd {float} {size}, {}", everywhere("float", t.lanes(), &float_literal(DType::F32, 0.5))));
            let near = self.w.value(format_args!("bitcast {float} {near} to {int}"));
            let small = self.w.value(format_args!("sub {int} {near}, {}", all(0x3f00_0000)));
            let is_small = self.w.value(format_args!("icmp slt {int} {magnitude}, {}", all(113 << 23)));
            let r = self.choose(it, &is_small, &small, &normal)?;
            let over = self.w.value(format_args!("icmp sgt {int} {magnitude}, {}", all(0x477f_ffff)));
            (self.choose(it, &over, &all(0x7c00), &r)?, 0x7e00)
        };
        let r = self.choose(it, &is_nan, &all(nan), &result)?;
        let r = self.w.value(format_args!("or {int} {r}, {sign}"));
        Ok(self.w.value(format_args!("trunc {int} {r} to {half}")))
    }
}
