//! Loop and Scan. What is known when compiling is decided here: a short loop is written out. The rest becomes `loop` with a body that
//! is a function.

use super::collect::collect;
use super::rows;
use crate::attrs::bad;
use crate::diag::{Code, Fault};
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::value::{Elem, List, Val};
use crate::proto::GraphProto;
use odc_ir::core::{DType, Dim, LoopForm, TensorType};
use odc_ir::graph::Op;

/// Nodes that a written-out loop may have.
const UNROLLED_NODES: usize = 256;
/// The same where nothing else will do: carried values that change their shapes.
const MOST_UNROLLED_NODES: usize = 16384;

/// The one element of a condition, if it is known.
pub fn known_bool(v: &Val) -> Option<bool> {
    match v.known.as_ref()?.as_slice() {
        [e] => e.as_bool(),
        _ => None,
    }
}

/// A tensor of one element as a scalar.
pub fn scalar(c: &mut Call, v: &Val, dtype: DType, what: &str) -> Got<Val> {
    if v.dtype() != dtype || !v.shape().iter().all(|d| d.is(1)) {
        return Err(operand(format!("{what} is {}, must be one {dtype}", v.ty)));
    }
    c.reshape(v, vec![])
}

pub fn graph<'n>(c: &Call<'_, 'n>, name: &str) -> Got<&'n GraphProto> {
    c.attrs.graph(name)?.ok_or_else(|| bad(name, "is required"))
}

/// A loop to build.
pub struct Form {
    pub trips: Dim,
    pub limit: Option<Val>,
    pub condition: Option<Val>,
    pub carried: Vec<Val>,
    /// Iteration i sees element i of the first axis of each.
    pub scanned: Vec<Val>,
}

/// What a body gives: whether to go on, carried values, values to stack.
pub struct Given {
    pub condition: Option<Val>,
    pub carried: Vec<Val>,
    pub stacked: Vec<Val>,
}

/// The loop whose body is what `fill` makes of the iteration's number, carried values and elements. Its results: the carried values,
/// then the stacked ones.
pub fn build(c: &mut Call, form: Form, what: &str, fill: impl FnOnce(&mut Call, &Val, &[Val], &[Val]) -> Got<Given>) -> Out {
    let Form { trips, limit, condition, carried, scanned } = form;
    let (body, stacked) = c.body(what, |c| {
        let number = c.build.param("iteration", TensorType::scalar(DType::I64));
        let current: Vec<Val> = carried.iter().enumerate().map(|(k, v)| c.build.param(&format!("carried{k}"), v.ty.clone())).collect();
        let element = |v: &Val| TensorType::new(v.dtype(), v.shape().get(1..).unwrap_or_default().to_vec());
        let elements: Vec<Val> = scanned.iter().enumerate().map(|(k, v)| c.build.param(&format!("element{k}"), element(v))).collect();
        let given = fill(c, &number, &current, &elements)?;
        let mut results = vec![];
        if condition.is_some() {
            let go_on = given.condition.ok_or_else(|| operand("its body gives no condition"))?;
            results.push(scalar(c, &go_on, DType::Bool, "the condition that the body gives")?);
        }
        for (k, (new, old)) in given.carried.iter().zip(&carried).enumerate() {
            results.push(as_before(c, new, &old.ty, k)?);
        }
        let stacked: Vec<TensorType> = given.stacked.iter().map(|v| v.ty.clone()).collect();
        results.extend(given.stacked);
        Ok((results, stacked))
    })?;
    let form = LoopForm { limit: limit.is_some(), condition: condition.is_some(), carried: carried.len(), scanned: scanned.len() };
    let mut operands = vec![];
    for v in limit.iter().chain(&condition).chain(&carried).chain(&scanned) {
        operands.push(c.build.value(v)?);
    }
    operands.extend(&body.captured);
    let mut types: Vec<TensorType> = carried.iter().map(|v| v.ty.clone()).collect();
    types.extend(stacked.into_iter().map(|t| {
        let mut shape = vec![trips.clone()];
        shape.extend(t.shape);
        TensorType::new(t.dtype, shape)
    }));
    c.build.call(Op::Loop { body: body.name, trips, form }, operands, types)
}

