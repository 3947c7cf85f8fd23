//! Tests of the loop interpreter and verifier: meaning, and the errors that catch wrong index arithmetic.

use super::*;
use crate::core::{no_blobs, parse_module};
use crate::loops::{Loop, verify};

const ROWS: &str = r#"loop module "t" {
  func @rows(%0 "x": ptr<f32, global>, %1 "y": ptr<f32, global>, %2 "rows": index, %3 "columns": index) {
    %4 = const {value = 0} : index
    %5 = const {value = 1} : index
    %6 = const {value = f 0.0} : f32
    for {kind = grid} %4, %2, %5 (%8: index) {
      %9 = binary {f = mul} %8, %3 : index
      %10 = scratch %4 : ptr<f32, scratch>
      for {kind = serial} %4, %3, %5 (%11: index) {
        %12 = binary {f = add} %9, %11 : index
        %13 = load %0, %12 : f32
        store %10, %11, %13
        yield
      }
      %14 = for {kind = serial} %4, %3, %5, %6 (%15: index, %16: f32) {
        %17 = load %10, %15 : f32
        %7 = binary {f = add} %16, %17 : f32
        yield %7
      } : f32
      store %1, %8, %14
      yield
    }
    yield
  }
}"#;

fn parse(text: &str) -> crate::loops::Module {
    parse_module::<Loop>(text, &no_blobs).unwrap_or_else(|e| panic!("{e}"))
}

fn rows(text: &str, columns: i64, scratch: usize) -> Result<Vec<f64>, InterpError> {
    let m = parse(text);
    assert_eq!(verify(&m), vec![]);
    let x = Buffer::from_scalars(DType::F32, (0..12).map(|k| Scalar::Float(f64::from(k))));
    let mut buffers = [x, Buffer::zeros(DType::F32, 3)];
    run(&m.funcs[0], &mut buffers, Run { dims: &[3, columns], scratch, grid: None, fused: true, subgroup: SUBGROUP })?;
    Ok(buffers[1].scalars().into_iter().map(Scalar::as_f64).collect())
}

#[test]
fn sums_rows_through_scratch() {
    assert_eq!(rows(ROWS, 4, 16).unwrap(), [6.0, 22.0, 38.0]);
    assert_eq!(rows(ROWS, 0, 0).unwrap(), [0.0; 3]);
}

#[test]
fn accesses_outside_are_named() {
    let e = rows(ROWS, 5, 32).unwrap_err();
    assert!(matches!(&e, InterpError::OutOfBounds { op: "load", offset: 12, size: 12, .. }), "{e}");
    assert!(e.to_string().contains("\"x\""), "{e}");
    let e = rows(ROWS, 4, 12).unwrap_err();
    assert!(matches!(&e, InterpError::OutOfBounds { op: "store", offset: 3, .. }), "{e}");
}

#[test]
fn scratch_does_not_outlive_an_iteration() {
    // The copy starts one element late: element 0 is read without ever being written.
    let late = ROWS.replace("for {kind = serial} %4, %3, %5 (%11", "for {kind = serial} %5, %3, %5 (%11");
    let e = rows(&late, 4, 16).unwrap_err();
    assert!(matches!(e, InterpError::Uninitialised { offset: 0, .. }), "{e}");
}

#[test]
fn broken_rules_are_found() {
    let broken = [
        ("%9 = binary {f = mul} %8, %3 : index", "%9 = binary {f = mul} %8, %3 : f32", "binary"),
        ("store %10, %11, %13", "store %10, %13, %11", "store"),
        ("%17 = load %10, %15 : f32", "%17 = load %10, %15 : i32", "load"),
        ("for {kind = serial} %4, %3, %5 (%11", "for {kind = grid} %4, %3, %5 (%11", "for"),
        ("for {kind = serial} %4, %3, %5 (%11", "for {kind = serial} %4, %3, %4 (%11", "for"),
        ("for {kind = grid}", "for {kind = serial}", "func"),
        ("%6 = const {value = f 0.0} : f32", "%6 = const {value = 0} : f32", "const"),
        ("yield %7\n", "yield %15\n", "for"),
        ("%2 \"rows\": index", "%2 \"rows\": i64", "for"),
    ];
    for (from, to, op) in broken {
        let text = ROWS.replacen(from, to, 1);
        assert_ne!(text, ROWS, "{from}");
        let errors = verify(&parse(&text));
        assert!(errors.iter().any(|e| e.op == op), "{to}: {errors:?}");
    }
}
