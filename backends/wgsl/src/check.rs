//! naga's word on every kernel that is printed: what it refuses, no browser and no driver shall see.

use crate::kernel::Context;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use odc_backend::BackendError;

pub fn check(cx: &Context<'_>, text: &str) -> Result<(), BackendError> {
    let fail = |what: String| BackendError::Codegen { kernel: cx.kernel.into(), what };
    let module = naga::front::wgsl::parse_str(text).map_err(|e| fail(format!("naga cannot parse it: {}", e.emit_to_string(text))))?;
    let able = Capabilities::SHADER_FLOAT16 | Capabilities::SHADER_FLOAT16_IN_FLOAT32 | Capabilities::SUBGROUP;
    let checked = Validator::new(ValidationFlags::all(), able).validate(&module);
    checked.map(|_| ()).map_err(|e| fail(format!("naga finds it invalid: {}", e.emit_to_string(text))))
}
