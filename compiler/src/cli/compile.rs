//! `odc compile`: a model in, an artifact or an object file out; or one of the stages as text.

use super::explain::{Explain, explain};
use super::model::CompileArgs;
use super::{blobs, print, print_json};
use crate::dims::DimArg;
use crate::explode::explode;
use crate::output::{file_name, make_folder, writable, write_bytes, write_file};
use crate::problem::{Failure, Problem};
use crate::{Compiled, Exit, KernelText, Stage, report};
use crate::{show, typescript};
use odc_backend::Codegen;
use odc_static::ObjectFormat;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Compile a model
#[derive(clap::Args)]
#[command(after_help = "\
The suffix of OUT says what it becomes:
  .odc   an artifact, for the runtime and for `odc run`
  .o .a  an object file or archive for a C program to link, with a header .h beside it
  .ts    TypeScript types of the inputs and outputs, for the browser runtime
  DIR/   a folder of readable files: manifest.json, kernels/, weights.bin

Examples:
  odc compile model.onnx -t cpu -o model.odc
  odc compile model.onnx -O3 --dim batch=1 --dim \"seq in 1..512\" -o model.odc
  odc compile model.onnx -o model.o
  odc compile model.onnx -t metal,wgsl,spirv,cpu -o model.odc
  odc compile model.onnx -t wgsl --emit wgsl | less
  odc compile model.onnx -o model.odc --dump stages/
  odc compile model.onnx --explain fusion --at batch=1")]
pub struct Args {
    /// An ONNX model
    model: PathBuf,
    #[command(flatten)]
    compile: CompileArgs,
    /// Where the result goes
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Write every stage as text into a folder
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
    /// Print one stage instead of compiling to the end; -o gives it a file
    #[arg(long, value_name = "STAGE")]
    emit: Option<Emit>,
    /// Say why the result is as it is
    #[arg(long, value_name = "WHAT")]
    explain: Vec<Explain>,
    /// The size of a dim, for what --explain says in numbers
    #[arg(long, value_name = "N=4", requires = "explain")]
    at: Vec<DimArg>,
    /// Say in JSON what came out
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Emit {
    /// Graph IR, canonicalised
    Graph,
    /// Tensor IR, as dispatches with their schedules
    Tensor,
    /// Loop IR, one function a kernel
    Loop,
    /// Cranelift's IR of the kernels
    Clif,
    /// LLVM's IR of the kernels
    Ll,
    /// Machine code as assembly
    Asm,
    /// GPU kernels in WGSL
    Wgsl,
    /// GPU kernels in Metal's language
    Msl,
    /// GPU kernels in SPIR-V, disassembled
    Spirv,
}

impl Emit {
    /// What to compile for where the command line does not say.
    fn target(self) -> Option<&'static str> {
        match self {
            Emit::Wgsl => Some("wgsl"),
            Emit::Msl => Some("metal"),
            Emit::Spirv => Some("spirv"),
            Emit::Graph | Emit::Tensor | Emit::Loop | Emit::Clif | Emit::Ll | Emit::Asm => None,
        }
    }
    /// Who must make code for it to be there.
    fn codegen(self) -> Option<Codegen> {
        Codegen::ALL.into_iter().find(|c| match self {
            Emit::Clif => *c == Codegen::Cranelift,
            Emit::Ll => *c == Codegen::Llvm,
            Emit::Graph | Emit::Tensor | Emit::Loop | Emit::Asm | Emit::Wgsl | Emit::Msl | Emit::Spirv => false,
        })
    }
}

enum Kind {
    Artifact,
    Object,
    Archive,
    Types,
    Folder,
}

fn kind(path: &Path) -> Result<Kind, Failure> {
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Ok(Kind::Folder);
    }
    match path.extension().and_then(|e| e.to_str()) {
        Some("ts") => Ok(Kind::Types),
        Some("odc") => Ok(Kind::Artifact),
        Some("o" | "obj") => Ok(Kind::Object),
        Some("a" | "lib") => Ok(Kind::Archive),
        None if path.is_dir() => Ok(Kind::Folder),
        _ => {
            let what = format!("{}: the suffix does not say what it should become", path.display());
            Err(Problem::usage(what).help("end it in .odc (artifact), .o (object file), .a (archive), .ts (types) or / (a folder)").into())
        }
    }
}

