//! Loads and stores of element types that GPU memory does not have: words are loaded and taken apart; elements that fill words are
//! put together; others are set in their word by two atomic ops, so that neighbours may be stored at the same time.

use super::{Features, Lower, Result, wide};
use odc_ir::core::{Binary, DType, Value};
use odc_ir::loops::{Func, LoopType, Op, Space};
use std::collections::BTreeSet;

const U32: LoopType = LoopType::Scalar(DType::U32);

/// Buffers into whose words something smaller is stored.
pub(super) fn atomic_buffers(f: &Func, target: &Features) -> BTreeSet<Value> {
    let mut found = BTreeSet::new();
    f.body.visit_ops(&mut |op| {
        let ty = |k: usize| op.operands.get(k).and_then(|v| f.types.get(v.index())).copied();
        if let (Op::Store {}, Some(LoopType::Ptr(d, Space::Global)), Some(v), Some(p)) = (&op.op, ty(0), ty(2), op.operands.first())
            && d.size() * (v.lanes() as usize) < 4
            && !(d == DType::F16 && target.f16)
        {
            found.insert(*p);
        }
    });
    found
}

impl Lower<'_> {
    /// An element or neighbours of old type `t` behind `p`, which was a pointer to `d`.
    pub(super) fn load(&mut self, old: Option<Value>, d: DType, p: Value, at: Value, t: LoopType) -> Result<Value> {
        let r = self.repr(t)?;
        let LoopType::Ptr(word, space) = self.ty(p) else { return Ok(self.op1(Op::Load {}, &[p, at], r)) };
        if self.native(d) {
            return Ok(self.op1(Op::Load {}, &[p, at], r));
        }
        if space != Space::Global {
            let held = match t {
                LoopType::Vector(_, n) => LoopType::Vector(word, n),
                _ => LoopType::Scalar(word),
            };
            let v = self.op1(Op::Load {}, &[p, at], held);
            return Ok(if d == DType::Bool { self.bin_c(Binary::Ne, v, 0) } else { self.convert(v, r.dtype()) });
        }
        let (n, size) = (t.lanes() as usize, d.size());
        let whole = old.is_none_or(|p| !self.atomic.contains(&p));
        if size == 8 {
            let first = self.bin_c(Binary::Mul, at, 2);
            let words = self.load_words(p, first, 2 * n, whole);
            let lanes: Vec<Value> = words.chunks(2).map(|w| self.saturated(w, d)).collect();
            let v = self.join(&lanes);
            return Ok(self.convert(v, r.dtype()));
        }
        let (bits, per) = (8 * size as i64, 4 / size);
        let mut lanes = vec![];
        if n >= per {
            let first = self.bin_c(Binary::Shr, at, i64::from(per.trailing_zeros()));
            for word in self.load_words(p, first, n / per, whole) {
                for k in 0..per as i64 {
                    let part = if k == 0 { word } else { self.bin_c(Binary::Shr, word, k * bits) };
                    lanes.push(self.decode(part, d));
                }
            }
        } else {
            let (at, shift) = self.place(at, per, bits);
            let word = self.op1(Op::Load {}, &[p, at], U32);
            let word = self.bin(Binary::Shr, word, shift);
            for k in 0..n as i64 {
                let part = if k == 0 { word } else { self.bin_c(Binary::Shr, word, k * bits) };
                lanes.push(self.decode(part, d));
            }
        }
        Ok(self.join(&lanes))
    }

    pub(super) fn store(&mut self, old: Option<Value>, d: DType, p: Value, at: Value, v: Value) -> Result<()> {
        let LoopType::Ptr(word, space) = self.ty(p) else { return Ok(()) };
        if self.native(d) {
            self.push(Op::Store {}, vec![p, at, v], vec![], vec![]);
            return Ok(());
        }
        if space != Space::Global {
            let v = if matches!(d, DType::F16 | DType::BF16) { self.round(v, d) } else { self.convert(v, word) };
            self.push(Op::Store {}, vec![p, at, v], vec![], vec![]);
            return Ok(());
        }
        let atomic = old.is_some_and(|p| self.atomic.contains(&p));
        let (lanes, size) = (self.lanes(v), d.size());
        if size == 8 {
            let first = self.bin_c(Binary::Mul, at, 2);
            let mut words = vec![];
            for x in lanes {
                let low = self.convert(x, wide(d, self.f16));
                let high = if d == DType::I64 { self.bin_c(Binary::Shr, low, 31) } else { self.int(0, low) };
                words.extend([self.bitcast(low, DType::U32), self.bitcast(high, DType::U32)]);
            }
            self.store_words(p, first, &words, atomic);
            return Ok(());
        }
        let (bits, per) = (8 * size as i64, 4 / size);
        let mut words = vec![];
        for chunk in lanes.chunks(per) {
            let mut word: Option<Value> = None;
            for (k, x) in (0i64..).zip(chunk) {
                let part = self.encode(*x, d);
                word = Some(match word {
                    None => part,
                    Some(w) => {
                        let part = self.bin_c(Binary::Shl, part, k * bits);
                        self.bin(Binary::Or, w, part)
                    }
                });
            }
            words.extend(word);
        }
        if lanes.len() >= per {
            let first = self.bin_c(Binary::Shr, at, i64::from(per.trailing_zeros()));
            self.store_words(p, first, &words, atomic);
        } else if let Some(word) = words.first() {
            let (at, shift) = self.place(at, per, bits);
            let covered = self.int((1 << (bits * lanes.len() as i64)) - 1, *word);
            let covered = self.bin(Binary::Shl, covered, shift);
            let kept = self.bin_c(Binary::Xor, covered, i64::from(u32::MAX));
            let word = self.bin(Binary::Shl, *word, shift);
            self.set_bits(p, at, kept, word);
        }
        Ok(())
    }

    /// The word that holds element `at`, `per` a word, and how far up it stands there.
    fn place(&mut self, at: Value, per: usize, bits: i64) -> (Value, Value) {
        let word = self.bin_c(Binary::Shr, at, i64::from(per.trailing_zeros()));
        let k = self.bin_c(Binary::And, at, per as i64 - 1);
        let k = self.convert(k, DType::U32);
        (word, self.bin_c(Binary::Mul, k, bits))
    }

    fn set_bits(&mut self, p: Value, at: Value, kept: Value, word: Value) {
        self.push(Op::Atomic { f: Binary::And }, vec![p, at, kept], vec![], vec![]);
        self.push(Op::Atomic { f: Binary::Or }, vec![p, at, word], vec![], vec![]);
    }

    fn load_words(&mut self, p: Value, first: Value, count: usize, vectors: bool) -> Vec<Value> {
        let step = if vectors { count.min(4) } else { 1 };
        let mut words = vec![];
        for k in (0..count).step_by(step) {
            let at = if k == 0 { first } else { self.bin_c(Binary::Add, first, k as i64) };
            let t = if step > 1 { LoopType::Vector(DType::U32, step as u32) } else { U32 };
            let v = self.op1(Op::Load {}, &[p, at], t);
            words.extend(self.lanes(v));
        }
        words
    }

    fn store_words(&mut self, p: Value, first: Value, words: &[Value], atomic: bool) {
        for (k, chunk) in words.chunks(if atomic { 1 } else { 4 }).enumerate() {
            let at = if k == 0 { first } else { self.bin_c(Binary::Add, first, (k * if atomic { 1 } else { 4 }) as i64) };
            let v = self.join(chunk);
            if atomic {
                let none = self.int(0, v);
                self.set_bits(p, at, none, v);
            } else {
                self.push(Op::Store {}, vec![p, at, v], vec![], vec![]);
            }
        }
    }

    /// A 64-bit integer from its two words, as near as 32 bits come to it.
    fn saturated(&mut self, words: &[Value], d: DType) -> Value {
        let &[low, high] = words else { return words.first().copied().unwrap_or(Value(0)) };
        if d == DType::U64 {
            let most = self.int(i64::from(u32::MAX), low);
            let fits = self.bin_c(Binary::Eq, high, 0);
            return self.select(fits, low, most);
        }
        let (low, high) = (self.bitcast(low, DType::I32), self.bitcast(high, DType::I32));
        let sign = self.bin_c(Binary::Shr, low, 31);
        let fits = self.bin(Binary::Eq, sign, high);
        // -1 or 0 of the high word's sign, with all bits but the top one turned over: the least or the largest number.
        let sign = self.bin_c(Binary::Shr, high, 31);
        let end = self.bin_c(Binary::Xor, sign, i64::from(i32::MAX));
        self.select(fits, low, end)
    }
}
