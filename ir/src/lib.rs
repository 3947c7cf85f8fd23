//! The IRs of odc: three closed op sets ([`graph`]: what the model means, [`tensor`]: how values are indexed, [`loops`]: what a
//! core or a workgroup does) over one small kernel ([`core`]). Each has a text form, a verifier and a reference interpreter.

pub mod core;
pub mod graph;
pub mod loops;
pub mod program;
pub mod tensor;
