//! The format of the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use axum::http::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::{Users, Web, tls};
use crate::setting::Secret;

/// Headers that may be set, as exporter-toolkit has it.
const HEADERS: [&str; 5] = [
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
];

/// Bytes of a file.
const MOST: u64 = 1 << 20;

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct File {
    tls_server_config: Option<tls::Config>,
    http_server_config: HttpServerConfig,
    basic_auth_users: BTreeMap<String, Secret>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HttpServerConfig {
    /// Taken, as HTTP/1.1 is spoken in any case.
    #[serde(rename = "http2")]
    _http2: bool,
    headers: BTreeMap<String, String>,
}

impl Default for HttpServerConfig {
    fn default() -> Self {
        Self { _http2: true, headers: BTreeMap::new() }
    }
}

/// A file that was read, with its content.
pub(super) type Read = Vec<(PathBuf, Option<Vec<u8>>)>;

/// Reads `path` and what it names. Everything that was looked for is told, whatever came of it.
pub(super) fn load(path: &Path) -> (Read, Result<Web, String>) {
    let mut read = Vec::new();
    let web = web(path, &mut read).map_err(|problem| format!("{}: {problem}", path.display()));
    (read, web)
}

fn web(path: &Path, read: &mut Read) -> Result<Web, String> {
    let text = read_file(path, read)
        .map_err(|error| format!("cannot be read: {error}; give a readable file to --web.config.file"))?;
    let text = String::from_utf8(text).map_err(|_| "is no text in UTF-8".to_owned())?;
    let file = parse(text.trim_start_matches('\u{feff}'))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let tls = file.tls_server_config.as_ref();
    let tls = tls.map(|tls| tls.server(directory, &mut |path| read_file(path, read)));
    let tls = tls.transpose().map_err(|problem| format!("tls_server_config.{problem}"))?;
    let of_clients = file.tls_server_config.as_ref();
    Ok(Web {
        verifies_clients: of_clients.is_some_and(tls::Config::verifies_clients),
        asks_clients: of_clients.is_some_and(tls::Config::asks_clients),
        tls,
        users: Users::new(file.basic_auth_users)?,
        headers: headers(&file.http_server_config.headers)?,
        is_closed: false,
    })
}

/// The content of a file that is named, if it is a plain one of a size that makes sense.
pub(super) fn content(path: &Path) -> std::io::Result<Vec<u8>> {
    let too_large = || std::io::Error::new(std::io::ErrorKind::FileTooLarge, "it is larger than 1 MiB");
    crate::disk::read_named(path, MOST)?.ok_or_else(too_large)
}

fn read_file(path: &Path, read: &mut Read) -> std::io::Result<Vec<u8>> {
    let content = content(path);
    read.push((path.to_owned(), content.as_ref().ok().cloned()));
    content
}

fn parse(text: &str) -> Result<File, String> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(File::default());
    }
    let read = serde_path_to_error::deserialize(yaml_serde::Deserializer::from_str(text));
    read.map_err(|error| {
        let key = error.path().to_string();
        let error = error.into_inner();
        let line = error.location().map(|at| format!("line {}: ", at.line())).unwrap_or_default();
        let told = error.to_string();
        let told = told.split(" at line ").next().unwrap_or_default();
        format!("{line}{key}: {told}; the keys are those of exporter-toolkit's web configuration")
    })
}

fn headers(headers: &BTreeMap<String, String>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let header = |(name, value): (&String, &String)| {
        let key = format!("http_server_config.headers.{name}");
        if !HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(format!("{key}: cannot be configured; these can: {}", HEADERS.join(", ")));
        }
        let wrong = |_| format!("{key}: has a character that no header may have");
        let value = HeaderValue::from_str(value).map_err(wrong)?;
        let name = name.parse().map_err(|_| format!("{key}: is no header"))?;
        Ok((name, value))
    };
    headers.iter().filter(|(_, value)| !value.is_empty()).map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_its_key_and_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.yml");
        for (text, part) in [
            ("tls_server_confg: {}", "unknown field `tls_server_confg`"),
            ("tls_server_config: {cert_file: a}", "tls_server_config.key_file: is missing"),
            ("tls_server_config: {cert_file: a, key_file: b}", "tls_server_config.key_file: b: No such"),
            ("tls_server_config: {min_version: TLS10}", "TLS12"),
            ("tls_server_config: {client_auth_type: Always}", "RequireAndVerifyClientCert"),
            ("basic_auth_users: {a: hunter2}", "basic_auth_users.a: is no bcrypt hash"),
            ("http_server_config: {headers: {Server: x}}", "http_server_config.headers.Server: cannot be"),
            ("basic_auth_users: [", "line 1"),
        ] {
            std::fs::write(&path, text).unwrap();
            let told = load(&path).1.err().unwrap();
            assert!(told.contains("web.yml: ") && told.contains(part), "{text}: {told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
        assert!(load(Path::new("/no/such")).1.err().unwrap().contains("--web.config.file"));
        std::fs::write(&path, "# nothing\n").unwrap();
        assert!(load(&path).1.is_ok());
    }
}
