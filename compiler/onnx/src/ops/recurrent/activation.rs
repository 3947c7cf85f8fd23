//! The activations of recurrent layers, by name, with their parameters from two shared lists.

use super::wrong_count;
use crate::attrs::bad;
use crate::import::call::{Call, Got};
use crate::import::value::Val;
use odc_ir::graph::{BinaryFn, Op, UnaryFn};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain(UnaryFn),
    Affine,
    LeakyRelu,
    ThresholdedRelu,
    ScaledTanh,
    HardSigmoid,
    Elu,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activation {
    kind: Kind,
    alpha: f64,
    beta: f64,
}

/// Name, kind, and the values of alpha and beta that it has if the lists end before it; `None` if it has no such parameter.
type Known = (&'static str, Kind, Option<f64>, Option<f64>);

const KNOWN: &[Known] = &[
    ("relu", Kind::Plain(UnaryFn::Relu), None, None),
    ("tanh", Kind::Plain(UnaryFn::Tanh), None, None),
    ("sigmoid", Kind::Plain(UnaryFn::Sigmoid), None, None),
    ("softsign", Kind::Plain(UnaryFn::Softsign), None, None),
    ("softplus", Kind::Plain(UnaryFn::Softplus), None, None),
    ("affine", Kind::Affine, Some(1.0), Some(0.0)),
    ("leakyrelu", Kind::LeakyRelu, Some(0.01), None),
    ("thresholdedrelu", Kind::ThresholdedRelu, Some(1.0), None),
    ("scaledtanh", Kind::ScaledTanh, Some(1.0), Some(1.0)),
    ("hardsigmoid", Kind::HardSigmoid, Some(0.2), Some(0.5)),
    ("elu", Kind::Elu, Some(1.0), None),
];

impl Activation {
    /// Those of all directions, in order; each takes its parameters from the lists if it has any.
    pub fn list(c: &Call, default: &[&'static str], directions: usize) -> Got<Vec<Activation>> {
        let want = default.len() * directions;
        let names: Vec<String> = match c.attrs.strs("activations")? {
            Some(list) if list.len() == want => list.iter().map(|n| n.to_ascii_lowercase()).collect(),
            Some(list) => return Err(wrong_count("activations", list.len(), want)),
            None => default.iter().cycle().take(want).map(|n| n.to_ascii_lowercase()).collect(),
        };
        let mut alphas = c.attrs.floats("activation_alpha")?.unwrap_or_default().iter();
        let mut betas = c.attrs.floats("activation_beta")?.unwrap_or_default().iter();
        let mut out = vec![];
        for name in names {
            let known =
                KNOWN.iter().find(|k| k.0 == name).ok_or_else(|| bad("activations", format!("`{}` is unknown", name.escape_debug())))?;
            let next = |default: Option<f64>, list: &mut std::slice::Iter<f32>| match default {
                Some(d) => list.next().map_or(d, |x| f64::from(*x)),
                None => 0.0,
            };
            out.push(Activation { kind: known.1, alpha: next(known.2, &mut alphas), beta: next(known.3, &mut betas) });
        }
        Ok(out)
    }

    pub fn apply(&self, c: &mut Call, x: &Val) -> Got<Val> {
        let number = |n: f64| Val::scalar(x.dtype(), n);
        let (alpha, beta) = (self.alpha, self.beta);
        let op = match self.kind {
            Kind::Plain(f) => return c.unary(f, x),
            Kind::Affine => {
                let scaled = c.binary(BinaryFn::Mul, x, &number(alpha))?;
                return c.binary(BinaryFn::Add, &scaled, &number(beta));
            }
            Kind::ScaledTanh => {
                let scaled = c.binary(BinaryFn::Mul, x, &number(beta))?;
                let y = c.unary(UnaryFn::Tanh, &scaled)?;
                return c.binary(BinaryFn::Mul, &y, &number(alpha));
            }
            Kind::ThresholdedRelu => {
                let above = c.binary(BinaryFn::Gt, x, &number(alpha))?;
                return c.emit(Op::Select {}, &[&above, x, &number(0.0)], x.dtype(), x.shape().to_vec());
            }
            Kind::LeakyRelu => Op::LeakyRelu { alpha },
            Kind::HardSigmoid => Op::HardSigmoid { alpha, beta },
            Kind::Elu => Op::Elu { alpha },
        };
        c.emit(op, &[x], x.dtype(), x.shape().to_vec())
    }
}
