//! Which invocation touches which element: an access's offset is split into a part that is the same for all and a part that follows
//! from the invocation and from counters of literal range, which is computed for every one of them.

use super::facts::{Def, Facts};
use odc_ir::core::{Binary, DType, Scalar, Value};
use odc_ir::loops::Op;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The most elements that one access is followed to; beyond, nothing is known of it.
const MOST: usize = 1 << 17;

/// What one access touches in all its executions.
pub struct Footprint {
    /// What all invocations add to the elements below, as values times factors.
    pub base: Vec<(Value, i64)>,
    /// Elements, ascending, and the invocation that touches each; `None`: more than one does.
    elements: Vec<(i64, Option<i64>)>,
}

impl Footprint {
    /// Some element is touched by one invocation here and by another there.
    pub fn meets(&self, other: &Footprint) -> bool {
        if self.base != other.base {
            return true;
        }
        let (mut a, mut b) = (self.elements.iter().peekable(), other.elements.iter().peekable());
        while let (Some((x, p)), Some((y, q))) = (a.peek(), b.peek()) {
            if x == y && (p.is_none() || p != q) {
                return true;
            }
            if x <= y {
                a.next();
            } else {
                b.next();
            }
        }
        false
    }
}

/// Every combination of the invocation and the counters that a value depends on, and values computed at each.
struct Points<'f, 'a> {
    facts: &'f Facts<'a>,
    n: usize,
    known: BTreeMap<Value, Rc<Vec<Scalar>>>,
}

impl<'f, 'a> Points<'f, 'a> {
    fn new(facts: &'f Facts<'a>, vars: &BTreeSet<Value>) -> Option<Self> {
        let ranges: Vec<(Value, i64, i64, i64)> = vars
            .iter()
            .map(|v| match facts.def(*v) {
                Def::Counter(op) => facts.range(op).map(|(lo, hi, step)| (*v, lo, hi, step)),
                _ => None,
            })
            .collect::<Option<_>>()?;
        let mut n = 1usize;
        let mut columns: Vec<(Value, Vec<Scalar>)> = vec![];
        for (v, lo, hi, step) in ranges {
            let count = usize::try_from(hi.checked_sub(lo)?.max(0).checked_add(step - 1)? / step).ok()?;
            let total = n.checked_mul(count).filter(|t| *t <= MOST)?;
            // Each older point once for each value of the new variable.
            columns.iter_mut().for_each(|(_, c)| *c = c.repeat(count));
            let column = (0..count).flat_map(|k| std::iter::repeat_n(Scalar::Int(lo + k as i64 * step), n));
            columns.push((v, column.collect()));
            n = total;
        }
        Some(Points { facts, n, known: columns.into_iter().map(|(v, c)| (v, Rc::new(c))).collect() })
    }

    fn column(&mut self, v: Value) -> Option<Rc<Vec<Scalar>>> {
        if let Some(c) = self.known.get(&v) {
            return Some(c.clone());
        }
        let Def::Op(op) = self.facts.def(v) else { return None };
        let dtype = |v: &Value| self.facts.func().types.get(v.index()).map(|t| t.dtype());
        let (to, from) = (dtype(&v)?, op.operands.first().and_then(dtype).unwrap_or(DType::I64));
        let x = op.operands.iter().map(|v| self.column(*v)).collect::<Option<Vec<_>>>()?;
        let column: Vec<Scalar> = match (&op.op, x.as_slice()) {
            (Op::Const { value }, _) => vec![*value; self.n],
            (Op::Unary { f }, [x]) => x.iter().map(|x| f.eval(from, *x)).collect(),
            (Op::Binary { f }, [x, y]) => x.iter().zip(y.iter()).map(|(x, y)| f.eval(from, *x, *y)).collect(),
            (Op::Cast {}, [x]) => x.iter().map(|x| x.cast(from, to)).collect(),
            (Op::Select {}, [c, x, y]) => {
                c.iter().zip(x.iter().zip(y.iter())).map(|(c, (x, y))| if c.as_bool() { *x } else { *y }).collect()
            }
            _ => return None,
        };
        let column = Rc::new(column);
        self.known.insert(v, column.clone());
        Some(column)
    }
}

/// The counters that `v` is computed from and nothing else, if so; all of literal range.
fn follows(facts: &Facts<'_>, v: Value, memo: &mut BTreeMap<Value, Option<BTreeSet<Value>>>) -> Option<BTreeSet<Value>> {
    if let Some(known) = memo.get(&v) {
        return known.clone();
    }
    let found = match facts.def(v) {
        Def::Opaque => None,
        Def::Counter(op) => facts.range(op).map(|_| BTreeSet::from([v])),
        Def::Op(op) => match op.op {
            Op::Const { .. } | Op::Unary { .. } | Op::Binary { .. } | Op::Cast {} | Op::Select {}
                if facts.func().types.get(v.index()).is_some_and(|t| t.lanes() == 1) =>
            {
                let parts = op.operands.iter().map(|x| follows(facts, *x, memo)).collect::<Option<Vec<_>>>();
                parts.map(|p| p.into_iter().flatten().collect())
            }
            _ => None,
        },
    };
    memo.insert(v, found.clone());
    found
}

