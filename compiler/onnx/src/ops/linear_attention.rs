//! Linear attention: a state that decays, is corrected and written in every step, and read by the query.

use crate::attrs::bad;
use crate::diag::{Code, Fault};
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::UnaryFn;

/// More steps than these are not written out.
const MAX_STEPS: i64 = 256;

/// A state `[batch, heads, keys, values]` that decays, is corrected and written in every step, and read by the query.
pub fn linear_attention(c: &mut Call) -> Out {
    c.attrs.ignore(&["chunk_size"]);
    let rules = [("linear", (false, false)), ("gated", (true, false)), ("delta", (false, true)), ("gated_delta", (true, true))];
    let (gated, delta) = c.attrs.choice("update_rule", "gated_delta", &rules)?;
    let (heads, kv_heads) = (c.count("q_num_heads")?, c.count("kv_num_heads")?);
    if heads % kv_heads != 0 {
        return Err(bad("q_num_heads", format!("is {heads}, must be a multiple of {kv_heads} heads of keys and values")));
    }
    let query = c.input(0)?;
    let [q, k, v] = [packed(c, 0, heads, "the query")?, packed(c, 1, kv_heads, "the key")?, packed(c, 2, kv_heads, "the value")?];
    let keys = c.fixed(&k, 3, "the size of a key")?;
    let steps = c.fixed(&q, 2, "the number of steps")?;
    if steps > MAX_STEPS {
        return Err(unsupported_use(format!("{steps} steps are more than {MAX_STEPS}, which can be written out")));
    }
    let scale = match c.attrs.float_or("scale", 0.0)? {
        0.0 => 1.0 / (keys as f64).sqrt(),
        s => f64::from(s),
    };
    let [batch, _, _, values] = v.shape() else { return Err(operand("values have no heads")) };
    let need = |v: Option<Val>, used: bool, what: &str| match (v, used) {
        (Some(v), true) => Ok(Some(v)),
        (None, false) => Ok(None),
        (None, true) => Err(Fault::new(Code::Arity, format!("{what} is missing, which this rule needs"))),
        (Some(_), false) => Err(operand(format!("{what} is given, which this rule does not take"))),
    };
    // Factors by head and key, or by head alone.
    let decay = match need(c.opt(4), gated, "the decay")? {
        Some(d) => {
            let d = c.split_heads(&d, kv_heads, "the decay")?;
            let d = c.cast(&d, DType::F32)?;
            Some(c.unary(UnaryFn::Exp, &d)?)
        }
        None => None,
    };
    let beta = match need(c.opt(5), delta, "beta")? {
        Some(b) => {
            let heads = c.fixed(&b, 2, "the last axis of beta")?;
            let b = c.split_heads(&b, heads, "beta")?;
            Some(c.cast(&b, DType::F32)?)
        }
        None => None,
    };
    let state_shape = vec![batch.clone(), Dim::from(kv_heads), Dim::from(keys), values.clone()];
    let past = c.opt(3);
    let state_type = past.as_ref().map_or(query.dtype(), Val::dtype);
    if past.as_ref().is_some_and(|p| p.rank() != 4) {
        return Err(operand("the state must have four axes"));
    }
    let mut state = match past {
        Some(p) => c.cast(&p, DType::F32)?,
        None => c.expand(&Val::scalar(DType::F32, 0.0), state_shape.clone())?,
    };
    for (a, b) in state.shape().to_vec().iter().zip(&state_shape) {
        c.equal(a, b, "sizes of the state")?;
    }
    let lengths = [&k, &v].into_iter().chain(&decay).chain(&beta).filter_map(|x| x.shape().get(2).cloned()).collect::<Vec<_>>();
    for n in lengths {
        c.equal(&n, &Dim::from(steps), "numbers of steps")?;
    }
    let group = Dim::from(heads / kv_heads);
    let mut out = vec![];
    for t in 0..steps {
        let at = |c: &mut Call, x: &Val| c.part(x, 2, Dim::from(t), Dim::ONE);
        let (q, k, mut v) = (at(c, &q)?, at(c, &k)?, at(c, &v)?);
        let column = c.transpose(&k, vec![0, 1, 3, 2])?;
        if let Some(d) = &decay {
            let d = at(c, d)?;
            let d = c.transpose(&d, vec![0, 1, 3, 2])?;
            state = c.mul(&state, &d)?;
        }
        if let Some(b) = &beta {
            let b = at(c, b)?;
            let held = c.product(&k, &state)?;
            let missing = c.sub(&v, &held)?;
            v = c.mul(&b, &missing)?;
        }
        let new = c.mul(&column, &v)?;
        state = c.add(&state, &new)?;
        // Query heads of a group read one state.
        let rows = c.reshape(&q, vec![batch.clone(), Dim::from(kv_heads), group.clone(), Dim::from(keys)])?;
        let read = c.product(&rows, &state)?;
        out.push(c.reshape(&read, vec![batch.clone(), Dim::ONE, Dim::from(heads) * values])?);
    }
    let y = match out.iter().collect::<Vec<_>>().as_slice() {
        [] => return Err(operand("there are no steps")),
        all => c.join(all, 1)?,
    };
    let y = c.scaled(&y, scale)?;
    Ok(vec![c.cast(&y, query.dtype())?, c.cast(&state, state_type)?])
}

fn packed(c: &mut Call, k: usize, heads: i64, what: &str) -> Got<Val> {
    let v = c.input(k)?;
    let v = c.split_heads(&v, heads, what)?;
    c.cast(&v, DType::F32)
}
