//! Legalised kernels do to the same bytes what the kernels did, for every element type, by the loop interpreter.

use super::*;
use odc_ir::core::{no_blobs, parse_module};
use odc_ir::loops::interp::{Buffer, Run, SUBGROUP, run};
use odc_ir::loops::{Loop, Module, verify_func};

const LEGAL: &[DType] = &[DType::F32, DType::I32, DType::U32];

fn parse(text: &str) -> Module {
    parse_module::<Loop>(text, &no_blobs).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Runs `f` on its operands' bytes as its own pointer types see them.
fn bytes_of(f: &Func, buffers: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let types = f.body.args.iter().map(|v| f.ty(*v).dtype());
    let mut all: Vec<Buffer> = buffers.iter().zip(types).map(|(b, dtype)| Buffer { dtype, bytes: b.clone() }).collect();
    let how = Run { dims: &[], scratch: 0, grid: None, fused: true, subgroup: SUBGROUP };
    run(f, &mut all, how).unwrap_or_else(|e| panic!("{e}\n{}", text(f)));
    all.into_iter().map(|b| b.bytes).collect()
}

fn text(f: &Func) -> String {
    let mut m = Module::new("t");
    m.funcs.push(f.clone());
    m.to_string()
}

/// The same results from `text`'s kernel and from the legalised one; `out` is the type of the last buffer.
fn same(text_of: &str, buffers: &[Vec<u8>], out: DType, features: Features) {
    let old = parse(text_of).funcs.remove(0);
    assert_eq!(verify_func(&old), vec![], "{text_of}");
    let mut new = old.clone();
    legalise(&mut new, &features).unwrap();
    assert_eq!(verify_func(&new), vec![], "{}", text(&new));
    for t in &new.types {
        let half = features.f16 && t.dtype() == DType::F16;
        assert!(*t == LoopType::Index || LEGAL.contains(&t.dtype()) || t.dtype() == DType::Bool || half, "{t} is left");
        assert!(!matches!(t, LoopType::Ptr(DType::Bool, _)), "{t} is left");
    }
    let (want, found) = (bytes_of(&old, buffers), bytes_of(&new, buffers));
    let scalars = |all: &[Vec<u8>]| all.last().unwrap().chunks(out.size()).filter_map(|b| Scalar::read(out, b)).collect::<Vec<_>>();
    for (k, (a, b)) in scalars(&want).into_iter().zip(scalars(&found)).enumerate() {
        let nan = a.as_f64().is_nan() && b.as_f64().is_nan();
        assert!(nan || a == b, "element {k}: {b:?}, not {a:?}\n{text_of}\n{}", text(&new));
    }
}

/// Two workgroups of 8 invocations: `%20` from `%18` and `%19`, elements of the two operands.
fn elementwise(from: DType, to: DType, body: &str) -> String {
    format!(
        r#"loop module "t" {{
  func @k(%0 "x": ptr<{from}, global>, %1 "y": ptr<{from}, global>, %2 "z": ptr<{to}, global>) {{
    %3 = const {{value = 0}} : index
    %4 = const {{value = 1}} : index
    %5 = const {{value = 2}} : index
    %6 = const {{value = 8}} : index
    for {{kind = grid}} %3, %5, %4 (%7: index) {{
      %8 = binary {{f = mul}} %7, %6 : index
      for {{kind = block}} %3, %6, %4 (%9: index) {{
        %10 = binary {{f = add}} %8, %9 : index
        %11 = load %0, %10 : {from}
        %12 = load %1, %10 : {from}
        %13 = {body} : {to}
        store %2, %10, %13
        yield
      }}
      yield
    }}
    yield
  }}
}}"#
    )
}

/// Sixteen numbers at the edges of `d`; those of 64 bits stay small.
fn numbers(d: DType) -> Vec<Scalar> {
    let ints = |all: &[i64]| all.iter().map(|x| Scalar::Int(*x).wrap(d)).collect::<Vec<_>>();
    match d {
        DType::Bool => (0..16).map(|k| Scalar::Bool(k % 3 == 0)).collect(),
        _ if d.is_float() => {
            let x = [0.0, -0.0, 1.0, -1.5, 0.1, 100.25, -3000.0, 65504.0, 1e-7, 2.5, 3.5, -0.3, 7.0, 255.7, -129.0, 40000.0];
            x.iter().map(|x| Scalar::Float(*x).wrap(d)).collect()
        }
        DType::I64 => ints(&[0, 1, -1, 2, -2, 3, 7, -7, 100, -100, 127, 128, 255, 30000, -30000, 12345]),
        DType::U64 => ints(&[0, 1, 2, 3, 4, 5, 7, 8, 100, 127, 128, 255, 256, 30000, 12345, 40000]),
        _ => ints(&[0, 1, -1, 2, -2, 3, 7, -7, 100, -100, 127, 128, 255, 32767, -32768, i64::from(i32::MAX)]),
    }
}

