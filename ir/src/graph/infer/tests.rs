//! One right and one wrong use of the rules that are easy to get wrong.

use super::*;
use crate::core::{DType, Sym, parse_dim};
use crate::graph::{BinaryFn, PadMode, PoolKind};

fn ty(text: &str) -> TensorType {
    let inner = text.trim_start_matches("f32[").trim_end_matches(']');
    let dims = inner.split(',').filter(|d| !d.trim().is_empty());
    TensorType::new(DType::F32, dims.map(|d| parse_dim(d.trim()).unwrap()).collect::<Vec<_>>())
}

fn ranges() -> Ranges {
    let mut r = Ranges::new();
    r.set(Sym::new("n"), 1, Some(Dim::from(64)));
    r
}

fn infer_text(op: &Op, x: &[&str]) -> Result<String, String> {
    let types: Vec<_> = x.iter().map(|t| ty(t)).collect();
    let r = infer(op, &types.iter().collect::<Vec<_>>(), &Cx { consts: &[], ranges: &ranges() })?;
    Ok(r.iter().map(ToString::to_string).collect())
}

fn accepts_text(op: &Op, x: &[&str], result: &str) -> Result<(), String> {
    let types: Vec<_> = x.iter().map(|t| ty(t)).collect();
    accepts(op, &types.iter().collect::<Vec<_>>(), &[&ty(result)], &Cx { consts: &[], ranges: &ranges() })
}

#[test]
fn broadcasting_takes_equal_sizes_or_ones() {
    let add = Op::Binary { f: BinaryFn::Add };
    assert_eq!(infer_text(&add, &["f32[n, 1, 4]", "f32[3, 1]"]).unwrap(), "f32[n, 3, 4]");
    let e = infer_text(&add, &["f32[n, 4]", "f32[3, 4]"]).unwrap_err();
    assert_eq!(e, "shapes [n, 4] and [3, 4] do not broadcast: n is not 3 and neither is 1");
    assert_eq!(infer_text(&Op::Binary { f: BinaryFn::Lt }, &["f32[2]", "f32[]"]).unwrap(), "bool[2]");
}

#[test]
fn matmul_handles_vectors_and_batches() {
    let shapes = [
        (["f32[n, 1, 2, 3]", "f32[5, 3, 7]"], "f32[n, 5, 2, 7]"),
        (["f32[3]", "f32[3, 7]"], "f32[7]"),
        (["f32[2, 3]", "f32[3]"], "f32[2]"),
        (["f32[3]", "f32[3]"], "f32[]"),
        (["f32[4, 2, 3]", "f32[3]"], "f32[4, 2]"),
        (["f32[3]", "f32[4, 3, 7]"], "f32[4, 7]"),
    ];
    for (x, r) in shapes {
        assert_eq!(infer_text(&Op::MatMul {}, &x).unwrap(), r, "{x:?}");
    }
    let e = infer_text(&Op::MatMul {}, &["f32[2, 3]", "f32[4, 5]"]).unwrap_err();
    assert_eq!(e, "matmul of f32[2, 3] and f32[4, 5]: the summed axes have sizes 3 and 4");
}

#[test]
fn einsum_checks_letters() {
    let e = |eq: &str, x: &[&str]| infer_text(&Op::Einsum { equation: eq.into() }, x);
    assert_eq!(e("bct,bcs->bts", &["f32[n, 4, 5]", "f32[n, 4, 6]"]).unwrap(), "f32[n, 5, 6]");
    assert!(e("bct,bcs->bts", &["f32[n, 4, 5]", "f32[n, 3, 6]"]).unwrap_err().contains("`c` is 4 and 3"));
    assert!(e("ab->abz", &["f32[1, 2]"]).is_err());
    assert!(e("ab,b->aa", &["f32[1, 2]", "f32[2]"]).is_err());
}

