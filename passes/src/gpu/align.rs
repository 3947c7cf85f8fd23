//! Neighbours that are accessed as one vector must start at a multiple of its lanes: where that is not proved, the access becomes one of
//! each element. What the arithmetic of an offset shows is enough, so templates may try.

use super::facts::{Def, Facts};
use odc_ir::core::{Binary, Dim, Loc, Scalar, Value};
use odc_ir::loops::{Block, Func, LoopType, Op, Operation};
use std::collections::{BTreeMap, BTreeSet};

/// Takes vector accesses apart that may be misaligned; `sizes` are the kernel's index parameters.
pub(crate) fn align(func: &mut Func, sizes: &[Dim]) {
    let found = misaligned(func, sizes);
    if found.is_empty() {
        return;
    }
    let mut body = std::mem::take(&mut func.body);
    let mut pass = Pass { func, misaligned: found, prelude: vec![], lanes: BTreeMap::new() };
    pass.block(&mut body);
    body.ops.splice(0..0, pass.prelude);
    func.body = body;
    func.renumber();
}

/// Offsets, with the lanes, that are not proved to be multiples of them.
fn misaligned(func: &Func, sizes: &[Dim]) -> BTreeSet<(Value, u32)> {
    let facts = Facts::new(func);
    let mut multiples = Multiples { facts: &facts, known: BTreeMap::new() };
    let index = func.body.args.iter().filter(|v| matches!(func.ty(**v), LoopType::Index));
    for (v, d) in index.zip(sizes) {
        multiples.known.insert(*v, d.terms().iter().fold(0, |n, (_, c)| gcd(n, *c)));
    }
    let mut found = BTreeSet::new();
    func.body.visit_ops(&mut |op| {
        if let Some((at, lanes)) = vector(func, op)
            && multiples.of(at) % i64::from(lanes) != 0
        {
            found.insert((at, lanes));
        }
    });
    found
}

/// Offset and lanes of a vector access.
fn vector(func: &Func, op: &Operation) -> Option<(Value, u32)> {
    let (at, v) = match (&op.op, op.operands.as_slice()) {
        (Op::Load {}, &[_, at]) => (at, op.result()?),
        (Op::Store {}, &[_, at, v]) => (at, v),
        _ => return None,
    };
    let lanes = func.ty(v).lanes();
    (lanes > 1).then_some((at, lanes))
}

/// A number that each value is a multiple of; 0 is a multiple of all.
struct Multiples<'f, 'a> {
    facts: &'f Facts<'a>,
    known: BTreeMap<Value, i64>,
}

impl Multiples<'_, '_> {
    fn of(&mut self, v: Value) -> i64 {
        if let Some(n) = self.known.get(&v) {
            return *n;
        }
        let n = self.find(v);
        self.known.insert(v, n);
        n
    }

    fn find(&mut self, v: Value) -> i64 {
        let op = match self.facts.def(v) {
            Def::Opaque => return 1,
            Def::Op(op) | Def::Counter(op) => op,
        };
        let divisor = op.operands.get(1).and_then(|d| self.facts.constant(*d)).filter(|d| *d != 0);
        let mut at = |k: usize| op.operands.get(k).map_or(1, |x| self.of(*x));
        match &op.op {
            Op::For { .. } => gcd(at(0), at(2)),
            Op::Const { value: Scalar::Int(x) } => *x,
            Op::Select {} => gcd(at(1), at(2)),
            Op::Binary { f } => match f {
                // The remainder is the dividend less some divisors.
                Binary::Add | Binary::Sub | Binary::Min | Binary::Max | Binary::Mod | Binary::Rem => gcd(at(0), at(1)),
                Binary::Mul => at(0).checked_mul(at(1)).unwrap_or(1),
                Binary::Div | Binary::FloorDiv => divisor.filter(|d| at(0) % d == 0).map_or(1, |d| at(0) / d),
                _ => 1,
            },
            _ => 1,
        }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(1)
}

struct Pass<'f> {
    func: &'f mut Func,
    misaligned: BTreeSet<(Value, u32)>,
    /// The numbers of lanes.
    prelude: Vec<Operation>,
    lanes: BTreeMap<u32, Value>,
}