pub fn run(args: &Args) -> Result<(), Failure> {
    // What the command line gets wrong is said before minutes of work.
    let kind = match (&args.output, args.emit) {
        (Some(path), None) => {
            let kind = kind(path)?;
            if !matches!(kind, Kind::Folder) {
                writable(path)?;
            }
            Some((path, kind))
        }
        (None, None) if args.dump.is_none() && args.explain.is_empty() => {
            return Err(Problem::usage("where should the result go?")
                .help("add -o MODEL.odc, --emit STAGE, --explain WHAT or --dump DIR")
                .into());
        }
        _ => None,
    };
    let mut how = args.compile.clone();
    if let (Some(emit), true) = (args.emit, how.target.is_empty()) {
        how.target.extend(emit.target().map(String::from));
    }
    if let Some(codegen) = args.emit.and_then(Emit::codegen) {
        how.codegen = Some(codegen.name().into());
    }
    let start = std::time::Instant::now();
    let compiled = super::model::compile(&args.model, &how)?;
    if let Some(folder) = &args.dump {
        dump(&compiled, folder)?;
    }
    args.explain.iter().try_for_each(|what| explain(&compiled, *what, &args.at, args.json))?;
    if let Some(emit) = args.emit {
        let text = emitted(&compiled, emit)?;
        return match &args.output {
            Some(path) => Ok(write_bytes(path, text.as_bytes())?),
            None => print(text.trim_end()),
        };
    }
    let Some((path, kind)) = kind else {
        return Ok(());
    };
    match kind {
        Kind::Artifact => write_artifact(&compiled, path)?,
        Kind::Types => {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("model");
            let name = name.trim_end_matches(".ts").trim_end_matches(".d");
            write_bytes(path, typescript::types(compiled.manifest(), name).as_bytes())?;
        }
        Kind::Folder => explode(&compiled, path).map_err(|problems| Failure { exit: Exit::Compile, problems })?,
        Kind::Object | Kind::Archive => write_object(&compiled, path, matches!(kind, Kind::Archive))?,
    }
    describe(&compiled, path, start.elapsed().as_secs_f64(), args.json)
}

fn write_artifact(compiled: &Compiled, path: &Path) -> Result<(), Failure> {
    let mut invalid = None;
    write_file(path, |w| {
        compiled.write_artifact(w).map_err(|e| match e {
            odc_format::WriteError::Sink(e) => e,
            odc_format::WriteError::Format(e) => {
                let io = std::io::Error::other(e.to_string());
                invalid = Some(e);
                io
            }
        })
    })
    .map_err(|e| match invalid.take() {
        Some(format) => format.into(),
        None => e.into(),
    })
}

fn write_object(compiled: &Compiled, path: &Path, archive: bool) -> Result<(), Failure> {
    let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or("model");
    let refuse = |e: odc_static::StaticError| Failure::new(Exit::Compile, Problem::new("ODC0500", e));
    let format = ObjectFormat::host();
    let object = odc_static::write_object(&compiled.artifact_bytes()?, name, 0, format).map_err(refuse)?;
    let bytes = if archive { odc_static::archive(&object, name, format).map_err(refuse)? } else { object };
    write_bytes(path, &bytes)?;
    write_bytes(&path.with_extension("h"), odc_static::header(compiled.manifest(), name, 0).as_bytes())?;
    Ok(())
}

fn emitted(compiled: &Compiled, emit: Emit) -> Result<String, Failure> {
    Ok(match emit {
        Emit::Graph => compiled.stage_text(Stage::Canonical),
        Emit::Tensor => compiled.stage_text(Stage::Dispatches),
        Emit::Loop => compiled.stage_text(Stage::Loop),
        Emit::Clif => joined(compiled, "clif", ";")?,
        Emit::Ll => joined(compiled, "ll", ";")?,
        Emit::Asm => joined(compiled, "asm", ";")?,
        Emit::Wgsl => joined(compiled, "wgsl", "//")?,
        Emit::Msl => joined(compiled, "msl", "//")?,
        Emit::Spirv => joined(compiled, "spvasm", ";")?,
    })
}

fn texts(compiled: &Compiled) -> Result<Vec<KernelText>, Failure> {
    compiled.kernel_texts().map_err(|problems| Failure { exit: Exit::Compile, problems })
}

