//! GPU targets as data: a language, the features that kernels may use, and the limits that they must keep. The defaults are what
//! every WebGPU device has; more is asked for by name (`wgsl:f16+subgroups`) or with a limits file.

use crate::TargetError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What the kernels are written in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    Wgsl,
    Spirv,
    Metal,
}

impl Language {
    pub const ALL: &[Language] = &[Language::Wgsl, Language::Spirv, Language::Metal];
    pub const fn name(self) -> &'static str {
        match self {
            Language::Wgsl => "wgsl",
            Language::Spirv => "spirv",
            Language::Metal => "metal",
        }
    }
}

/// What a device may have beyond the default.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum GpuFeature {
    /// 16-bit floats, in memory and in arithmetic.
    #[serde(rename = "f16")]
    F16,
    /// Reductions over the invocations of a subgroup.
    #[serde(rename = "subgroups")]
    Subgroups,
}

impl GpuFeature {
    pub const ALL: &[GpuFeature] = &[GpuFeature::F16, GpuFeature::Subgroups];
    pub const fn name(self) -> &'static str {
        match self {
            GpuFeature::F16 => "f16",
            GpuFeature::Subgroups => "subgroups",
        }
    }
    /// WebGPU's name.
    pub const fn webgpu(self) -> &'static str {
        match self {
            GpuFeature::F16 => "shader-f16",
            GpuFeature::Subgroups => "subgroups",
        }
    }
}

/// WebGPU's limits, as far as kernels can exceed them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GpuLimits {
    /// maxStorageBuffersPerShaderStage
    pub storage_buffers: u32,
    /// maxStorageBufferBindingSize
    pub binding_bytes: u64,
    /// maxComputeInvocationsPerWorkgroup
    pub invocations: u32,
    /// maxComputeWorkgroupStorageSize
    pub workgroup_bytes: u32,
}

/// What every WebGPU device has.
impl Default for GpuLimits {
    fn default() -> Self {
        GpuLimits { storage_buffers: 8, binding_bytes: 128 << 20, invocations: 256, workgroup_bytes: 16 << 10 }
    }
}

/// Numbers that schedules are chosen by: a mid-range integrated GPU.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct GpuCosts {
    /// f32, in 10^9 operations a second.
    pub peak_gflops: f64,
    pub bandwidth_gbs: f64,
    pub dispatch_us: f64,
    /// Invocations that keep the device busy.
    pub busy: u32,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GpuTarget {
    /// `wgsl:f16+subgroups`, features in this order: parses back to this description, but for a limits file.
    pub name: String,
    pub language: Language,
    pub features: BTreeSet<GpuFeature>,
    pub limits: GpuLimits,
    pub costs: GpuCosts,
}

impl GpuTarget {
    /// The target of that name; `None` if the name is not of a GPU language.
    pub fn parse(name: &str) -> Option<Result<GpuTarget, TargetError>> {
        let (language, rest) = name.split_once(':').unwrap_or((name, ""));
        let language = *Language::ALL.iter().find(|l| l.name() == language)?;
        let mut features = BTreeSet::new();
        for word in rest.split('+').filter(|w| !w.is_empty()) {
            match GpuFeature::ALL.iter().find(|f| f.name() == word) {
                Some(f) => features.insert(*f),
                None => return Some(Err(TargetError::Unknown { name: name.into() })),
            };
        }
        let words: Vec<&str> = features.iter().map(|f: &GpuFeature| f.name()).collect();
        let name = if words.is_empty() { language.name().into() } else { format!("{}:{}", language.name(), words.join("+")) };
        let costs = GpuCosts { peak_gflops: 1000.0, bandwidth_gbs: 60.0, dispatch_us: 5.0, busy: 4096 };
        Some(Ok(GpuTarget { name, language, features, limits: GpuLimits::default(), costs }))
    }

    pub fn has(&self, f: GpuFeature) -> bool {
        self.features.contains(&f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let t = GpuTarget::parse("wgsl:f16+subgroups").unwrap().unwrap();
        assert!(t.has(GpuFeature::F16) && t.has(GpuFeature::Subgroups) && t.language == Language::Wgsl);
        assert_eq!(GpuTarget::parse("wgsl:subgroups+f16").unwrap().unwrap(), t);
        assert!(GpuTarget::parse("metal").unwrap().unwrap().features.is_empty());
        assert!(GpuTarget::parse("wgsl:tensor-cores").unwrap().is_err());
        assert!(GpuTarget::parse("cpu").is_none());
    }
}
