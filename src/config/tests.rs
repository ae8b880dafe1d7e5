use super::*;

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, Problems> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.yaml");
    std::fs::write(&file, text).unwrap();
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Sources { file: Some(file), environment, quick_start: false }.load()
}

/// The problems without the directory they are told of.
fn problems(text: &str) -> Vec<String> {
    let problems = load(text, &[]).unwrap_err().0;
    problems.iter().map(|line| line[line.find("c.yaml").unwrap_or(0)..].to_owned()).collect()
}

#[test]
fn every_problem_names_file_line_key_and_remedy() {
    for (text, line, parts) in [
        ("chek_interval: 10s", "c.yaml:1", "unknown field `chek_interval`"),
        (
            "enabled: true\ncheck_interval: soon",
            "c.yaml:2",
            "check_interval: \"soon\" is not a duration such as 10s",
        ),
        ("buffer_size: many", "c.yaml:1", "buffer_size: invalid type"),
        (
            "detector:\n  zscore: {weight: 1.5}",
            "c.yaml:2",
            "detector.zscore.weight: 1.5 is not between 0 and 1",
        ),
        ("detector:\n  zscore: {weight: .nan}", "c.yaml:2", "not between 0 and 1"),
        ("detector:\n  zscore: {threshold: .nan}", "c.yaml:2", "detector.zscore.threshold: must be above 0"),
        (
            "detector:\n  seasonal_esd: {period: 24h}",
            "c.yaml:2",
            "auto, or a list of durations such as [24h, 7d]",
        ),
        ("detector:\n  zscore: {threshold: -1}", "c.yaml:2", "detector.zscore.threshold: must be above 0"),
        (
            "scrape:\n  targets:\n    - url: ftp://x",
            "c.yaml:3",
            "scrape.targets[0].url: \"ftp://x\" is neither http",
        ),
        ("signals:\n  - {name: a, expr: 'sum('}", "c.yaml:2", "signals[0].expr: a: cannot parse"),
        (
            "signals:\n  - {name: a, expr: '1 + limitk(1, b)'}",
            "c.yaml:2",
            "limitk at character 5 is not supported",
        ),
        ("probe:\n  interval: 1ms", "c.yaml:2", "probe.interval: must be 100ms to 1h"),
        ("probe:\n  targets: [{tcp: a}]", "c.yaml:2", "probe.targets[0]: \"a\" is no address with a port"),
        ("probe:\n  targets: [{icmp: a}]", "c.yaml:2", "unknown field `icmp`"),
        ("signals:\n  - {name: a b, expr: b}", "c.yaml:2", "signals[0].name: \"a b\" is no name"),
        ("signals:\n  - {name: a, expr: b}\n  - {name: a, expr: c}", "c.yaml:3", "a is defined twice"),
        ("signals:\n  - {name: a, expr: 'rate(b[30d])'}", "c.yaml:2", "raise window.max_bytes"),
        ("incident:\n  for: 0", "c.yaml:2", "incident.for: must be at least 1"),
        ("severity:\n  warning: {confidence: 0.95, sigma: 3}", "c.yaml:1", "must ask for at least as much"),
        ("alert:\n  alertmanagers: [{url: localhost}]", "c.yaml:2", "is no URL of an Alertmanager"),
        ("alert:\n  webhook_url: foo", "c.yaml:2", "alert.webhook_url: is no URL"),
        (
            "alert: {pagerduty_key: a, pagerduty_key_file: b}",
            "c.yaml:1",
            "alert.pagerduty_key: is there beside",
        ),
        ("history: {prometheus_url: foo}", "c.yaml:1", "history.prometheus_url: \"foo\" is no URL"),
        ("check_interval: 0s", "c.yaml:1", "check_interval: must be at least 100ms"),
        ("alert:\n  external_labels: {severity: x}", "c.yaml:2", "the label severity is taken"),
    ] {
        let told = problems(text);
        assert_eq!(told.len(), 1, "{text}: {told:?}");
        assert!(told[0].starts_with(line) && told[0].contains(parts), "{text}: {}", told[0]);
    }
}

