//! The suites of odc, one binary.

mod carried_models;
mod coverage;
mod determinism;
mod dims;
mod files;
mod fuzz;
mod gpu;
mod legal;
mod meaning;
mod metal;
mod round_trip;
mod snapshots;
mod static_link;
mod support;
mod tidy;
mod weights;

use proptest::prelude::*;

/// The choices of a generator: shrinking them shrinks what it makes.
fn tape() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(any::<u32>(), 0..300)
}
