//! Text of tensor modules: seeds are `tests/filetests/**/*.odc` and what `odc compile --dump` writes.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odc_tests::fuzz::parse_tensor(bytes));
