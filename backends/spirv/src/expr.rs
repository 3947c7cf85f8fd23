//! Operations without regions: what each op of loop IR is in SPIR-V.

use crate::Result;
use crate::known::Known;
use crate::module::Emit;
use crate::types::{Elem, Ty};
use odc_backend::GpuFeature;
use odc_ir::core::{Binary, Scalar, Unary, Value};
use odc_ir::loops::{LaneInfo, LoopType, Op, Operation};
use rspirv::dr::Operand;
use rspirv::spirv::{self, BuiltIn, Capability, GlslStd450Op as Gl, GroupOperation, Scope, Word};

impl Emit<'_> {
    pub fn operation(&mut self, op: &Operation) -> Result<()> {
        let x = op.operands.as_slice();
        let known = match (&op.op, x) {
            (Op::Const { value }, _) => {
                let r = self.result(op)?;
                let ty = self.ty(r)?;
                match self.func.ty(r) {
                    LoopType::Index => self.checked(*value)?,
                    LoopType::Scalar(_) | LoopType::Vector(..) | LoopType::Ptr(..) | LoopType::Coop(_) => {
                        Known::constant(value.wrap(ty.elem.dtype()))
                    }
                }
            }
            (Op::Binary { f }, [a, b]) => self.binary(*f, *a, *b)?,
            (Op::Unary { f }, [a]) => self.unary(*f, *a)?,
            (Op::Fma {}, [a, b, c]) => self.fma([*a, *b, *c])?,
            (Op::Select {}, [c, a, b]) => self.select([*c, *a, *b])?,
            (Op::Cast {}, [a]) => self.convert(*a, self.result(op)?)?,
            (Op::Bitcast {}, [a]) => {
                if matches!(self.func.ty(*a), LoopType::Ptr(..)) {
                    return self.unsupported("a pointer seen under another type", "legalise the kernel for GPUs first");
                }
                let (from, to) = (self.ty(*a)?, self.ty(self.result(op)?)?);
                let a = self.value(*a)?;
                Known::id(self.bitcast(a, from, to)?)
            }
            (Op::Splat {}, [a]) => match self.get(*a)? {
                constant @ Known::Constant(_) => constant,
                Known::Id { id, .. } => {
                    let ty = self.ty(self.result(op)?)?;
                    Known::id(self.splat(id, ty)?)
                }
            },
            (Op::Extract { lane }, [a]) => match self.get(*a)? {
                constant @ Known::Constant(_) => constant,
                Known::Id { id, .. } => {
                    let elem = self.ty(*a)?.elem;
                    Known::id(self.extract(id, elem, *lane)?)
                }
            },
            (Op::Insert { lane }, [a, s]) => {
                let ty = self.ty(*a)?;
                let t = self.type_id(ty)?;
                let (v, s) = (self.value(*a)?, self.value(*s)?);
                let operands = vec![Operand::IdRef(s), Operand::IdRef(v), Operand::LiteralBit32(*lane)];
                Known::id(self.instruction(spirv::Op::CompositeInsert, t, operands)?)
            }
            (Op::Shared { dtype, len }, _) => return self.shared(self.result(op)?, *dtype, *len),
            (Op::Barrier {}, _) => return self.barrier(),
            (Op::Atomic { f }, _) => return self.atomic(op, *f),
            (Op::Dot4 { signed }, [a, b, acc]) => Known::id(self.dot4(*signed, [*a, *b, *acc])?),
            (Op::CoopLoad {}, [p, at, stride]) => {
                let ty = self.ty(self.result(op)?)?;
                Known::id(self.coop_load([*p, *at, *stride], ty)?)
            }
            (Op::CoopMma {}, [a, b, acc]) => Known::id(self.coop_mma([*a, *b, *acc])?),
            (Op::CoopStore {}, [p, at, stride, v]) => return self.coop_store([*p, *at, *stride, *v]),
            (Op::Subgroup { f }, [a]) => Known::id(self.subgroup(*f, *a)?),
            (Op::Lane { info }, _) => Known::Id { id: self.lane(*info)?, natural: true },
            (Op::HalfBits {}, [a]) => {
                let a = self.value(*a)?;
                Known::id(self.half_bits(a)?)
            }
            (Op::FromHalfBits {}, [a]) => {
                let a = self.value(*a)?;
                Known::id(self.half_value(a)?)
            }
            (Op::Load {}, [p, at]) => {
                let ty = self.ty(self.result(op)?)?;
                Known::id(self.load(*p, *at, ty)?)
            }
            (Op::Store {}, [p, at, v]) => return self.store(*p, *at, *v),
            (Op::Scratch {}, _) => {
                return self.unsupported("scratch memory", "keep the values in registers or in workgroup memory");
            }
            (Op::For { kind }, _) => return self.for_loop(op, *kind),
            (Op::If {}, [c]) => return self.branch(op, *c),
            (
                Op::Binary { .. }
                | Op::Unary { .. }
                | Op::Fma {}
                | Op::Select {}
                | Op::Cast {}
                | Op::Bitcast {}
                | Op::Splat {}
                | Op::Extract { .. }
                | Op::Insert { .. }
                | Op::Subgroup { .. }
                | Op::HalfBits {}
                | Op::FromHalfBits {}
                | Op::Dot4 { .. }
                | Op::CoopLoad {}
                | Op::CoopMma {}
                | Op::CoopStore {}
                | Op::Load {}
                | Op::Store {}
                | Op::If {},
                _,
            ) => return self.malformed("an operation lacks operands"),
        };
        self.set(self.result(op)?, known);
        Ok(())
    }

    fn result(&self, op: &Operation) -> Result<Value> {
        op.result().map_or_else(|| self.malformed("an operation lacks its result"), Ok)
    }

    pub fn extract(&mut self, vector: Word, elem: Elem, lane: u32) -> Result<Word> {
        let t = self.type_id(Ty::scalar(elem))?;
        self.instruction(spirv::Op::CompositeExtract, t, vec![Operand::IdRef(vector), Operand::LiteralBit32(lane)])
    }

    fn splat(&mut self, x: Word, ty: Ty) -> Result<Word> {
        self.op(spirv::Op::CompositeConstruct, ty, &vec![x; ty.lanes as usize]) // one for a matrix, whatever its size
    }

    fn unary(&mut self, f: Unary, a: Value) -> Result<Known> {
        let ty = self.ty(a)?;
        let x = self.value(a)?;
        let (float, signed) = (ty.elem.is_float(), ty.elem == Elem::I32);
        let id = match f {
            Unary::Neg if ty.elem == Elem::Bool => x,
            Unary::Neg => self.op(if float { spirv::Op::FNegate } else { spirv::Op::SNegate }, ty, &[x])?,
            Unary::Abs if float => self.glsl(Gl::FAbs, ty, &[x])?,
            Unary::Abs if signed => self.glsl(Gl::SAbs, ty, &[x])?,
            Unary::Sign if float => self.glsl(Gl::FSign, ty, &[x])?,
            Unary::Sign if signed => self.glsl(Gl::SSign, ty, &[x])?,
            Unary::Sign if ty.elem == Elem::U32 => {
                let one = self.constant(ty, Scalar::Int(1))?;
                self.glsl(Gl::UMin, ty, &[x, one])?
            }
            Unary::Floor if float => self.glsl(Gl::Floor, ty, &[x])?,
            Unary::Ceil if float => self.glsl(Gl::Ceil, ty, &[x])?,
            Unary::Trunc if float => self.glsl(Gl::Trunc, ty, &[x])?,
            Unary::Round if float => self.glsl(Gl::RoundEven, ty, &[x])?,
            Unary::Abs | Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round => x,
            Unary::Not => self.op(if ty.elem == Elem::Bool { spirv::Op::LogicalNot } else { spirv::Op::Not }, ty, &[x])?,
            Unary::Sqrt => self.glsl(Gl::Sqrt, ty, &[x])?,
            Unary::Exp => self.glsl(Gl::Exp, ty, &[x])?,
            Unary::Log => self.glsl(Gl::Log, ty, &[x])?,
            // Drivers may assume that there is no NaN and no infinity: tests of the bits stay.
            Unary::IsNan
            | Unary::IsInf
            | Unary::Sin
            | Unary::Cos
            | Unary::Tan
            | Unary::Asin
            | Unary::Acos
            | Unary::Atan
            | Unary::Sinh
            | Unary::Cosh
            | Unary::Tanh
            | Unary::Asinh
            | Unary::Acosh
            | Unary::Atanh
            | Unary::Erf
            | Unary::Sigmoid => return self.unsupported(f.to_string(), "legalise the kernel for GPUs first"),
        };
        Ok(Known::id(id))
    }

    fn fma(&mut self, [a, b, c]: [Value; 3]) -> Result<Known> {
        let ty = self.ty(a)?;
        if matches!(self.func.ty(a), LoopType::Index) {
            let (a, b, c) = (self.get(a)?, self.get(b)?, self.get(c)?);
            let product = self.index(Binary::Mul, a, b)?;
            return self.index(Binary::Add, product, c);
        }
        let (x, y, z) = (self.value(a)?, self.value(b)?, self.value(c)?);
        let id = match ty.elem {
            Elem::F32 | Elem::F16 => self.glsl(Gl::Fma, ty, &[x, y, z])?,
            Elem::I32 | Elem::U32 => {
                let product = self.op(spirv::Op::IMul, ty, &[x, y])?;
                self.op(spirv::Op::IAdd, ty, &[product, z])?
            }
            Elem::I8 => return self.unsupported("8-bit arithmetic", "legalise the kernel for GPUs first"),
            Elem::Bool => {
                let product = self.op(spirv::Op::LogicalAnd, ty, &[x, y])?;
                self.op(spirv::Op::LogicalOr, ty, &[product, z])?
            }
        };
        Ok(Known::id(id))
    }

    fn select(&mut self, [c, a, b]: [Value; 3]) -> Result<Known> {
        if let Known::Constant(s) = self.get(c)? {
            return self.get(if s.as_bool() { a } else { b });
        }
        let (of, ty) = (self.ty(c)?, self.ty(a)?);
        let natural = self.get(a)?.natural() && self.get(b)?.natural();
        let (mut c, a, b) = (self.value(c)?, self.value(a)?, self.value(b)?);
        if of.lanes != ty.lanes {
            c = self.splat(c, ty.with(Elem::Bool))?; // SPIR-V 1.3 selects lane by lane only
        }
        Ok(Known::Id { id: self.op(spirv::Op::Select, ty, &[c, a, b])?, natural })
    }

    fn convert(&mut self, a: Value, r: Value) -> Result<Known> {
        let (from, to) = (self.ty(a)?, self.ty(r)?);
        let x = self.get(a)?;
        if let Known::Constant(s) = x {
            let s = s.cast(from.elem.dtype(), to.elem.dtype());
            return Ok(Known::Constant(s));
        }
        if from == to {
            return Ok(x);
        }
        let id = self.id(x, from)?;
        Ok(Known::Id { id: self.cast(id, from, to.elem)?, natural: from.elem == Elem::Bool })
    }

    /// A reduction over the subgroup; in f32 for halves, since few devices reduce these.
    fn subgroup(&mut self, f: Binary, a: Value) -> Result<Word> {
        self.require(GpuFeature::Subgroups, "a reduction over the subgroup")?;
        self.capability(Capability::GroupNonUniformArithmetic);
        let ty = self.ty(a)?;
        let mut x = self.value(a)?;
        let wide = if ty.elem == Elem::F16 { ty.with(Elem::F32) } else { ty };
        x = self.cast(x, ty, wide.elem)?;
        let op = match (f, wide.elem) {
            (Binary::Add, Elem::F32) => spirv::Op::GroupNonUniformFAdd,
            (Binary::Add, _) => spirv::Op::GroupNonUniformIAdd,
            (Binary::Mul, Elem::F32) => spirv::Op::GroupNonUniformFMul,
            (Binary::Mul, _) => spirv::Op::GroupNonUniformIMul,
            (Binary::Min, Elem::F32) => spirv::Op::GroupNonUniformFMin,
            (Binary::Min, Elem::I32) => spirv::Op::GroupNonUniformSMin,
            (Binary::Min, _) => spirv::Op::GroupNonUniformUMin,
            (Binary::Max, Elem::F32) => spirv::Op::GroupNonUniformFMax,
            (Binary::Max, Elem::I32) => spirv::Op::GroupNonUniformSMax,
            (Binary::Max, _) => spirv::Op::GroupNonUniformUMax,
            _ => return self.malformed("a subgroup op that is none"),
        };
        let scope = self.uint(Scope::Subgroup as u32)?;
        let t = self.type_id(wide)?;
        let operands = vec![Operand::IdScope(scope), Operand::GroupOperation(GroupOperation::Reduce), Operand::IdRef(x)];
        let r = self.instruction(op, t, operands)?;
        self.cast(r, wide, ty.elem)
    }

    fn lane(&mut self, info: LaneInfo) -> Result<Word> {
        self.require(GpuFeature::Subgroups, "a number of the subgroup")?;
        self.capability(Capability::GroupNonUniform);
        let input = match info {
            LaneInfo::Lane => BuiltIn::SubgroupLocalInvocationId,
            LaneInfo::Size => BuiltIn::SubgroupSize,
            LaneInfo::Subgroup => BuiltIn::SubgroupId,
            LaneInfo::Count => BuiltIn::NumSubgroups,
        };
        let x = self.input(input, 1)?;
        self.op(spirv::Op::Bitcast, Ty::INDEX, &[x])
    }
}
