//! Scaled dot-product attention spelled out: products, masks as one added bias, softmax. Shared by every operator of this family.

use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, dtype_number, operand, unsupported_use};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op, PadMode, ReduceFn, UnaryFn};

/// One attention over `[batch, heads, length, size]`; queries may have a multiple of the heads of keys and values.
pub struct Attention {
    pub q: Val,
    pub k: Val,
    pub v: Val,
    pub scale: f64,
    /// 0 for none.
    pub softcap: f64,
    pub mask: Mask,
    /// Softmax runs in this type.
    pub precision: DType,
    /// The logit of a key that is nowhere, one a head or a scalar: it takes part in the sum only.
    pub sink: Option<Val>,
}

/// Which keys a query sees.
#[derive(Default)]
pub struct Mask {
    /// True where it does.
    pub allowed: Option<Val>,
    /// Added to the scores.
    pub added: Option<Val>,
    /// A query may see nothing at all: its row is zero then, and never NaN.
    pub may_be_empty: bool,
}

impl Mask {
    pub fn only(&mut self, c: &mut Call, allowed: Val) -> Got<()> {
        let before = self.allowed.take();
        self.allowed = c.both(before, Some(allowed))?;
        Ok(())
    }

    /// Positions a query sees: keys up to its own place, within a window (-1: open) on either side.
    /// `offset` is the place of the first query among the keys.
    pub fn places(&mut self, c: &mut Call, q: &Dim, k: &Dim, offset: &Val, [left, right]: [i64; 2]) -> Got<()> {
        if left < 0 && right < 0 {
            return Ok(());
        }
        let rows = c.positions(q, DType::I64, 2, 4)?;
        let at = c.add(&rows, offset)?;
        let keys = c.positions(k, DType::I64, 3, 4)?;
        for (reach, f, sign) in [(left, BinaryFn::Ge, -1.0), (right, BinaryFn::Le, 1.0)] {
            if reach >= 0 {
                let end = if reach == 0 { at.clone() } else { c.with(BinaryFn::Add, &at, sign * reach as f64)? };
                let seen = c.apply(f, &keys, &end)?;
                self.only(c, seen)?;
            }
        }
        Ok(())
    }

    /// All of it as one addend of the scores.
    fn bias(&self, c: &mut Call, dtype: DType) -> Got<Option<Val>> {
        let Some(allowed) = &self.allowed else {
            return Ok(self.added.clone());
        };
        let open = self.added.clone().unwrap_or_else(|| Val::scalar(dtype, 0.0));
        c.choose(allowed, &open, &Val::scalar(dtype, f64::NEG_INFINITY)).map(Some)
    }
}

/// What an attention gives, and the steps on the way.
pub struct Attended {
    pub y: Val,
    /// Scores before and after the soft cap, with the bias, and after softmax.
    pub steps: [Val; 4],
}

impl Attention {
    pub fn build(&self, c: &mut Call) -> Got<Attended> {
        let dtype = self.q.dtype();
        let q = c.scaled(&self.q, self.scale)?;
        let last = self.k.rank().saturating_sub(1);
        let mut perm: Vec<usize> = (0..self.k.rank()).collect();
        perm.swap(last, last.saturating_sub(1));
        let kt = c.transpose(&self.k, perm)?;
        let raw = grouped(c, &q, &kt)?;
        let capped = soft_cap(c, &raw, self.softcap)?;
        let bias = self.mask.bias(c, dtype)?;
        let biased = match &bias {
            Some(b) => c.add(&capped, b)?,
            None => capped.clone(),
        };
        if biased.rank() != 4 {
            return Err(operand(format!("the mask makes the scores {}, which must have four axes", biased.ty)));
        }
        let mut probs = self.soft_max(c, &biased)?;
        probs = c.cast(&probs, dtype)?;
        if let (true, Some(b)) = (self.mask.may_be_empty, &bias) {
            let axis = b.rank().saturating_sub(1);
            let most = c.reduce(ReduceFn::Max, b, &[axis], true)?;
            let empty = c.with(BinaryFn::Eq, &most, f64::NEG_INFINITY)?;
            probs = c.choose(&empty, &Val::scalar(dtype, 0.0), &probs)?;
        }
        let y = grouped(c, &probs, &self.v)?;
        Ok(Attended { y, steps: [raw, capped, biased, probs] })
    }

