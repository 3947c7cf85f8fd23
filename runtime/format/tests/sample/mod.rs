//! A hand-made model for the tests of every crate under runtime/: `scaled[n,3] = x[n,3] * w[3]`, `sum[n]` its row
//! sums, copied once, and outputs that alias an input and a weight.
#![allow(dead_code)]

use odc_format::*;

/// `gcc -O1 -ffunction-sections -fcf-protection=none` of
/// ```c
/// void scale(float *const *b, const long *d, void *s, long begin, long end) {
///   for (long i = begin; i < end; i++) b[2][i] = b[0][i] * b[1][i % d[0]];
/// }
/// ```
pub const SCALE: [u8; 51] = [
    0x4c, 0x39, 0xc1, 0x7d, 0x2d, 0x4c, 0x8b, 0x4f, 0x10, 0x48, 0x89, 0xc8, 0x48, 0x99, 0x48, 0xf7, 0x3e, 0x4c, 0x8b, 0x57, 0x08, 0x48,
    0x8b, 0x07, 0xf3, 0x41, 0x0f, 0x10, 0x04, 0x92, 0xf3, 0x0f, 0x59, 0x04, 0x88, 0xf3, 0x41, 0x0f, 0x11, 0x04, 0x89, 0x48, 0x83, 0xc1,
    0x01, 0x49, 0x39, 0xc8, 0x75, 0xd3, 0xc3,
];

/// ```c
/// void row_sum(float *const *b, const long *d, float *s, long begin, long end) {
///   for (long r = begin; r < end; r++) {
///     s[0] = 0; for (long c = 0; c < d[0]; c++) s[0] += b[0][r * d[0] + c]; b[1][r] = s[0];
///   }
/// }
/// ```
pub const ROW_SUM: [u8; 91] = [
    0x49, 0x89, 0xfa, 0x49, 0x89, 0xf1, 0x48, 0x89, 0xd6, 0x4c, 0x39, 0xc1, 0x7d, 0x4c, 0xc7, 0x06, 0x00, 0x00, 0x00, 0x00, 0x49, 0x8b,
    0x01, 0x48, 0x85, 0xc0, 0x7e, 0x28, 0xba, 0x00, 0x00, 0x00, 0x00, 0x48, 0x0f, 0xaf, 0xc1, 0x48, 0x01, 0xd0, 0x49, 0x8b, 0x3a, 0xf3,
    0x0f, 0x10, 0x06, 0xf3, 0x0f, 0x58, 0x04, 0x87, 0xf3, 0x0f, 0x11, 0x06, 0x48, 0x83, 0xc2, 0x01, 0x49, 0x8b, 0x01, 0x48, 0x39, 0xd0,
    0x7f, 0xdd, 0xf3, 0x0f, 0x10, 0x06, 0x49, 0x8b, 0x42, 0x08, 0xf3, 0x0f, 0x11, 0x04, 0x88, 0x48, 0x83, 0xc1, 0x01, 0x49, 0x39, 0xc8,
    0x75, 0xb4, 0xc3,
];

pub const WEIGHT: [f32; 3] = [2.0, -1.0, 0.5];
/// Rows from which a second thread is worth it.
pub const GRAIN: i64 = 8;

pub struct Sample {
    pub manifest: Manifest,
    pub code: Vec<u8>,
    pub weights: Vec<Vec<u8>>,
}

impl Sample {
    pub fn bytes(&self) -> Vec<u8> {
        let weights: Vec<&[u8]> = self.weights.iter().map(Vec::as_slice).collect();
        let code: &[&[u8]] = if self.code.is_empty() { &[] } else { &[&self.code] };
        to_vec(&self.manifest, code, &weights).expect("the sample is valid")
    }

    /// The same with kernels that are linked in.
    pub fn linked(mut self) -> Sample {
        self.code.clear();
        self.manifest.targets[0].code = Code::Linked;
        self
    }
}

