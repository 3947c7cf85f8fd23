//! Runs compiled kernels inside the tests: the backends, executable memory, and element-wise kernels to try ops with.

use memmap2::{Mmap, MmapMut};
use odc_backend::{Backend, Codegen, KernelCode, Target};
use odc_cranelift::Cranelift;
use odc_ir::core::{Builder, DType, Scalar, Value};
use odc_ir::loops::{Func, Loop, LoopKind, LoopType, Module, Op, Space};

type Entry = unsafe extern "sysv64" fn(*const *mut u8, *const i64, *mut u8, i64, i64);

/// A compiled kernel in executable memory.
pub struct Jit {
    code: Mmap,
}

impl Jit {
    pub fn new(code: &KernelCode) -> Jit {
        let mut map = MmapMut::map_anon(code.bytes.len()).unwrap();
        map.copy_from_slice(&code.bytes);
        Jit { code: map.make_exec().unwrap() }
    }
    pub fn compile(f: &Func, target: &Target) -> Jit {
        Jit::new(&backend(target).compile(f, target).unwrap_or_else(|e| panic!("{e}\n{}", text(f))))
    }
    pub fn run(&self, buffers: &mut [Vec<u8>], dims: &[i64], scratch: usize, begin: i64, end: i64) {
        let pointers: Vec<*mut u8> = buffers.iter_mut().map(|b| b.as_mut_ptr()).collect();
        let mut scratch = vec![[0xffu8; 64]; scratch.div_ceil(64) + 1];
        // SAFETY: the code was compiled for this machine (`targets`), follows the System V convention, and the kernels of these tests
        // stay inside the buffers that the tests give them.
        unsafe {
            let entry: Entry = std::mem::transmute(self.code.as_ptr());
            entry(pointers.as_ptr(), dims.as_ptr(), scratch.as_mut_ptr().cast(), begin, end);
        }
    }
}

pub fn text(f: &Func) -> String {
    let mut m = Module::new("test");
    m.funcs.push(f.clone());
    m.to_string()
}

/// What makes code for a target.
pub fn backend(target: &Target) -> &'static dyn Backend {
    match target.codegen {
        Codegen::Cranelift => &Cranelift,
        #[cfg(feature = "llvm")]
        Codegen::Llvm => &odc_llvm::Llvm,
        #[cfg(not(feature = "llvm"))]
        Codegen::Llvm => panic!("these tests were built without LLVM"),
    }
}

/// All targets, through every backend that is here.
pub fn all_targets() -> Vec<Target> {
    let backends = if cfg!(feature = "llvm") { &Codegen::ALL[..] } else { &[Codegen::Cranelift] };
    let names = || Target::NAMES.iter().skip(1).chain(Target::LLVM_NAMES);
    backends.iter().flat_map(|c| names().filter_map(|n| Target::parse_for(n, *c).ok())).collect()
}

/// Those that this machine runs. LLVM takes its time over thousands of small kernels: of what v2 adds, the levels above it say enough.
pub fn targets() -> Vec<Target> {
    let wanted = |t: &Target| t.runs_here() && (t.codegen, t.name.as_str()) != (Codegen::Llvm, "cpu:x86-64-v2");
    let all: Vec<_> = all_targets().into_iter().filter(wanted).collect();
    assert!(!all.is_empty());
    all
}

pub fn vector(d: DType, lanes: u32) -> LoopType {
    if lanes == 1 { LoopType::Scalar(d) } else { LoopType::Vector(d, lanes) }
}

/// The types that come to backends.
pub fn computed() -> impl Iterator<Item = &'static DType> {
    DType::ALL.iter().filter(|d| **d != DType::Str && !d.is_storage())
}

/// How many lanes a vector of `d` has here.
pub fn lanes(d: DType) -> u32 {
    if d.size() == 8 { 2 } else { 4 }
}