    fn soft_max(&self, c: &mut Call, scores: &Val) -> Got<Val> {
        let wide = c.cast(scores, self.precision)?;
        let Some(sink) = &self.sink else {
            return c.soft_max(&wide, 3, false);
        };
        // A column more, cut off again.
        let sink = c.cast(sink, self.precision)?;
        let mut shape = wide.shape().to_vec();
        if let Some(d) = shape.last_mut() {
            *d = Dim::ONE;
        }
        let heads = if sink.ty.elements().is(1) { Dim::ONE } else { shape.get(1).cloned().unwrap_or(Dim::ONE) };
        let column = c.reshape_checked(&sink, vec![Dim::ONE, heads, Dim::ONE, Dim::ONE], "the sinks")?;
        let column = c.expand(&column, shape)?;
        let all = c.join(&[&wide, &column], 3)?;
        let p = c.soft_max(&all, 3, false)?;
        c.part(&p, 3, Dim::ZERO, c.last_size(&wide))
    }
}

fn soft_cap(c: &mut Call, x: &Val, cap: f64) -> Got<Val> {
    if cap == 0.0 {
        return Ok(x.clone());
    }
    let small = c.with(BinaryFn::Div, x, cap)?;
    let bent = c.unary(UnaryFn::Tanh, &small)?;
    c.scaled(&bent, cap)
}

/// `a` times `b` over the last two axes, where a head of `b` serves a group of heads of `a`.
pub fn grouped(c: &mut Call, a: &Val, b: &Val) -> Got<Val> {
    let ([batch, heads, rows, inner], [b_batch, b_heads, b_inner, columns]) = (a.shape(), b.shape()) else {
        return Err(operand(format!("{} and {} must have four axes", a.ty, b.ty)));
    };
    if heads == b_heads || b_heads.is(1) {
        return c.product(a, b);
    }
    let (Some(n), Some(m)) = (heads.as_const(), b_heads.as_const()) else {
        c.equal(heads, b_heads, "heads of queries, keys and values")?;
        return c.product(a, b);
    };
    if m < 1 || n % m != 0 {
        return Err(operand(format!("{n} heads of queries are no multiple of {m} heads of keys and values")));
    }
    let split = vec![batch.clone(), Dim::from(m), Dim::from(n / m), rows.clone(), inner.clone()];
    let a5 = c.reshape(a, split)?;
    let b5 = c.reshape(b, vec![b_batch.clone(), Dim::from(m), Dim::ONE, b_inner.clone(), columns.clone()])?;
    let y = c.product(&a5, &b5)?;
    let batch = y.shape().first().cloned().unwrap_or(Dim::ONE);
    c.reshape(&y, vec![batch, heads.clone(), rows.clone(), columns.clone()])
}

/// A mask as the model gives it: what lacks at the end of its last axis is masked.
fn full_width(c: &mut Call, mask: &Val, total: &Dim) -> Got<Val> {
    let own = c.last_size(mask);
    match (own.as_const(), total.as_const()) {
        (Some(a), Some(b)) if a < b => {
            let mut shape = mask.shape().to_vec();
            if let Some(d) = shape.last_mut() {
                *d = total.clone();
            }
            // Bools are padded as numbers.
            let as_bool = mask.dtype() == DType::Bool;
            let (x, fill) = if as_bool { (c.cast(mask, DType::U8)?, 0.0) } else { (mask.clone(), f64::NEG_INFINITY) };
            let fill = Val::scalar(x.dtype(), fill);
            let before = vec![Dim::ZERO; x.rank()];
            let wide = c.emit(Op::Pad { mode: PadMode::Constant, before }, &[&x, &fill], x.dtype(), shape)?;
            if as_bool { c.cast(&wide, DType::Bool) } else { Ok(wide) }
        }
        _ => {
            c.equal(&own, total, "the last axis of the mask and the keys")?;
            Ok(mask.clone())
        }
    }
}

/// `1 / sqrt(size of a head)`, unless the model says otherwise (0: it does not).
pub fn scale_or_default(c: &Call, q: &Val) -> Got<f64> {
    match c.attrs.float("scale")? {
        Some(s) if s != 0.0 => Ok(f64::from(s)),
        _ => Ok(1.0 / (c.fixed(q, 3, "the size of a head")? as f64).sqrt()),
    }
}

