//! Which Alertmanagers there are: those that are named, and those that files and name servers tell of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::config::{Alertmanager, DnsSd, Scheme};
use super::dns;
use crate::setting::pattern::anchored;
use crate::setting::{Access, Address};
use crate::supervisor::{Pulse, Task, Tasks};

/// One Alertmanager to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Up to and with the path prefix, without a slash at the end; it also names the Alertmanager.
    pub url: String,
    /// How it is asked.
    pub access: Access,
    /// For the whole exchange.
    pub timeout: Duration,
}

/// At most this many of one entry: more are no fleet but a mistake.
const MOST: usize = 100;

/// Those that need not be looked for.
pub fn named(entries: &[Alertmanager]) -> Vec<Endpoint> {
    entries
        .iter()
        .filter(|entry| !entry.url.is_empty())
        .map(|entry| entry.endpoint(entry.url.reveal()))
        .collect()
}

/// All of them, looked for once.
///
/// # Errors
/// What cannot be asked.
pub async fn once(entries: &[Alertmanager]) -> Result<Vec<Endpoint>, String> {
    let mut all = named(entries);
    for entry in entries {
        all.extend(entry.look().await?.iter().map(|url| entry.endpoint(url)));
    }
    Ok(all)
}

/// Keeps `found` up to date until nobody looks any more. What cannot be asked now is left as it was.
pub async fn run(
    tasks: &Tasks,
    entries: Vec<Alertmanager>,
    found: watch::Sender<Vec<Endpoint>>,
    stop: CancellationToken,
) {
    let entries: Vec<Entry> = entries.into_iter().map(|entry| (entry, Vec::new())).collect();
    tasks
        .keep(Task::Discovery, stop, (entries, found), |(entries, found), pulse| {
            let looks: Vec<_> = entries.iter_mut().map(|entry| watch_entry(entry, found, pulse)).collect();
            futures_util::future::join_all(looks).map(drop).boxed()
        })
        .await;
}

/// With what was found of it last.
type Entry = (Alertmanager, Vec<Endpoint>);

async fn watch_entry((entry, before): &mut Entry, found: &watch::Sender<Vec<Endpoint>>, pulse: &Pulse) {
    let every = match (&entry.file_sd, &entry.dns_sd) {
        (Some(sd), _) => sd.refresh_interval.0,
        (None, Some(sd)) => sd.refresh_interval.0,
        (None, None) => return,
    };
    let mut wrong = String::new();
    loop {
        pulse.busy();
        match entry.look().await {
            Ok(addresses) => {
                let mut now: Vec<Endpoint> =
                    addresses.iter().take(MOST).map(|url| entry.endpoint(url)).collect();
                now.dedup_by(|a, b| a.url == b.url);
                if now != *before {
                    let urls: Vec<&str> = now.iter().map(|endpoint| endpoint.url.as_str()).collect();
                    tracing::info!(alertmanagers = urls.join(" "), "alertmanagers found");
                    found.send_modify(|all| {
                        all.retain(|known| !before.contains(known));
                        all.extend(now.iter().cloned());
                    });
                    *before = now;
                }
                wrong.clear();
            }
            Err(error) if error == wrong => {}
            Err(error) => {
                tracing::warn!(error, "alertmanagers cannot be looked for; those known stay");
                wrong = error;
            }
        }
        pulse.idle();
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = found.closed() => return,
        }
    }
}

impl Alertmanager {
    fn endpoint(&self, url: &str) -> Endpoint {
        let prefix = self.path_prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        Endpoint {
            url: format!("{}{slash}{prefix}", url.trim_end_matches('/')),
            access: self.access(),
            timeout: self.timeout.0,
        }
    }

    /// The addresses, sorted.
    async fn look(&self) -> Result<Vec<String>, String> {
        let mut urls = match (&self.file_sd, &self.dns_sd) {
            (Some(sd), _) => {
                let (files, scheme) = (sd.files.clone(), self.scheme);
                let read = move || of_files(&files, scheme);
                tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())??
            }
            (None, Some(sd)) => of_names(sd, self.scheme).await?,
            (None, None) => Vec::new(),
        };
        urls.sort();
        urls.dedup();
        Ok(urls)
    }
}

/// A list of addresses with labels, of which the scheme alone matters.
#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    targets: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

fn of_files(files: &[String], scheme: Scheme) -> Result<Vec<String>, String> {
    let mut urls = Vec::new();
    for pattern in files {
        for file in matching(pattern)? {
            let name = file.display();
            let text = std::fs::read_to_string(&file).map_err(|error| format!("{name}: {error}"))?;
            // JSON is YAML.
            let groups: Vec<Group> =
                yaml_serde::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
            for group in groups {
                let scheme = group.labels.get("__scheme__").map_or(scheme.name(), String::as_str);
                for target in &group.targets {
                    urls.push(of_target(scheme, target).map_err(|problem| format!("{name}: {problem}"))?);
                }
            }
        }
    }
    Ok(urls)
}

