//! Memory: 64-byte aligned blocks (arena, misaligned artifacts) and the places that an artifact's bytes come from.

use alloc::{alloc as heap, sync::Arc, vec::Vec};
use core::{alloc::Layout, ptr::NonNull};

pub(crate) const ALIGN: usize = 64;

/// A zeroed block on a 64-byte boundary.
pub(crate) struct Block {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: a block owns its memory, like a `Vec<u8>`.
unsafe impl Send for Block {}
// SAFETY: shared access only reads.
unsafe impl Sync for Block {}

impl Block {
    pub(crate) const fn empty() -> Block {
        // The address of an empty block is aligned too, so that kernels never see a null pointer.
        let ptr = match NonNull::new(core::ptr::without_provenance_mut::<u8>(ALIGN)) {
            Some(ptr) => ptr,
            None => NonNull::dangling(),
        };
        Block { ptr, len: 0 }
    }

    /// `None` when there is not that much memory.
    pub(crate) fn zeroed(len: usize) -> Option<Block> {
        if len == 0 {
            return Some(Block::empty());
        }
        let layout = Layout::from_size_align(len, ALIGN).ok()?;
        // SAFETY: the size is not zero.
        let ptr = NonNull::new(unsafe { heap::alloc_zeroed(layout) })?;
        Some(Block { ptr, len })
    }

    pub(crate) fn copy_of(bytes: &[u8]) -> Option<Block> {
        let block = Block::zeroed(bytes.len())?;
        // SAFETY: both are `bytes.len()` long, and the block is new.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), block.ptr.as_ptr(), bytes.len()) };
        Some(block)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let (true, Ok(layout)) = (self.len > 0, Layout::from_size_align(self.len, ALIGN)) {
            // SAFETY: allocated with this layout in `zeroed`.
            unsafe { heap::dealloc(self.ptr.as_ptr(), layout) };
        }
    }
}

/// Where an artifact's bytes live. Made from a `Vec<u8>`, an `Arc<[u8]>`, a `&'static [u8]`, a file or an artifact;
/// cheap to clone.
#[derive(Clone)]
pub struct ArtifactBytes(Arc<Source>);

pub(crate) enum Source {
    Static(&'static [u8]),
    Vec(Vec<u8>),
    Arc(Arc<[u8]>),
    Block(Block),
    #[cfg(feature = "std")]
    Mapped(memmap2::Mmap),
}

impl From<Source> for ArtifactBytes {
    fn from(source: Source) -> Self {
        ArtifactBytes(Arc::new(source))
    }
}

impl From<Vec<u8>> for ArtifactBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Source::Vec(bytes).into()
    }
}

impl From<Arc<[u8]>> for ArtifactBytes {
    fn from(bytes: Arc<[u8]>) -> Self {
        Source::Arc(bytes).into()
    }
}

impl From<&crate::Artifact> for ArtifactBytes {
    fn from(artifact: &crate::Artifact) -> Self {
        artifact.bytes()
    }
}

impl From<&'static [u8]> for ArtifactBytes {
    fn from(bytes: &'static [u8]) -> Self {
        Source::Static(bytes).into()
    }
}

impl ArtifactBytes {
    /// Maps the file. It must not be changed while it is open: write a new file and rename it over the old one.
    #[cfg(feature = "std")]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<ArtifactBytes, crate::LoadError> {
        let path = path.as_ref();
        let io = |error| crate::LoadError::Io { path: path.to_owned(), error };
        let file = std::fs::File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.is_dir() {
            return Err(io(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
        }
        // SAFETY: the mapping is private and read-only; that nobody truncates the file meanwhile is the caller's part.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        Ok(Source::Mapped(map).into())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match &*self.0 {
            Source::Static(bytes) => bytes,
            Source::Vec(bytes) => bytes,
            Source::Arc(bytes) => bytes,
            // SAFETY: the block is `len` initialised bytes that nobody writes any more.
            Source::Block(block) => unsafe { core::slice::from_raw_parts(block.ptr(), block.len()) },
            #[cfg(feature = "std")]
            Source::Mapped(map) => map,
        }
    }

    /// Moves the bytes to an aligned place unless they are in one, since kernels rely on aligned weights.
    pub(crate) fn aligned(self) -> Result<Self, crate::LoadError> {
        let bytes = self.bytes();
        if bytes.as_ptr().addr().is_multiple_of(ALIGN) {
            return Ok(self);
        }
        let out_of_memory = || crate::LoadError::OutOfMemory { what: "the artifact", bytes: bytes.len() };
        Block::copy_of(bytes).map(|block| Source::Block(block).into()).ok_or_else(out_of_memory)
    }
}
