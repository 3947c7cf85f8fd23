//! Hand-made artifacts through the whole runtime: machine code on x86-64, function pointers everywhere.

#[path = "../format/tests/sample/mod.rs"]
mod sample;

use odc_format::{Arch, BufferRef, Command, DType, Device, GpuLimits, Instr, Language, Loop, Slot};
use odc_runtime::{Artifact, KernelFn, LoadError, RunError, Session, SessionOptions, TensorView};
use proptest::prelude::*;
use sample::{GRAIN, Sample, WEIGHT};
use std::sync::Arc;

macro_rules! kernel {
    (fn $name:ident($buffers:ident, $dims:ident, $scratch:ident, $begin:ident, $end:ident) $body:block) => {
        #[cfg(target_arch = "x86_64")]
        unsafe extern "sysv64" fn $name($buffers: *const *mut u8, $dims: *const i64, $scratch: *mut u8, $begin: i64, $end: i64) {
            unsafe { $body }
        }
        #[cfg(not(target_arch = "x86_64"))]
        unsafe extern "C" fn $name($buffers: *const *mut u8, $dims: *const i64, $scratch: *mut u8, $begin: i64, $end: i64) {
            unsafe { $body }
        }
    };
}

kernel! { fn scale(b, d, s, begin, end) {
    assert!(s.addr().is_multiple_of(64));
    let (x, w, y) = ((*b).cast::<f32>(), (*b.add(1)).cast::<f32>(), (*b.add(2)).cast::<f32>());
    for i in begin as usize..end as usize {
        *y.add(i) = *x.add(i) * *w.add(i % *d as usize);
    }
}}

kernel! { fn row_sum(b, d, s, begin, end) {
    let (x, y, s, cols) = ((*b).cast::<f32>(), (*b.add(1)).cast::<f32>(), s.cast::<f32>(), *d as usize);
    for r in begin as usize..end as usize {
        *s = 0.0;
        for c in 0..cols {
            *s += *x.add(r * cols + c);
        }
        *y.add(r) = *s;
    }
}}

static KERNELS: [KernelFn; 2] = [scale, row_sum];

fn host_sample() -> Sample {
    sample::sample(Arch::host().expect("the tests run on x86-64 and aarch64"))
}

fn linked(sample: Sample) -> Artifact {
    let bytes: &'static [u8] = sample.linked().bytes().leak();
    // SAFETY: the sample's kernels.
    unsafe { Artifact::from_static(bytes, &KERNELS) }.unwrap()
}

/// Every way to get the sample's kernels that this machine has.
fn artifacts() -> Vec<Artifact> {
    let mut all = vec![linked(host_sample())];
    if cfg!(target_arch = "x86_64") {
        all.push(Artifact::from_bytes(host_sample().bytes()).unwrap());
    }
    all
}

fn check(session: &mut Session, rows: usize) {
    let x: Vec<f32> = (0..rows * 3).map(|i| (i % 17) as f32 - 8.0).collect();
    let scaled: Vec<f32> = x.iter().enumerate().map(|(i, v)| v * WEIGHT[i % 3]).collect();
    let sums: Vec<f32> = scaled.chunks(3).map(|row| row.iter().sum()).collect();
    let shape = [rows, 3];
    let outputs = session.run(&[("x", TensorView::of(&shape, &x))]).unwrap();
    let names: Vec<_> = outputs.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["scaled", "sum", "x_again", "w"]);
    let f = |name| outputs.get(name).unwrap().as_slice::<f32>().unwrap();
    assert_eq!(f("scaled"), scaled);
    assert_eq!(f("sum"), sums);
    assert_eq!(f("x_again").as_ptr(), x.as_ptr(), "an input passes through in place");
    assert_eq!(f("w"), WEIGHT);
    assert_eq!(outputs.get("scaled").unwrap().shape, shape);
    assert_eq!(outputs.get("sum").unwrap().shape, [rows]);
    assert!(outputs.get("scaled").unwrap().as_slice::<i32>().is_none());
    assert!(outputs.get("nope").is_none() && outputs.at(4).is_none());
}

