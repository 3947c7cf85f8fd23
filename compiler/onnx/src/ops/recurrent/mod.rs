//! LSTM, GRU and RNN: the products of the inputs with their weights for all steps at once, then a loop over the steps whose body
//! is the product with the hidden state and the cell.

mod activation;
mod cell;
mod matrix;

use super::control::{Form, Given, build};
use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::value::Val;
use activation::Activation;
use cell::{Cell, Weights};
use matrix::Matrix;
use odc_ir::core::{DType, Dim, TensorType};
use odc_ir::graph::{BinaryFn, Op};

pub fn lstm(c: &mut Call) -> Out {
    recurrent(c, Cell::Lstm, false)
}
pub fn gru(c: &mut Call) -> Out {
    recurrent(c, Cell::Gru, false)
}
pub fn rnn(c: &mut Call) -> Out {
    recurrent(c, Cell::Rnn, false)
}
/// An LSTM whose weights are codes, each matrix the other way round.
pub fn dynamic_quantize_lstm(c: &mut Call) -> Out {
    recurrent(c, Cell::Lstm, true)
}

/// What all directions share.
struct Layer {
    cell: Cell,
    /// `[time, batch, input]`
    x: Val,
    lengths: Option<Val>,
    time: Dim,
    batch: Dim,
    hidden: Dim,
    /// Are all steps' results asked for?
    all_steps: bool,
}

/// `[time, batch, hidden]`, if asked for, and the last states `[batch, hidden]`.
type Results = (Option<Val>, Vec<Val>);

fn recurrent(c: &mut Call, cell: Cell, codes: bool) -> Out {
    c.attrs.ignore(&["output_sequence"]);
    let batch_first = c.attrs.flag("layout", false)?;
    let mut x = c.input(0)?;
    let (w, r) = (c.input(1)?, c.input(2)?);
    if x.rank() != 3 || w.rank() != 3 || r.rank() != 3 {
        return Err(operand(format!("needs tensors of 3 axes, has {}, {} and {}", x.ty, w.ty, r.ty)));
    }
    if batch_first {
        x = c.transpose(&x, vec![1, 0, 2])?;
    }
    let backwards: &[bool] = c.attrs.choice(
        "direction",
        "forward",
        &[("forward", &[false][..]), ("reverse", &[true][..]), ("bidirectional", &[false, true][..])],
    )?;
    let directions = Dim::from(backwards.len() as i64);
    let (gates_at, size_at) = if codes { (2, 1) } else { (1, 2) };
    let hidden = r.shape()[size_at].clone();
    if let Some(n) = c.attrs.int("hidden_size")? {
        c.equal(&hidden, &Dim::from(n), "hidden_size")?;
    }
    let gates = &hidden * cell.gates();
    for v in [&w, &r] {
        c.equal(&v.shape()[0], &directions, "directions")?;
        c.equal(&v.shape()[gates_at], &gates, "rows of the weights")?;
    }
    c.equal(&w.shape()[size_at], &x.shape()[2], "the size of an input")?;
    let (time, batch) = (x.shape()[0].clone(), x.shape()[1].clone());
    let layer = Layer { cell, lengths: lengths(c, &time)?, time, batch, hidden, all_steps: c.has_output(0), x };
    let mut activations = Activation::list(c, cell.activations(), backwards.len())?.into_iter();
    let mut done: Vec<Results> = vec![];
    for (k, reverse) in backwards.iter().enumerate() {
        let weights = weights(c, cell, k, codes)?;
        let weights = Weights { activations: activations.by_ref().take(cell.activations().len()).collect(), ..weights };
        let mut initial = vec![state(c, 5, k, batch_first, &layer)?];
        if cell == Cell::Lstm {
            initial.push(state(c, 6, k, batch_first, &layer)?);
        }
        done.push(direction(c, &layer, weights, initial, *reverse)?);
    }
    let mut out = vec![];
    let steps: Option<Vec<Val>> = done.iter().map(|(y, _)| y.clone()).collect();
    let states = if cell == Cell::Lstm { 2 } else { 1 };
    let lasts: Vec<Vec<Val>> = (0..states).map(|k| done.iter().filter_map(|(_, s)| s.get(k).cloned()).collect()).collect();
    for (k, parts) in steps.into_iter().chain(lasts).enumerate() {
        // The directions as an axis behind the time, or first.
        let at = if layer.all_steps && k == 0 { 1 } else { 0 };
        let y = stack(c, parts, at)?;
        let perm = if at == 1 { vec![2, 0, 1, 3] } else { vec![1, 0, 2] };
        out.push(if batch_first { c.transpose(&y, perm)? } else { y });
    }
    if !layer.all_steps {
        // Nobody reads it.
        out.insert(0, out.first().cloned().ok_or_else(|| operand("has no state"))?);
    }
    Ok(out)
}

