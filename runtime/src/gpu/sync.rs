//! Waiting and errors: wgpu reports both through futures and callbacks; here they become results.

use super::GpuError;
use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread. wgpu's native futures are ready at once.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Calls `f` and turns what the device says about it into an error: without a scope wgpu panics. Scopes belong to
/// the calling thread.
pub(super) fn scoped<T>(device: &wgpu::Device, what: &str, bytes: u64, f: impl FnOnce() -> T) -> Result<T, GpuError> {
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let value = f();
    let errors = [internal, memory, validation].map(|scope| block_on(scope.pop()));
    match errors.into_iter().flatten().next() {
        None => Ok(value),
        Some(wgpu::Error::OutOfMemory { .. }) => Err(GpuError::OutOfMemory { what: what.into(), bytes }),
        Some(e) => Err(GpuError::Device { what: what.into(), reason: plain(&e.to_string()) }),
    }
}

/// wgpu's tree of causes in one line.
fn plain(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && *l != "Validation Error" && *l != "Caused by:");
    lines.collect::<Vec<_>>().join(": ")
}

/// Whether a device is lost. One for all models on it, since a device calls one callback only.
pub(super) struct Watch {
    device: wgpu::Device,
    lost: Arc<Mutex<Option<String>>>,
}

static WATCHES: Mutex<Vec<Weak<Watch>>> = Mutex::new(Vec::new());

/// Devices of different instances may compare equal, so ask: errors go to the scopes of their own device.
fn same_device(a: &wgpu::Device, b: &wgpu::Device) -> bool {
    if a != b {
        return false;
    }
    let outer = b.push_error_scope(wgpu::ErrorFilter::Validation);
    let inner = a.push_error_scope(wgpu::ErrorFilter::Validation);
    let nonsense = wgpu::BufferDescriptor { label: None, size: 4, usage: wgpu::BufferUsages::empty(), mapped_at_creation: false };
    drop(b.create_buffer(&nonsense));
    let (inner, _outer) = (block_on(inner.pop()), block_on(outer.pop()));
    inner.is_some()
}

impl Watch {
    /// With `install`, the device's lost callback is replaced, once.
    pub(super) fn of(device: &wgpu::Device, install: bool) -> Arc<Watch> {
        let mut all = WATCHES.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|w| w.strong_count() > 0);
        if let Some(watch) = all.iter().filter_map(Weak::upgrade).find(|w| same_device(&w.device, device)) {
            return watch;
        }
        let lost = Arc::new(Mutex::new(None));
        let watch = Arc::new(Watch { device: device.clone(), lost: lost.clone() });
        if install {
            device.set_device_lost_callback(move |reason, message| {
                let text = if message.is_empty() { format!("{reason:?}") } else { message };
                *lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
            });
            all.push(Arc::downgrade(&watch));
        }
        watch
    }

    pub(super) fn set_lost(&self, reason: &str) {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.into());
    }

    pub(super) fn check(&self) -> Result<(), GpuError> {
        match &*self.lost.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(reason) => Err(GpuError::DeviceLost { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Lets the device call its callbacks; with `wait`, until all that was submitted is done.
    pub(super) fn poll(&self, wait: bool) -> Result<(), GpuError> {
        self.check()?;
        let kind = if wait { wgpu::PollType::wait_indefinitely() } else { wgpu::PollType::Poll };
        // wgpu panics when the driver loses the device during a poll, which is no reason to end the application.
        match catch_unwind(AssertUnwindSafe(|| self.device.poll(kind))) {
            Ok(Ok(_)) => {}
            Ok(Err(e)) => return Err(GpuError::Device { what: "to wait".into(), reason: e.to_string() }),
            Err(_) => self.set_lost("it failed while it was waited for"),
        }
        self.check()
    }

    /// What a lost device refuses is not the fault of what was asked.
    pub(super) fn explain<T>(&self, result: Result<T, GpuError>) -> Result<T, GpuError> {
        if let Err(GpuError::Device { .. } | GpuError::Kernel { .. } | GpuError::OutOfMemory { .. }) = &result {
            self.poll(true)?;
        }
        result
    }
}
