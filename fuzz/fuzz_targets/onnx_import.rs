//! Bytes as an ONNX file: seeds are `tests/models/*/model.onnx`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odc_tests::fuzz::onnx_import(bytes));
