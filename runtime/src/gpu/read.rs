//! Reading back: one copy of the wanted outputs to a staging buffer that is kept, one submit, one wait.

use super::{
    GpuError, GpuSession,
    buffers::{STAGING_USAGE, grow},
    count::add,
    model::Inner,
    sync::scoped,
};
use crate::{DType, TensorView};
use std::{
    sync::mpsc::{RecvTimeoutError, channel},
    time::Duration,
};

/// An output in host memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostTensor {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

impl HostTensor {
    pub fn view(&self) -> TensorView<'_> {
        TensorView::new(self.dtype, &self.shape, &self.data)
    }
}

impl GpuSession {
    /// Waits for what was submitted and copies one output to host memory.
    pub fn read(&mut self, name: &str) -> Result<HostTensor, GpuError> {
        let index = self.output_index(name)?;
        self.read_some(&[index])?.pop().ok_or(GpuError::NotRun)
    }

    /// Waits for what was submitted and copies all outputs to host memory at once, in the manifest's order.
    pub fn read_all(&mut self) -> Result<Vec<HostTensor>, GpuError> {
        let all: Vec<usize> = (0..self.model.0.manifest.outputs.len()).collect();
        self.read_some(&all)
    }

    fn read_some(&mut self, indices: &[usize]) -> Result<Vec<HostTensor>, GpuError> {
        let model = self.model.clone();
        model.0.watch.check()?;
        let read = self.copy_back(&model.0, indices);
        model.0.watch.explain(read)
    }

    fn copy_back(&mut self, model: &Inner, indices: &[usize]) -> Result<Vec<HostTensor>, GpuError> {
        // Where each begins; mapped ranges start at multiples of 8.
        let mut starts = Vec::with_capacity(indices.len());
        let mut end = 0u64;
        for &k in indices {
            starts.push(end);
            end = end.saturating_add(self.output_at(k)?.bytes.next_multiple_of(8));
        }
        if end == 0 {
            return indices.iter().map(|&k| self.host_tensor(k, Vec::new())).collect();
        }
        grow(&mut self.buffers.staging, model, &self.counts, "odc staging", end, STAGING_USAGE)?;
        let staging = self.buffers.staging.clone().ok_or(GpuError::NotRun)?;
        scoped(&model.device, "to copy the outputs (buffers of the caller need COPY_SRC)", end, || {
            let mut encoder = model.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("odc read") });
            for (&k, &start) in indices.iter().zip(&starts) {
                let o = self.output_at(k)?;
                if o.bytes > 0 {
                    encoder.copy_buffer_to_buffer(o.buffer, o.offset, &staging, start, o.bytes.next_multiple_of(4));
                }
            }
            model.queue.submit([encoder.finish()]);
            add(&self.counts.submits, 1);
            Ok::<(), GpuError>(())
        })??;
        let (tell, told) = channel();
        let slice = staging.slice(..end);
        scoped(&model.device, "to map the outputs", end, || {
            slice.map_async(wgpu::MapMode::Read, move |result| {
                let _ = tell.send(result.is_ok());
            });
        })?;
        let waited = model.watch.poll(true);
        // Another thread that polls may be the one that tells.
        let mapped = waited.and_then(|()| {
            loop {
                match told.recv_timeout(Duration::from_millis(50)) {
                    Ok(mapped) => return Ok(mapped),
                    Err(RecvTimeoutError::Disconnected) => return Ok(false),
                    Err(RecvTimeoutError::Timeout) => model.watch.poll(true)?,
                }
            }
        });
        if !matches!(mapped, Ok(true)) {
            // It may be half mapped: the next reading takes a new one.
            self.buffers.staging = None;
            mapped?;
            return Err(GpuError::Device { what: "to map the outputs".into(), reason: "the mapping failed".into() });
        }
        let view = slice.get_mapped_range();
        let tensors = view.map_err(|e| GpuError::Device { what: "to map the outputs".into(), reason: e.to_string() }).and_then(|view| {
            let read = |(&k, &start): (&usize, &u64)| {
                let start = start as usize;
                let bytes = start.checked_add(self.output_at(k)?.bytes as usize).and_then(|end| view.get(start..end));
                self.host_tensor(k, bytes.unwrap_or_default().to_vec())
            };
            indices.iter().zip(&starts).map(read).collect::<Result<Vec<_>, _>>()
        });
        staging.unmap();
        tensors
    }

    fn host_tensor(&self, k: usize, data: Vec<u8>) -> Result<HostTensor, GpuError> {
        let o = self.output_at(k)?;
        Ok(HostTensor { name: o.name.into(), dtype: o.dtype, shape: o.shape.to_vec(), data })
    }
}
