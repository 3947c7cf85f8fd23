//! Control flow as ops of several levels name it. A body is a function of the module, called by its name; it goes through every
//! pass by itself. What it uses from outside is passed as operands, so that nothing is nested in anything.

use super::attr::Attr;
use super::dtype::{DType, Scalar};
use super::func::Func;
use super::module::Module;
use super::ops::Level;
use super::text::{ParseError, Parser};
use super::types::TensorType;
use super::value::{InterpError, TensorValue, checked_elements};
use super::{Binding, Dim};
use std::rc::Rc;

/// A function of the module, by name. Functions call only functions behind them, so that no call comes back.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Callee(pub String);

impl Attr for Callee {
    fn print(&self, out: &mut String) {
        out.push('@');
        out.push_str(&self.0);
    }
    fn parse(p: &mut Parser<'_>) -> Result<Self, ParseError> {
        p.expect("@")?;
        Ok(Callee(p.ident()?.into()))
    }
}

/// What a loop's operands are, in this order: the limit (i64) and the condition (bool) if it has them, carried values, scanned
/// tensors (iteration i sees element i of their first axis); the rest is captured.
///
/// The body takes the iteration's number (i64), the carried values, the scanned elements and what is captured. It gives a bool
/// that says whether to go on, if there is a condition; the carried values; and elements that are stacked along a new first axis.
/// What is stacked has room for all iterations; where it ends early, the rest is not defined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LoopForm {
    pub limit: bool,
    pub condition: bool,
    pub carried: usize,
    pub scanned: usize,
}

impl Attr for LoopForm {
    fn print(&self, out: &mut String) {
        let word = |on: bool, w: &'static str| if on { w } else { "" };
        let text = format!("carry {} scan {}", self.carried, self.scanned);
        out.push_str(&[&text, word(self.limit, " limit"), word(self.condition, " while")].concat());
    }
    fn parse(p: &mut Parser<'_>) -> Result<Self, ParseError> {
        p.expect("carry")?;
        let carried = p.index()?;
        p.expect("scan")?;
        let scanned = p.index()?;
        Ok(LoopForm { limit: p.eat("limit"), condition: p.eat("while"), carried, scanned })
    }
}

/// A loop's operands by their use.
#[derive(Clone, Copy, Debug)]
pub struct LoopOperands<'a, T> {
    pub limit: Option<&'a T>,
    pub condition: Option<&'a T>,
    pub carried: &'a [T],
    pub scanned: &'a [T],
    pub captured: &'a [T],
}

impl LoopForm {
    /// `None` if there are too few.
    pub fn operands<'a, T>(&self, all: &'a [T]) -> Option<LoopOperands<'a, T>> {
        let (limit, rest) = all.split_at_checked(usize::from(self.limit))?;
        let (condition, rest) = rest.split_at_checked(usize::from(self.condition))?;
        let (carried, rest) = rest.split_at_checked(self.carried)?;
        let (scanned, captured) = rest.split_at_checked(self.scanned)?;
        Some(LoopOperands { limit: limit.first(), condition: condition.first(), carried, scanned, captured })
    }
}

impl<L: Level> Module<L> {
    pub fn func(&self, name: &Callee) -> Option<&Func<L>> {
        self.funcs.iter().find(|f| f.name == name.0)
    }
}

type Checked = Result<(), String>;

/// The types of a function's parameters and results.
type Signature = (Vec<TensorType>, Vec<TensorType>);

fn signature<L: Level<Type = TensorType>>(m: &Module<L>, caller: &Func<L>, callee: &Callee) -> Result<Signature, String> {
    let at = |name: &str| m.funcs.iter().position(|f| f.name == name);
    let f = m.func(callee).ok_or_else(|| format!("there is no function @{}", callee.0))?;
    if at(&callee.0) <= at(&caller.name) {
        return Err(format!("@{} does not stand behind @{}, which calls it", callee.0, caller.name));
    }
    let types = |vs: &[super::Value]| vs.iter().map(|v| f.types.get(v.index()).cloned()).collect::<Option<Vec<_>>>();
    types(&f.body.args).zip(types(&f.body.yields)).ok_or_else(|| format!("@{} is not sound", callee.0))
}

fn same(got: &[TensorType], want: &[TensorType], what: &str) -> Checked {
    if got.len() != want.len() {
        return Err(format!("{} {what} where {} are needed", got.len(), want.len()));
    }
    match got.iter().zip(want).position(|(a, b)| a != b) {
        Some(k) => Err(format!("{what} {k} is {}, {} is needed", got[k], want[k])),
        None => Ok(()),
    }
}

/// The rule of an `if`: a bool, then what both functions take; both give the results.
pub fn check_if<L: Level<Type = TensorType>>(
    m: &Module<L>,
    caller: &Func<L>,
    callees: [&Callee; 2],
    operands: &[TensorType],
    results: &[TensorType],
) -> Checked {
    let Some((condition, given)) = operands.split_first() else { return Err("it has no condition".into()) };
    same(std::slice::from_ref(condition), &[TensorType::scalar(DType::Bool)], "condition")?;
    for c in callees {
        let (takes, gives) = signature(m, caller, c)?;
        same(given, &takes, &format!("operand of @{}", c.0))?;
        same(&gives, results, &format!("result of @{}", c.0))?;
    }
    Ok(())
}

