//! Single constructs and refusals.

mod common;

use common::*;
use odc_backend::{BackendError, GpuBackend, GpuKernel};
use odc_wgsl::Wgsl;

/// A kernel of 64 workgroups of 64: constants %5 = 0, %6 = 1, %7 = 64; the body sees the workgroup %8 and the invocation %9.
fn with_body(params: &str, outer: &str, body: &str) -> String {
    format!(
        r#"func @kernel({params}) {{
  %5 = const {{value = 0}} : index
  %6 = const {{value = 1}} : index
  %7 = const {{value = 64}} : index
  {outer}
  for {{kind = grid}} %5, %7, %6 (%8: index) {{
    for {{kind = block}} %5, %7, %6 (%9: index) {{
      {body}
      yield
    }}
    yield
  }}
  yield
}}"#
    )
}

const IO: &str = r#"%0 "x": ptr<f32, global>, %1 "i": ptr<i32, global>, %2 "u": ptr<u32, global>"#;

/// The lines of the entry point after `lane`.
fn lines(body: &str) -> Vec<String> {
    let text = wgsl("wgsl", &with_body(IO, "", body));
    let inside = text.split("let lane = i32(local_index);\n").nth(1).unwrap_or(&text);
    inside.lines().map(|l| l.trim().to_owned()).filter(|l| l != "}").collect()
}

#[test]
fn constants() {
    let stores = |d: &str, p: &str, values: &[&str]| -> Vec<String> {
        let one = |(k, v): (usize, &&str)| format!("%{} = const {{value = {v}}} : {d}\n store {p}, %9, %{}\n", 10 + k, 10 + k);
        lines(&values.iter().enumerate().map(one).collect::<String>())
    };
    let got =
        stores("f32", "%0", &["f 0.1", "f -0.0", "f inf", "f -inf", "f nan(0x7ff8000000000000)", "f 3.4028234663852886e38", "f 1e-45"]);
    let want = [
        "x[lane] = 0.1;",
        "x[lane] = -0.0;",
        "x[lane] = bitcast<f32>(inf_bits);",
        "x[lane] = bitcast<f32>(negative_inf_bits);",
        "x[lane] = bitcast<f32>(nan_bits);",
        "x[lane] = 3.4028234663852886e38;",
        "x[lane] = 1e-45;",
    ];
    assert_eq!(got, want);
    assert_eq!(stores("i32", "%1", &["-2147483648", "7"]), ["i[lane] = -2147483648;", "i[lane] = 7;"]);
    assert_eq!(stores("u32", "%2", &["4294967295"]), ["u[lane] = 4294967295u;"]);
}

#[test]
fn constants_are_folded_before_wgsl_sees_them_overflow() {
    let got = lines(
        "%10 = const {value = 2147483647} : i32
         %11 = binary {f = add} %10, %10 : i32
         store %1, %9, %11
         %12 = const {value = f 3e38} : f32
         %13 = binary {f = mul} %12, %12 : f32
         store %0, %9, %13
         %14 = load %1, %9 : i32
         %15 = const {value = 0} : i32
         %16 = binary {f = rem} %14, %15 : i32
         %17 = const {value = 32} : i32
         %18 = binary {f = shl} %14, %17 : i32
         %19 = binary {f = add} %16, %18 : i32
         store %1, %9, %19",
    );
    assert_eq!(got, ["i[lane] = -2;", "x[lane] = bitcast<f32>(inf_bits);", "let v1 = i[lane];", "i[lane] = 0;"]);
}

#[test]
fn loads_stay_before_stores() {
    let got = lines(
        "%10 = load %0, %9 : f32
         %11 = load %0, %8 : f32
         store %0, %9, %11
         store %0, %8, %10",
    );
    assert_eq!(got[got.len() - 3..], ["let v1 = x[lane];", "x[lane] = x[g];", "x[g] = v1;"]);
}

