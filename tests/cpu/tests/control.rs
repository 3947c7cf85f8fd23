//! Loops, branches, scratch memory and grids; and refusals.

use odc_backend::{Arch, BackendError, Codegen, Target, TextKind};
use odc_cpu_tests::*;
use odc_ir::core::{DType, Scalar, no_blobs, parse_module};
use odc_ir::loops::{Func, Loop};

fn parse(text: &str) -> Func {
    let m = parse_module::<Loop>(&format!("loop module \"t\" {{ {text} }}"), &no_blobs).unwrap_or_else(|e| panic!("{e}"));
    m.funcs.into_iter().next().unwrap()
}

fn floats(xs: impl IntoIterator<Item = f64>) -> Vec<u8> {
    bytes(DType::F32, &xs.into_iter().map(Scalar::Float).collect::<Vec<_>>())
}

/// Row sums through scratch: each iteration copies its row to scratch, then sums it with a carried value, then doubles if negative.
const ROWS: &str = r#"
func @rows(%0 "x": ptr<f32, global>, %1 "y": ptr<f32, global>, %2 "rows": index, %3 "columns": index) {
  %4 = const {value = 0} : index
  %5 = const {value = 1} : index
  %6 = const {value = f 0.0} : f32
  %7 = const {value = 64} : index
  for {kind = grid} %4, %2, %5 (%8: index) {
    %9 = binary {f = mul} %8, %3 : index
    %10 = scratch %7 : ptr<f32, scratch>
    for {kind = serial} %4, %3, %5 (%11: index) {
      %12 = binary {f = add} %9, %11 : index
      %13 = load %0, %12 : f32
      store %10, %11, %13
      yield
    }
    %14 = for {kind = serial} %4, %3, %5, %6 (%15: index, %16: f32) {
      %17 = load %10, %15 : f32
      %18 = binary {f = add} %16, %17 : f32
      yield %18
    } : f32
    %19 = binary {f = lt} %14, %6 : bool
    %20 = if %19 () {
      %21 = binary {f = add} %14, %14 : f32
      yield %21
    } () {
      yield %14
    } : f32
    store %1, %8, %20
    yield
  }
  yield
}"#;

#[test]
fn loops_branches_and_scratch() {
    let f = parse(ROWS);
    for t in targets() {
        let jit = Jit::compile(&f, &t);
        for (rows, columns) in [(1, 1), (3, 5), (4, 0), (7, 33)] {
            let x: Vec<f64> = (0..rows * columns).map(|k| f64::from(k % 7) - 3.2 + f64::from(k / 64)).collect();
            let mut buffers = vec![floats(x.clone()), floats(vec![99.0; rows as usize])];
            // All iterations but the last, in two calls: a grid may be cut anywhere.
            let cut = i64::from(rows / 2);
            jit.run(&mut buffers, &[rows.into(), columns.into()], 64 + 4 * columns as usize, 0, cut);
            jit.run(&mut buffers, &[rows.into(), columns.into()], 64 + 4 * columns as usize, cut, i64::from(rows) - 1);
            let y = scalars(DType::F32, &buffers[1]);
            for r in 0..rows as usize {
                let sum: f32 = x[r * columns as usize..][..columns as usize].iter().fold(0.0, |a, v| a + *v as f32);
                let want = if r + 1 == rows as usize {
                    99.0
                } else if sum < 0.0 {
                    2.0 * sum
                } else {
                    sum
                };
                assert_eq!(y[r].as_f64() as f32, want, "{} row {r} of {rows}x{columns}", t.name);
            }
        }
    }
}

/// An unrolled loop in a serial one, with the counters in offsets: a 3-tap filter with strides.
const FILTER: &str = r#"
func @filter(%0 "x": ptr<i32, global>, %1 "y": ptr<i32, global>, %2 "n": index) {
  %3 = const {value = 0} : index
  %4 = const {value = 1} : index
  %5 = const {value = 3} : index
  %6 = const {value = 0} : i32
  for {kind = grid} %3, %2, %4 (%7: index) {
    %8 = for {kind = unrolled} %3, %5, %4, %6 (%9: index, %10: i32) {
      %11 = binary {f = mul} %9, %5 : index
      %12 = binary {f = sub} %11, %4 : index
      %13 = binary {f = add} %7, %12 : index
      %14 = binary {f = add} %13, %4 : index
      %15 = load %0, %14 : i32
      %16 = cast %9 : i32
      %17 = fma %15, %16, %10 : i32
      yield %17
    } : i32
    store %1, %7, %8
    yield
  }
  yield
}"#;

#[test]
fn unrolled_loops_and_offsets() {
    let f = parse(FILTER);
    for t in targets() {
        let x: Vec<_> = (0..26).map(|k| Scalar::Int(k * k)).collect();
        let mut buffers = vec![bytes(DType::I32, &x), vec![0; 80]];
        Jit::compile(&f, &t).run(&mut buffers, &[20], 0, 0, 20);
        for (k, y) in scalars(DType::I32, &buffers[1]).iter().enumerate() {
            let at = |d: usize| ((k + d) * (k + d)) as i64;
            assert_eq!(y.as_i64(), at(3) + 2 * at(6), "{k}");
        }
    }
}

#[test]
fn refusals_say_why() {
    let t = Target::host().unwrap();
    let wide = map_kernel(&[DType::F32], DType::F32, 8, |_, v| v[0]);
    let e = backend(&t).compile(&wide, &t).unwrap_err();
    assert!(matches!(&e, BackendError::Unsupported { what, .. } if what.contains("vec<f32, 8>")), "{e}");
    let exp = map_kernel(&[DType::F32], DType::F32, 1, |b, v| {
        b.op1(odc_ir::loops::Op::Unary { f: odc_ir::core::Unary::Exp }, v, vector(DType::F32, 1))
    });
    for t in targets() {
        let e = backend(&t).compile(&exp, &t).unwrap_err();
        assert!(e.to_string().contains("expand"), "{e}");
        let e = backend(&t).compile(&Func::new("empty"), &t).unwrap_err();
        assert!(e.to_string().contains("grid"), "{e}");
    }
}

/// Every target compiles on every host, to the same bytes each time; only running needs the machine.
#[test]
fn cross_compilation() {
    for t in all_targets() {
        let backend = backend(&t);
        for f in [parse(ROWS), parse(FILTER)] {
            let a = backend.compile(&f, &t).unwrap();
            assert_eq!(a, backend.compile(&f, &t).unwrap());
            assert!(a.alignment.is_power_of_two() && !a.bytes.is_empty());
            let ir = backend.text(&f, &t, TextKind::Ir).unwrap();
            assert!(ir.contains(if t.codegen == Codegen::Llvm { "define void" } else { "function" }), "{ir}");
            let asm = backend.text(&f, &t, TextKind::Asm).unwrap();
            assert!(asm.contains(if t.arch == Arch::Aarch64 { "ldr" } else { "mov" }), "{asm}");
        }
    }
}
