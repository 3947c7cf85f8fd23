//! The passes of odc, one folder each: what turns a graph of ONNX-like ops into kernels and a plan. Each takes a module and gives
//! one that means the same; the pipeline that orders them is the compiler's.

pub mod beside;
pub mod canonicalise;
pub mod compress;
pub mod cost;
pub mod egraph;
pub mod expand;
pub mod fuse;
pub mod gpu;
pub mod join;
pub mod lower_loop;
pub mod lower_tensor;
pub mod machine;
pub mod merge;
pub mod plan;
pub mod schedule;
pub mod unroll;

pub use machine::{Coop, Cpu, Gpu, Machine};
