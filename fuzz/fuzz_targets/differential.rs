//! Graphs that the bytes choose: compiled code in the runtime against the graph interpreter.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odc_tests::fuzz::differential(bytes));
