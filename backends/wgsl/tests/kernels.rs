//! The text of representative kernels, whole.

mod common;

use common::*;

#[test]
fn map_with_dims() {
    snapshot(
        "wgsl",
        r#"func @k0_add_relu(%0 "x": ptr<f32, global>, %1 "/block.1/bias": ptr<f32, global>, %2 "y": ptr<f32, global>, %3 "groups": index, %4 "4*n*h": index, %5 "c": index) {
  %6 = const {value = 0} : index
  %7 = const {value = 1} : index
  %8 = const {value = 64} : index
  %9 = const {value = f 0.0} : f32
  for {kind = grid} %6, %3, %7 (%10: index) {
    %11 = binary {f = mul} %10, %8 : index
    for {kind = block} %6, %8, %7 (%12: index) {
      %13 = binary {f = add} %11, %12 : index
      %14 = binary {f = lt} %13, %4 : bool
      if %14 () {
        %15 = binary {f = mod} %13, %5 : index
        %16 = load %0, %13 : f32
        %17 = load %1, %15 : f32
        %18 = binary {f = add} %16, %17 : f32
        %19 = binary {f = max} %18, %9 : f32
        store %2, %13, %19
        yield
      } () {
        yield
      }
      yield
    }
    yield
  }
  yield
}"#,
    );
}

#[test]
fn row_reduction_with_barriers() {
    snapshot(
        "wgsl",
        r#"func @softmax_sum(%0 "x": ptr<f32, global>, %1 "y": ptr<f32, global>, %2 "rows": index, %3 "cols": index) {
  %4 = const {value = 0} : index
  %5 = const {value = 1} : index
  %6 = const {value = 64} : index
  %7 = const {value = f -inf} : f32
  %8 = const {value = 6} : index
  %9 = const {value = 32} : index
  %10 = shared {dtype = f32, len = 64} : ptr<f32, workgroup>
  for {kind = grid} %4, %2, %5 (%11: index) {
    %12 = binary {f = mul} %11, %3 : index
    for {kind = block} %4, %6, %5 (%13: index) {
      %14 = for {kind = serial} %13, %3, %6, %7 (%15: index, %16: f32) {
        %17 = binary {f = add} %12, %15 : index
        %18 = load %0, %17 : f32
        %19 = binary {f = max} %16, %18 : f32
        yield %19
      } : f32
      store %10, %13, %14
      barrier
      for {kind = serial} %4, %8, %5 (%20: index) {
        %21 = binary {f = shr} %9, %20 : index
        %22 = binary {f = lt} %13, %21 : bool
        if %22 () {
          %23 = binary {f = add} %13, %21 : index
          %24 = load %10, %13 : f32
          %25 = load %10, %23 : f32
          %26 = binary {f = max} %24, %25 : f32
          store %10, %13, %26
          yield
        } () {
          yield
        }
        barrier
        yield
      }
      %27 = binary {f = eq} %13, %4 : bool
      if %27 () {
        %28 = load %10, %4 : f32
        store %1, %11, %28
        yield
      } () {
        yield
      }
      yield
    }
    yield
  }
  yield
}"#,
    );
}

