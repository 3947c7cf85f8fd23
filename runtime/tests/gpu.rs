//! A hand-written artifact on whatever GPU is here: results, the caller's buffers and encoder, and what a run makes.

#[path = "gpu_sample/mod.rs"]
mod gpu_sample;

use gpu_sample::{Case, Sample, device, load, sample};
use odc_runtime::{
    ArtifactBytes,
    gpu::{Counters, GpuInput, GpuModel, GpuOptions, GpuSession, memory_at, wgpu},
};
use wgpu::BufferUsages as Usage;

#[test]
fn right_results_at_any_size() {
    let Some(model) = load(&sample()) else { return };
    let mut session = GpuSession::new(&model);
    // 70,000 rows are more workgroups than one axis has
    for (seed, n) in [1, 2, 5, 100, 0, 1001, 70_000, 3, 1].into_iter().enumerate() {
        let case = Case::new(n, seed);
        let mut outputs = session.run(&case.inputs()).unwrap();
        assert_eq!(outputs.read("sum").unwrap().view().as_slice::<f32>().unwrap(), case.sum());
        case.check(&outputs.read_all().unwrap());
        case.check(&session.read_all().unwrap());
    }
}

#[test]
fn spirv_goes_to_the_driver_as_it_is() {
    let sample = sample().with_spirv();
    let Some((device, queue)) = device(&sample, &GpuOptions::default()) else { return };
    if !device.features().contains(wgpu::Features::PASSTHROUGH_SHADERS) {
        assert_ne!(device.adapter_info().backend, wgpu::Backend::Vulkan);
        return eprintln!("SKIPPED: this device takes no SPIR-V");
    }
    for (options, target) in [(GpuOptions::default(), "spirv"), (GpuOptions::default().target("wgsl").trusted(true), "wgsl")] {
        let model = GpuModel::load(sample.bytes(), &device, &queue, options).unwrap();
        assert_eq!(model.target().target, target);
        let case = Case::new(333, 1);
        case.check(&GpuSession::new(&model).run(&case.inputs()).unwrap().read_all().unwrap());
    }
}

#[test]
fn nothing_is_made_after_load() {
    let Some(model) = load(&sample()) else { return };
    let loaded = model.counters();
    assert_eq!((loaded.pipelines, loaded.bind_groups, loaded.dispatches), (2, 0, 0));
    assert_eq!(loaded.buffer_bytes, 512, "two small weights; the one of another target stays away");
    let mut session = GpuSession::new(&model);
    let (small, large) = (Case::new(52, 0), Case::new(400, 1));
    session.prepare(&large.shapes()).unwrap();
    session.prepare(&small.shapes()).unwrap();
    session.run(&small.inputs()).unwrap().read_all().unwrap();
    session.run(&large.inputs()).unwrap().read_all().unwrap();
    let before = session.counters();
    for case in [&small, &large, &small, &small, &large] {
        session.run(&case.inputs()).unwrap();
    }
    let runs = session.counters() - before;
    let writes = 5 * 2;
    assert_eq!(runs, Counters { submits: 5, passes: 5, dispatches: 15, copies: 10, writes, ..Counters::default() });
    large.check(&session.read_all().unwrap());
    let read = session.counters() - before - runs;
    assert_eq!(read, Counters { submits: 1, ..Counters::default() });
    assert_eq!(model.counters(), loaded);
}

#[test]
fn a_prepared_run_is_like_the_next_one() {
    let Some(model) = load(&sample()) else { return };
    let mut session = GpuSession::new(&model);
    let case = Case::new(7, 0);
    session.prepare(&case.shapes()).unwrap();
    assert_eq!(session.output("y").unwrap_err().code(), "ODC0730", "prepared is not run");
    let before = session.counters();
    case.check(&session.run(&case.inputs()).unwrap().read_all().unwrap());
    let made = session.counters() - before;
    assert_eq!((made.buffers, made.bind_groups), (1, 0), "only the staging buffer");
}

fn buffer(device: &wgpu::Device, size: u64, usage: Usage) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
}

const ANY: Usage = Usage::STORAGE.union(Usage::COPY_SRC).union(Usage::COPY_DST);

#[test]
fn records_into_the_callers_encoder_on_the_callers_buffers() {
    let Some(model) = load(&sample()) else { return };
    let (device, queue) = (model.device(), model.queue());
    let mut session = GpuSession::new(&model);
    // 10 rows: 120 bytes, no multiple of 16; the output lies inside a larger buffer
    let (n, offset) = (10usize, 256u64);
    let upload = buffer(device, 120, Usage::COPY_SRC | Usage::COPY_DST);
    let (x, y) = (buffer(device, 120, ANY), [buffer(device, offset + 120, ANY), buffer(device, offset + 120, ANY)]);
    let mut before = Counters::default();
    for round in 0..6 {
        let case = Case::new(n, round);
        let bytes: Vec<u8> = case.x.iter().flat_map(|v| v.to_le_bytes()).collect();
        queue.write_buffer(&upload, 0, &bytes);
        let mut encoder = device.create_command_encoder(&Default::default());
        // the application's own work before the model
        encoder.copy_buffer_to_buffer(&upload, 0, &x, 0, 120);
        let mask = GpuInput::from(case.inputs()[0].1);
        let shape = [n, 3];
        let inputs = [("x", GpuInput::buffer(&x, &shape)), ("mask", mask)];
        session.encode(&mut encoder, &inputs, &[("y", y[round % 2].slice(offset..))]).unwrap();
        queue.submit([encoder.finish()]);
        case.check(&session.read_all().unwrap());
        let y = session.output("y").unwrap();
        assert!(y.offset == offset && y.bytes == 120);
        let made = session.counters() - before;
        before = session.counters();
        if round >= 2 {
            assert_eq!((made.buffers, made.bind_groups, made.passes), (0, 0, 1), "two output buffers in turn, both known");
            assert_eq!(made.submits, 1, "the reading back");
        }
    }
    let memory = session.memory();
    assert_eq!((memory.inputs, memory.outputs), (16, 48 + 128 + 16), "what the caller brings is not allocated");
    session.forget_buffers();
    assert_eq!(session.output("y").unwrap_err().code(), "ODC0730");
}

