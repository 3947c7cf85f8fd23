//! The command as scripts and people meet it: forms, results, exit codes, and what it says when something is wrong. The model
//! is the carried PP-OCR direction classifier.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use tempfile::TempDir;

struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

fn odc<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Outcome {
    let out = Command::new(env!("CARGO_BIN_EXE_odc")).args(args).output().unwrap();
    let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
    Outcome { code: out.status.code().unwrap(), stdout: text(&out.stdout), stderr: text(&out.stderr) }
}

/// One argument a word.
fn run(line: &str) -> Outcome {
    odc(line.split_whitespace())
}

impl Outcome {
    #[track_caller]
    fn ok(self) -> Outcome {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self
    }
    #[track_caller]
    fn fails(self, code: i32, says: &[&str]) -> Outcome {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        for s in says {
            assert!(self.stderr.contains(s), "`{s}` is not in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }
    #[track_caller]
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models")
}

/// The classifier, compiled once for all tests.
struct Fixture {
    folder: TempDir,
    data: String,
    model: String,
    artifact: String,
}

static CLS: LazyLock<Fixture> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    let data = models().join("ppocrv2_cls").display().to_string();
    let (model, artifact) = (format!("{data}/model.onnx"), folder.path().join("cls.odc").display().to_string());
    run(&format!("compile {model} -t cpu -o {artifact}")).ok();
    Fixture { folder, data, model, artifact }
});

impl Fixture {
    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn help_shows_examples() {
    assert!(run("--help").ok().stdout.contains("Examples:"));
    for c in ["compile", "run", "verify", "bench", "info", "viz", "check", "opt", "targets"] {
        let text = run(&format!("{c} --help")).ok().stdout;
        assert!(text.contains("Example") && text.contains(&format!("odc {c}")), "{c}: {text}");
    }
    assert!(run("--version").ok().stdout.starts_with("odc "));
}

#[test]
fn command_lines_that_are_wrong() {
    run("").fails(1, &["Usage"]);
    run("compile x.onnx --fast").fails(1, &["--fast"]);
    run("compile x.onnx -O4 -o x.odc").fails(1, &["4"]);
    run("compile x.onnx").fails(1, &["-o MODEL.odc"]);
    run("compile x.onnx -o x.exe").fails(1, &["x.exe", ".odc"]);
    run("compile x.onnx -o no/such/folder/x.odc").fails(1, &["no/such/folder"]);
    run("compile x.onnx -t toaster -o x.odc").fails(1, &["toaster", "odc targets"]);
    run("compile x.onnx --dim n -o x.odc").fails(1, &["N=4"]);
    run("run x.onnx -i x").fails(1, &["name=file.npy"]);
}

#[test]
fn models_that_are_none() {
    let f = &*CLS;
    run("compile none.onnx -o x.odc").fails(2, &["ODC0100", "none.onnx"]);
    let bytes = std::fs::read(&f.model).unwrap();
    let bad = f.place("bad.onnx");
    let out = f.place("bad.odc");
    let line = format!("compile {} -o {}", bad.display(), out.display());
    let random: Vec<u8> = (0..4000u32).map(|k| (k.wrapping_mul(2654435761) >> 13) as u8).collect();
    for content in [&bytes[..bytes.len() / 2], &bytes[..10], &random[..], &[]] {
        std::fs::write(&bad, content).unwrap();
        run(&line).fails(2, &["bad.onnx", "help"]);
        assert!(!out.exists());
    }
    let check = run(&format!("check {} --json", bad.display()));
    assert_eq!((check.code, check.json()["ok"].as_bool()), (2, Some(false)));
    assert!(check.json()["problems"][0]["message"].as_str().unwrap().contains("bad.onnx"));
}

#[test]
fn check_says_what_is_in_a_model() {
    let f = &*CLS;
    let v = run(&format!("check {} --json", f.model)).ok().json();
    assert_eq!(v["ok"], true);
    assert!(v["ops"]["Conv"].as_u64().unwrap() > 10 && v["parameters"].as_u64().unwrap() > 100_000, "{v}");
    assert_eq!(v["inputs"][0]["name"], "x");
    assert!(run(&format!("check {}", f.model)).ok().stdout.contains("can be imported"));
    run(&format!("check {} --dim nonsense=4", f.model)).ok_or_import_error();
}

impl Outcome {
    /// An unknown dim is the importer's to refuse.
    #[track_caller]
    fn ok_or_import_error(self) {
        assert_eq!(self.code, 2, "{}{}", self.stdout, self.stderr);
        assert!(self.stdout.contains("nonsense"), "{}", self.stdout);
    }
}

#[test]
fn verify_accepts_right_results_and_refuses_others() {
    let f = &*CLS;
    let lines = run(&format!("verify {} --data {} --tolerance {}/golden.json --threads 2", f.artifact, f.data, f.data)).ok().stdout;
    assert_eq!(lines.lines().filter(|l| l.starts_with("ok ") && l.contains("largest error")).count(), 2, "{lines}");
    let v = run(&format!("verify {} --data {}/test_data_set_0 {}/test_data_set_1 --rtol 1e-3 --atol 1e-4 --json", f.model, f.data, f.data))
        .ok();
    assert_eq!((v.json()["ok"].as_bool(), v.json()["outputs"].as_array().unwrap().len()), (Some(true), 2));
    // The results of one data set are not those of another.
    let mixed = f.place("mixed");
    std::fs::create_dir_all(&mixed).unwrap();
    std::fs::copy(format!("{}/test_data_set_0/input_0.pb", f.data), mixed.join("input_0.pb")).unwrap();
    std::fs::copy(format!("{}/test_data_set_1/output_0.pb", f.data), mixed.join("output_0.pb")).unwrap();
    let wrong = run(&format!("verify {} --data {}", f.artifact, mixed.display())).fails(4, &["ODC0701"]);
    assert!(wrong.stdout.starts_with("DIFFER"), "{}", wrong.stdout);
    run(&format!("verify {} --data {}", f.artifact, models().display())).fails(1, &["test_data_set_0"]);
    run(&format!("verify {} --data {} --tolerance {}/labels.txt", f.artifact, f.data, f.data)).fails(1, &["labels.txt"]);
}

#[test]
fn run_takes_named_files_and_shows_or_writes_results() {
    let f = &*CLS;
    let args = format!("run {} -i x={}/turned.npy", f.artifact, f.data);
    let text = run(&format!("{args} --top 1 --labels {}/labels.txt", f.data)).ok().stdout;
    assert!(text.contains("turned by 180 degrees") && text.lines().count() == 2, "{text}");
    let out = f.place("results");
    let text = run(&format!("{args} -o {} --threads 1", out.display())).ok().stdout;
    assert!(text.contains("f32[1, 2] = ["), "{text}");
    let files: Vec<_> = std::fs::read_dir(&out).unwrap().collect();
    let written = odc::npy::read(&std::fs::read(files[0].as_ref().unwrap().path()).unwrap()).unwrap();
    assert_eq!((files.len(), written.shape.as_slice()), (1, &[1, 2][..]));
    let v = run(&format!("{args} --json")).ok().json();
    assert!(v["outputs"][0]["data"][1].as_f64().unwrap() > 0.9, "{v}");
    let again = run(&format!("run {} -i x={}/test_data_set_0/input_0.pb", f.artifact, f.data)).ok().stdout;
    assert!(again.contains("f32["), "{again}");
}

#[test]
fn inputs_that_do_not_fit() {
    let f = &*CLS;
    let npy = |name: &str, dtype, shape: &[usize]| {
        let path = f.place(name);
        let bytes = shape.iter().product::<usize>() * 4;
        std::fs::write(&path, odc::npy::write(dtype, shape, &vec![0; bytes])).unwrap();
        path.display().to_string()
    };
    let good = npy("good.npy", odc_format::DType::F32, &[1, 3, 48, 192]);
    run(&format!("run {}", f.artifact)).fails(1, &["missing input", "x: f32["]);
    run(&format!("run {} -i y={good}", f.artifact)).fails(1, &["x", "f32["]);
    run(&format!("run {} -i x={good} -i z={good}", f.artifact)).fails(1, &["z"]);
    let ints = npy("ints.npy", odc_format::DType::I32, &[1, 3, 48, 192]);
    run(&format!("run {} -i x={ints}", f.artifact)).fails(1, &["i32", "f32["]);
    let flat = npy("flat.npy", odc_format::DType::F32, &[3, 48, 192]);
    run(&format!("run {} -i x={flat}", f.artifact)).fails(1, &["[3, 48, 192]", "f32["]);
    let narrow = npy("narrow.npy", odc_format::DType::F32, &[1, 4, 48, 192]);
    run(&format!("run {} -i x={narrow}", f.artifact)).fails(1, &["axis 1", "f32["]);
    run(&format!("run {} -i x={}/labels.txt", f.artifact, f.data)).fails(1, &["labels.txt", ".npy"]);
    run(&format!("run {} -i x=none.npy", f.artifact)).fails(1, &["none.npy"]);
    let e = run(&format!("run {} --json", f.artifact)).fails(1, &[]);
    let e: serde_json::Value = serde_json::from_str(&e.stderr).unwrap();
    assert_eq!((e["exit"].as_u64(), e["errors"][0]["code"].as_str()), (Some(1), Some("ODC0601")));
}

#[test]
fn damaged_artifacts() {
    let f = &*CLS;
    let bytes = std::fs::read(&f.artifact).unwrap();
    let bad = f.place("damaged.odc");
    let path = bad.display();
    for at in [0, 5, 40, 70, 4100, 4200] {
        let mut b = bytes.clone();
        b[at] ^= 0x55;
        std::fs::write(&bad, &b).unwrap();
        run(&format!("info {path}")).fails(6, &["ODC065"]);
        run(&format!("run {path} -i x={}/turned.npy", f.data)).fails(6, &["ODC065"]);
    }
    std::fs::write(&bad, &bytes[..bytes.len() - 1]).unwrap();
    run(&format!("bench {path} --data {}/test_data_set_0", f.data)).fails(6, &["ODC065"]);
    run(&format!("info {}", f.model)).fails(6, &["model.onnx", "odc check"]);
    run("info none.odc").fails(6, &["none.odc"]);
}

#[test]
fn info_gives_signature_and_exact_memory() {
    let f = &*CLS;
    let v = run(&format!("info {} --json", f.artifact)).ok().json();
    assert_eq!(v["inputs"][0]["name"], "x");
    assert_eq!(v["targets"][0]["target"], "cpu");
    assert!(
        v["dispatches"].as_u64().unwrap() > 5 && v["kernels"].as_u64().unwrap() > 2 && v["weight_bytes"].as_u64().unwrap() > 100_000,
        "{v}"
    );
    let dims = v["dims"].as_array().unwrap().clone();
    let sizes: Vec<String> =
        dims.iter().map(|d| format!("--dim {}={}", d["name"].as_str().unwrap(), d["lo"].as_i64().unwrap().max(1))).collect();
    let at = run(&format!("info {} --json {}", f.artifact, sizes.join(" "))).ok().json();
    assert!(at["arena_bytes"].as_u64().unwrap() > 0, "{at}");
    assert!(run(&format!("info {}", f.artifact)).ok().stdout.contains("arena"));
    run(&format!("info {} --dim nonsense=3", f.artifact)).fails(1, &["nonsense"]);
}

#[test]
fn bench_reports_what_scripts_read() {
    let f = &*CLS;
    for model in [&f.artifact, &f.model] {
        let v = run(&format!("bench {model} --data {}/test_data_set_0 --threads 1 --seconds 0.05 --json", f.data)).ok().json();
        for key in
            "load_ms first_ms median_ms p90_ms runs rel_err max_abs_err arena_bytes weight_bytes dispatches cpu_ms fma128_peak_gflops"
                .split(' ')
        {
            assert!(v[key].is_number(), "{key}: {v}");
        }
        assert!(v["rel_err"].as_f64().unwrap() < 1e-3 && v["runs"].as_u64().unwrap() >= 5, "{v}");
        assert!(!cfg!(target_os = "linux") || v["peak_rss_mb"].as_f64().unwrap() > 1.0, "{v}");
        assert_eq!(v["compile_ms"].is_number() && v["macs"].is_number(), model == &f.model, "{v}");
    }
    let line = format!("bench {} --data {}/test_data_set_0 --seconds 0", f.artifact, f.data);
    assert!(run(&line).ok().stdout.contains("median_ms"));
    run(&format!("{line} --budget-ms 0.000001")).fails(5, &["budget"]);
    let line = format!("compile {} -o {}", f.model, f.artifact);
    run(&format!("{line} --mem-budget 100MB")).ok();
    run(&format!("{line} --mem-budget 1kB")).fails(5, &["ODC0321", "too many", "--dim"]);
    run(&format!("{line} --mem-budget little")).fails(1, &["300MB"]);
    assert!(run("bench --peak --json").ok().json()["fma128_peak_gflops"].as_f64().unwrap() > 0.1);
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let f = &*CLS;
    let again = f.place("again.odc");
    run(&format!("compile {} -t cpu -o {} --compile-threads 1", f.model, again.display())).ok();
    assert!(std::fs::read(&again).unwrap() == std::fs::read(&f.artifact).unwrap());
    run(&format!("compile {} -t cpu -o {} --compile-threads 5", f.model, again.display())).ok();
    assert!(std::fs::read(&again).unwrap() == std::fs::read(&f.artifact).unwrap());
}

#[test]
fn object_files_come_with_a_header() {
    let f = &*CLS;
    for name in ["cls.o", "cls.a"] {
        run(&format!("compile {} -o {}", f.model, f.place(name).display())).ok();
        let bytes = std::fs::read(f.place(name)).unwrap();
        let header = std::fs::read_to_string(f.place("cls.h")).unwrap();
        assert!(bytes.len() > 100_000 && header.contains("extern const OdcStaticModel odc_model_cls"), "{header}");
    }
}

#[test]
fn every_stage_is_text_and_a_start() {
    let f = &*CLS;
    let dir = f.place("stages");
    run(&format!("compile {} --dump {}", f.model, dir.display())).ok();
    let text = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let stages = ["graph", "canonical", "tensor", "dispatches", "loop", "program"];
    let file = |k: usize| format!("{k:02}-{}.odc-ir", stages[k]);
    for (k, stage) in stages.iter().enumerate() {
        assert!(text(&file(k)).len() > 1000, "{stage}");
    }
    for (k, passes) in [(0, "canonicalise"), (1, "lower_tensor"), (2, "fuse,schedule")] {
        let next = run(&format!("opt {} --passes={passes}", dir.join(file(k)).display())).ok().stdout;
        assert_eq!(next.trim(), text(&file(k + 1)).trim(), "{passes}");
    }
    // What was weighed: every choice has one way that was given and one that was taken.
    let weighed = text("egraph.txt");
    let choices = weighed.lines().filter(|l| !l.starts_with(' ') && !l.starts_with("e-graph of @")).count();
    let marked = |mark: char| weighed.lines().filter(|l| l.chars().take(4).any(|c| c == mark)).count();
    assert!(choices > 20 && weighed.contains("runner-up: ") && weighed.contains(" made "), "{weighed}");
    assert_eq!((marked('='), marked('>')), (choices, choices), "{weighed}");
    let loops = f.place("loops.odc-ir");
    let from = dir.join(file(3));
    run(&format!("opt {} --passes=lower_loop,expand -o {}", from.display(), loops.display())).ok();
    assert!(std::fs::read_to_string(&loops).unwrap().starts_with("loop module"));
    run(&format!("opt {} --passes=fuse", loops.display())).fails(3, &["tensor IR"]);
    run(&format!("opt {} --passes=polish", loops.display())).fails(3, &["polish", "lower_tensor"]);
    run(&format!("opt {}/labels.txt", f.data)).fails(1, &["labels.txt"]);
    let kernels = std::fs::read_dir(dir.join("06-kernels")).unwrap().count();
    assert!(kernels >= 4 && kernels.is_multiple_of(2));
    for (emit, has) in [("graph", "conv"), ("tensor", "dispatch"), ("loop", "for {kind = grid}"), ("clif", "function"), ("asm", "ret")] {
        assert!(run(&format!("compile {} --emit {emit}", f.model)).ok().stdout.contains(has), "{emit}");
    }
}

#[test]
fn unoptimised_code_means_the_same() {
    let f = &*CLS;
    run(&format!("verify {} -O0 --data {} --tolerance {}/golden.json", f.model, f.data, f.data)).ok();
}

#[test]
fn outputs_are_written_whole_or_not_at_all() {
    let f = &*CLS;
    let taken = f.place("taken.odc");
    std::fs::create_dir_all(&taken).unwrap();
    run(&format!("compile {} -o {}", f.model, taken.display())).fails(1, &["taken.odc", "folder"]);
    if cfg!(target_os = "linux") && Path::new("/dev/full").exists() {
        let args = ["run".into(), f.artifact.clone(), "-i".into(), format!("x={}/turned.npy", f.data)];
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let out = Command::new(env!("CARGO_BIN_EXE_odc")).args(&args).stdout(full).output().unwrap();
        assert_eq!(out.status.code(), Some(1), "{}", String::from_utf8_lossy(&out.stderr));
    }
    let left =
        std::fs::read_dir(f.folder.path()).unwrap().filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with(".odc-"));
    assert_eq!(left.count(), 0);
}

#[test]
fn targets_are_listed() {
    assert!(run("targets").ok().stdout.contains("cpu:aarch64"));
    let v = run("targets --json").ok().json();
    assert!(v.as_array().unwrap().iter().any(|t| t["target"] == "cpu"));
    let f = &*CLS;
    let other = f.place("arm.odc");
    let foreign = if cfg!(target_arch = "aarch64") { "cpu:x86-64" } else { "cpu:aarch64" };
    run(&format!("compile {} -t {foreign} -o {}", f.model, other.display())).ok();
    assert!(run(&format!("info {}", other.display())).ok().stdout.contains("target"));
    run(&format!("run {} -i x={}/turned.npy", other.display(), f.data)).fails(6, &["ODC0641"]);
}

#[test]
fn memory_is_that_of_the_artifact() {
    let f = &*CLS;
    let v = run(&format!("info {} --memory --json --dim x_d0=2 --dim x_d2=48 --dim x_d3=192", f.artifact)).ok().json();
    let t = &v["targets"][0];
    let number = |name: &str| t[name].as_i64().unwrap();
    let info = run(&format!("info {} --json --dim x_d0=2 --dim x_d2=48 --dim x_d3=192", f.artifact)).ok().json();
    assert_eq!(number("arena_bytes"), info["arena_bytes"].as_i64().unwrap());
    let live: i64 = t["live"].as_array().unwrap().iter().map(|b| b["bytes"].as_i64().unwrap()).sum();
    assert_eq!(live, number("lower_bound_bytes"));
    assert!(number("arena_bytes") * 100 <= live * 115, "{t}");
    // The model compiled on the spot says the same.
    let text = run(&format!("info {} --memory", f.artifact)).ok().stdout;
    assert!(text.contains("x_d0 = 64 (not given)") && text.contains("formula") && text.contains("peak     dispatch"), "{text}");
    assert_eq!(run(&format!("info {} --memory", f.model)).ok().stdout, text);
    assert_eq!(run(&format!("compile {} --explain memory", f.model)).ok().stdout, text);
}

#[test]
fn fusion_and_patterns_are_explained() {
    let f = &*CLS;
    let v = run(&format!("compile {} --explain fusion --json", f.model)).ok().json();
    let t = &v["targets"][0];
    let dispatches = t["dispatches"].as_array().unwrap();
    assert_eq!(dispatches.len() as i64, run(&format!("info {} --json", f.artifact)).ok().json()["dispatches"].as_i64().unwrap());
    // Every reader of a dispatch is a pair with a reason for each way.
    let refused = t["not_merged"].as_array().unwrap();
    for (k, d) in dispatches.iter().enumerate() {
        for from in d["after"].as_array().unwrap() {
            let pair = refused.iter().find(|p| p["from"] == *from && p["to"] == k);
            assert_eq!(pair.map(|p| p["reasons"].as_array().unwrap().len()), Some(3), "{from} -> {k}");
        }
    }
    let text = run(&format!("compile {} --explain patterns --explain fusion --at x_d0=1", f.model)).ok().stdout;
    assert!(text.contains("hard swish") && text.contains("0 that look like a pattern") && text.contains("x_d0 = 1"), "{text}");
    run(&format!("compile {} --explain speed", f.model)).fails(1, &["speed", "fusion"]);
}

#[test]
fn the_page_shows_every_dispatch_and_no_name_escapes() {
    let f = &*CLS;
    let v = run(&format!("compile {} --explain fusion --json", f.model)).ok().json();
    let dispatches = v["targets"][0]["dispatches"].as_array().unwrap();
    // A node whose name would end the script and open a tag.
    let name = dispatches.iter().find_map(|d| d["nodes"].as_array()?.iter().find_map(|n| n.as_str().filter(|n| n.len() >= 12))).unwrap();
    let evil = format!("</script><b>{}", "x".repeat(name.len() - 12));
    let mut bytes = std::fs::read(&f.model).unwrap();
    for at in 0..bytes.len() - name.len() {
        if bytes[at..].starts_with(name.as_bytes()) {
            bytes[at..at + name.len()].copy_from_slice(evil.as_bytes());
        }
    }
    let (model, page) = (f.place("evil.onnx"), f.place("report.html"));
    std::fs::write(&model, bytes).unwrap();
    run(&format!("viz {} --at x_d0=1 -o {}", model.display(), page.display())).ok();
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("&lt;/script&gt;&lt;b&gt;") && !html.contains("<b>"), "escaped");
    assert_eq!(html.matches("<tr data-n=").count(), dispatches.len());
    for tag in
        ["html", "head", "body", "section", "div", "dl", "dd", "table", "tr", "td", "th", "button", "span", "i", "script", "style", "aside"]
    {
        let open = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(open, html.matches(&format!("</{tag}>")).count(), "<{tag}>");
    }
    assert!(!html.contains("src=") && !html.contains("@import") && !html.contains("url("), "it needs nothing from elsewhere");
    let data = html.split("id=\"data\">").nth(1).and_then(|s| s.split("</script>").next()).unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["dispatches"].as_array().unwrap().len(), dispatches.len());
    assert!(data["memory"]["buffers"].as_array().unwrap().len() > 10);
}
