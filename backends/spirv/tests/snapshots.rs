//! Three representative kernels as SPIR-V text: what a change of the backend does to them is seen in review.
//! `INSTA_UPDATE=always cargo test -p odc-spirv --test snapshots` accepts it.

mod kit;

use kit::*;
use odc_backend::{GpuBackend, GpuKernel};
use odc_spirv::Spirv;

fn shown(text: &str, on: &str) -> String {
    let f = parse(text);
    let k = GpuKernel { about: vec!["nodes: /a/Add + /a/Relu".into()], ..kernel(&f) };
    validate(&Spirv.compile(&k, &target(on)).expect("compiles"), &f.name);
    Spirv.text(&k, &target(on)).expect("compiles")
}

/// Element-wise on vectors of four, the count known only at run time.
#[test]
fn relu() {
    let text = r#"func @add_relu(%0 "a": ptr<f32, global>, %1 "b": ptr<f32, global>, %2 "y": ptr<f32, global>, %3 "groups": index, %4 "n": index) {
      %5 = const {value = 0} : index
      %6 = const {value = 1} : index
      %7 = const {value = 64} : index
      %8 = const {value = 4} : index
      %9 = const {value = f 0.0} : vec<f32, 4>
      for {kind = grid} %5, %3, %6 (%10: index) {
        %11 = binary {f = mul} %10, %7 : index
        for {kind = block} %5, %7, %6 (%12: index) {
          %13 = binary {f = add} %11, %12 : index
          %14 = binary {f = mul} %13, %8 : index
          %15 = binary {f = lt} %14, %4 : bool
          if %15 () {
            %16 = load %0, %14 : vec<f32, 4>
            %17 = load %1, %14 : vec<f32, 4>
            %18 = binary {f = add} %16, %17 : vec<f32, 4>
            %19 = binary {f = max} %18, %9 : vec<f32, 4>
            store %2, %14, %19
            yield
          } () {
            yield
          }
          yield
        }
        yield
      }
      yield
    }"#;
    insta::assert_snapshot!(shown(text, "spirv"));
}

/// A row a workgroup: each invocation sums a share, then half of them add the other half's sums until one is left.
#[test]
fn row_sums() {
    let text = r#"func @row_sums(%0 "x": ptr<f32, global>, %1 "y": ptr<f32, global>, %2 "columns": index) {
      %3 = const {value = 0} : index
      %4 = const {value = 1} : index
      %5 = const {value = 64} : index
      %6 = const {value = 6} : index
      %7 = const {value = 100} : index
      %8 = const {value = f 0.0} : f32
      %9 = shared {dtype = f32, len = 64} : ptr<f32, workgroup>
      for {kind = grid} %3, %7, %4 (%10: index) {
        %11 = binary {f = mul} %10, %2 : index
        for {kind = block} %3, %5, %4 (%12: index) {
          %13 = for {kind = serial} %12, %2, %5, %8 (%14: index, %15: f32) {
            %16 = binary {f = add} %11, %14 : index
            %17 = load %0, %16 : f32
            %18 = binary {f = add} %15, %17 : f32
            yield %18
          } : f32
          store %9, %12, %13
          for {kind = unrolled} %3, %6, %4 (%19: index) {
            barrier
            %20 = const {value = 32} : index
            %21 = binary {f = shr} %20, %19 : index
            %22 = binary {f = lt} %12, %21 : bool
            if %22 () {
              %23 = load %9, %12 : f32
              %24 = binary {f = add} %12, %21 : index
              %25 = load %9, %24 : f32
              %26 = binary {f = add} %23, %25 : f32
              store %9, %12, %26
              yield
            } () {
              yield
            }
            yield
          }
          %27 = binary {f = eq} %12, %3 : bool
          if %27 () {
            %28 = load %9, %3 : f32
            store %1, %10, %28
            yield
          } () {
            yield
          }
          yield
        }
        yield
      }
      yield
    }"#;
    insta::assert_snapshot!(shown(text, "spirv"));
}

/// Halves in memory, sums in f32, a reduction by subgroup.
#[test]
fn half_dot() {
    let text = r#"func @half_dot(%0 "a": ptr<f16, global>, %1 "b": ptr<f16, global>, %2 "y": ptr<f32, global>, %3 "rows": index) {
      %4 = const {value = 0} : index
      %5 = const {value = 1} : index
      %6 = const {value = 32} : index
      %7 = const {value = 256} : index
      %8 = const {value = f 0.0} : vec<f32, 2>
      %9 = const {value = 2} : index
      for {kind = grid} %4, %3, %5 (%10: index) {
        %11 = binary {f = mul} %10, %7 : index
        for {kind = block} %4, %6, %5 (%12: index) {
          %13 = binary {f = mul} %12, %9 : index
          %14 = const {value = 64} : index
          %15 = for {kind = serial} %13, %7, %14, %8 (%16: index, %17: vec<f32, 2>) {
            %18 = binary {f = add} %11, %16 : index
            %19 = load %0, %18 : vec<f16, 2>
            %20 = load %1, %16 : vec<f16, 2>
            %21 = cast %19 : vec<f32, 2>
            %22 = cast %20 : vec<f32, 2>
            %23 = fma %21, %22, %17 : vec<f32, 2>
            yield %23
          } : vec<f32, 2>
          %24 = extract {lane = 0} %15 : f32
          %25 = extract {lane = 1} %15 : f32
          %26 = binary {f = add} %24, %25 : f32
          %27 = subgroup {f = add} %26 : f32
          %28 = binary {f = eq} %12, %4 : bool
          if %28 () {
            store %2, %10, %27
            yield
          } () {
            yield
          }
          yield
        }
        yield
      }
      yield
    }"#;
    insta::assert_snapshot!(shown(text, "spirv:f16+subgroups"));
}