#[test]
fn windows_slide() {
    let conv = Op::Conv { strides: vec![2, 2], pads: vec![1, 1, 1, 1], dilations: vec![1, 1], group: 1 };
    assert_eq!(infer_text(&conv, &["f32[n, 3, 224, 9]", "f32[8, 3, 3, 3]", "f32[8]"]).unwrap(), "f32[n, 8, 112, 5]");
    assert!(infer_text(&conv, &["f32[n, 4, 224, 9]", "f32[8, 3, 3, 3]"]).unwrap_err().contains("4 channels"));
    assert!(infer_text(&conv, &["f32[n, 3, 224, 9]", "f32[8, 3, 3, 3]", "f32[3]"]).unwrap_err().contains("bias"));
    let pool = |r| {
        let kernel = vec![3];
        let op = Op::Pool { kind: PoolKind::Max, kernel, strides: vec![2], pads: vec![0, 0], dilations: vec![1], count_include_pad: false };
        accepts_text(&op, &["f32[1, 2, 8]"], r)
    };
    assert!(pool("f32[1, 2, 3]").is_ok() && pool("f32[1, 2, 4]").is_ok());
    assert!(pool("f32[1, 2, 5]").is_err() && pool("f32[1, 2, 2]").is_err());
}

#[test]
fn stated_shapes_are_checked() {
    assert!(accepts_text(&Op::Reshape {}, &["f32[n, 4]"], "f32[2, 2*n]").is_ok());
    let e = accepts_text(&Op::Reshape {}, &["f32[n, 4]"], "f32[4*n + 1]").unwrap_err();
    assert_eq!(e, "reshape of f32[n, 4] to f32[4*n + 1]: 4*n elements cannot become 4*n + 1");
    assert!(accepts_text(&Op::Expand {}, &["f32[1, 4]"], "f32[n, 4]").is_ok());
    assert!(accepts_text(&Op::Expand {}, &["f32[3, 4]"], "f32[n, 4]").is_err());
    let slice =
        |start: &str, step, r| accepts_text(&Op::Slice { starts: vec![parse_dim(start).unwrap()], steps: vec![step] }, &["f32[n]"], r);
    assert!(slice("n - 1", -1, "f32[n]").is_ok());
    assert!(slice("n", -1, "f32[n]").is_err());
    assert!(slice("0", 1, "f32[n + 1]").is_err());
    let pad = Op::Pad { mode: PadMode::Constant, before: vec![Dim::ONE] };
    assert!(accepts_text(&pad, &["f32[n]", "f32[]"], "f32[n + 2]").is_ok());
    assert!(accepts_text(&pad, &["f32[n]", "f32[2]"], "f32[n + 2]").is_err());
}

#[test]
fn gathers_and_scatters() {
    let idx = TensorType::of(DType::I64, &[2, 5]);
    let data = ty("f32[n, 4, 6]");
    let r = Ranges::new();
    let cx = Cx { consts: &[], ranges: &r };
    assert_eq!(infer(&Op::Gather { axis: 1 }, &[&data, &idx], &cx).unwrap()[0].to_string(), "f32[n, 2, 5, 6]");
    assert!(infer(&Op::Gather { axis: 3 }, &[&data, &idx], &cx).is_err());
    assert!(infer(&Op::Gather { axis: 0 }, &[&data, &data], &cx).unwrap_err().contains("indices"));
    let pairs = TensorType::of(DType::I64, &[7, 2]);
    assert_eq!(infer(&Op::GatherNd { batch_dims: 0 }, &[&data, &pairs], &cx).unwrap()[0].to_string(), "f32[7, 6]");
    let deep = TensorType::of(DType::I64, &[7, 4]);
    assert!(infer(&Op::GatherNd { batch_dims: 0 }, &[&data, &deep], &cx).is_err());
}

#[test]
fn strings_only_move_and_compare() {
    let s = |shape: &[i64]| TensorType::of(DType::Str, shape);
    let cx = Cx { consts: &[], ranges: &ranges() };
    let binary = |f| infer(&Op::Binary { f }, &[&s(&[3]), &s(&[1])], &cx).map(|r| r[0].to_string());
    assert_eq!(binary(BinaryFn::Eq).unwrap(), "bool[3]");
    for f in [BinaryFn::Add, BinaryFn::Lt, BinaryFn::Max] {
        assert!(binary(f).unwrap_err().contains("takes numbers, not str[3]"));
    }
    assert!(accepts(&Op::Reshape {}, &[&s(&[4])], &[&s(&[2, 2])], &cx).is_ok());
    let of = |op: Op, x: &TensorType, y: DType| accepts(&op, &[x], &[&TensorType::of(y, &[3])], &cx).is_ok();
    assert!(of(Op::Bitcast {}, &s(&[3]), DType::I32) && !of(Op::Cast {}, &s(&[3]), DType::I32));
    assert!(!of(Op::Bitcast {}, &TensorType::of(DType::I32, &[3]), DType::Str));
}
