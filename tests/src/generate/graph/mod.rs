//! Random graph modules: 3 to 15 ops of all families over two or three inputs. Values carry two facts beside their type: whether
//! they are reproducible to the bit (only such may meet a step: `floor`, `<`, `argmax`), and a bound of their magnitude.

mod chains;
mod elementwise;
mod indexing;
mod linear;
mod movement;
mod norm;

use super::dims;
use crate::choices::Choices;
use odc_ir::core::{Builder, Const, DType, Dim, Loc, OpSet, Origin, Scalar, Sym, TensorType, Value};
use odc_ir::graph::{Func, Graph, Module, Op};
use std::collections::BTreeMap;

/// No value of a generated module has more elements.
const MOST_ELEMENTS: i64 = 2048;
/// Nor a greater magnitude.
const GREATEST: f64 = 1e4;

/// Of inputs that are not f32.
const INPUTS: [DType; 8] = [DType::I64, DType::Bool, DType::I32, DType::U8, DType::F16, DType::BF16, DType::I8, DType::U16];

/// A value that later ops may use.
#[derive(Clone, Debug)]
pub struct Item {
    value: Value,
    ty: TensorType,
    exact: bool,
    limit: f64,
}

impl Item {
    fn rank(&self) -> usize {
        self.ty.rank()
    }
    fn is_float(&self) -> bool {
        self.ty.dtype == DType::F32
    }
    fn with_shape(&self, shape: Vec<Dim>) -> TensorType {
        TensorType::new(self.ty.dtype, shape)
    }
}

/// A module under construction.
pub struct Gen<'c, 'f> {
    c: &'c mut Choices,
    consts: &'c mut Vec<Const>,
    b: Builder<'f, Graph>,
    pool: Vec<Item>,
    /// Symbols that some input's shape binds.
    known: Vec<Dim>,
    /// Results that no other op uses.
    ends: Vec<Value>,
}

/// Tries to add ops of one kind; `None` if nothing in the pool suits it.
pub type Family = fn(&mut Gen<'_, '_>) -> Option<()>;

/// By the op that they are drawn for: families, whose functions say what else they add.
pub const FAMILIES: &[(&str, &[Family])] = &[
    ("dims", &[movement::dims]),
    ("unary", &[elementwise::unary]),
    ("binary", &[elementwise::binary, elementwise::integer, elementwise::logic, chains::many]),
    ("select", &[elementwise::select]),
    ("cast", &[elementwise::cast, chains::half, chains::bytes]),
    ("bitcast", &[elementwise::bitcast]),
    ("leaky_relu", &[elementwise::activation]),
    ("elu", &[elementwise::activation]),
    ("hard_sigmoid", &[elementwise::activation]),
    ("matmul", &[linear::matmul, chains::attention, chains::classifier, chains::layer, chains::squeeze_excite]),
    ("einsum", &[linear::einsum]),
    ("conv", &[linear::conv]),
    ("conv_transpose", &[linear::conv_transpose]),
    ("pool", &[linear::pool]),
    ("reduce", &[norm::reduce]),
    ("arg_reduce", &[norm::arg_reduce]),
    ("softmax", &[norm::softmax]),
    ("layer_norm", &[norm::layer_norm]),
    ("rms_norm", &[norm::layer_norm]),
    ("group_norm", &[norm::group_norm]),
    ("batch_norm", &[norm::group_norm]),
    ("transpose", &[movement::transpose]),
    ("reshape", &[movement::reshape]),
    ("expand", &[movement::expand]),
    ("slice", &[movement::slice, chains::empty]),
    ("concat", &[movement::concat]),
    ("pad", &[movement::pad]),
    ("tile", &[movement::tile]),
    ("gather", &[indexing::gather]),
    ("gather_elements", &[indexing::gather_elements]),
    ("gather_nd", &[indexing::gather_nd]),
    ("scatter_nd", &[indexing::scatter_nd]),
    ("scatter_elements", &[indexing::scatter_elements]),
    ("resize", &[linear::resize]),
    ("cum_sum", &[norm::cum_sum]),
    ("range", &[indexing::range]),
    ("one_hot", &[indexing::one_hot]),
    ("trilu", &[movement::trilu]),
];

/// A random module: ops by their weights in the op table.
pub fn module(c: &mut Choices) -> Module {
    build(c, &|c| {
        let mut at = c.below(<Op as OpSet>::TABLE.iter().map(|row| row.weight as usize).sum());
        let row = <Op as OpSet>::TABLE.iter().find(|row| {
            let here = at < row.weight as usize;
            at = at.saturating_sub(row.weight as usize);
            here
        });
        let (_, families) =
            FAMILIES.iter().find(|(op, _)| row.is_some_and(|r| r.mnemonic == *op)).expect("a family for each op that is drawn");
        *c.pick(families)
    })
}

/// A random module that starts with ops of one family, for coverage by name.
pub fn module_with(c: &mut Choices, family: Family) -> Module {
    build(c, &|_| family)
}

fn build(c: &mut Choices, draw: &dyn Fn(&mut Choices) -> Family) -> Module {
    let mut m = Module::new("random");
    let mut func = Func::new("main");
    let mut consts = vec![];
    let mut params = vec![];
    for k in 0..1 + c.below(3) {
        let name = format!("x{k}");
        let ty = input_type(c, k);
        for (axis, d) in ty.shape.iter().enumerate() {
            if let Some(s) = d.as_sym() {
                m.symbols.entry(s.clone()).or_insert_with(|| dims::symbol(s.name(), Some(Origin { input: name.clone(), axis })));
            }
        }
        let limit = if ty.dtype == DType::Bool { 1.0 } else { 2.0 };
        params.push(Item { value: func.param(&name, ty.clone()), ty, exact: true, limit });
    }
    let known = m.symbols.keys().map(Dim::from).collect();
    let inputs = params.len();
    let mut g = Gen { c, consts: &mut consts, b: Builder::new(&mut func), pool: params, known, ends: vec![] };
    let wanted = 3 + g.c.below(10);
    let mut tries = 0;
    while g.pool.len() < inputs + wanted && tries < 40 {
        let family = draw(g.c);
        g.b.loc = Loc::new(&format!("/op.{tries}"));
        let _ = family(&mut g);
        tries += 1;
    }
    let results = g.results(inputs);
    g.b.finish(&results);
    func.renumber();
    m.consts = consts;
    m.funcs.push(func);
    m
}

