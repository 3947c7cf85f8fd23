//! A module under construction: its capabilities, bindings and built-in inputs, the values known so far, and the errors it can give.

use crate::Result;
use crate::known::Known;
use crate::memory::{Memory, Uses};
use crate::quotient::Indices;
use crate::types::{Elem, Ty};
use odc_backend::{BackendError, GpuFeature, GpuKernel, GpuTarget};
use odc_ir::core::Value;
use odc_ir::loops::{Func, LoopType};
use rspirv::dr::{self, Builder, InsertPoint, Instruction, Operand};
use rspirv::spirv::{self, Capability, Decoration, StorageClass, Word};
use std::collections::{BTreeMap, BTreeSet};

/// Instructions that a kernel may have: more is an unrolling gone wrong, and takes drivers minutes.
const MOST_INSTRUCTIONS: u32 = 1 << 17;
/// Names and comments are for people; a longer one would also break the format's 16-bit lengths.
const LONGEST_TEXT: usize = 1000;

pub(crate) struct Emit<'a> {
    pub func: &'a Func,
    pub target: &'a GpuTarget,
    pub b: Builder,
    pub types: BTreeMap<Ty, Word>,
    pub constants: BTreeMap<(Ty, u32), Word>,
    pub values: Vec<Option<Known>>,
    pub indices: Indices,
    pub memory: BTreeMap<Value, Memory>,
    pub uses: Uses,
    /// Storage buffer blocks by element.
    pub blocks: BTreeMap<Ty, Word>,
    /// The uniform buffer of sizes, if there are any.
    pub sizes: Word,
    /// Instructions at the end of the selected block that stay there.
    pub tail: usize,
    /// Label of the block under construction.
    pub label: Word,
    pub invocations: u32,
    pub workgroup_bytes: u64,
    /// Is the memory model Vulkan's?
    pub vulkan: bool,
    main: Word,
    glsl: Word,
    inputs: BTreeMap<u32, Word>,
    capabilities: BTreeSet<u32>,
    features: BTreeSet<GpuFeature>,
    /// What is needed beyond features that have a name.
    pub shapes: BTreeSet<String>,
    instructions: u32,
}

/// A finished module.
pub(crate) struct Built {
    pub module: dr::Module,
    pub invocations: u32,
    pub workgroup_bytes: u32,
    pub features: Vec<String>,
}

impl<'a> Emit<'a> {
    pub fn new(kernel: &GpuKernel<'a>, target: &'a GpuTarget) -> Result<Self> {
        let mut b = Builder::new();
        b.set_version(1, 3);
        // Matrices demand the Vulkan memory model; not all devices have it.
        let vulkan = kernel.func.types.iter().any(|t| matches!(t, LoopType::Coop(_)));
        b.memory_model(spirv::AddressingModel::Logical, if vulkan { spirv::MemoryModel::Vulkan } else { spirv::MemoryModel::GLSL450 });
        let glsl = b.ext_inst_import("GLSL.std.450");
        let main = b.id();
        for line in &kernel.about {
            b.string(readable(line));
        }
        let func = kernel.func;
        let mut emit = Emit {
            func,
            target,
            b,
            types: BTreeMap::new(),
            constants: BTreeMap::new(),
            values: vec![None; func.types.len()],
            indices: Indices::default(),
            memory: BTreeMap::new(),
            uses: Uses::of(func),
            blocks: BTreeMap::new(),
            sizes: 0,
            tail: 0,
            label: 0,
            invocations: 1,
            workgroup_bytes: 0,
            vulkan,
            main,
            glsl,
            inputs: BTreeMap::new(),
            capabilities: BTreeSet::new(),
            features: BTreeSet::new(),
            shapes: BTreeSet::new(),
            instructions: 0,
        };
        emit.capability(Capability::Shader);
        if vulkan {
            emit.capability(Capability::VulkanMemoryModel);
            emit.b.extension("SPV_KHR_vulkan_memory_model");
        }
        if func.name.is_empty() || func.name.contains('\0') || func.name.len() > LONGEST_TEXT {
            return emit.unsupported("its name as that of an entry point", "rename it: 1 to 1000 bytes, none of them 0");
        }
        emit.b.name(main, func.name.clone());
        Ok(emit)
    }

