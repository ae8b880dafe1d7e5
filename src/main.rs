//! The command-line program; everything it does is in the library.

use dwcp_anomaly::cli::{self, Allocator};

fn main() -> std::process::ExitCode {
    cli::main(Allocator { settle: glibc::settle, give_back: glibc::give_back })
}

/// The system's allocator keeps what threads have freed. What stays for months is better off with one arena, and without
/// what a month of history, a fit or a snapshot needed for a moment; what computes and ends is quicker with an arena a
/// thread.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "glibc is told so in no other way")]
mod glibc {
    pub(crate) fn settle() {
        // SAFETY: mallopt takes two numbers, and no second thread has been started.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    }

    pub(crate) fn give_back() {
        // SAFETY: malloc_trim takes a number, touches nothing that is in use and may be called by any thread.
        unsafe { libc::malloc_trim(0) };
    }
}

/// Others do so by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod glibc {
    pub(crate) fn settle() {}

    pub(crate) fn give_back() {}
}