/// A carried value has one type in all iterations.
fn as_before(c: &mut Call, new: &Val, old: &TensorType, k: usize) -> Got<Val> {
    let same = new.dtype() == old.dtype && new.rank() == old.rank();
    let same = same && new.shape().iter().zip(&old.shape).all(|(a, b)| c.build.dims.simplify(a) == c.build.dims.simplify(b));
    if !same {
        let f = unsupported_use(format!("carried value {k} changes from {old} to {} in an iteration", new.ty));
        return Err(f.help("only loops with few and known iterations may change shapes: make their number a constant"));
    }
    if new.ty == *old { Ok(new.clone()) } else { c.emit(Op::Reshape {}, &[new], old.dtype, old.shape.clone()) }
}

fn count_nodes(g: &GraphProto) -> usize {
    let inner = |n: &crate::proto::NodeProto| n.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)).map(count_nodes).sum::<usize>();
    g.node.iter().map(|n| usize::from(n.op_type() != "Constant") + inner(n)).sum()
}

pub fn loop_(c: &mut Call) -> Out {
    let body = graph(c, "body")?;
    let (limit, condition) = (c.opt(0), c.opt(1));
    let initial = (2..c.inputs.len()).map(|k| c.input(k)).collect::<Got<Vec<_>>>()?;
    if body.input.len() != initial.len() + 2 || body.output.len() <= initial.len() {
        let why = format!("its body has {} inputs and {} outputs", body.input.len(), body.output.len());
        return Err(bad("body", format!("{why}, which does not fit {} carried values", initial.len())));
    }
    let mark = c.subgraphs.mark();
    // One that carries sequences was written out before, if it can be.
    let lists = initial.iter().any(|v| v.list().is_some());
    if !lists && let Some(results) = unrolled(c, body, limit.as_ref(), condition.as_ref(), &initial, UNROLLED_NODES)? {
        return Ok(results);
    }
    let fault = match rolled(c, body, limit.clone(), condition.clone(), &initial) {
        Ok(results) => return Ok(results),
        Err(f) if c.build.dims.learnt => return Err(f),
        Err(f) => f,
    };
    let problems = c.subgraphs.rollback(mark);
    if !lists && let Some(results) = unrolled(c, body, limit.as_ref(), condition.as_ref(), &initial, MOST_UNROLLED_NODES)? {
        return Ok(results);
    }
    c.subgraphs.report(problems);
    // With a known number of iterations it might be written out.
    Err(fixable(c, mark, &limit.iter().chain(&condition).collect::<Vec<_>>(), fault))
}

/// Says of the problems after `mark`, and of `fault`, that they may go away with these operands known.
pub fn fixable(c: &mut Call, mark: usize, operands: &[&Val], fault: Fault) -> Fault {
    let unknown = operands.iter().filter(|v| v.known.is_none());
    let behind: Vec<String> = unknown.flat_map(|v| c.build.inputs_behind(v)).collect();
    let problems = c.subgraphs.rollback(mark);
    c.subgraphs.report(problems.into_iter().map(|d| if d.inputs.is_empty() { d.fixable(behind.clone()) } else { d }).collect());
    if fault.inputs.is_empty() { fault.fixable(behind) } else { fault }
}