    /// Declares the parameters and writes the one function.
    pub fn function(&mut self) -> Result<()> {
        self.bindings()?;
        let void = self.b.type_void();
        let signature = self.b.type_function(void, []);
        let begun = self.b.begin_function(void, Some(self.main), spirv::FunctionControl::NONE, signature);
        self.ok(begun)?;
        let entry = self.b.id();
        self.start(entry)?;
        self.kernel()?;
        self.terminate(spirv::Op::Return, vec![])?;
        let ended = self.b.end_function();
        self.ok(ended)
    }

    /// Entry point, workgroup size.
    pub fn finish(mut self) -> Built {
        let interface: Vec<Word> = self.inputs.values().copied().collect();
        self.b.entry_point(spirv::ExecutionModel::GLCompute, self.main, self.func.name.clone(), interface);
        self.b.execution_mode(self.main, spirv::ExecutionMode::LocalSize, [self.invocations, 1, 1]);
        Built {
            module: self.b.module(),
            invocations: self.invocations,
            workgroup_bytes: u32::try_from(self.workgroup_bytes).unwrap_or(u32::MAX),
            features: self.features.iter().map(|f| f.webgpu().into()).chain(self.shapes).collect(),
        }
    }

    /// Storage buffers in the order of the pointers, then the sizes as vectors of four.
    fn bindings(&mut self) -> Result<()> {
        let func = self.func;
        let params: Vec<_> = func.body.args.iter().zip(&func.param_names).map(|(v, name)| (*v, *func.ty(*v), name)).collect();
        let (buffers, sizes): (Vec<_>, Vec<_>) = params.into_iter().partition(|(_, t, _)| matches!(t, LoopType::Ptr(..)));
        let limit = self.target.limits.storage_buffers;
        self.limit("maxStorageBuffersPerShaderStage", buffers.len() as u64, limit.into())?;
        let mut binding = 0;
        for (v, t, name) in buffers {
            self.storage_buffer(v, t.dtype(), name, binding)?;
            binding += 1;
        }
        if !sizes.is_empty() {
            self.size_buffer(sizes.len(), binding)?;
        }
        Ok(())
    }

    pub fn bind(&mut self, variable: Word, name: &str, binding: u32) {
        self.b.name(variable, readable(name));
        self.b.decorate(variable, Decoration::DescriptorSet, [Operand::LiteralBit32(0)]);
        self.b.decorate(variable, Decoration::Binding, [Operand::LiteralBit32(binding)]);
    }

    /// The value of a built-in input, as unsigned.
    pub fn input(&mut self, builtin: spirv::BuiltIn, lanes: u32) -> Result<Word> {
        let uint = self.type_id(Ty::scalar(Elem::U32))?;
        let t = if lanes > 1 { self.b.type_vector(uint, lanes) } else { uint };
        let variable = match self.inputs.get(&(builtin as u32)) {
            Some(v) => *v,
            None => {
                let pointer = self.pointer_type(StorageClass::Input, t);
                let id = self.global(pointer, StorageClass::Input);
                self.b.decorate(id, Decoration::BuiltIn, [Operand::BuiltIn(builtin)]);
                self.inputs.insert(builtin as u32, id);
                id
            }
        };
        self.instruction(spirv::Op::Load, t, vec![Operand::IdRef(variable)])
    }

    /// A variable of the module.
    pub fn global(&mut self, pointer: Word, class: StorageClass) -> Word {
        let id = self.b.id();
        let variable = Instruction::new(spirv::Op::Variable, Some(pointer), Some(id), vec![Operand::StorageClass(class)]);
        self.b.module_mut().types_global_values.push(variable);
        id
    }

