//! Barriers in loop IR text: `|` marks where the pass must put one, and nothing else may change.

use super::*;
use odc_ir::core::{no_blobs, parse_module};
use odc_ir::loops::{Loop, Module, verify};

/// A kernel of 64 invocations whose block loop holds `body`; `%t` is the invocation, `%g` the workgroup.
fn kernel(body: &str) -> Module {
    let text = format!(
        r#"loop module "t" {{
  func @k(%0 "x": ptr<f32, global>, %1 "y": ptr<f32, global>, %2 "n": index) {{
    %3 = const {{value = 0}} : index
    %4 = const {{value = 1}} : index
    %5 = const {{value = 64}} : index
    %6 = const {{value = 4}} : index
    %7 = const {{value = 32}} : index
    %8 = shared {{dtype = f32, len = 256}} : ptr<f32, workgroup>
    %9 = shared {{dtype = f32, len = 256}} : ptr<f32, workgroup>
    for {{kind = grid}} %3, %2, %4 (%10: index) {{
      %11 = binary {{f = mul}} %10, %5 : index
      for {{kind = block}} %3, %5, %4 (%12: index) {{
        %13 = binary {{f = add}} %11, %12 : index
        %14 = binary {{f = mul}} %12, %6 : index
        %15 = binary {{f = lt}} %12, %7 : bool
        {body}
        yield
      }}
      yield
    }}
    yield
  }}
}}"#
    );
    let text = dense(&text);
    let m = parse_module::<Loop>(&text, &no_blobs).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(verify(&m), vec![]);
    m
}

/// Value numbers without gaps, in order of appearance.
fn dense(text: &str) -> String {
    let mut seen: Vec<&str> = vec![];
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (number, rest) = part.split_at(part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len()));
        let k = seen.iter().position(|n| *n == number).unwrap_or_else(|| {
            seen.push(number);
            seen.len() - 1
        });
        out += &format!("%{k}{rest}");
    }
    out
}

fn check(body: &str) {
    let mut m = kernel(&body.replace('|', ""));
    barriers(&mut m.funcs[0]).unwrap();
    assert_eq!(verify(&m), vec![]);
    let found = m.to_string();
    assert_eq!(found, kernel(&body.replace('|', "barrier")).to_string(), "{body}");
}

fn refused(body: &str) {
    let mut m = kernel(body);
    let e = barriers(&mut m.funcs[0]).unwrap_err();
    let BarrierError::Divergent { op, other, .. } = e;
    assert!(matches!((op, other), ("load", "store") | ("store", "load")), "{op} {other}");
}

#[test]
fn own_elements_need_none() {
    check("%20 = load %0, %13 : f32 store %8, %12, %20 %21 = load %8, %12 : f32 store %1, %13, %21");
    // Four neighbours each, as a vector and as scalars.
    check(
        "%20 = load %0, %14 : vec<f32, 4> store %8, %14, %20 %21 = binary {f = add} %14, %4 : index
         %22 = load %8, %21 : f32 store %1, %13, %22",
    );
}

#[test]
fn exchange_needs_one() {
    check(
        "%20 = load %0, %13 : f32 store %8, %12, %20
         %21 = binary {f = sub} %5, %12 : index
         | %22 = load %8, %21 : f32 store %1, %13, %22",
    );
    // Two arrays filled, one barrier for both; the second store is to other elements.
    check(
        "%20 = load %0, %13 : f32 store %8, %12, %20 %21 = binary {f = add} %12, %5 : index store %8, %21, %20 store %9, %12, %20
         | %22 = load %8, %3 : f32 %23 = load %9, %4 : f32 store %1, %13, %22",
    );
}

#[test]
fn buffers_read_and_written() {
    check("%20 = load %0, %13 : f32 store %1, %13, %20 %21 = load %1, %13 : f32 store %1, %13, %21");
    check("%20 = load %0, %13 : f32 store %1, %13, %20 | %21 = load %1, %11 : f32 | store %1, %13, %21");
    // Only written: no order between invocations is asked for.
    check("%20 = load %0, %13 : f32 store %1, %11, %20 store %1, %11, %20");
}

#[test]
fn tiles_are_kept_until_read() {
    check(
        "%30 = for {kind = serial} %3, %2, %5, %40 (%20: index, %21: f32) {
           %22 = binary {f = add} %20, %12 : index
           %23 = load %0, %22 : f32
           | store %8, %12, %23
           | %24 = for {kind = serial} %3, %5, %4, %21 (%25: index, %26: f32) {
             %27 = load %8, %25 : f32
             %28 = binary {f = add} %26, %27 : f32
             yield %28
           } : f32
           yield %24
         } : f32
         store %1, %13, %30"
            .replace("%30 = for", "%40 = const {value = f 0.0} : f32 %30 = for")
            .as_str(),
    );
}

#[test]
fn before_a_loop_rather_than_in_it() {
    check(
        "%20 = load %0, %13 : f32 store %8, %12, %20
         | for {kind = serial} %3, %2, %4 (%21: index) {
           %22 = load %8, %3 : f32
           store %1, %13, %22
           yield
         }",
    );
}

#[test]
fn tree_reduction() {
    // The upper half is read, the lower written: one barrier a level, before the condition.
    check(
        "%20 = load %0, %13 : f32 store %8, %12, %20
         | if %15 () {
           %21 = binary {f = add} %12, %7 : index
           %22 = load %8, %21 : f32
           %23 = load %8, %12 : f32
           %24 = binary {f = add} %22, %23 : f32
           store %8, %12, %24
           yield
         } () { yield }
         | %25 = load %8, %3 : f32 store %1, %13, %25",
    );
}

#[test]
fn strided_staging_needs_none_between() {
    check(
        "for {kind = unrolled} %3, %6, %4 (%20: index) {
           %21 = binary {f = mul} %20, %5 : index
           %22 = binary {f = add} %21, %12 : index
           %23 = load %0, %22 : f32
           store %8, %22, %23
           yield
         }
         | %24 = load %8, %14 : vec<f32, 4> store %1, %14, %24",
    );
}

#[test]
fn none_where_control_flow_differs() {
    let inside = "%20 = load %0, %13 : f32
         if %15 () {
           store %8, %12, %20
           %22 = load %8, %3 : f32
           store %1, %13, %22
           yield
         } () { yield }";
    refused(inside);
    // The bound comes from memory.
    refused(
        "%20 = load %0, %13 : f32 %21 = cast %20 : index
         for {kind = serial} %3, %21, %4 (%22: index) {
           %23 = load %8, %22 : f32
           store %8, %12, %23
           yield
         }",
    );
}

#[test]
fn one_invocation_needs_none() {
    let mut m = kernel("%20 = load %0, %13 : f32 store %8, %12, %20 %21 = load %8, %3 : f32 store %1, %13, %21");
    let body = m.funcs[0].body.clone();
    let one = body.args.len();
    let five = m.funcs[0].body.ops.iter().position(|o| o.result().is_some_and(|r| r.index() == one + 2)).unwrap();
    m.funcs[0].body.ops[five].op = Op::Const { value: odc_ir::core::Scalar::Int(1) };
    let before = m.clone();
    barriers(&mut m.funcs[0]).unwrap();
    assert_eq!(m, before);
}
