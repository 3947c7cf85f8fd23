//! Small graphs, one for each way in which a GPU kernel is made. A weight's values are written as `?`.

use odc::AnyModule;
use odc_ir::graph;

/// By name; the suites add no others.
pub const MODELS: &[(&str, &str)] = &[
    (
        "matmul_bias_relu",
        r#"dim n in 1..512 from "x" 0
  const #0 : f32[64, 96] = ?
  const #1 : f32[96] = ?
  func @main(%0 "x": f32[n, 64]) {
    %1 = constant {value = #0} : f32[64, 96]
    %2 = constant {value = #1} : f32[96]
    %3 = matmul %0, %1 : f32[n, 96] loc("/fc/MatMul")
    %4 = binary {f = add} %3, %2 : f32[n, 96] loc("/fc/Add")
    %5 = unary {f = relu} %4 : f32[n, 96] loc("/Relu")
    yield %5 "y"
  }"#,
    ),
    (
        "conv3x3",
        r#"const #0 : f32[32, 16, 3, 3] = ?
  const #1 : f32[32] = ?
  func @main(%0 "x": f32[1, 16, 28, 28]) {
    %1 = constant {value = #0} : f32[32, 16, 3, 3]
    %2 = constant {value = #1} : f32[32]
    %3 = conv {strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1], group = 1} %0, %1, %2 : f32[1, 32, 28, 28] loc("/Conv")
    yield %3 "y"
  }"#,
    ),
    (
        "depthwise",
        r#"const #0 : f32[16, 1, 3, 3] = ?
  const #1 : f32[16] = ?
  func @main(%0 "x": f32[1, 16, 28, 28]) {
    %1 = constant {value = #0} : f32[16, 1, 3, 3]
    %2 = constant {value = #1} : f32[16]
    %3 = conv {strides = [2, 2], pads = [1, 1, 1, 1], dilations = [1, 1], group = 16} %0, %1, %2 : f32[1, 16, 14, 14] loc("/Conv")
    yield %3 "y"
  }"#,
    ),
    (
        "softmax",
        r#"dim n in 1..64 from "x" 0
  func @main(%0 "x": f32[n, 1000]) {
    %1 = softmax {axis = 1, log = false} %0 : f32[n, 1000] loc("/Softmax")
    yield %1 "y"
  }"#,
    ),
    (
        "layer_norm",
        r#"dim n in 1..64 from "x" 0
  const #0 : f32[256] = ?
  const #1 : f32[256] = ?
  func @main(%0 "x": f32[n, 256]) {
    %1 = constant {value = #0} : f32[256]
    %2 = constant {value = #1} : f32[256]
    %3 = layer_norm {axis = 1, epsilon = 1e-5} %0, %1, %2 : f32[n, 256] loc("/LayerNorm")
    yield %3 "y"
  }"#,
    ),
    (
        "attention",
        r#"func @main(%0 "q": f32[2, 64, 32], %1 "k": f32[2, 32, 64], %2 "v": f32[2, 64, 32]) {
    %3 = matmul %0, %1 : f32[2, 64, 64] loc("/scores/MatMul")
    %4 = softmax {axis = 2, log = false} %3 : f32[2, 64, 64] loc("/Softmax")
    %5 = matmul %4, %2 : f32[2, 64, 32] loc("/values/MatMul")
    yield %5 "y"
  }"#,
    ),
    (
        "gemv",
        r#"const #0 : f32[512, 128] = ?
  func @main(%0 "x": f32[1, 512]) {
    %1 = constant {value = #0} : f32[512, 128]
    %2 = matmul %0, %1 : f32[1, 128] loc("/fc/MatMul")
    yield %2 "y"
  }"#,
    ),
    (
        "gemv_deep",
        r#"func @main(%0 "x": f32[1, 512], %1 "w": f32[128, 512]) {
    %2 = transpose {perm = [1, 0]} %1 : f32[512, 128] loc("/fc/Transpose")
    %3 = matmul %0, %2 : f32[1, 128] loc("/fc/MatMul")
    yield %3 "y"
  }"#,
    ),
    (
        "elementwise",
        r#"dim n in 1..64 from "x" 0
  const #0 : f32[1024] = ?
  func @main(%0 "x": f32[n, 1024]) {
    %1 = constant {value = #0} : f32[1024]
    %2 = binary {f = mul} %0, %1 : f32[n, 1024] loc("/Mul")
    %3 = unary {f = sigmoid} %2 : f32[n, 1024] loc("/Sigmoid")
    yield %3 "y"
  }"#,
    ),
    (
        "group_norm",
        r#"const #0 : f32[32] = ?
  const #1 : f32[32] = ?
  func @main(%0 "x": f32[1, 32, 8, 8]) {
    %1 = constant {value = #0} : f32[32]
    %2 = constant {value = #1} : f32[32]
    %3 = group_norm {groups = 8, epsilon = 1e-5} %0, %1, %2 : f32[1, 32, 8, 8] loc("/GroupNorm")
    yield %3 "y"
  }"#,
    ),
    (
        "gather",
        r#"dim n in 1..64 from "ids" 0
  const #0 : f32[100, 24] = ?
  func @main(%0 "ids": i64[n]) {
    %1 = constant {value = #0} : f32[100, 24]
    %2 = gather {axis = 0} %1, %0 : f32[n, 24] loc("/Gather")
    yield %2 "y"
  }"#,
    ),
    (
        "bytes",
        r#"dim n in 1..64 from "x" 0
  func @main(%0 "x": f32[n, 3]) {
    %1 = unary {f = round} %0 : f32[n, 3] loc("/Round")
    %2 = cast %1 : u8[n, 3] loc("/Cast")
    yield %2 "y"
  }"#,
    ),
];

pub fn model(name: &str) -> graph::Module {
    let (_, text) = MODELS.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no model {name}"));
    parse(name, text)
}

/// Weights are small whole numbers that differ from their neighbours, and from the other weights.
pub fn parse(name: &str, text: &str) -> graph::Module {
    let line = |line: &str| {
        let Some((head, "")) = line.split_once("= ?") else { return line.to_string() };
        let shape = head.split(['[', ']']).nth(1).expect("a shape");
        let n: i64 = shape.split(", ").map(|d| d.parse::<i64>().expect("a size")).product();
        let id = head.split(['#', ' ']).find_map(|w| w.parse::<i64>().ok()).expect("a number");
        format!("{head}= blob \"{n} {id}\"")
    };
    let numbers = |key: &str| {
        let (n, id) = key.split_once(' ')?;
        let (n, id): (i64, i64) = (n.parse().ok()?, id.parse().ok()?);
        Some((0..n).flat_map(|k| (((k * 7 + k / 5 + id * 3) % 11 - 5) as f32).to_le_bytes()).collect::<Vec<u8>>().into())
    };
    let body: Vec<String> = text.lines().map(line).collect();
    let text = format!("graph module \"{name}\" {{\n{}\n}}", body.join("\n"));
    match AnyModule::parse(&text, &numbers) {
        Ok(AnyModule::Graph(m)) => m,
        Ok(_) => panic!("{name} is no graph"),
        Err(e) => panic!("{name}: {e}"),
    }
}