fn raw(d: DType, data: &[Scalar]) -> Vec<u8> {
    let mut bytes = vec![];
    data.iter().for_each(|s| s.write(d, &mut bytes));
    bytes
}

fn types() -> impl Iterator<Item = DType> {
    DType::ALL.iter().copied().filter(|d| !matches!(d, DType::F64 | DType::Str) && !d.is_storage())
}

/// Ties, the smallest and the largest.
#[test]
fn halves_are_rounded_to_nearest() {
    let step = 2f64.powi(-24);
    let near = [0.5, 0.500001, 1.5, 2.5, 1023.5, 1022.5, 1024.5].map(|n| n * step);
    let far = [1.0 + 2f64.powi(-11), 1.0 + 3.0 * 2f64.powi(-11), 65519.9, -65520.0, 1e9, f64::NEG_INFINITY, f64::NAN, 2047.9999, -1e-9];
    let x: Vec<Scalar> = near.into_iter().chain(far).map(|x| Scalar::Float(x).wrap(DType::F32)).collect();
    let buffers = [raw(DType::F32, &x), raw(DType::F32, &x), vec![0xAA; 32]];
    same(&elementwise(DType::F32, DType::F16, "cast %11"), &buffers, DType::F16, Features::default());
}

#[test]
fn arithmetic_of_every_type() {
    for d in types() {
        let (x, mut y) = (numbers(d), numbers(d));
        y.rotate_left(5);
        let buffers = [raw(d, &x), raw(d, &y), vec![0xAA; 16 * d.size()]];
        for f in ["add", "sub", "mul", "div", "floordiv", "mod", "rem", "min", "max", "and", "or", "xor"] {
            let bits = matches!(f, "and" | "or" | "xor");
            let negative = d == DType::U64 && f == "sub";
            if negative || d.is_float() && bits || d == DType::Bool && !bits && !matches!(f, "min" | "max" | "add" | "mul") {
                continue;
            }
            same(&elementwise(d, d, &format!("binary {{f = {f}}} %11, %12")), &buffers, d, Features::default());
        }
        let bools = [raw(d, &x), raw(d, &y), vec![1; 16]];
        for f in ["eq", "ne", "lt", "le", "gt", "ge"] {
            same(&elementwise(d, DType::Bool, &format!("binary {{f = {f}}} %11, %12")), &bools, DType::Bool, Features::default());
        }
        for f in ["neg", "abs", "sign", "floor", "not"] {
            if d == DType::Bool && f != "not" || d.is_float() && f == "not" || d == DType::U64 && matches!(f, "neg" | "not") {
                continue;
            }
            same(&elementwise(d, d, &format!("unary {{f = {f}}} %11")), &buffers, d, Features::default());
        }
    }
}

#[test]
fn casts_between_all_types() {
    for from in types() {
        for to in types() {
            let mut x = numbers(from);
            // What 32 bits cannot hold of 64 is another number by design.
            if to == DType::U64 || from == DType::U32 && to == DType::I64 {
                x.iter_mut().for_each(|x| *x = if x.as_f64() < 0.0 || x.as_f64() > 1e9 { Scalar::Int(3).wrap(from) } else { *x });
            }
            let buffers = [raw(from, &x), raw(from, &x), vec![0x55; 16 * to.size()]];
            same(&elementwise(from, to, "cast %11"), &buffers, to, Features::default());
            same(&elementwise(from, to, "cast %11"), &buffers, to, Features { f16: true });
        }
    }
}

#[test]
fn bits_and_odd_numbers() {
    let pairs =
        [(DType::F16, DType::U16), (DType::U16, DType::F16), (DType::BF16, DType::I16), (DType::I8, DType::U8), (DType::F32, DType::U32)];
    for (from, to) in pairs {
        let x = numbers(from);
        same(&elementwise(from, to, "bitcast %11"), &[raw(from, &x), raw(from, &x), vec![0; 16 * to.size()]], to, Features::default());
    }
    let odd: Vec<Scalar> = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e38, -1.0, 0.0].map(Scalar::Float).to_vec().repeat(3);
    for d in [DType::F32, DType::F16, DType::BF16] {
        let x: Vec<Scalar> = odd.iter().take(16).map(|x| x.wrap(d)).collect();
        let buffers = [raw(d, &x), raw(d, &x), vec![0; 16]];
        for f in ["is_nan", "is_inf"] {
            for f16 in [false, true] {
                same(&elementwise(d, DType::Bool, &format!("unary {{f = {f}}} %11")), &buffers, DType::Bool, Features { f16 });
            }
        }
        same(&elementwise(d, DType::F16, "cast %11"), &[raw(d, &x), raw(d, &x), vec![0; 32]], DType::F16, Features::default());
        same(&elementwise(d, DType::BF16, "cast %11"), &[raw(d, &x), raw(d, &x), vec![0; 32]], DType::BF16, Features::default());
    }
}

