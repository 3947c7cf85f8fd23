//! One step of each kind of cell, as ONNX states it.

use super::activation::Activation;
use super::matrix::Matrix;
use crate::import::call::{Call, Got, operand};
use crate::import::value::Val;
use odc_ir::core::Dim;
use odc_ir::graph::{BinaryFn, Op};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cell {
    Lstm,
    Gru,
    Rnn,
}

/// What a direction has.
pub struct Weights {
    /// Of the input.
    pub w: Matrix,
    /// Of the state.
    pub r: Matrix,
    /// Of the input and of the state.
    pub bias: Option<[Val; 2]>,
    /// `[3 * hidden]`: input, output, forget.
    pub peepholes: Option<Val>,
    pub clip: Option<f64>,
    /// GRU: the reset gate acts on the product instead of on the state.
    pub reset_after: bool,
    /// LSTM: the forget gate is one minus the input gate.
    pub coupled: bool,
    /// LSTM: what is added when both products are.
    pub late_bias: Option<Val>,
    pub activations: Vec<Activation>,
}

impl Cell {
    pub fn name(self) -> &'static str {
        match self {
            Cell::Lstm => "lstm",
            Cell::Gru => "gru",
            Cell::Rnn => "rnn",
        }
    }
    pub fn gates(self) -> i64 {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
            Cell::Rnn => 1,
        }
    }
    /// The activations that a direction has if the model names none.
    pub fn activations(self) -> &'static [&'static str] {
        match self {
            Cell::Lstm => &["Sigmoid", "Tanh", "Tanh"],
            Cell::Gru => &["Sigmoid", "Tanh"],
            Cell::Rnn => &["Tanh"],
        }
    }

    /// The states after a step, the hidden one first. `x` is the input's share of the gates.
    pub fn step(self, c: &mut Call, w: &Weights, states: &[Val], x: &Val) -> Got<Vec<Val>> {
        match (self, states) {
            (Cell::Lstm, [h, cell]) => lstm(c, w, h, cell, x),
            (Cell::Gru, [h]) => Ok(vec![gru(c, w, h, x)?]),
            (Cell::Rnn, [h]) => {
                let r = w.r.product(c, h)?;
                let sum = c.binary(BinaryFn::Add, x, &r)?;
                Ok(vec![w.activate(c, 0, &sum)?])
            }
            _ => Err(operand("has other states than its kind")),
        }
    }
}

/// Gate `k` of `[batch, gates * hidden]`, or of `[gates * hidden]`.
fn gate(c: &mut Call, all: &Val, k: i64, hidden: &Dim) -> Got<Val> {
    c.part(all, all.rank() - 1, hidden * k, hidden.clone())
}

impl Weights {
    /// What may be added before the loop: all of the bias but the share that a reset gate acts on.
    pub fn input_bias(&self, c: &mut Call, hidden: &Dim) -> Got<Option<Val>> {
        let Some([of_input, of_state]) = &self.bias else { return Ok(None) };
        if !self.reset_after {
            return c.binary(BinaryFn::Add, of_input, of_state).map(Some);
        }
        let (two, zero) = (hidden * 2, Val::scalar(of_state.dtype(), 0.0));
        let first = c.part(of_state, 0, Dim::ZERO, two)?;
        let rest = c.expand(&zero, vec![hidden.clone()])?;
        let share = c.emit(Op::Concat { axis: 0 }, &[&first, &rest], first.dtype(), of_state.shape().to_vec())?;
        c.binary(BinaryFn::Add, of_input, &share).map(Some)
    }

    fn activate(&self, c: &mut Call, k: usize, x: &Val) -> Got<Val> {
        let mut x = x.clone();
        if let Some(t) = self.clip {
            let (lo, hi) = (Val::scalar(x.dtype(), -t), Val::scalar(x.dtype(), t));
            x = c.binary(BinaryFn::Max, &x, &lo)?;
            x = c.binary(BinaryFn::Min, &x, &hi)?;
        }
        self.activations.get(k).ok_or_else(|| operand("has too few activations"))?.apply(c, &x)
    }

