//! Sizes and shape programs that the bytes choose, against plain integers.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odc_tests::fuzz::shape_program(bytes));