#[test]
fn runs_on_any_number_of_threads() {
    for artifact in artifacts() {
        for threads in [1, 2, 3, 7] {
            let mut session = artifact.session(SessionOptions::threads(threads)).unwrap();
            for rows in [1, 2, GRAIN as usize + 1, 1000, 3, 40_000, 1000] {
                check(&mut session, rows);
            }
        }
    }
}

#[test]
fn sessions_share_an_artifact_across_threads() {
    for artifact in artifacts() {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let mut session = artifact.session(SessionOptions::threads(2)).unwrap();
                scope.spawn(move || (1..200).for_each(|rows| check(&mut session, rows)));
            }
        });
    }
}

/// Many short dispatches with pauses: workers fall asleep and are woken, come late, and never lose a chunk.
#[test]
fn pool_wakes_and_sleeps() {
    let artifact = linked(host_sample());
    let mut session = artifact.session(SessionOptions::threads(4)).unwrap();
    for i in 0..3000 {
        check(&mut session, 20 + i % 5);
        if i % 500 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
    }
}

#[test]
fn opens_files_and_unaligned_memory() {
    let bytes = host_sample().bytes();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.odc");
    std::fs::write(&path, &bytes).unwrap();
    let mut shifted = vec![0; 1];
    shifted.extend(&bytes);
    let shifted: &'static [u8] = &shifted.leak()[1..];
    let opened = [Artifact::open(&path), Artifact::from_bytes(shifted), Artifact::from_bytes(Arc::<[u8]>::from(bytes))];
    for artifact in opened {
        let artifact = artifact.unwrap();
        artifact.verify_weights().unwrap();
        if cfg!(target_arch = "x86_64") {
            check(&mut artifact.session(SessionOptions::default()).unwrap(), 30);
        }
    }
    let missing = Artifact::open(dir.path().join("none.odc")).err().unwrap();
    assert!(missing.to_string().contains("none.odc") && missing.code() == "ODC0640", "{missing}");
    assert_eq!(Artifact::open(dir.path()).err().unwrap().code(), "ODC0640");
    std::fs::write(&path, b"").unwrap();
    assert_eq!(Artifact::open(&path).err().unwrap().code(), "ODC0650");
}

#[test]
fn knows_its_memory_before_and_after() {
    let artifact = linked(host_sample());
    assert_eq!(artifact.arena_bytes_at(&[("n", 10)]), Some(256));
    assert_eq!(artifact.arena_bytes_at(&[]), None);
    assert_eq!(artifact.weight_bytes(), 268);
    let mut session = artifact.session(SessionOptions::threads(2)).unwrap();
    assert_eq!(session.memory().arena, None);
    assert_eq!(session.memory().allocated, 0);
    check(&mut session, 100);
    let large = session.memory().allocated;
    check(&mut session, 10);
    let memory = session.memory();
    assert_eq!((memory.arena, memory.scratch_per_thread, memory.threads), (Some(256), 64, 2));
    assert_eq!(memory.allocated, large, "a smaller shape keeps the arena");
    assert_eq!(large, 1216 + 2 * 448 + 2 * 64);
    assert!(memory.arena_formula.contains("12*n"));
}

fn refusal(inputs: &[(&str, TensorView)]) -> RunError {
    let artifact = linked(host_sample());
    let mut session = artifact.session(SessionOptions::default()).unwrap();
    let error = session.run(inputs).err().expect("must be refused");
    check(&mut session, 5);
    error
}

