//! A hand-written GPU artifact: `y[n,3] = f(f(x))` with `f(v) = v * w + b`, `sum[n] = mask[n] +` the row sums of `f(x)`, and
//! outputs that are an input and a weight. The same kernels as WGSL and, translated, as SPIR-V.
#![allow(dead_code)]

use odc_format::*;
use odc_runtime::{
    TensorView,
    gpu::{GpuError, GpuModel, GpuOptions, HostTensor, own_device, wgpu},
};

pub const W: [f32; 3] = [2.0, -1.0, 0.5];
pub const B: [f32; 3] = [0.25, 1.0, -3.0];

pub const SCALE: &str = "
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> dims: array<vec4<i32>, 1>;
@compute @workgroup_size(64) fn scale(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>) {
  let i = (wg.x + wg.y * num.x) * 64u + local.x;
  if i < u32(dims[0].x) { let c = i % u32(dims[0].y); y[i] = x[i] * w[c] + b[c]; }
}";

/// One row a workgroup, through workgroup memory. The mask is bytes in words.
pub const ROW_SUM: &str = "
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> mask: array<u32>;
@group(0) @binding(2) var<storage, read_write> sum: array<f32>;
@group(0) @binding(3) var<uniform> dims: array<vec4<i32>, 1>;
var<workgroup> part: array<f32, 4>;
@compute @workgroup_size(4) fn row_sum(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>) {
  let row = wg.x + wg.y * num.x;
  if row >= u32(dims[0].x) { return; }
  let cols = u32(dims[0].y);
  part[local.x] = 0.0;
  if local.x < cols { part[local.x] = x[row * cols + local.x]; }
  workgroupBarrier();
  if local.x == 0u {
    let flag = (mask[row / 4u] >> (row % 4u * 8u)) & 255u;
    sum[row] = part[0] + part[1] + part[2] + part[3] + f32(flag);
  }
}";

