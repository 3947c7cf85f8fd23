//! Devices that lack something, wrong inputs and buffers, refused kernels, and lost devices: clear errors, no panic.

#[path = "gpu_sample/mod.rs"]
mod gpu_sample;

use gpu_sample::{Case, Sample, device, load, sample};
use odc_runtime::{
    Artifact, TensorView,
    gpu::{GpuError, GpuInput, GpuModel, GpuOptions, GpuSession, own_device, wgpu},
};
use wgpu::BufferUsages as Usage;

/// Loads, which has to fail; the device must be usable afterwards.
fn refused(sample: &Sample, options: GpuOptions) -> Option<GpuError> {
    let (device, queue) = device(sample, &GpuOptions::default())?;
    let error = GpuModel::load(sample.bytes(), &device, &queue, options).err().expect("loading must fail");
    let good = GpuModel::load(gpu_sample::sample().bytes(), &device, &queue, GpuOptions::default()).unwrap();
    let case = Case::new(3, 0);
    case.check(&GpuSession::new(&good).run(&case.inputs()).unwrap().read_all().unwrap());
    Some(error)
}

fn says(error: &GpuError, code: &str, words: &[&str]) {
    let text = error.to_string();
    assert!(error.code() == code && words.iter().all(|w| text.contains(w)), "{} {text}", error.code());
}

#[test]
fn features_and_limits_are_checked_by_name() {
    let default = GpuOptions::default;
    let Some(e) = refused(&sample().needs(|f, _| f.push("no-such-thing".into())), default()) else { return };
    says(&e, "ODC0722", &["wgsl", "no-such-thing"]);
    type Change = fn(&mut odc_format::GpuLimits);
    let limits: [(&str, Change, &str); 4] = [
        ("maxStorageBuffersPerShaderStage", |l| l.storage_buffers = u32::MAX, "4294967295"),
        ("maxStorageBufferBindingSize", |l| l.binding_bytes = 1 << 50, "1125899906842624"),
        ("maxComputeInvocationsPerWorkgroup", |l| l.invocations = 1 << 20, "1048576"),
        ("maxComputeWorkgroupStorageSize", |l| l.workgroup_bytes = 1 << 30, "1073741824"),
    ];
    for (name, change, needed) in limits {
        let e = refused(&sample().needs(|_, l| change(l)), default()).unwrap();
        says(&e, "ODC0723", &["wgsl", name, needed]);
    }
    let mut wide = sample();
    wide.target().kernels[0].gpu.as_mut().unwrap().workgroup = [1, 1, 1 << 20];
    says(&refused(&wide, default()).unwrap(), "ODC0723", &["maxComputeWorkgroupSizeZ"]);
    says(&refused(&sample(), default().target("metal")).unwrap(), "ODC0721", &["\"metal\"", "\"wgsl\""]);
    // the better program cannot run, the next one can
    let (device, queue) = own_device(sample().bytes(), &default()).unwrap();
    let two = sample().with_spirv();
    assert_eq!(GpuModel::load(two.bytes(), &device, &queue, default()).unwrap().target().target, "wgsl");
    let e = GpuModel::load(two.bytes(), &device, &queue, default().target("spirv")).err().unwrap();
    assert_eq!(e.code(), "ODC0722", "{e}");
}

