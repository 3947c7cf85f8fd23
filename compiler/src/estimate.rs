//! What a model will cost, told from its graph alone: multiply-adds, weights, and the memory of values that live at the same time.

use crate::macs;
use odc_ir::core::{Dim, Sym, Value};
use odc_ir::graph::{Module, Op};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// A formula of the dims.
    pub macs: Dim,
    pub weight_bytes: u64,
    /// The dims' least sizes, which the next two are for.
    pub at: BTreeMap<String, i64>,
    pub macs_at: Option<u64>,
    /// At the peak, if nothing were fused; fusing needs less.
    pub activation_bytes_at: Option<u64>,
}

impl Estimate {
    pub fn of(m: &Module) -> Estimate {
        let sizes: BTreeMap<Sym, i64> = m.symbols.iter().map(|(s, k)| (s.clone(), k.lo.max(1))).collect();
        let size = |d: &Dim| u64::try_from(d.eval(&|s| sizes.get(s).copied()).ok()?).ok();
        let macs = macs::formula(m);
        Estimate {
            macs_at: size(&macs),
            macs,
            weight_bytes: m.consts.iter().map(|c| c.bytes.len() as u64).sum(),
            at: sizes.iter().map(|(s, v)| (s.name().to_owned(), *v)).collect(),
            activation_bytes_at: peak(m, &size),
        }
    }
}

impl Estimate {
    /// A size of the same model at the dims' least sizes.
    pub fn size(&self, d: &Dim) -> Option<u64> {
        u64::try_from(d.eval(&|s| self.at.get(s.name()).copied()).ok()?).ok()
    }
}

/// The most bytes of results that are still needed, over the operations in order.
fn peak(m: &Module, size: &dyn Fn(&Dim) -> Option<u64>) -> Option<u64> {
    let f = m.main()?;
    let mut last = BTreeMap::new();
    for (k, op) in f.body.ops.iter().enumerate() {
        last.extend(op.operands.iter().map(|v| (*v, k)));
    }
    last.extend(f.body.yields.iter().map(|v| (*v, usize::MAX)));
    let bytes = |v: &Value| size(&f.ty(*v).bytes());
    let (mut live, mut peak) = (0u64, 0u64);
    let mut held: BTreeMap<Value, u64> = BTreeMap::new();
    for (k, op) in f.body.ops.iter().enumerate() {
        if matches!(op.op, Op::Constant { .. }) {
            continue;
        }
        for v in &op.results {
            let n = bytes(v)?;
            live = live.checked_add(n)?;
            held.insert(*v, n);
        }
        peak = peak.max(live);
        for v in op.operands.iter().chain(&op.results).filter(|v| last.get(v).is_none_or(|l| *l == k)) {
            live = live.saturating_sub(held.remove(v).unwrap_or(0));
        }
    }
    Some(peak)
}

#[cfg(test)]
mod tests {
    use super::*;
    use odc_ir::core::{no_blobs, parse_module};

    #[test]
    fn values_die_after_their_last_use() {
        let text = "graph module \"m\" {
          dim n in 1.. from \"x\" 0
          func @main(%0 \"x\": f32[n, 4]) {
            %1 = unary {f = relu} %0 : f32[n, 4]
            %2 = unary {f = exp} %1 : f32[n, 4]
            %3 = unary {f = tanh} %2 : f32[n, 4]
            yield %3 \"y\"
          }
        }";
        let m = parse_module(text, &no_blobs).unwrap();
        let e = Estimate::of(&m);
        assert_eq!((e.activation_bytes_at, e.macs_at, e.weight_bytes), (Some(32), Some(0), 0));
    }
}
