//! Sizes past which a model is refused, so that a small file cannot ask for unbounded time or memory.

/// `NAME VALUE: what it bounds`.
macro_rules! limits {
    ($($(#[doc = $doc:literal])* $name:ident = $value:expr,)*) => {
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits { $($(#[doc = $doc])* pub $name: usize),* }
        impl Default for Limits {
            fn default() -> Self { Limits { $($name: $value),* } }
        }
        impl Limits {
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];
            /// Changes one by its name.
            pub fn set(&mut self, name: &str, value: usize) -> bool {
                match name {
                    $(stringify!($name) => self.$name = value,)*
                    _ => return false,
                }
                true
            }
        }
    };
}

limits! {
    /// Nodes after functions are expanded.
    nodes = 500_000,
    /// How deep functions may call functions.
    call_depth = 32,
    /// Iterations of a loop that stacks what it computes, where only data says how many there are: room is kept for all.
    trips = 1024,
    /// Axes of a tensor.
    rank = 64,
    /// Bytes of one tensor.
    tensor_bytes = 1 << 36,
}
