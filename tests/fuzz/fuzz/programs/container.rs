#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| corten_fuzz::check("container", data));
