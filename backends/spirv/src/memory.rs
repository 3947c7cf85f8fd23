//! Storage buffers, workgroup arrays, and accesses to them. A buffer is declared in vectors when all accesses are; else vectors are taken
//! apart, since SPIR-V cannot look at an array in two ways.

use crate::Result;
use crate::known::Known;
use crate::module::Emit;
use crate::types::{Elem, Ty};
use odc_backend::GpuFeature;
use odc_ir::core::{Binary, DType, Scalar, Value};
use odc_ir::loops::{Func, LoopType, Op, Operation, Space};
use rspirv::dr::Operand;
use rspirv::spirv::{self, Capability, Decoration, MemoryAccess, MemorySemantics, Scope, StorageClass, Word};
use std::collections::{BTreeMap, BTreeSet};

/// An array of elements that loads and stores reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    variable: Word,
    /// What one element of the array is.
    ty: Ty,
    class: StorageClass,
}

/// How a kernel uses its pointers.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    lanes: BTreeMap<Value, BTreeSet<u32>>,
    read: BTreeSet<Value>,
    written: BTreeSet<Value>,
    barrier: bool,
}

impl Uses {
    pub fn of(f: &Func) -> Uses {
        let mut uses = Uses::default();
        f.body.visit_ops(&mut |op| match (&op.op, op.operands.as_slice(), op.results.as_slice()) {
            (Op::Load {}, [p, ..], [r]) => {
                uses.lanes.entry(*p).or_default().insert(f.ty(*r).lanes());
                uses.read.insert(*p);
            }
            (Op::Store {}, [p, _, v], _) => {
                uses.lanes.entry(*p).or_default().insert(f.ty(*v).lanes());
                uses.written.insert(*p);
            }
            (Op::CoopLoad {}, [p, ..], _) => {
                uses.lanes.entry(*p).or_default().insert(1);
                uses.read.insert(*p);
            }
            (Op::Atomic { .. } | Op::CoopStore {}, [p, ..], _) => {
                uses.lanes.entry(*p).or_default().insert(1);
                uses.written.insert(*p);
            }
            (Op::Barrier {}, ..) => uses.barrier = true,
            _ => {}
        });
        uses
    }

    /// Lanes of the elements that an array is declared with.
    fn lanes(&self, p: Value) -> u32 {
        match self.lanes.get(&p) {
            Some(lanes) if lanes.len() == 1 => lanes.iter().next().copied().filter(|n| matches!(n, 2 | 4)).unwrap_or(1),
            _ => 1,
        }
    }
}

