#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| archai_fuzz_campaign::run("mat", bytes));
