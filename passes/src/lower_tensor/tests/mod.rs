//! Every graph op means the same before and after lowering: both interpreters on small inputs, with known and symbolic sizes, odd
//! ones, 1 and 0.

mod elementwise;
mod linear;
mod movement;
mod reduce;

use super::lower;
use odc_ir::core::{DType, OpSet, Scalar, TensorValue, assert_close, no_blobs, parse_module};
use odc_ir::graph::{self, Graph, Op};
use odc_ir::tensor::{self, Tensor};
use std::collections::{BTreeMap, BTreeSet};

/// What an input's elements are.
#[derive(Clone, Copy)]
enum Fill {
    /// Floats in -2..2, integers in -3..=3, alternating bools.
    Any,
    /// Integers in this range, ends included.
    Ints(i64, i64),
    /// Floats in this range.
    Floats(f64, f64),
    /// These, repeated.
    Values(&'static [f64]),
}

/// One op on inputs, at some sizes.
struct Case {
    op: String,
    inputs: Vec<(String, Fill)>,
    result: String,
    /// Each a run: values of the symbols.
    sizes: Vec<Vec<(&'static str, i64)>>,
    /// Relative tolerance: rounding in another order.
    tolerance: f64,
}

/// A case with plain inputs; symbols of `sizes` may stand in the types.
fn case(op: &str, inputs: &[&str], result: &str) -> Case {
    let inputs = inputs.iter().map(|t| ((*t).to_owned(), Fill::Any)).collect();
    Case { op: op.into(), inputs, result: result.into(), sizes: vec![vec![]], tolerance: 2e-6 }
}

impl Case {
    fn fill(mut self, input: usize, fill: Fill) -> Self {
        self.inputs[input].1 = fill;
        self
    }
    fn at(mut self, sizes: &[&[(&'static str, i64)]]) -> Self {
        self.sizes = sizes.iter().map(|s| s.to_vec()).collect();
        self
    }
    fn within(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    fn text(&self) -> String {
        // The bounds are as tight as the runs allow, so that what lowering proves from them is put to the test.
        let mut symbols: BTreeMap<&str, i64> = BTreeMap::new();
        for (s, v) in self.sizes.iter().flatten() {
            symbols.entry(*s).and_modify(|lo| *lo = (*v).min(*lo)).or_insert(*v);
        }
        let mut dims = String::new();
        for (s, lo) in symbols {
            let origin = self.inputs.iter().enumerate().find_map(|(k, (ty, _))| {
                let axes = ty.split_once('[').map(|(_, r)| r.trim_end_matches(']')).unwrap_or("");
                axes.split(',').position(|d| d.trim() == s).map(|axis| (k, axis))
            });
            let (k, axis) = origin.unwrap_or_else(|| panic!("no input of `{}` gives {s}", self.op));
            dims += &format!("  dim {s} in {lo}.. from \"x{k}\" {axis}\n");
        }
        let params: Vec<_> = self.inputs.iter().enumerate().map(|(k, (ty, _))| format!("%{k} \"x{k}\": {ty}")).collect();
        let operands: Vec<_> = (0..self.inputs.len()).map(|k| format!("%{k}")).collect();
        let n = self.inputs.len();
        format!(
            "graph module \"t\" {{\n{dims}  func @main({}) {{\n    %{n} = {} {} : {} loc(\"node\")\n    yield %{n} \"y\"\n  }}\n}}\n",
            params.join(", "),
            self.op,
            operands.join(", "),
            self.result
        )
    }

    fn module(&self) -> graph::Module {
        let text = self.text();
        parse_module::<Graph>(&text, &no_blobs).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    /// Panics with what differs.
    fn check(&self) {
        let source = self.module();
        let errors = graph::verify(&source);
        assert!(errors.is_empty(), "{}: {errors:?}", self.op);
        let lowered = lower(&source).unwrap_or_else(|e| panic!("{}: {e}", self.op));
        let text = lowered.to_string();
        let errors = tensor::verify(&lowered);
        assert!(errors.is_empty(), "{}: {errors:?}\n{text}", self.op);
        let back = parse_module::<Tensor>(&text, &no_blobs).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(back, lowered, "{text}");
        assert!(lowered.funcs[0].body.ops.iter().all(|op| op.loc.to_string() == "node"), "{text}");
        for sizes in &self.sizes {
            let inputs = self.values(sizes);
            let place = format!("{} at {sizes:?}", self.op);
            let expected = graph::interp::run(&source, &inputs).unwrap_or_else(|e| panic!("{place}: graph: {e}"));
            let got = tensor::interp::run(&lowered, &inputs).unwrap_or_else(|e| panic!("{place}: tensor: {e}\n{text}"));
            assert_eq!(got.len(), expected.len());
            for (g, e) in got.iter().zip(&expected) {
                let t = match e.dtype {
                    DType::F16 => 1e-3,
                    DType::BF16 => 8e-3,
                    dt if dt.is_float() => self.tolerance,
                    _ => 0.0,
                };
                assert_close(g, e, t, t * 0.25).unwrap_or_else(|d| panic!("{place}: {d}\n{text}"));
            }
        }
    }

    fn values(&self, sizes: &[(&str, i64)]) -> Vec<(String, TensorValue)> {
        let at: BTreeMap<&str, i64> = sizes.iter().copied().collect();
        let m = self.module();
        let f = &m.funcs[0];
        let mut seed = 0x9e37_79b9u32;
        let mut next = move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 8
        };
        let params = f.body.args.iter().zip(&f.param_names).zip(&self.inputs);
        let mut out = vec![];
        for ((v, name), (_, fill)) in params {
            let ty = f.ty(*v);
            let size = |d: &odc_ir::core::Dim| d.eval(&|s| at.get(s.name()).copied()).unwrap_or_else(|e| panic!("{e}")) as usize;
            let shape: Vec<usize> = ty.shape.iter().map(size).collect();
            let mut k = 0usize;
            let value = TensorValue::from_fn(ty.dtype, &shape, |_| {
                k += 1;
                let unit = f64::from(next()) / f64::from(1u32 << 24);
                match fill {
                    Fill::Any if ty.dtype.is_float() => Scalar::Float(unit * 4.0 - 2.0),
                    Fill::Any if ty.dtype == DType::Bool => Scalar::Bool(unit < 0.5),
                    Fill::Any if ty.dtype.is_unsigned_int() => Scalar::Int((unit * 7.0) as i64),
                    Fill::Any => Scalar::Int((unit * 7.0) as i64 - 3),
                    Fill::Ints(lo, hi) => Scalar::Int(lo + (unit * (hi - lo + 1) as f64) as i64),
                    Fill::Floats(lo, hi) => Scalar::Float(lo + unit * (hi - lo)),
                    Fill::Values(v) => Scalar::Float(v[(k - 1) % v.len()]),
                }
            });
            out.push((name.clone(), value.unwrap()));
        }
        out
    }
}

/// Checks all cases and names all that fail.
fn check(cases: Vec<Case>) {
    let failed: Vec<_> = cases.iter().filter(|c| std::panic::catch_unwind(|| c.check()).is_err()).map(|c| c.text()).collect();
    assert!(failed.is_empty(), "{} of {} cases fail:\n{}", failed.len(), cases.len(), failed.concat());
}

#[test]
fn every_op_has_a_case() {
    let all = [elementwise::cases(), linear::cases(), movement::cases(), reduce::cases()];
    let covered: BTreeSet<String> = all.iter().flatten().map(|c| c.op.split([' ', '{']).next().unwrap_or("").to_owned()).collect();
    // Constants have no operands to run on: `constants_keep_their_numbers` has them. Branches and loops call functions: tests/filetests/run.
    let elsewhere = ["constant", "if", "loop"];
    let missing: Vec<_> = Op::TABLE.iter().map(|row| row.mnemonic).filter(|m| !elsewhere.contains(m) && !covered.contains(*m)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
fn constants_keep_their_numbers() {
    let text = "graph module \"t\" {\n  const #0 : f32[2] = [f 1.0, f 2.0]\n  const #1 : i64[2] = [3, -4]\n  func @main() {\n    \
                %0 = constant {value = #1} : i64[2]\n    %1 = constant {value = #0} : f32[2]\n    yield %0 \"a\", %1 \"b\"\n  }\n}\n";
    let m = parse_module::<Graph>(text, &no_blobs).unwrap_or_else(|e| panic!("{e}"));
    let lowered = lower(&m).unwrap();
    assert_eq!(lowered.consts, m.consts);
    let out = tensor::interp::run(&lowered, &[]).unwrap();
    assert_eq!((out[0].to_i64(), out[1].to_f32()), (vec![3, -4], vec![1.0, 2.0]));
}

#[test]
fn what_cannot_be_lowered_says_where() {
    let c = case("gather_nd {batch_dims = 0}", &["f32[4, 4]", "i64[3, k]"], "f32[3, 4]").at(&[&[("k", 1)]]);
    let e = lower(&c.module()).unwrap_err();
    assert_eq!((e.op.as_str(), e.loc.as_str()), ("gather_nd", "node"));
    assert!(e.message.contains("known size"), "{e}");
}

/// Constant operands take short ways: fixed positions, powers that are products. They mean the same, and are short.
#[test]
fn constant_operands_take_short_ways() {
    let text = "graph module \"t\" {\n  dim n in 1.. from \"x\" 0\n  const #0 : i64[] = [-1]\n  const #1 : i64[2] = [1, 0]\n  \
                const #2 : f32[] = [f 2.0]\n  const #3 : f32[1] = [f 0.5]\n  func @main(%0 \"x\": f32[n, 3]) {\n    \
                %1 = constant {value = #0} : i64[]\n    %2 = gather {axis = 0} %0, %1 : f32[3]\n    \
                %3 = constant {value = #1} : i64[2]\n    %4 = gather {axis = 1} %0, %3 : f32[n, 2]\n    \
                %5 = constant {value = #2} : f32[]\n    %6 = binary {f = pow} %0, %5 : f32[n, 3]\n    \
                %7 = constant {value = #3} : f32[1]\n    %8 = binary {f = pow} %6, %7 : f32[n, 3]\n    \
                yield %2 \"a\", %4 \"b\", %6 \"c\", %8 \"d\"\n  }\n}\n";
    let m = parse_module::<Graph>(text, &no_blobs).unwrap_or_else(|e| panic!("{e}"));
    assert!(graph::verify(&m).is_empty());
    let lowered = lower(&m).unwrap();
    assert!(tensor::verify(&lowered).is_empty());
    let x = TensorValue::from_f32(&[2, 3], &[1.0, -2.0, 3.0, -4.0, 5.0, 6.0]).unwrap();
    let inputs = [("x".to_owned(), x)];
    let (got, expected) = (tensor::interp::run(&lowered, &inputs).unwrap(), graph::interp::run(&m, &inputs).unwrap());
    assert_eq!(got, expected);
    let text = lowered.to_string();
    assert!(text.contains("[n - 1, i0]") && !text.contains("select") && !text.contains("pow"), "{text}");
}