#[test]
fn of_several_programs_in_a_language_the_first_that_runs() {
    // Artifacts have the most capable first; this one wants what no device has, or what every device has.
    let both = |feature: Option<&str>| {
        let mut s = sample();
        let mut more = s.target().clone();
        more.target = "wgsl:f16".into();
        if let (odc_format::Device::Gpu { features, .. }, Some(f)) = (&mut more.device, feature) {
            features.push(f.into());
        }
        s.manifest.targets.insert(0, more);
        s
    };
    let Some((device, queue)) = device(&sample(), &GpuOptions::default()) else { return };
    let chosen = |s: &Sample, options| GpuModel::load(s.bytes(), &device, &queue, options).map(|m| m.target().target.clone());
    let of = |name: &str| GpuOptions::default().target(name);
    assert_eq!(chosen(&both(None), GpuOptions::default()).unwrap(), "wgsl:f16");
    assert_eq!(chosen(&both(Some("no-such-thing")), GpuOptions::default()).unwrap(), "wgsl");
    // By name: exactly this one, or any of the language where none has just this name.
    assert_eq!(chosen(&both(None), of("wgsl")).unwrap(), "wgsl");
    assert_eq!(chosen(&both(Some("no-such-thing")), of("wgsl:f16")).unwrap_err().code(), "ODC0722");
    let mut one = both(None);
    one.manifest.targets.truncate(1);
    assert_eq!(chosen(&one, of("wgsl")).unwrap(), "wgsl:f16");
    assert_eq!(chosen(&sample(), of("wgsl:f16")).unwrap_err().code(), "ODC0721");
}

#[test]
fn own_devices_have_what_the_program_needs() {
    for (name, flag) in [("shader-f16", wgpu::Features::SHADER_F16), ("subgroups", wgpu::Features::SUBGROUP)] {
        let needy = sample().needs(|f, _| f.push(name.into()));
        let Some((plain, queue)) = device(&sample(), &GpuOptions::default()) else { return };
        let e = GpuModel::load(needy.bytes(), &plain, &queue, GpuOptions::default()).err().unwrap();
        says(&e, "ODC0722", &["wgsl", name]);
        let (own, queue) = own_device(needy.bytes(), &GpuOptions::default()).unwrap();
        let loaded = GpuModel::load(needy.bytes(), &own, &queue, GpuOptions::default());
        match own.features().contains(flag) {
            true => assert_eq!(loaded.err().map(|e| e.to_string()), None),
            false => says(&loaded.err().unwrap(), "ODC0722", &[name]),
        }
    }
}

#[test]
fn a_cpu_artifact_is_refused() {
    let mut cpu = sample();
    cpu.target().device = odc_format::Device::Cpu { arch: odc_format::Arch::X86_64, features: vec![] };
    cpu.target().kernels.iter_mut().for_each(|k| k.gpu = None);
    cpu.target().commands.clear();
    cpu.target().outputs = vec![odc_format::BufferRef::Input(0); 4];
    let Some(e) = refused(&cpu, GpuOptions::default()) else { return };
    says(&e, "ODC0721", &["none for a GPU", "wgsl"]);
    let Some((device, queue)) = device(&sample(), &GpuOptions::default()) else { return };
    let e = GpuModel::load(b"not an artifact".to_vec(), &device, &queue, GpuOptions::default()).err().unwrap();
    assert!(e.code().starts_with("ODC05") || e.code().starts_with("ODC06"), "{} {e}", e.code());
    // and the CPU's runtime says where GPU programs run
    let e = Artifact::from_bytes(sample().bytes()).err().unwrap();
    assert!(e.to_string().contains("odc_runtime::gpu"), "{e}");
}

#[test]
fn refused_kernels_are_named() {
    for (text, word) in [("@compute fn scale() { nonsense }", "nonsense"), ("fn other() {}", "scale"), ("\u{0}", "scale")] {
        let mut s = sample();
        let kernel = &mut s.manifest.targets[0].kernels[0];
        let range = kernel.offset as usize..(kernel.offset + kernel.len) as usize;
        s.code[0][range].fill(b' ');
        s.code[0][..text.len()].copy_from_slice(text.as_bytes());
        let Some(e) = refused(&s, GpuOptions::default()) else { return };
        says(&e, "ODC0724", &["\"scale\"", word]);
    }
    // a kernel that binds what its layout has not
    let mut s = sample();
    s.target().kernels[0].gpu.as_mut().unwrap().access[3] = odc_format::Access::Read;
    says(&refused(&s, GpuOptions::default()).unwrap(), "ODC0724", &["\"scale\""]);
}

