//! One function for each of `node_exporter`'s collectors that the signals, and people's first dashboards, rest on.
//!
//! The procfs crate reads what it knows by name. /proc/meminfo and the netstat files are read here, because
//! `node_exporter` shows whatever the kernel lists there and the crate only the fields it has heard of.

use std::path::Path;

use procfs::prelude::{FromBufReadSI, FromRead};

use super::Root;
use super::text::{Kind, Text};

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn told(error: procfs::ProcError) -> String {
    error.to_string()
}

/// Seconds each CPU has spent in each mode.
pub(super) fn cpu(root: &Root, text: &mut Text<'_>) -> Result<(), String> {
    let stat = read(&root.proc.join("stat"))?;
    let stats =
        procfs::KernelStats::from_buf_read(stat.as_bytes(), procfs::current_system_info()).map_err(told)?;
    // The crate numbers CPUs in order; with one offline the kernel does not.
    let numbers = stat.lines().filter_map(|line| line.strip_prefix("cpu")?.split(' ').next());
    let cpus: Vec<_> = numbers.filter(|number| !number.is_empty()).zip(&stats.cpu_time).collect();
    let seconds = |ms: Option<u64>| ms.unwrap_or(0) as f64 / 1e3;
    let name = "node_cpu_seconds_total";
    text.family(name, "Seconds the CPUs spent in each mode.", Kind::Counter);
    for (number, cpu) in &cpus {
        for (mode, ms) in [
            ("idle", Some(cpu.idle_ms())),
            ("iowait", cpu.iowait_ms()),
            ("irq", cpu.irq_ms()),
            ("nice", Some(cpu.nice_ms())),
            ("softirq", cpu.softirq_ms()),
            ("steal", cpu.steal_ms()),
            ("system", Some(cpu.system_ms())),
            ("user", Some(cpu.user_ms())),
        ] {
            text.sample(name, &[("cpu", number), ("mode", mode)], seconds(ms));
        }
    }
    let name = "node_cpu_guest_seconds_total";
    text.family(name, "Seconds the CPUs spent in guests (VMs) for each mode.", Kind::Counter);
    for (number, cpu) in &cpus {
        text.sample(name, &[("cpu", number), ("mode", "nice")], seconds(cpu.guest_nice_ms()));
        text.sample(name, &[("cpu", number), ("mode", "user")], seconds(cpu.guest_ms()));
    }
    Ok(())
}

/// Boot time, processes, context switches and interrupts.
pub(super) fn stat(root: &Root, text: &mut Text<'_>) -> Result<(), String> {
    let stat = read(&root.proc.join("stat"))?;
    let stats =
        procfs::KernelStats::from_buf_read(stat.as_bytes(), procfs::current_system_info()).map_err(told)?;
    let interrupts =
        stat.lines().find_map(|line| line.strip_prefix("intr ")?.split(' ').next()?.parse::<f64>().ok());
    text.single("node_boot_time_seconds", "Node boot time, in unixtime.", Kind::Gauge, stats.btime as f64);
    text.single(
        "node_context_switches_total",
        "Total number of context switches.",
        Kind::Counter,
        stats.ctxt as f64,
    );
    text.single("node_forks_total", "Total number of forks.", Kind::Counter, stats.processes as f64);
    if let Some(interrupts) = interrupts {
        text.single("node_intr_total", "Total number of interrupts serviced.", Kind::Counter, interrupts);
    }
    for (name, help, value) in [
        ("node_procs_running", "Number of processes in runnable state.", stats.procs_running),
        (
            "node_procs_blocked",
            "Number of processes blocked waiting for I/O to complete.",
            stats.procs_blocked,
        ),
    ] {
        if let Some(value) = value {
            text.single(name, help, Kind::Gauge, f64::from(value));
        }
    }
    Ok(())
}