#[test]
fn carried_values_change_at_once() {
    let got = lines(
        "%10 = const {value = f 1.0} : f32
         %11 = const {value = f 2.0} : f32
         %12, %13 = for {kind = serial} %5, %7, %6, %10, %11 (%14: index, %15: f32, %16: f32) {
           %17 = binary {f = add} %15, %16 : f32
           yield %16, %17
         } : f32, f32
         store %0, %9, %12",
    );
    let want = [
        "var acc: f32 = 1.0;",
        "var acc_1: f32 = 2.0;",
        "for (var j: i32 = 0; j < 64; j++) {",
        "let v1 = acc + acc_1;",
        "acc = acc_1;",
        "acc_1 = v1;",
        "x[lane] = acc;",
    ];
    assert_eq!(got, want);
}

#[test]
fn casts_saturate() {
    let text = wgsl("wgsl", &with_body(IO, "", "%10 = load %0, %9 : f32\n %11 = cast %10 : i32\n store %1, %9, %11"));
    assert!(text.contains("i[lane] = to_i32_f32(x[lane]);") && text.contains("x >= f32(2147483648.0)"), "{text}");
}

#[test]
fn vectors_in_scalar_buffers_are_taken_apart() {
    let got = lines(
        "%10 = load %0, %5 : vec<f32, 4>
         %11 = extract {lane = 3} %10 : f32
         %12 = insert {lane = 1} %10, %11 : vec<f32, 4>
         %13 = binary {f = mul} %9, %7 : index
         store %0, %13, %12
         store %0, %6, %11",
    );
    let want = [
        "let v1 = vec4<f32>(x[0], x[1], x[2], x[3]);",
        "let v2 = lane * 64;",
        "x[v2] = v1.x;",
        "x[v2 + 1] = v1.w;",
        "x[v2 + 2] = v1.z;",
        "x[v2 + 3] = v1.w;",
        "x[1] = v1.w;",
    ];
    assert_eq!(got, want);
}

#[test]
fn barriers_order_storage_only_where_a_buffer_is_read_and_written() {
    let body = "store %0, %9, %10\n barrier\n %11 = load %0, %8 : f32\n store %0, %9, %11";
    let constant = "%10 = const {value = f 1.0} : f32";
    assert!(wgsl("wgsl", &with_body(IO, constant, body)).contains("workgroupBarrier();\n  storageBarrier();"));
    let apart = "store %0, %9, %10\n barrier\n %11 = load %1, %8 : i32\n store %2, %9, %12";
    let text = with_body(IO, &format!("{constant}\n %12 = const {{value = 1}} : u32"), apart);
    assert!(!wgsl("wgsl", &text).contains("storageBarrier"));
}

#[test]
fn names_and_comments_cannot_break_out() {
    let params = "%0 \"x */ }\\n@compute fn evil() {\": ptr<f32, global>, %1 \"fn\": ptr<i32, global>, %2 \"lane\": ptr<u32, global>";
    let func = parse(&with_body(params, "", "%10 = load %1, %9 : i32\n %11 = bitcast %10 : f32\n store %0, %9, %11"));
    let about = vec!["a\n} fn evil() {".into(), "b\u{2028}} fn evil() {".into()];
    let code = Wgsl.compile(&GpuKernel { func: &func, writable: vec![], about }, &target("wgsl")).unwrap();
    let text = String::from_utf8(code.bytes).unwrap();
    assert!(text.contains("var<storage, read_write> x_compute_fn_evil: array<f32>; // x */ } @compute fn evil() {"), "{text}");
    assert!(text.contains("fn_1: array<i32>") && text.contains("lane_1: array<u32>"), "{text}");
    assert!(text.starts_with("// a\n// } fn evil() {\n// b } fn evil() {\n"), "{text}");
}

#[test]
fn writable_as_asked() {
    let func = parse(&with_body(IO, "", "%10 = load %0, %9 : f32\n store %0, %8, %10"));
    let kernel = GpuKernel { func: &func, writable: vec![false, true, false], about: vec![] };
    let text = String::from_utf8(Wgsl.compile(&kernel, &target("wgsl")).unwrap().bytes).unwrap();
    for (name, access) in [("x", "read_write"), ("i", "read_write"), ("u", "read")] {
        assert!(text.contains(&format!("var<storage, {access}> {name}:")), "{text}");
    }
}