/// As a `loop`.
fn rolled(c: &mut Call, body: &GraphProto, limit: Option<Val>, condition: Option<Val>, initial: &[Val]) -> Out {
    let (mut trips, mut limit_operand) = (Dim::from(i64::MAX), None);
    if let Some(v) = limit {
        match v.known_ints().as_deref() {
            Some([d]) => trips = if c.build.dims.ranges.nonneg(d) { d.clone() } else { d.max_with(&Dim::ZERO) },
            _ => limit_operand = Some(scalar(c, &v, DType::I64, "the number of iterations")?),
        }
    }
    // Without a condition the first iteration runs; what the body says counts all the same.
    let mut first = match condition {
        Some(v) => Some(scalar(c, &v, DType::Bool, "the condition")?),
        None => Some(Val::known(TensorType::scalar(DType::Bool), vec![Elem::bool(true)])),
    };
    // A condition that always holds is none.
    if first.as_ref().and_then(known_bool) == Some(true) {
        let mark = c.subgraphs.mark();
        let holds = c.body("trial", |c| {
            let tensors = tensors(initial);
            let params: Vec<Val> = tensors.iter().map(|v| c.build.param("carried", v.ty.clone())).collect();
            let number = c.build.param("iteration", TensorType::scalar(DType::I64));
            let given = step(c, body, &number, &params, initial)?.0;
            Ok((vec![], given.condition.as_ref().and_then(known_bool) == Some(true)))
        });
        if c.build.dims.learnt {
            return Err(Fault::new(Code::Undecided, "its sizes are not settled"));
        }
        c.subgraphs.rollback(mark);
        if matches!(holds, Ok((_, true))) {
            first = None;
        }
    }
    let carried = tensors(initial);
    let own = carried.len();
    let form = Form { trips, limit: limit_operand, condition: first, carried, scanned: vec![] };
    let stacks = body.output.len() > own + 1;
    let mut appends = vec![];
    let fill = |c: &mut Call, number: &Val, carried: &[Val], _: &[Val]| {
        let (given, lists) = step(c, body, number, carried, initial)?;
        appends = lists;
        Ok(given)
    };
    let mut results = if stacks && (form.limit.is_some() || form.condition.is_some()) {
        collect(c, form, "loop", fill)?
    } else {
        build(c, form, "loop", fill)?
    };
    // Each value that is carried at its place, then what is stacked; what was appended to sequences comes first of that.
    let mut stacked = results.split_off(own.min(results.len())).into_iter();
    let (mut results, mut appends, mut out) = (results.into_iter(), appends.into_iter(), vec![]);
    for v in initial {
        out.push(match v.list() {
            None => results.next().ok_or_else(|| operand("has too few results"))?,
            Some(_) if appends.next() == Some(true) => {
                let more = stacked.next().ok_or_else(|| operand("has too few results"))?;
                rows::grown(c, v, more)?
            }
            Some(_) => v.clone(),
        });
    }
    out.extend(stacked);
    Ok(out)
}

fn tensors(values: &[Val]) -> Vec<Val> {
    values.iter().filter(|v| v.list().is_none()).cloned().collect()
}

/// The body of an ONNX loop in the function under construction, in which `carried` stand for the tensors of `initial`; and of each
/// sequence, whether something is appended to it, which is stacked.
fn step(c: &mut Call, body: &GraphProto, number: &Val, carried: &[Val], initial: &[Val]) -> Got<(Given, Vec<bool>)> {
    let mut tensors = carried.iter();
    let growing = || Val::of_list(List::Growing(vec![]));
    let args: Option<Vec<Val>> =
        initial.iter().map(|v| if v.list().is_some() { Some(growing()) } else { tensors.next().cloned() }).collect();
    let given = given(c, body, number, &args.ok_or_else(|| operand("has too few carried values"))?)?;
    let (mut carried, mut stacked, mut appends) = (vec![], vec![], vec![]);
    for (new, old) in given.carried.into_iter().zip(initial) {
        match (new.list(), old.list()) {
            (None, None) => carried.push(new),
            (Some(List::Growing(items)), Some(_)) if items.len() < 2 => {
                appends.push(!items.is_empty());
                stacked.extend(items.iter().cloned());
            }
            _ => return Err(unsupported_use("a loop of unknown length may only append one tensor to a sequence in each iteration")),
        }
    }
    stacked.extend(given.stacked);
    Ok((Given { condition: given.condition, carried, stacked }, appends))
}

/// The body of an ONNX loop for these values.
fn given(c: &mut Call, body: &GraphProto, number: &Val, carried: &[Val]) -> Got<Given> {
    let holds = Val::known(TensorType::scalar(DType::Bool), vec![Elem::bool(true)]);
    let mut args = vec![number.clone(), holds];
    args.extend_from_slice(carried);
    let mut out = c.subgraph(body, &args)?.into_iter();
    let condition = out.next();
    let carried = out.by_ref().take(carried.len()).collect();
    Ok(Given { condition, carried, stacked: out.collect() })
}

