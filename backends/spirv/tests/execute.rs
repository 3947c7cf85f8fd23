//! Kernels executed on the machine's Vulkan driver: every function of elements against its meaning in `scalar.rs`, and control flow,
//! memory and subgroups against what a few lines of Rust compute.

mod gpu;
mod kit;

use gpu::gpu;
use kit::*;
use odc_ir::core::{Binary, DType, Scalar, Unary};

fn bytes(d: DType, xs: &[Scalar]) -> Vec<u8> {
    let mut out = vec![];
    xs.iter().for_each(|x| x.write(d, &mut out));
    out
}
fn scalars(d: DType, bytes: &[u8]) -> Vec<Scalar> {
    bytes.chunks_exact(d.size()).filter_map(|b| Scalar::read(d, b)).collect()
}
fn floats(xs: impl IntoIterator<Item = f32>) -> Vec<u8> {
    xs.into_iter().flat_map(f32::to_le_bytes).collect()
}
fn ints(xs: impl IntoIterator<Item = i32>) -> Vec<u8> {
    xs.into_iter().flat_map(i32::to_le_bytes).collect()
}

fn interesting(d: DType) -> Vec<Scalar> {
    let all: &[f64] = match d {
        DType::F32 => &[0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, -7.25, 100.0, 1e6, -1e-3, 12345.678],
        DType::U32 => &[0.0, 1.0, 2.0, 3.0, 7.0, 8.0, 31.0, 32.0, 33.0, 1000.0, 2147483647.0, 2147483648.0, 4294967295.0],
        _ => &[0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 7.0, -7.0, 8.0, -8.0, 31.0, 32.0, 33.0, 1000.0, -1001.0, 2147483647.0, -2147483647.0],
    };
    all.iter().map(|x| if d.is_float() { Scalar::Float(*x).wrap(d) } else { Scalar::Int(*x as i64).wrap(d) }).collect()
}

fn pairs(d: DType) -> Vec<(Scalar, Scalar)> {
    let xs = interesting(d);
    xs.iter().flat_map(|a| xs.iter().map(|b| (*a, *b))).collect()
}

/// Runs cases on pairs of elements: what each gave. A case is statements that make %99 (of type `out`) from %30 and %31 (of type `d`) with
/// names %90 to %98 of its own.
fn sweep(cases: &[String], d: DType, out: DType, pairs: &[(Scalar, Scalar)]) -> Option<Vec<Vec<Scalar>>> {
    let gpu = gpu()?;
    let n = pairs.len();
    let mut body = String::new();
    for (k, case) in cases.iter().enumerate() {
        let (base, place) = (7000 + 2 * k, 7001 + 2 * k);
        let store = format!(
            "%{base} = const {{value = {}}} : index\n %{place} = binary {{f = add}} %{base}, %2 : index\n store %12, %{place}, %99",
            k * n
        );
        body += &format!("{case}\n {store}\n").replace("%9", &format!("%{}", 5000 + k));
    }
    let text = format!(
        "func @sweep(%10 \"a\": ptr<{d}, global>, %11 \"b\": ptr<{d}, global>, %12 \"y\": ptr<{out}, global>, %20 \"n\": index) {{
           %0 = const {{value = 0}} : index\n %1 = const {{value = 1}} : index
           for {{kind = grid}} %0, %20, %1 (%4: index) {{
             for {{kind = block}} %0, %1, %1 (%3: index) {{
               %2 = binary {{f = add}} %4, %3 : index\n %30 = load %10, %2 : {d}\n %31 = load %11, %2 : {d}\n {body}
               yield\n }}\n yield\n }}\n yield\n }}"
    );
    let code = compile(&text, "spirv").unwrap_or_else(|e| panic!("{e}"));
    validate(&code, "sweep");
    let (a, b): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
    let mut buffers = vec![bytes(d, &a), bytes(d, &b), vec![0; cases.len() * n * out.size()]];
    gpu.run(&code, &mut buffers, &[n as i32], n as u32);
    Some(scalars(out, &buffers[2]).chunks(n).map(<[Scalar]>::to_vec).collect())
}

