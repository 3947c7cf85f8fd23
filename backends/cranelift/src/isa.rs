//! Targets as Cranelift knows them: settings and CPU features.

use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use odc_backend::{Arch, BackendError, Feature, Target};

const SETTINGS: &[(&str, &str)] = &[
    ("opt_level", "speed"),
    ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
    ("enable_probestack", "false"),
    ("unwind_info", "false"),
];

/// Cranelift's name of a feature, if it knows it.
const fn setting(f: Feature) -> Option<&'static str> {
    Some(match f {
        Feature::Sse3 => "has_sse3",
        Feature::Ssse3 => "has_ssse3",
        Feature::Sse41 => "has_sse41",
        Feature::Sse42 => "has_sse42",
        Feature::Popcnt => "has_popcnt",
        Feature::Avx => "has_avx",
        Feature::Avx2 => "has_avx2",
        Feature::Bmi1 => "has_bmi1",
        Feature::Bmi2 => "has_bmi2",
        Feature::Fma => "has_fma",
        Feature::Lzcnt => "has_lzcnt",
        Feature::Avx512f => "has_avx512f",
        Feature::Avx512dq => "has_avx512dq",
        Feature::Avx512vl => "has_avx512vl",
        Feature::Avx512cd | Feature::Avx512bw => return None,
    })
}

pub fn isa(kernel: &str, target: &Target) -> Result<OwnedTargetIsa, BackendError> {
    let failed = |what: String| BackendError::Codegen { kernel: kernel.into(), what: format!("settings of {}: {what}", target.name) };
    let mut flags = settings::builder();
    for (name, value) in SETTINGS {
        flags.set(name, value).map_err(|e| failed(e.to_string()))?;
    }
    // The operating system does not matter to code without relocations; the convention is set on the function.
    let triple = match target.arch {
        Arch::X86_64 => "x86_64-unknown-linux-gnu",
        Arch::Aarch64 => "aarch64-unknown-linux-gnu",
    };
    let mut builder = isa::lookup_by_name(triple).map_err(|e| failed(e.to_string()))?;
    for f in &target.features {
        if let Some(name) = setting(*f) {
            builder.enable(name).map_err(|e| failed(e.to_string()))?;
        }
    }
    builder.finish(settings::Flags::new(flags)).map_err(|e| failed(e.to_string()))
}
