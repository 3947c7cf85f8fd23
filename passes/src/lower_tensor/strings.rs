//! Strings become their numbers: from the tensor level on `str` is `i32`, so that no kernel and no backend knows that there is text.

use odc_ir::core::{DType, TensorType};
use odc_ir::graph::Module;
use std::borrow::Cow;

/// The module with `i32` for `str`.
pub fn as_numbers(module: &Module) -> Cow<'_, Module> {
    if !module.funcs.iter().flat_map(|f| &f.types).any(|t| t.dtype == DType::Str) {
        return Cow::Borrowed(module);
    }
    let mut m = module.clone();
    let number = |d: &mut DType| {
        if *d == DType::Str {
            *d = DType::I32;
        }
    };
    m.consts.iter_mut().for_each(|c| number(&mut c.dtype));
    m.funcs.iter_mut().flat_map(|f| &mut f.types).for_each(|t: &mut TensorType| number(&mut t.dtype));
    m.strings.clear();
    Cow::Owned(m)
}