fn close(got: Scalar, want: Scalar, tolerance: f64) -> bool {
    match (got, want) {
        (Scalar::Float(g), Scalar::Float(w)) => g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= tolerance * w.abs().max(1e-30),
        _ => got.as_i64() == want.as_i64(),
    }
}

#[test]
fn functions_of_two_elements() {
    use Binary::*;
    for d in [DType::F32, DType::I32, DType::U32] {
        let mut fs = vec![Add, Sub, Mul, Div, Rem, FloorDiv, Mod, Min, Max];
        if d.is_int() {
            fs.extend([And, Or, Xor, Shl, Shr]);
        }
        let cases: Vec<_> = fs.iter().map(|f| format!("%99 = binary {{f = {f}}} %30, %31 : {d}")).collect();
        // Legalised kernels do not divide by zero.
        let all: Vec<_> = pairs(d).into_iter().filter(|(_, b)| b.as_f64() != 0.0).collect();
        let Some(got) = sweep(&cases, d, d, &all) else { return };
        for (f, got) in fs.iter().zip(got) {
            for ((a, b), got) in all.iter().zip(got) {
                let want = f.eval(d, *a, *b);
                // What is left of a float has an error relative to the dividend, and may be a whole divisor off where that is a multiple.
                let near = d.is_float() && matches!(f, Rem | Mod) && {
                    let (off, fine) = ((got.as_f64() - want.as_f64()).abs(), 4e-7 * a.as_f64().abs());
                    off <= fine || (off - b.as_f64().abs()).abs() <= fine
                };
                // A quotient that is a whole number but for its rounding.
                let q = a.as_f64() / b.as_f64();
                let near = near || (d.is_float() && *f == FloorDiv && (q - q.round()).abs() < 1e-6 * q.abs() && got.as_f64() == q.round());
                assert!(near || close(got, want, 4e-7), "{f}({a:?}, {b:?}): {d} is {got:?}, not {want:?}");
            }
        }
    }
}

#[test]
fn comparisons() {
    use Binary::*;
    let fs = [Eq, Ne, Lt, Le, Gt, Ge];
    for d in [DType::F32, DType::I32, DType::U32] {
        let mut all = pairs(d);
        if d == DType::F32 {
            all.extend([(Scalar::Float(f64::NAN), Scalar::Float(1.0)), (Scalar::Float(f64::INFINITY), Scalar::Float(f64::NAN))]);
        }
        let cases: Vec<_> = fs.iter().map(|f| format!("%90 = binary {{f = {f}}} %30, %31 : bool\n %99 = cast %90 : i32")).collect();
        let Some(got) = sweep(&cases, d, DType::I32, &all) else { return };
        for (f, got) in fs.iter().zip(got) {
            for ((a, b), got) in all.iter().zip(got) {
                assert_eq!(got.as_i64() != 0, f.eval(d, *a, *b).as_bool(), "{f}({a:?}, {b:?}): {d}");
            }
        }
    }
}

/// Indices divided by constants and by indices of either sign.
#[test]
fn index_arithmetic() {
    let all: Vec<_> = pairs(DType::I32).into_iter().filter(|(_, b)| b.as_i64() != 0).collect();
    let fs = [Binary::Div, Binary::Rem, Binary::FloorDiv, Binary::Mod];
    let mut cases = vec![];
    for c in [None, Some(1), Some(3), Some(8), Some(-4)] {
        for f in fs {
            let by = c.map_or("%91 = cast %31 : index".to_string(), |c| format!("%91 = const {{value = {c}}} : index"));
            let text = format!("%90 = cast %30 : index\n {by}\n %92 = binary {{f = {f}}} %90, %91 : index\n %99 = cast %92 : i32");
            cases.push((text, c, f));
        }
    }
    let texts: Vec<_> = cases.iter().map(|c| c.0.clone()).collect();
    let Some(got) = sweep(&texts, DType::I32, DType::I32, &all) else { return };
    for ((_, c, f), got) in cases.iter().zip(got) {
        for ((a, b), got) in all.iter().zip(got) {
            let b = c.map_or(*b, Scalar::Int);
            assert_eq!(got.as_i64(), f.eval(DType::I64, *a, b).as_i64(), "{f}({a:?}, {b:?})");
        }
    }
}

