//! The CPU target as `.o` or `.a` with a C header, for programs that link their models: nothing is loaded or mapped
//! at run time, kernels are ordinary functions in `.text`. The compiler uses this; the runtime does not.
#![deny(unsafe_code)]

mod archive;
mod header;
mod object_file;

pub use archive::archive;
pub use header::header;
pub use object_file::{ObjectFormat, write_object};

use odc_format::FormatError;

#[derive(Debug, thiserror::Error)]
pub enum StaticError {
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error("the artifact has no target {index}, only {count}")]
    NoTarget { index: usize, count: usize },
    #[error("target {index} holds no kernels to link: its kernels are linked already")]
    NoCode { index: usize },
    #[error("the object file cannot be written: {0}")]
    Object(#[from] object::write::Error),
    #[error("a {0:?} object cannot go into an archive yet: write the object file (.o) itself")]
    Archive(ObjectFormat),
}

/// A model's name as a part of C identifiers: `PP-OCR v2` becomes `PP_OCR_v2`.
pub fn c_name(name: &str) -> String {
    let part: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if part.is_empty() { "model".into() } else { part }
}

/// The global symbol of a model, of C type `const OdcStaticModel`.
pub fn model_symbol(name: &str) -> String {
    format!("odc_model_{}", c_name(name))
}
