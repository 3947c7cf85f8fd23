//! Each rewrite on a graph where it applies and on one where it must not, and that results stay what they were.

use super::{Report, canonicalise};
use odc_ir::core::{DType, Scalar, TensorType, TensorValue, assert_close, no_blobs, parse_module};
use odc_ir::graph::{Module, interp, verify};

/// `name: type, …` as parameters %0, %1, …; then the body. `n` is a free size of the first input's first axis.
fn module(params: &[&str], consts: &[&str], body: &str) -> Module {
    let params: Vec<String> = params.iter().enumerate().map(|(k, t)| format!("%{k} \"p{k}\": {t}")).collect();
    let consts: String = consts.iter().enumerate().map(|(k, c)| format!("  const #{k} : {c}\n")).collect();
    let dim = if params.iter().any(|p| p.contains("[n")) { "  dim n in 1..8 from \"p0\" 0\n" } else { "" };
    let text = format!("graph module \"t\" {{\n{dim}{consts}  func @main({}) {{\n{body}\n  }}\n}}\n", params.join(", "));
    let text = dense(&text);
    let m: Module = parse_module(&text, &no_blobs).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(verify(&m), [], "{text}");
    m
}

/// Values renumbered in order of appearance, so that cases may leave gaps.
fn dense(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().to_string();
    let mut seen = vec![];
    for p in parts {
        let end = p.find(|c: char| !c.is_ascii_digit()).unwrap_or(p.len());
        let (name, rest) = p.split_at(end);
        let k = seen.iter().position(|s| *s == name).unwrap_or_else(|| {
            seen.push(name);
            seen.len() - 1
        });
        out += &format!("%{k}{rest}");
    }
    out
}

/// Numbers without a pattern, some negative, for every parameter; `n` is 3.
fn inputs(m: &Module) -> Vec<(String, TensorValue)> {
    let f = m.main().unwrap();
    let mut state = 12345u64;
    let mut next = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 40) as f64 / (1u64 << 24) as f64 - 0.4) * 4.0
    };
    let value = |ty: &TensorType, next: &mut dyn FnMut() -> f64| {
        let shape: Vec<usize> = ty.shape.iter().map(|d| d.eval(&|_| Some(3)).unwrap() as usize).collect();
        TensorValue::from_fn(ty.dtype, &shape, |_| if ty.dtype == DType::Bool { Scalar::Bool(next() > 0.0) } else { Scalar::Float(next()) })
            .unwrap()
    };
    f.param_names.iter().zip(&f.body.args).map(|(n, v)| (n.clone(), value(f.ty(*v), &mut next))).collect()
}

/// Canonicalises, checks that nothing changed its meaning, and gives what was found and the ops that are left.
fn run(m: &Module) -> (Report, Vec<&'static str>, Module) {
    use odc_ir::core::OpSet;
    let mut after = m.clone();
    let report = canonicalise(&mut after);
    assert_eq!(verify(&after), [], "{after}");
    let feed = inputs(m);
    let (a, b) = (interp::run(m, &feed).unwrap(), interp::run(&after, &feed).unwrap());
    for (x, y) in a.iter().zip(&b) {
        assert_close(y, x, 2e-3, 1e-4).unwrap_or_else(|e| panic!("{e}\n{m}\n{after}"));
    }
    let mut again = after.clone();
    assert_eq!(canonicalise(&mut again).found.len(), 0, "not a fixed point: {after}");
    let ops = after.main().unwrap().body.ops.iter().map(|op| op.op.info().mnemonic).filter(|n| *n != "constant").collect();
    (report, ops, after)
}

#[track_caller]
fn finds(rule: &str, left: &[&str], params: &[&str], consts: &[&str], body: &str) -> Module {
    let (report, ops, after) = run(&module(params, consts, body));
    assert!(report.found.contains_key(rule), "`{rule}` is not in {report:?}\n{after}");
    assert_eq!(ops, left, "{after}");
    after
}

#[track_caller]
fn leaves(rule: &str, params: &[&str], consts: &[&str], body: &str) {
    let (report, _, after) = run(&module(params, consts, body));
    assert!(!report.found.contains_key(rule), "`{rule}` must not apply\n{after}");
}

mod constants;
mod identities;
mod movement;
mod patterns;
mod scale;