    pub fn capability(&mut self, c: Capability) {
        if self.capabilities.insert(c as u32) {
            self.b.capability(c);
            match c {
                Capability::DotProduct => self.b.extension("SPV_KHR_integer_dot_product"),
                Capability::CooperativeMatrixKHR => self.b.extension("SPV_KHR_cooperative_matrix"),
                _ => {}
            }
        }
    }

    /// Notes the use of a feature, which the target must have.
    pub fn require(&mut self, f: GpuFeature, what: &str) -> Result<()> {
        if !self.target.has(f) {
            return self.unsupported(what, format!("ask for the feature, as in -t spirv:{}", f.name()));
        }
        self.features.insert(f);
        Ok(())
    }

    /// An instruction with a result.
    pub fn instruction(&mut self, op: spirv::Op, result: Word, operands: Vec<Operand>) -> Result<Word> {
        let id = self.b.id();
        self.push(Instruction::new(op, Some(result), Some(id), operands))?;
        Ok(id)
    }

    /// An instruction on values.
    pub fn op(&mut self, op: spirv::Op, ty: Ty, operands: &[Word]) -> Result<Word> {
        let t = self.type_id(ty)?;
        self.instruction(op, t, operands.iter().map(|x| Operand::IdRef(*x)).collect())
    }

    /// An instruction of GLSL's set.
    pub fn glsl(&mut self, op: spirv::GlslStd450Op, ty: Ty, operands: &[Word]) -> Result<Word> {
        let t = self.type_id(ty)?;
        let mut all = vec![Operand::IdRef(self.glsl), Operand::LiteralExtInstInteger(op as u32)];
        all.extend(operands.iter().map(|x| Operand::IdRef(*x)));
        self.instruction(spirv::Op::ExtInst, t, all)
    }

    /// An instruction without a result.
    pub fn effect(&mut self, op: spirv::Op, operands: Vec<Operand>) -> Result<()> {
        self.push(Instruction::new(op, None, None, operands))
    }

    fn push(&mut self, i: Instruction) -> Result<()> {
        self.instructions += 1;
        if self.instructions > MOST_INSTRUCTIONS {
            return self.unsupported(format!("a kernel of more than {MOST_INSTRUCTIONS} instructions"), "unroll less");
        }
        let pushed = self.b.insert_into_block(InsertPoint::FromEnd(self.tail), i);
        self.ok(pushed)
    }

    /// Begins a block.
    pub fn start(&mut self, label: Word) -> Result<()> {
        self.label = label;
        let begun = self.b.begin_block(Some(label));
        self.ok(begun).map(|_| ())
    }

    /// Ends the block.
    pub fn terminate(&mut self, op: spirv::Op, operands: Vec<Operand>) -> Result<()> {
        self.effect(op, operands)?;
        let left = self.b.select_block(None);
        self.ok(left)
    }

    pub fn ok<T>(&self, built: std::result::Result<T, dr::Error>) -> Result<T> {
        built.map_err(|e| BackendError::Codegen { kernel: self.func.name.clone(), what: e.to_string() })
    }
    pub fn malformed<T>(&self, what: &str) -> Result<T> {
        Err(BackendError::Malformed { kernel: self.func.name.clone(), what: what.into() })
    }
    pub fn unsupported<T>(&self, what: impl Into<String>, hint: impl Into<String>) -> Result<T> {
        let (kernel, target) = (self.func.name.clone(), self.target.name.clone());
        Err(BackendError::Unsupported { kernel, what: what.into(), target, hint: hint.into() })
    }
    pub fn limit(&self, limit: &'static str, needs: u64, has: u64) -> Result<()> {
        let (kernel, target) = (self.func.name.clone(), self.target.name.clone());
        if needs > has { Err(BackendError::Limit { kernel, target, limit, needs, has }) } else { Ok(()) }
    }
}

/// Text that SPIR-V can hold.
fn readable(s: &str) -> String {
    s.chars().filter(|c| *c != '\0').take(LONGEST_TEXT).collect()
}
