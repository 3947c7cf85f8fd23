//! What the suites of odc share: random modules of every level, their inputs, the file-test harness. Plain code without a test
//! in it, so that fuzz targets can use it too.

// The one stage of the compiler that has no door of its own: a program and its code as the parts of an artifact.
#[path = "../../compiler/src/artifact.rs"]
mod artifact;
pub mod choices;
pub mod filetest;
pub mod fuzz;
pub mod generate;
pub mod level;
pub mod pipeline;
mod problem {
    pub use odc::Problem;
}
