//! A model inside an application's own GPU work: `cargo run --features wgpu --example gpu -- model.odc`.
//!
//! An engine has its device, queue and buffers already, and gives them to the model: nothing leaves the GPU.

use odc_runtime::{
    ArtifactBytes, TensorView,
    gpu::{GpuInput, GpuModel, GpuOptions, GpuSession, own_device, wgpu},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: gpu model.odc")?;
    let artifact = ArtifactBytes::open(path)?;
    let options = GpuOptions::default();
    // An engine takes its own device here, with the features and limits that `odc info` lists.
    let (device, queue) = own_device(artifact.clone(), &options)?;

    // Once: weights and pipelines.
    let model = GpuModel::load(artifact, &device, &queue, options)?;
    println!("{} on {}: {} weight bytes", model.target().target, device.adapter_info().name, model.weight_bytes());

    // Once a stream of frames. This example gives every dim that inputs decide its least size.
    let mut session = GpuSession::new(&model);
    let manifest = model.manifest();
    let symbols: Vec<_> = manifest.symbols.iter().map(|s| (s.slot, s.lo.max(s.multiple_of))).collect();
    let slots = manifest.shape_program.evaluate_at(&symbols);
    let dims = |shape: &[odc_runtime::format::Slot]| -> Vec<usize> {
        shape.iter().map(|s| slots[s.index()].and_then(|d| usize::try_from(d).ok()).unwrap_or(1)).collect()
    };
    let shapes: Vec<Vec<usize>> = manifest.inputs.iter().map(|t| dims(&t.shape)).collect();
    let size = |i: usize| shapes[i].iter().product::<usize>() * manifest.inputs[i].dtype.size();
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let buffers: Vec<wgpu::Buffer> = (0..shapes.len())
        .map(|i| {
            let size = size(i).max(4).next_multiple_of(4) as u64;
            device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
        })
        .collect();

    // Each frame: the model is part of the frame's commands and reads what they wrote.
    for _ in 0..3 {
        let mut encoder = device.create_command_encoder(&Default::default());
        let inputs: Vec<(&str, GpuInput)> =
            (0..shapes.len()).map(|i| (manifest.inputs[i].name.as_str(), GpuInput::buffer(&buffers[i], &shapes[i]))).collect();
        session.encode(&mut encoder, &inputs, &[])?;
        // Here an engine records what uses `session.output(name)?.buffer`.
        queue.submit([encoder.finish()]);
    }

    // Only when numbers are wanted on the CPU.
    for tensor in session.read_all()? {
        let view: TensorView = tensor.view();
        println!("{}: {}{:?} {:?}", tensor.name, view.dtype, view.shape, view.as_slice::<f32>().map(|v| &v[..v.len().min(8)]));
    }
    println!("{:?}\n{:?}", session.memory(), session.counters());
    Ok(())
}