    /// `x + p * state` with the k-th peephole.
    fn peep(&self, c: &mut Call, k: i64, x: Val, state: &Val) -> Got<Val> {
        let Some(p) = &self.peepholes else { return Ok(x) };
        let p = gate(c, p, k, &state.shape()[1].clone())?;
        let seen = c.binary(BinaryFn::Mul, state, &p)?;
        c.binary(BinaryFn::Add, &x, &seen)
    }
}

fn lstm(c: &mut Call, w: &Weights, h: &Val, cell: &Val, x: &Val) -> Got<Vec<Val>> {
    let hidden = h.shape()[1].clone();
    let r = w.r.product(c, h)?;
    let mut all = c.binary(BinaryFn::Add, x, &r)?;
    if let Some(bias) = &w.late_bias {
        all = c.binary(BinaryFn::Add, &all, bias)?;
    }
    let (i, o) = (gate(c, &all, 0, &hidden)?, gate(c, &all, 1, &hidden)?);
    let (f, g) = (gate(c, &all, 2, &hidden)?, gate(c, &all, 3, &hidden)?);
    let i = w.peep(c, 0, i, cell)?;
    let i = w.activate(c, 0, &i)?;
    let f = if w.coupled {
        c.binary(BinaryFn::Sub, &Val::scalar(i.dtype(), 1.0), &i)?
    } else {
        let f = w.peep(c, 2, f, cell)?;
        w.activate(c, 0, &f)?
    };
    let g = w.activate(c, 1, &g)?;
    let kept = c.binary(BinaryFn::Mul, &f, cell)?;
    let new = c.binary(BinaryFn::Mul, &i, &g)?;
    let cell = c.binary(BinaryFn::Add, &kept, &new)?;
    let o = w.peep(c, 1, o, &cell)?;
    let o = w.activate(c, 0, &o)?;
    // The outer function sees the cell as it is: only gates are clipped.
    let shown = w.activations.get(2).ok_or_else(|| operand("has too few activations"))?.apply(c, &cell)?;
    Ok(vec![c.binary(BinaryFn::Mul, &o, &shown)?, cell])
}

fn gru(c: &mut Call, w: &Weights, h: &Val, x: &Val) -> Got<Val> {
    let hidden = h.shape()[1].clone();
    let two = &hidden * 2;
    let r_gates = w.r.rows(c, Dim::ZERO, two.clone())?;
    let r_hidden = w.r.rows(c, two.clone(), hidden.clone())?;
    let x_gates = c.part(x, 1, Dim::ZERO, two)?;
    let x_hidden = gate(c, x, 2, &hidden)?;
    let p = r_gates.product(c, h)?;
    let gates = c.binary(BinaryFn::Add, &x_gates, &p)?;
    let gates = w.activate(c, 0, &gates)?;
    let (z, r) = (gate(c, &gates, 0, &hidden)?, gate(c, &gates, 1, &hidden)?);
    let from_state = if w.reset_after {
        let mut p = r_hidden.product(c, h)?;
        if let Some([_, b]) = &w.bias {
            let b = gate(c, b, 2, &hidden)?;
            p = c.binary(BinaryFn::Add, &p, &b)?;
        }
        c.binary(BinaryFn::Mul, &r, &p)?
    } else {
        let seen = c.binary(BinaryFn::Mul, &r, h)?;
        r_hidden.product(c, &seen)?
    };
    let new = c.binary(BinaryFn::Add, &x_hidden, &from_state)?;
    let new = w.activate(c, 1, &new)?;
    let rest = c.binary(BinaryFn::Sub, &Val::scalar(z.dtype(), 1.0), &z)?;
    let (new, old) = (c.binary(BinaryFn::Mul, &rest, &new)?, c.binary(BinaryFn::Mul, &z, h)?);
    c.binary(BinaryFn::Add, &new, &old)
}
