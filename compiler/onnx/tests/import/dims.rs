//! Names, expressions and bounds of dims: from the file, and from the options.

use crate::net::{Net, int, ints, list, one, weight};
use odc_ir::core::Sym;
use odc_onnx::Code;

fn relu(dims: &[&str]) -> Net {
    one(17, "Relu", dims, vec![], vec![])
}

#[test]
fn names_are_made_harmless() {
    assert_eq!(relu(&["batch", "p2o.Dim.0", "", "min", "i0", "9x", "a b"]).result(), "f32[batch, p2o_Dim_0, x_d2, dmin, di0, d9x, a_b]");
    assert_eq!(relu(&["a.b", "a_b", "a b"]).result(), "f32[a_b, a_b_, a_b__]");
}

#[test]
fn expressions_of_other_dims() {
    let n = Net::new(17).input("a", &["h", "2*h + 1"]).input("x", &["h/2", "h // 2"]).node("Relu", &["x"], &["y"], vec![]).output("y");
    assert_eq!(n.params(), ["f32[h, 2*h + 1]", "f32[h_2, floordiv(h, 2)]"], "h/2 is no expression but a name");
}

#[test]
fn options_fix_rename_and_bound() {
    assert_eq!(relu(&["N", "3"]).dim("N", "4").result(), "f32[4, 3]");
    assert_eq!(relu(&["a.b", "3"]).dim("a.b", "batch").result(), "f32[batch, 3]");
    assert_eq!(relu(&["a.b", "3"]).dim("a_b", "5").result(), "f32[5, 3]");
    assert_eq!(relu(&["", "3"]).dim("x_d0", "7").result(), "f32[7, 3]");
    assert_eq!(relu(&["n", "m"]).dim("m", "2*n").result(), "f32[n, 2*n]");
    let m = relu(&["n", "m"]).dim("n", "2..16").module();
    let of = |s: &str| (m.symbols[&Sym::new(s)].lo, m.symbols[&Sym::new(s)].hi);
    assert_eq!((of("n"), of("m")), ((2, Some(16)), (1, None)));
    assert_eq!(m.symbols[&Sym::new("m")].origin.as_ref().map(|o| (o.input.as_str(), o.axis)), Some(("x", 1)));
    for (k, v) in [("n", ""), ("n", "-1"), ("n", "4..2"), ("other", "4"), ("n", "x+")] {
        assert_eq!(relu(&["n", "m"]).dim(k, v).codes(), [Code::BadDim], "{k}={v}");
    }
    assert!(relu(&["n", "m"]).dim("other", "4").error().contains("the model's dims are: m, n"));
}

#[test]
fn an_appended_cache_tells_the_total() {
    let n = Net::new(17)
        .input("mask", &["total"])
        .input("past", &["past_len"])
        .input("now", &["seq"])
        .node("Concat", &["past", "now"], &["all"], vec![int("axis", 0)])
        .node("Add", &["all", "mask"], &["y"], vec![])
        .output("y");
    assert_eq!(n.params(), ["f32[past_len + seq]", "f32[past_len]", "f32[seq]"]);
    let m = n.module();
    assert_eq!(m.symbols[&Sym::new("past_len")].lo, 0, "a cache may start empty");
    assert_eq!(m.symbols.len(), 2);
}

#[test]
fn a_cache_may_be_kept_in_another_type() {
    let n = Net::new(17)
        .input("past", &["past_len"])
        .input("now", &["seq"])
        .node("Cast", &["past"], &["same"], vec![int("to", 1)])
        .node("Concat", &["same", "now"], &["y"], vec![int("axis", 0)])
        .output("y");
    assert_eq!(n.module().symbols[&Sym::new("past_len")].lo, 0);
}

#[test]
fn a_skip_connection_tells_a_multiple() {
    let down = vec![list("strides", &[2]), list("pads", &[1, 1])];
    let n = Net::new(17)
        .input("x", &["1", "4", "len"])
        .weights([weight("w", &[4, 4, 3]), weight("v", &[4, 4, 2])])
        .node("Conv", &["x", "w"], &["d"], down.clone())
        .node("Conv", &["d", "w"], &["e"], down)
        .node("ConvTranspose", &["e", "v"], &["f"], vec![list("strides", &[2])])
        .node("Add", &["f", "d"], &["g"], vec![])
        .node("ConvTranspose", &["g", "v"], &["h"], vec![list("strides", &[2])])
        .node("Add", &["h", "x"], &["y"], vec![])
        .output("y");
    assert_eq!(n.params(), ["f32[1, 4, 4*len_div4]"]);
    assert_eq!(n.result(), "f32[1, 4, 4*len_div4]");
    let m = n.dim("len", "10..100").module();
    let s = &m.symbols[&Sym::new("len_div4")];
    assert_eq!((s.lo, s.hi), (3, Some(25)), "bounds of the whole are bounds of the part");
}

#[test]
fn a_table_of_positions_tells_a_bound() {
    let n = Net::new(17)
        .input("x", &["seq", "8"])
        .weights([weight("table", &[512, 8]), ints("zero", &[0]), ints("axis", &[0])])
        .node("Shape", &["x"], &["s"], vec![int("end", 1)])
        .node("Slice", &["table", "zero", "s", "axis"], &["p"], vec![])
        .node("Add", &["x", "p"], &["y"], vec![])
        .output("y");
    assert_eq!(n.module().symbols[&Sym::new("seq")].hi, Some(512));
    assert_eq!(n.dim("seq", "600..700").codes(), [Code::BadOperand]);
}

#[test]
fn what_cannot_be_decided_says_so() {
    let n = Net::new(17)
        .input("a", &["n", "n"])
        .input("b", &["m", "m"])
        .weights([ints("flat", &[-1])])
        .node("Reshape", &["a", "flat"], &["p"], vec![])
        .node("Reshape", &["b", "flat"], &["q"], vec![])
        .node("Add", &["p", "q"], &["y"], vec![])
        .output("y");
    assert_eq!(n.codes(), [Code::Undecided]);
    assert!(n.error().contains("n*n") || n.error().contains("n^2"), "{}", n.error());
}
