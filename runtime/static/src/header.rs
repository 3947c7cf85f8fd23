//! The C header of a linked model: names, types, shapes and sizes as macros; what depends on dims as a comment.

use crate::{c_name, model_symbol};
use odc_format::{Manifest, TensorInfo};
use std::{collections::BTreeSet, fmt::Write};

/// `m.h` for a model that `write_object` wrote under the same name and from the same target of the manifest.
pub fn header(manifest: &Manifest, name: &str, target: usize) -> String {
    let fixed = manifest.shape_program.evaluate_at(&[]);
    let value = |slot: odc_format::Slot| fixed.get(slot.index()).copied().flatten();
    let symbol = model_symbol(name);
    let prefix = format!("ODC_{}", c_name(name).to_uppercase());
    let mut taken = BTreeSet::new();
    let mut out = String::new();
    let mut line = |text: &str| {
        // writing to a String cannot fail
        let _ = writeln!(out, "{text}");
    };
    line(&format!("/* The model \"{}\", made by {}. Link it with libodc_c. */", comment(&manifest.name), comment(&manifest.producer)));
    line(&format!("#ifndef {prefix}_H\n#define {prefix}_H\n\n#include \"odc.h\"\n"));
    line("#ifdef __cplusplus\nextern \"C\" {\n#endif\n");
    line(&format!("/* odc_open_static(&{symbol}, ...) opens it. */\nextern const OdcStaticModel {symbol};\n"));
    for s in &manifest.symbols {
        let dim = unique(&mut taken, format!("{prefix}_DIM_{}", c_name(&s.name).to_uppercase()));
        let multiple = if s.multiple_of > 1 { format!(", a multiple of {}", s.multiple_of) } else { String::new() };
        line(&format!("/* dim {}{multiple} */\n#define {dim}_MIN {}", comment(&s.name), s.lo));
        if s.hi != i64::MAX {
            line(&format!("#define {dim}_MAX {}", s.hi));
        }
        line("");
    }
    for (kind, tensors) in [("INPUT", &manifest.inputs), ("OUTPUT", &manifest.outputs)] {
        line(&format!("#define {prefix}_{kind}_COUNT {}\n", tensors.len()));
        for (index, t) in tensors.iter().enumerate() {
            let own = unique(&mut taken, format!("{prefix}_{kind}_{}", c_name(&t.name).to_uppercase()));
            line(&format!("/* {} {index} \"{}\": {}[{}] */", kind.to_lowercase(), comment(&t.name), t.dtype, shape(t)));
            line(&format!("#define {own} {index}\n#define {own}_NAME \"{}\"", escape(&t.name)));
            line(&format!("#define {own}_DTYPE ODC_{}\n#define {own}_RANK {}", t.dtype.name().to_uppercase(), t.shape.len()));
            for (axis, &slot) in t.shape.iter().enumerate() {
                match value(slot) {
                    Some(dim) => line(&format!("#define {own}_DIM{axis} {dim}")),
                    None => line(&format!("/* {own}_DIM{axis}: {} */", t.shape_text.get(axis).map_or(String::new(), |d| comment(d)))),
                }
            }
            let size = t.dtype.size() as i64;
            let bytes = t.shape.iter().try_fold(size, |n, &slot| n.checked_mul(value(slot)?));
            match bytes {
                Some(bytes) => line(&format!("#define {own}_BYTES {bytes}\n")),
                None => {
                    let factors: Vec<String> = t.shape_text.iter().map(|d| format!(" * ({})", comment(d))).collect();
                    line(&format!("/* {own}_BYTES: {size}{} */\n", factors.concat()));
                }
            }
        }
    }
    if let Some(t) = manifest.targets.get(target) {
        match value(t.arena_bytes) {
            Some(bytes) => line(&format!("/* memory of a session, without scratch */\n#define {prefix}_ARENA_BYTES {bytes}\n")),
            None => line(&format!("/* memory of a session, without scratch: {} bytes */\n", comment(&t.peak_text))),
        }
    }
    line("#ifdef __cplusplus\n}\n#endif\n#endif");
    out
}

fn shape(t: &TensorInfo) -> String {
    comment(&t.shape_text.join(", "))
}

/// Two tensors `a.b` and `a_b` must not share a macro.
fn unique(taken: &mut BTreeSet<String>, name: String) -> String {
    let numbered = (2..).map(|n| format!("{name}_{n}"));
    let free = std::iter::once(name.clone()).chain(numbered).find(|n| !taken.contains(n)).unwrap_or(name);
    taken.insert(free.clone());
    free
}

/// Text from the model must not end a comment or a line.
fn comment(text: &str) -> String {
    text.replace("*/", "* /").replace("/*", "/ *").chars().map(|c| if c.is_control() || c == '\\' { '?' } else { c }).collect()
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | b'?' => out.extend(['\\', byte as char]),
            0x20..=0x7e => out.push(byte as char),
            // three octal digits end by themselves, unlike \x
            other => {
                let _ = write!(out, "\\{other:03o}");
            }
        }
    }
    out
}