/// 32x32 tiles of c, 8x8 invocations with 4 rows of 4 columns each, k in steps of 16.
#[test]
fn tiled_gemm() {
    let mut rows = String::new();
    for r in 0..4 {
        let (p, q) = (r + 60, 200 + 4 * r);
        rows += &format!(
            "%{q} = const {{value = {}}} : index\n %{} = binary {{f = add}} %52, %{q} : index\n %{} = load %14, %{} : f32\n %{} = splat %{} : vec<f32, 4>\n %{p} = fma %{}, %57, %{} : vec<f32, 4>\n",
            16 * r,
            q + 1,
            q + 2,
            q + 1,
            q + 3,
            q + 2,
            q + 3,
            40 + r
        );
    }
    let mut stores = String::new();
    for r in 0..4 {
        let s = 300 + 4 * r;
        stores += &format!(
            "%{s} = const {{value = {}}} : index\n %{} = binary {{f = add}} %30, %{s} : index\n %{} = binary {{f = mul}} %{}, %4 : index\n %{} = binary {{f = add}} %{}, %31 : index\n store %2, %{}, %{}\n",
            r,
            s + 1,
            s + 2,
            s + 1,
            s + 3,
            s + 2,
            s + 3,
            32 + r
        );
    }
    let text = format!(
        r#"func @gemm(%0 "a": ptr<f32, global>, %1 "b": ptr<f32, global>, %2 "c": ptr<f32, global>, %3 "k": index, %4 "n": index, %5 "n/32": index, %6 "tiles": index) {{
  %7 = const {{value = 0}} : index
  %8 = const {{value = 1}} : index
  %9 = const {{value = 4}} : index
  %10 = const {{value = 8}} : index
  %11 = const {{value = 16}} : index
  %12 = const {{value = 32}} : index
  %13 = const {{value = 64}} : index
  %14 = shared {{dtype = f32, len = 512}} : ptr<f32, workgroup>
  %15 = shared {{dtype = f32, len = 512}} : ptr<f32, workgroup>
  %16 = const {{value = f 0.0}} : vec<f32, 4>
  for {{kind = grid}} %7, %6, %8 (%17: index) {{
    %18 = binary {{f = div}} %17, %5 : index
    %19 = binary {{f = rem}} %17, %5 : index
    %20 = binary {{f = mul}} %18, %12 : index
    %21 = binary {{f = mul}} %19, %12 : index
    for {{kind = block}} %7, %13, %8 (%22: index) {{
      %23 = binary {{f = floordiv}} %22, %10 : index
      %24 = binary {{f = mod}} %22, %10 : index
      %25 = binary {{f = mul}} %23, %9 : index
      %26 = binary {{f = mul}} %24, %9 : index
      %32, %33, %34, %35 = for {{kind = serial}} %7, %3, %11, %16, %16, %16, %16 (%27: index, %36: vec<f32, 4>, %37: vec<f32, 4>, %38: vec<f32, 4>, %39: vec<f32, 4>) {{
        barrier
        for {{kind = unrolled}} %7, %10, %8 (%80: index) {{
          %90 = binary {{f = mul}} %80, %13 : index
          %91 = binary {{f = add}} %90, %22 : index
          %92 = binary {{f = div}} %91, %11 : index
          %93 = binary {{f = rem}} %91, %11 : index
          %94 = binary {{f = add}} %20, %92 : index
          %95 = binary {{f = mul}} %94, %3 : index
          %96 = binary {{f = add}} %95, %27 : index
          %97 = binary {{f = add}} %96, %93 : index
          %98 = load %0, %97 : f32
          store %14, %91, %98
          yield
        }}
        for {{kind = serial}} %22, %13, %13 (%28: index) {{
          %29 = binary {{f = mul}} %28, %9 : index
          %130 = binary {{f = add}} %29, %21 : index
          %131 = load %1, %130 : vec<f32, 4>
          store %15, %29, %131
          yield
        }}
        barrier
        %140, %141, %142, %143 = for {{kind = serial}} %7, %11, %8, %36, %37, %38, %39 (%50: index, %40: vec<f32, 4>, %41: vec<f32, 4>, %42: vec<f32, 4>, %43: vec<f32, 4>) {{
          %51 = binary {{f = mul}} %25, %11 : index
          %52 = binary {{f = add}} %51, %50 : index
          %55 = binary {{f = mul}} %50, %12 : index
          %56 = binary {{f = add}} %55, %26 : index
          %57 = load %15, %56 : vec<f32, 4>
          {rows}
          yield %60, %61, %62, %63
        }} : vec<f32, 4>, vec<f32, 4>, vec<f32, 4>, vec<f32, 4>
        yield %140, %141, %142, %143
      }} : vec<f32, 4>, vec<f32, 4>, vec<f32, 4>, vec<f32, 4>
      %30 = binary {{f = add}} %20, %25 : index
      %31 = binary {{f = add}} %21, %26 : index
      {stores}
      yield
    }}
    yield
  }}
  yield
}}"#
    );
    snapshot("wgsl", &text);
}

/// Bytes are stored by clearing and setting their bits in a word.
#[test]
fn atomic_byte_store() {
    snapshot(
        "wgsl",
        r#"func @greater(%0 "x": ptr<f32, global>, %1 "mask": ptr<u32, global>, %2 "n": index) {
  %3 = const {value = 0} : index
  %4 = const {value = 1} : index
  %5 = const {value = 64} : index
  %6 = const {value = 1000} : index
  %7 = const {value = 2} : index
  %8 = const {value = 3} : index
  %9 = const {value = 255} : u32
  %10 = const {value = f 0.5} : f32
  for {kind = grid} %3, %6, %4 (%11: index) {
    for {kind = block} %3, %5, %4 (%12: index) {
      %13 = binary {f = mul} %11, %5 : index
      %14 = binary {f = add} %13, %12 : index
      %15 = binary {f = lt} %14, %2 : bool
      if %15 () {
        %16 = load %0, %14 : f32
        %17 = binary {f = gt} %16, %10 : bool
        %18 = cast %17 : u32
        %19 = binary {f = shr} %14, %7 : index
        %20 = binary {f = and} %14, %8 : index
        %21 = binary {f = shl} %20, %8 : index
        %22 = cast %21 : u32
        %23 = binary {f = shl} %9, %22 : u32
        %24 = unary {f = not} %23 : u32
        atomic {f = and} %1, %19, %24
        %25 = binary {f = shl} %18, %22 : u32
        atomic {f = or} %1, %19, %25
        yield
      } () {
        yield
      }
      yield
    }
    yield
  }
  yield
}"#,
    );
}

