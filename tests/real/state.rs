//! A sidecar that is killed, at any moment, and started again: windows, incidents and alerts as if nothing had happened.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::recorded::csv;
use crate::servers::{
    Server, active, alertmanager, request, sidecar, tool, value, wait_for, wait_until_all_vote,
};
use crate::synthetic::Synthetic;

const MINUTE: Duration = Duration::from_mins(1);
/// Kills in one run; `DWCP_TEST_KILLS=100` for as many as one likes.
const KILLS: u32 = 12;

fn config(target: &Synthetic, alertmanager: &Server) -> String {
    format!(
        "check_interval: 200ms\nscrape:\n  targets: [{{url: '{}'}}]\n\
         signals: [{{name: level, min_deviation: 5, expr: level}}]\n\
         alert:\n  resend_delay: 10s\n  alertmanagers: [{{url: '{}'}}]\nstorage: {{path: kept}}\n",
        target.url(),
        alertmanager.url()
    )
}

fn recent(sidecar: &Server) -> Vec<serde_json::Value> {
    let answer = sidecar.get("/api/v1/monitoring/anomaly/recent?duration=24h").unwrap_or_default();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
    answer["data"]["incidents"].as_array().or(answer["data"].as_array()).cloned().unwrap_or_default()
}

fn log(sidecar: &Server) -> String {
    std::fs::read_to_string(sidecar.directory.path().join("log")).unwrap()
}

#[test]
fn killed_again_and_again_under_load_it_goes_on_as_if_nothing_had_happened() {
    let (target, alertmanager) = (Synthetic::start(), alertmanager());
    let mut sidecar = sidecar(&config(&target, &alertmanager));
    wait_until_all_vote(&sidecar);
    target.set(500.0);
    wait_for("alert", MINUTE, || !active(&alertmanager, "level").is_empty());
    let started = active(&alertmanager, "level")[0]["startsAt"].clone();
    let incident = recent(&sidecar)[0]["started_at"].clone();
    let kills = std::env::var("DWCP_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    for kill in 0..kills {
        // Moments spread over a second, the start of the process included.
        std::thread::sleep(Duration::from_millis(u64::from(kill) * 7919 % 1000));
        sidecar.kill();
        sidecar.start_again();
    }
    sidecar.wait_ready();
    wait_until_all_vote(&sidecar);
    assert!(log(&sidecar).contains("restored: goes on where it was") || kills == 0, "{}", log(&sidecar));
    let known = recent(&sidecar);
    assert_eq!(known.len(), 1, "neither lost nor opened anew: {known:?}");
    assert_eq!(known[0]["started_at"], incident);
    let told = active(&alertmanager, "level");
    assert_eq!(
        told.first().map(|alert| &alert["startsAt"]),
        Some(&started),
        "{told:?} {known:?} {}",
        log(&sidecar)
    );
    target.set(0.0);
    wait_for("end of the alert", MINUTE, || active(&alertmanager, "level").is_empty());
    assert_eq!(recent(&sidecar)[0]["reason"], "recovered");
    sidecar.kill();
    let aside = std::fs::read_dir(sidecar.directory.path().join("kept")).unwrap();
    let aside: Vec<_> = aside.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!aside.iter().any(|name| name.ends_with(".damaged")), "{aside:?}");
}

/// One that has voted and was told to stop, with what it watched and told, which go on.
fn voted_and_stopped() -> (Synthetic, Server, Server) {
    let (target, alertmanager) = (Synthetic::start(), alertmanager());
    let mut sidecar = sidecar(&config(&target, &alertmanager));
    wait_until_all_vote(&sidecar);
    let id = sidecar.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    sidecar.wait_end();
    (target, alertmanager, sidecar)
}

