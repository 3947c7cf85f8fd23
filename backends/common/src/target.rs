//! Targets as data: what a device can do and what things cost there. A description follows from its name alone, so that the same
//! command gives the same bytes on every machine.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arch {
    #[serde(rename = "x86-64")]
    X86_64,
    Aarch64,
}

impl Arch {
    pub const fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86-64",
            Arch::Aarch64 => "aarch64",
        }
    }
    /// The architecture that this program was built for, if odc can compile for it.
    pub const fn host() -> Option<Arch> {
        if cfg!(target_arch = "x86_64") {
            Some(Arch::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Arch::Aarch64)
        } else {
            None
        }
    }
}

macro_rules! features {
    ($($v:ident $name:tt;)*) => {
        /// An instruction-set extension that kernels may use.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        pub enum Feature { $(#[serde(rename = $name)] $v),* }
        impl Feature {
            pub const ALL: &[Feature] = &[$(Feature::$v),*];
            pub const fn name(self) -> &'static str { match self { $(Feature::$v => $name),* } }
            /// Has the machine that runs this program the feature?
            pub fn on_host(self) -> bool {
                #[cfg(target_arch = "x86_64")]
                { match self { $(Feature::$v => std::arch::is_x86_feature_detected!($name)),* } }
                #[cfg(not(target_arch = "x86_64"))]
                { false }
            }
        }
    };
}
features! {
    Sse3 "sse3";
    Ssse3 "ssse3";
    Sse41 "sse4.1";
    Sse42 "sse4.2";
    Popcnt "popcnt";
    Avx "avx";
    Avx2 "avx2";
    Bmi1 "bmi1";
    Bmi2 "bmi2";
    Fma "fma";
    Lzcnt "lzcnt";
    Avx512f "avx512f";
    Avx512dq "avx512dq";
    Avx512cd "avx512cd";
    Avx512bw "avx512bw";
    Avx512vl "avx512vl";
}

const V2: &[Feature] = &[Feature::Sse3, Feature::Ssse3, Feature::Sse41, Feature::Sse42, Feature::Popcnt];
const V3: &[Feature] = &[Feature::Avx, Feature::Avx2, Feature::Bmi1, Feature::Bmi2, Feature::Fma, Feature::Lzcnt];

const V4: &[Feature] = &[Feature::Avx512f, Feature::Avx512dq, Feature::Avx512cd, Feature::Avx512bw, Feature::Avx512vl];

/// Numbers that schedules are chosen by: a common machine of the class, rounded, never measured while compiling.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Costs {
    pub l1_bytes: u64,
    pub l2_bytes: u64,
    pub l3_bytes: u64,
    pub line_bytes: u64,
    /// f32 multiply-adds of one core, in 10^9 operations a second (a multiply-add counts two), as this backend reaches them.
    pub peak_gflops: f64,
    /// Main memory, one core, in 10^9 bytes a second.
    pub bandwidth_gbs: f64,
    /// Handing one dispatch to the threads and waiting for it.
    pub dispatch_us: f64,
}

/// What makes machine code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codegen {
    /// Everywhere, with vectors of 128 bits.
    Cranelift,
    /// Where odc was built with it: the widest vectors that a target has.
    Llvm,
}

impl Codegen {
    pub const ALL: [Codegen; 2] = [Codegen::Cranelift, Codegen::Llvm];

    pub const fn name(self) -> &'static str {
        match self {
            Codegen::Cranelift => "cranelift",
            Codegen::Llvm => "llvm",
        }
    }
    /// What its own IR is called.
    pub const fn ir(self) -> &'static str {
        match self {
            Codegen::Cranelift => "clif",
            Codegen::Llvm => "ll",
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Target {
    /// `cpu:x86-64-v3`: parses back to this description.
    pub name: String,
    pub arch: Arch,
    pub features: BTreeSet<Feature>,
    pub codegen: Codegen,
    /// Widest vector that kernels may use.
    pub vector_bits: u32,
    pub vector_registers: u32,
    pub costs: Costs,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TargetError {
    #[error("unknown target `{name}`: known are {}", Target::NAMES.join(", "))]
    Unknown { name: String },
    #[error(
        "`{name}` needs LLVM, which this odc was built without: build it with `--features llvm` or leave --codegen llvm out; x86-64-v3 needs none"
    )]
    NeedsLlvm { name: String },
    #[error("`cpu` means the machine that odc runs on, and odc makes no code for it: name one of {}", Target::NAMES.join(", "))]
    HostUnsupported,
}

impl Target {
    pub const NAMES: &[&str] = &["cpu", "cpu:x86-64", "cpu:x86-64-v2", "cpu:x86-64-v3", "cpu:aarch64"];
    /// Those that only LLVM makes code for.
    pub const LLVM_NAMES: &[&str] = &["cpu:x86-64-v4"];