#[test]
fn halves() {
    snapshot(
        "wgsl:f16",
        r#"func @scale(%0 "x": ptr<f16, global>, %1 "y": ptr<f16, global>, %2 "z": ptr<u32, global>) {
  %3 = const {value = 0} : index
  %4 = const {value = 1} : index
  %5 = const {value = 64} : index
  %6 = const {value = 4} : index
  %7 = const {value = f 0.1} : vec<f16, 4>
  for {kind = grid} %3, %6, %4 (%8: index) {
    for {kind = block} %3, %5, %4 (%9: index) {
      %10 = binary {f = mul} %8, %5 : index
      %11 = binary {f = add} %10, %9 : index
      %12 = binary {f = mul} %11, %6 : index
      %13 = load %0, %12 : vec<f16, 4>
      %14 = binary {f = mul} %13, %7 : vec<f16, 4>
      store %1, %12, %14
      %15 = extract {lane = 2} %14 : f16
      %16 = cast %15 : f32
      %17 = half_bits %16 : u32
      %18 = from_half_bits %17 : f32
      %19 = bitcast %18 : u32
      store %2, %11, %19
      yield
    }
    yield
  }
  yield
}"#,
    );
}

#[test]
fn subgroup_reduction() {
    snapshot(
        "wgsl:subgroups",
        r#"func @total(%0 "x": ptr<f32, global>, %1 "sum": ptr<f32, global>) {
  %2 = const {value = 0} : index
  %3 = const {value = 1} : index
  %4 = const {value = 128} : index
  %5 = const {value = f 0.0} : f32
  %6 = shared {dtype = f32, len = 128} : ptr<f32, workgroup>
  for {kind = grid} %2, %3, %3 (%7: index) {
    for {kind = block} %2, %4, %3 (%8: index) {
      %9 = load %0, %8 : f32
      %10 = subgroup {f = add} %9 : f32
      %11 = lane {info = lane} : index
      %12 = lane {info = subgroup} : index
      %13 = binary {f = eq} %11, %2 : bool
      if %13 () {
        store %6, %12, %10
        yield
      } () {
        yield
      }
      barrier
      %14 = lane {info = count} : index
      %15 = binary {f = eq} %8, %2 : bool
      if %15 () {
        %16 = for {kind = serial} %2, %14, %3, %5 (%17: index, %18: f32) {
          %19 = load %6, %17 : f32
          %20 = binary {f = add} %18, %19 : f32
          yield %20
        } : f32
        store %1, %7, %16
        yield
      } () {
        yield
      }
      yield
    }
    yield
  }
  yield
}"#,
    );
}

#[test]
fn vector_copy() {
    snapshot(
        "wgsl",
        r#"func @copy(%0 "x": ptr<i32, global>, %1 "y": ptr<i32, global>, %2 "row": index) {
  %3 = const {value = 0} : index
  %4 = const {value = 1} : index
  %5 = const {value = 64} : index
  %6 = const {value = 4} : index
  %7 = const {value = 256} : index
  for {kind = grid} %3, %5, %4 (%8: index) {
    %9 = binary {f = mul} %8, %2 : index
    for {kind = block} %3, %5, %4 (%10: index) {
      %11 = binary {f = mul} %10, %6 : index
      %12 = binary {f = add} %9, %11 : index
      %13 = load %0, %12 : vec<i32, 4>
      %14 = binary {f = mul} %8, %7 : index
      %15 = binary {f = add} %14, %11 : index
      store %1, %15, %13
      yield
    }
    yield
  }
  yield
}"#,
    );
}

/// A window of 3 whose middle is skipped by a condition on the counter, and a loop too long to repeat.
#[test]
fn unrolled() {
    snapshot(
        "wgsl",
        r#"func @window(%0 "x": ptr<f32, global>, %1 "y": ptr<f32, global>) {
  %2 = const {value = 0} : index
  %3 = const {value = 1} : index
  %4 = const {value = 3} : index
  %5 = const {value = 64} : index
  %6 = const {value = f 0.0} : f32
  for {kind = grid} %2, %3, %3 (%7: index) {
    for {kind = block} %2, %5, %3 (%8: index) {
      %9 = for {kind = unrolled} %2, %4, %3, %6 (%10: index, %11: f32) {
        %12 = binary {f = eq} %10, %3 : bool
        %13 = if %12 () {
          yield %11
        } () {
          %14 = binary {f = add} %8, %10 : index
          %15 = load %0, %14 : f32
          %16 = fma %15, %15, %11 : f32
          yield %16
        } : f32
        yield %13
      } : f32
      %17 = for {kind = unrolled} %2, %5, %3, %9 (%18: index, %19: f32) {
        %20 = load %0, %18 : f32
        %21 = binary {f = add} %19, %20 : f32
        yield %21
      } : f32
      store %1, %8, %17
      yield
    }
    yield
  }
  yield
}"#,
    );
}
