//! Keeps the process under its memory limit: what was needed for a moment is given back, and at four fifths of the limit
//! the engine gives something up, one thing at a time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::heart::Message;
use crate::engine::Setup;
use crate::supervisor::{Pulse, Task, Tasks};

/// How often it is looked at, and how long what was given up may take to show.
const LOOK: Duration = Duration::from_secs(5);
/// Share of the limit from which on something is given up.
const FULL: f64 = 0.8;
/// A limit above this is none.
const NO_LIMIT: u64 = 1 << 60;
/// What part of the limit all windows together may be: one is held twice while it is written.
const WINDOWS: u64 = 6;

/// Bytes the process may take: what is configured, else what the control groups of `root` allow; `None` for no limit.
pub(super) fn limit(configured: Option<u64>, root: &Path) -> Option<u64> {
    configured.or_else(|| of_groups(root))
}

/// The least limit of the process's own group and those above it, in either version of control groups.
fn of_groups(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let least = |line: &str| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
        let (top, file) = if controllers.is_empty() {
            (root.join("sys/fs/cgroup"), "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
        } else {
            return None;
        };
        let own = top.join(group.trim_start_matches('/'));
        // Within a container the path is often that outside of it: then the top is the container's own.
        let above = own.ancestors().take_while(|path| path.starts_with(&top)).map(Path::to_owned);
        above.filter_map(|group: PathBuf| read(&group.join(file))).min()
    };
    groups.lines().filter_map(least).min()
}

fn read(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

/// Bounds each target's window, so that all of them together leave room for the rest.
pub(super) fn bound_windows(setup: &mut Setup, limit: u64) {
    let targets = setup.targets.len().max(1) as u64;
    let most = usize::try_from(limit / WINDOWS / targets).unwrap_or(usize::MAX);
    if limit > 0 {
        setup.limits.bytes = setup.limits.bytes.min(most);
    }
}

/// Bytes of this process in memory.
fn resident() -> Option<u64> {
    let statm = procfs::process::Process::myself().ok()?.statm().ok()?;
    Some(statm.resident * procfs::page_size())
}

/// Keeps somebody looking after the limit until the engine ends.
pub(super) async fn keep(tasks: Tasks, state: (Arc<AtomicU64>, mpsc::WeakSender<Message>), give_back: fn()) {
    let stop = CancellationToken::new();
    tasks
        .keep(Task::Memory, stop, state, |(limit, messages), pulse| {
            watch(limit, messages, give_back, pulse).boxed()
        })
        .await;
}

/// Looks after the limit until the engine ends.
async fn watch(limit: &AtomicU64, messages: &mpsc::WeakSender<Message>, give_back: fn(), pulse: &Pulse) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pulse.idle();
        ticks.tick().await;
        pulse.busy();
        let Some(messages) = messages.upgrade() else { return };
        give_back();
        // It could not be read now, as there are too many open files, perhaps.
        let Some(used) = resident() else { continue };
        let limit = limit.load(Ordering::Relaxed);
        let is_short = limit > 0 && used as f64 > FULL * limit as f64;
        if is_short && messages.send(Message::Shed { used, limit }).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit told by files of a made-up root.
    fn found(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        limit(None, root.path())
    }

    #[test]
    fn the_limit_is_the_least_of_the_groups_in_both_versions() {
        let v2 = ("proc/self/cgroup", "0::/pod/container\n");
        let (pod, container) = ("sys/fs/cgroup/pod/memory.max", "sys/fs/cgroup/pod/container/memory.max");
        assert_eq!(found(&[v2, (container, "50331648\n")]), Some(48 << 20));
        assert_eq!(found(&[v2, (pod, "1048576\n"), (container, "max\n")]), Some(1 << 20));
        assert_eq!(found(&[v2, ("sys/fs/cgroup/memory.max", "7\n")]), Some(7), "seen from within");
        assert_eq!(found(&[v2, (container, "max\n")]), None);
        let v1 = ("proc/self/cgroup", "4:cpu,memory:/a\n0::/\n");
        let file = "sys/fs/cgroup/memory/a/memory.limit_in_bytes";
        assert_eq!(found(&[v1, (file, "1048576\n")]), Some(1 << 20));
        assert_eq!(found(&[v1, (file, "9223372036854771712\n")]), None, "no limit in version 1");
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn what_is_configured_counts_more() {
        assert_eq!(limit(Some(5), Path::new("/")), Some(5));
        assert!(resident().unwrap() > 1 << 20);
    }
}