/// All kernels in a language, each after a comment with its name.
fn joined(compiled: &Compiled, language: &str, comment: &str) -> Result<String, Failure> {
    let texts = texts(compiled)?.into_iter().filter(|k| k.language == language);
    Ok(texts.map(|k| format!("{comment} {} for {}\n{}", k.name, k.target, k.text)).collect::<Vec<_>>().join("\n"))
}

/// Bytes of a file, or of all files in a folder.
fn bytes_of(path: &Path) -> u64 {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|e| bytes_of(&e.path())).sum(),
        Err(_) => std::fs::metadata(path).map_or(0, |m| m.len()),
    }
}

/// `NN-stage.odc-ir` with its constants in `blobs`, and a folder with the kernels: `odc opt` starts again from any of them. What the
/// e-graph weighed is in `egraph.txt`.
fn dump(compiled: &Compiled, folder: &Path) -> Result<(), Failure> {
    make_folder(folder)?;
    for (n, build) in compiled.builds().enumerate() {
        for (k, stage) in Stage::ALL.iter().enumerate() {
            // The first machine's files have the plain names; what all share is written once.
            let of = if n == 0 { String::new() } else { format!("-{n}-{}", build.machine) };
            if n == 0 || !stage.is_shared() {
                write_bytes(&folder.join(format!("{k:02}-{stage}{of}.odc-ir")), compiled.stage_text_of(*stage, build).as_bytes())?;
            }
        }
        if !build.decisions.is_empty() {
            write_bytes(&folder.join("egraph.txt"), report::egraph_text(build).as_bytes())?;
        }
    }
    blobs::write(
        folder,
        compiled
            .graph
            .consts
            .iter()
            .chain(&compiled.canonical.consts)
            .chain(compiled.builds().flat_map(|b| b.tensor.consts.iter().chain(&b.dispatches.consts).chain(&b.program.consts))),
    )?;
    let kernels = folder.join(format!("{:02}-kernels", Stage::ALL.len()));
    make_folder(&kernels)?;
    let texts = texts(compiled)?;
    let several = compiled.targets.len() > 1;
    let mut numbers = BTreeMap::new();
    for text in &texts {
        let n = numbers.entry((&text.target, text.language)).and_modify(|n| *n += 1).or_insert(0usize);
        let name = file_name(&format!("{n:03}-{}", text.name));
        // One folder a target where there are several.
        let folder = if several { kernels.join(file_name(&text.target)) } else { kernels.clone() };
        make_folder(&folder)?;
        write_bytes(&folder.join(format!("{name}.{}", text.language)), text.text.as_bytes())?;
    }
    Ok(())
}

fn describe(compiled: &Compiled, path: &Path, seconds: f64, json: bool) -> Result<(), Failure> {
    let s = compiled.summary();
    let file_bytes = bytes_of(path);
    if json {
        return print_json(&json!({
            "output": path.display().to_string(), "file_bytes": file_bytes, "compile_ms": seconds * 1e3, "kernels": s.kernels,
            "dispatches": s.dispatches, "weight_bytes": s.weight_bytes, "code_bytes": s.code_bytes, "arena": s.arena,
            "f16_weights": compiled.compressed().map(|c| json!({
                "halved": c.halved, "from_bytes": c.from_bytes, "to_bytes": c.to_bytes, "largest_error": c.largest_error, "kept": c.kept,
            })),
        }));
    }
    let arena = match s.arena.parse::<u64>() {
        Ok(n) => show::bytes(n),
        Err(_) => "a formula of the dims (see `odc info`)".into(),
    };
    // Not a result that another program reads: the result is the file.
    let _ = writeln!(
        std::io::stderr(),
        "{}: {}, {} dispatches of {} kernels ({} of code), {} of weights, arena {}; {seconds:.2} s",
        path.display(),
        show::bytes(file_bytes),
        s.dispatches,
        s.kernels,
        show::bytes(s.code_bytes),
        show::bytes(s.weight_bytes),
        arena,
    );
    if let Some(c) = compiled.compressed() {
        let kept: String = c.kept.iter().map(|(why, n)| format!("; {n} kept as f32: {why}")).collect();
        let (from, to) = (show::bytes(c.from_bytes), show::bytes(c.to_bytes));
        let _ = writeln!(
            std::io::stderr(),
            "weights as f16: {} constants, {from} as {to}, off by {:.1e} of a constant's largest value at most{kept}",
            c.halved,
            c.largest_error,
        );
    }
    Ok(())
}