/// Every line of /proc/meminfo: in bytes where the kernel gives kB, as a number where it does not.
pub(super) fn memory(root: &Root, text: &mut Text<'_>) -> Result<(), String> {
    let path = root.proc.join("meminfo");
    let mut lines = 0;
    for line in read(&path)?.lines() {
        let mut words = line.split_whitespace();
        let (Some(key), Some(value)) = (words.next(), words.next()) else { continue };
        let value: f64 = value.parse().map_err(|_| format!("{}: no number in {line:?}", path.display()))?;
        let key = key.trim_end_matches(':').replace('(', "_").replace(')', "");
        let (name, value) = match words.next() {
            Some("kB") => (format!("node_memory_{key}_bytes"), value * 1024.0),
            _ => (format!("node_memory_{key}"), value),
        };
        text.single(&name, &format!("Memory information field {key}."), Kind::Gauge, value);
        lines += 1;
    }
    if lines == 0 { Err(format!("{}: empty", path.display())) } else { Ok(()) }
}

/// Load averages.
pub(super) fn load(root: &Root, text: &mut Text<'_>) -> Result<(), String> {
    let load = procfs::LoadAverage::from_file(root.proc.join("loadavg")).map_err(told)?;
    for (name, span, value) in [
        ("node_load1", "1m", load.one),
        ("node_load5", "5m", load.five),
        ("node_load15", "15m", load.fifteen),
    ] {
        // The crate reads these as f32; two decimals is all the kernel gives.
        text.single(
            name,
            &format!("{span} load average."),
            Kind::Gauge,
            (f64::from(value) * 100.0).round() / 100.0,
        );
    }
    Ok(())
}

