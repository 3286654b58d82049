//! What a process may waste.

/// Lets all threads share two heaps. By default each has its own with glibc, which keeps what it once had; our servers
/// allocate little and run for months on every node. With one heap eight callers at once were served at a third of the
/// rate (`cargo xtask bench webhook`). To be called before there are threads.
pub fn share_heaps() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: mallopt(3) sets a number within the allocator, and no other thread is allocating yet. What it
        // returns says whether it did, and nothing depends on that.
        let _ = unsafe { nix::libc::mallopt(nix::libc::M_ARENA_MAX, 2) };
    }
}

/// Gives memory that is free back to the system, which takes some microseconds. For when a burst is over: without it a
/// process keeps about what it once needed.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: malloc_trim(3) looks at free memory alone, under the allocator's own locks.
        let _ = unsafe { nix::libc::malloc_trim(0) };
    }
}
