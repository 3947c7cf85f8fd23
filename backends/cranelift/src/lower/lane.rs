//! Vectors and their lanes: splat, extract, insert, and the way by single lanes for what machines have no vector instruction for.

use super::{Lower, Result};
use cranelift_codegen::ir::{self, InstBuilder, condcodes::IntCC};
use odc_ir::core::DType;
use odc_ir::loops::LoopType;

impl Lower<'_, '_> {
    /// A scalar as it is held in a lane of `lane` type.
    fn in_lane(&mut self, d: DType, lane: ir::Type, s: ir::Value) -> ir::Value {
        if lane.is_float() {
            return s;
        }
        let wide = match lane.bytes() > self.type_of(s).bytes() {
            true if d.is_signed_int() => self.b.ins().sextend(lane, s),
            true => self.b.ins().uextend(lane, s),
            false => s,
        };
        if d == DType::Bool { self.b.ins().ineg(wide) } else { wide }
    }

    pub(super) fn splat(&mut self, t: LoopType, s: ir::Value) -> Result<ir::Value> {
        let held = self.held(t)?;
        let x = self.in_lane(t.dtype(), held.lane_type(), s);
        Ok(self.b.ins().splat(held, x))
    }

    pub(super) fn extract(&mut self, t: LoopType, v: ir::Value, lane: u32) -> Result<ir::Value> {
        let x = self.b.ins().extractlane(v, lane as u8);
        if t.dtype() == DType::Bool {
            return Ok(self.b.ins().icmp_imm_s(IntCC::NotEqual, x, 0));
        }
        let scalar = super::scalar_type(t.dtype());
        Ok(if scalar.bytes() < self.type_of(x).bytes() { self.b.ins().ireduce(scalar, x) } else { x })
    }

    pub(super) fn insert(&mut self, t: LoopType, v: ir::Value, s: ir::Value, lane: u32) -> Result<ir::Value> {
        let held = self.held(t)?;
        let x = self.in_lane(t.dtype(), held.lane_type(), s);
        Ok(self.b.ins().insertlane(v, x, lane as u8))
    }

    /// Applies `f` to each lane: from vectors of type `from` to one of type `to`.
    pub(super) fn by_lane(
        &mut self,
        from: LoopType,
        to: LoopType,
        operands: &[ir::Value],
        mut f: impl FnMut(&mut Self, &[ir::Value]) -> Result<ir::Value>,
    ) -> Result<ir::Value> {
        let held = self.held(to)?;
        let mut out = self.int_like(held.as_int(), 0);
        out = self.bits_as(held, out);
        for lane in 0..to.lanes() {
            let xs = operands.iter().map(|v| self.extract(from, *v, lane)).collect::<Result<Vec<_>>>()?;
            let y = f(self, &xs)?;
            out = self.insert(to, out, y, lane)?;
        }
        Ok(out)
    }

    /// Brings lanes that may have left the range of a narrow integer back to how it is held (masks stay masks).
    pub(super) fn wrap_lanes(&mut self, d: DType, v: ir::Value) -> ir::Value {
        let (lane, bits) = (self.type_of(v).lane_bits(), 8 * d.size() as u32);
        if bits >= lane || d == DType::Bool {
            return v;
        }
        let by = i64::from(lane - bits);
        let up = self.b.ins().ishl_imm_s(v, by);
        if d.is_signed_int() { self.b.ins().sshr_imm_s(up, by) } else { self.b.ins().ushr_imm_s(up, by) }
    }
}
