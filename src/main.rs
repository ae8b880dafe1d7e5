//! The command-line program; everything it does is in the library.

fn main() -> std::process::ExitCode {
    dwcp_anomaly::cli::main(give_back_memory)
}

/// What a month of history, a fit or a snapshot needed for a moment goes back to the system instead of staying with the
/// thread that took it: 8 MiB of 38. Not for what computes and ends, which is a fifth quicker with an arena a thread.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "glibc's allocator is told in no other way, but by its environment")]
fn give_back_memory() {
    const TRIM: i32 = 128 << 10; // bytes; glibc's own, which as long as nobody sets it grows with what was freed
    // SAFETY: mallopt takes two numbers, and no other thread has been started yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM);
    }
}

/// Other allocators do so by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back_memory() {}
