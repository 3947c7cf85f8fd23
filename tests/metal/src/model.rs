//! A whole model on the shim: the commands of an artifact's Metal program in order, with buffers, sizes and threadgroup memory
//! bound as an app's encoder binds them.

use crate::{Binding, Dispatch, Order, ShimError, ShimKernels};
use odc_format::{ArtifactView, BufferRef, Code, Command, Device, Language, Slot, TargetProgram};

/// A binding may reach up to here beyond its bytes.
const ALIGN: usize = 16;

/// Workgroups in one direction of a dispatch.
const MAX_GRID_X: u64 = 65535;

/// The bytes of a tensor as the host has them, and its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimTensor {
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// An artifact whose Metal kernels are compiled.
pub struct ShimModel<'a> {
    view: &'a ArtifactView<'a>,
    target: &'a TargetProgram,
    kernels: ShimKernels,
    /// Of each kernel, from the manifest of the exploded artifact.
    threadgroup_memory: Vec<Vec<u32>>,
}

fn wrong(what: impl Into<String>) -> ShimError {
    ShimError::Model { what: what.into() }
}

/// `kernels[k].threadgroup_memory` of `manifest.json`, which is what an app has.
pub fn threadgroup_memory(manifest: &serde_json::Value) -> Option<Vec<Vec<u32>>> {
    let sizes = |k: &serde_json::Value| {
        let list = k.get("threadgroup_memory")?.as_array()?;
        list.iter().map(|n| u32::try_from(n.as_u64()?).ok()).collect()
    };
    manifest.get("kernels")?.as_array()?.iter().map(sizes).collect()
}

