//! Runs one kernel on the machine's Vulkan driver through wgpu, which takes the words as they are.

use odc_backend::GpuCode;
use std::borrow::Cow;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};

pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    pub f16: bool,
    /// Invocations that its subgroups have, if they all have the same.
    pub subgroup: Option<u32>,
}

/// wgpu's native futures are ready at once.
fn ready<T>(f: impl Future<Output = T>) -> T {
    match pin!(f).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(x) => x,
        Poll::Pending => panic!("wgpu is not ready"),
    }
}

/// The driver that the environment names, or the first.
pub fn gpu() -> Option<&'static Gpu> {
    static GPU: OnceLock<Option<Gpu>> = OnceLock::new();
    let found = GPU.get_or_init(open);
    if found.is_none() {
        eprintln!(
            "SKIPPED: no kernel is executed: there is no Vulkan driver; run tests/gpu/install.sh, then eval \"$(tests/gpu/env.sh lavapipe)\""
        );
    }
    found.as_ref()
}

fn open() -> Option<Gpu> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::VULKAN,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapter = ready(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).ok()?;
    let info = adapter.get_info();
    eprintln!("on {} ({})", info.name, info.driver_info);
    let wanted = wgpu::Features::PASSTHROUGH_SHADERS | wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP;
    let features = adapter.features() & wanted;
    let request = wgpu::DeviceDescriptor { required_features: features, required_limits: adapter.limits(), ..Default::default() };
    let (device, queue) = ready(adapter.request_device(&request)).ok()?;
    let same = features.contains(wgpu::Features::SUBGROUP) && info.subgroup_min_size == info.subgroup_max_size;
    Some(Gpu { device, queue, f16: features.contains(wgpu::Features::SHADER_F16), subgroup: same.then_some(info.subgroup_min_size) })
}

impl Gpu {
    /// Dispatches the kernel over `groups` workgroups; the buffers hold what it left.
    pub fn run(&self, code: &GpuCode, buffers: &mut [Vec<u8>], dims: &[i32], groups: u32) {
        let words: Vec<u32> = code.bytes.as_chunks::<4>().0.iter().map(|w| u32::from_le_bytes(*w)).collect();
        let [x, y, z] = code.workgroup;
        let entry = wgpu::PassthroughShaderEntryPoint { name: code.name.as_str().into(), workgroup_size: (x, y, z) };
        let module = wgpu::ShaderModuleDescriptorPassthrough {
            label: None,
            entry_points: vec![entry].into(),
            spirv: Some(Cow::Owned(words)),
            ..Default::default()
        };
        // SAFETY: spirv-val has accepted the module, and the tests' kernels stay inside their buffers.
        let module = unsafe { self.device.create_shader_module_passthrough(module) };
        let storage = (0..buffers.len()).map(|_| wgpu::BufferBindingType::Storage { read_only: false });
        let types = storage.chain((!dims.is_empty()).then_some(wgpu::BufferBindingType::Uniform));
        let entries: Vec<_> = (0u32..)
            .zip(types)
            .map(|(binding, ty)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
                count: None,
            })
            .collect();
        let layout = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(&code.name),
            compilation_options: Default::default(),
            cache: None,
        });
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let upload = |bytes: &[u8]| {
            let mut padded = bytes.to_vec();
            padded.resize(bytes.len().next_multiple_of(16).max(16), 0);
            let size = padded.len() as u64;
            let b = self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
            self.queue.write_buffer(&b, 0, &padded);
            b
        };
        let sizes: Vec<u8> = dims.iter().flat_map(|d| d.to_le_bytes()).collect();
        let all: Vec<_> = buffers.iter().map(|b| upload(b)).chain((!dims.is_empty()).then(|| upload(&sizes))).collect();
        let entries: Vec<_> =
            (0u32..).zip(&all).map(|(binding, b)| wgpu::BindGroupEntry { binding, resource: b.as_entire_binding() }).collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        let across = groups.min(65535);
        pass.dispatch_workgroups(across, groups.div_ceil(across), 1);
        drop(pass);
        let read: Vec<_> = all
            .iter()
            .take(buffers.len())
            .map(|b| {
                let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
                let r =
                    self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size: b.size(), usage, mapped_at_creation: false });
                encoder.copy_buffer_to_buffer(b, 0, &r, 0, b.size());
                r
            })
            .collect();
        self.queue.submit([encoder.finish()]);
        read.iter().for_each(|r| r.map_async(wgpu::MapMode::Read, .., |r| r.expect("the buffer is mapped")));
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device finishes");
        for (b, r) in buffers.iter_mut().zip(&read) {
            let mapped = r.get_mapped_range(..).expect("the buffer is mapped");
            let n = b.len();
            b.copy_from_slice(&mapped[..n]);
        }
    }
}