/// ONNX Attention.
pub fn attention(c: &mut Call) -> Out {
    let (q, k, v) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let flat = q.rank() == 3;
    let [q, mut k, mut v] = if flat {
        let (heads, kv_heads) = (c.count("q_num_heads")?, c.count("kv_num_heads")?);
        [c.split_heads(&q, heads, "Q")?, c.split_heads(&k, kv_heads, "K")?, c.split_heads(&v, kv_heads, "V")?]
    } else {
        c.attrs.ignore(&["q_num_heads", "kv_num_heads"]);
        [q, k, v]
    };
    if [&q, &k, &v].iter().any(|x| x.rank() != 4) {
        return Err(operand(format!("Q, K and V are {}, {} and {}: must have three or four axes", q.ty, k.ty, v.ty)));
    }
    let scale = match c.attrs.float("scale")? {
        Some(s) => f64::from(s),
        None => scale_or_default(c, &q)?,
    };
    let mut offset = Val::scalar(DType::I64, 0.0);
    match (c.opt(4), c.opt(5)) {
        (Some(past_k), Some(past_v)) => {
            offset = c.size_of(&past_k.shape().get(2).cloned().unwrap_or(Dim::ZERO));
            k = c.join(&[&past_k, &k], 2)?;
            v = c.join(&[&past_v, &v], 2)?;
        }
        (None, None) => {}
        _ => return Err(operand("past_key and past_value must be given together")),
    }
    let (rows, total) = (q.shape().get(2).cloned().unwrap_or(Dim::ONE), k.shape().get(2).cloned().unwrap_or(Dim::ONE));
    let mut mask = Mask::default();
    if let Some(valid) = c.opt(6) {
        if c.opt(4).is_some() {
            return Err(operand("nonpad_kv_seqlen and past_key must not be given together"));
        }
        c.in_range(&valid, &[(Dim::ZERO, total.clone())], "`nonpad_kv_seqlen`")?;
        let valid = c.reshape(&valid, vec![valid.ty.elements(), Dim::ONE, Dim::ONE, Dim::ONE])?;
        let keys = c.positions(&total, DType::I64, 3, 4)?;
        let real = c.apply(BinaryFn::Lt, &keys, &valid)?;
        mask.only(c, real)?;
        mask.may_be_empty = true;
        offset = c.sub(&valid, &c.size_of(&rows))?;
    }
    if let Some(given) = c.opt(3) {
        let given = full_width(c, &given, &total)?;
        mask.may_be_empty = true;
        if given.dtype() == DType::Bool {
            mask.only(c, given)?;
        } else {
            c.same_dtype(&q, &given)?;
            mask.added = Some(given);
        }
    }
    let causal = c.attrs.flag("is_causal", false)?;
    let window = [c.attrs.int_or("left_window_size", -1)?, c.attrs.int_or("right_window_size", -1)?];
    if window.iter().any(|w| *w < -1) {
        return Err(bad("left_window_size", "and `right_window_size` must be -1 or more"));
    }
    mask.may_be_empty |= window != [-1, -1];
    mask.places(c, &rows, &total, &offset, [window[0], if causal { 0 } else { window[1] }])?;
    let precision = match c.attrs.int("softmax_precision")? {
        Some(n) => dtype_number(i32::try_from(n).unwrap_or(0))?,
        None => q.dtype(),
    };
    if !precision.is_float() {
        return Err(bad("softmax_precision", "must be a type of floats"));
    }
    let mode = match c.attrs.int_or("qk_matmul_output_mode", 0)? {
        m @ 0..=3 => m as usize,
        m => return Err(bad("qk_matmul_output_mode", format!("must be 0 to 3, is {m}"))),
    };
    let softcap = f64::from(c.attrs.float_or("softcap", 0.0)?);
    let all = Attention { q, k, v, scale, softcap, mask, precision, sink: None };
    let Attended { y, steps } = all.build(c)?;
    let y = if flat { c.merge_heads(&y)? } else { y };
    let step = steps.get(mode).cloned().ok_or_else(|| unsupported_use("no such step"))?;
    Ok(vec![y, all.k, all.v, step])
}