/// The loop written out, if it is short and what ends it is known; `None` if not.
fn unrolled(
    c: &mut Call,
    body: &GraphProto,
    limit: Option<&Val>,
    condition: Option<&Val>,
    initial: &[Val],
    nodes: usize,
) -> Got<Option<Vec<Val>>> {
    let most = nodes / count_nodes(body).max(1);
    let trips = match limit.map(Val::const_ints) {
        None => usize::MAX,
        Some(Some(n)) => n.first().map_or(0, |n| usize::try_from(*n).unwrap_or(0)),
        Some(None) => return Ok(None),
    };
    let mut go_on = match condition.map(known_bool) {
        None => true,
        Some(Some(flag)) => flag,
        Some(None) => return Ok(None),
    };
    let stacks = body.output.len() - 1 - initial.len();
    // Without iterations nothing says what is stacked but the body.
    if stacks > 0 && (trips == 0 || !go_on) {
        return Ok(None);
    }
    let mark = c.subgraphs.mark();
    let mut carried = initial.to_vec();
    let mut stacked: Vec<Vec<Val>> = vec![vec![]; stacks];
    let mut i = 0;
    // A loop that goes on for sure is as long as it says.
    while go_on && i < trips {
        let number = Val::known(TensorType::scalar(DType::I64), vec![Elem::int(i as i64)]);
        let step = if i < most { given(c, body, &number, &carried) } else { Err(operand("too long")) };
        if c.build.dims.learnt {
            return Err(Fault::new(Code::Undecided, "its sizes are not settled"));
        }
        let next = step.ok().and_then(|g| Some((known_bool(g.condition.as_ref()?)?, g)));
        let Some((next, g)) = next.filter(|_| c.subgraphs.mark() == mark) else {
            // What was built so far is used by nobody.
            c.subgraphs.rollback(mark);
            return Ok(None);
        };
        go_on = next;
        carried = g.carried;
        for (all, v) in stacked.iter_mut().zip(g.stacked) {
            let mut shape = vec![Dim::ONE];
            shape.extend_from_slice(v.shape());
            all.push(c.reshape(&v, shape)?);
        }
        i += 1;
    }
    for parts in stacked {
        let Some(first) = parts.first().cloned() else { return Ok(None) };
        if parts.iter().any(|p| p.ty != first.ty) {
            return Err(operand(format!("it collects elements of different shapes, {} among them", first.ty)));
        }
        let mut shape = first.shape().to_vec();
        if let Some(n) = shape.first_mut() {
            *n = Dim::from(parts.len() as i64);
        }
        let parts: Vec<&Val> = parts.iter().collect();
        carried.push(if parts.len() == 1 { first } else { c.emit(Op::Concat { axis: 0 }, &parts, first.dtype(), shape)? });
    }
    Ok(Some(carried))
}

/// Axes or directions of a scan: one entry each, 0 if there is no list.
fn list(c: &Call, name: &str, count: usize) -> Got<Vec<i64>> {
    match c.attrs.ints(name)? {
        None => Ok(vec![0; count]),
        Some(l) if l.len() == count => Ok(l.to_vec()),
        Some(l) => Err(bad(name, format!("has {} entries for {count} values", l.len()))),
    }
}

fn directions(c: &Call, name: &str, count: usize) -> Got<Vec<i64>> {
    let all = list(c, name, count)?;
    match all.iter().find(|d| !matches!(d, 0 | 1)) {
        None => Ok(all),
        Some(d) => Err(bad(name, format!("has a {d}, must be 0 (forward) or 1 (reverse)"))),
    }
}

/// Axis `from` of `x` at `to`, the others in their order.
fn move_axis(c: &mut Call, x: &Val, from: usize, to: usize) -> Got<Val> {
    if from == to {
        return Ok(x.clone());
    }
    let mut perm: Vec<usize> = (0..x.rank()).filter(|k| *k != from).collect();
    perm.insert(to.min(perm.len()), from);
    c.transpose(x, perm)
}