/// The address of one entry, which is a host with its port alone.
fn of_target(scheme: &str, target: &str) -> Result<String, String> {
    let url = Address::new(format!("{scheme}://{target}"));
    if target.is_empty() || target.contains(['/', '?', '#', '@', ' ']) || url.problem().is_some() {
        let shown = Address::new(target);
        return Err(format!(
            "targets: \"{shown}\" is no host:port; write host:port, the scheme as the label __scheme__ \
             (http or https) and the path as path_prefix of the configuration"
        ));
    }
    Ok(url.reveal().to_owned())
}

/// The files that a path with `*` in its last part means.
fn matching(pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = Path::new(pattern);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !name.contains('*') {
        return Ok(vec![path.to_owned()]);
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parts: Vec<String> = name.split('*').map(regex::escape).collect();
    let wanted = anchored(&parts.join(".*"))?;
    let entries =
        std::fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let found = entries.flatten().map(|entry| entry.path());
    let is_wanted = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| wanted.is_match(name))
    };
    Ok(found.filter(is_wanted).collect())
}

async fn of_names(sd: &DnsSd, scheme: Scheme) -> Result<Vec<String>, String> {
    let servers = sd.server.parse().map_or_else(|_| dns::system(), |server| vec![server]);
    let asked = sd.names.iter().map(|name| dns::lookup(&servers, name, sd.r#type, sd.port));
    let found = futures_util::future::try_join_all(asked).await?;
    Ok(found.concat().iter().map(|host| format!("{}://{host}", scheme.name())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_list_addresses_as_prometheus_reads_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(path("a.json"), r#"[{"targets": ["a:9093", "b:9093"], "labels": {"x": "y"}}]"#)
            .unwrap();
        std::fs::write(path("b.yml"), "- targets: ['c:443']\n  labels: {__scheme__: https}\n").unwrap();
        let files = [path("*.json"), path("b.yml")];
        assert_eq!(
            of_files(&files, Scheme::Http).unwrap(),
            ["http://a:9093", "http://b:9093", "https://c:443"]
        );
        for target in ["http://a:9093", "a:9093/am", "u:hunter2@a:9093", "", "a b:9093"] {
            std::fs::write(path("wrong.json"), format!(r#"[{{"targets": ["{target}"]}}]"#)).unwrap();
            let told = of_files(&[path("wrong.json")], Scheme::Http).unwrap_err();
            let is_told = told.contains("wrong.json: targets") && told.contains("__scheme__");
            assert!(is_told && !told.contains("hunter2"), "{told}");
        }
        std::fs::write(path("bad.json"), "{").unwrap();
        assert!(of_files(&[path("bad.json")], Scheme::Http).unwrap_err().contains("bad.json"));
        assert!(of_files(&[path("missing.json")], Scheme::Http).unwrap_err().contains("missing.json"));
    }

    #[test]
    fn an_address_is_named_with_its_prefix() {
        let entry = |prefix: &str| Alertmanager { path_prefix: prefix.to_owned(), ..Alertmanager::default() };
        for (url, prefix, expect) in [
            ("http://a:9093/", "", "http://a:9093"),
            ("http://a:9093", "/am/", "http://a:9093/am"),
            ("http://a:9093/x", "am", "http://a:9093/x/am"),
        ] {
            assert_eq!(entry(prefix).endpoint(url).url, expect);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_looked_for_any_more_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("am.json");
        let list = |text: &str| {
            let new = directory.path().join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, &file).unwrap();
        };
        list(r#"[{"targets": ["a:1"]}]"#);
        let sd = super::super::config::FileSd {
            files: vec![file.display().to_string()],
            refresh_interval: crate::setting::Span(Duration::from_millis(20)),
        };
        let entry = Alertmanager { file_sd: Some(sd), ..Alertmanager::default() };
        let (tell, mut found) = watch::channel(Vec::new());
        let looking = tokio::spawn(async move {
            run(&Tasks::default(), vec![entry], tell, CancellationToken::new()).await;
        });
        let urls = |found: &watch::Receiver<Vec<Endpoint>>| -> Vec<String> {
            found.borrow().iter().map(|endpoint| endpoint.url.clone()).collect()
        };
        found.changed().await.unwrap();
        assert_eq!(urls(&found), ["http://a:1"]);
        std::fs::remove_file(&file).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(urls(&found), ["http://a:1"]);
        found.borrow_and_update();
        list(r#"[{"targets": ["b:1", "c:1"]}]"#);
        found.changed().await.unwrap();
        assert_eq!(urls(&found), ["http://b:1", "http://c:1"]);
        drop(found);
        looking.await.unwrap();
    }
}
