//! Alone in its process: other tests would use the program's pages meanwhile.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use boathouse_service::memory;

/// More than the kernel maps around one use of it.
static CONSTANT: [u8; 1 << 20] = [7; 1 << 20];

/// KiB of files that this process has mapped and used.
fn file_kib() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss_File:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

fn sum() -> u64 {
    std::hint::black_box(&CONSTANT).iter().map(|byte| u64::from(*byte)).sum()
}

#[test]
fn what_the_start_used_goes_and_comes_back_with_its_use() {
    let expected = sum();
    let used = file_kib();
    memory::forget_start();
    let forgotten = file_kib();
    assert!(forgotten + 1000 < used, "{used} KiB before, {forgotten} KiB after");
    assert_eq!(sum(), expected);
    assert!(file_kib() > forgotten + 1000, "the constant was not in the program's file");
}