/// Artifacts that pass the format's checks, which know no sizes.
#[test]
fn programs_that_do_not_fit_are_refused() {
    use odc_format::{BufferRef, Command, Instr, Slot};
    type Damage = fn(&mut Sample, Slot);
    // the slot that is given holds 8
    let damages: [(Damage, &str); 6] = [
        (|s, eight| s.target().arena_bytes = eight, "the arena, which has 8"),
        (|s, eight| first(s).buffers[3] = BufferRef::Arena { offset: eight }, "not aligned to 256"),
        (|s, _| first(s).buffers[1] = BufferRef::Weight { index: 2, offset: 8 }, "not aligned to 256"),
        (|s, _| first(s).buffers[0] = BufferRef::Input(1), "48 bytes at 0 of an input, which has 16"),
        (|s, _| copy(s, 1, first(&mut sample()).buffers[3]), "to the arena"),
        (|s, _| copy(s, 3, BufferRef::Output(3)), "to itself"),
    ];
    fn first(s: &mut Sample) -> &mut odc_format::Dispatch {
        match &mut s.target().commands[0] {
            Command::Dispatch(d) => d,
            _ => panic!("the sample begins with a dispatch"),
        }
    }
    fn copy(s: &mut Sample, at: usize, place: BufferRef) {
        let end = Slot(s.manifest.shape_program.instrs.len() as u32 - 1);
        s.target().commands[at] = Command::Copy { src: place, dst: place, bytes: end };
    }
    for (damage, what) in damages {
        let mut s = sample();
        let eight = Slot(s.manifest.shape_program.instrs.len() as u32);
        s.manifest.shape_program.instrs.push(Instr::Const(8));
        damage(&mut s, eight);
        let Some(model) = load(&s) else { return };
        let e = GpuSession::new(&model).run(&Case::new(4, 0).inputs()).map(|_| ()).unwrap_err();
        says(&e, "ODC0613", &[what]);
    }
    let mut s = sample();
    s.target().outputs[0] = BufferRef::Output(1);
    says(&refused(&s, GpuOptions::default()).unwrap(), "ODC0613", &["output 0"]);
}

