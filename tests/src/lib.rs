//! What the suites of odc share: random modules of every level, their inputs, the file-test harness. Plain code without a test
//! in it, so that fuzz targets can use it too.

pub mod choices;
pub mod filetest;
pub mod fuzz;
pub mod generate;
pub mod level;
pub mod pipeline;
