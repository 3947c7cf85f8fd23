//! Loads and stores. Offsets are taken apart into constant and variable terms, so that neighbours share one address and differ in
//! the displacement, and so that what does not change in a loop is computed outside.

use super::{Lower, Result};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, condcodes::IntCC, types};
use odc_ir::core::{Binary, DType, Value};
use odc_ir::loops::{LoopType, Op};
use std::collections::BTreeMap;

/// Buffers may lie anywhere; whether an access is in bounds was settled when the kernel was made.
const FLAGS: MemFlagsData = MemFlagsData::new().with_notrap();

/// How deep the computation of an offset is taken apart.
const MAX_TERMS_DEPTH: u32 = 16;

/// `sum of value * factor + constant`. None of it wraps: a term that would is left whole.
#[derive(Default)]
struct Offset {
    terms: BTreeMap<Value, i64>,
    constant: i64,
}

impl Offset {
    fn add(&mut self, v: Value, factor: i64) -> Option<()> {
        let sum = self.terms.get(&v).copied().unwrap_or(0).checked_add(factor)?;
        self.terms.insert(v, sum);
        Some(())
    }
}

impl Lower<'_, '_> {
    fn collect(&self, v: Value, factor: i64, depth: u32, out: &mut Offset) -> Option<()> {
        if let Some(k) = self.known_int(v) {
            out.constant = out.constant.checked_add(k.checked_mul(factor)?)?;
            return Some(());
        }
        let def = self.defs.get(v.index()).copied().flatten().and_then(|d| d.op);
        let (f, a, b) = match def.map(|op| (&op.op, op.operands.as_slice())) {
            Some((Op::Binary { f }, &[a, b])) if depth < MAX_TERMS_DEPTH => (*f, a, b),
            _ => return out.add(v, factor),
        };
        match (f, self.known_int(a), self.known_int(b)) {
            (Binary::Add, _, _) => {
                self.collect(a, factor, depth + 1, out)?;
                self.collect(b, factor, depth + 1, out)
            }
            (Binary::Sub, _, _) => {
                self.collect(a, factor, depth + 1, out)?;
                self.collect(b, factor.checked_neg()?, depth + 1, out)
            }
            (Binary::Mul, _, Some(k)) => self.collect(a, factor.checked_mul(k)?, depth + 1, out),
            (Binary::Mul, Some(k), _) => self.collect(b, factor.checked_mul(k)?, depth + 1, out),
            _ => out.add(v, factor),
        }
    }

    /// Base and displacement of element `at` behind `ptr`, and flags for a load from there.
    ///
    /// In a loop that stores nothing, a load whose address moves with that loop's counter reads the same wherever it stands within
    /// the iteration, and cannot leave it. Cranelift may then place it next to its use and make it an operand: to Cranelift such
    /// memory is read-only. (Other loads keep their place: buffers may overlap when an operation works in place.)
    fn address(&mut self, ptr: Value, at: Value, size: usize) -> Result<(ir::Value, i32, MemFlagsData)> {
        let size = size as i64;
        let mut offset = Offset::default();
        if self.collect(at, size, 0, &mut offset).is_none() {
            offset = Offset::default();
            offset.terms.insert(at, size);
        }
        let mut base = self.get(ptr)?;
        // Outermost first: the sums of the outer terms leave the inner loop, and the innermost becomes the address's index.
        let free = self.loops.last().is_some_and(|(counter, pure)| *pure && offset.terms.get(counter).is_some_and(|k| *k != 0));
        let flags = if free { FLAGS.with_readonly().with_can_move() } else { FLAGS };
        let mut terms: Vec<_> = offset.terms.into_iter().filter(|(_, k)| *k != 0).collect();
        terms.sort_by_key(|(v, k)| (self.defs.get(v.index()).copied().flatten().map_or(0, |d| d.depth), *v, *k));
        for (v, factor) in terms {
            let x = self.get(v)?;
            let scaled = match factor {
                1 => x,
                f if f > 0 && f & (f - 1) == 0 => self.b.ins().ishl_imm_s(x, i64::from(f.trailing_zeros())),
                f => self.b.ins().imul_imm_s(x, f),
            };
            base = self.b.ins().iadd(base, scaled);
        }
        match i32::try_from(offset.constant) {
            Ok(disp) => Ok((base, disp, flags)),
            Err(_) => Ok((self.b.ins().iadd_imm_s(base, offset.constant), 0, flags)),
        }
    }

