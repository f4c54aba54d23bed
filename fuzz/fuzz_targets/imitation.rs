#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ingle_testing::readers::imitation(bytes);
});