/// `naga` in the place of the compiler's SPIR-V backend.
pub fn spirv(wgsl: &str) -> Vec<u8> {
    use naga::{back::spv, valid};
    let module = naga::front::wgsl::parse_str(wgsl).expect("the sample is WGSL");
    let info = valid::Validator::new(valid::ValidationFlags::all(), valid::Capabilities::all()).validate(&module).expect("and valid");
    let words = spv::write_vec(&module, &info, &spv::Options::default(), None).expect("and translatable");
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

pub struct Sample {
    pub manifest: Manifest,
    pub code: Vec<Vec<u8>>,
    pub weights: Vec<Vec<u8>>,
}

impl Sample {
    pub fn bytes(&self) -> Vec<u8> {
        let (code, weights): (Vec<&[u8]>, Vec<&[u8]>) =
            (self.code.iter().map(Vec::as_slice).collect(), self.weights.iter().map(Vec::as_slice).collect());
        to_vec(&self.manifest, &code, &weights).expect("the sample is valid")
    }

    pub fn target(&mut self) -> &mut TargetProgram {
        &mut self.manifest.targets[0]
    }

    pub fn needs(mut self, change: impl FnOnce(&mut Vec<String>, &mut GpuLimits)) -> Sample {
        if let Device::Gpu { features, limits, .. } = &mut self.target().device {
            change(features, limits);
        }
        self
    }

    /// A second program, which is preferred.
    pub fn with_spirv(mut self) -> Sample {
        let mut t = self.target().clone();
        t.target = "spirv".into();
        t.code = Code::Section(1);
        if let Device::Gpu { language, .. } = &mut t.device {
            *language = Language::Spirv;
        }
        let modules = [spirv(SCALE), spirv(ROW_SUM)];
        self.code.push(place(&modules, &mut t.kernels));
        self.manifest.targets.insert(0, t);
        self
    }
}

fn place(modules: &[Vec<u8>], kernels: &mut [Kernel]) -> Vec<u8> {
    let mut code = Vec::new();
    for (kernel, module) in kernels.iter_mut().zip(modules) {
        code.resize(code.len().next_multiple_of(16), 0);
        (kernel.offset, kernel.len) = (code.len() as u64, module.len() as u64);
        code.extend(module);
    }
    code
}

pub fn sample() -> Sample {
    use Access::*;
    let mut s = ShapeBuilder::new();
    let (n, cols, four, w64) = (s.input_dim(0, 0), s.constant(3), s.constant(4), s.constant(64));
    let (zero, one) = (s.constant(0), s.constant(1));
    let weight_bytes = s.push(Instr::Mul(cols, four));
    let items = s.push(Instr::Mul(n, cols));
    let (x_bytes, sum_bytes) = (s.push(Instr::Mul(items, four)), s.push(Instr::Mul(n, four)));
    let groups = s.push(Instr::CeilDiv(items, w64));
    let arena_bytes = s.push(Instr::AlignUp(x_bytes, 256));
    let tensor = |name: &str, dtype, shape: &[Slot], text: &[&str]| TensorInfo {
        name: name.into(),
        dtype,
        shape: shape.to_vec(),
        shape_text: text.iter().map(|s| s.to_string()).collect(),
    };
    let kernel = |name: &str, width, access: &[Access]| Kernel {
        name: name.into(),
        offset: 0,
        len: 0,
        scratch_bytes: zero,
        source: vec![format!("/{name}")],
        gpu: Some(GpuKernel { workgroup: [width, 1, 1], access: access.to_vec() }),
    };
    let mut kernels = vec![kernel("scale", 64, &[Read, Read, Read, ReadWrite]), kernel("row_sum", 4, &[Read, Read, ReadWrite])];
    let code = place(&[SCALE.into(), ROW_SUM.into()], &mut kernels);
    let weight = |index| BufferRef::Weight { index, offset: 0 };
    let arena = BufferRef::Arena { offset: zero };
    let scale = |from, to| {
        Command::Dispatch(Dispatch {
            kernel: 0,
            buffers: vec![from, weight(2), weight(0), to],
            dims: vec![items, cols],
            bytes: vec![x_bytes, weight_bytes, weight_bytes, x_bytes],
            grid: groups,
            grain: one,
        })
    };
    let row_sum = Command::Dispatch(Dispatch {
        kernel: 1,
        buffers: vec![arena, BufferRef::Input(1), BufferRef::Output(1)],
        dims: vec![n, cols],
        bytes: vec![x_bytes, n, sum_bytes],
        grid: n,
        grain: one,
    });
    let target = TargetProgram {
        target: "wgsl".into(),
        device: Device::Gpu {
            language: Language::Wgsl,
            features: vec![],
            limits: GpuLimits { storage_buffers: 4, binding_bytes: 256, invocations: 64, workgroup_bytes: 16 },
        },
        code: Code::Section(0),
        kernels,
        commands: vec![
            scale(BufferRef::Input(0), arena),
            Command::Copy { src: BufferRef::Input(0), dst: BufferRef::Output(2), bytes: x_bytes },
            row_sum,
            Command::Copy { src: weight(2), dst: BufferRef::Output(3), bytes: weight_bytes },
            scale(arena, BufferRef::Output(0)),
        ],
        outputs: (0..4).map(BufferRef::Output).collect(),
        arena_bytes,
        peak_text: "alignup(12*n, 256)".into(),
        buffers: vec![],
    };
    let floats = |v: &[f32]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    // the second one belongs to another target: no GPU has seen it
    let weights = vec![floats(&B), vec![7; 100_000], floats(&W)];
    let mut infos: Vec<WeightInfo> =
        weights.iter().enumerate().map(|(i, w)| WeightInfo { hash: [i as u8; 32], offset: 0, len: w.len() as u64 }).collect();
    place_weights(&mut infos).expect("short");
    let manifest = Manifest {
        name: "sample".into(),
        producer: "by hand".into(),
        symbols: vec![SymbolInfo { name: "n".into(), lo: 0, hi: 1 << 40, multiple_of: 1, slot: n }],
        inputs: vec![tensor("x", DType::F32, &[n, cols], &["n", "3"]), tensor("mask", DType::U8, &[n], &["n"])],
        outputs: vec![
            tensor("y", DType::F32, &[n, cols], &["n", "3"]),
            tensor("sum", DType::F32, &[n], &["n"]),
            tensor("x_again", DType::F32, &[n, cols], &["n", "3"]),
            tensor("w", DType::F32, &[cols], &["3"]),
        ],
        strings: vec![],
        shape_program: s.finish(),
        in_range: vec![],
        weights: infos,
        digests: Digests::default(),
        targets: vec![target],
    };
    Sample { manifest, code: vec![code], weights }
}

/// A device for the sample, or `None` after saying so. With `ODC_REQUIRE_GPU` set, there has to be one.
pub fn device(sample: &Sample, options: &GpuOptions) -> Option<(wgpu::Device, wgpu::Queue)> {
    match own_device(sample.bytes(), options) {
        Ok(made) => Some(made),
        Err(GpuError::NoAdapter { reason }) => {
            assert!(std::env::var_os("ODC_REQUIRE_GPU").is_none(), "ODC_REQUIRE_GPU is set, but there is no GPU: {reason}");
            eprintln!("\n*** SKIPPED: THERE IS NO GPU HERE ({reason}); NOTHING WAS TESTED ***\n");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

pub fn load(sample: &Sample) -> Option<GpuModel> {
    let (device, queue) = device(sample, &GpuOptions::default())?;
    Some(GpuModel::load(sample.bytes(), &device, &queue, GpuOptions::default()).unwrap())
}

pub struct Case {
    pub n: usize,
    pub x: Vec<f32>,
    pub mask: Vec<u8>,
    x_shape: [usize; 2],
    mask_shape: [usize; 1],
}

impl Case {
    pub fn new(n: usize, seed: usize) -> Case {
        let x = (0..n * 3).map(|i| ((i + seed) % 17) as f32 - 8.0).collect();
        let mask = (0..n).map(|i| ((i * 5 + seed) % 256) as u8).collect();
        Case { n, x, mask, x_shape: [n, 3], mask_shape: [n] }
    }

    pub fn inputs(&self) -> [(&str, TensorView<'_>); 2] {
        [("mask", TensorView::of(&self.mask_shape, &self.mask)), ("x", TensorView::of(&self.x_shape, &self.x))]
    }

    pub fn shapes(&self) -> [(&str, &[usize]); 2] {
        [("x", &self.x_shape), ("mask", &self.mask_shape)]
    }

    pub fn y(&self) -> Vec<f32> {
        self.f(&self.f(&self.x))
    }

    pub fn sum(&self) -> Vec<f32> {
        self.f(&self.x).chunks(3).zip(&self.mask).map(|(row, &m)| row.iter().sum::<f32>() + f32::from(m)).collect()
    }

    fn f(&self, v: &[f32]) -> Vec<f32> {
        v.iter().enumerate().map(|(i, v)| v * W[i % 3] + B[i % 3]).collect()
    }

    /// All numbers are small multiples of 1/4: every order of additions, and fma, gives the same.
    pub fn check(&self, outputs: &[HostTensor]) {
        let names: Vec<_> = outputs.iter().map(|t| (t.name.as_str(), t.shape.clone())).collect();
        let rows = vec![self.n, 3];
        assert_eq!(names, [("y", rows.clone()), ("sum", vec![self.n]), ("x_again", rows), ("w", vec![3])]);
        let floats = |k: usize| outputs[k].view().as_slice::<f32>().unwrap().to_vec();
        assert_eq!(floats(0), self.y(), "y of {}", self.n);
        assert_eq!(floats(1), self.sum(), "sum of {}", self.n);
        assert_eq!(floats(2), self.x);
        assert_eq!(floats(3), W);
    }
}