#[test]
fn wrong_inputs_are_typed_errors() {
    let x = [0f32; 6];
    let good = TensorView::of(&[2, 3], &x);
    let bytes = good.data;
    let long = [0u8; 32];
    let odd = &long[usize::from(long.as_ptr().addr() % 2 == 0)..][..24];
    let ints = [0i32; 6];
    type Inputs<'a> = Vec<(&'a str, TensorView<'a>)>;
    let cases: Vec<(&str, &str, Inputs)> = vec![
        ("ODC0601", "missing input x: f32[n, 3]; the model wants x: f32[n, 3]", vec![]),
        ("ODC0601", "missing input x", vec![("y", good)]),
        ("ODC0602", "no input \"y\"; it wants x: f32[n, 3]", vec![("x", good), ("y", good)]),
        ("ODC0603", "\"x\" is given twice", vec![("x", good), ("x", good)]),
        ("ODC0604", "\"x\" is i32, the model wants x: f32[n, 3]", vec![("x", TensorView::of(&[2, 3], &ints))]),
        ("ODC0605", "shape [6] of rank 1", vec![("x", TensorView::of(&[6], &x))]),
        ("ODC0606", "shape [3, 2]: axis 1 is 2, not 3", vec![("x", TensorView::of(&[3, 2], &x))]),
        ("ODC0607", "dim \"n\" is 0, the model wants 1..100000", vec![("x", TensorView::of::<f32>(&[0, 3], &[]))]),
        ("ODC0607", "dim \"n\"", vec![("x", TensorView::of(&[i64::MAX as usize, 3], &x))]),
        ("ODC0611", "\"x\" has shape [18446744073709551615, 3]", vec![("x", TensorView::of(&[usize::MAX, 3], &x))]),
        ("ODC0608", "too many elements", vec![("x", TensorView::of(&[70_000, 3], &x))]),
        ("ODC0609", "[4, 3] needs 48 bytes of data, 24 were given", vec![("x", TensorView::of(&[4, 3], &x))]),
        ("ODC0609", "25 were given", vec![("x", TensorView::new(DType::F32, &[2, 3], &long[..25]))]),
        ("ODC0610", "aligned to 4 bytes", vec![("x", TensorView::new(DType::F32, &[2, 3], odd))]),
    ];
    assert_eq!(bytes.len(), 24);
    for (code, text, inputs) in cases {
        let error = refusal(&inputs);
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(text), "{error} does not say \"{text}\"");
    }
}

fn with(edit: impl Fn(&mut Sample)) -> Result<Artifact, LoadError> {
    let mut sample = host_sample();
    edit(&mut sample);
    Artifact::from_bytes(sample.bytes())
}

#[test]
fn programs_for_other_machines_are_refused() {
    let host = Arch::host().unwrap();
    let device = |arch, features: &[&str]| Device::Cpu { arch, features: features.iter().map(|f| f.to_string()).collect() };
    let error = with(|s| s.manifest.targets[0].device = device(host, &["sse2", "warp-drive"])).err().unwrap();
    assert_eq!(error.code(), "ODC0641");
    assert!(error.to_string().contains("warp-drive") && !error.to_string().contains("sse2,"), "{error}");
    let other = if cfg!(target_arch = "x86_64") { Arch::Aarch64 } else { Arch::X86_64 };
    let error = with(|s| s.manifest.targets[0].device = device(other, &[])).err().unwrap();
    assert!(error.to_string().contains(other.name()), "{error}");
    let error = with(|s| {
        let target = &mut s.manifest.targets[0];
        target.device = Device::Gpu { language: Language::Msl, features: vec![], limits: GpuLimits::default() };
        target.kernels.clear();
        target.commands.clear();
    });
    let error = error.err().unwrap();
    assert_eq!(error.code(), "ODC0641");
    let linked = host_sample().linked().bytes();
    assert_eq!(Artifact::from_bytes(linked.clone()).err().unwrap().code(), "ODC0642");
    // SAFETY: refused before any call.
    let error = unsafe { Artifact::from_static(linked.leak(), &KERNELS[..1]) }.err().unwrap();
    assert_eq!(error.code(), "ODC0643");
}

#[test]
fn takes_the_first_program_that_fits() {
    let artifact = with(|s| {
        let mut fancy = s.manifest.targets[0].clone();
        if let Device::Cpu { features, .. } = &mut fancy.device {
            features.push("warp-drive".into());
        }
        s.manifest.targets.insert(0, fancy);
    });
    let artifact = artifact.unwrap();
    assert!(matches!(&artifact.target().device, Device::Cpu { features, .. } if features.is_empty()));
    if cfg!(target_arch = "x86_64") {
        check(&mut artifact.session(SessionOptions::default()).unwrap(), 4);
    }
}

