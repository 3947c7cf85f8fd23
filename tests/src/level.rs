//! The levels are the compiler's to list.

pub use odc::AnyModule;