    pub(super) fn load(&mut self, ptr: Value, at: Value, t: LoopType) -> Result<ir::Value> {
        let (d, held) = (t.dtype(), self.held(t)?);
        let (p, disp, flags) = self.address(ptr, at, d.size())?;
        match (t.lanes(), d) {
            (1, DType::Bool) => {
                let x = self.b.ins().load(types::I8, flags, p, disp);
                Ok(self.b.ins().icmp_imm_s(IntCC::NotEqual, x, 0))
            }
            (4, _) if d.size() == 2 => Ok(match d {
                DType::I16 => self.b.ins().sload16x4(flags, p, disp),
                _ => self.b.ins().uload16x4(flags, p, disp),
            }),
            (4, _) if d.size() == 1 => {
                let word = self.b.ins().load(types::I32, flags, p, disp);
                let v = self.b.ins().scalar_to_vector(types::I32X4, word);
                let v = self.bits_as(types::I8X16, v);
                if d == DType::I8 {
                    let v = self.b.ins().swiden_low(v);
                    return Ok(self.b.ins().swiden_low(v));
                }
                let v = self.b.ins().uwiden_low(v);
                let v = self.b.ins().uwiden_low(v);
                if d == DType::U8 {
                    return Ok(v);
                }
                let zero = self.int_like(types::I32X4, 0);
                Ok(self.b.ins().icmp(IntCC::NotEqual, v, zero))
            }
            (2, DType::Bool) => {
                let mut v = self.int_like(held, 0);
                for lane in 0..2 {
                    let x = self.b.ins().load(types::I8, flags, p, disp.wrapping_add(lane));
                    let x = self.b.ins().icmp_imm_s(IntCC::NotEqual, x, 0);
                    v = self.insert(t, v, x, lane as u32)?;
                }
                Ok(v)
            }
            _ => Ok(self.b.ins().load(held, flags, p, disp)),
        }
    }

    pub(super) fn store(&mut self, ptr: Value, at: Value, v: Value) -> Result<()> {
        let (t, mut x) = (self.ty(v)?, self.get(v)?);
        let d = t.dtype();
        let (p, disp, _) = self.address(ptr, at, d.size())?;
        match (t.lanes(), d) {
            (4, _) if d.size() < 4 => {
                if d == DType::Bool {
                    let one = self.int_like(types::I32X4, 1);
                    x = self.b.ins().band(x, one);
                }
                let (word, lanes) = self.narrowed(d, x);
                let all = self.bits_as(lanes, word);
                let low = self.b.ins().extractlane(all, 0);
                self.b.ins().store(FLAGS, low, p, disp);
            }
            (2, DType::Bool) => {
                for lane in 0..2 {
                    let e = self.extract(t, x, lane)?;
                    self.b.ins().store(FLAGS, e, p, disp.wrapping_add(lane as i32));
                }
            }
            _ => {
                self.b.ins().store(FLAGS, x, p, disp);
            }
        }
        Ok(())
    }

    /// Four 32-bit lanes packed into as many bytes as memory holds, and the type whose lane 0 they fill.
    fn narrowed(&mut self, d: DType, x: ir::Value) -> (ir::Value, ir::Type) {
        match d {
            DType::I16 => (self.b.ins().snarrow(x, x), types::I64X2),
            DType::I8 => {
                let h = self.b.ins().snarrow(x, x);
                (self.b.ins().snarrow(h, h), types::I32X4)
            }
            DType::U8 | DType::Bool => {
                let h = self.b.ins().snarrow(x, x);
                (self.b.ins().unarrow(h, h), types::I32X4)
            }
            // Unsigned 16 bits by the signed instruction, which every machine has: sign-extend first.
            _ => {
                let up = self.b.ins().ishl_imm_s(x, 16);
                let signed = self.b.ins().sshr_imm_s(up, 16);
                (self.b.ins().snarrow(signed, signed), types::I64X2)
            }
        }
    }
}