#[test]
fn weights_that_sum_to_nothing_are_refused() {
    let off = |name: &str| format!("  {name}: {{weight: 0}}\n");
    let names = ["isolation_forest", "lstm_autoencoder", "zscore", "seasonal_esd"];
    let text = format!("detector:\n{}", names.map(off).concat());
    assert!(problems(&text)[0].contains("detector: the weights of the enabled detectors sum to 0"));
}

#[test]
fn two_targets_with_equal_labels_are_refused_and_so_are_labels_that_are_ours() {
    let same = "scrape:\n  targets:\n    - url: http://a:1/metrics\n    - url: http://a:1/other\n";
    assert!(problems(same)[0].starts_with("c.yaml:4: scrape.targets[1]: has the same final labels"));
    for label in ["metric_name", "severity", "le", "__x"] {
        let text = format!("scrape:\n  targets:\n    - url: http://a:1/\n      labels: {{{label}: x}}\n");
        assert!(problems(&text)[0].contains("is taken"), "{label}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    assert_eq!(problems("incident: {for: 0, clear_after: 0}\nbuffer_size: 1\n").len(), 3);
}

#[test]
fn the_environment_is_over_the_file_and_the_file_over_the_defaults() {
    let config =
        load("check_interval: 5s\nbuffer_size: 50\n", &[("DWCP__BUFFER_SIZE", "60"), ("HOME", "/")]).unwrap();
    assert_eq!((config.check_interval, config.buffer_size), (Span::seconds(5), 60));
    assert_eq!(config.incident, incident::config::Config::default());
    let threshold = [("DWCP__DETECTOR__ENSEMBLE_THRESHOLD", "0.7")];
    assert_eq!(load("", &threshold).unwrap().detector.ensemble_threshold.get(), 0.7);
}

#[test]
fn a_variable_that_is_wrong_is_named() {
    for (variable, value) in
        [("DWCP__NO_SUCH_KEY", "1"), ("DWCP__BUFFER_SIZE", "many"), ("DWCP__INCIDENT__FOR", "0")]
    {
        let told = load("", &[(variable, value)]).unwrap_err().to_string();
        assert!(told.starts_with("environment") && told.contains(variable), "{told}");
    }
}

#[test]
fn a_list_is_replaced_whole() {
    let config = load("signals:\n  - {name: a, expr: b}\n", &[]).unwrap();
    assert_eq!(config.signals.len(), 1);
}

#[test]
fn a_file_that_is_missing_is_a_problem_and_an_empty_one_is_none() {
    let missing = Sources { file: Some("/no/such/file.yaml".into()), ..Sources::default() };
    assert!(missing.load().unwrap_err().to_string().contains("/no/such/file.yaml: cannot be read"));
    assert_eq!(load("# nothing\n", &[]).unwrap(), Config::default());
    assert_eq!(load("", &[]).unwrap(), Config::default());
}

#[test]
fn the_shipped_configuration_says_what_the_defaults_are() {
    let text = include_str!("../../configs/monitoring/anomaly-detection.yaml");
    let mut shipped = load(text, &[]).unwrap();
    assert_eq!(shipped.scrape.targets, [scrape::config::Target::new("http://127.0.0.1:9100/metrics")]);
    shipped.scrape.targets.clear();
    assert_eq!(shipped, Config::default());
}

#[test]
fn a_channel_without_what_it_needs_is_refused() {
    for (text, parts) in [
        ("alert:\n  slack_enabled: true", "needs slack_webhook_url"),
        ("alert:\n  pagerduty_enabled: true", "needs pagerduty_key"),
        ("alert:\n  webhook_enabled: true", "needs webhook_url"),
        ("alert:\n  webhook_enabled: true\n  webhook_url: localhost", "webhook_url: is no URL"),
        ("alert:\n  email_enabled: true\n  smtp_from: a@b\n  email_recipients: [c@d]", "needs smtp_server"),
        (
            "alert:\n  email_enabled: true\n  smtp_server: s\n  smtp_from: a@b\n  email_recipients: [c]",
            "needs mailboxes",
        ),
        (
            "alert: {email_enabled: true, smtp_server: s, smtp_from: a@b, email_recipients: [c@d], smtp_hello: 'a b'}",
            "smtp_hello: is no name",
        ),
        ("alert:\n  message_title: '{{ a'", "is no template"),
        ("alert:\n  alertmanager_config: /no/am.yml", "/no/am.yml: cannot be read"),
        ("alert:\n  alertmanagers: [{path_prefix: /am}]", "needs one of url, file_sd and dns_sd"),
        ("alert:\n  alertmanagers: [{url: 'http://u:p@a:1'}]", "use basic_auth"),
        ("alert:\n  alertmanagers: [{url: 'http://a:1', bearer_token: x, bearer_token_file: y}]", "keep one"),
        ("alert:\n  alertmanagers: [{url: 'https://a:1', tls: {cert_file: x}}]", "needs both"),
        ("alert:\n  alertmanagers: [{dns_sd: {names: [a], server: b}}]", "is no address with a port"),
        (
            "alert:\n  relabel_configs: [{action: hashmod, target_label: a}]",
            "relabel_configs[0].modulus: must be above 0",
        ),
        ("alert:\n  relabel_configs: [{action: nope}]", "unknown variant `nope`"),
    ] {
        let told = problems(text);
        assert!(told.len() == 1 && told[0].contains(parts), "{text}: {told:?}");
        assert!(!told[0].contains("u:p"), "{told:?}");
    }
}

#[test]
fn work_that_would_make_checks_late_is_refused_for_all_signals_and_targets_together() {
    // The shape of public reports: nothing deep and nothing long, evaluated at each of eleven thousand steps.
    let tree = (0..7).fold(r#"label_replace(vector(1),"a","$1","b","(.*)")"#.to_owned(), |half, _| {
        format!("({half}+{half})")
    });
    let bomb = format!("sum_over_time({tree}[10999s:1s])");
    let plain = |count: usize, interval: &str, expr: &str| {
        let one = |n: usize| format!("  - {{name: s{n}, expr: '{expr}'}}\n");
        let signals = (0..count).map(one).collect::<Vec<_>>().concat();
        format!("check_interval: {interval}\nsignals:\n{signals}")
    };
    let targets = |count: usize| {
        let one = |n: usize| format!("    - url: http://10.0.0.{n}:9100/metrics\n");
        format!("scrape:\n  targets:\n{}", (0..count).map(one).collect::<Vec<_>>().concat())
    };
    let hourly = "sum_over_time(a[10m])";
    for (text, is_taken) in [
        (plain(1, "1s", &bomb), false),
        (plain(1, "10s", "max_over_time(rate(a[1m])[3h:10s])"), true),
        (plain(1, "1s", "max_over_time(rate(a[1m])[3h:1s])"), true),
        (plain(20, "1s", "max_over_time(rate(a[1m])[3h:1s])"), false),
        (plain(300, "1s", hourly), true),
        (plain(400, "1s", hourly) + &targets(20), false),
        (plain(400, "30s", hourly) + &targets(20), true),
        (targets(200), true),
    ] {
        let told = load(&text, &[]).err().map(|problems| problems.to_string());
        assert_eq!(told.is_none(), is_taken, "{told:?}");
        let told = told.unwrap_or_else(|| ".expr: raise check_interval".to_owned());
        assert!(told.contains("].expr: ") || is_taken, "{told}");
        assert!(told.contains("raise check_interval"), "{told}");
    }
}

#[test]
fn patterns_share_one_budget_over_all_signals() {
    let signals = |count: usize, pattern: &str| {
        let one = |n: usize| format!("  - {{name: s{n}, expr: 'count(up{{a=~\"{pattern}\"}})'}}\n");
        format!("signals:\n{}", (0..count).map(one).collect::<Vec<_>>().concat())
    };
    assert!(load(&signals(500, "veth.*|docker.*|10[.].+"), &[]).is_ok());
    for (count, pattern, refused) in [(1, r"\\pL{100}", 1), (30, r"\\pL{10}", 18), (500, r"\\pL{900}", 500)] {
        let told = load(&signals(count, pattern), &[]).unwrap_err().0;
        assert_eq!(told.len(), refused, "{told:?}");
        assert!(told[0].contains(".expr: s") && told[0].contains("KiB are left"), "{told:?}");
    }
}

#[test]
fn as_many_samples_are_kept_as_the_longest_range_needs_at_the_pace_of_its_series() {
    let peers = "probe:\n  targets: [{tcp: 'a:1'}]\n";
    for (expr, others, samples) in [
        ("rate(b[1h])", peers, 1000),
        ("rate(b[10h])", peers, 3602),
        ("avg_over_time(dwcp_probe_rtt_seconds[1h])", peers, 3602),
        ("avg_over_time(dwcp_probe_rtt_seconds[1h])", "", 1000),
        ("avg_over_time({job=\"x\"}[1h])", peers, 3602),
        ("max_over_time(rate(b[1h])[9h:1m])", "", 3602),
    ] {
        let text = format!("signals: [{{name: a, expr: '{expr}'}}]\n{others}");
        assert_eq!(load(&text, &[]).unwrap().samples(), samples, "{expr}");
    }
}

#[test]
fn no_secret_is_shown() {
    let text = "alert:\n  alertmanagers: [{url: 'http://a:1', basic_auth: {username: u, password: hunter2}}, \
                {url: 'http://b:1', bearer_token: hunter2, proxy_url: 'http://u:hunter2@p:1'}]\n  \
                slack_webhook_url: http://s/hunter2\n  pagerduty_key: hunter2\n  webhook_url: http://h/hunter2\n  \
                smtp_password: hunter2\n";
    let config = load(text, &[]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!yaml_serde::to_string(&config).unwrap().contains("hunter2"));
}

#[test]
fn texts_stay_as_they_were_written_in_the_file_and_in_the_environment() {
    let text = "scrape:\n  targets:\n    - url: http://x:1\n      labels: {a: 1.10, b: 0123, c: 0x10, d: 1e3, e: true, f: 7}\n\
                alert: {pagerduty_key: 00123456, smtp_password: 12345678901234567890}\nwindow: {max_bytes: 8MiB}\n\
                detector: {ensemble_threshold: 0.70, seasonal_esd: {max_anomalies: 1e1}}\n";
    let config = load(text, &[("DWCP__ALERT__SMTP_USERNAME", "007"), ("DWCP__BUFFER_SIZE", "0500")]).unwrap();
    let labels: Vec<&str> = config.scrape.targets[0].labels.values().map(String::as_str).collect();
    assert_eq!(labels, ["1.10", "0123", "0x10", "1e3", "true", "7"]);
    let revealed = |secret: &Option<crate::setting::Secret>| secret.as_ref().unwrap().reveal().to_owned();
    assert_eq!(revealed(&config.alert.pagerduty_key), "00123456");
    assert_eq!(revealed(&config.alert.smtp_password), "12345678901234567890");
    assert_eq!((config.alert.smtp_username.as_str(), config.buffer_size), ("007", 500));
    assert_eq!(config.detector.ensemble_threshold.get(), 0.7);
    assert_eq!(config.detector.seasonal_esd.max_anomalies, 10.0);
}

#[test]
fn lists_can_be_set_by_the_environment() {
    let config = load(
        "",
        &[
            ("DWCP__ALERT__EMAIL_RECIPIENTS", "[a@b.c, 'd@e.f']"),
            ("DWCP__SCRAPE__TARGETS", "[{url: 'http://x:1/metrics', labels: {job: web}}]"),
            ("DWCP__DETECTOR__SEASONAL_ESD__PERIOD", "[24h]"),
            ("DWCP__STORAGE__PATH", ""),
        ],
    );
    let config = config.unwrap();
    assert_eq!(config.storage.path, "");
    assert_eq!(config.alert.email_recipients, ["a@b.c", "d@e.f"]);
    assert_eq!(config.scrape.targets[0].labels["job"], "web");
    let told =
        load("", &[("DWCP__SCRAPE__TARGETS", "[{"), ("DWCP__BUFFER_SIZE", "9")]).unwrap_err().to_string();
    assert!(told.starts_with("environment: DWCP__SCRAPE__TARGETS: "), "{told}");
}

#[test]
fn sections_without_anything_in_them_and_anchors_are_as_yaml_has_them() {
    let text = "\u{feff}scrape:\n  # targets: []\nsignals:\nalert:\n  alertmanagers:\nseverity:\n  warning: &bar {sigma: 4}\n  critical: *bar\n";
    let config = load(text, &[]).unwrap();
    assert_eq!(config.signals.len(), 7);
    // What is left out of a bar is as by default.
    let bars = (config.severity.warning, config.severity.critical);
    assert_eq!((bars.0.sigma, bars.0.confidence.get()), (4.0, 0.7));
    assert_eq!((bars.1.sigma, bars.1.confidence.get()), (4.0, 0.9));
}

#[test]
fn an_error_that_the_file_alone_has_not_is_blamed_on_the_variable() {
    let variables = [("DWCP__BUFFER_SIZE", "many"), ("DWCP__CHECK_INTERVAL", "5s")];
    let told = load("", &variables).unwrap_err().to_string();
    assert!(told.starts_with("environment (DWCP__BUFFER_SIZE): "), "{told}");
}

#[test]
fn a_channel_that_a_variable_switches_off_is_off_and_one_that_is_off_by_default_may_be_routed_to() {
    let text = "alert: {webhook_enabled: false, slack_enabled: true, slack_webhook_url: 'http://a/b'}";
    let off = |variables: &[(&str, &str)]| load(text, variables).unwrap().alert.switched_off;
    assert!(off(&[]).is_empty());
    assert_eq!(off(&[("DWCP__ALERT__WEBHOOK_ENABLED", "false")]), ["webhook"]);
    assert_eq!(off(&[("DWCP__ALERT__SLACK_ENABLED", "no")]), ["slack"]);
    assert!(off(&[("DWCP__ALERT__SLACK_ENABLED", "true")]).is_empty());
    let all = ["SLACK", "PAGERDUTY", "WEBHOOK", "EMAIL"].map(|kind| format!("DWCP__ALERT__{kind}_ENABLED"));
    let all: Vec<(&str, &str)> = all.iter().map(|name| (name.as_str(), "false")).collect();
    let alert = load(text, &all).unwrap().alert;
    assert!(alert.is_all_switched_off() && !alert.has_channels());
}

#[test]
fn a_file_without_a_key_is_blank() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.yaml");
    let sources = Sources { file: Some(file.clone()), ..Sources::default() };
    assert!(!sources.is_blank(), "it is not there");
    for (text, is_blank) in
        [("", true), ("\u{feff}\n# x\n", true), ("---\n", true), ("{}", true), ("enabled: true", false)]
    {
        std::fs::write(&file, text).unwrap();
        assert_eq!(sources.is_blank(), is_blank, "{text:?}");
    }
}

