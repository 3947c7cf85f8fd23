//! Concats that become views: what is joined, what is not, and that programs still compute the same on poisoned memory.

use super::*;
use crate::{expand, fuse, lower_loop, lower_tensor, plan, schedule};
use odc_ir::core::{DType, Scalar, TensorValue, no_blobs, parse_module};
use odc_ir::graph::{self, Graph};
use odc_ir::program::{self, Program, verify_program};
use odc_ir::tensor::{self, Op};

/// The dispatches of a function of `x: f32[1, 6, 5]` and `y: f32[1, 3, 5]`, given as graph ops.
fn dispatches(ops: &str, yields: &str) -> Module {
    let text = format!(
        "graph module \"t\" {{\n  dim n in 1..8 from \"z\" 0\n  func @main(%0 \"x\": f32[1, 6, 5], %1 \"y\": f32[1, 3, 5], %2 \"z\": f32[n, 5]) {{\n{ops}\n    yield {yields}\n  }}\n}}\n"
    );
    let mut m = parse_module::<Graph>(&text, &no_blobs).unwrap_or_else(|e| panic!("{e}\n{text}"));
    m.funcs.iter_mut().for_each(odc_ir::core::Func::renumber);
    assert_eq!(graph::verify(&m), [], "{m}");
    let mut m = lower_tensor::lower(&m).unwrap();
    fuse::fuse(&mut m);
    m
}

fn planned(m: &Module) -> Program {
    let mut m = m.clone();
    m.funcs.iter_mut().for_each(odc_ir::core::Func::renumber);
    assert_eq!(tensor::verify(&m), [], "{m}");
    schedule::schedule(&mut m);
    let mut kernels = lower_loop::lower(&m).unwrap();
    kernels.iter_mut().for_each(|k| expand::expand(&mut k.func));
    let p = plan::plan(&m, kernels).unwrap();
    let errors: Vec<String> = verify_program(&p).iter().map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{}\n{p}", errors.join("\n"));
    p
}

/// The module joined; what it computes must be what it did before, by both interpreters.
fn joined(before: &Module, which: &dyn Fn(usize) -> bool) -> (Module, Report) {
    let mut m = before.clone();
    let report = join(&mut m, which);
    let input = |seed: usize, shape: &[usize]| {
        TensorValue::from_fn(DType::F32, shape, |i| Scalar::Float(((i.iter().fold(seed, |h, k| h * 7 + k) * 31) % 17) as f64 - 8.0))
            .unwrap()
    };
    let given = [("x".into(), input(1, &[1, 6, 5])), ("y".into(), input(2, &[1, 3, 5])), ("z".into(), input(3, &[4, 5]))];
    let want = tensor::interp::run(before, &given).unwrap();
    assert_eq!(tensor::interp::run(&m, &given).unwrap(), want, "{m}");
    let want = program::run(&planned(before), &given).unwrap();
    let p = planned(&m);
    assert_eq!(program::run(&p, &given).unwrap(), want, "{m}\n{p}");
    (m, report)
}

fn views(m: &Module) -> Vec<usize> {
    m.funcs[0].body.ops.iter().filter(|o| matches!(o.op, Op::View {})).map(|o| o.operands.len()).collect()
}

const TWO: &str = "    %3 = unary {f = exp} %0 : f32[1, 6, 5]
    %4 = unary {f = exp} %1 : f32[1, 3, 5]
    %5 = concat {axis = 1} %3, %4 : f32[1, 9, 5]
    %6 = reduce {f = sum, axes = [2], keep = false} %5 : f32[1, 9]";

#[test]
fn producers_write_into_the_whole() {
    let m = dispatches(TWO, "%6 \"a\", %3 \"b\"");
    let (j, report) = joined(&m, &|_| true);
    assert_eq!((report, views(&j)), (Report { candidates: 1, joined: 1, copied: 0 }, vec![2]), "{j}");
    assert_eq!(fuse::dispatch_count(&j.funcs[0]), 3);
    let p = planned(&j);
    let within: Vec<_> = p.slots.iter().map(|s| s.within).collect();
    assert_eq!(within.iter().filter(|w| w.is_some()).count(), 2, "{p}");
    assert_eq!(program::parse_program(&p.to_string(), &no_blobs).unwrap(), p);
    assert_eq!(joined(&m, &|_| false).1, Report { candidates: 1, ..Report::default() });
}

