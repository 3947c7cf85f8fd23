//! Random, well-typed modules of each level, small enough for the interpreters: symbolic sizes, sizes of 1, odd sizes and primes.
//! Generators work out result types on their own, so that accepting their modules is a test of the verifiers.

pub mod dims;
pub mod graph;
pub mod inputs;
pub mod loops;
pub mod tensor;
