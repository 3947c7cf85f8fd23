//! Damage of an artifact, three bytes a change, under right checksums; and bytes as an artifact.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odc_tests::fuzz::artifact(bytes));