/// The rule of a `loop`: see [`LoopForm`].
pub fn check_loop<L: Level<Type = TensorType>>(
    m: &Module<L>,
    caller: &Func<L>,
    (body, trips, form): (&Callee, &Dim, &LoopForm),
    operands: &[TensorType],
    results: &[TensorType],
) -> Checked {
    let of = form.operands(operands).ok_or("it has fewer operands than its form says")?;
    let one = |t: Option<&TensorType>, dt, what: &str| same(&t.cloned().into_iter().collect::<Vec<_>>(), &[TensorType::scalar(dt)], what);
    if form.limit {
        one(of.limit, DType::I64, "limit")?;
    }
    if form.condition {
        one(of.condition, DType::Bool, "condition")?;
    }
    let (takes, gives) = signature(m, caller, body)?;
    let mut given = vec![TensorType::scalar(DType::I64)];
    given.extend_from_slice(of.carried);
    for t in of.scanned {
        match t.shape.split_first() {
            Some((n, rest)) if n == trips => given.push(TensorType::new(t.dtype, rest.to_vec())),
            _ => return Err(format!("{t} is scanned by a loop of {trips} iterations")),
        }
    }
    given.extend_from_slice(of.captured);
    same(&given, &takes, "what the body gets")?;
    let (carried, stacked) = results.split_at_checked(form.carried).ok_or("it has fewer results than carried values")?;
    let mut wanted = vec![];
    if form.condition {
        wanted.push(TensorType::scalar(DType::Bool));
    }
    wanted.extend_from_slice(of.carried);
    for t in stacked {
        match t.shape.split_first() {
            Some((n, rest)) if n == trips => wanted.push(TensorType::new(t.dtype, rest.to_vec())),
            _ => return Err(format!("{t} is stacked by a loop of {trips} iterations")),
        }
    }
    same(carried, of.carried, "carried result")?;
    same(&gives, &wanted, "what the body gives")
}

/// How deep interpreters call.
pub(crate) const MAX_CALLS: usize = 64;

fn fail(message: impl Into<String>) -> InterpError {
    InterpError::Op { op: String::new(), loc: String::new(), message: message.into() }
}

/// The one element of a condition or a limit.
pub(crate) fn single(t: &TensorValue) -> Result<Scalar, InterpError> {
    t.data.first().copied().ok_or_else(|| fail("a condition or limit without an element"))
}

type Values = Vec<Rc<TensorValue>>;

/// Runs a loop: `body` gives the body's results for its arguments.
pub(crate) fn run_loop(
    (trips, form): (&Dim, &LoopForm),
    operands: &[Rc<TensorValue>],
    results: &[TensorType],
    binding: &Binding,
    body: &mut dyn FnMut(Values) -> Result<Values, InterpError>,
) -> Result<Values, InterpError> {
    let of = form.operands(operands).ok_or_else(|| fail("too few operands"))?;
    let mut trips = binding.eval(trips)?;
    if let Some(limit) = of.limit {
        trips = trips.min(single(limit)?.as_i64());
    }
    let mut go_on = of.condition.map_or(Ok(true), |c| single(c).map(|s| s.as_bool()))?;
    let mut carried = of.carried.to_vec();
    let stacked_types = results.get(form.carried..).unwrap_or_default();
    let mut stacked: Vec<Vec<Scalar>> = vec![vec![]; stacked_types.len()];
    let mut i = 0i64;
    while i < trips && go_on {
        let mut args = vec![Rc::new(TensorValue::scalar(DType::I64, Scalar::Int(i)))];
        args.append(&mut carried);
        for t in of.scanned {
            let (_, shape) = t.shape.split_first().ok_or_else(|| fail("a scalar is scanned"))?;
            let n = checked_elements(shape)?;
            let data = t.data.get(i as usize * n..(i as usize + 1) * n).ok_or_else(|| fail("more iterations than elements"))?;
            args.push(Rc::new(TensorValue::new(t.dtype, shape.to_vec(), data.to_vec())?));
        }
        args.extend_from_slice(of.captured);
        let mut out = body(args)?.into_iter();
        if form.condition {
            let next = out.next().ok_or_else(|| fail("the body gives no condition"))?;
            go_on = single(&next)?.as_bool();
        }
        carried.extend(out.by_ref().take(form.carried));
        for (all, x) in stacked.iter_mut().zip(out) {
            all.extend_from_slice(&x.data);
        }
        i += 1;
    }
    for (t, mut data) in stacked_types.iter().zip(stacked) {
        let shape = binding.shape(&t.shape)?;
        // A value that stands out if it is ever read.
        data.resize(checked_elements(&shape)?, Scalar::Int(77).cast(DType::I64, t.dtype));
        carried.push(Rc::new(TensorValue::new(t.dtype, shape, data)?));
    }
    Ok(carried)
}