#[test]
fn wrong_inputs_are_the_cpus_errors() {
    let Some(model) = load(&sample()) else { return };
    let mut session = GpuSession::new(&model);
    let case = Case::new(4, 0);
    let [mask, x] = case.inputs();
    let mut code = |inputs: &[(&str, TensorView<'_>)]| session.run(inputs).err().unwrap().code();
    assert_eq!(code(&[x]), "ODC0601");
    assert_eq!(code(&[x, mask, ("z", x.1)]), "ODC0602");
    assert_eq!(code(&[x, mask, x]), "ODC0603");
    assert_eq!(code(&[mask, ("x", TensorView::of(&[4, 3], &[0i32; 12]))]), "ODC0604");
    assert_eq!(code(&[mask, ("x", TensorView::of(&[12], &[0f32; 12]))]), "ODC0605");
    assert_eq!(code(&[mask, ("x", TensorView::of(&[3, 4], &[0f32; 12]))]), "ODC0606");
    assert_eq!(code(&[x, ("mask", TensorView::of(&[5], &[0u8; 5]))]), "ODC0606");
    assert_eq!(code(&[mask, ("x", TensorView::of(&[4, 3], &[0f32; 11]))]), "ODC0609");
    assert_eq!(code(&[("mask", TensorView::of(&[1 << 41], &[0u8; 1])), ("x", TensorView::of(&[1 << 41, 3], &[0f32; 1]))]), "ODC0607");
    assert_eq!(session.output("y").unwrap_err().code(), "ODC0730");
    let e = session.prepare(&[("x", &[700_000_000, 3]), ("mask", &[700_000_000])]).unwrap_err();
    says(&e, "ODC0726", &["maxBufferSize"]);
    case.check(&session.run(&[x, mask]).unwrap().read_all().unwrap());
    let e = session.read("z").unwrap_err();
    says(&e, "ODC0729", &["\"z\"", "sum: f32[n]"]);
}

#[test]
fn wrong_buffers_are_explained() {
    let Some(model) = load(&sample()) else { return };
    let buffer =
        |size, usage| model.device().create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
    let mut session = GpuSession::new(&model);
    let case = Case::new(4, 0);
    let [mask, _] = case.inputs();
    let both = Usage::STORAGE | Usage::COPY_SRC;
    let good = buffer(48, both);
    let mut refuse = |x: wgpu::BufferSlice<'_>, outputs: &[(&str, wgpu::BufferSlice<'_>)], words: &[&str]| {
        let inputs = [("mask", mask.1.into()), ("x", GpuInput::Buffer { buffer: x, shape: &[4, 3] })];
        let mut encoder = model.device().create_command_encoder(&Default::default());
        let e = session.encode(&mut encoder, &inputs, outputs).unwrap_err();
        says(&e, "ODC0728", words);
        model.queue().submit([encoder.finish()]);
    };
    let (no_storage, no_copy, short) = (buffer(48, Usage::COPY_SRC), buffer(48, Usage::STORAGE), buffer(44, both));
    refuse(no_storage.slice(..), &[], &["\"x\"", "STORAGE"]);
    refuse(no_copy.slice(..), &[], &["\"x\"", "COPY_SRC"]);
    refuse(short.slice(..), &[], &["\"x\"", "44", "48"]);
    let long = buffer(64, both);
    refuse(long.slice(4..), &[], &["\"x\"", "multiple of"]);
    refuse(good.slice(..), &[("y", good.slice(..))], &["\"y\"", "another"]);
    refuse(good.slice(..), &[("x_again", long.slice(..))], &["\"x_again\"", "COPY_DST"]);
    refuse(good.slice(..), &[("y", long.slice(..)), ("y", short.slice(..))], &["\"y\"", "two"]);
    let e = session.run_with(&[], &[("nope", good.slice(..))]).err().unwrap();
    assert_eq!(e.code(), "ODC0601");
    let inputs = [("mask", mask.1.into()), ("x", GpuInput::buffer(&good, &[4, 3]))];
    assert_eq!(session.run_with(&inputs, &[("nope", long.slice(..))]).err().unwrap().code(), "ODC0729");
    session.run_with(&inputs, &[("y", long.slice(..))]).unwrap().read("y").unwrap();
    // a buffer of another device
    let (other, _queue) = own_device(sample().bytes(), &GpuOptions::default()).unwrap();
    let foreign = other.create_buffer(&wgpu::BufferDescriptor { label: None, size: 48, usage: both, mapped_at_creation: false });
    let inputs = [("mask", mask.1.into()), ("x", GpuInput::buffer(&foreign, &[4, 3]))];
    assert_eq!(session.run_with(&inputs, &[]).err().unwrap().code(), "ODC0731");
    // reading back what cannot be copied
    let unreadable = buffer(48, Usage::STORAGE);
    let inputs = [("mask", mask.1.into()), ("x", GpuInput::buffer(&good, &[4, 3]))];
    let e = session.run_with(&inputs, &[("y", unreadable.slice(..))]).unwrap().read("y").unwrap_err();
    says(&e, "ODC0731", &["COPY_SRC"]);
    case.check(&session.run(&case.inputs()).unwrap().read_all().unwrap());
}

