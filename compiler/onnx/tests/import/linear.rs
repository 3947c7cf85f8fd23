//! Products of matrices: MatMul, Gemm, Einsum and their relatives.

use crate::net::{Net, float, int, one, text, weight};
use odc_onnx::Code;

fn two(op: &str, a: &[&str], b: &[&str]) -> Net {
    Net::new(13).input("a", a).input("b", b).node(op, &["a", "b"], &["y"], vec![]).output("y")
}

#[test]
fn matrix_products() {
    assert_eq!(two("MatMul", &["n", "8", "4"], &["4", "5"]).result(), "f32[n, 8, 5]");
    assert_eq!(two("MatMul", &["b", "1", "s", "4"], &["6", "4", "t"]).result(), "f32[b, 6, s, t]");
    assert_eq!(two("MatMul", &["4"], &["n", "4", "5"]).result(), "f32[n, 5]");
    assert_eq!(two("MatMul", &["3", "4"], &["4"]).result(), "f32[3]");
    assert_eq!(two("MatMul", &["4"], &["4"]).result(), "f32[]");
    assert_eq!(two("MatMul", &["2", "4"], &["5", "6"]).codes(), [Code::BadOperand]);
    assert_eq!(two("MatMul", &[], &["4"]).codes(), [Code::BadOperand]);
}

#[test]
fn gemm_is_spelled_out() {
    let n = one(13, "Gemm", &["n", "8"], vec![weight("w", &[100, 8]), weight("c", &[100])], vec![int("transB", 1), float("alpha", 2.0)]);
    let body = n.body();
    assert_eq!(body.len(), 4, "{body:?}");
    assert!(body[0].starts_with("%2 = transpose {perm = [1, 0]} %1 : f32[8, 100]"));
    assert!(body[1].contains("matmul %0, %2 : f32[n, 100]"));
    assert!(body[2].contains("mul"));
    assert!(body[3].contains("add"));
    assert_eq!(one(13, "Gemm", &["2", "3", "4"], vec![weight("w", &[4, 4])], vec![]).codes(), [Code::BadOperand]);
}

#[test]
fn einsum_letters() {
    let net = |eq: &str, a: &[&str], b: &[&str]| {
        Net::new(18).input("a", a).input("b", b).node("Einsum", &["a", "b"], &["y"], vec![text("equation", eq)]).output("y")
    };
    assert_eq!(
        net("bct, bcs -> bts", &["n", "8", "t"], &["n", "8", "s"]).body(),
        ["%2 = einsum {equation = \"bct,bcs->bts\"} %0, %1 : f32[n, t, s]"]
    );
    assert_eq!(net("ij,jk", &["2", "3"], &["3", "4"]).result(), "f32[2, 4]");
    assert_eq!(net("Ij,jk->Ik", &["2", "3"], &["3", "4"]).body(), ["%2 = einsum {equation = \"aj,jk->ak\"} %0, %1 : f32[2, 4]"]);
    assert_eq!(net("ij,jk->il", &["2", "3"], &["3", "4"]).codes(), [Code::BadAttribute]);
    assert_eq!(net("ij,jk->ik", &["2", "3"], &["5", "4"]).codes(), [Code::BadOperand]);
    assert_eq!(
        net("...j,jk->...k", &["n", "2", "3"], &["3", "4"]).body(),
        ["%2 = einsum {equation = \"baj,jk->bak\"} %0, %1 : f32[n, 2, 4]"]
    );
    assert_eq!(net("...ij,...jk", &["n", "2", "3"], &["1", "3", "4"]).result(), "f32[n, 2, 4]");
    assert_eq!(net("iij,jk->ik", &["2", "2", "3"], &["3", "4"]).result(), "f32[2, 4]");
    assert_eq!(net("iij,jk->ik", &["2", "5", "3"], &["3", "4"]).codes(), [Code::BadOperand]);
}