#[test]
fn functions_of_one_element() {
    use Unary::*;
    for d in [DType::F32, DType::I32, DType::U32] {
        let fs = if d.is_float() { vec![Neg, Abs, Sign, Floor, Ceil, Trunc, Round, Sqrt, Exp, Log] } else { vec![Neg, Abs, Sign, Not] };
        let cases: Vec<_> = fs.iter().map(|f| format!("%99 = unary {{f = {f}}} %30 : {d}")).collect();
        let all: Vec<_> = interesting(d).into_iter().map(|x| (x, x)).collect();
        let Some(got) = sweep(&cases, d, d, &all) else { return };
        for (f, got) in fs.iter().zip(got) {
            for ((a, _), got) in all.iter().zip(got) {
                let outside = matches!(f, Sqrt if a.as_f64() < 0.0) || matches!(f, Log if a.as_f64() <= 0.0);
                let want = f.eval(d, *a);
                let tolerance = if *f == Exp { 1e-5 } else { 1e-6 };
                assert!(outside || close(got, want, tolerance), "{f}({a:?}): {d} is {got:?}, not {want:?}");
            }
        }
    }
}

#[test]
fn casts() {
    for from in [DType::F32, DType::I32, DType::U32] {
        let mut xs = interesting(from);
        if from == DType::F32 {
            let edges =
                [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 2147483520.0, 2147483648.0, -2147483648.0, -3e9, 4294967040.0, 4294967296.0];
            xs.extend(edges.map(Scalar::Float));
        }
        let all: Vec<_> = xs.into_iter().map(|x| (x, x)).collect();
        for to in [DType::F32, DType::I32, DType::U32] {
            let cases = [format!("%99 = cast %30 : {to}"), format!("%90 = cast %30 : bool\n %99 = cast %90 : {to}")];
            let Some(got) = sweep(&cases, from, to, &all) else { return };
            let [values, bools] = got.as_slice() else { panic!("two cases give two results") };
            for (((a, _), value), truth) in all.iter().zip(values).zip(bools) {
                let want = a.cast(from, to);
                assert!(close(*value, want, 1e-7), "{a:?}: {from} as {to} is {value:?}, not {want:?}");
                assert_eq!(truth.as_bool(), a.as_bool(), "{a:?} as bool");
            }
        }
    }
}

/// Runs a whole kernel; the buffers hold what it left.
fn run(text: &str, on: &str, buffers: &mut [Vec<u8>], dims: &[i32], groups: u32) -> Option<()> {
    let gpu = gpu()?;
    let code = compile(text, on).unwrap_or_else(|e| panic!("{e}"));
    validate(&code, text);
    gpu.run(&code, buffers, dims, groups);
    Some(())
}