/// `out[i] = body(in0[i], …)` for each group of `lanes` elements; the grid counts groups.
pub fn map_kernel(inputs: &[DType], out: DType, lanes: u32, body: impl FnOnce(&mut Builder<'_, Loop>, &[Value]) -> Value) -> Func {
    let mut f = Func::new("map");
    let ins: Vec<_> = inputs.iter().enumerate().map(|(k, d)| f.param(&format!("in{k}"), LoopType::Ptr(*d, Space::Global))).collect();
    let to = f.param("out", LoopType::Ptr(out, Space::Global));
    let n = f.param("n", LoopType::Index);
    let args = std::mem::take(&mut f.body.args);
    let mut b = Builder::<Loop>::new(&mut f);
    b.block.args = args;
    let [zero, one, width] = [0, 1, i64::from(lanes)].map(|k| b.op1(Op::Const { value: Scalar::Int(k) }, &[], LoopType::Index));
    let region = b.block(&[LoopType::Index], |b, args| {
        let at = b.op1(Op::Binary { f: odc_ir::core::Binary::Mul }, &[args[0], width], LoopType::Index);
        let xs: Vec<_> = ins.iter().zip(inputs).map(|(p, d)| b.op1(Op::Load {}, &[*p, at], vector(*d, lanes))).collect();
        let y = body(b, &xs);
        b.op(Op::Store {}, &[to, at, y], &[]);
        vec![]
    });
    b.region_op(Op::For { kind: LoopKind::Grid }, &[zero, n, one], &[], vec![region]);
    b.finish(&[]);
    f
}

pub fn bytes(d: DType, xs: &[Scalar]) -> Vec<u8> {
    let mut out = vec![];
    xs.iter().for_each(|x| x.write(d, &mut out));
    out
}

pub fn scalars(d: DType, bytes: &[u8]) -> Vec<Scalar> {
    bytes.chunks_exact(d.size()).map(|b| Scalar::read(d, b).unwrap()).collect()
}

/// Edge values of a type, and some between.
pub fn edges(d: DType) -> Vec<Scalar> {
    if d == DType::Bool {
        return vec![Scalar::Bool(false), Scalar::Bool(true)];
    }
    if d.is_float() {
        let max = match d {
            DType::F16 => 65504.0,
            DType::BF16 => f64::from(f32::from_bits(0x7f7f_0000)),
            DType::F32 => f64::from(f32::MAX),
            _ => f64::MAX,
        };
        let tiny = match d {
            DType::F16 => 5.960_464_477_539_063e-8,
            DType::BF16 => f64::from(f32::from_bits(0x0001_0000)),
            DType::F32 => f64::from(f32::from_bits(1)),
            _ => f64::from_bits(1),
        };
        let mut v = vec![0.0, 0.3, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 7.0, 100.3, 1e-3, 6.2e-5, 3e4, max, tiny, tiny * 3.0, f64::INFINITY];
        v.extend([8_388_607.5, 8_388_609.0, 3e9, 5e9, 1e19, 4_503_599_627_370_495.5, 127.0, 128.0, 255.0, 256.0, 65_519.0]);
        let negative: Vec<_> = v.iter().map(|x| -x).collect();
        v.extend(negative);
        v.push(f64::NAN);
        return v.into_iter().map(|x| Scalar::Float(x).wrap(d)).collect();
    }
    let bits = 8 * d.size() as u32;
    let (lo, hi) = if d.is_signed_int() { (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits)) } else { (0, -1) };
    let mut v: Vec<i64> =
        vec![0, 1, 2, 3, 5, 7, 8, 13, 15, 16, 31, 32, 33, 63, 64, 100, 127, 128, 255, 32767, 1 << 31, -1, -2, -3, -7, -8, -33];
    v.extend([lo, lo.wrapping_add(1), hi, hi.wrapping_sub(1), 0x1234_5678_9abc_def0]);
    let mut v: Vec<_> = v.into_iter().map(|x| Scalar::Int(x).wrap(d)).collect();
    v.sort();
    v.dedup();
    v
}

/// Equal, any NaN to any NaN, +0 to -0.
pub fn same(a: Scalar, b: Scalar) -> bool {
    match (a, b) {
        (Scalar::Float(x), Scalar::Float(y)) => x == y || (x.is_nan() && y.is_nan()),
        _ => a == b,
    }
}

/// Pads to a multiple of `lanes`, runs over all, returns as many elements as there were.
pub fn run(f: &Func, t: &Target, lanes: u32, inputs: &[(DType, Vec<Scalar>)], out: DType) -> Vec<Scalar> {
    let n = inputs[0].1.len();
    let groups = n.div_ceil(lanes as usize);
    let mut buffers: Vec<_> = inputs
        .iter()
        .map(|(d, xs)| {
            let mut b = bytes(*d, xs);
            b.resize(groups * lanes as usize * d.size(), 0);
            b
        })
        .collect();
    buffers.push(vec![0xaa; groups * lanes as usize * out.size() + 1]);
    Jit::compile(f, t).run(&mut buffers, &[groups as i64], 0, 0, groups as i64);
    let result = buffers.pop().unwrap();
    assert_eq!(result.last(), Some(&0xaa), "wrote past the end");
    scalars(out, &result).into_iter().take(n).collect()
}