#[test]
fn after_a_stop_it_votes_at_once_with_the_windows_it_had() {
    let (_target, _alertmanager, mut sidecar) = voted_and_stopped();
    let began = Instant::now();
    sidecar.start_again();
    wait_until_all_vote(&sidecar);
    println!("votes {:?} after the start", began.elapsed());
    assert!(log(&sidecar).contains("restored: goes on where it was"));
    let page = sidecar.get("/metrics").unwrap();
    assert!(value(&page, "dwcp_anomaly_score", &["level"]).is_none_or(|score| score < 0.6));
}

#[test]
fn when_fits_took_effect_is_noted_and_a_backtest_goes_by_it() {
    let (_target, _alertmanager, sidecar) = voted_and_stopped();
    let place = sidecar.directory.path();
    let fits = place.join("kept/fits.jsonl").display().to_string();
    let noted = std::fs::read_to_string(&fits).unwrap();
    let first: serde_json::Value = serde_json::from_str(noted.lines().next().unwrap()).unwrap();
    assert_eq!(first["model"], "isolation_forest");
    let (asked, effective) = (first["asked"].as_u64().unwrap(), first["effective"].as_u64().unwrap());
    assert!(effective >= asked + 30, "{noted}");
    assert!(log(&sidecar).contains(&format!("asked_at_check={asked} effective_at_check={effective}")));

    let data = place.join("recording.csv");
    std::fs::write(&data, csv(3, effective + 20)).unwrap();
    let scores = place.join("scores.csv").display().to_string();
    let backtest = |more: &[&str]| {
        let data = data.to_str().unwrap();
        let arguments = [&["backtest", "--data", data, "--output", &scores], more].concat();
        tool(env!("CARGO_BIN_EXE_dwcp-anomaly"), &arguments, "")
    };
    let votes_from = |more: &[&str]| {
        let (status, said) = backtest(more);
        assert_eq!(status, 0, "{said}");
        let text = std::fs::read_to_string(&scores).unwrap();
        let column = text.lines().next().unwrap().split(',').position(|c| c == "isolation_forest").unwrap();
        text.lines().skip(1).position(|line| !line.split(',').nth(column).unwrap().is_empty()).unwrap() + 1
    };
    assert_eq!(votes_from(&["--fits", &fits]), effective as usize);
    let late = place.join("late.jsonl");
    let later = format!("\"effective\":{},", effective + 7);
    std::fs::write(&late, noted.replace(&format!("\"effective\":{effective},"), &later)).unwrap();
    assert_eq!(votes_from(&["--fits", late.to_str().unwrap()]), effective as usize + 7);
    let (status, said) = backtest(&["--fits", &fits, "--fits-target", "elsewhere"]);
    assert!(status == 2 && said.contains("has no fit of elsewhere; --fits-target is to be one of"), "{said}");
}

#[test]
fn a_directory_is_of_one_process_and_a_damaged_file_is_set_aside_and_told() {
    let (target, alertmanager) = (Synthetic::start(), alertmanager());
    let mut sidecar = sidecar(&config(&target, &alertmanager));
    wait_for("a signal", MINUTE, || {
        value(&sidecar.get("/metrics").unwrap_or_default(), "dwcp_signal_value", &["level"]).is_some()
    });
    let kept = sidecar.directory.path().join("kept");
    let file = sidecar.directory.path().join("second.yaml");
    std::fs::write(&file, format!("storage: {{path: '{}'}}\n", kept.display())).unwrap();
    let second = ["run", "--web.listen-address=127.0.0.1:0", "--config.file", file.to_str().unwrap()];
    let (status, said) = tool(env!("CARGO_BIN_EXE_dwcp-anomaly"), &second, "");
    assert_eq!(status, 1, "{said}");
    let expected = format!("storage.path: {} is in use by another process", kept.display());
    assert!(said.contains(&expected), "{said}");
    let id = sidecar.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    sidecar.wait_end();
    let mut entries = std::fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().path());
    let damaged = entries.find(|path| path.extension().is_some_and(|kind| kind == "state")).unwrap();
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    sidecar.start_again();
    sidecar.wait_ready();
    assert!(log(&sidecar).contains("state set aside as *.damaged"), "{}", log(&sidecar));
    let page = sidecar.get("/metrics").unwrap();
    assert!(page.contains("dwcp_state_damaged_files_total 1"), "{page}");
    assert!(std::path::Path::new(&format!("{}.damaged", damaged.display())).exists());
    wait_for("a signal", MINUTE, || {
        value(&sidecar.get("/metrics").unwrap_or_default(), "dwcp_signal_value", &["level"]).is_some()
    });
}

