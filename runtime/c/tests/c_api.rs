//! C programs, compiled and linked with `cc` against `libodc_c.a` and models as object files, as a user would.
//! Without a C compiler the tests say so and do nothing.

#[path = "../../format/tests/sample/mod.rs"]
mod sample;

use odc_format::Arch;
use odc_static::{ObjectFormat, archive, header, write_object};
use sample::sample;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

fn cc() -> Option<String> {
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let there = Command::new(&cc).arg("--version").output().is_ok_and(|o| o.status.success());
    if !there || cfg!(not(all(target_arch = "x86_64", unix))) {
        eprintln!("SKIPPED: the C tests want a C compiler ({cc}) and the sample's x86-64 kernels");
        return None;
    }
    Some(cc)
}

/// Builds the static library with these options; returns its path.
fn library(profile: &str, options: &[&str]) -> PathBuf {
    // This test's own target folder: cargo does not lock it while tests run, and most of it is built already.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "-p", "odc-c", "--profile", profile, "--target-dir"])
        .arg(target)
        .args(options)
        .status();
    assert!(status.expect("cargo runs").success(), "libodc_c.a builds");
    target.join(if profile == "dev" { "debug" } else { profile }).join("libodc_c.a")
}

fn must(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

struct Bench {
    cc: String,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(cc: String) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let sample = sample(Arch::X86_64);
        let artifact = sample.bytes();
        let object = write_object(&artifact, "sample", 0, ObjectFormat::host()).unwrap();
        std::fs::write(dir.path().join("sample.odc"), &artifact).unwrap();
        std::fs::write(dir.path().join("sample.o"), &object).unwrap();
        std::fs::write(dir.path().join("sample.h"), header(&sample.manifest, "sample", 0)).unwrap();
        if ObjectFormat::host() == ObjectFormat::Elf {
            std::fs::write(dir.path().join("libsample.a"), archive(&object, "sample", ObjectFormat::Elf).unwrap()).unwrap();
        }
        Bench { cc, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn compile(&self, source: &str, out: &str, options: &[&str], links: &[&Path]) -> PathBuf {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(&self.cc);
        command.args(["-std=c99", "-Wall", "-Wextra", "-Werror"]).args(options);
        command.arg("-I").arg(here.join("include")).arg("-I").arg(self.dir.path());
        command.arg(here.join("tests/c").join(source)).args(links).arg("-o").arg(self.path(out));
        command.args(["-lpthread", "-ldl", "-lm"]);
        must(&mut command);
        self.path(out)
    }
}

#[test]
fn c_programs_with_std() {
    let Some(cc) = cc() else { return };
    let bench = Bench::new(cc);
    let library = library("dev", &[]);
    let linked = bench.compile("linked.c", "linked", &[], &[&bench.path("sample.o"), &library]);
    for threads in ["1", "2", "3"] {
        assert_eq!(must(Command::new(&linked).arg(threads)), "linked: ok\n");
    }
    let file = bench.compile("file.c", "file", &[], &[&library]);
    assert_eq!(must(Command::new(&file).arg(bench.path("sample.odc"))), "file: ok\n");
    if ObjectFormat::host() == ObjectFormat::Elf {
        let from_archive = bench.compile("linked.c", "archive", &["-fPIE", "-pie"], &[&bench.path("libsample.a"), &library]);
        assert_eq!(must(&mut Command::new(&from_archive)), "linked: ok\n");
    }
}

/// The build without std: the same program, and the size of the smallest one.
#[test]
fn c_programs_without_std() {
    let Some(cc) = cc() else { return };
    let bench = Bench::new(cc);
    let library = library("runtime", &["--no-default-features"]);
    let links = [&*bench.path("sample.o"), &*library];
    let linked = bench.compile("linked.c", "linked", &[], &links);
    assert_eq!(must(Command::new(&linked).arg("1")), "linked: ok\n");
    let small = bench.compile("smallest.c", "smallest", &["-Os", "-s", "-Wl,--gc-sections"], &links);
    must(&mut Command::new(&small));
    let model = std::fs::metadata(bench.path("sample.odc")).unwrap().len();
    let size = std::fs::metadata(&small).unwrap().len();
    println!("smallest program, stripped: {size} bytes, of which about {model} are the model's artifact");
    assert!(size < 180 * 1024, "the runtime has grown to {size} bytes");
}
