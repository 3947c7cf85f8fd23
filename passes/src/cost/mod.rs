//! What a dispatch costs on a CPU: counts of what it does (multiply-adds of padded tiles, elements staged, element functions, bytes),
//! times the nanoseconds that each takes on the target. Linear, so that the rates can be fitted to measurements.
//!
//! Costs rank choices; nothing is ever measured while compiling.

mod count;

pub use count::{constants, dispatch, single};

use crate::Cpu;
use odc_ir::core::{Dim, Ranges, Sym, Symbol};
use odc_ir::tensor::{Func, Module, Op};
use std::collections::BTreeMap;

macro_rules! counts {
    ($($(#[doc = $doc:literal])* $v:ident $name:literal $ns:literal,)*) => {
        /// What is counted.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Count { $($(#[doc = $doc])* $v),* }
        impl Count {
            pub const ALL: &'static [Count] = &[$(Count::$v),*];
            pub const fn name(self) -> &'static str { match self { $(Count::$v => $name),* } }
        }
        const COUNTS: usize = Count::ALL.len();
        impl Rates {
            /// One core of a common x86-64 with vectors of 128 bits, fitted by `odc tune --fit`.
            pub const CPU: Rates = Rates([$($ns),*]);
        }
    };
}
counts! {
    /// Dispatches.
    Launch "launch" 268.0,
    /// Multiply-adds of register tiles, padded to whole tiles.
    Fma "fma" 0.053,
    /// Elements copied into panels from neighbours in memory.
    Staged "staged" 0.0,
    /// Elements copied into panels through an index map with padding.
    Guarded "guarded" 0.74,
    /// Cheap element functions in vector lanes.
    Lane "lane" 0.026,
    /// Cheap element functions one by one: where loads are strided, gathered or guarded.
    Scalar "scalar" 0.038,
    /// Exponentials, divisions, roots.
    Heavy "heavy" 0.63,
    /// Loads that are not from neighbours.
    Strided "strided" 0.39,
    /// Bytes read and written outside of the dispatch.
    Bytes "bytes" 0.0093,
}

/// How often a dispatch does each; an estimate where sizes are symbols.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Counts(pub [f64; COUNTS]);

impl Counts {
    pub(crate) fn add(&mut self, what: Count, n: f64) {
        self.0[what as usize] += n;
    }
    pub fn get(&self, what: Count) -> f64 {
        self.0[what as usize]
    }
    pub(crate) fn plus(mut self, other: &Counts) -> Counts {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a += b);
        self
    }
}

/// Nanoseconds of each count.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rates(pub [f64; COUNTS]);

impl Rates {
    /// Nanoseconds of a dispatch that does nothing.
    pub fn launch(&self) -> f64 {
        self.0[Count::Launch as usize]
    }
    /// Predicted nanoseconds.
    pub fn time(&self, counts: &Counts) -> f64 {
        self.0.iter().zip(counts.0).map(|(ns, n)| ns * n).sum()
    }
}

/// Where costs are counted: likely sizes of symbols, what they prove, and the machine's vectors.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub ranges: &'a Ranges,
    pub symbols: &'a BTreeMap<Sym, Symbol>,
    pub cpu: Cpu,
}

impl Place<'_> {
    pub(crate) fn size(&self, d: &Dim) -> f64 {
        crate::schedule::hint(d, self.symbols) as f64
    }
    fn product<'d>(&self, dims: impl IntoIterator<Item = &'d Dim>) -> f64 {
        dims.into_iter().map(|d| self.size(d)).product()
    }
}

/// Predicted nanoseconds of a function that consists of dispatches.
pub fn func_time(module: &Module, func: &Func, cpu: Cpu, rates: &Rates) -> f64 {
    let ranges = module.ranges();
    let place = Place { ranges: &ranges, symbols: &module.symbols, cpu };
    let weights = constants(func);
    let dispatches = func.body.ops.iter().filter(|o| matches!(o.op, Op::Dispatch { .. }));
    dispatches.map(|o| rates.time(&dispatch(func, o, &weights, &place))).sum()
}
