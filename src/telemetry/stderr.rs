//! Standard error, written by a thread of its own: whoever logs neither waits for its reader nor fails with it.
//!
//! A pipe that nobody reads, a full disk and a closed file descriptor cost lines, which are counted, and nothing else.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Lines that wait to be written, at most; of more the newest are lost.
const LINES: usize = 1024;
/// And bytes of them.
const BYTES: usize = 1 << 20;
/// At the end of the process, for what still waits.
const GRACE: Duration = Duration::from_secs(1);

/// The one that the process logs to, once it does.
static SHARED: OnceLock<Arc<Lines>> = OnceLock::new();

/// Lines on their way to where they are written.
pub(super) struct Lines {
    queue: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Bytes that wait or are being written.
    waiting: AtomicUsize,
    /// Lines that were not written.
    lost: AtomicU64,
}

/// Standard error.
///
/// # Errors
/// Why no thread can be started.
pub(super) fn shared() -> io::Result<Arc<Lines>> {
    if let Some(lines) = SHARED.get() {
        return Ok(Arc::clone(lines));
    }
    let lines = Lines::start(io::stderr())?;
    Ok(Arc::clone(SHARED.get_or_init(|| lines)))
}

/// Waits until everything is written, but not for long.
pub(super) fn flush() {
    SHARED.get().iter().for_each(|lines| lines.flush());
}

/// Log lines that could not be written since the process began.
pub(super) fn lost() -> u64 {
    SHARED.get().map_or(0, |lines| lines.lost())
}

impl Lines {
    fn start(out: impl Write + Send + 'static) -> io::Result<Arc<Self>> {
        let (queue, lines) = sync_channel(LINES);
        let counts = Arc::new(Counts::default());
        let own = Arc::clone(&counts);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || write(out, &lines, &own))?;
        Ok(Arc::new(Self { queue, counts }))
    }

    fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }

    fn flush(&self) {
        let began = Instant::now();
        while self.counts.waiting.load(Ordering::Acquire) > 0 && began.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Takes one line, whole, at once, and without an error.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let waiting = self.counts.waiting.fetch_add(line.len(), Ordering::AcqRel);
        if waiting + line.len() > BYTES || self.queue.try_send(line.to_vec()).is_err() {
            self.counts.waiting.fetch_sub(line.len(), Ordering::AcqRel);
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(mut out: impl Write, lines: &Receiver<Vec<u8>>, counts: &Counts) {
    let mut told = 0;
    while let Ok(line) = lines.recv() {
        let is_written = out.write_all(&line).and_then(|()| out.flush()).is_ok();
        counts.waiting.fetch_sub(line.len(), Ordering::AcqRel);
        if !is_written {
            counts.lost.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let lost = counts.lost.load(Ordering::Relaxed);
        if lost > told {
            tracing::warn!(lines = lost - told, "log lines were lost: standard error could not take them");
            told = lost;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;

    /// Fails while it is told to, and keeps what it takes.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Option<io::ErrorKind>, Vec<u8>)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (failure, taken) = &mut *self.0.lock().unwrap();
            if let Some(kind) = *failure {
                return Err(kind.into());
            }
            taken.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_cannot_be_written_is_counted_and_the_next_one_is_written() {
        for kind in [io::ErrorKind::BrokenPipe, io::ErrorKind::StorageFull, io::ErrorKind::WouldBlock] {
            let disk = Disk::default();
            let lines = Lines::start(disk.clone()).unwrap();
            disk.0.lock().unwrap().0 = Some(kind);
            (&*lines).write_all(b"lost\n").unwrap();
            lines.flush();
            disk.0.lock().unwrap().0 = None;
            (&*lines).write_all(b"kept\n").unwrap();
            lines.flush();
            assert_eq!((lines.lost(), disk.0.lock().unwrap().1.as_slice()), (1, &b"kept\n"[..]), "{kind}");
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_that_takes_nothing_and_what_waits_is_bounded() {
        struct Stalled(std::sync::mpsc::Receiver<()>);
        impl Write for Stalled {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (go, stalled) = channel();
        let lines = Lines::start(Stalled(stalled)).unwrap();
        for _ in 0..LINES + 2 {
            (&*lines).write_all(b"x").unwrap();
        }
        (&*lines).write_all(&vec![b'x'; BYTES]).unwrap();
        // One is being written, or not even that yet.
        assert!((2..=3).contains(&lines.lost()), "{}", lines.lost());
        drop(go);
        lines.flush();
        assert_eq!(lines.counts.waiting.load(Ordering::Relaxed), 0);
    }
}
