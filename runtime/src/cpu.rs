//! What this machine's CPU can do, by the names that artifacts use.

use odc_format::{Arch, Device, TargetProgram};

/// Why a program cannot run here, or `None`.
pub(crate) fn missing(target: &TargetProgram) -> Option<alloc::string::String> {
    let Device::Cpu { arch, features } = &target.device else {
        return Some(alloc::format!("\"{}\" is a GPU, which `odc_runtime::gpu` drives", target.target));
    };
    let wants = alloc::format!("\"{}\" wants {}", target.target, arch.name());
    if Arch::host() != Some(*arch) {
        return Some(alloc::format!("{wants}, this machine is {}", HOST));
    }
    let lacking: alloc::vec::Vec<&str> = features.iter().map(|f| f.as_str()).filter(|f| !has(f)).collect();
    (!lacking.is_empty()).then(|| alloc::format!("{wants} with {}, which this CPU lacks", lacking.join(", ")))
}

const HOST: &str = match Arch::host() {
    Some(arch) => arch.name(),
    None => "of another kind",
};

/// CPUID by hand rather than `is_x86_feature_detected!`, which needs std.
#[cfg(target_arch = "x86_64")]
fn has(feature: &str) -> bool {
    use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    #[derive(Clone, Copy)]
    enum Reg {
        C1,
        D1,
        B7,
        C7,
        D7,
        A71,
        CExt,
    }
    use Reg::*;
    // XCR0 bits that the system must have enabled: xmm and ymm; zmm and masks; tiles.
    const AVX: u64 = 0x6;
    const AVX512: u64 = 0xe6;
    const AMX: u64 = 0x60000;
    let (reg, bit, state) = match feature {
        "sse" => (D1, 25, 0),
        "sse2" => (D1, 26, 0),
        "sse3" => (C1, 0, 0),
        "ssse3" => (C1, 9, 0),
        "sse4.1" => (C1, 19, 0),
        "sse4.2" => (C1, 20, 0),
        "popcnt" => (C1, 23, 0),
        "fma" => (C1, 12, AVX),
        "avx" => (C1, 28, AVX),
        "f16c" => (C1, 29, AVX),
        "lzcnt" => (CExt, 5, 0),
        "bmi1" => (B7, 3, 0),
        "avx2" => (B7, 5, AVX),
        "bmi2" => (B7, 8, 0),
        "avx512f" => (B7, 16, AVX512),
        "avx512dq" => (B7, 17, AVX512),
        "avx512cd" => (B7, 28, AVX512),
        "avx512bw" => (B7, 30, AVX512),
        "avx512vl" => (B7, 31, AVX512),
        "avx512vbmi" => (C7, 1, AVX512),
        "avx512vnni" => (C7, 11, AVX512),
        "avx512bitalg" => (C7, 12, AVX512),
        "avx512fp16" => (D7, 23, AVX512),
        "amx-bf16" => (D7, 22, AMX),
        "amx-tile" => (D7, 24, AMX),
        "amx-int8" => (D7, 25, AMX),
        "avxvnni" => (A71, 4, AVX),
        "avx512bf16" => (A71, 5, AVX512),
        _ => return false,
    };
    let max = __cpuid(0).eax;
    let max_ext = __cpuid(0x8000_0000).eax;
    let leaf7 = |sub| (max >= 7).then(|| __cpuid_count(7, sub));
    let value = match reg {
        C1 => __cpuid(1).ecx,
        D1 => __cpuid(1).edx,
        CExt if max_ext < 0x8000_0001 => 0,
        CExt => __cpuid(0x8000_0001).ecx,
        B7 => leaf7(0).map_or(0, |l| l.ebx),
        C7 => leaf7(0).map_or(0, |l| l.ecx),
        D7 => leaf7(0).map_or(0, |l| l.edx),
        A71 => leaf7(0).filter(|l| l.eax >= 1).and_then(|_| leaf7(1)).map_or(0, |l| l.eax),
    };
    let osxsave = __cpuid(1).ecx & (1 << 27) != 0;
    #[target_feature(enable = "xsave")]
    fn enabled_state() -> u64 {
        // SAFETY: called only where the OSXSAVE bit says that the instruction exists.
        unsafe { _xgetbv(0) }
    }
    // SAFETY: OSXSAVE implies XSAVE.
    let state_on = state == 0 || (osxsave && unsafe { enabled_state() } & state == state);
    value & (1 << bit) != 0 && state_on
}

#[cfg(all(target_arch = "aarch64", feature = "std"))]
fn has(feature: &str) -> bool {
    use std::arch::is_aarch64_feature_detected as detected;
    match feature {
        "neon" | "fp" => true,
        "fp16" => detected!("fp16"),
        "dotprod" => detected!("dotprod"),
        "i8mm" => detected!("i8mm"),
        "bf16" => detected!("bf16"),
        "lse" => detected!("lse"),
        "sve" => detected!("sve"),
        "sve2" => detected!("sve2"),
        _ => false,
    }
}

/// Without an operating system's help only the baseline is certain.
#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", feature = "std"))))]
fn has(feature: &str) -> bool {
    cfg!(target_arch = "aarch64") && matches!(feature, "neon" | "fp")
}

#[cfg(all(test, target_arch = "x86_64", feature = "std"))]
mod tests {
    #[test]
    fn agrees_with_std() {
        macro_rules! same {
            ($($name:tt)*) => {$(
                assert_eq!(super::has($name), std::arch::is_x86_feature_detected!($name), $name);
            )*};
        }
        same!("sse" "sse2" "sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "fma" "avx" "f16c" "lzcnt" "bmi1" "avx2" "bmi2"
            "avx512f" "avx512dq" "avx512cd" "avx512bw" "avx512vl" "avx512vbmi" "avx512vnni" "avx512bitalg" "avx512bf16"
            "avx512fp16" "avxvnni");
        assert!(!super::has("no such feature"));
    }
}