    /// The target of that name. `cpu` is this machine's architecture at the level that nearly all such machines have: x86-64-v3
    /// (AVX2 and FMA, 2013) or AArch64.
    pub fn parse(name: &str) -> Result<Target, TargetError> {
        match name {
            "cpu" => match Arch::host() {
                Some(Arch::X86_64) => Ok(Self::x86("cpu:x86-64-v3", &[V2, V3])),
                Some(Arch::Aarch64) => Ok(Self::aarch64()),
                None => Err(TargetError::HostUnsupported),
            },
            "cpu:x86-64" => Ok(Self::x86(name, &[])),
            "cpu:x86-64-v2" => Ok(Self::x86(name, &[V2])),
            "cpu:x86-64-v3" => Ok(Self::x86(name, &[V2, V3])),
            "cpu:aarch64" => Ok(Self::aarch64()),
            _ => Err(TargetError::Unknown { name: name.into() }),
        }
    }

    /// The target of that name, as `codegen` makes code for it.
    pub fn parse_for(name: &str, codegen: Codegen) -> Result<Target, TargetError> {
        let needs_llvm = Self::LLVM_NAMES.contains(&name);
        match (Self::parse(if needs_llvm { "cpu:x86-64-v3" } else { name }), codegen) {
            (Ok(_), Codegen::Cranelift) if needs_llvm => Err(TargetError::NeedsLlvm { name: name.into() }),
            (Ok(t), Codegen::Llvm) => Ok((if needs_llvm { Self::x86(name, &[V2, V3, V4]) } else { t }).with_llvm()),
            (t, _) => t,
        }
    }

    /// As LLVM makes code for it.
    fn with_llvm(self) -> Target {
        let (vector_bits, vector_registers) = match self.arch {
            Arch::X86_64 if self.has(Feature::Avx512vl) => (512, 32),
            Arch::X86_64 if self.has(Feature::Avx2) => (256, 16),
            Arch::X86_64 => (128, 16),
            Arch::Aarch64 => (128, 32),
        };
        Target { codegen: Codegen::Llvm, vector_bits, vector_registers, ..self }
    }

    /// The best target that this machine can run.
    pub fn host() -> Result<Target, TargetError> {
        match Arch::host() {
            Some(Arch::X86_64) => {
                let levels = ["cpu:x86-64-v3", "cpu:x86-64-v2"].into_iter().filter_map(|n| Self::parse(n).ok());
                levels.into_iter().find(Target::runs_here).map_or_else(|| Self::parse("cpu:x86-64"), Ok)
            }
            Some(Arch::Aarch64) => Ok(Self::aarch64()),
            None => Err(TargetError::HostUnsupported),
        }
    }

    pub fn has(&self, f: Feature) -> bool {
        self.features.contains(&f)
    }

    /// Can the machine that runs this program execute kernels for this target?
    pub fn runs_here(&self) -> bool {
        Arch::host() == Some(self.arch) && self.features.iter().all(|f| f.on_host())
    }

    fn x86(name: &str, levels: &[&[Feature]]) -> Target {
        let features: BTreeSet<_> = levels.iter().flat_map(|l| l.iter().copied()).collect();
        let peak_gflops = if features.contains(&Feature::Fma) { 40.0 } else { 20.0 };
        Target {
            name: name.into(),
            arch: Arch::X86_64,
            features,
            codegen: Codegen::Cranelift,
            vector_bits: 128,
            vector_registers: 16,
            costs: Costs {
                l1_bytes: 32 << 10,
                l2_bytes: 1 << 20,
                l3_bytes: 16 << 20,
                line_bytes: 64,
                peak_gflops,
                bandwidth_gbs: 12.0,
                dispatch_us: 3.0,
            },
        }
    }

    fn aarch64() -> Target {
        Target {
            name: "cpu:aarch64".into(),
            arch: Arch::Aarch64,
            features: BTreeSet::new(),
            codegen: Codegen::Cranelift,
            vector_bits: 128,
            vector_registers: 32,
            costs: Costs {
                l1_bytes: 64 << 10,
                l2_bytes: 1 << 20,
                l3_bytes: 8 << 20,
                line_bytes: 64,
                peak_gflops: 40.0,
                bandwidth_gbs: 12.0,
                dispatch_us: 3.0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_to_themselves() {
        for name in Target::NAMES {
            let t = Target::parse(name).unwrap();
            assert_eq!(Target::parse(&t.name).unwrap(), t);
        }
        let e = Target::parse("cpu:z80").unwrap_err();
        assert!(e.to_string().contains("cpu:x86-64-v3"), "{e}");
    }

    #[test]
    fn host_runs_here() {
        let host = Target::host().unwrap();
        assert!(host.runs_here());
        assert_eq!(host.has(Feature::Fma), host.name.ends_with("v3"));
    }
}
