//! Operators that are known and not supported, each with its reason and what to do instead.

use crate::import::call::{Call, Out, unsupported_use};

pub fn image_decoder(_: &mut Call) -> Out {
    Err(unsupported_use("files of pictures are not decoded").help("decode outside and make the decoded picture the model's input"))
}
