//! What other programs build on: the example finds its fault, and the listing of what is public is kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Cargo builds examples beside the tests.
#[test]
fn the_example_finds_the_fault_it_has_planted_and_nothing_else() {
    let program = std::env::current_exe().unwrap();
    let example = program.parent().unwrap().parent().unwrap().join("examples/embed");
    let output = Command::new(&example)
        .current_dir(root())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; build it by cargo build --examples", example.display()));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines[0],
        "metrics: bandwidth, latency, packet_loss, jitter, cpu_usage, memory_usage, error_rate"
    );
    let second = |line: &str| line.split(" s: ").next().unwrap().parse::<u32>().unwrap();
    let events: Vec<&&str> = lines.iter().filter(|line| line.contains(" s: ")).collect();
    assert_eq!(events.len(), 2, "{said}");
    assert!(events[0].contains("cpu_usage fires") && (120..180).contains(&second(events[0])), "{said}");
    assert!(events[1].contains("nothing fires") && (180..300).contains(&second(events[1])), "{said}");
    assert!(said.contains("\"metric_name\":\"cpu_usage\"") && said.contains("\"alertname\":\"DwcpAnomaly\""));
    assert!(said.contains("kept raw: 960 values of cpu_usage"), "{said}");
}

/// Every line that declares something public, without bodies.
fn public(text: &str) -> String {
    let code = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let mut items: Vec<String> = Vec::new();
    for part in code.split(" pub ").skip(1) {
        let end = match part.split_whitespace().next() {
            Some("fn" | "async") => part.find(" {").unwrap_or(part.len()),
            Some("use") => part.find(';').unwrap_or(part.len()),
            Some("struct" | "enum") => part.find(" {").unwrap_or(part.len()),
            _ => part.find(", ").unwrap_or(part.len()),
        };
        items.push(format!("pub {}", part[..end].trim_end_matches(',')));
    }
    items.join("\n") + "\n"
}

#[test]
fn what_is_public_has_not_changed_without_its_listing() {
    let source = std::fs::read_to_string(root().join("src/embed.rs")).unwrap();
    let listing = std::fs::read_to_string(root().join("tests/embed-api.txt")).unwrap_or_default();
    let found = public(&source);
    // An item that leaves or changes asks for a new major version; one that comes, for a minor one.
    assert_eq!(found, listing, "write to tests/embed-api.txt:\n{found}");
}
