//! Tests of block loops: what workgroups compute, and the errors that catch missing barriers.

use super::*;
use crate::core::{no_blobs, parse_module};
use crate::loops::{Loop, verify};

/// Runs a kernel of 64 invocations a workgroup over 128 elements: `%15` is the invocation, `%16` the element.
fn go(body: &str) -> Result<Vec<f64>, InterpError> {
    let text = format!(
        r#"loop module "t" {{
  func @k(%0 "x": ptr<f32, global>, %1 "y": ptr<f32, global>, %2 "w": ptr<u32, global>) {{
    %3 = const {{value = 0}} : index
    %4 = const {{value = 1}} : index
    %5 = const {{value = 2}} : index
    %6 = const {{value = 32}} : index
    %7 = const {{value = 63}} : index
    %8 = const {{value = 64}} : index
    %9 = const {{value = 1}} : u32
    %10 = const {{value = f 1.0}} : f32
    %11 = const {{value = f 0.0}} : f32
    %12 = shared {{dtype = f32, len = 64}} : ptr<f32, workgroup>
    for {{kind = grid}} %3, %5, %4 (%13: index) {{
      %14 = binary {{f = mul}} %13, %8 : index
      for {{kind = block}} %3, %8, %4 (%15: index) {{
        %16 = binary {{f = add}} %14, %15 : index
        %17 = load %0, %16 : f32
        %18 = binary {{f = lt}} %15, %6 : bool
        {body}
        yield
      }}
      yield
    }}
    yield
  }}
}}"#
    );
    let m = parse_module::<Loop>(&text, &no_blobs).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(verify(&m), vec![]);
    let x = Buffer::from_scalars(DType::F32, (0..128).map(|k| Scalar::Float(f64::from(k))));
    let mut buffers = [x, Buffer::zeros(DType::F32, 128), Buffer::zeros(DType::U32, 2)];
    run(&m.funcs[0], &mut buffers, Run { dims: &[], scratch: 0, grid: None, fused: true, subgroup: SUBGROUP })?;
    let words = buffers[2].scalars();
    Ok(buffers[1].scalars().into_iter().chain(words).map(Scalar::as_f64).collect())
}

fn races(body: &str, in_op: &str) {
    let e = go(body).unwrap_err();
    assert!(matches!(&e, InterpError::Race { op, .. } if *op == in_op), "{e}");
}

const EXCHANGE: &str = "store %12, %15, %17
    barrier
    %19 = binary {f = sub} %7, %15 : index
    %20 = load %12, %19 : f32
    store %1, %16, %20";

#[test]
fn invocations_exchange_values() {
    let y = go(EXCHANGE).unwrap();
    assert_eq!((y[0], y[63], y[64], y[127]), (63.0, 0.0, 127.0, 64.0));
}

#[test]
fn a_missing_barrier_is_a_race() {
    let e = go(&EXCHANGE.replace("barrier", "")).unwrap_err();
    assert!(matches!(&e, InterpError::Race { op: "load", offset: 63, .. } | InterpError::Race { op: "load", offset: 0, .. }), "{e}");
    // The tile is written again while others may still read it.
    races(&format!("{EXCHANGE} store %12, %15, %17"), "store");
    assert!(go(&format!("{EXCHANGE} barrier store %12, %15, %17")).is_ok());
}

#[test]
fn writers_of_one_element_race() {
    races("store %12, %3, %17", "store");
    races("store %1, %15, %17", "store");
    // One workgroup reads what another writes: no barrier helps.
    races("%19 = binary {f = mod} %16, %5 : index %20 = load %1, %19 : f32 barrier store %1, %16, %20", "load");
}

#[test]
fn workgroup_memory_is_undefined_at_first() {
    let e = go("%19 = load %12, %15 : f32 store %1, %16, %19").unwrap_err();
    assert!(matches!(e, InterpError::Uninitialised { .. }), "{e}");
}

#[test]
fn barriers_are_for_all() {
    let e = go("if %18 () { barrier yield } () { yield }").unwrap_err();
    assert!(matches!(e, InterpError::Divergence { op: "barrier", .. }), "{e}");
    assert!(go("for {kind = serial} %3, %5, %4 (%19: index) { barrier yield }").is_ok());
}

#[test]
fn branches_and_loops_that_differ() {
    let y = go("%19 = if %18 () { yield %17 } () { yield %10 } : f32
        %20 = for {kind = serial} %3, %15, %4, %19 (%21: index, %22: f32) {
          %23 = binary {f = add} %22, %10 : f32
          yield %23
        } : f32
        store %1, %16, %20")
    .unwrap();
    // x + i below 32, 1 + i above.
    assert_eq!((y[0], y[5], y[31], y[32], y[69], y[127]), (0.0, 10.0, 62.0, 33.0, 74.0, 64.0));
}

#[test]
fn atomics_and_subgroups() {
    let y = go("%19 = cast %13 : index atomic {f = add} %2, %19, %9
        %20 = subgroup {f = add} %17 : f32
        store %1, %16, %20")
    .unwrap();
    assert_eq!((y[0], y[32], y[127]), (496.0, 1520.0, 3568.0));
    assert_eq!((y[128], y[129]), (64.0, 64.0));
    let y = go("%19 = lane {info = subgroup} : index %20 = cast %19 : f32 store %1, %16, %20").unwrap();
    assert_eq!((y[31], y[32]), (0.0, 1.0));
}

#[test]
fn halves() {
    let y = go("%19 = const {value = f 1.0002} : f32 %20 = half_bits %19 : u32 %21 = from_half_bits %20 : f32
        %22 = cast %20 : f32 %23 = select %18, %21, %22 : f32 store %1, %16, %23")
    .unwrap();
    assert_eq!((y[0], y[40]), (1.0, f64::from(0x3c00)));
}

#[test]
fn vectors_are_aligned() {
    let e = go("if %18 () { %19 = load %0, %4 : vec<f32, 2> yield } () { yield }").unwrap_err();
    assert!(matches!(e, InterpError::Misaligned { offset: 1, lanes: 2, .. }), "{e}");
}