#[test]
fn files_that_are_named_lie_beside_the_file_that_names_them() {
    let directory = tempfile::tempdir().unwrap();
    let beside = |name: &str| directory.path().join(name);
    std::fs::create_dir(beside("am")).unwrap();
    std::fs::write(beside("am/routes.yml"), "route: {receiver: a}\nreceivers: [{name: a}]").unwrap();
    let text = "
alert:
  alertmanager_config: am/routes.yml
  slack_webhook_url_file: a
  pagerduty_key_file: b
  webhook_url_file: c
  smtp_password_file: d
  smtp_tls_config: {ca_file: e, cert_file: f, key_file: g}
  alertmanagers:
    - url: https://am:9093
      tls: {ca_file: h, cert_file: i, key_file: j}
      basic_auth: {username: somebody, password_file: k}
    - file_sd: {files: [l, m]}
      bearer_token_file: n
";
    std::fs::write(beside("c.yaml"), text).unwrap();
    let sources = Sources { file: Some(beside("c.yaml")), ..Sources::default() };
    let mut alert = sources.load().unwrap().alert;
    let mut found: Vec<String> =
        alert.files().filter(|file| !file.is_empty()).map(|file| file.clone()).collect();
    let letters = ('a'..='n').map(|letter| letter.to_string()).chain(["am/routes.yml".to_owned()]);
    let mut expected: Vec<String> = letters.map(|name| beside(&name).display().to_string()).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}
