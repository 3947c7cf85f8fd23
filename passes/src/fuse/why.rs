//! Why two dispatches are two: what each way to merge them says when nothing merges any more. The reasons are those of the code that
//! decides.

use super::{OUTPUT, Work, absorb, group, inline};
use crate::Machine;
use odc_ir::core::{Loc, Value};
use odc_ir::tensor::{Func, Module, Op};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $v:ident $text:literal,)*) => {
        /// Why a merge was refused.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Why { $($(#[doc = $doc])* $v),* }
        impl fmt::Display for Why {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Why::$v => $text),* })
            }
        }
    };
}
reasons! {
    /// One of the two is a scatter or control flow.
    NotStructured "one of the two is no map and no reduction",
    IsOutput "the value is an output of the model",
    ManyReaders "others read the value too",
    /// The consumer is a reduction or a contraction.
    NotElementwise "what reads it is no elementwise map",
    ManyOperands "together they would read too many tensors",
    /// Windows, broadcasts, gathers.
    NotOnce "it is not read once an element",
    /// A view in between, or a store that is no permutation.
    Divides "the reshape in between would need divisions for each element",
    Bindings "together they would need more buffers than the GPU binds",
    Sum "a sum would be repeated for every element that reads it",
    Costly "it is too costly to compute again where it is read",
    /// Contractions keep bare loads, so that they stay register tiles.
    Contraction "a contraction is a kernel of its own",
    Index "the index may lie outside, depends on data or would need divisions",
    ManyStages "the dispatch has as many stages as one may have",
    NoReduction "no reduction is among them: elementwise maps join by other ways",
    FewRows "they share too few rows: parallelism would be lost",
    AcrossRows "the value is read across the rows that they share",
    /// An op that depends on the group, or a size that it says.
    Between "something between them depends on the first",
    Cost "it could be, but two kernels cost less",
}

/// How two ops can become one dispatch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Way {
    /// The consumer at the end of the producer's program.
    Epilogue,
    /// The producer computed where it is read.
    Inline,
    /// Both as stages of the same rows.
    Rows,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Epilogue => "as an epilogue",
            Way::Inline => "inlined",
            Way::Rows => "by rows",
        })
    }
}

/// A producer and a consumer that are two dispatches.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Nodes of the whole dispatches.
    pub producer: Loc,
    pub consumer: Loc,
    pub reasons: Vec<(Way, Why)>,
}

/// The ops of all dispatches in one list, and which positions are one dispatch.
fn unwrapped(func: &Func) -> (Func, Vec<Vec<usize>>) {
    let mut out = func.clone();
    let mut groups = vec![];
    out.body.ops.clear();
    for op in &func.body.ops {
        match (&op.op, op.regions.as_slice()) {
            (Op::Dispatch { .. }, [region]) => {
                let inputs = region.args.iter().copied().zip(op.operands.iter().copied());
                let names: BTreeMap<Value, Value> = inputs.chain(region.yields.iter().copied().zip(op.results.iter().copied())).collect();
                let rename = |v: &mut Value| *v = names.get(v).copied().unwrap_or(*v);
                let first = out.body.ops.len();
                for inner in &region.ops {
                    let mut inner = inner.clone();
                    inner.operands.iter_mut().chain(&mut inner.results).for_each(rename);
                    out.body.ops.push(inner);
                }
                groups.push((first..out.body.ops.len()).collect());
            }
            _ => out.body.ops.push(op.clone()),
        }
    }
    (out, groups)
}

/// Why no more of the dispatches of `module` are one; an entry a pair of producer and consumer, in order.
pub fn refusals(module: &Module, machine: &Machine) -> Vec<Refusal> {
    let mut out = vec![];
    for func in &module.funcs {
        let (func, groups) = unwrapped(func);
        let w = Work::new(func, module.ranges(), module.symbols.clone(), machine);
        let loc = |g: &Vec<usize>| g.iter().filter_map(|k| w.ops[*k].as_ref()).fold(Loc::none(), |all, o| all.fuse(&o.loc));
        let group_of = |k: usize| groups.iter().position(|g| g.contains(&k));
        let mut seen = BTreeSet::new();
        for (g, members) in groups.iter().enumerate() {
            for &k in members {
                let Some(op) = &w.ops[k] else { continue };
                let through_views = |v: Value| {
                    let mut open = vec![v];
                    let mut found = vec![];
                    while let Some(v) = open.pop() {
                        for &u in w.users[v.index()].iter().filter(|u| **u != OUTPUT) {
                            match &w.ops[u] {
                                Some(o) if matches!(o.op, Op::View {}) => open.extend(&o.results),
                                Some(_) => found.push(u),
                                None => {}
                            }
                        }
                    }
                    found
                };
                for u in op.results.iter().flat_map(|v| through_views(*v)) {
                    let Some(h) = group_of(u).filter(|h| *h != g && seen.insert((g, *h))) else { continue };
                    let asked = [
                        (Way::Epilogue, absorb::refusal(&w, k)),
                        (Way::Inline, inline::refusal(&w, k)),
                        (Way::Rows, group::refusal(&w, members, u)),
                    ];
                    let reasons = asked.into_iter().map(|(way, why)| (way, why.unwrap_or(Why::Cost))).collect();
                    out.push(Refusal { producer: loc(members), consumer: loc(&groups[h]), reasons });
                }
            }
        }
    }
    out
}