#[test]
fn with_an_empty_path_nothing_is_written() {
    let target = Synthetic::start();
    let mut sidecar = sidecar(&format!(
        "check_interval: 200ms\nscrape:\n  targets: [{{url: '{}'}}]\nstorage: {{path: ''}}\n",
        target.url()
    ));
    let id = sidecar.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    sidecar.wait_end();
    let mut names: Vec<_> = std::fs::read_dir(sidecar.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["config.yaml", "log"]);
}

/// A configuration as Kubernetes mounts it: a link to a link to the directory that is replaced whole.
#[test]
fn a_change_behind_links_is_taken_up_a_bad_one_is_not_and_what_has_stayed_goes_on() {
    let (target, alertmanager) = (Synthetic::start(), alertmanager());
    let mut sidecar = sidecar(&config(&target, &alertmanager));
    wait_until_all_vote(&sidecar);
    let directory = sidecar.directory.path().to_owned();
    let mount = |version: &str, text: &str| {
        std::fs::create_dir(directory.join(version)).unwrap();
        std::fs::write(directory.join(version).join("config.yaml"), text).unwrap();
        let link = directory.join("..data.new");
        std::os::unix::fs::symlink(version, &link).unwrap();
        std::fs::rename(link, directory.join("..data")).unwrap();
    };
    let first = config(&target, &alertmanager);
    mount("1", &first);
    std::fs::remove_file(directory.join("config.yaml")).unwrap();
    std::os::unix::fs::symlink("..data/config.yaml", directory.join("config.yaml")).unwrap();
    target.set(500.0);
    wait_for("alert", MINUTE, || !active(&alertmanager, "level").is_empty());
    let started = active(&alertmanager, "level")[0]["startsAt"].clone();
    let successful = |sidecar: &Server| {
        let page = sidecar.get("/metrics").unwrap_or_default();
        page.lines()
            .find_map(|line| line.strip_prefix("dwcp_config_last_reload_successful ").map(str::to_owned))
    };
    mount("2", "chek_interval: 1s\n");
    wait_for("report of the bad file", Duration::from_secs(32), || {
        successful(&sidecar).as_deref() == Some("0")
    });
    let second = first.replace("signals: [", "signals: [{name: twice, expr: '2 * level'}, ");
    mount("3", &second);
    wait_for("the new signal", Duration::from_secs(32), || {
        value(&sidecar.get("/metrics").unwrap_or_default(), "dwcp_signal_value", &["twice"]).is_some()
    });
    assert_eq!(successful(&sidecar).as_deref(), Some("1"));
    let page = sidecar.get("/metrics").unwrap();
    assert!(page.contains("model_type=\"zscore\"} 1"), "what was learned of the other stays: {page}");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(recent(&sidecar).len(), 1, "{:?}", recent(&sidecar));
    assert_eq!(active(&alertmanager, "level")[0]["startsAt"], started);
    // A handler that is not there yet would end the process.
    sidecar.kill();
    sidecar.start_again();
    let listens = format!("{}/-/healthy", sidecar.url());
    wait_for("life", Duration::from_secs(10), || request("GET", &listens, &[], "").is_some());
    assert!(Command::new("kill").args(["-HUP", &sidecar.id().to_string()]).status().unwrap().success());
    sidecar.wait_ready();
}