impl<'a> ShimModel<'a> {
    pub fn new(view: &'a ArtifactView<'a>, threadgroup_memory: Vec<Vec<u32>>) -> Result<Self, ShimError> {
        let metal = |t: &&TargetProgram| matches!(t.device, Device::Gpu { language: Language::Msl, .. });
        let target = view.manifest.targets.iter().find(metal).ok_or_else(|| wrong("the artifact has no program for Metal"))?;
        let Code::Section(section) = target.code else { return Err(wrong("the Metal program has no code section")) };
        if threadgroup_memory.len() != target.kernels.len() {
            return Err(wrong(format!("threadgroup memory of {} kernels, there are {}", threadgroup_memory.len(), target.kernels.len())));
        }
        let text = |k: &'a odc_format::Kernel| {
            let bytes = view.code(section).get(k.offset as usize..(k.offset + k.len) as usize).unwrap_or_default();
            Ok((std::str::from_utf8(bytes).map_err(|e| wrong(format!("kernel {}: {e}", k.name)))?, k.name.as_str()))
        };
        let kernels = target.kernels.iter().map(text).collect::<Result<Vec<_>, ShimError>>()?;
        Ok(ShimModel { view, target, kernels: ShimKernels::build(&kernels)?, threadgroup_memory })
    }

    /// Runs all commands on the inputs, which are in the manifest's order, and gives the outputs in theirs.
    pub fn run(&self, inputs: &[ShimTensor], order: Order) -> Result<Vec<ShimTensor>, ShimError> {
        let manifest = &self.view.manifest;
        let dim = |input: u32, axis: u32| inputs.get(input as usize)?.shape.get(axis as usize).and_then(|&d| i64::try_from(d).ok());
        let mut slots = vec![];
        manifest.shape_program.evaluate(dim, &mut slots).map_err(|e| wrong(e.to_string()))?;
        if let Some(check) = manifest.shape_program.checks.iter().find(|c| c.condition.holds(&slots) != Some(true)) {
            return Err(wrong(format!("the inputs' shapes: {}", check.what)));
        }
        let value = |s: Slot| slots.get(s.index()).and_then(|&v| usize::try_from(v).ok()).ok_or_else(|| wrong(format!("slot {}", s.0)));
        let shapes =
            manifest.outputs.iter().map(|t| t.shape.iter().map(|&s| value(s)).collect()).collect::<Result<Vec<Vec<usize>>, _>>()?;
        let sizes: Vec<usize> = shapes.iter().zip(&manifest.outputs).map(|(s, t)| s.iter().product::<usize>() * t.dtype.size()).collect();

        // The inputs, the weights, the arena, the outputs. What no kernel has written are NaNs.
        let padded = |mut bytes: Vec<u8>| {
            bytes.resize(bytes.len().next_multiple_of(ALIGN) + ALIGN, 0xff);
            bytes
        };
        let mut memories: Vec<Vec<u8>> = inputs.iter().map(|t| padded(t.bytes.clone())).collect();
        memories.push(padded(self.view.weights().to_vec()));
        memories.push(padded(vec![0xff; value(self.target.arena_bytes)?]));
        memories.extend(sizes.iter().map(|&n| padded(vec![0xff; n])));
        let n = inputs.len();
        let place = |b: &BufferRef| match b {
            BufferRef::Input(k) => Ok((*k as usize, 0)),
            BufferRef::Weight { index, offset } => {
                let weight = manifest.weights.get(*index as usize).ok_or_else(|| wrong(format!("there is no weight {index}")))?;
                Ok((n, (weight.offset + offset) as usize))
            }
            BufferRef::Arena { offset } => Ok((n + 1, value(*offset)?)),
            BufferRef::Output(k) => Ok((n + 2 + *k as usize, 0)),
            BufferRef::Local(k) => Err(wrong(format!("local {k} on a GPU"))),
        };

        for (at, command) in self.target.commands.iter().enumerate() {
            let at = |e: ShimError| wrong(format!("command {at}: {e}"));
            match command {
                Command::Dispatch(d) => {
                    let places = d.buffers.iter().map(&place).collect::<Result<Vec<_>, _>>().map_err(at)?;
                    // Sizes and offsets; an offset may be negative.
                    let size = |s: &Slot| slots.get(s.index()).and_then(|&v| i32::try_from(v).ok());
                    let dims = d.dims.iter().map(size).collect::<Option<Vec<i32>>>().ok_or_else(|| at(wrong("a size beyond 32 bits")))?;
                    for ((memory, offset), bytes) in places.iter().zip(&d.bytes) {
                        let end = offset + value(*bytes).map_err(at)?;
                        if memories.get(*memory).is_none_or(|m| end + ALIGN > m.len().max(ALIGN)) {
                            return Err(at(wrong(format!("a buffer ends at byte {end}, its memory {memory} before that"))));
                        }
                    }
                    let mut uniform: Vec<u8> = dims.iter().flat_map(|v| v.to_le_bytes()).collect();
                    uniform.resize(uniform.len().next_multiple_of(ALIGN).max(ALIGN), 0);
                    self.dispatch(d, &mut memories, &places, &mut uniform, value(d.grid).map_err(at)?, order).map_err(at)?;
                }
                Command::Size { .. } => return Err(at(wrong("data decides a size, which no GPU program may"))),
                Command::If { .. } | Command::Else | Command::Loop(_) | Command::End => return Err(at(wrong("control flow on a GPU"))),
                Command::Copy { src, dst, bytes } => {
                    let ((from, a), (to, b), bytes) = (place(src).map_err(at)?, place(dst).map_err(at)?, value(*bytes).map_err(at)?);
                    let outside = || at(wrong("it copies beyond a buffer"));
                    let content = memories.get(from).and_then(|m| m.get(a..a + bytes)).ok_or_else(outside)?.to_vec();
                    memories.get_mut(to).and_then(|m| m.get_mut(b..b + bytes)).ok_or_else(outside)?.copy_from_slice(&content);
                }
            }
        }
        for (t, m) in inputs.iter().zip(&memories) {
            if !m.starts_with(&t.bytes) {
                return Err(wrong("a kernel wrote into an input"));
            }
        }
        let results = memories.split_off(n + 2);
        let cut = |((mut bytes, size), shape): ((Vec<u8>, usize), Vec<usize>)| {
            bytes.truncate(size);
            ShimTensor { shape, bytes }
        };
        Ok(results.into_iter().zip(sizes).zip(shapes).map(cut).collect())
    }

    fn dispatch(
        &self,
        d: &odc_format::Dispatch,
        memories: &mut [Vec<u8>],
        places: &[(usize, usize)],
        uniform: &mut [u8],
        groups: usize,
        order: Order,
    ) -> Result<(), ShimError> {
        let kernel = d.kernel as usize;
        let gpu = self.target.kernels.get(kernel).and_then(|k| k.gpu.as_ref()).ok_or_else(|| wrong(format!("no GPU kernel {kernel}")))?;
        if groups == 0 {
            return Ok(());
        }
        let x = (groups as u64).min(MAX_GRID_X);
        let grid = [x as u32, (groups as u64).div_ceil(x) as u32, 1];
        let mut bindings: Vec<Binding> =
            places.iter().enumerate().map(|(k, &(memory, offset))| Binding { index: k as u32, memory, offset }).collect();
        if !d.dims.is_empty() {
            bindings.push(Binding { index: places.len() as u32, memory: memories.len(), offset: 0 });
        }
        let mut slices: Vec<&mut [u8]> = memories.iter_mut().map(Vec::as_mut_slice).chain([uniform]).collect();
        let threadgroup_memory = self.threadgroup_memory.get(kernel).map_or(&[][..], Vec::as_slice);
        self.kernels.run(kernel, &mut slices, &bindings, Dispatch { grid, threads: gpu.workgroup, threadgroup_memory, order })
    }
}
