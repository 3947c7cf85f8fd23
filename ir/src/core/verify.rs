//! What every level's verifier shares: arities from the table, definitions before uses, sizes without overflow. A level adds its
//! own rules by op through [`Check`].

use super::func::{Block, Func, Loc, Operation, Value};
use super::module::Module;
use super::ops::{Level, OpSet};
use super::types::Type;

/// One broken rule: where and what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("@{func}: {op} ({loc}): {message}")]
pub struct VerifyError {
    pub func: String,
    pub op: String,
    pub loc: String,
    pub message: String,
}

/// A level's own rules for one operation.
pub type Check<L> = fn(&Module<L>, &Func<L>, &Operation<L>) -> Result<(), String>;

/// All broken rules of a module, in order.
pub fn verify<L: Level>(m: &Module<L>, check: Check<L>) -> Vec<VerifyError> {
    let mut errors = vec![];
    let params: Vec<_> = m.main().iter().flat_map(|f| f.param_names.iter().map(|n| (n.as_str(), true))).collect();
    for message in super::in_range::broken_checks(&m.in_range, &m.symbols, &params) {
        errors.push(VerifyError { func: String::new(), op: "module".into(), loc: Loc::none().to_string(), message });
    }
    for (k, f) in m.funcs.iter().enumerate() {
        let mut v = Verifier { m, f, check, defined: vec![false; f.types.len()], errors: &mut errors };
        v.block(&f.body, "func");
        if f.param_names.len() != f.body.args.len() || f.result_names.len() != f.body.yields.len() {
            v.fail("func", &Loc::none(), "every parameter and every result needs a name".into());
        }
        if m.funcs.iter().take(k).any(|g| g.name == f.name) {
            v.fail("func", &Loc::none(), "another function has this name".into());
        }
    }
    errors
}

struct Verifier<'a, L: Level> {
    m: &'a Module<L>,
    f: &'a Func<L>,
    check: Check<L>,
    defined: Vec<bool>,
    errors: &'a mut Vec<VerifyError>,
}

impl<L: Level> Verifier<'_, L> {
    fn fail(&mut self, op: &str, loc: &Loc, message: String) {
        self.errors.push(VerifyError { func: self.f.name.clone(), op: op.into(), loc: loc.to_string(), message });
    }
    fn define(&mut self, v: Value, op: &str, loc: &Loc) {
        match self.defined.get_mut(v.index()) {
            None => self.fail(op, loc, format!("{v} has no type")),
            Some(true) => self.fail(op, loc, format!("{v} is defined twice")),
            Some(d) => {
                *d = true;
                if self.f.ty(v).is_poison() {
                    self.fail(op, loc, format!("the size of {v}: {} overflows", self.f.ty(v)));
                }
            }
        }
    }
    fn uses(&mut self, vs: &[Value], op: &str, loc: &Loc) -> bool {
        let bad: Vec<_> = vs.iter().filter(|v| !self.defined.get(v.index()).copied().unwrap_or(false)).collect();
        for v in &bad {
            self.fail(op, loc, format!("{v} is used before it is defined"));
        }
        bad.is_empty()
    }
    fn block(&mut self, b: &Block<L>, owner: &str) {
        for a in &b.args {
            self.define(*a, owner, &Loc::none());
        }
        for op in &b.ops {
            let info = op.op.info();
            let ok = self.uses(&op.operands, info.mnemonic, &op.loc);
            let counts = [
                ("operands", op.operands.len(), info.operands),
                ("results", op.results.len(), info.results),
                ("regions", op.regions.len(), info.regions),
            ];
            let mut fits = true;
            for (what, n, (lo, hi)) in counts {
                if n < lo || n > hi {
                    fits = false;
                    let most = if hi == super::ops::MANY { "any number".into() } else { hi.to_string() };
                    self.fail(info.mnemonic, &op.loc, format!("has {n} {what}, takes {lo} to {most}"));
                }
            }
            // Regions see what is defined so far; what they define is theirs alone.
            for r in &op.regions {
                let outside = self.defined.clone();
                self.block(r, info.mnemonic);
                self.defined = outside;
            }
            for r in &op.results {
                self.define(*r, info.mnemonic, &op.loc);
            }
            if ok
                && fits
                && op.results.iter().all(|r| r.index() < self.f.types.len())
                && let Err(e) = (self.check)(self.m, self.f, op)
            {
                self.fail(info.mnemonic, &op.loc, e);
            }
        }
        self.uses(&b.yields, owner, &Loc::none());
    }
}
