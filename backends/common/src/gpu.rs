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
    /// Features that a device of the language may have.
    pub fn features(self) -> &'static [GpuFeature] {
        use GpuFeature::*;
        match self {
            Language::Wgsl | Language::Metal => &[F16, Subgroups, Dot],
            Language::Spirv => &[F16, Subgroups, Dot, Coop],
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
    /// Sums of four products of bytes.
    #[serde(rename = "dot")]
    Dot,
    /// Matrices that a subgroup multiplies together, of the shapes in the limits; brings f16 and subgroups.
    #[serde(rename = "coop")]
    Coop,
}

impl GpuFeature {
    pub const fn name(self) -> &'static str {
        match self {
            GpuFeature::F16 => "f16",
            GpuFeature::Subgroups => "subgroups",
            GpuFeature::Dot => "dot",
            GpuFeature::Coop => "coop",
        }
    }
    /// WebGPU's name: of a device's feature, for `dot` of the language's; wgpu's where WebGPU has none.
    pub const fn webgpu(self) -> &'static str {
        match self {
            GpuFeature::F16 => "shader-f16",
            GpuFeature::Subgroups => "subgroups",
            GpuFeature::Dot => "packed_4x8_integer_dot_product",
            GpuFeature::Coop => "wgpu-cooperative-matrix",
        }
    }
}

/// Shapes of cooperative matrices: rows, columns and depth of a product. Devices differ; these are the common ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoopShapes {
    /// f16 factors, f32 sums.
    pub f16: [u32; 3],
    /// i8 factors, i32 sums.
    pub i8: [u32; 3],
    /// Invocations of a subgroup: all that the device makes have so many.
    pub subgroup: u32,
}

impl CoopShapes {
    /// What a kernel that multiplies matrices of f16 (or of i8) needs of a device, in an artifact's list of features.
    pub fn needs(&self, f16: bool) -> [String; 2] {
        let ([m, n, k], factors) = if f16 { (self.f16, "f16") } else { (self.i8, "i8") };
        [format!("cooperative-matrix:{factors}:{m}x{n}x{k}"), format!("subgroup-size:{}", self.subgroup)]
    }
}

impl Default for CoopShapes {
    fn default() -> Self {
        CoopShapes { f16: [16, 16, 16], i8: [16, 16, 32], subgroup: 32 }
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
    /// Of a target with `coop`.
    pub coop: CoopShapes,
}

/// What every WebGPU device has.
impl Default for GpuLimits {
    fn default() -> Self {
        GpuLimits { storage_buffers: 8, binding_bytes: 128 << 20, invocations: 256, workgroup_bytes: 16 << 10, coop: CoopShapes::default() }
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
            match language.features().iter().find(|f| f.name() == word) {
                Some(f) => features.insert(*f),
                None => return Some(Err(TargetError::Unknown { name: name.into() })),
            };
        }
        if features.contains(&GpuFeature::Coop) {
            features.extend([GpuFeature::F16, GpuFeature::Subgroups]);
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
        assert!(GpuTarget::parse("wgsl:dot").unwrap().unwrap().has(GpuFeature::Dot));
        let t = GpuTarget::parse("spirv:coop").unwrap().unwrap();
        assert!(t.has(GpuFeature::F16) && t.has(GpuFeature::Subgroups) && !t.has(GpuFeature::Dot));
        assert!(GpuTarget::parse("metal:coop").unwrap().is_err());
        assert!(GpuTarget::parse("cpu").is_none());
    }
}