/// Values side by side along a new axis.
fn stack(c: &mut Call, parts: Vec<Val>, at: usize) -> Got<Val> {
    let mut list = vec![];
    for p in parts {
        let mut shape = p.shape().to_vec();
        shape.insert(at.min(shape.len()), Dim::ONE);
        list.push(c.reshape(&p, shape)?);
    }
    let first = list.first().cloned().ok_or_else(|| operand("has no direction"))?;
    if list.len() == 1 {
        return Ok(first);
    }
    let mut shape = first.shape().to_vec();
    if let Some(n) = shape.get_mut(at) {
        *n = Dim::from(list.len() as i64);
    }
    let refs: Vec<&Val> = list.iter().collect();
    c.emit(Op::Concat { axis: at }, &refs, first.dtype(), shape)
}

/// The length of each sequence, unless all are known to be whole.
fn lengths(c: &mut Call, time: &Dim) -> Got<Option<Val>> {
    let Some(v) = c.opt(4) else { return Ok(None) };
    c.in_range(&v, &[(Dim::ZERO, time.clone())], "the length of a sequence")?;
    if v.known_ints().is_some_and(|l| l.iter().all(|d| d == time)) {
        return Ok(None);
    }
    c.cast(&v, DType::I64).map(Some)
}

/// The part of direction `k` along an axis, without that axis; `rank` is that of the whole.
fn of_direction(c: &mut Call, v: &Val, k: usize, axis: usize, rank: usize) -> Got<Val> {
    if v.rank() != rank {
        return Err(operand(format!("{} must have {rank} axes", v.ty)));
    }
    let part = c.part(v, axis, Dim::from(k as i64), Dim::ONE)?;
    let shape = part.shape().iter().enumerate().filter(|(a, _)| *a != axis).map(|(_, d)| d.clone()).collect();
    c.reshape(&part, shape)
}

fn weights(c: &mut Call, cell: Cell, k: usize, codes: bool) -> Got<Weights> {
    let (w, r) = match codes {
        true => (Matrix::codes(c, k, 1, 8)?, Matrix::codes(c, k, 2, 10)?),
        false => (Matrix::floats(c, k, 1)?, Matrix::floats(c, k, 2)?),
    };
    let bias = match c.opt(3) {
        Some(b) => {
            let b = of_direction(c, &b, k, 0, 2)?;
            let half = w.width();
            c.equal(&b.shape()[0], &(&half * 2), "the size of the bias")?;
            Some([c.part(&b, 0, Dim::ZERO, half.clone())?, c.part(&b, 0, half.clone(), half)?])
        }
        None => None,
    };
    let peepholes = match c.opt(7) {
        Some(p) if cell == Cell::Lstm => Some(of_direction(c, &p, k, 0, 2)?),
        _ => None,
    };
    let clip = c.attrs.float("clip")?.map(f64::from).filter(|x| *x > 0.0);
    let reset_after = cell == Cell::Gru && c.attrs.flag("linear_before_reset", false)?;
    let coupled = cell == Cell::Lstm && c.attrs.flag("input_forget", false)?;
    Ok(Weights { w, r, bias, peepholes, clip, reset_after, coupled, late_bias: None, activations: vec![] })
}

/// An initial state `[batch, hidden]`, zero if it is not given.
fn state(c: &mut Call, input: usize, k: usize, batch_first: bool, layer: &Layer) -> Got<Val> {
    let shape = vec![layer.batch.clone(), layer.hidden.clone()];
    match c.opt(input) {
        Some(v) => {
            let v = of_direction(c, &v, k, usize::from(batch_first), 3)?;
            for (a, b) in v.shape().iter().zip(&shape) {
                c.equal(a, b, "the shape of an initial state")?;
            }
            c.reshape(&v, shape)
        }
        None => {
            let zero = Val::scalar(layer.x.dtype(), 0.0);
            c.expand(&zero, shape)
        }
    }
}

