//! Tests of matrices that subgroups hold, and of sums of packed products.

use super::*;
use crate::core::{no_blobs, parse_module};
use crate::loops::{Loop, verify};

const SIZE: usize = 256;

/// A kernel of two subgroups of 32, one tile of 16x16 each: `%11` is the subgroup, `%12` its first element.
fn text(body: &str) -> String {
    format!(
        r#"loop module "t" {{
  func @k(%0 "a": ptr<f16, global>, %1 "b": ptr<f16, global>, %2 "w": ptr<u32, global>, %3 "y": ptr<f32, global>, %4 "z": ptr<i32, global>) {{
    %5 = const {{value = 0}} : index
    %6 = const {{value = 1}} : index
    %7 = const {{value = 16}} : index
    %8 = const {{value = 64}} : index
    %9 = const {{value = 256}} : index
    for {{kind = grid}} %5, %6, %6 (%10: index) {{
      for {{kind = block}} %5, %8, %6 (%11: index) {{
        %12 = lane {{info = subgroup}} : index
        %13 = binary {{f = mul}} %12, %9 : index
        {body}
        yield
      }}
      yield
    }}
    yield
  }}
}}"#
    )
}

fn a(k: usize) -> i64 {
    (k * 7 % 11) as i64 - 5
}

fn b(k: usize) -> i64 {
    (k * 5 % 13) as i64 - 6
}

fn go(body: &str) -> Result<[Vec<f64>; 2], InterpError> {
    let text = text(body);
    let m = parse_module::<Loop>(&text, &no_blobs).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(verify(&m), vec![]);
    assert_eq!(parse_module::<Loop>(&m.to_string(), &no_blobs).unwrap().to_string(), m.to_string());
    let half = |f: fn(usize) -> i64| Buffer::from_scalars(DType::F16, (0..2 * SIZE).map(|k| Scalar::Float(f(k) as f64)));
    let bytes = Buffer { dtype: DType::U32, bytes: (0..2 * SIZE).map(|k| a(k) as i8 as u8).collect() };
    let mut buffers = [half(a), half(b), bytes, Buffer::zeros(DType::F32, 2 * SIZE), Buffer::zeros(DType::I32, 2 * SIZE)];
    run(&m.funcs[0], &mut buffers, Run { dims: &[], scratch: 0, grid: None, fused: true, subgroup: 32 })?;
    Ok([3, 4].map(|k: usize| buffers[k].scalars().into_iter().map(Scalar::as_f64).collect()))
}

const PRODUCT: &str = "%14 = const {value = f 2.0} : f32
    %15 = splat %14 : coop<f32, acc, 16, 16>
    %16 = coop_load %0, %13, %7 : coop<f16, a, 16, 16>
    %17 = coop_load %1, %13, %7 : coop<f16, b, 16, 16>
    %18 = coop_mma %16, %17, %15 : coop<f32, acc, 16, 16>
    coop_store %3, %13, %7, %18";

/// Factors lie with their depth contiguous.
fn product(x: fn(usize) -> i64, y: fn(usize) -> i64, start: i64) -> Vec<f64> {
    let element = |k: usize| {
        let (base, i, j) = (k / SIZE * SIZE, k % SIZE / 16, k % 16);
        (start + (0..16).map(|l| x(base + 16 * i + l) * y(base + 16 * j + l)).sum::<i64>()) as f64
    };
    (0..2 * SIZE).map(element).collect()
}

#[test]
fn each_subgroup_multiplies_its_matrices() {
    assert_eq!(go(PRODUCT).unwrap()[0], product(a, b, 2));
    let bytes = "%14 = const {value = 0} : i32
    %15 = splat %14 : coop<i32, acc, 16, 16>
    %16 = const {value = 4} : index
    %17 = binary {f = mul} %12, %8 : index
    %18 = coop_load %2, %17, %16 : coop<i8, a, 16, 16>
    %19 = coop_load %2, %17, %16 : coop<i8, b, 16, 16>
    %20 = coop_mma %18, %19, %15 : coop<i32, acc, 16, 16>
    coop_store %4, %13, %7, %20";
    assert_eq!(go(bytes).unwrap()[1], product(a, a, 0));
}

#[test]
fn a_torn_subgroup_is_an_error() {
    // The test is %14; the product's values move up by one.
    let moved = (14..19).rev().fold(PRODUCT.to_string(), |body, k| body.replace(&format!("%{k}"), &format!("%{}", k + 1)));
    let inside = |test: &str| format!("{test} if %14 () {{ {moved} yield }} () {{ yield }}");
    let half = inside("%14 = binary {f = lt} %11, %7 : bool");
    assert!(matches!(go(&half), Err(InterpError::Divergence { op: "coop_load", .. })), "{:?}", go(&half));
    // One whole subgroup of the two may be elsewhere.
    let one = inside("%14 = binary {f = lt} %12, %6 : bool");
    assert_eq!(go(&one).unwrap()[0][..SIZE], product(a, b, 2)[..SIZE]);
    let apart = PRODUCT.replace("coop_load %0, %13", "coop_load %0, %11");
    assert!(matches!(go(&apart), Err(InterpError::Divergence { op: "coop_load", .. })));
}

#[test]
fn matrices_race_as_a_whole() {
    let both = PRODUCT.replace("coop_store %3, %13", "coop_store %3, %5");
    assert!(matches!(go(&both), Err(InterpError::Race { op: "coop_store", .. })));
    let read = format!("{PRODUCT} %19 = load %3, %11 : f32");
    assert!(matches!(go(&read), Err(InterpError::Race { op: "load", .. })));
    assert!(go(&format!("{PRODUCT} barrier %19 = load %3, %11 : f32")).is_ok());
}

#[test]
fn types_are_checked() {
    let refused = |body: &str| {
        let m = parse_module::<Loop>(&text(body), &no_blobs).unwrap_or_else(|e| panic!("{e}"));
        assert!(!verify(&m).is_empty(), "{body}");
    };
    refused(&PRODUCT.replace("coop<f16, b, 16, 16>", "coop<f16, b, 32, 16>"));
    refused(&PRODUCT.replace("coop_load %1", "coop_load %3"));
    refused(&PRODUCT.replace("%16, %17, %15", "%17, %16, %15"));
    refused(&PRODUCT.replace("%7, %18", "%7, %16"));
    refused("%14 = const {value = 0} : i32 %15 = dot4 {signed = true} %14, %14, %14 : i32");
}

#[test]
fn packed_products() {
    let body = |signed: bool| {
        format!(
            "%14 = const {{value = 4278321407}} : u32 %15 = const {{value = 2155905025}} : u32 %16 = const {{value = 7}} : i32
             %17 = dot4 {{signed = {signed}}} %14, %15, %16 : i32 store %4, %11, %17"
        )
    };
    // Bytes, lowest first: ff 00 02 ff and 01 80 80 80.
    assert_eq!(go(&body(true)).unwrap()[1][0], f64::from(7 - 1 - 2 * 128 + 128));
    assert_eq!(go(&body(false)).unwrap()[1][0], f64::from(7 + 255 + 2 * 128 + 255 * 128));
}
