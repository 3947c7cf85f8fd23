//! ONNX models as odc's graph IR: the protobuf layer (zero-copy, confined, checked) and the importer over it.
//!
//! Everything in a model is untrusted: names become locations, sizes are checked, and all problems are reported at once.

pub mod attrs;
pub mod diag;
pub mod external;
pub mod import;
pub mod load;
mod mapped;
mod ops;
pub mod proto;
pub mod support;
pub mod tensor;

pub use diag::{Code, Diagnostic, Fault, OpenDim};
pub use import::{Fixed, ImportOptions, Items, Limits, OPSETS, import, item_name};
pub use load::{ImportError, Model};
pub use mapped::{FileError, map_file};
pub use tensor::Tensor;
