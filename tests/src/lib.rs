//! What the suites of odc share: random modules of every level, their inputs, the file-test harness. Plain code without a test
//! in it, so that fuzz targets can use it too; without the feature `compile` what needs no compiler.

pub mod choices;
#[cfg(feature = "compile")]
pub mod filetest;
pub mod fuzz;
pub mod generate;
#[cfg(feature = "gpu")]
pub mod gpu;
#[cfg(feature = "compile")]
pub mod level;
#[cfg(feature = "compile")]
pub mod pipeline;
pub mod samples;
