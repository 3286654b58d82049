//! What a process may waste.

use nix::libc;
use std::ffi::{c_int, c_void};
use std::slice;

/// Lets all threads share two heaps. By default each has its own with glibc, which keeps what it once had; our servers
/// allocate little and run for months on every node. With one heap eight callers at once were served at a third of the
/// rate (`cargo xtask bench webhook`). To be called before there are threads.
pub fn share_heaps() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: mallopt(3) sets a number within the allocator, and no other thread is allocating yet. What it
        // returns says whether it did, and nothing depends on that.
        let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
    }
}

/// Gives memory that is free back to the system, which takes some microseconds. For when a burst is over: without it a
/// process keeps about what it once needed.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: malloc_trim(3) looks at free memory alone, under the allocator's own locks.
        let _ = unsafe { libc::malloc_trim(0) };
    }
}

/// Takes the program's code and constants out of the process's memory; what it goes on using comes back from the system's
/// cache of files, as a rule without a read. The kernel maps some 64 KiB around each page that is used, so that a start,
/// which uses much once, maps nearly all of a program. For once, when the start is over.
pub fn forget_start() {
    // SAFETY: dl_iterate_phdr(3) calls a function of the type it wants, which uses no data and does not unwind.
    let _ = unsafe { libc::dl_iterate_phdr(Some(forget_program), std::ptr::null_mut()) };
}

/// Sees the program itself, which comes first; its answer ends the iteration.
unsafe extern "C" fn forget_program(info: *mut libc::dl_phdr_info, _: libc::size_t, _: *mut c_void) -> c_int {
    // SAFETY: dl_iterate_phdr(3) passes a program that stays mapped, and as many headers as it says.
    let (base, headers) = unsafe {
        let info = &*info;
        (info.dlpi_addr, slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
    };
    for header in headers {
        // Not what was ever writable: relocated data is in no file.
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        // Whole pages, which no writable segment has a part of: the alignment is a multiple of the page's size.
        let align = header.p_align.max(1);
        let start = (base + header.p_vaddr).next_multiple_of(align);
        let end = (base + header.p_vaddr + header.p_memsz) / align * align;
        let length = end.saturating_sub(start);
        // SAFETY: these pages hold what is in the program's file and nothing else, so that whoever uses them next, in any
        // thread, finds what was there. If they stay after all, as locked ones do, nothing is lost.
        let _ = unsafe { libc::madvise(start as *mut c_void, length as usize, libc::MADV_DONTNEED) };
    }
    1
}