impl Emit<'_> {
    fn element(&self, d: DType) -> Result<Elem> {
        match Elem::of(d) {
            Some(e) if e != Elem::Bool => Ok(e),
            _ => self.unsupported(format!("memory of {d}"), "legalise the kernel for GPUs first"),
        }
    }

    pub fn storage_buffer(&mut self, v: Value, d: DType, name: &str, binding: u32) -> Result<()> {
        let class = StorageClass::StorageBuffer;
        let ty = Ty::vector(self.element(d)?, self.uses.lanes(v));
        if ty.elem == Elem::F16 {
            self.require(GpuFeature::F16, "16-bit floats in memory")?;
            self.capability(Capability::StorageBuffer16BitAccess);
        }
        let block = match self.blocks.get(&ty) {
            Some(block) => *block,
            None => {
                let elem = self.type_id(ty)?;
                let array = self.b.type_runtime_array(elem);
                let block = self.block(array, ty.lanes * ty.elem.size());
                self.blocks.insert(ty, block);
                block
            }
        };
        let pointer = self.pointer_type(class, block);
        let variable = self.global(pointer, class);
        self.bind(variable, name, binding);
        let written = self.uses.written.contains(&v);
        if !written {
            self.b.decorate(variable, Decoration::NonWritable, []);
        } else if !self.vulkan && self.uses.barrier && self.uses.read.contains(&v) {
            // Invocations may talk through it: what one wrote must not hide in its cache.
            self.b.decorate(variable, Decoration::Coherent, []);
        }
        self.memory.insert(v, Memory { variable, ty, class });
        Ok(())
    }

    /// A struct that holds nothing but the array.
    fn block(&mut self, array: Word, stride: u32) -> Word {
        let id = self.b.id();
        let block = self.b.type_struct_id(Some(id), [array]);
        self.b.decorate(array, Decoration::ArrayStride, [Operand::LiteralBit32(stride)]);
        self.b.decorate(block, Decoration::Block, []);
        self.b.member_decorate(block, 0, Decoration::Offset, [Operand::LiteralBit32(0)]);
        block
    }

    /// The kernel's sizes.
    pub fn size_buffer(&mut self, count: usize, binding: u32) -> Result<()> {
        let Ok(vectors) = u32::try_from(count.div_ceil(4)) else { return self.malformed("too many parameters") };
        let four = self.type_id(Ty::vector(Elem::I32, 4))?;
        let length = self.uint(vectors)?;
        // Its own array type: one that is decorated with a stride may not lie in workgroup memory.
        let id = self.b.id();
        let array = self.b.type_array_id(Some(id), four, length);
        let block = self.block(array, 16);
        let pointer = self.pointer_type(StorageClass::Uniform, block);
        self.sizes = self.global(pointer, StorageClass::Uniform);
        self.bind(self.sizes, "dims", binding);
        Ok(())
    }

    /// Loads the sizes that the kernel uses.
    pub fn load_sizes(&mut self) -> Result<()> {
        let func = self.func;
        let used = func.use_counts();
        let sizes = func.body.args.iter().filter(|v| matches!(func.ty(**v), LoopType::Index));
        let int = self.type_id(Ty::INDEX)?;
        for (k, v) in (0u32..).zip(sizes) {
            if used.get(v.index()) == Some(&0) {
                continue;
            }
            let pointer = self.pointer_type(StorageClass::Uniform, int);
            let path = [self.int(0)?, self.uint(k / 4)?, self.uint(k % 4)?];
            let at = self.chain(pointer, self.sizes, &path)?;
            let x = self.instruction(spirv::Op::Load, int, vec![Operand::IdRef(at)])?;
            self.set(*v, Known::id(x));
        }
        Ok(())
    }

    /// A workgroup array. WebGPU counts its bytes in 16s.
    pub fn shared(&mut self, v: Value, d: DType, len: u32) -> Result<()> {
        let class = StorageClass::Workgroup;
        let elem = self.element(d)?;
        let lanes = Some(self.uses.lanes(v)).filter(|n| len.is_multiple_of(*n)).unwrap_or(1);
        let bytes = (u64::from(len) * u64::from(elem.size())).next_multiple_of(16);
        self.workgroup_bytes = self.workgroup_bytes.saturating_add(bytes);
        self.limit("maxComputeWorkgroupStorageSize", self.workgroup_bytes, self.target.limits.workgroup_bytes.into())?;
        let ty = Ty::vector(elem, lanes);
        let t = self.type_id(ty)?;
        let length = self.uint(len / lanes)?;
        let id = self.b.id();
        let array = self.b.type_array_id(Some(id), t, length);
        let pointer = self.pointer_type(class, array);
        let variable = self.global(pointer, class);
        self.b.name(variable, format!("shared{}", v.0));
        self.memory.insert(v, Memory { variable, ty, class });
        Ok(())
    }

    pub fn place(&self, p: Value) -> Result<Memory> {
        match (self.memory.get(&p), self.func.types.get(p.index())) {
            (Some(m), _) => Ok(*m),
            (None, Some(LoopType::Ptr(_, Space::Scratch))) => {
                self.unsupported("scratch memory", "keep the values in registers or in workgroup memory")
            }
            (None, _) => self.unsupported("a pointer that is computed", "load and store through the parameter itself"),
        }
    }

    fn chain(&mut self, pointer: Word, variable: Word, path: &[Word]) -> Result<Word> {
        let operands = std::iter::once(&variable).chain(path).map(|x| Operand::IdRef(*x)).collect();
        self.instruction(spirv::Op::AccessChain, pointer, operands)
    }

    /// A pointer to the array's element `at`.
    pub fn element_pointer(&mut self, m: Memory, at: Word) -> Result<Word> {
        let t = self.type_id(m.ty)?;
        let pointer = self.pointer_type(m.class, t);
        if m.class == StorageClass::Workgroup {
            return self.chain(pointer, m.variable, &[at]);
        }
        let zero = self.int(0)?;
        self.chain(pointer, m.variable, &[zero, at])
    }

    /// Which element of the array the access at `offset` of a value of `lanes` means; of the first lane, if the array is of scalars.
    fn position(&mut self, m: Memory, offset: Known) -> Result<Known> {
        if m.ty.lanes == 1 {
            return Ok(offset);
        }
        self.quotient(offset, m.ty.lanes.into())
    }

    pub fn load(&mut self, p: Value, offset: Value, ty: Ty) -> Result<Word> {
        let m = self.place(p)?;
        let offset = self.get(offset)?;
        if m.ty == ty {
            let at = self.position(m, offset)?;
            let at = self.id(at, Ty::INDEX)?;
            let pointer = self.element_pointer(m, at)?;
            return self.read(ty, pointer);
        }
        let mut lanes = vec![];
        for k in 0..ty.lanes {
            let pointer = self.lane_pointer(m, offset, k)?;
            lanes.push(self.read(m.ty, pointer)?);
        }
        self.op(spirv::Op::CompositeConstruct, ty, &lanes)
    }

    /// How memory is accessed that other invocations may see: the Vulkan memory model takes it for private unless told.
    pub fn seen(&self) -> Option<Operand> {
        self.vulkan.then_some(Operand::MemoryAccess(MemoryAccess::NON_PRIVATE_POINTER))
    }

    fn read(&mut self, ty: Ty, pointer: Word) -> Result<Word> {
        let t = self.type_id(ty)?;
        let operands = std::iter::once(Operand::IdRef(pointer)).chain(self.seen()).collect();
        self.instruction(spirv::Op::Load, t, operands)
    }

    fn write(&mut self, pointer: Word, x: Word) -> Result<()> {
        let operands = [pointer, x].map(Operand::IdRef).into_iter().chain(self.seen()).collect();
        self.effect(spirv::Op::Store, operands)
    }

    fn lane_pointer(&mut self, m: Memory, offset: Known, lane: u32) -> Result<Word> {
        let at = self.index(Binary::Add, offset, Known::constant(Scalar::Int(lane.into())))?;
        let at = self.id(at, Ty::INDEX)?;
        self.element_pointer(m, at)
    }

    pub fn store(&mut self, p: Value, offset: Value, value: Value) -> Result<()> {
        let m = self.place(p)?;
        let offset = self.get(offset)?;
        let (ty, x) = (self.ty(value)?, self.value(value)?);
        if m.ty == ty {
            let at = self.position(m, offset)?;
            let at = self.id(at, Ty::INDEX)?;
            let pointer = self.element_pointer(m, at)?;
            return self.write(pointer, x);
        }
        for k in 0..ty.lanes {
            let pointer = self.lane_pointer(m, offset, k)?;
            let lane = self.extract(x, m.ty.elem, k)?;
            self.write(pointer, lane)?;
        }
        Ok(())
    }

    pub fn atomic(&mut self, op: &Operation, f: Binary) -> Result<()> {
        let [p, offset, value] = op.operands.as_slice() else { return self.malformed("atomic lacks operands") };
        let m = self.place(*p)?;
        let ty = self.ty(*value)?;
        let signed = ty.elem == Elem::I32;
        let code = match f {
            Binary::Add => spirv::Op::AtomicIAdd,
            Binary::And => spirv::Op::AtomicAnd,
            Binary::Or => spirv::Op::AtomicOr,
            Binary::Xor => spirv::Op::AtomicXor,
            Binary::Min if signed => spirv::Op::AtomicSMin,
            Binary::Min => spirv::Op::AtomicUMin,
            Binary::Max if signed => spirv::Op::AtomicSMax,
            Binary::Max => spirv::Op::AtomicUMax,
            _ => return self.malformed("an atomic that is none"),
        };
        let at = self.value(*offset)?;
        let pointer = self.element_pointer(m, at)?;
        let scope = match m.class {
            StorageClass::Workgroup => Scope::Workgroup,
            // The Vulkan memory model has Device only where a device says so; no dispatch spans queues.
            _ if self.vulkan => Scope::QueueFamily,
            _ => Scope::Device,
        };
        let (scope, relaxed) = (self.uint(scope as u32)?, self.uint(MemorySemantics::RELAXED.bits())?);
        let x = self.value(*value)?;
        self.op(code, ty, &[pointer, scope, relaxed, x]).map(|_| ())
    }

    /// Orders workgroup and storage memory among the workgroup.
    pub fn barrier(&mut self) -> Result<()> {
        let mut semantics = MemorySemantics::ACQUIRE_RELEASE | MemorySemantics::WORKGROUP_MEMORY | MemorySemantics::UNIFORM_MEMORY;
        if self.vulkan {
            semantics |= MemorySemantics::MAKE_AVAILABLE | MemorySemantics::MAKE_VISIBLE;
        }
        let (scope, semantics) = (self.uint(Scope::Workgroup as u32)?, self.uint(semantics.bits())?);
        self.effect(
            spirv::Op::ControlBarrier,
            vec![Operand::IdScope(scope), Operand::IdScope(scope), Operand::IdMemorySemantics(semantics)],
        )
    }
}
