//! The web configuration file: TLS, users and headers, in the format of Prometheus' exporter-toolkit.
//!
//! It is read again when its content has changed, or that of a certificate or key it names; looked at whenever a
//! connection or request comes in, at most once a second. What is bad leaves what is in force in place.

mod file;
mod tls;
mod users;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderName, HeaderValue};

pub(super) use users::Users;

/// Looks at the files are at least so far apart.
const LOOK: Duration = Duration::from_secs(1);

/// The file and what it says.
#[derive(Default)]
pub struct WebConfig {
    path: Option<PathBuf>,
    state: Mutex<State>,
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
    pub(super) users: Users,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl WebConfig {
    /// Reads the file; without one everything is open and plain.
    pub fn load(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else { return Ok(Self::default()) };
        let (read, web) = file::load(path);
        let state = State { looked: Some(Instant::now()), read, web: Arc::new(web?) };
        Ok(Self { path: Some(path.to_owned()), state: Mutex::new(state) })
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
        self.read.iter().any(|(path, content)| std::fs::read(path).ok() != *content)
    }

    fn take_up(&mut self, path: &Path) {
        let (read, web) = file::load(path);
        // What is bad is told once, not at every look.
        self.read = read;
        match web {
            Ok(web) => {
                tracing::info!(file = %path.display(), "web configuration taken up");
                self.web = Arc::new(web);
            }
            Err(problem) => {
                tracing::error!(problem, "web configuration not taken up; what is in force stays");
            }
        }
    }
}
