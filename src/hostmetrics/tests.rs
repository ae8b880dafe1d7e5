use super::*;
use crate::exposition::{Everything, Format, Reader};
use std::collections::BTreeMap;
use std::sync::Arc;

fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let root = Root { proc: directory.path().to_owned() };
    (directory, root)
}

fn samples(root: &Root) -> BTreeMap<String, f64> {
    let mut page = Vec::new();
    collect(root, &mut page).unwrap();
    let page = Reader::new(Arc::new(Everything)).read(&page, Format::Text);
    assert_eq!((page.rejected, page.duplicates), (0, 0));
    page.samples.into_iter().map(|sample| (sample.labels.to_string(), sample.value)).collect()
}

const STAT: &str = "cpu  30 0 30 300 0 0 0 0 0 0\ncpu0 10 0 10 100 0 0 0 0 0 0\ncpu2 20 0 20 200 0 0 0 0 0 0\n\
                    intr 12345 1 2\nctxt 99\nbtime 1700000000\nprocesses 7\nprocs_running 1\nprocs_blocked 0\n";

#[test]
fn a_cpu_keeps_its_number_when_another_is_offline() {
    let (_directory, root) = host(&[("stat", STAT)]);
    let samples = samples(&root);
    assert_eq!(samples[r#"node_cpu_seconds_total{cpu="2", mode="idle"}"#], 2.0);
    assert!(!samples.contains_key(r#"node_cpu_seconds_total{cpu="1", mode="idle"}"#));
    assert_eq!((samples["node_boot_time_seconds"], samples["node_intr_total"]), (1_700_000_000.0, 12345.0));
}

#[test]
fn memory_is_in_bytes_where_the_kernel_gives_kilobytes() {
    let (_directory, root) =
        host(&[("meminfo", "MemTotal: 16 kB\nActive(anon): 1 kB\nHugePages_Total: 3\n")]);
    let samples = samples(&root);
    assert_eq!(samples["node_memory_MemTotal_bytes"], 16_384.0);
    assert_eq!(samples["node_memory_Active_anon_bytes"], 1024.0);
    assert_eq!(samples["node_memory_HugePages_Total"], 3.0);
}

#[test]
fn a_collector_that_fails_says_so_and_leaves_the_others_be() {
    let (_directory, root) =
        host(&[("stat", STAT), ("meminfo", "MemTotal: much kB\n"), ("loadavg", "nonsense\n")]);
    let samples = samples(&root);
    let success = |name: &str| samples[&format!("node_scrape_collector_success{{collector=\"{name}\"}}")];
    assert_eq!(
        (success("cpu"), success("meminfo"), success("loadavg"), success("netdev")),
        (1.0, 0.0, 0.0, 0.0)
    );
    assert!(!samples.contains_key("node_memory_MemTotal_bytes"));
}

#[test]
fn without_proc_the_scrape_fails() {
    let (_directory, root) = host(&[]);
    assert!(collect(&root, &mut Vec::new()).unwrap_err().contains("stat"));
}

#[test]
fn partitions_and_memory_disks_are_left_out() {
    for (device, left_out) in [
        ("sda", false),
        ("sda1", true),
        ("nvme0n1", false),
        ("nvme0n1p2", true),
        ("loop3", true),
        ("zram0", false),
        ("dm-0", false),
        ("md0", false),
        ("xvda1", true),
        ("mmcblk0", false),
        ("sdaa1", false),
        ("vda", false),
    ] {
        assert_eq!(super::collectors::is_left_out(device), left_out, "{device}");
    }
}
