//! Loads and stores, and the lanes of vectors. Buffers may lie anywhere and overlap; whether an access is in bounds was settled when
//! the kernel was made.

use super::{Lower, Result, element, everywhere, shaped};
use odc_ir::core::{DType, Value};
use odc_ir::loops::LoopType;

/// The type that an element has in memory.
const fn stored(d: DType) -> &'static str {
    match d {
        DType::Bool => "i8",
        _ => element(d),
    }
}

impl Lower<'_> {
    fn address(&mut self, ptr: Value, at: Value, d: DType) -> Result<String> {
        let (p, at) = (self.get(ptr)?, self.get(at)?);
        Ok(self.w.value(format_args!("getelementptr {}, ptr {p}, i64 {at}", stored(d))))
    }

    pub(super) fn load(&mut self, ptr: Value, at: Value, t: LoopType) -> Result<String> {
        let d = t.dtype();
        let (p, held) = (self.address(ptr, at, d)?, shaped(stored(d), t.lanes()));
        let x = self.w.value(format_args!("load {held}, ptr {p}, align {}", d.size()));
        if d != DType::Bool {
            return Ok(x);
        }
        Ok(self.w.value(format_args!("icmp ne {held} {x}, {}", everywhere("i8", t.lanes(), "0"))))
    }

    pub(super) fn store(&mut self, ptr: Value, at: Value, v: Value) -> Result<()> {
        let (t, mut x) = (self.ty(v)?, self.get(v)?);
        let d = t.dtype();
        let (p, held) = (self.address(ptr, at, d)?, shaped(stored(d), t.lanes()));
        if d == DType::Bool {
            x = self.w.value(format_args!("zext {} {x} to {held}", self.held(t)?));
        }
        self.w.line(format_args!("store {held} {x}, ptr {p}, align {}", d.size()));
        Ok(())
    }

    pub(super) fn splat(&mut self, t: LoopType, s: &str) -> Result<String> {
        let (held, e, n) = (self.held(t)?, element(t.dtype()), t.lanes());
        if n == 1 {
            return Ok(s.into());
        }
        if !s.starts_with('%') {
            return Ok(everywhere(e, n, s));
        }
        let one = self.w.value(format_args!("insertelement {held} poison, {e} {s}, i64 0"));
        Ok(self.w.value(format_args!("shufflevector {held} {one}, {held} poison, <{n} x i32> zeroinitializer")))
    }

    pub(super) fn extract(&mut self, t: LoopType, v: &str, lane: u32) -> Result<String> {
        Ok(self.w.value(format_args!("extractelement {} {v}, i64 {lane}", self.held(t)?)))
    }

    pub(super) fn insert(&mut self, t: LoopType, v: &str, s: &str, lane: u32) -> Result<String> {
        Ok(self.w.value(format_args!("insertelement {} {v}, {} {s}, i64 {lane}", self.held(t)?, element(t.dtype()))))
    }

    /// Applies `f` to each lane: from vectors of type `from` to one of type `to`.
    pub(super) fn by_lane(
        &mut self,
        from: LoopType,
        to: LoopType,
        operands: &[&str],
        mut f: impl FnMut(&mut Self, &[String]) -> Result<String>,
    ) -> Result<String> {
        let mut out = "poison".to_string();
        for lane in 0..to.lanes() {
            let xs = operands.iter().map(|v| self.extract(from, v, lane)).collect::<Result<Vec<_>>>()?;
            let y = f(self, &xs)?;
            out = self.insert(to, &out, &y, lane)?;
        }
        Ok(out)
    }
}