#[test]
fn wholes_lie_in_wholes_and_begin_others() {
    // A dense block: every concat begins with all of the one before; and a concat of a concat.
    let ops = "    %3 = unary {f = exp} %0 : f32[1, 6, 5]
    %4 = unary {f = exp} %1 : f32[1, 3, 5]
    %5 = concat {axis = 1} %3, %4 : f32[1, 9, 5]
    %6 = reduce {f = max, axes = [2], keep = true} %5 : f32[1, 9, 1]
    %7 = binary {f = add} %5, %6 : f32[1, 9, 5]
    %8 = concat {axis = 1} %3, %4, %7 : f32[1, 18, 5]
    %9 = unary {f = exp} %8 : f32[1, 18, 5]";
    let m = dispatches(ops, "%9 \"a\", %5 \"b\", %8 \"c\"");
    let (j, report) = joined(&m, &|_| true);
    assert_eq!((report.joined, report.copied, views(&j)), (2, 0, vec![2, 2]), "{j}");
    let p = planned(&j);
    let deepest = |k: usize| std::iter::successors(p.slots[k].within, |w| p.slots[*w as usize].within).count();
    assert_eq!((0..p.slots.len()).map(deepest).max(), Some(2), "{p}");
    // Only the second: then nothing begins it.
    let (j, report) = joined(&m, &|k| k == 1);
    assert_eq!((report.joined, views(&j)), (1, vec![3]), "{j}");
}

#[test]
fn what_cannot_be_written_in_place_is_copied_or_left() {
    // `y` is an input: a third of the whole.
    let third = TWO.replace("concat {axis = 1} %3, %4", "concat {axis = 1} %3, %1");
    let m = dispatches(&third, "%6 \"a\", %5 \"b\"");
    let (j, report) = joined(&m, &|_| true);
    assert_eq!((report, views(&j)), (Report { candidates: 1, joined: 1, copied: 1 }, vec![2]), "{j}");
    // It is not worth a copy where nobody but the sums sees it.
    assert_eq!(joined(&dispatches(&third, "%6 \"a\""), &|_| true).1, Report { candidates: 1, ..Report::default() });
    // `x` is two thirds.
    let m = dispatches(&TWO.replace("concat {axis = 1} %3, %4", "concat {axis = 1} %0, %4"), "%6 \"a\", %5 \"b\"");
    assert_eq!(joined(&m, &|_| true).1, Report { candidates: 1, ..Report::default() });
    // The same twice, and a part of two.
    let twice = "    %3 = unary {f = exp} %0 : f32[1, 6, 5]
    %4 = concat {axis = 1} %3, %3 : f32[1, 12, 5]
    %5 = concat {axis = 1} %3, %1 : f32[1, 9, 5]";
    let m = dispatches(twice, "%4 \"a\", %5 \"b\"");
    let (j, report) = joined(&m, &|_| true);
    assert_eq!((report, views(&j)), (Report { candidates: 2, joined: 1, copied: 1 }, vec![2]), "{j}");
    // Rows that do not lie one behind the other.
    let apart = "    %3 = unary {f = exp} %0 : f32[1, 6, 5]
    %4 = concat {axis = 2} %3, %3 : f32[1, 6, 10]";
    assert_eq!(joined(&dispatches(apart, "%4 \"a\""), &|_| true).1, Report::default());
}

#[test]
fn sizes_may_be_expressions() {
    let ops = "    %3 = unary {f = exp} %2 : f32[n, 5]
    %4 = unary {f = tanh} %2 : f32[n, 5]
    %5 = reduce {f = sum, axes = [0], keep = true} %2 : f32[1, 5]
    %6 = concat {axis = 0} %5, %3, %4 : f32[2*n + 1, 5]
    %7 = unary {f = exp} %6 : f32[2*n + 1, 5]";
    let (j, report) = joined(&dispatches(ops, "%7 \"a\", %4 \"b\""), &|_| true);
    assert_eq!((report.joined, report.copied), (1, 0), "{j}");
    let p = planned(&j);
    assert!(p.slots.iter().any(|s| s.within.is_some() && s.offset.to_string().contains("20*n + 20")), "{p}");
}

#[test]
fn a_dispatch_that_does_more_reads_the_whole() {
    let ops = "    %3 = unary {f = exp} %0 : f32[1, 6, 5]
    %4 = unary {f = exp} %1 : f32[1, 3, 5]
    %5 = concat {axis = 1} %3, %4 : f32[1, 9, 5]
    %6 = unary {f = tanh} %5 : f32[1, 9, 5]";
    let m = dispatches(ops, "%6 \"a\"");
    let (j, report) = joined(&m, &|_| true);
    assert_eq!((report.candidates, report.joined), (1, 1), "{j}");
    assert!(j.to_string().contains("load 0 f32 [0, i1, i2]") && !j.to_string().contains("select"), "{j}");
}