#[test]
fn one_invocation_without_a_block_loop() {
    let text = wgsl(
        "wgsl",
        r#"func @one(%0 "x": ptr<f32, global>) {
  %1 = const {value = 0} : index
  %2 = const {value = 1} : index
  %3 = const {value = f 1.0} : f32
  for {kind = grid} %1, %2, %2 (%4: index) {
    store %0, %4, %3
    yield
  }
  yield
}"#,
    );
    assert!(text.ends_with("@compute @workgroup_size(1)\nfn one() {\n  x[0] = 1.0;\n}\n"), "{text}");
}

fn error(on: &str, text: &str) -> BackendError {
    compile(&target(on), &parse(text)).unwrap_err()
}

#[test]
fn limits() {
    let many: Vec<_> = (0..5).chain(10..14).map(|k| format!("%{k} \"x\": ptr<f32, global>")).collect();
    let text = with_body(&many.join(", "), "", "%20 = load %0, %9 : f32\n store %1, %9, %20");
    let text = text.replace("%5", "%105").replace("%6", "%106").replace("%7", "%107").replace("%8", "%108").replace("%9", "%109");
    match error("wgsl", &text) {
        BackendError::Limit { limit, needs: 9, has: 8, .. } => assert_eq!(limit, "storage buffers a stage"),
        e => panic!("{e}"),
    }
    let shared = "%10 = shared {dtype = f32, len = 4097} : ptr<f32, workgroup>";
    let text = with_body(IO, shared, "%11 = load %0, %9 : f32\n store %10, %9, %11");
    assert!(matches!(error("wgsl", &text), BackendError::Limit { needs: 16400, has: 16384, .. }));
    let wide = with_body(IO, "", "%10 = load %0, %9 : f32\n store %0, %8, %10").replace("value = 64", "value = 512");
    assert!(matches!(error("wgsl", &wide), BackendError::Limit { limit: "invocations a workgroup", needs: 512, has: 256, .. }));
}

#[test]
fn refusals_say_what_and_where() {
    let half = with_body("%0 \"x\": ptr<f16, global>", "", "%10 = load %0, %9 : f16\n store %0, %8, %10").replace("%5", "%105");
    assert!(error("wgsl", &half).to_string().contains("compile for `wgsl:f16`"));
    let subgroup = with_body(IO, "", "%10 = load %0, %9 : f32\n %11 = subgroup {f = add} %10 : f32\n store %0, %8, %11");
    assert!(error("wgsl", &subgroup).to_string().contains("compile for `wgsl:subgroups`"));
    let dot = with_body(
        IO,
        "",
        "%10 = const {value = 7} : u32\n %11 = const {value = 1} : i32\n %12 = dot4 {signed = true} %10, %10, %11 : i32
        %13 = cast %12 : f32\n store %0, %8, %13",
    );
    assert!(error("wgsl", &dot).to_string().contains("compile for `wgsl:dot`"));
    let scratch = with_body(IO, "", "%10 = scratch %5 : ptr<f32, scratch>\n %11 = load %10, %9 : f32\n store %0, %9, %11");
    assert!(error("wgsl", &scratch).to_string().starts_with("kernel @kernel: scratch memory is not supported on wgsl"));
    let wide = with_body(IO, "", "%10 = load %0, %9 : f32\n %11 = cast %10 : f64\n %12 = cast %11 : f32\n store %0, %9, %12");
    assert!(error("wgsl", &wide).to_string().contains("a value of type f64"));
    let large = with_body(IO, "%10 = const {value = 3000000000} : index", "%11 = load %0, %10 : f32\n store %0, %9, %11");
    assert!(error("wgsl", &large).to_string().contains("the index 3000000000"));
    let sine = with_body(IO, "", "%10 = load %0, %9 : f32\n %11 = unary {f = sin} %10 : f32\n store %0, %9, %11");
    assert!(error("wgsl", &sine).to_string().contains("sin of f32"));
}
