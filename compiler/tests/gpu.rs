//! The command's GPU side that needs no GPU: targets, kernels as text, exploded folders, types, limits, and what is said when this
//! build cannot run them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn model() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models/ppocrv2_cls/model.onnx").display().to_string()
}

fn odc(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_odc")).args(line.split_whitespace()).output().unwrap()
}

#[track_caller]
fn ok(line: &str) -> String {
    let out = odc(line);
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[track_caller]
fn fails(line: &str, code: i32, says: &[&str]) -> String {
    let out = odc(line);
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(code), "{line}: {text}");
    for s in says {
        assert!(text.contains(s), "{line}: `{s}` is not in: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    text
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(TempDir::new().unwrap())
    }
    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

#[test]
fn targets_are_listed() {
    let text = ok("targets");
    for name in ["wgsl", "wgsl:f16", "spirv:subgroups", "metal", "cpu:x86-64-v3"] {
        assert!(text.lines().any(|l| l.split_whitespace().next() == Some(name)), "{name}: {text}");
    }
    let v: serde_json::Value = serde_json::from_str(&ok("targets --json")).unwrap();
    let wgsl = v.as_array().unwrap().iter().find(|t| t["target"] == "wgsl").unwrap();
    assert_eq!(wgsl["description"]["limits"]["storage_buffers"], 8);
    fails(&format!("compile {} -t webgl -o x.odc", model()), 1, &["webgl", "wgsl:subgroups"]);
    fails(&format!("compile {} -t wgsl:f8 -o x.odc", model()), 1, &["wgsl:f8"]);
}

#[test]
fn one_artifact_holds_all_targets_over_one_copy_of_the_weights() {
    let f = Folder::new();
    let (one, all) = (f.at("one.odc"), f.at("all.odc"));
    ok(&format!("compile {} -t wgsl -o {}", model(), one.display()));
    ok(&format!("compile {} -t metal,wgsl,spirv,wgsl:f16+subgroups,cpu -o {}", model(), all.display()));
    let info = |path: &Path| -> serde_json::Value { serde_json::from_str(&ok(&format!("info {} --json", path.display()))).unwrap() };
    let (one, all) = (info(&one), info(&all));
    let names = |v: &serde_json::Value| {
        v["targets"].as_array().unwrap().iter().map(|t| t["target"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&one), ["wgsl"]);
    let mut found = names(&all);
    found.sort();
    assert_eq!(found, ["cpu", "metal", "spirv", "wgsl", "wgsl:f16+subgroups"]);
    // Layouts that only one device reads are its own; nothing is there twice for WGSL, SPIR-V and Metal.
    let bytes = |v: &serde_json::Value| v["weight_bytes"].as_u64().unwrap();
    assert!(bytes(&all) < 3 * bytes(&one), "{} {}", bytes(&all), bytes(&one));
}

#[test]
fn kernels_are_text() {
    for (emit, has) in [("wgsl", "@compute @workgroup_size("), ("msl", "kernel void"), ("spirv", "OpEntryPoint GLCompute")] {
        let text = ok(&format!("compile {} --emit {emit}", model()));
        assert!(text.contains(has), "{emit}");
        assert_eq!(text, ok(&format!("compile {} --emit {emit} --compile-threads 1", model())), "{emit} differs");
        if emit != "spirv" {
            // Nodes, schedule, bytes, work.
            for word in ["Conv", "template", "reads ", "flop"] {
                assert!(text.lines().any(|l| l.starts_with("//") && l.contains(word)), "{emit}: no comment has `{word}`");
            }
        }
    }
    assert!(ok(&format!("compile {} -t wgsl --emit loop", model())).contains("for {kind = block}"));
}

#[test]
fn a_folder_has_everything_in_files() {
    let f = Folder::new();
    let dir = format!("{}/", f.at("cls").display());
    ok(&format!("compile {} -t metal -o {dir}", model()));
    let read = |p: &Path| std::fs::read(p).unwrap_or_else(|e| panic!("{}: {e}", p.display()));
    let v: serde_json::Value = serde_json::from_slice(&read(&f.at("cls/manifest.json"))).unwrap();
    let weights = read(&f.at("cls/weights.bin")).len() as u64;
    for w in v["weights"].as_array().unwrap() {
        assert!(w["offset"].as_u64().unwrap() % 256 == 0 && w["offset"].as_u64().unwrap() + w["len"].as_u64().unwrap() <= weights);
    }
    let kernels = v["kernels"].as_array().unwrap();
    for k in kernels {
        let text = String::from_utf8(read(&f.at("cls").join(k["file"].as_str().unwrap()))).unwrap();
        assert!(text.contains(&format!("kernel void {}(", k["name"].as_str().unwrap())), "{k}");
        assert!(k["workgroup"][0].as_u64().unwrap() >= 1 && k["threadgroup_memory"].is_array());
    }
    for c in v["commands"].as_array().unwrap().iter().filter(|c| c.get("kernel").is_some()) {
        let k = &kernels[c["kernel"].as_u64().unwrap() as usize];
        assert_eq!(c["buffers"].as_array().unwrap().len(), k["access"].as_array().unwrap().len());
        assert_eq!(c["grid"].as_array().unwrap().len(), 3);
    }
    // Several targets share the weights.
    ok(&format!("compile {} -t wgsl,spirv -o {}/", model(), f.at("two").display()));
    assert!(f.at("two/weights.bin").is_file() && f.at("two/wgsl/manifest.json").is_file());
    let files = std::fs::read_dir(f.at("two/spirv/kernels")).unwrap();
    let names: Vec<String> = files.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().any(|n| n.ends_with(".spv")) && names.iter().any(|n| n.ends_with(".spvasm")));
}

#[test]
fn types_for_typescript() {
    let f = Folder::new();
    let path = f.at("pp-ocr.ts");
    ok(&format!("compile {} -t wgsl -o {}", model(), path.display()));
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains("export type PpOcr = {") && text.contains("\"x\": Float32Array;"), "{text}");
}

#[test]
fn limits_are_kept_or_named() {
    let f = Folder::new();
    let limits = |text: &str| {
        let path = f.at("limits.json");
        std::fs::write(&path, text).unwrap();
        format!("compile {} -t wgsl --limits {} -o {}", model(), path.display(), f.at("x.odc").display())
    };
    fails(&limits("{\"workgroup\": 1}"), 1, &["limits.json", "workgroup_bytes"]);
    fails(&limits("{\"invocations\": 1}"), 1, &["invocations is 1"]);
    fails(&limits("not JSON"), 1, &["limits.json"]);
    // No kernel of it has fewer buffers than that.
    fails(&limits("{\"storage_buffers\": 3, \"workgroup_bytes\": 1024}"), 3, &["ODC0401", "node `", "storage buffers"]);
    ok(&limits("{\"invocations\": 64, \"workgroup_bytes\": 16384}"));
}

#[test]
fn a_page_can_check_what_it_downloads() {
    let f = Folder::new();
    let path = f.at("x.odc");
    ok(&format!("compile {} -t wgsl -o {}", model(), path.display()));
    let bytes = std::fs::read(&path).unwrap();
    let view = odc_format::ArtifactView::parse(&bytes).unwrap();
    let d = &view.manifest.digests;
    let sha =
        |b: &[u8]| -> [u8; 32] { sha2::Digest::finalize(sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), b)).into() };
    let chunks: Vec<_> = view.weights().chunks(d.chunk_bytes as usize).map(sha).collect();
    assert_eq!(d.chunks, chunks);
    assert_eq!(d.code.len(), 1);
}

#[cfg(not(feature = "gpu"))]
#[test]
fn a_build_without_gpus_says_so() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models/ppocrv2_cls");
    fails(&format!("verify {} -t wgsl --data {}", model(), data.display()), 6, &["ODC0732", "--features gpu"]);
}

#[cfg(not(feature = "gpu"))]
#[test]
fn an_artifact_for_gpus_alone_says_so_too() {
    let f = Folder::new();
    let path = f.at("x.odc");
    ok(&format!("compile {} -t wgsl -o {}", model(), path.display()));
    fails(&format!("bench {}", path.display()), 6, &["ODC0732"]);
    assert!(ok(&format!("info {} -t wgsl", path.display())).contains("storage buffers"));
    fails(&format!("info {} -t spirv", path.display()), 1, &["spirv", "wgsl"]);
}