/// Manifests that are valid as such, but whose sizes do not fit each other once the shapes are known.
#[test]
fn plans_outside_the_arena_are_refused() {
    type Edit = fn(&mut Sample, Slot);
    let edits: [(&str, Edit); 6] = [
        ("the arena, which has 0", |s, zero| s.manifest.targets[0].arena_bytes = zero),
        ("command 1", |s, _| {
            let n = s.manifest.symbols[0].slot;
            s.manifest.targets[0].arena_bytes = n;
        }),
        ("command 2", |s, _| {
            let at = s.manifest.targets[0].arena_bytes;
            let Command::Copy { src, .. } = &mut s.manifest.targets[0].commands[2] else { panic!() };
            *src = BufferRef::Arena { offset: at };
        }),
        ("a weight, which has 12", |s, _| {
            let Command::Copy { src, .. } = &mut s.manifest.targets[0].commands[2] else { panic!() };
            *src = BufferRef::Weight { index: 1, offset: 8 };
        }),
        ("an input", |s, _| {
            let arena = s.manifest.targets[0].arena_bytes;
            let Command::Copy { src, bytes, .. } = &mut s.manifest.targets[0].commands[2] else { panic!() };
            (*src, *bytes) = (BufferRef::Input(0), arena);
        }),
        ("a weight", |s, _| s.manifest.targets[0].outputs[0] = BufferRef::Weight { index: 0, offset: 0 }),
    ];
    let constant = |s: &Sample, v| {
        let at = s.manifest.shape_program.instrs.iter().position(|i| *i == odc_format::Instr::Const(v));
        Slot(at.unwrap() as u32)
    };
    for (text, edit) in edits {
        let mut s = host_sample();
        let zero = constant(&s, 0);
        edit(&mut s, zero);
        let mut session = linked(s).session(SessionOptions::default()).unwrap();
        let x = [0f32; 60];
        let error = session.run(&[("x", TensorView::of(&[20, 3], &x))]).err().expect(text);
        assert_eq!(error.code(), "ODC0613", "{error}");
        assert!(error.to_string().contains(text), "{error} does not say \"{text}\"");
    }
}

#[test]
fn too_many_threads_is_an_error() {
    let error = linked(host_sample()).session(SessionOptions::threads(1_000_000)).err().unwrap();
    assert_eq!(error.code(), "ODC0646");
}

/// The sample with a loop behind it that does nothing, for ever.
fn endless() -> Artifact {
    let mut s = host_sample();
    let instrs = &mut s.manifest.shape_program.instrs;
    instrs.push(Instr::Const(i64::MAX));
    let trips = Slot(instrs.len() as u32 - 1);
    let body = Loop { trips, limit: None, condition: None, iteration: None, carried: vec![], moving: vec![] };
    s.manifest.targets[0].commands.extend([Command::Loop(body), Command::End]);
    linked(s)
}

#[test]
fn loops_without_an_end_are_stopped() {
    let x = [0f32; 6];
    let inputs = [("x", TensorView::of(&[2, 3], &x))];
    let mut session = endless().session(SessionOptions::default().iterations(1000)).unwrap();
    let error = session.run(&inputs).err().unwrap();
    assert_eq!(error, RunError::Endless { limit: 1000 });

    let mut session = endless().session(SessionOptions::default().iterations(u64::MAX)).unwrap();
    let canceller = session.canceller();
    let other = std::thread::spawn(move || canceller.cancel());
    assert_eq!(session.run(&inputs).err().unwrap().code(), "ODC0616");
    other.join().unwrap();
    let mut session = linked(host_sample()).session(SessionOptions::default()).unwrap();
    session.canceller().cancel();
    assert_eq!(session.run(&inputs).err(), Some(RunError::Cancelled));
    // One run only.
    check(&mut session, 2);
}

proptest! {
    /// Whatever shapes come, each is computed right or refused, in one session.
    #[test]
    fn any_sequence_of_shapes(rows in proptest::collection::vec(1usize..300, 1..40), threads in 1usize..4) {
        let mut session = linked(host_sample()).session(SessionOptions::threads(threads)).unwrap();
        for rows in rows {
            check(&mut session, rows);
        }
    }
}