#[test]
fn sessions_share_the_model() {
    let Some(model) = load(&sample()) else { return };
    let loaded = model.counters();
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let mut session = GpuSession::new(&model);
            scope.spawn(move || {
                for n in 1..20 {
                    let case = Case::new(n, seed);
                    case.check(&session.run(&case.inputs()).unwrap().read_all().unwrap());
                }
            });
        }
    });
    assert_eq!(model.counters(), loaded);
}

#[test]
fn memory_is_what_was_created_and_what_was_foretold() {
    let sample = sample();
    let Some(model) = load(&sample) else { return };
    let mut session = GpuSession::new(&model);
    assert_eq!(session.memory().total(), model.weight_bytes());
    let case = Case::new(999, 0);
    session.run(&case.inputs()).unwrap();
    let memory = session.memory();
    assert_eq!(memory.total(), model.counters().buffer_bytes + session.counters().buffer_bytes);
    let manifest = &sample.manifest;
    assert_eq!(memory_at(manifest, &manifest.targets[0], &[("n", 999)]), Some(memory));
    assert_eq!((memory.arena, memory.dims, memory.staging), (11988usize.next_multiple_of(256) as u64 + 256, 2 * 256 + 16, 0));
    assert_eq!(memory_at(manifest, &manifest.targets[0], &[]), None);
    session.read_all().unwrap();
    assert_eq!(session.memory().total(), model.counters().buffer_bytes + session.counters().buffer_bytes);
    // larger shapes replace the buffers, smaller ones use them
    session.run(&Case::new(5000, 0).inputs()).unwrap();
    let large = session.memory();
    session.run(&case.inputs()).unwrap();
    assert_eq!(session.memory(), large);
}

/// The driver's side of the same, where wgpu knows it: names and sizes of what is allocated, rounded up as it likes.
#[test]
fn the_allocator_agrees() {
    let Some(model) = load(&sample()) else { return };
    let mut session = GpuSession::new(&model);
    let case = Case::new(999, 0);
    session.run(&case.inputs()).unwrap().read_all().unwrap();
    let ours = || -> Option<Vec<(String, u64)>> {
        model.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let report = model.device().generate_allocator_report()?;
        let named = report.allocations.into_iter().filter(|a| a.name.starts_with("odc "));
        Some(named.map(|a| (a.name, a.size)).collect())
    };
    let Some(before) = ours() else { return eprintln!("SKIPPED: this backend has no report") };
    let made = model.counters().buffers + session.counters().buffers;
    assert_eq!(before.len() as u64, made, "{before:?}");
    let (sum, memory) = (before.iter().map(|a| a.1).sum::<u64>(), session.memory().total());
    assert!((memory..memory + 256 * made).contains(&sum), "{sum} allocated, {memory} counted");
    for _ in 0..3 {
        session.run(&case.inputs()).unwrap().read_all().unwrap();
    }
    assert_eq!(ours(), Some(before));
}

#[test]
fn opens_files_and_shares_bytes() {
    let sample = sample();
    let Some((device, queue)) = device(&sample, &GpuOptions::default()) else { return };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), sample.bytes()).unwrap();
    let bytes = ArtifactBytes::open(file.path()).unwrap();
    let case = Case::new(9, 0);
    for _ in 0..2 {
        let model = GpuModel::load(bytes.clone(), &device, &queue, GpuOptions::default()).unwrap();
        case.check(&GpuSession::new(&model).run(&case.inputs()).unwrap().read_all().unwrap());
    }
}

#[test]
fn large_weights_arrive_whole() {
    let mut s: Sample = sample();
    // the passed-through weight spans chunks, flushes and a ragged end; only its first 12 bytes are computed with
    let len = 70_000_001;
    let w: Vec<u8> = s.weights[2].iter().copied().chain((12..len).map(|i: usize| (i % 251) as u8)).collect();
    s.manifest.weights[2].len = len as u64;
    s.weights[2] = w.clone();
    odc_format::place_weights(&mut s.manifest.weights).unwrap();
    let slot = odc_format::Slot(s.manifest.shape_program.instrs.len() as u32);
    s.manifest.shape_program.instrs.push(odc_format::Instr::Const(len as i64));
    s.manifest.outputs[3].dtype = odc_format::DType::U8;
    s.manifest.outputs[3].shape = vec![slot];
    if let odc_format::Command::Copy { bytes, .. } = &mut s.target().commands[3] {
        *bytes = slot;
    }
    let Some(model) = load(&s) else { return };
    assert!(model.counters().writes > 16 && model.counters().submits >= 2);
    let mut session = GpuSession::new(&model);
    let case = Case::new(4, 0);
    let read = session.run(&case.inputs()).unwrap().read("w").unwrap();
    assert!(read.data == w, "70 MB came back different");
}