/// Sums of rows: shares in a loop, then a tree in workgroup memory. The workgroups do not fit one axis of a dispatch.
#[test]
fn sums_of_many_rows() {
    let text = r#"func @row_sums(%0 "x": ptr<f32, global>, %1 "y": ptr<f32, global>, %2 "rows": index, %33 "columns": index) {
      %3 = const {value = 0} : index
      %4 = const {value = 1} : index
      %5 = const {value = 4} : index
      %6 = const {value = 2} : index
      %8 = const {value = f 0.0} : f32
      %9 = shared {dtype = f32, len = 4} : ptr<f32, workgroup>
      for {kind = grid} %3, %2, %4 (%10: index) {
        %11 = binary {f = mul} %10, %33 : index
        for {kind = block} %3, %5, %4 (%12: index) {
          %13 = for {kind = serial} %12, %33, %5, %8 (%14: index, %15: f32) {
            %16 = binary {f = add} %11, %14 : index
            %17 = load %0, %16 : f32
            %18 = binary {f = add} %15, %17 : f32
            yield %18
          } : f32
          store %9, %12, %13
          for {kind = unrolled} %3, %6, %4 (%19: index) {
            barrier
            %21 = binary {f = shr} %6, %19 : index
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
    let (rows, columns) = (70_000, 7);
    let mut buffers = [floats((0..rows * columns).map(|k| (k % 13) as f32)), vec![0; rows * 4]];
    let Some(()) = run(text, "spirv", &mut buffers, &[rows as i32, columns as i32], rows as u32) else { return };
    for (r, y) in scalars(DType::F32, &buffers[1]).iter().enumerate() {
        let want: usize = (0..columns).map(|c| (r * columns + c) % 13).sum();
        assert_eq!(y.as_f64(), want as f64, "row {r}");
    }
}

/// Collatz steps of numbers: a loop in a branch in a loop, carrying two values, one of them from an if without a second side.
#[test]
fn what_loops_and_branches_carry() {
    let body = "%30 = load %12, %2 : i32\n %31 = const {value = 1} : i32\n %32 = const {value = 2} : i32\n %33 = const {value = 3} : i32
        %34 = const {value = 0} : i32\n %35 = const {value = 200} : index
        %36, %37 = for {kind = serial} %0, %35, %1, %30, %34 (%40: index, %41: i32, %42: i32) {
          %43 = binary {f = gt} %41, %31 : bool
          %44, %45 = if %43 () {
            %46 = binary {f = mod} %41, %32 : i32
            %47 = binary {f = eq} %46, %34 : bool
            %48 = if %47 () {
              %49 = binary {f = div} %41, %32 : i32
              yield %49
            } () {
              %50 = const {value = 3} : index
              %51 = for {kind = serial} %0, %50, %1, %31 (%52: index, %53: i32) {
                %54 = binary {f = add} %53, %41 : i32
                yield %54
              } : i32
              yield %51
            } : i32
            %55 = binary {f = add} %42, %31 : i32
            yield %48, %55
          } () {
            yield %41, %42
          } : i32, i32
          yield %44, %45
        } : i32, i32
        store %12, %2, %37";
    let mut buffers = [vec![0; 16], vec![0; 16], ints(1..=64), vec![0; 16]];
    let Some(()) = run(&around("", body, false), "spirv", &mut buffers, &[8, 0], 8) else { return };
    for (x, steps) in (1u32..).zip(scalars(DType::I32, &buffers[2])) {
        let (mut x, mut want) = (x, 0);
        while x > 1 {
            x = if x % 2 == 0 { x / 2 } else { 3 * x + 1 };
            want += 1;
        }
        assert_eq!(steps.as_i64(), want);
    }
}

/// x is read in vectors only, y written in vectors and in scalars; lanes are swapped on the way.
#[test]
fn vectors() {
    let body = "%5 = const {value = 4} : index\n %30 = binary {f = mul} %2, %5 : index\n %31 = load %10, %30 : vec<f32, 4>
        %32 = extract {lane = 0} %31 : f32\n %33 = extract {lane = 3} %31 : f32\n %34 = insert {lane = 0} %31, %33 : vec<f32, 4>
        %35 = insert {lane = 3} %34, %32 : vec<f32, 4>\n %36 = splat %32 : vec<f32, 4>\n %37 = fma %36, %36, %35 : vec<f32, 4>
        %38 = binary {f = lt} %37, %31 : vec<bool, 4>\n %39 = select %38, %31, %37 : vec<f32, 4>
        store %11, %30, %39\n %40 = binary {f = add} %30, %1 : index\n store %11, %40, %32";
    let x: Vec<f32> = (0..32).map(|k| (k as f32 - 9.5) / 4.0).collect();
    let mut buffers = [floats(x.iter().copied()), vec![0; 128], vec![0; 16], vec![0; 16]];
    let Some(()) = run(&around("", body, false), "spirv", &mut buffers, &[1, 0], 1) else { return };
    let y = scalars(DType::F32, &buffers[1]);
    for (k, x) in x.chunks(4).enumerate() {
        let swapped = [x[3], x[1], x[2], x[0]];
        for (lane, s) in swapped.into_iter().enumerate() {
            let want = if lane == 1 { x[0] } else { (x[0] * x[0] + s).max(x[lane]) };
            assert!((y[4 * k + lane].as_f64() - f64::from(want)).abs() < 1e-5, "{k}.{lane}: {y:?}");
        }
    }
}

/// Sums of rows by vectors: offsets of loop counters, unrolled loops, sizes and conditions, which are divided term by term.
#[test]
fn offsets_of_vectors() {
    let body = "%5 = const {value = 16} : index\n %6 = const {value = 4} : index\n %7 = const {value = f 0.0} : vec<f32, 4>
        %70 = const {value = 2} : index\n %71 = const {value = 20} : index\n %30 = binary {f = mul} %2, %21 : index
        %31 = for {kind = serial} %6, %71, %5, %7 (%40: index, %41: vec<f32, 4>) {
          %42 = for {kind = unrolled} %0, %70, %1, %41 (%43: index, %44: vec<f32, 4>) {
            %45 = binary {f = mul} %43, %6 : index\n %46 = binary {f = add} %40, %45 : index\n %47 = binary {f = sub} %46, %6 : index
            %48 = binary {f = add} %30, %47 : index\n %49 = binary {f = lt} %47, %21 : bool
            %50 = if %49 () {
              %51 = load %10, %48 : vec<f32, 4>\n %52 = binary {f = add} %44, %51 : vec<f32, 4>
              yield %52
            } () {
              yield %44
            } : vec<f32, 4>
            yield %50
          } : vec<f32, 4>
          yield %42
        } : vec<f32, 4>
        %60 = binary {f = mul} %2, %6 : index\n store %11, %60, %31";
    let columns = 8;
    let x: Vec<f32> = (0..8 * columns).map(|k| (k * k % 31) as f32).collect();
    let mut buffers = [floats(x.iter().copied()), vec![0; 128], vec![0; 16], vec![0; 16]];
    let Some(()) = run(&around("", body, false), "spirv", &mut buffers, &[1, columns as i32], 1) else { return };
    for (row, sums) in x.chunks(columns).zip(scalars(DType::F32, &buffers[1]).chunks(4)) {
        for (lane, sum) in sums.iter().enumerate() {
            assert_eq!(sum.as_f64(), f64::from(row[lane] + row[4 + lane]));
        }
    }
}

/// Bytes put into words at once by many, and a count in workgroup memory.
#[test]
fn atomics() {
    let outer = "%5 = shared {dtype = u32, len = 1} : ptr<u32, workgroup>";
    let body =
        "%6 = const {value = 4} : index\n %30 = const {value = 0} : u32\n %31 = const {value = 1} : u32\n store %5, %0, %30\n barrier
        atomic {f = add} %5, %0, %31\n barrier\n %32 = load %5, %0 : u32
        %33 = binary {f = floordiv} %2, %6 : index\n %34 = binary {f = mod} %2, %6 : index\n %35 = binary {f = mul} %34, %8 : index
        %36 = cast %35 : u32\n %37 = cast %2 : u32\n %38 = binary {f = shl} %37, %36 : u32\n atomic {f = or} %13, %33, %38
        %39 = cast %32 : i32\n store %12, %2, %39";
    let mut buffers = [vec![0; 16], vec![0; 16], vec![0; 64], vec![0; 16]];
    let Some(()) = run(&around(outer, body, false), "spirv", &mut buffers, &[2, 0], 2) else { return };
    assert_eq!(buffers[3], (0..16).collect::<Vec<u8>>());
    assert_eq!(buffers[2], ints([8; 16]));
}

/// Both ways through memory: between registers a driver may leave the rounding out.
#[test]
fn half_bits() {
    let body = "%30 = load %10, %2 : f32\n %31 = half_bits %30 : u32\n store %13, %2, %31
        %32 = load %12, %2 : i32\n %33 = bitcast %32 : u32\n %34 = from_half_bits %33 : f32\n store %11, %2, %34";
    let bits = [0, 0x3c00, 0x3c01, 0xbc00, 0x7bff, 0x7c00, 0xfc00, 0x0400];
    // No infinity: what drivers pack for it differs.
    let x = [0.0, 1.0, 1.0 + 3.0 / 2048.0, 0.3, -65504.0, 65504.0, 1e-3, -2.5];
    let mut buffers = [floats(x), vec![0; 32], ints(bits), vec![0; 32]];
    let Some(()) = run(&around("", body, false), "spirv", &mut buffers, &[1, 0], 1) else { return };
    let halves = |bits: &[i32]| bits.iter().map(|b| half(*b)).collect::<Vec<_>>();
    assert_eq!(scalars(DType::F32, &buffers[1]).iter().map(|y| y.as_f64()).collect::<Vec<_>>(), halves(&bits));
    for (x, got) in x.into_iter().zip(scalars(DType::U32, &buffers[3])) {
        let got = half(got.as_i64() as i32);
        assert!(got == f64::from(x) || (got - f64::from(x)).abs() <= f64::from(x).abs() / 1024.0, "{x}: {got}");
    }
}

fn half(bits: i32) -> f64 {
    Scalar::read(DType::F16, &bits.to_le_bytes()).map_or(f64::NAN, Scalar::as_f64)
}

/// Halves in memory and in arithmetic; the sum of a subgroup.
#[test]
fn features() {
    let Some(gpu) = gpu() else { return };
    if !gpu.f16 {
        return eprintln!("SKIPPED: this device has no f16");
    }
    let body =
        "%30 = load %14, %2 : f16\n %31 = binary {f = add} %30, %30 : f16\n store %14, %2, %31\n %32 = cast %31 : f32\n store %11, %2, %32";
    let h = |k: u8| [0, 0x3c + k % 4 * 4]; // powers of two
    let halves: Vec<u8> = (0..8).flat_map(h).collect();
    let mut buffers = [vec![0; 32], vec![0; 32], vec![0; 16], vec![0; 16], halves.clone()];
    run(&around("", body, true), "spirv:f16", &mut buffers, &[1, 0], 1);
    let doubled: Vec<u8> = halves.chunks(2).flat_map(|h| [0, h[1] + 4]).collect();
    assert_eq!(buffers[4], doubled);
    let Some(size) = gpu.subgroup else { return eprintln!("SKIPPED: this device's subgroups have no known size") };
    let body = "%30 = load %10, %2 : f32\n %31 = subgroup {f = add} %30 : f32\n store %11, %2, %31
        %32 = lane {info = lane} : index\n %33 = cast %32 : i32\n store %12, %2, %33";
    let mut buffers = [floats((0..16).map(|k| k as f32)), vec![0; 64], vec![0; 64], vec![0; 16]];
    run(&around("", body, false), "spirv:subgroups", &mut buffers, &[2, 0], 2);
    let size = size.min(8);
    for (k, (sum, lane)) in scalars(DType::F32, &buffers[1]).iter().zip(scalars(DType::I32, &buffers[2])).enumerate() {
        let (k, first) = (k as u32, k as u32 / size * size);
        assert_eq!((sum.as_f64(), lane.as_i64()), (f64::from((first..first + size).sum::<u32>()), i64::from(k % size)), "{k}");
    }
}

#[test]
fn packed_products() {
    let Some(_) = gpu() else { return };
    for signed in [true, false] {
        let body = format!(
            "%30 = load %13, %2 : u32\n %31 = load %12, %2 : i32\n %33 = bitcast %31 : u32
             %32 = dot4 {{signed = {signed}}} %30, %33, %31 : i32\n store %12, %2, %32"
        );
        let (a, b) = ((0..16).map(|k: u32| k.wrapping_mul(0x9e37_79b9)), (0..16).map(|k: i32| k.wrapping_mul(0x045d_9f3b)));
        let byte = |x: u32, j: u32| if signed { i32::from((x >> (8 * j)) as i8) } else { i32::from((x >> (8 * j)) as u8) };
        let sum = |(x, y): (u32, i32)| (0..4).fold(y, |s, j| s.wrapping_add(byte(x, j) * byte(y as u32, j)));
        let want = ints(a.clone().zip(b.clone()).map(sum));
        let mut buffers = [vec![0; 64], vec![0; 64], ints(b), ints(a.map(|x| x as i32))];
        run(&around("", &body, false), "spirv:dot", &mut buffers, &[2, 0], 2);
        assert_eq!(buffers[2], want, "{signed}");
    }
}
