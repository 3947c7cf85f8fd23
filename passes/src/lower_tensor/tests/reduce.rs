//! Reductions, running sums, softmax and the normalisations.

use super::{Case, Fill, case, check};
use odc_ir::graph::{ArgFn, ReduceFn};

pub(super) fn cases() -> Vec<Case> {
    let mut v = reductions();
    v.extend(running());
    v.extend(normalisations());
    v
}

fn reductions() -> Vec<Case> {
    let mut v = vec![];
    for f in ReduceFn::ALL {
        let positive = matches!(f, ReduceFn::LogSum);
        let fill = if positive { Fill::Floats(0.1, 2.0) } else { Fill::Any };
        let op = |axes: &str, keep: bool| format!("reduce {{f = {f}, axes = {axes}, keep = {keep}}}");
        v.push(case(&op("[1]", true), &["f32[2, n, 3]"], "f32[2, 1, 3]").fill(0, fill).at(&[&[("n", 5)], &[("n", 1)]]));
        v.push(case(&op("[0, 2]", false), &["f32[2, n, 3]"], "f32[n]").fill(0, fill).at(&[&[("n", 4)], &[("n", 0)]]));
        v.push(case(&op("[0, 1]", false), &["f32[2, 3]"], "f32[]").fill(0, fill));
        v.push(case(&op("[]", false), &["f32[2, 3]"], "f32[2, 3]").fill(0, fill));
        v.push(case(&op("[0]", false), &["f16[4, 2]"], "f16[2]").fill(0, fill));
        if !matches!(f, ReduceFn::LogSum | ReduceFn::LogSumExp | ReduceFn::L2) {
            v.push(case(&op("[1]", false), &["i32[2, 4]"], "i32[2]"));
        }
    }
    v.push(case("reduce {f = max, axes = [0], keep = false}", &["bool[4, 2]"], "bool[2]"));
    v.push(case("reduce {f = sum, axes = [0], keep = false}", &["f32[n, 2]"], "f32[2]").at(&[&[("n", 0)]]));
    v.push(
        case("reduce {f = log_sum_exp, axes = [0], keep = false}", &["f32[3]"], "f32[]")
            .fill(0, Fill::Values(&[1000.0, 1001.0, f64::NEG_INFINITY])),
    );
    for f in ArgFn::ALL {
        for last in [false, true] {
            let op = |axis: usize, keep: bool| format!("arg_reduce {{f = {f}, axis = {axis}, keep = {keep}, last = {last}}}");
            v.push(
                case(&op(1, false), &["f32[2, n]"], "i64[2]")
                    .fill(0, Fill::Values(&[1.0, 3.0, 1.0, 3.0, 2.0]))
                    .at(&[&[("n", 5)], &[("n", 1)]]),
            );
            v.push(case(&op(0, true), &["i32[4, 3]"], "i64[1, 3]"));
        }
    }
    v.into_iter().map(|c| c.within(1e-5)).collect()
}

fn running() -> Vec<Case> {
    let mut v = vec![];
    for exclusive in [false, true] {
        for reverse in [false, true] {
            let op = |axis: usize| format!("cum_sum {{axis = {axis}, exclusive = {exclusive}, reverse = {reverse}}}");
            v.push(case(&op(1), &["f32[2, n]"], "f32[2, n]").at(&[&[("n", 5)], &[("n", 1)], &[("n", 0)]]).within(1e-5));
            v.push(case(&op(0), &["i64[4, 2]"], "i64[4, 2]"));
        }
    }
    v
}

fn normalisations() -> Vec<Case> {
    let sizes: &[&[(&str, i64)]] = &[&[("n", 5)], &[("n", 1)]];
    let mut v = vec![];
    for log in [false, true] {
        let op = |axis: usize| format!("softmax {{axis = {axis}, log = {log}}}");
        v.push(case(&op(1), &["f32[3, n]"], "f32[3, n]").at(sizes));
        v.push(case(&op(1), &["f32[2, n, 3]"], "f32[2, n, 3]").at(sizes));
        v.push(case(&op(0), &["f16[6]"], "f16[6]"));
    }
    let three = |op: &str, x: &str, c: &str| case(op, &[x, c, c], x);
    v.push(three("layer_norm {axis = 2, epsilon = 1e-5}", "f32[2, n, 8]", "f32[8]").at(sizes));
    v.push(three("layer_norm {axis = 1, epsilon = 1e-5}", "f32[2, n, 4]", "f32[n, 4]").at(sizes));
    v.push(case("layer_norm {axis = 1, epsilon = 1e-5}", &["f16[2, 8]", "f16[8]"], "f16[2, 8]"));
    v.push(case("rms_norm {axis = 2, epsilon = 1e-6}", &["f32[2, n, 8]", "f32[8]"], "f32[2, n, 8]").at(sizes));
    v.push(three("group_norm {groups = 2, epsilon = 1e-5}", "f32[2, 6, n, 3]", "f32[6]").at(sizes));
    v.push(three("group_norm {groups = 0, epsilon = 1e-5}", "f32[1, 3, n, 4]", "f32[3]").at(sizes));
    v.push(three("group_norm {groups = 3, epsilon = 1e-5}", "f32[1, 3, 5]", "f32[3]"));
    v.push(three("group_norm {groups = 1, epsilon = 1e-5}", "f32[2, 3, 5]", "f32[3]"));
    for (x, c) in [("f32[n, 3, 2, 2]", "f32[3]"), ("f32[n, 3]", "f32[3]")] {
        v.push(case("batch_norm {epsilon = 1e-5}", &[x, c, c, c, c], x).fill(4, Fill::Floats(0.2, 2.0)).at(sizes));
    }
    v.into_iter().map(|c| c.within(2e-5)).collect()
}

#[test]
fn whole_axes() {
    check(reductions());
}
#[test]
fn running_sums() {
    check(running());
}
#[test]
fn softmax_and_norms() {
    check(normalisations());
}
