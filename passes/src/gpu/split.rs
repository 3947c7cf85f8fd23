//! Buffers larger than a GPU binds at once become several parameters, each a piece of the same size; an access finds its piece by
//! its offset.

use odc_ir::core::{Binary, DType, Scalar, Value};
use odc_ir::loops::{Block, Func, LoopType, Op, Operation};
use std::collections::BTreeMap;

/// Pieces start where bindings may, and no vector lies in two.
const ALIGN: u64 = 256;

/// Bytes of each piece but the last, for bindings of at most `max` bytes.
pub fn piece_bytes(max: u64) -> u64 {
    (max / ALIGN * ALIGN).max(ALIGN)
}

/// Splits pointer parameters of more than `max` bytes (`sizes`, where known) into pieces of [`piece_bytes`]. Gives the old pointer
/// parameter of each new one, pieces in order. For legal kernels with their barriers.
pub fn split_bindings(func: &mut Func, sizes: &[Option<u64>], max: u64) -> Vec<usize> {
    let mut body = std::mem::take(&mut func.body);
    let names = std::mem::take(&mut func.param_names);
    let (mut args, mut param_names, mut origin) = (vec![], vec![], vec![]);
    let mut pass = Pass { func, pieces: BTreeMap::new(), prelude: vec![] };
    for (k, (v, name)) in body.args.iter().zip(names).enumerate() {
        let pointer = match pass.func.types.get(v.index()) {
            Some(t @ LoopType::Ptr(d, _)) => Some((*t, d.size() as u64)),
            _ => None,
        };
        let Some((t, size)) = pointer else {
            args.push(*v);
            param_names.push(name);
            continue;
        };
        match sizes.get(k).copied().flatten().filter(|bytes| *bytes > max) {
            None => {
                args.push(*v);
                param_names.push(name);
                origin.push(k);
            }
            Some(bytes) => {
                let n = bytes.div_ceil(piece_bytes(max));
                let pieces: Vec<Value> = (0..n).map(|_| pass.func.value(t)).collect();
                param_names.extend((0..n).map(|j| format!("{name}.{j}")));
                args.extend(&pieces);
                origin.extend((0..n).map(|_| k));
                // Where each piece but the first starts.
                let elements = piece_bytes(max) / size;
                let starts = (1..n).map(|j| pass.index(j.saturating_mul(elements))).collect();
                pass.pieces.insert(*v, Pieces { pieces, starts });
            }
        }
    }
    if !pass.pieces.is_empty() {
        pass.block(&mut body);
        body.ops.splice(0..0, std::mem::take(&mut pass.prelude));
    }
    body.args = args;
    func.body = body;
    func.param_names = param_names;
    func.renumber();
    origin
}

struct Pieces {
    pieces: Vec<Value>,
    starts: Vec<Value>,
}

struct Pass<'f> {
    func: &'f mut Func,
    pieces: BTreeMap<Value, Pieces>,
    prelude: Vec<Operation>,
}

