//! The form of a table of operators: a row is a name, the opsets that have it, arities and a handler.

use crate::import::call::Handler;

/// One operator of a domain.
pub struct Row {
    pub op: &'static str,
    /// The opset that brought it.
    pub since: i64,
    /// The last opset that has it.
    pub until: i64,
    /// Least and most inputs.
    pub inputs: (usize, usize),
    pub run: Handler,
}

/// In all supported opsets.
pub const ANY: i64 = 1;
pub const NOW: i64 = i64::MAX;
pub const MANY: usize = usize::MAX;

macro_rules! rows {
    ($($op:literal $since:tt..$until:tt ($lo:expr, $hi:expr) $run:expr;)*) => {
        rows!(@ $($op, $since, $until, $lo, $hi, $run;)*);
    };
    (@ $($op:literal, $since:expr, $until:expr, $lo:expr, $hi:expr, $run:expr;)*) => {
        pub const TABLE: &[$crate::ops::row::Row] = &[$($crate::ops::row::Row { op: $op, since: $since, until: $until, inputs: ($lo, $hi), run: $run }),*];
    };
}
pub(super) use rows;