impl Pass<'_> {
    fn block(&mut self, block: &mut Block) {
        for mut op in std::mem::take(&mut block.ops) {
            op.regions.iter_mut().for_each(|r| self.block(r));
            match vector(self.func, &op).filter(|access| self.misaligned.contains(access)) {
                Some((at, lanes)) => self.each(&op, at, lanes, &mut block.ops),
                None => block.ops.push(op),
            }
        }
    }

    /// The access, element by element.
    fn each(&mut self, op: &Operation, at: Value, lanes: u32, out: &mut Vec<Operation>) {
        let Some(pointer) = op.operands.first().copied() else { return };
        let mut joined: Option<Value> = None;
        for lane in 0..lanes {
            let at = if lane == 0 {
                at
            } else {
                let k = self.number(lane);
                self.push(out, &op.loc, Op::Binary { f: Binary::Add }, vec![at, k], LoopType::Index)
            };
            if let Some(v) = op.operands.get(2) {
                let element = element(*self.func.ty(*v));
                let x = self.push(out, &op.loc, Op::Extract { lane }, vec![*v], element);
                let (results, regions, loc) = (vec![], vec![], op.loc.clone());
                out.push(Operation { op: Op::Store {}, operands: vec![pointer, at, x], results, regions, loc });
                continue;
            }
            let Some(r) = op.result() else { return };
            let whole = *self.func.ty(r);
            let x = self.push(out, &op.loc, Op::Load {}, vec![pointer, at], element(whole));
            let v = match joined {
                None => self.push(out, &op.loc, Op::Splat {}, vec![x], whole),
                Some(v) => self.push(out, &op.loc, Op::Insert { lane }, vec![v, x], whole),
            };
            joined = Some(v);
        }
        // The last one is the result.
        if let (Some(last), Some(r)) = (out.last_mut().filter(|_| joined.is_some()), op.result()) {
            last.results = vec![r];
        }
    }

    fn push(&mut self, out: &mut Vec<Operation>, loc: &Loc, op: Op, operands: Vec<Value>, ty: LoopType) -> Value {
        let v = self.func.value(ty);
        out.push(Operation { op, operands, results: vec![v], regions: vec![], loc: loc.clone() });
        v
    }

    fn number(&mut self, lane: u32) -> Value {
        if let Some(v) = self.lanes.get(&lane) {
            return *v;
        }
        let v = self.func.value(LoopType::Index);
        let op = Op::Const { value: Scalar::Int(lane.into()) };
        self.prelude.push(Operation { op, operands: vec![], results: vec![v], regions: vec![], loc: Loc::none() });
        self.lanes.insert(lane, v);
        v
    }
}

fn element(t: LoopType) -> LoopType {
    match t.dtype() {
        odc_ir::core::DType::I64 => LoopType::Index,
        d => LoopType::Scalar(d),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odc_ir::core::{no_blobs, parse_module};
    use odc_ir::loops::{Loop, verify_func};

    /// How many vectors and how many scalars are loaded and stored by a copy whose offset is the last of `ops`: of `%8`, the invocation,
    /// `%5` and `%6`, which are 4 and 6, and `%2`, a size.
    fn left(ops: &[&str], size: &Dim) -> (usize, usize) {
        let offset = 8 + ops.len();
        let ops: String = ops.iter().enumerate().map(|(k, op)| format!("        %{} = binary {op} : index\n", 9 + k)).collect();
        let text = format!(
            r#"loop module "t" {{
  func @k(%0 "x": ptr<f32, global>, %1 "y": ptr<f32, global>, %2 "n": index) {{
    %3 = const {{value = 0}} : index
    %4 = const {{value = 1}} : index
    %5 = const {{value = 4}} : index
    %6 = const {{value = 6}} : index
    for {{kind = grid}} %3, %5, %4 (%7: index) {{
      for {{kind = block}} %3, %5, %4 (%8: index) {{
{ops}        %{v} = load %0, %{offset} : vec<f32, 4>
        store %1, %{offset}, %{v}
        yield
      }}
      yield
    }}
    yield
  }}
}}"#,
            v = offset + 1
        );
        let mut f = parse_module::<Loop>(&text, &no_blobs).unwrap_or_else(|e| panic!("{e}\n{text}")).funcs.remove(0);
        align(&mut f, std::slice::from_ref(size));
        assert_eq!(verify_func(&f), vec![], "{text}");
        let (mut vectors, mut scalars) = (0, 0);
        f.body.visit_ops(&mut |op| match &op.op {
            Op::Load {} | Op::Store {} if vector(&f, op).is_some() => vectors += 1,
            Op::Load {} | Op::Store {} => scalars += 1,
            _ => {}
        });
        (vectors, scalars)
    }

    #[test]
    fn what_is_proved_stays() {
        let n = Dim::sym("n");
        let (whole, apart) = ((2, 0), (0, 8));
        assert_eq!(left(&["{f = mul} %8, %5"], &n), whole);
        assert_eq!(left(&["{f = add} %8, %5"], &n), apart);
        assert_eq!(left(&["{f = mul} %8, %6"], &n), apart);
        assert_eq!(left(&["{f = mul} %8, %2"], &n), apart);
        assert_eq!(left(&["{f = mul} %8, %2"], &(&n * 12)), whole);
        assert_eq!(left(&["{f = mul} %8, %2"], &(&n * 12 + 2)), apart);
        // The rest of a multiple of four by another one.
        assert_eq!(left(&["{f = mul} %8, %5", "{f = mul} %2, %5", "{f = mod} %9, %10"], &n), whole);
        assert_eq!(left(&["{f = mul} %8, %5", "{f = div} %9, %5"], &n), apart);
    }
}
