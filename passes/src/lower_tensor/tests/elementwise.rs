//! Functions of elements, choices and conversions.

use super::{Case, Fill, case, check};
use odc_ir::graph::{BinaryFn, UnaryFn};

pub(super) fn cases() -> Vec<Case> {
    let mut v = unary();
    v.extend(binary());
    v.extend(others());
    v
}

fn unary() -> Vec<Case> {
    let mut v = vec![];
    for f in UnaryFn::ALL {
        let name = format!("unary {{f = {f}}}");
        let boolean = matches!(f, UnaryFn::IsNan | UnaryFn::IsInf);
        let c = match f {
            UnaryFn::Not => case(&name, &["bool[5]"], "bool[5]"),
            UnaryFn::BitNot => case(&name, &["i32[5]"], "i32[5]"),
            _ if boolean => case(&name, &["f32[4]"], "bool[4]").fill(0, Fill::Values(&[0.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY])),
            UnaryFn::Log | UnaryFn::Sqrt => case(&name, &["f32[3, n]"], "f32[3, n]").fill(0, Fill::Floats(0.01, 5.0)).at(&[&[("n", 3)]]),
            UnaryFn::Asin | UnaryFn::Acos | UnaryFn::Atanh => case(&name, &["f32[9]"], "f32[9]").fill(0, Fill::Floats(-0.99, 0.99)),
            UnaryFn::Acosh => case(&name, &["f32[9]"], "f32[9]").fill(0, Fill::Floats(1.0, 4.0)),
            _ => case(&name, &["f32[3, n]"], "f32[3, n]").at(&[&[("n", 7)], &[("n", 1)], &[("n", 0)]]),
        };
        v.push(c);
        if !boolean && !matches!(f, UnaryFn::Not | UnaryFn::BitNot) {
            v.push(case(&name, &["f16[9]"], "f16[9]").fill(0, Fill::Floats(0.1, 0.9)));
        }
    }
    v.push(case("unary {f = round}", &["f32[6]"], "f32[6]").fill(0, Fill::Values(&[0.5, 1.5, -2.5, 2.4, -0.5, 7.6])));
    v.push(case("unary {f = neg}", &["i8[4]"], "i8[4]"));
    v.push(case("unary {f = abs}", &["i64[4]"], "i64[4]"));
    v.push(case("unary {f = relu}", &["i32[9]"], "i32[9]"));
    v.push(case("unary {f = softplus}", &["f32[3]"], "f32[3]").fill(0, Fill::Values(&[-40.0, 90.0, 0.0])));
    v
}

fn binary() -> Vec<Case> {
    let mut v = vec![];
    for f in BinaryFn::ALL {
        let name = format!("binary {{f = {f}}}");
        let logic = matches!(f, BinaryFn::And | BinaryFn::Or | BinaryFn::Xor);
        let bits = matches!(f, BinaryFn::BitAnd | BinaryFn::BitOr | BinaryFn::BitXor);
        let shift = matches!(f, BinaryFn::Shl | BinaryFn::Shr);
        let compare = matches!(f, BinaryFn::Eq | BinaryFn::Ne | BinaryFn::Lt | BinaryFn::Le | BinaryFn::Gt | BinaryFn::Ge);
        let c = if logic {
            case(&name, &["bool[4, 1]", "bool[5]"], "bool[4, 5]")
        } else if bits {
            case(&name, &["i32[4, 1]", "i32[5]"], "i32[4, 5]")
        } else if shift {
            case(&name, &["u32[4, 1]", "u32[5]"], "u32[4, 5]").fill(1, Fill::Ints(0, 5))
        } else if compare {
            case(&name, &["i64[n, 1]", "i64[5]"], "bool[n, 5]").at(&[&[("n", 4)], &[("n", 0)]])
        } else if *f == BinaryFn::Pow {
            case(&name, &["f32[n, 1]", "f32[5]"], "f32[n, 5]").fill(0, Fill::Floats(0.1, 3.0)).at(&[&[("n", 4)]])
        } else {
            case(&name, &["f32[n, 1]", "f32[2, 1, 5]"], "f32[2, n, 5]").at(&[&[("n", 4)], &[("n", 1)]])
        };
        v.push(c);
        let arithmetic = !(logic || bits || shift || compare);
        if arithmetic && *f != BinaryFn::Prelu {
            v.push(case(&name, &["i32[8]", "i32[8]"], "i32[8]").fill(1, Fill::Values(&[2.0, -3.0, 1.0, 3.0, 0.0])));
            v.push(case(&name, &["bf16[8]", "bf16[]"], "bf16[8]").fill(0, Fill::Floats(0.5, 2.0)).fill(1, Fill::Floats(0.5, 2.0)));
        }
        if compare {
            v.push(
                case(&name, &["f32[6]", "f32[6]"], "bool[6]")
                    .fill(0, Fill::Values(&[1.0, f64::NAN, 2.0]))
                    .fill(1, Fill::Values(&[1.0, 2.0])),
            );
        }
    }
    v.push(case("binary {f = prelu}", &["f32[2, 3, 2, 2]", "f32[3, 1, 1]"], "f32[2, 3, 2, 2]"));
    v
}

fn others() -> Vec<Case> {
    vec![
        case("select", &["bool[n, 1]", "f32[1, 5]", "f32[]"], "f32[n, 5]").at(&[&[("n", 4)]]),
        case("select", &["bool[3]", "i64[3]", "i64[3]"], "i64[3]"),
        case("cast", &["f32[6]"], "i8[6]").fill(0, Fill::Values(&[1.9, -1.9, 300.0, -300.0, 0.0, f64::NAN])),
        case("cast", &["f32[4]"], "bool[4]").fill(0, Fill::Values(&[0.0, -0.5, 1.0, 3.0])),
        case("cast", &["i64[4]"], "f32[4]"),
        case("cast", &["f32[n]"], "f16[n]").at(&[&[("n", 5)], &[("n", 0)]]),
        case("cast", &["i64[4]"], "u8[4]"),
        case("cast", &["bool[4]"], "f32[4]"),
        case("bitcast", &["f32[n]"], "i32[n]").at(&[&[("n", 5)], &[("n", 0)]]),
        case("bitcast", &["i8[4]"], "u8[4]"),
        case("leaky_relu {alpha = 0.1}", &["f32[9]"], "f32[9]"),
        case("leaky_relu {alpha = 0.1}", &["f16[9]"], "f16[9]"),
        case("elu {alpha = 1.5}", &["f32[9]"], "f32[9]"),
        case("hard_sigmoid {alpha = 0.2, beta = 0.5}", &["f32[9]"], "f32[9]").fill(0, Fill::Floats(-4.0, 4.0)),
    ]
}

#[test]
fn of_one() {
    check(unary());
}
#[test]
fn of_two() {
    check(binary());
}
#[test]
fn choices_and_conversions() {
    check(others());
}