fn input_type(c: &mut Choices, k: usize) -> TensorType {
    let [n, s, h] = [Dim::sym("n"), Dim::sym("s"), Dim::sym("h")];
    let shape = match c.below(6) {
        0 => vec![n, Dim::from(*c.pick(&[4, 3, 8, 5, 64, 33]))],
        1 => vec![n, s, Dim::from(*c.pick(&[4, 3, 8, 1, 20]))],
        2 => vec![n, Dim::from(*c.pick(&[2, 4, 3])), h, s],
        3 => vec![Dim::ONE, Dim::from(*c.pick(&[2, 4, 3])), Dim::from(5), Dim::from(7)],
        _ => (0..c.below(4)).map(|_| dims::size(c)).collect(),
    };
    // The first input is of floats: every family finds something to do.
    let dtype = if k == 0 || c.chance(60) { DType::F32 } else { *c.pick(&INPUTS) };
    TensorType::new(dtype, shape)
}

impl Gen<'_, '_> {
    /// An item of the pool that `fits`, the newest being the simplest choice.
    fn item(&mut self, fits: impl Fn(&Item) -> bool) -> Option<Item> {
        let found: Vec<usize> = (0..self.pool.len()).rev().filter(|&k| fits(&self.pool[k])).collect();
        if found.is_empty() {
            return None;
        }
        let k = *self.c.pick(&found);
        Some(self.pool[k].clone())
    }
    fn float(&mut self, least_rank: usize) -> Option<Item> {
        self.item(|i| i.is_float() && i.rank() >= least_rank)
    }

    /// Adds an op whose result later ops may use, unless it would be too large.
    fn emit(&mut self, op: Op, operands: &[&Item], ty: TensorType, exact: bool, limit: f64) -> Option<Item> {
        let fits = ty.shape.iter().all(|d| least(d) >= 1) && dims::greatest(&ty.elements()) <= MOST_ELEMENTS && limit <= GREATEST;
        if !fits {
            return None;
        }
        let operands: Vec<Value> = operands.iter().map(|i| i.value).collect();
        let item = Item { value: self.b.op1(op, &operands, ty.clone()), ty, exact, limit };
        self.pool.push(item.clone());
        Some(item)
    }
    /// An op that only moves elements about.
    fn move_elements(&mut self, op: Op, x: &Item, shape: Vec<Dim>) -> Option<()> {
        self.emit(op, &[x], x.with_shape(shape), x.exact, x.limit).map(drop)
    }

    /// A constant that is only an operand, not in the pool.
    fn constant(&mut self, dtype: DType, shape: &[i64], data: Vec<Scalar>) -> Item {
        self.consts.push(Const::from_scalars(dtype, shape, data));
        let id = odc_ir::core::ConstId(self.consts.len() as u32 - 1);
        let ty = TensorType::of(dtype, shape);
        Item { value: self.b.op1(Op::Constant { value: id }, &[], ty.clone()), ty, exact: true, limit: 1.0 }
    }
    /// Small numbers with few digits.
    fn weight(&mut self, shape: &[i64]) -> Item {
        let n = shape.iter().product::<i64>();
        let data = (0..n).map(|_| Scalar::Float(self.c.between(-8, 8) as f64 / 8.0)).collect();
        self.constant(DType::F32, shape, data)
    }
    fn splat(&mut self, x: f64) -> Item {
        self.constant(DType::F32, &[], vec![Scalar::Float(x)])
    }
    fn indices(&mut self, shape: &[i64], size: i64) -> Item {
        let n = shape.iter().product::<i64>();
        let data = (0..n).map(|_| Scalar::Int(self.c.between(-size, size - 1))).collect();
        self.constant(DType::I64, shape, data)
    }

    /// What the function returns: every value that nothing uses, now and then one of them forgotten.
    fn results(&mut self, inputs: usize) -> Vec<(String, Value)> {
        let mut used = std::collections::BTreeSet::new();
        self.b.block.visit_uses(&mut |v| {
            used.insert(v);
        });
        let sinks: Vec<Value> = self.pool.iter().skip(inputs).map(|i| i.value).filter(|v| !used.contains(v)).collect();
        let mut out: Vec<_> = self.ends.iter().enumerate().map(|(k, v)| (format!("end{k}"), *v)).collect();
        for (k, v) in sinks.iter().enumerate() {
            if out.is_empty() || !self.c.chance(15) {
                out.push((format!("y{k}"), *v));
            }
        }
        if out.is_empty() {
            out.extend(self.pool.last().map(|i| ("y".to_string(), i.value)));
        }
        out
    }
}

/// The type of `x` transposed.
fn permuted(x: &Item, perm: &[usize]) -> TensorType {
    x.with_shape(perm.iter().map(|&k| x.ty.shape[k].clone()).collect())
}

/// The least value of a size that grows with its symbols.
fn least(d: &Dim) -> i64 {
    let lo: BTreeMap<Sym, i64> = dims::SYMBOLS.iter().map(|&(n, lo, _)| (Sym::new(n), lo)).collect();
    d.eval(&|s| lo.get(s).copied()).unwrap_or(0)
}