/// `v * factor` as terms that follow from counters and terms that all invocations share.
#[derive(Default)]
struct Split {
    local: Vec<(Value, i64)>,
    base: BTreeMap<Value, i64>,
}

fn split(facts: &Facts<'_>, v: Value, factor: i64, memo: &mut BTreeMap<Value, Option<BTreeSet<Value>>>, out: &mut Split) -> Option<()> {
    if follows(facts, v, memo).is_some() {
        out.local.push((v, factor));
        return Some(());
    }
    if let Def::Op(op) = facts.def(v)
        && let (Op::Binary { f }, &[a, b]) = (&op.op, op.operands.as_slice())
    {
        match f {
            Binary::Add | Binary::Sub => {
                split(facts, a, factor, memo, out)?;
                let sign = if *f == Binary::Sub { -1 } else { 1 };
                return split(facts, b, factor.checked_mul(sign)?, memo, out);
            }
            Binary::Mul => {
                for (x, c) in [(a, b), (b, a)] {
                    if let Some(c) = facts.constant(c) {
                        return split(facts, x, factor.checked_mul(c)?, memo, out);
                    }
                }
            }
            _ => {}
        }
    }
    if !facts.uniform(v) {
        return None;
    }
    let sum = out.base.entry(v).or_insert(0);
    *sum = sum.checked_add(factor)?;
    Some(())
}

/// Conditions that hold where `condition` does.
fn conjuncts(facts: &Facts<'_>, condition: Value, out: &mut Vec<Value>) {
    if let Def::Op(op) = facts.def(condition)
        && let (Op::Binary { f: Binary::And }, &[a, b]) = (&op.op, op.operands.as_slice())
    {
        conjuncts(facts, a, out);
        conjuncts(facts, b, out);
    } else {
        out.push(condition);
    }
}

/// The footprint of `lanes` elements at `offset`, where the conditions in `guards` have the values beside them.
pub fn footprint(facts: &Facts<'_>, offset: Value, lanes: u32, guards: &[(Value, bool)]) -> Option<Footprint> {
    let (mut memo, mut parts) = (BTreeMap::new(), Split::default());
    split(facts, offset, 1, &mut memo, &mut parts)?;
    let mut vars: BTreeSet<Value> = facts.invocation.into_iter().collect();
    for (v, _) in &parts.local {
        vars.extend(follows(facts, *v, &mut memo)?);
    }
    // A guard counts if it needs no counters beyond those; else it may hold anywhere.
    let mut tests = vec![];
    for (condition, taken) in guards {
        let mut all = vec![];
        if *taken {
            conjuncts(facts, *condition, &mut all);
        } else {
            all.push(*condition);
        }
        all.retain(|c| follows(facts, *c, &mut memo).is_some_and(|needs| needs.is_subset(&vars)));
        tests.extend(all.into_iter().map(|c| (c, *taken)));
    }
    let mut points = Points::new(facts, &vars)?;
    if points.n.checked_mul(lanes as usize)? > MOST {
        return None;
    }
    let mut inside = vec![true; points.n];
    for (c, taken) in tests {
        let column = points.column(c)?;
        inside.iter_mut().zip(column.iter()).for_each(|(i, c)| *i &= c.as_bool() == taken);
    }
    let mut at = vec![0i64; points.n];
    for (v, factor) in &parts.local {
        let column = points.column(*v)?;
        at.iter_mut().zip(column.iter()).for_each(|(a, x)| *a = a.wrapping_add(x.as_i64().wrapping_mul(*factor)));
    }
    let who = facts.invocation.and_then(|v| points.column(v));
    let mut elements = vec![];
    for (k, a) in at.iter().enumerate().filter(|(k, _)| inside.get(*k) == Some(&true)) {
        let p = who.as_ref().and_then(|w| w.get(k)).map_or(0, |s| s.as_i64());
        elements.extend((0..i64::from(lanes)).map(|lane| (a.wrapping_add(lane), Some(p))));
    }
    elements.sort_unstable();
    elements.dedup();
    // What is left of one element is one entry for each invocation.
    elements.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 = None;
        }
        same
    });
    parts.base.retain(|_, c| *c != 0);
    Some(Footprint { base: parts.base.into_iter().collect(), elements })
}