fn direction(c: &mut Call, layer: &Layer, weights: Weights, initial: Vec<Val>, reverse: bool) -> Got<Results> {
    let x = if reverse { backwards(c, layer, &layer.x)? } else { layer.x.clone() };
    // All steps at once: [time, batch, gates].
    let mut inputs = weights.w.product(c, &x)?;
    let mut late_bias = None;
    if let Some(bias) = weights.input_bias(c, &layer.hidden)? {
        match weights.w.rounds() {
            true => late_bias = Some(bias),
            false => inputs = c.binary(BinaryFn::Add, &inputs, &bias)?,
        }
    }
    let weights = Weights { late_bias, ..weights };
    let (cell, lengths) = (layer.cell, layer.lengths.clone());
    let step = |c: &mut Call, number: Option<&Val>, states: &[Val], x: &Val| -> Got<(Vec<Val>, Val)> {
        let mut new = cell.step(c, &weights, states, x)?;
        let mut y = new.first().cloned().ok_or_else(|| operand("has no state"))?;
        if let (Some(lengths), Some(number)) = (&lengths, number) {
            // Behind its end a sequence keeps its states and gives zeros.
            let alive = c.binary(BinaryFn::Lt, number, lengths)?;
            let alive = c.reshape(&alive, vec![layer.batch.clone(), Dim::ONE])?;
            let zero = Val::scalar(y.dtype(), 0.0);
            y = c.emit(Op::Select {}, &[&alive, &y, &zero], y.dtype(), y.shape().to_vec())?;
            for (n, old) in new.iter_mut().zip(states) {
                *n = c.emit(Op::Select {}, &[&alive, n, old], n.dtype(), n.shape().to_vec())?;
            }
        }
        Ok((new, y))
    };
    let (y, states) = if layer.time.is(1) {
        let x = c.reshape(&inputs, inputs.shape()[1..].to_vec())?;
        let (states, y) =
            step(c, Some(&Val::known(TensorType::scalar(DType::I64), vec![crate::import::value::Elem::int(0)])), &initial, &x)?;
        (Some(stack(c, vec![y], 0)?), states)
    } else {
        let form = Form { trips: layer.time.clone(), limit: None, condition: None, carried: initial.clone(), scanned: vec![inputs] };
        let mut states = build(c, form, cell.name(), |c, number, states, elements| {
            let x = elements.first().cloned().ok_or_else(|| operand("has no input"))?;
            let (carried, y) = step(c, Some(number), states, &x)?;
            Ok(Given { condition: None, carried, stacked: if layer.all_steps { vec![y] } else { vec![] } })
        })?;
        (states.split_off(initial.len().min(states.len())).pop(), states)
    };
    let y = match y.filter(|_| layer.all_steps) {
        Some(y) if reverse => Some(backwards(c, layer, &y)?),
        y => y,
    };
    Ok((y, states))
}

/// The steps in reverse order; with lengths, each sequence within its own.
fn backwards(c: &mut Call, layer: &Layer, x: &Val) -> Got<Val> {
    let Some(lengths) = &layer.lengths else { return c.reverse(x, 0) };
    if layer.time.as_const() == Some(0) {
        return Err(unsupported_use("a sequence without steps is not supported"));
    }
    let (time, batch) = (layer.time.clone(), layer.batch.clone());
    let (zero, one) = (Val::scalar(DType::I64, 0.0), Val::scalar(DType::I64, 1.0));
    let t = c.emit(Op::Range {}, &[&zero, &one], DType::I64, vec![time.clone()])?;
    let t = c.reshape(&t, vec![time.clone(), Dim::ONE])?;
    let inside = c.binary(BinaryFn::Lt, &t, lengths)?;
    let last = c.binary(BinaryFn::Sub, lengths, &one)?;
    let mirrored = c.binary(BinaryFn::Sub, &last, &t)?;
    let shape = vec![time.clone(), batch.clone()];
    let from = c.emit(Op::Select {}, &[&inside, &mirrored, &t], DType::I64, shape)?;
    let from = c.reshape(&from, vec![time, batch, Dim::ONE])?;
    let from = c.expand(&from, x.shape().to_vec())?;
    c.emit(Op::GatherElements { axis: 0 }, &[x, &from], x.dtype(), x.shape().to_vec())
}

/// A list of another length than the model's directions want.
fn wrong_count(name: &str, found: usize, want: usize) -> crate::diag::Fault {
    bad(name, format!("has {found} entries, must have {want}"))
}
