//! The GPU that is here (lavapipe or another): random graphs that ran on the CPU run on it too. One device for all of them; where
//! there is none, nothing runs, unless `ODC_REQUIRE_GPU` is set.

use odc_ir::core::{DType, TensorValue};
use odc_runtime::gpu::{GpuError, GpuModel, GpuOptions, GpuSession, own_device, wgpu};
use std::sync::OnceLock;

fn device() -> Option<&'static (wgpu::Device, wgpu::Queue)> {
    static DEVICE: OnceLock<Option<(wgpu::Device, wgpu::Queue)>> = OnceLock::new();
    let made = DEVICE.get_or_init(|| {
        // A device is made for an artifact: this one has both languages that devices here take.
        let sample = crate::pipeline::compile(&crate::fuzz::small_module(), "wgsl,spirv", &crate::pipeline::optimised())
            .expect("the model compiles");
        match own_device(sample, &GpuOptions::default()) {
            Ok(made) => Some(made),
            Err(GpuError::NoAdapter { reason }) => {
                assert!(std::env::var_os("ODC_REQUIRE_GPU").is_none(), "ODC_REQUIRE_GPU is set, but there is no GPU: {reason}");
                eprintln!("SKIPPED: no GPU here ({reason}), graphs run on the CPU only");
                None
            }
            Err(e) => panic!("{e}"),
        }
    });
    made.as_ref()
}

/// Is there one?
pub fn is_here() -> bool {
    device().is_some()
}

/// A session of an artifact on the device.
pub fn session(artifact: Vec<u8>) -> Result<GpuSession, String> {
    let (device, queue) = device().ok_or("there is no GPU")?;
    let model = GpuModel::load(artifact, device, queue, GpuOptions::default()).map_err(|e| format!("load: {e}"))?;
    Ok(GpuSession::new(&model))
}

/// The results by name.
pub fn run(session: &mut GpuSession, inputs: &[(String, TensorValue)], types: &[DType]) -> Result<Vec<(String, TensorValue)>, String> {
    crate::pipeline::with_views(inputs, |views| {
        let outputs = session.run(views).and_then(|mut o| o.read_all()).map_err(|e| format!("run: {e}"))?;
        crate::pipeline::values(outputs.iter().map(|t| (t.name.as_str(), t.view())), types)
    })
}
