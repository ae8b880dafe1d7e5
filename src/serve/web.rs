//! The web configuration file: TLS, users and headers, in the format of Prometheus' exporter-toolkit.
//!
//! It is read again when its content has changed, or that of a certificate or key it names; looked at whenever a
//! connection or request comes in, at most once a second. What is bad leaves what is in force in place; so does what would
//! end a protection, as a file that was emptied or cut short does: that takes a restart.

mod file;
mod logins;
mod tls;
mod users;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderName, HeaderValue};

pub(super) use logins::{Login, Logins};
pub(super) use users::Users;

/// Looks at the files are at least so far apart.
const LOOK: Duration = Duration::from_secs(1);

/// The file and what it says.
#[derive(Default)]
pub struct WebConfig {
    path: Option<PathBuf>,
    state: Mutex<State>,
    /// Those who came, whatever the file has said meanwhile.
    pub(super) logins: Logins,
}

#[derive(Default)]
struct State {
    looked: Option<Instant>,
    /// Every file that was read, with its content then.
    read: Vec<(PathBuf, Option<Vec<u8>>)>,
    web: Arc<Web>,
}

/// What is in force.
#[derive(Default)]
pub(super) struct Web {
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    /// Whether a client's certificate was verified where one was given.
    pub(super) verifies_clients: bool,
    /// Whether a client is asked for a certificate at all.
    asks_clients: bool,
    pub(super) users: Users,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// The file could not be read at the start: nobody knows who may be let in, so nobody is.
    pub(super) is_closed: bool,
}

impl WebConfig {
    /// Reads the file; without one everything is open and plain.
    pub fn load(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else { return Ok(Self::default()) };
        let (read, web) = file::load(path);
        let web = web?;
        if web.tls.is_none() && web.users.is_empty() {
            tracing::warn!(file = %path.display(), "names neither TLS nor users: everybody is let in, in the clear");
        }
        let state = State { looked: Some(Instant::now()), read, web: Arc::new(web) };
        Ok(Self { path: Some(path.to_owned()), state: Mutex::new(state), logins: Logins::default() })
    }

    /// Lets nobody in until `path` can be read.
    pub fn closed(path: &Path) -> Self {
        let (read, _) = file::load(path);
        let web = Arc::new(Web { is_closed: true, ..Web::default() });
        let state = State { looked: Some(Instant::now()), read, web };
        Self { path: Some(path.to_owned()), state: Mutex::new(state), logins: Logins::default() }
    }

    /// Whether connections are encrypted.
    pub fn has_tls(&self) -> bool {
        self.current().tls.is_some()
    }

    /// What is in force now.
    pub(super) fn current(&self) -> Arc<Web> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.path
            && state.looked.is_none_or(|looked| looked.elapsed() >= LOOK)
        {
            state.looked = Some(Instant::now());
            if state.has_changed() {
                state.take_up(path);
            }
        }
        Arc::clone(&state.web)
    }
}

impl State {
    fn has_changed(&self) -> bool {
        self.read.iter().any(|(path, content)| file::content(path).ok() != *content)
    }

    fn take_up(&mut self, path: &Path) {
        let (read, web) = file::load(path);
        // What is bad is told once, not at every look.
        self.read = read;
        match web.and_then(|web| self.web.keeps(web)) {
            Ok(web) => {
                tracing::info!(file = %path.display(), "web configuration taken up");
                self.web = Arc::new(web);
            }
            Err(problem) => {
                tracing::error!(
                    file = %path.display(), problem, "web configuration not taken up; what is in force stays"
                );
            }
        }
    }
}

impl Web {
    /// `next`, unless it lacks a protection that is in force.
    fn keeps(&self, mut next: Self) -> Result<Self, String> {
        next.users.inherit(&self.users);
        let ends = [
            (self.tls.is_some() && next.tls.is_none(), "TLS (tls_server_config)"),
            (self.asks_clients && !next.asks_clients, "certificates of clients (client_auth_type)"),
            (self.is_closed && next.tls.is_none() && next.users.is_empty(), "the refusal of everybody"),
            (!self.users.is_empty() && next.users.is_empty(), "users (basic_auth_users)"),
        ];
        match ends.into_iter().find(|(ends, _)| *ends) {
            None => Ok(next),
            Some((_, what)) => Err(format!("it would end {what}; put it back, or restart to go on without")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_up(before: &Web, text: &str, directory: &Path) -> Result<Web, String> {
        let path = directory.join("web.yml");
        std::fs::write(&path, text).unwrap();
        file::load(&path).1.and_then(|web| before.keeps(web))
    }

    #[test]
    fn a_file_that_is_emptied_or_cut_short_ends_no_protection() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(at.join("c.pem"), key.cert.pem()).unwrap();
        std::fs::write(at.join("k.pem"), key.signing_key.serialize_pem()).unwrap();
        let users = format!("basic_auth_users: {{ann: '{}'}}\n", bcrypt::hash("s3cret", 4).unwrap());
        let tls = "tls_server_config:\n  cert_file: c.pem\n  key_file: k.pem\n";
        let clients = "  client_ca_file: c.pem\n  client_auth_type: RequireAndVerifyClientCert\n";
        let whole = format!("{tls}{clients}{users}");
        let before = taken_up(&Web::default(), &whole, at).unwrap();
        assert!(taken_up(&before, &whole, at).is_ok());
        for (text, part) in [
            ("", "TLS"),
            ("\n  \n# nothing\n", "TLS"),
            ("{}", "TLS"),
            ("tls_server_config:\nbasic_auth_users:\n", "TLS"),
            (&users, "TLS"),
            (tls, "client_auth_type"),
            (&format!("{tls}{users}"), "client_auth_type"),
            (&format!("{tls}{clients}"), "basic_auth_users"),
            (&format!("{tls}{clients}basic_auth_users: {{}}\n"), "basic_auth_users"),
        ] {
            let told = taken_up(&before, text, at).err().unwrap_or_default();
            assert!(told.contains(part) && told.contains("restart"), "{text}: {told}");
        }
        assert!(taken_up(&Web::default(), "", at).is_ok(), "nothing was in force");
        let closed = Web { is_closed: true, ..Web::default() };
        assert!(taken_up(&closed, "", at).is_err(), "nobody knows what was to be in force");
        assert!(taken_up(&closed, &users, at).is_ok_and(|web| !web.is_closed));
    }
}
