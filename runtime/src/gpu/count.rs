//! Counts of what was made and done, so that "nothing after load" can be asserted; and bytes held, by purpose.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Totals since a model or a session was made.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(super) struct Counts {
            $(pub $name: AtomicU64,)*
        }

        impl Counts {
            pub(super) fn get(&self) -> Counters {
                Counters { $($name: self.$name.load(Relaxed),)* }
            }
        }

        impl core::ops::Sub for Counters {
            type Output = Counters;
            /// What happened since `earlier`.
            fn sub(self, earlier: Counters) -> Counters {
                Counters { $($name: self.$name.saturating_sub(earlier.$name),)* }
            }
        }
    };
}

counters! {
    pipelines,
    buffers,
    /// Of the buffers, also of those that are gone.
    buffer_bytes,
    bind_groups,
    submits,
    passes,
    dispatches,
    copies,
    /// `write_buffer` calls: weights, sizes and host inputs.
    writes,
}

pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

/// Bytes of the GPU buffers that are there now, exactly as created. Buffers of the caller are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GpuMemory {
    /// The weights that the chosen program uses, each rounded up to 256; shared by all sessions of the model.
    pub weights: u64,
    /// The program's arena and 256 bytes.
    pub arena: u64,
    /// Outputs that are not written to the caller's buffers, each rounded up to 16.
    pub outputs: u64,
    /// Inputs that came from host memory, each rounded up to 16.
    pub inputs: u64,
    /// Uniform buffers of the remembered sets of shapes: each dispatch's sizes, at multiples of 256.
    pub dims: u64,
    /// For reading back; 0 until that is asked for.
    pub staging: u64,
}

impl GpuMemory {
    pub fn total(&self) -> u64 {
        self.weights + self.arena + self.outputs + self.inputs + self.dims + self.staging
    }
}