type Device = procfs::net::DeviceStatus;
/// Name of a counter and where it is.
type DeviceCounter = (&'static str, fn(&Device) -> u64);

/// Counters of every network device but the loopback, which `node_exporter` leaves out as well.
pub(super) fn network(root: &Root, text: &mut Text<'_>) -> Result<(), String> {
    const COUNTERS: [DeviceCounter; 16] = [
        ("receive_bytes", |d| d.recv_bytes),
        ("receive_packets", |d| d.recv_packets),
        ("receive_errs", |d| d.recv_errs),
        ("receive_drop", |d| d.recv_drop),
        ("receive_fifo", |d| d.recv_fifo),
        ("receive_frame", |d| d.recv_frame),
        ("receive_compressed", |d| d.recv_compressed),
        ("receive_multicast", |d| d.recv_multicast),
        ("transmit_bytes", |d| d.sent_bytes),
        ("transmit_packets", |d| d.sent_packets),
        ("transmit_errs", |d| d.sent_errs),
        ("transmit_drop", |d| d.sent_drop),
        ("transmit_fifo", |d| d.sent_fifo),
        ("transmit_colls", |d| d.sent_colls),
        ("transmit_carrier", |d| d.sent_carrier),
        ("transmit_compressed", |d| d.sent_compressed),
    ];
    // /proc/net is a link to the reader's own; a host's /proc mounted elsewhere means its first process's.
    let path = root.proc.join(if root.proc == Path::new("/proc") { "net/dev" } else { "1/net/dev" });
    let mut devices: Vec<Device> =
        procfs::net::InterfaceDeviceStatus::from_file(path).map_err(told)?.0.into_values().collect();
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    devices.retain(|device| device.name != "lo");
    for (what, counter) in COUNTERS {
        let name = format!("node_network_{what}_total");
        text.family(&name, &format!("Network device statistic {what}."), Kind::Counter);
        for device in &devices {
            text.sample(&name, &[("device", &device.name)], counter(device) as f64);
        }
    }
    Ok(())
}

type Disk = procfs::DiskStat;
/// Name of a counter, what it counts, and where it is; `None` where the kernel is too old for it.
type DiskCounter = (&'static str, &'static str, fn(&Disk) -> Option<f64>);

/// Counters of every disk; partitions and memory disks are left out, as `node_exporter` does.
pub(super) fn disks(root: &Root, text: &mut Text<'_>) -> Result<(), String> {
    const SECTOR: f64 = 512.0;
    const COUNTERS: [DiskCounter; 17] = [
        ("reads_completed_total", "reads completed", |d| Some(d.reads as f64)),
        ("reads_merged_total", "reads merged", |d| Some(d.merged as f64)),
        ("read_bytes_total", "bytes read", |d| Some(d.sectors_read as f64 * SECTOR)),
        ("read_time_seconds_total", "seconds spent by all reads", |d| Some(d.time_reading as f64 / 1e3)),
        ("writes_completed_total", "writes completed", |d| Some(d.writes as f64)),
        ("writes_merged_total", "writes merged", |d| Some(d.writes_merged as f64)),
        ("written_bytes_total", "bytes written", |d| Some(d.sectors_written as f64 * SECTOR)),
        ("write_time_seconds_total", "seconds spent by all writes", |d| Some(d.time_writing as f64 / 1e3)),
        ("io_now", "I/Os in progress", |d| Some(d.in_progress as f64)),
        ("io_time_seconds_total", "seconds spent doing I/Os", |d| Some(d.time_in_progress as f64 / 1e3)),
        ("io_time_weighted_seconds_total", "weighted seconds spent doing I/Os", |d| {
            Some(d.weighted_time_in_progress as f64 / 1e3)
        }),
        ("discards_completed_total", "discards completed", |d| d.discards.map(|x| x as f64)),
        ("discards_merged_total", "discards merged", |d| d.discards_merged.map(|x| x as f64)),
        ("discarded_sectors_total", "sectors discarded", |d| d.sectors_discarded.map(|x| x as f64)),
        ("discard_time_seconds_total", "seconds spent by all discards", |d| {
            d.time_discarding.map(|x| x as f64 / 1e3)
        }),
        ("flush_requests_total", "flush requests completed", |d| d.flushes.map(|x| x as f64)),
        ("flush_requests_time_seconds_total", "seconds spent by all flush requests", |d| {
            d.time_flushing.map(|x| x as f64 / 1e3)
        }),
    ];
    let mut disks = procfs::DiskStats::from_file(root.proc.join("diskstats")).map_err(told)?.0;
    disks.retain(|disk| !is_left_out(&disk.name));
    for (what, help, counter) in COUNTERS {
        let name = format!("node_disk_{what}");
        let kind = if what == "io_now" { Kind::Gauge } else { Kind::Counter };
        text.family(&name, &format!("The number of {help}."), kind);
        for disk in &disks {
            if let Some(value) = counter(disk) {
                text.sample(&name, &[("device", &disk.name)], value);
            }
        }
    }
    Ok(())
}

/// `^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`, `node_exporter`'s default.
pub(super) fn is_left_out(device: &str) -> bool {
    let stem = device.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == device.len() {
        return false;
    }
    let letter_disk = ["hd", "sd", "vd", "xvd"].iter().any(|kind| {
        stem.strip_prefix(kind).is_some_and(|rest| rest.len() == 1 && rest.as_bytes()[0].is_ascii_lowercase())
    });
    let partition = stem.strip_prefix("nvme").and_then(|rest| rest.strip_suffix('p')).is_some_and(|rest| {
        let numbers = rest.split_once('n');
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        numbers.is_some_and(|(a, b)| digits(a) && digits(b))
    });
    matches!(stem, "ram" | "loop" | "fd") || letter_disk || partition
}

/// The counters of the network stack that `node_exporter` shows by default.
pub(super) fn netstat(root: &Root, text: &mut Text<'_>) -> Result<(), String> {
    let net = root.proc.join(if root.proc == Path::new("/proc") { "net" } else { "1/net" });
    let mut found = Vec::new();
    for file in ["netstat", "snmp"] {
        let content = read(&net.join(file))?;
        let lines: Vec<&str> = content.lines().collect();
        for pair in lines.chunks_exact(2) {
            let (Some((protocol, names)), Some((_, values))) =
                (pair[0].split_once(':'), pair[1].split_once(':'))
            else {
                return Err(format!("{file}: {:?} has no protocol", pair[0]));
            };
            let values = names.split_whitespace().zip(values.split_whitespace());
            found.extend(values.map(|(name, value)| (format!("{protocol}_{name}"), value.to_owned())));
        }
    }
    // Without IPv6 there is no such file, which is no fault.
    for line in read(&net.join("snmp6")).unwrap_or_default().lines() {
        let mut words = line.split_whitespace();
        if let (Some((protocol, name)), Some(value)) = (words.next().and_then(split_protocol6), words.next())
        {
            found.push((format!("{protocol}_{name}"), value.to_owned()));
        }
    }
    found.retain(|(name, _)| is_shown(name));
    found.sort();
    for (name, value) in found {
        let value = value.parse().map_err(|_| format!("{name}: {value:?} is no number"))?;
        text.single(&format!("node_netstat_{name}"), &format!("Statistic {name}."), Kind::Untyped, value);
    }
    Ok(())
}

/// `Udp6InErrors` is `InErrors` of `Udp6`.
fn split_protocol6(key: &str) -> Option<(&str, &str)> {
    key.find('6').map(|at| key.split_at(at + 1))
}

fn is_shown(name: &str) -> bool {
    const SHOWN: [&str; 32] = [
        "Ip_Forwarding",
        "Ip6_InOctets",
        "Ip6_OutOctets",
        "IpExt_InOctets",
        "IpExt_OutOctets",
        "Icmp_InMsgs",
        "Icmp_OutMsgs",
        "Icmp6_InMsgs",
        "Icmp6_OutMsgs",
        "TcpExt_TCPSynRetrans",
        "TcpExt_TCPTimeouts",
        "Tcp_ActiveOpens",
        "Tcp_InSegs",
        "Tcp_OutSegs",
        "Tcp_OutRsts",
        "Tcp_PassiveOpens",
        "Tcp_RetransSegs",
        "Tcp_CurrEstab",
        "Udp_InDatagrams",
        "Udp_OutDatagrams",
        "Udp_NoPorts",
        "Udp_RcvbufErrors",
        "Udp_SndbufErrors",
        "Udp6_InDatagrams",
        "Udp6_OutDatagrams",
        "Udp6_NoPorts",
        "Udp6_RcvbufErrors",
        "Udp6_SndbufErrors",
        "TcpExt_ListenOverflows",
        "TcpExt_ListenDrops",
        "TcpExt_SyncookiesSent",
        "TcpExt_SyncookiesRecv",
    ];
    SHOWN.contains(&name)
        || name == "TcpExt_SyncookiesFailed"
        || name.ends_with("_InErrors")
        || name.ends_with("_InErrs")
}

/// Seconds that tasks have waited for CPU, memory and I/O. Kernels without pressure accounting have none of it.
pub(super) fn pressure(root: &Root, text: &mut Text<'_>) -> Result<(), String> {
    let directory = root.proc.join("pressure");
    let cpu = procfs::CpuPressure::from_file(directory.join("cpu")).map_err(told)?;
    let io = procfs::IoPressure::from_file(directory.join("io")).map_err(told)?;
    let memory = procfs::MemoryPressure::from_file(directory.join("memory")).map_err(told)?;
    for (what, micros) in [
        ("cpu_waiting", cpu.some.total),
        ("io_waiting", io.some.total),
        ("io_stalled", io.full.total),
        ("memory_waiting", memory.some.total),
        ("memory_stalled", memory.full.total),
    ] {
        let name = format!("node_pressure_{what}_seconds_total");
        text.single(
            &name,
            "Total time in seconds that processes have waited or stalled.",
            Kind::Counter,
            micros as f64 / 1e6,
        );
    }
    Ok(())
}