pub fn scan(c: &mut Call) -> Out {
    let body = graph(c, "body")?;
    let scans = c.attrs.required_int("num_scan_inputs")?;
    let batched = c.opset < 9;
    if batched && c.opt(0).is_some() {
        return Err(unsupported_use("sequence lengths of Scan are not supported"));
    }
    let all = (usize::from(batched)..c.inputs.len()).map(|k| c.input(k)).collect::<Got<Vec<_>>>()?;
    let states = usize::try_from(scans).ok().and_then(|n| all.len().checked_sub(n)).filter(|n| *n < all.len());
    let states = states.ok_or_else(|| bad("num_scan_inputs", format!("is {scans}, but there are {} inputs", all.len())))?;
    let outputs = body.output.len().checked_sub(states).filter(|_| body.input.len() == all.len());
    let outputs = outputs.ok_or_else(|| bad("body", "does not fit the inputs"))?;
    let (initial, inputs) = all.split_at(states);
    let scan = Scan {
        body,
        backwards: directions(c, if batched { "directions" } else { "scan_input_directions" }, inputs.len())?,
        axes: if batched { vec![0; inputs.len()] } else { list(c, "scan_input_axes", inputs.len())? },
        out_backwards: if batched { vec![0; outputs] } else { directions(c, "scan_output_directions", outputs)? },
        out_axes: if batched { vec![0; outputs] } else { list(c, "scan_output_axes", outputs)? },
    };
    if !batched {
        return scan.build(c, initial, inputs);
    }
    // The oldest form has a batch axis before everything: a loop over it whose body is the scan of one element.
    let batch = all.first().and_then(|v| v.shape().first()).cloned().ok_or_else(|| operand("has no batch axis"))?;
    let form = Form { trips: batch, limit: None, condition: None, carried: vec![], scanned: all.clone() };
    build(c, form, "batch", |c, _, _, elements| {
        let (initial, inputs) = elements.split_at_checked(states).ok_or_else(|| operand("has too few inputs"))?;
        Ok(Given { condition: None, carried: vec![], stacked: scan.build(c, initial, inputs)? })
    })
}

struct Scan<'n> {
    body: &'n GraphProto,
    backwards: Vec<i64>,
    axes: Vec<i64>,
    out_backwards: Vec<i64>,
    out_axes: Vec<i64>,
}

impl Scan<'_> {
    fn build(&self, c: &mut Call, initial: &[Val], inputs: &[Val]) -> Out {
        let mut scanned = vec![];
        let mut trips: Option<Dim> = None;
        for ((x, axis), backwards) in inputs.iter().zip(&self.axes).zip(&self.backwards) {
            let axis = c.axis(*axis, x.rank())?;
            let x = move_axis(c, x, axis, 0)?;
            let x = if *backwards != 0 { c.reverse(&x, 0)? } else { x };
            let n = x.shape().first().cloned().unwrap_or(Dim::ONE);
            trips = Some(match trips {
                None => n,
                Some(t) => c.equal(&t, &n, "the scanned axes")?,
            });
            scanned.push(x);
        }
        let trips = trips.ok_or_else(|| operand("scans nothing"))?;
        // Equal sizes are written alike from here on.
        for x in &mut scanned {
            let mut shape = x.shape().to_vec();
            if let Some(n) = shape.first_mut()
                && *n != trips
            {
                *n = trips.clone();
                *x = c.emit(Op::Reshape {}, &[x], x.dtype(), shape)?;
            }
        }
        let states = initial.len();
        let form = Form { trips, limit: None, condition: None, carried: initial.to_vec(), scanned };
        let results = build(c, form, "scan", |c, _, carried, elements| {
            let args: Vec<Val> = carried.iter().chain(elements).cloned().collect();
            let mut carried = c.subgraph(self.body, &args)?;
            let stacked = carried.split_off(states.min(carried.len()));
            Ok(Given { condition: None, carried, stacked })
        })?;
        let mut out = vec![];
        for (k, v) in results.into_iter().enumerate() {
            let Some(at) = k.checked_sub(states) else {
                out.push(v);
                continue;
            };
            let v = if self.out_backwards.get(at).is_some_and(|d| *d != 0) { c.reverse(&v, 0)? } else { v };
            let axis = c.axis(self.out_axes.get(at).copied().unwrap_or(0), v.rank())?;
            out.push(move_axis(c, &v, 0, axis)?);
        }
        Ok(out)
    }
}
