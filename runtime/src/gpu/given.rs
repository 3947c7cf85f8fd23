//! The caller's buffers, used in place, and what they must be.

use super::{
    GpuError,
    model::Inner,
    plan::{Place, Plan},
};

/// A part of a buffer of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub buffer: wgpu::Buffer,
    pub offset: u64,
    pub size: u64,
}

impl Part {
    pub(super) fn of(slice: wgpu::BufferSlice<'_>) -> Part {
        Part { buffer: slice.buffer().clone(), offset: slice.offset(), size: slice.size() }
    }

    fn check(&self, name: &str, usage: wgpu::BufferUsages, bytes: u64, align: u64) -> Result<(), GpuError> {
        let refuse = |why: String| Err(GpuError::Buffer { name: name.into(), why });
        let lacks = usage - self.buffer.usage();
        let need = bytes.max(1).checked_next_multiple_of(4).unwrap_or(u64::MAX);
        if !lacks.is_empty() {
            return refuse(format!("it was created without the usage {lacks:?}"));
        }
        if !self.offset.is_multiple_of(align) {
            return refuse(format!("it starts at byte {}, which the device wants to be a multiple of {align}", self.offset));
        }
        if self.size < need {
            return refuse(format!("it has {} bytes, the tensor needs {need}", self.size));
        }
        Ok(())
    }
}

/// The caller's buffers: `None` where the session's own are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub inputs: Vec<Option<Part>>,
    pub outputs: Vec<Option<Part>>,
}

impl Given {
    /// All of them are the session's.
    pub(super) fn none(inputs: usize, outputs: usize) -> Given {
        Given { inputs: vec![None; inputs], outputs: vec![None; outputs] }
    }

    /// What WebGPU would refuse later, and worse explained.
    pub(super) fn check(&self, model: &Inner, plan: &Plan) -> Result<(), GpuError> {
        let (inputs, outputs) = (&model.manifest.inputs, &model.manifest.outputs);
        let align = u64::from(model.device.limits().min_storage_buffer_offset_alignment);
        for (i, (info, &bytes)) in inputs.iter().zip(&plan.input_bytes).enumerate() {
            if let Some(part) = self.input(i) {
                part.check(&info.name, plan.usage(Place::Input(i)), bytes, align)?;
            }
        }
        for (k, (info, o)) in outputs.iter().zip(&plan.outputs).enumerate() {
            let Some(part) = self.output(k) else {
                continue;
            };
            part.check(&info.name, plan.usage(Place::Output(k)), o.bytes, align)?;
            let others = self.outputs.iter().enumerate().filter(|(j, _)| *j != k).filter_map(|(_, p)| p.as_ref());
            if self.inputs.iter().flatten().chain(others).any(|p| p.buffer == part.buffer) {
                let why = "it is another input or output too, and a GPU cannot write a buffer that it also uses otherwise".into();
                return Err(GpuError::Buffer { name: info.name.clone(), why });
            }
        }
        Ok(())
    }

    pub(super) fn input(&self, i: usize) -> Option<&Part> {
        self.inputs.get(i)?.as_ref()
    }

    pub(super) fn output(&self, k: usize) -> Option<&Part> {
        self.outputs.get(k)?.as_ref()
    }
}
