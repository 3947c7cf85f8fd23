//! An opened artifact: checked manifest, weights in place, code ready to call. Sessions share it.

use crate::{
    LoadError, Session, SessionOptions, Strings, code, cpu,
    memory::{ArtifactBytes, Source},
};
use alloc::{string::String, sync::Arc, vec::Vec};
use odc_format::{ArtifactView, Code, FormatError, Layout, Manifest, TargetProgram};

pub use code::KernelFn;

/// A model in an object file that `odc compile -o m.o` wrote; `OdcStaticModel` in `odc.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct StaticModel {
    pub artifact: *const u8,
    pub artifact_len: usize,
    pub kernels: *const KernelFn,
    pub kernel_count: usize,
}

// SAFETY: it points at constants of the program.
unsafe impl Sync for StaticModel {}

/// Cheap to clone; the last clone or session frees it.
#[derive(Clone)]
pub struct Artifact(pub(crate) Arc<Loaded>);

pub(crate) struct Loaded {
    pub manifest: Manifest,
    pub target: TargetProgram,
    pub kernels: Vec<KernelFn>,
    pub layout: Layout,
    bytes: ArtifactBytes,
    /// Keeps the memory alive that `kernels` points into.
    #[cfg(all(feature = "std", unix))]
    _code: Option<code::CodeMemory>,
}

impl Loaded {
    /// All weights; the manifest's offsets count from here.
    pub(crate) fn weights(&self) -> &[u8] {
        self.bytes.bytes().get(self.layout.weights.clone()).unwrap_or_default()
    }
}

impl Artifact {
    /// Maps the file. It must not be changed while it is open: write a new file and rename it over the old one.
    #[cfg(feature = "std")]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Artifact, LoadError> {
        Artifact::load(ArtifactBytes::open(path)?, None)
    }

    /// From memory. Bytes that start on a 64-byte boundary are used in place, others are copied once.
    pub fn from_bytes(bytes: impl Into<ArtifactBytes>) -> Result<Artifact, LoadError> {
        Artifact::load(bytes.into(), None)
    }

    /// A model whose kernels are linked into the program.
    ///
    /// # Safety
    /// `kernels` are the functions that the artifact was compiled with, in its order.
    pub unsafe fn from_static(artifact: &'static [u8], kernels: &'static [KernelFn]) -> Result<Artifact, LoadError> {
        Artifact::load(Source::Static(artifact).into(), Some(kernels))
    }

    fn load(bytes: ArtifactBytes, linked: Option<&[KernelFn]>) -> Result<Artifact, LoadError> {
        let ArtifactView { mut manifest, layout, .. } = ArtifactView::parse(bytes.bytes())?;
        let mut reasons: Vec<String> = Vec::new();
        let fits = |t: &TargetProgram| match cpu::missing(t) {
            Some(reason) => {
                reasons.push(reason);
                false
            }
            None => true,
        };
        let Some(index) = manifest.targets.iter().position(fits) else {
            return Err(LoadError::NoTarget { reasons: reasons.join("; ") });
        };
        let target = manifest.targets.swap_remove(index);
        let bytes = bytes.aligned()?;
        let section = match target.code {
            Code::Linked => None,
            Code::Section(s) => {
                let range = layout.code.get(s as usize).cloned().unwrap_or(0..0);
                Some(bytes.bytes().get(range).unwrap_or_default())
            }
        };
        let need = target.kernels.len();
        match (linked, section) {
            (Some(kernels), _) if kernels.len() != need => Err(LoadError::KernelTable { have: kernels.len(), need }),
            (Some(kernels), _) => Ok(Loaded {
                manifest,
                target,
                kernels: kernels.to_vec(),
                layout,
                bytes,
                #[cfg(all(feature = "std", unix))]
                _code: None,
            }),
            (None, None) => Err(LoadError::KernelsNotLinked),
            #[cfg(all(feature = "std", unix))]
            (None, Some(section)) => {
                let code = code::CodeMemory::new(section)?;
                let kernels = target.kernels.iter().map(|k| code.function(k.offset)).collect::<Result<_, _>>()?;
                Ok(Loaded { manifest, target, kernels, layout, bytes, _code: Some(code) })
            }
            #[cfg(not(all(feature = "std", unix)))]
            (None, Some(_)) => Err(LoadError::CodeMemory { reason: "this build of the runtime runs linked kernels only".into() }),
        }
        .map(|loaded| Artifact(Arc::new(loaded)))
    }

    /// What the artifact says about itself. `targets` holds those that were not chosen.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// The file's bytes, shared: a GPU runs the other targets of the same artifact from them.
    pub fn bytes(&self) -> ArtifactBytes {
        self.0.bytes.clone()
    }

    /// The program that runs on this machine.
    pub fn target(&self) -> &TargetProgram {
        &self.0.target
    }

    /// Bytes of all weights, which sessions share.
    pub fn weight_bytes(&self) -> usize {
        self.0.layout.weights.len()
    }

    /// Compares the weights with their checksum; opening does not, since that reads all of them.
    pub fn verify_weights(&self) -> Result<(), FormatError> {
        self.0.layout.verify_weights(self.0.bytes.bytes())
    }

    /// Exact arena bytes at given values of the symbols, before anything is allocated; `None` when a symbol that
    /// it depends on is not among them.
    pub fn arena_bytes_at(&self, symbols: &[(&str, i64)]) -> Option<i64> {
        let value = |name: &str| symbols.iter().find(|(n, _)| *n == name).map(|&(_, v)| v);
        let symbols = self.0.manifest.symbols.iter();
        let known: Vec<_> = symbols.filter_map(|s| Some((s.slot, value(&s.name)?))).collect();
        let slots = self.0.manifest.shape_program.evaluate_at(&known);
        slots.get(self.0.target.arena_bytes.index()).copied().flatten()
    }

    /// The numbers of the model's strings, to begin with.
    pub fn strings(&self) -> Strings {
        Strings::new(&self.0.manifest)
    }

    pub fn session(&self, options: SessionOptions) -> Result<Session, LoadError> {
        Session::new(self.clone(), options)
    }
}