impl Pass<'_> {
    fn index(&mut self, x: u64) -> Value {
        let v = self.func.value(LoopType::Index);
        let value = Scalar::Int(i64::try_from(x).unwrap_or(i64::MAX));
        let loc = odc_ir::core::Loc::none();
        self.prelude.push(Operation { op: Op::Const { value }, operands: vec![], results: vec![v], regions: vec![], loc });
        v
    }

    fn block(&mut self, block: &mut Block) {
        for mut op in std::mem::take(&mut block.ops) {
            op.regions.iter_mut().for_each(|r| self.block(r));
            let split = matches!(op.op, Op::Load {} | Op::Store {} | Op::Atomic { .. });
            match op.operands.first().filter(|_| split).and_then(|p| self.pieces.remove_entry(p)) {
                Some((p, pieces)) => {
                    block.ops.extend(self.access(&op, None, &pieces.pieces, &pieces.starts));
                    self.pieces.insert(p, pieces);
                }
                None => block.ops.push(op),
            }
        }
    }

    /// The access in the first of `pieces` if it lies before `starts`' first, else in the others; `from` is where the first starts.
    fn access(&mut self, op: &Operation, from: Option<Value>, pieces: &[Value], starts: &[Value]) -> Vec<Operation> {
        let (Some((piece, more)), Some(at)) = (pieces.split_first(), op.operands.get(1).copied()) else { return vec![op.clone()] };
        let mut ops = vec![];
        let mut here = op.clone();
        let mut there = at;
        let plain = |op, operands, result| Operation { op, operands, results: vec![result], regions: vec![], loc: here.loc.clone() };
        if let Some(from) = from {
            there = self.func.value(LoopType::Index);
            ops.push(plain(Op::Binary { f: Binary::Sub }, vec![at, from], there));
        }
        let (first, last) = (starts.first().copied(), more.is_empty());
        let inside = self.func.value(LoopType::Scalar(DType::Bool));
        let test = first.map(|s| plain(Op::Binary { f: Binary::Lt }, vec![at, s], inside));
        for (slot, v) in here.operands.iter_mut().zip([*piece, there]) {
            *slot = v;
        }
        let Some(test) = test.filter(|_| !last) else {
            ops.push(here);
            return ops;
        };
        let fresh = |f: &mut Func, vs: &[Value]| {
            let types: Vec<_> = vs.iter().filter_map(|v| f.types.get(v.index()).copied()).collect();
            types.into_iter().map(|t| f.value(t)).collect::<Vec<_>>()
        };
        let yields = fresh(self.func, &op.results);
        here.results.clone_from(&yields);
        ops.push(here);
        let then = Block { args: vec![], ops, yields };
        let results = fresh(self.func, &op.results);
        let rest = Operation { results: results.clone(), ..op.clone() };
        let other = Block { args: vec![], ops: self.access(&rest, first, more, starts.get(1..).unwrap_or(&[])), yields: results };
        let choice = Operation {
            op: Op::If {},
            operands: vec![inside],
            results: op.results.clone(),
            regions: vec![then, other],
            loc: op.loc.clone(),
        };
        vec![test, choice]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odc_ir::core::{no_blobs, parse_module};
    use odc_ir::loops::interp::{Buffer, Run, SUBGROUP, run};
    use odc_ir::loops::{Loop, verify_func};

    /// Copies 256 numbers backwards by fours, and counts them.
    const TEXT: &str = r#"loop module "t" {
  func @k(%0 "x": ptr<f32, global>, %1 "y": ptr<f32, global>, %2 "n": ptr<u32, global>) {
    %3 = const {value = 0} : index
    %4 = const {value = 1} : index
    %5 = const {value = 4} : index
    %6 = const {value = 16} : index
    %7 = const {value = 63} : index
    %8 = const {value = 1} : u32
    for {kind = grid} %3, %5, %4 (%9: index) {
      %10 = binary {f = mul} %9, %6 : index
      for {kind = block} %3, %6, %4 (%11: index) {
        %12 = binary {f = add} %10, %11 : index
        %13 = binary {f = sub} %7, %12 : index
        %14 = binary {f = mul} %12, %5 : index
        %15 = binary {f = mul} %13, %5 : index
        %16 = load %0, %15 : vec<f32, 4>
        store %1, %14, %16
        atomic {f = add} %2, %12, %8
        yield
      }
      yield
    }
    yield
  }
}"#;

    fn run_on(f: &Func, buffers: &mut [Buffer]) {
        run(f, buffers, Run { dims: &[], scratch: 0, grid: None, fused: true, subgroup: SUBGROUP }).unwrap_or_else(|e| panic!("{e}"));
    }

    #[test]
    fn pieces_hold_what_the_whole_did() {
        let old = parse_module::<Loop>(TEXT, &no_blobs).unwrap().funcs.remove(0);
        let x = Buffer::from_scalars(DType::F32, (0..256).map(|k| Scalar::Float(f64::from(k))));
        let mut whole = vec![x, Buffer::zeros(DType::F32, 256), Buffer::zeros(DType::U32, 64)];
        let inputs = whole.clone();
        run_on(&old, &mut whole);
        for max in [256, 300, 512, 768, 1024] {
            let mut new = old.clone();
            let sizes = [Some(1024), Some(1024), None];
            let origin = split_bindings(&mut new, &sizes, max);
            assert_eq!(verify_func(&new), vec![]);
            assert_eq!(origin.len(), new.param_names.len());
            let piece = piece_bytes(max) as usize;
            let cut = |all: &[Buffer]| -> Vec<Buffer> {
                let parts = |(k, b): (usize, &Buffer)| {
                    let size = if sizes[k].is_some_and(|n| n > max) { piece } else { b.bytes.len() };
                    b.bytes.chunks(size).map(|c| Buffer { dtype: b.dtype, bytes: c.to_vec() }).collect::<Vec<_>>()
                };
                all.iter().enumerate().flat_map(parts).collect()
            };
            let mut pieces = cut(&inputs);
            assert_eq!(pieces.len(), origin.len(), "{max}: {origin:?}");
            run_on(&new, &mut pieces);
            assert_eq!(pieces, cut(&whole), "{max}");
        }
    }

    #[test]
    fn small_buffers_stay() {
        let old = parse_module::<Loop>(TEXT, &no_blobs).unwrap().funcs.remove(0);
        let mut new = old.clone();
        assert_eq!(split_bindings(&mut new, &[Some(1024), Some(1024), None], 1024), [0, 1, 2]);
        assert_eq!(new, old);
    }
}
