//! What can keep a WGSL kernel from becoming a Metal one.

/// Why a kernel has no MSL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetalError {
    #[error("the kernel is no WGSL that naga can read:\n{text}")]
    Parse { text: String },
    #[error("the kernel is WGSL, but not valid for Metal (f16, subgroups and 8x8 matrices are; f64 and 64-bit integers are not):\n{text}")]
    Invalid { text: String },
    #[error("a Metal kernel comes from a module with one compute entry point; this one has {found}: write one module a kernel")]
    EntryPoints { found: String },
    #[error("`{name}` is a pipeline constant; put its value into the kernel before it is translated")]
    Override { name: String },
    #[error("`{name}` is bound as {what}; Metal kernels take storage and uniform buffers of group 0, at indices below {limit}")]
    Binding { name: String, what: String, limit: u32 },
    #[error("the kernel asks for the length of a runtime array; Metal has no such length: pass it as a size")]
    ArrayLength,
    #[error(
        "the kernel uses a {columns}x{rows} matrix of a subgroup; Metal's SIMD-group matrices are 8x8 only: choose 8x8 for this target"
    )]
    MatrixShape { columns: u32, rows: u32 },
    #[error("naga cannot write this kernel as MSL: {text}")]
    Write { text: String },
}
