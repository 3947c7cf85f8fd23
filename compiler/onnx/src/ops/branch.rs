//! If. A known condition leaves one branch. Else both become functions, one of which is called; or, where data decides sizes in a
//! branch or the branches give different shapes, both are computed and the results of one are taken.

use super::control::{fixable, graph, known_bool, scalar};
use crate::diag::{Code, Fault};
use crate::import::build::Body;
use crate::import::call::{Call, Got, Out};
use crate::import::value::Val;
use crate::proto::GraphProto;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{Op, PadMode};

/// A subgraph without inputs as a function; its results beside it.
fn branch(c: &mut Call, what: &str, g: &GraphProto) -> Got<(Body, Vec<Val>)> {
    c.body(what, |c| {
        let results = c.subgraph(g, &[])?;
        Ok((results.clone(), results))
    })
}

pub fn if_(c: &mut Call) -> Out {
    let condition = c.input(0)?;
    let branches = [graph(c, "then_branch")?, graph(c, "else_branch")?];
    if let Some(flag) = known_bool(&condition) {
        return c.subgraph(branches[usize::from(!flag)], &[]);
    }
    let condition = scalar(c, &condition, DType::Bool, "the condition")?;
    let mark = c.subgraphs.mark();
    let fault = match called(c, &condition, branches) {
        Ok(results) => return Ok(results),
        Err(f) => f,
    };
    if c.build.dims.learnt {
        return Err(fixable(c, mark, &[&condition], fault));
    }
    let problems = c.subgraphs.rollback(mark);
    if fault.code == Code::DataDependentShape || problems.iter().any(|p| p.code == Code::DataDependentShape) {
        let facts = c.build.dims.facts.clone();
        let both = both_ways(c, &condition, branches);
        if both.is_ok() || c.build.dims.learnt && c.build.inputs_behind(&condition).is_empty() {
            return both;
        }
        (c.build.dims.facts, c.build.dims.learnt) = (facts, false);
        c.subgraphs.rollback(mark);
    }
    c.subgraphs.report(problems);
    // With a known condition one branch would do.
    Err(fixable(c, mark, &[&condition], fault))
}

/// One of two functions is called.
fn called(c: &mut Call, condition: &Val, [then, otherwise]: [&GraphProto; 2]) -> Out {
    let mark = c.subgraphs.mark();
    let behind = c.build.inputs_behind(condition);
    let facts = c.build.dims.facts.clone();
    let mut both = branch(c, "then", then).and_then(|a| Ok((a, branch(c, "else", otherwise)?)));
    if c.build.dims.learnt && !behind.is_empty() {
        // What only one branch needs of the sizes must not bind the other one.
        (c.build.dims.facts, c.build.dims.learnt) = (facts, false);
        c.subgraphs.rollback(mark);
        both = Err(Fault::new(Code::DataDependentShape, "its branches want other sizes than the rest of the model"));
    }
    let ((mut a, ours), (mut b, theirs)) = both?;
    let alike =
        |c: &Call, x: &Val, y: &Val| x.shape().iter().zip(y.shape()).all(|(p, q)| c.build.dims.simplify(p) == c.build.dims.simplify(q));
    comparable(&ours, &theirs)?;
    if let Some((x, y)) = ours.iter().zip(&theirs).find(|(x, y)| !alike(c, x, y)) {
        return Err(differ(format!("its branches give {} and {}, and which one runs depends on data", x.ty, y.ty)));
    }
    c.build.same_captures(&mut a, &mut b);
    let mut operands = vec![c.build.value(condition)?];
    operands.extend(&a.captured);
    let types = a.results.clone();
    let results = c.build.call(Op::If { then: a.name, otherwise: b.name }, operands, types)?;
    // What both branches know alike is known.
    let known = |(r, (x, y)): (Val, (&Val, &Val))| match (&x.known, &y.known) {
        (Some(p), Some(q)) if p == q => Val::known(x.ty.clone(), p.to_vec()),
        _ => r,
    };
    Ok(results.into_iter().zip(ours.iter().zip(&theirs)).map(known).collect())
}

fn differ(why: String) -> Fault {
    let f = Fault::new(Code::DataDependentShape, why);
    f.help("export the model so that both branches give the same shapes, or make the condition known")
}

/// As many results, of the same types and ranks?
fn comparable(ours: &[Val], theirs: &[Val]) -> Got<()> {
    if ours.len() != theirs.len() {
        return Err(Fault::new(Code::Arity, format!("its branches give {} and {} results", ours.len(), theirs.len())));
    }
    match ours.iter().zip(theirs).find(|(x, y)| x.dtype() != y.dtype() || x.rank() != y.rank()) {
        Some((x, y)) => Err(differ(format!("its branches give {} and {}, and which one runs depends on data", x.ty, y.ty))),
        None => Ok(()),
    }
}

/// Both branches here, and of each result one: its sizes are counts that the condition decides.
fn both_ways(c: &mut Call, condition: &Val, [then, otherwise]: [&GraphProto; 2]) -> Out {
    c.build.unsure += 1;
    let both = c.subgraph(then, &[]).and_then(|x| Ok((x, c.subgraph(otherwise, &[])?)));
    c.build.unsure -= 1;
    let (ours, theirs) = both?;
    comparable(&ours, &theirs)?;
    let mut out = vec![];
    for (x, y) in ours.iter().zip(&theirs) {
        let mut shape: Vec<Dim> = vec![];
        for (a, b) in x.shape().to_vec().iter().zip(y.shape()) {
            let (a, b) = (c.build.dims.simplify(a), c.build.dims.simplify(b));
            shape.push(if a == b {
                a
            } else {
                let (p, q) = (c.size(&a, DType::I64)?, c.size(&b, DType::I64)?);
                let size = c.choose(condition, &p, &q)?;
                c.build.count(&size, &a.max_with(&b))?
            });
        }
        let fitted = |c: &mut Call, v: &Val| {
            let pad = Op::Pad { mode: PadMode::Constant, before: vec![Dim::ZERO; v.rank()] };
            if v.shape() == shape { Ok(v.clone()) } else { c.emit(pad, &[v], v.dtype(), shape.clone()) }
        };
        let (x, y) = (fitted(c, x)?, fitted(c, y)?);
        out.push(c.emit(Op::Select {}, &[condition, &x, &y], x.dtype(), shape.clone())?);
    }
    Ok(out)
}
