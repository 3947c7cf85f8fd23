//! Runs GPU targets of an artifact on a [`wgpu::Device`], the application's or an own one (feature `wgpu`).
//!
//! Everything slow happens in [`GpuModel::load`]: weights are uploaded and all pipelines are made. Preparing a set of
//! input shapes makes buffers and bind groups, which sessions remember; after that a run makes nothing: it records
//! one compute pass, into the application's encoder or into an own one that it submits. Nothing is read back unasked.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use odc_runtime::{ArtifactBytes, TensorView, gpu::{GpuModel, GpuOptions, GpuSession, own_device}};
//! let artifact = ArtifactBytes::open("model.odc")?;
//! let options = GpuOptions::default();
//! let (device, queue) = own_device(artifact.clone(), &options)?;
//! let model = GpuModel::load(artifact, &device, &queue, options)?;
//! let mut session = GpuSession::new(&model);
//! let mut outputs = session.run(&[("x", TensorView::of(&[1, 3], &[1.0f32, 2.0, 3.0]))])?;
//! println!("{:?}", outputs.read("y")?.view().as_slice::<f32>());
//! # Ok(()) }
//! ```

mod bind;
mod buffers;
mod count;
mod device;
mod error;
mod given;
mod model;
mod pipelines;
mod plan;
mod read;
mod session;
mod sync;
mod weights;

pub use count::{Counters, GpuMemory};
pub use device::own_device;
pub use error::GpuError;
pub use model::{GpuModel, GpuOptions, memory_at};
pub use read::HostTensor;
pub use session::{GpuInput, GpuOutput, GpuOutputs, GpuSession};
/// The version of wgpu whose devices the runtime takes.
pub use wgpu;

use buffers::{WEIGHT_USAGE, new_buffer};
use error::bad_plan;
