//! The types of a model's inputs and outputs for the browser runtime: `load<Model>(…)` then knows every name and array.

use odc_format::{DType, Manifest, TensorInfo};
use std::fmt::Write;

/// The module's text; `name` is what the type is called after.
pub fn types(m: &Manifest, name: &str) -> String {
    let ty = type_name(name);
    let mut out = format!("// The inputs and outputs of {}, for `load<{ty}>(url)` of the odc runtime. Written by odc compile.\n\n", m.name);
    if !m.symbols.is_empty() {
        let dims: Vec<_> = m.symbols.iter().map(|s| s.name.as_str()).collect();
        let _ = writeln!(out, "// Sizes that inputs decide: {}.", dims.join(", "));
    }
    let _ = writeln!(out, "export type {ty} = {{");
    for (kind, list) in [("inputs", &m.inputs), ("outputs", &m.outputs)] {
        let _ = writeln!(out, "  {kind}: {{");
        for t in list.iter() {
            let _ = writeln!(out, "    /** {} */\n    {}: {};", shape(t), quoted(&t.name), array(t.dtype));
        }
        let _ = writeln!(out, "  }};");
    }
    out + "};\n"
}

fn shape(t: &TensorInfo) -> String {
    // A comment must not end early.
    format!("{}[{}]", t.dtype, t.shape_text.join(", ")).replace("*/", "* /")
}

/// JSON's strings are TypeScript's.
fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

fn array(d: DType) -> &'static str {
    match d {
        DType::F32 => "Float32Array",
        DType::F64 => "Float64Array",
        // Their bits.
        DType::F16 | DType::BF16 | DType::U16 => "Uint16Array",
        DType::I8 | DType::I4 | DType::I2 => "Int8Array",
        DType::I16 => "Int16Array",
        // Strings by their numbers.
        DType::I32 | DType::Str => "Int32Array",
        DType::I64 => "BigInt64Array",
        DType::U8 | DType::Bool | DType::U4 | DType::U2 => "Uint8Array",
        // Their codes.
        DType::F8E4M3FN
        | DType::F8E4M3FNUZ
        | DType::F8E5M2
        | DType::F8E5M2FNUZ
        | DType::F8E8M0
        | DType::F6E2M3
        | DType::F6E3M2
        | DType::F4E2M1 => "Uint8Array",
        DType::U32 => "Uint32Array",
        DType::U64 => "BigUint64Array",
    }
}

/// `my-model.v2` as `MyModelV2`.
fn type_name(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
    let upper = |w: &str| {
        let mut c = w.chars();
        c.next().map_or(String::new(), |first| first.to_ascii_uppercase().to_string() + c.as_str())
    };
    let name: String = words.map(upper).collect();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("Model{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(type_name("my-model.v2"), "MyModelV2");
        assert_eq!(type_name("2d"), "Model2d");
        assert_eq!(quoted("a \"b\"\n"), "\"a \\\"b\\\"\\n\"");
    }
}