#[test]
fn integer_powers() {
    for d in [DType::I32, DType::U8, DType::I64] {
        let x: Vec<Scalar> = [0, 1, -1, -1, 2, 3, -3, 1, 2, 5, 7, 0, -2, 2, -1, 9].iter().map(|x| Scalar::Int(*x).wrap(d)).collect();
        let y: Vec<Scalar> = [0, 5, 3, 2, 10, 4, 3, 9, 0, 3, 2, 2, 5, 1, 7, 3].iter().map(|x| Scalar::Int(*x).wrap(d)).collect();
        let buffers = [raw(d, &x), raw(d, &y), vec![0; 16 * d.size()]];
        same(&elementwise(d, d, "binary {f = pow} %11, %12"), &buffers, d, Features::default());
    }
}

#[test]
fn vectors_and_workgroup_memory() {
    for d in types() {
        for lanes in [2usize, 4] {
            let groups = 16 / (2 * lanes);
            let text = format!(
                r#"loop module "t" {{
  func @k(%0 "x": ptr<{d}, global>, %1 "z": ptr<{d}, global>) {{
    %2 = const {{value = 0}} : index
    %3 = const {{value = 1}} : index
    %4 = const {{value = 2}} : index
    %5 = const {{value = {lanes}}} : index
    %6 = const {{value = {groups}}} : index
    %7 = shared {{dtype = {d}, len = 8}} : ptr<{d}, workgroup>
    for {{kind = grid}} %2, %6, %3 (%8: index) {{
      %9 = binary {{f = mul}} %8, %4 : index
      for {{kind = block}} %2, %4, %3 (%10: index) {{
        %11 = binary {{f = add}} %9, %10 : index
        %12 = binary {{f = mul}} %11, %5 : index
        %13 = load %0, %12 : vec<{d}, {lanes}>
        %14 = extract {{lane = 1}} %13 : {d}
        %15 = insert {{lane = 0}} %13, %14 : vec<{d}, {lanes}>
        %16 = binary {{f = mul}} %10, %5 : index
        store %7, %16, %15
        %17 = load %7, %16 : vec<{d}, {lanes}>
        %18 = splat %14 : vec<{d}, {lanes}>
        %19 = binary {{f = max}} %17, %18 : vec<{d}, {lanes}>
        store %1, %12, %19
        yield
      }}
      yield
    }}
    yield
  }}
}}"#
            );
            let buffers = [raw(d, &numbers(d)), vec![0xAA; 16 * d.size()]];
            same(&text, &buffers, d, Features::default());
            same(&text, &buffers, d, Features { f16: true });
        }
    }
}

#[test]
fn wide_integers_saturate() {
    for (d, x, want) in [
        (DType::I64, [1 << 40, -(1 << 40), 5, -5], [i64::from(i32::MAX), i64::from(i32::MIN), 5, -5]),
        (DType::U64, [1 << 40, u32::MAX.into(), -1, 7], [u32::MAX.into(), u32::MAX.into(), u32::MAX.into(), 7]),
    ] {
        let mut f = parse(&elementwise(d, d, "binary {f = max} %11, %12")).funcs.remove(0);
        legalise(&mut f, &Features::default()).unwrap();
        let x = raw(d, &x.map(Scalar::Int).repeat(4));
        let found = bytes_of(&f, &[x.clone(), x, vec![0; 128]]);
        assert_eq!(found[2], raw(d, &want.map(Scalar::Int).repeat(4)));
    }
}

#[test]
fn what_no_gpu_has_is_named() {
    let mut f = parse(&elementwise(DType::F64, DType::F64, "binary {f = add} %11, %12")).funcs.remove(0);
    let e = legalise(&mut f, &Features::default()).unwrap_err();
    assert!(e.to_string().contains("f64"), "{e}");
}

#[test]
fn a_kernel_without_a_block_loop_gets_one() {
    let text = elementwise(DType::U8, DType::U8, "binary {f = add} %11, %12").replace("kind = block", "kind = serial");
    let mut f = parse(&text).funcs.remove(0);
    legalise(&mut f, &Features::default()).unwrap();
    assert!(block_loop(&f).is_some());
    let x = raw(DType::U8, &numbers(DType::U8));
    same(&text, &[x.clone(), x, vec![0; 16]], DType::U8, Features::default());
}