#[test]
fn a_lost_device_is_an_error_and_resume_rebuilds() {
    let sample = sample();
    let Some(mut model) = load(&sample) else { return };
    // a second model on the same device hears of it too
    let (device, queue) = (model.device().clone(), model.queue().clone());
    let second = GpuModel::load(sample.bytes(), &device, &queue, GpuOptions::default()).unwrap();
    let case = Case::new(6, 0);
    let mut session = GpuSession::new(&model);
    case.check(&session.run(&case.inputs()).unwrap().read_all().unwrap());
    device.destroy();
    let e = session.run(&case.inputs()).map(|_| ()).unwrap_err();
    says(&e, "ODC0727", &["resume"]);
    assert_eq!(session.run(&case.inputs()).map(|_| ()).unwrap_err().code(), "ODC0727");
    assert_eq!(session.read_all().unwrap_err().code(), "ODC0727");
    assert_eq!(GpuSession::new(&second).run(&case.inputs()).map(|_| ()).unwrap_err().code(), "ODC0727");
    assert_eq!(GpuModel::load(sample.bytes(), &device, &queue, GpuOptions::default()).err().unwrap().code(), "ODC0727");
    let (device, queue) = own_device(sample.bytes(), &GpuOptions::default()).unwrap();
    model.resume(&device, &queue).unwrap();
    let mut session = GpuSession::new(&model);
    case.check(&session.run(&case.inputs()).unwrap().read_all().unwrap());
}

#[test]
fn an_application_may_watch_its_device_itself() {
    let sample = sample();
    let Some((device, queue)) = device(&sample, &GpuOptions::default()) else { return };
    let options = GpuOptions::default().watch_device(false);
    let (tell, told) = std::sync::mpsc::channel();
    device.set_device_lost_callback(move |_, _| tell.send(()).unwrap_or_default());
    let model = GpuModel::load(sample.bytes(), &device, &queue, options).unwrap();
    let case = Case::new(6, 0);
    let mut session = GpuSession::new(&model);
    session.run(&case.inputs()).unwrap();
    model.device_lost("the cable came off");
    says(&session.run(&case.inputs()).map(|_| ()).unwrap_err(), "ODC0727", &["the cable came off"]);
    device.destroy();
    let _ = device.poll(wgpu::PollType::wait_indefinitely());
    told.recv_timeout(std::time::Duration::from_secs(5)).expect("the application's own callback is still there");
}

/// wgpu compares devices by numbers that every instance begins anew.
#[test]
fn another_instances_device_is_another_device() {
    let sample = sample();
    let make = || {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapter = ready(instance.request_adapter(&Default::default())).unwrap();
        ready(adapter.request_device(&Default::default())).unwrap()
    };
    if device(&sample, &GpuOptions::default()).is_none() {
        return;
    }
    let [lost, kept] =
        [make(), make()].map(|(device, queue)| GpuModel::load(sample.bytes(), &device, &queue, GpuOptions::default()).unwrap());
    lost.device().destroy();
    let case = Case::new(5, 0);
    assert_eq!(GpuSession::new(&lost).run(&case.inputs()).map(|_| ()).unwrap_err().code(), "ODC0727");
    case.check(&GpuSession::new(&kept).run(&case.inputs()).unwrap().read_all().unwrap());
}

/// wgpu's native futures are.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("not ready"),
    }
}

/// Matrices and subgroups of a size are asked of the device, a language's feature is not.
#[test]
fn what_kernels_multiply_with_is_checked() {
    let Some((plain, queue)) = device(&sample(), &GpuOptions::default()) else { return };
    for name in ["wgpu-cooperative-matrix", "subgroup-size:3"] {
        let needy = sample().needs(|f, _| f.push(name.into()));
        let e = GpuModel::load(needy.bytes(), &plain, &queue, GpuOptions::default()).err().unwrap();
        says(&e, "ODC0722", &["wgsl", name]);
        let (own, queue) = own_device(needy.bytes(), &GpuOptions::default()).unwrap();
        if !own.features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
            says(&GpuModel::load(needy.bytes(), &own, &queue, GpuOptions::default()).err().unwrap(), "ODC0722", &[name]);
        }
    }
    let dot = sample().needs(|f, _| f.push("packed_4x8_integer_dot_product".into()));
    assert_eq!(GpuModel::load(dot.bytes(), &plain, &queue, GpuOptions::default()).err().map(|e| e.to_string()), None);
}