pub fn sample(arch: Arch) -> Sample {
    let mut b = ShapeBuilder::new();
    let (n, cols, four) = (b.input_dim(0, 0), b.constant(3), b.constant(4));
    let (zero, grain) = (b.constant(0), b.constant(GRAIN));
    let items = b.push(Instr::Mul(n, cols));
    let scaled_bytes = b.push(Instr::Mul(items, four));
    let sum_at = b.push(Instr::AlignUp(scaled_bytes, 64));
    let sum_bytes = b.push(Instr::Mul(n, four));
    let sum_space = b.push(Instr::AlignUp(sum_bytes, 64));
    let copy_at = b.push(Instr::Add(sum_at, sum_space));
    let arena_bytes = b.push(Instr::Add(copy_at, sum_space));
    b.check(Condition::AtMost(items, 150_000), "x has too many elements");

    let tensor = |name: &str, shape: &[Slot], text: &[&str]| TensorInfo {
        name: name.into(),
        dtype: DType::F32,
        shape: shape.to_vec(),
        shape_text: text.iter().map(|s| s.to_string()).collect(),
    };
    let mut code = SCALE.to_vec();
    code.resize(64, 0xcc);
    code.extend(ROW_SUM);
    let kernel = |name: &str, offset, len, scratch_bytes| Kernel {
        name: name.into(),
        offset,
        len,
        scratch_bytes,
        source: vec![format!("/{name}")],
        gpu: None,
    };
    let weight = |value: &[f32]| value.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let weights = vec![weight(&[7.0]), weight(&WEIGHT)];
    let mut infos: Vec<WeightInfo> =
        weights.iter().enumerate().map(|(i, w)| WeightInfo { hash: [i as u8; 32], offset: 0, len: w.len() as u64 }).collect();
    place_weights(&mut infos).expect("short");
    let arena = |offset| BufferRef::Arena { offset };
    let w = BufferRef::Weight { index: 1, offset: 0 };
    let target = TargetProgram {
        target: "cpu".into(),
        device: Device::Cpu { arch, features: vec![] },
        code: Code::Section(0),
        kernels: vec![kernel("scale", 0, SCALE.len() as u64, zero), kernel("row_sum", 64, ROW_SUM.len() as u64, four)],
        commands: vec![
            Command::Dispatch(Dispatch {
                kernel: 0,
                buffers: vec![BufferRef::Input(0), w, arena(zero)],
                dims: vec![cols],
                bytes: vec![],
                grid: items,
                grain,
            }),
            Command::Dispatch(Dispatch {
                kernel: 1,
                buffers: vec![arena(zero), arena(sum_at)],
                dims: vec![cols],
                bytes: vec![],
                grid: n,
                grain,
            }),
            Command::Copy { src: arena(sum_at), dst: arena(copy_at), bytes: sum_bytes },
        ],
        outputs: vec![arena(zero), arena(copy_at), BufferRef::Input(0), w],
        arena_bytes,
        peak_text: "alignup(12*n, 64) + 2*alignup(4*n, 64)".into(),
        buffers: vec![],
    };
    Sample {
        manifest: Manifest {
            name: "sample".into(),
            producer: "by hand".into(),
            symbols: vec![SymbolInfo { name: "n".into(), lo: 1, hi: 100_000, multiple_of: 1, slot: n }],
            inputs: vec![tensor("x", &[n, cols], &["n", "3"])],
            outputs: vec![
                tensor("scaled", &[n, cols], &["n", "3"]),
                tensor("sum", &[n], &["n"]),
                tensor("x_again", &[n, cols], &["n", "3"]),
                tensor("w", &[cols], &["3"]),
            ],
            strings: vec![],
            shape_program: b.finish(),
            in_range: vec![],
            weights: infos,
            digests: Digests::default(),
            targets: vec![target],
        },
        code,
        weights,
    }
}