#[test]
fn a_concat_that_costs_memory_is_not_joined() {
    // `a` is made first and concatenated last; between them something larger is alive.
    let ops = "    %3 = unary {f = exp} %0 : f32[1, 6, 5]
    %4 = reduce {f = sum, axes = [1], keep = true} %3 : f32[1, 1, 5]
    %5 = expand %4 : f32[1, 90, 5]
    %6 = unary {f = exp} %5 : f32[1, 90, 5]
    %7 = reduce {f = max, axes = [1], keep = true} %6 : f32[1, 1, 5]
    %8 = binary {f = add} %7, %0 : f32[1, 6, 5]
    %9 = unary {f = exp} %8 : f32[1, 6, 5]
    %10 = concat {axis = 1} %3, %9 : f32[1, 12, 5]
    %11 = reduce {f = sum, axes = [2], keep = false} %10 : f32[1, 12]";
    let m = dispatches(ops, "%11 \"a\"");
    let (mut all, mut chosen) = (m.clone(), m.clone());
    assert_eq!(join(&mut all, &|_| true).joined, 1, "{m}");
    let (before, after) = (plan::peak(&m).unwrap(), plan::peak(&all).unwrap());
    assert!(before < after, "{before} {after}\n{all}");
    assert_eq!(best(&mut chosen), Report { candidates: 1, ..Report::default() });
    assert_eq!(chosen, m);
    let numbers = planned(&m).arena_bytes.as_const();
    assert_eq!(numbers, Some(before));
}

#[test]
fn wrong_parts_are_found() {
    let (j, _) = joined(&dispatches(TWO, "%6 \"a\", %3 \"b\""), &|_| true);
    let good = planned(&j);
    let part = good.slots.iter().position(|s| s.within.is_some()).unwrap();
    type Break = fn(&mut Program, usize);
    let breaks: [(Break, &str); 6] = [
        (|p, k| p.slots[k].within = None, "overlap"),
        (|p, k| p.slots[k].within = Some(k as u32), "within itself"),
        (|p, k| p.slots[k].within = Some(99), "within no slot"),
        (|p, k| p.slots[k].offset = &p.slots[k].offset + 4096, "leave"),
        (|p, k| p.slots[k].offset = &p.slots[k].offset + 2, "not aligned to f32"),
        (|p, k| p.slots[k + 1].offset = p.slots[k].offset.clone(), "overlap"),
    ];
    for (wrong, message) in breaks {
        let mut p = good.clone();
        wrong(&mut p, part);
        let errors: Vec<String> = verify_program(&p).iter().map(|e| e.to_string()).collect();
        assert!(errors.iter().any(|e| e.contains(message)), "{message}: {errors:?}\n{p}");
    }
    let mut less = good.clone();
    less.commands.remove(0);
    assert!(verify_program(&less).iter().any(|e| e.message.contains("read before")), "{less}");
}

/// A slice that ends within the last part reads the first elements of the whole: it is not the concat.
#[test]
fn a_slice_of_a_concat_is_not_the_concat() {
    let text = r#"graph module "t" {
  func @main(%0 "x": f32[1, 6, 5], %1 "y": f32[1, 3, 5], %2 "z": f32[4, 5]) {
    %3 = unary {f = exp} %0 : f32[1, 6, 5]
    %4 = unary {f = exp} %1 : f32[1, 3, 5]
    %5 = concat {axis = 1} %3, %4 : f32[1, 9, 5]
    %6 = slice {starts = [0, 0, 0], steps = [1, 1, 1]} %5 : f32[1, 7, 5]
    yield %6 "a"
  }
}
"#;
    let mut m = lower_tensor::lower(&parse_module::<Graph>(text, &no_blobs).unwrap()).unwrap();
    // The search computes the concat where the slice reads it.
    fuse::fuse_for(&mut m, &crate::Machine::CPU, &fuse::Options::default());
    let (j, _) = joined(&m, &|_| true);
    let whole = |o: &&tensor::Operation| matches!(o.op, Op::View {}) && o.operands.len() == 2;
    let shapes: Vec<String> = j.funcs[0].body.ops.iter().filter(whole).map(|o| j.funcs[0].ty(o.results[0]).to_string()).collect();
    assert_eq!(shapes, ["f32[1, 9, 5]"], "{m}\n{j}");
}
