//! Compiles kernels, several to a shared object, in parallel, and keeps the objects by the hash of what went into them.

use crate::{ShimError, signature};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Kernels in one shared object: the headers cost as much as a dozen kernels.
pub const CHUNK: usize = 16;

/// Metal has no double and does not contract; runtime arrays are declared with length 1 and indexed beyond.
const FLAGS: &str = "-std=c++17 -O2 -march=native -fPIC -shared -w -ffp-contract=off -fno-math-errno -fno-strict-aliasing \
                     -fwrapv -fvisibility=hidden -U_FORTIFY_SOURCE";
const GCC_FLAGS: &str = "-fsingle-precision-constant -fno-aggressive-loop-optimizations -fno-gnu-unique";
const CLANG_FLAGS: &str = "-Xclang -cl-single-precision-constant -Wno-everything";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include")
}

fn io(path: &Path, e: &std::io::Error) -> ShimError {
    ShimError::Io { path: path.display().to_string(), text: e.to_string() }
}

struct Compiler {
    program: String,
    flags: Vec<&'static str>,
    /// Its version and flags, and the headers: part of the hash.
    what: String,
}

/// `$ODC_CXX`, g++ or clang++.
fn compiler() -> Result<Compiler, ShimError> {
    let wish = std::env::var("ODC_CXX").ok();
    let programs = wish.map_or_else(|| ["g++", "clang++", "c++"].map(String::from).to_vec(), |w| vec![w]);
    for program in programs {
        let Ok(out) = Command::new(&program).arg("--version").output() else { continue };
        let version = String::from_utf8_lossy(&out.stdout).to_string();
        let own = if version.contains("clang") { CLANG_FLAGS } else { GCC_FLAGS };
        let flags: Vec<_> = FLAGS.split_whitespace().chain(own.split_whitespace()).collect();
        let mut what = format!("{version}{flags:?}");
        let mut headers: Vec<_> = ["metal_stdlib", "simd/simd.h"].map(String::from).to_vec();
        headers.extend(["half", "vec", "math", "atomic", "fibers", "simdgroup", "launch"].map(|h| format!("odc_shim/{h}.h")));
        for h in headers {
            let path = folder().join(h);
            what += &std::fs::read_to_string(&path).map_err(|e| io(&path, &e))?;
        }
        return Ok(Compiler { program, flags, what });
    }
    Err(ShimError::NoCompiler)
}

/// The shared objects of these kernels (text, entry point), [`CHUNK`] kernels each, in order.
pub fn objects(kernels: &[(&str, &str)]) -> Result<Vec<PathBuf>, ShimError> {
    let compiler = compiler()?;
    let sources = kernels.chunks(CHUNK).map(source).collect::<Result<Vec<_>, _>>()?;
    let (next, results) = (AtomicUsize::new(0), Mutex::new(vec![None; sources.len()]));
    let work = || {
        while let Some((k, text)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|k| Some((k, sources.get(k)?))) {
            let result = object(&compiler, text);
            results.lock().unwrap_or_else(|e| e.into_inner())[k] = Some(result);
        }
    };
    std::thread::scope(|s| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get()).min(sources.len()) {
            s.spawn(work);
        }
    });
    results.into_inner().unwrap_or_else(|e| e.into_inner()).into_iter().flatten().collect()
}

/// A C++ file with each kernel in a namespace of its own and a function `odc_shim_run_K` for it.
fn source(kernels: &[(&str, &str)]) -> Result<String, ShimError> {
    let mut out = String::from("#include <metal_stdlib>\n");
    for (k, (msl, entry)) in kernels.iter().enumerate() {
        let call = signature::launch(msl, entry, &format!("k{k}"))?;
        let _ = write!(
            out,
            "namespace k{k} {{\n#line 1 \"{entry}.metal\"\n{msl}\n}}\nextern \"C\" __attribute__((visibility(\"default\"))) char const* \
             odc_shim_run_{k}(odc_shim::Launch const* launch) {{\n    return {call};\n}}\n"
        );
    }
    Ok(out)
}

/// Compiles one file, unless that was done before.
fn object(compiler: &Compiler, text: &str) -> Result<PathBuf, ShimError> {
    let folder_of_objects = cache()?;
    let hash = xxhash_rust::xxh3::xxh3_128(format!("{}{text}", compiler.what).as_bytes());
    let object = folder_of_objects.join(format!("{hash:032x}.so"));
    if object.is_file() {
        return Ok(object);
    }
    // Under a name of its own first: another process may want the same one.
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let own = format!("{hash:032x}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let (cpp, temporary) = (folder_of_objects.join(format!("{own}.cpp")), folder_of_objects.join(format!("{own}.so")));
    std::fs::write(&cpp, text).map_err(|e| io(&cpp, &e))?;
    let out = Command::new(&compiler.program).args(&compiler.flags).arg("-I").arg(folder()).arg(&cpp).arg("-o").arg(&temporary).output();
    let out = out.map_err(|e| io(Path::new(&compiler.program), &e))?;
    let _ = std::fs::remove_file(&cpp);
    if !out.status.success() {
        let text: String = String::from_utf8_lossy(&out.stderr).lines().take(40).map(|l| format!("{l}\n")).collect();
        return Err(ShimError::Compile { text });
    }
    std::fs::rename(&temporary, &object).map_err(|e| io(&object, &e))?;
    Ok(object)
}

/// Beside the test program, so that it goes with the other build outputs.
fn cache() -> Result<PathBuf, ShimError> {
    let program = std::env::current_exe().map_err(|e| io(Path::new("the test program"), &e))?;
    let folder = program.parent().unwrap_or(Path::new(".")).join("metal-shim");
    std::fs::create_dir_all(&folder).map_err(|e| io(&folder, &e))?;
    Ok(folder)
}
