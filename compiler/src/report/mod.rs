//! What people ask of a compiled model: what became one dispatch and why no more did, what is in memory when, and what was not
//! recognised. As text, as JSON and as a page.

mod dispatches;
mod fusion;
mod memory;
mod page;
mod patterns;

pub use dispatches::{Row, rows};
pub use fusion::{egraph_text, fusion_json, fusion_text};
pub use memory::Memory;
pub use page::page;
pub use patterns::{patterns_json, patterns_text};
