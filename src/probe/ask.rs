//! One probe of one peer.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, lookup_host};

use super::config::Peer;
use crate::setting::{Address, probing_client};

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered, after this time.
    Answered(Duration),
    /// Not in time, or there was no way to the peer.
    Lost,
    /// The peer, or somebody before it, said no: so it was reached.
    Refused,
    /// Neither: a name that does not resolve, a connection that broke, no TLS.
    Failed(String),
}

/// How one peer is asked.
pub(super) enum Asker {
    Tcp(String),
    Http(reqwest::Client, Address),
}

impl Asker {
    pub(super) fn new(peer: &Peer, timeout: Duration) -> Result<Self, reqwest::Error> {
        Ok(match (&peer.tcp, &peer.http) {
            (None, Some(url)) => Self::Http(probing_client(timeout)?, url.clone()),
            (address, _) => Self::Tcp(address.clone().unwrap_or_default()),
        })
    }

    pub(super) async fn ask(&self, timeout: Duration) -> Outcome {
        let asked = async {
            match self {
                Self::Tcp(address) => connect(address).await,
                Self::Http(client, url) => first_byte(client, url).await,
            }
        };
        tokio::time::timeout(timeout, asked).await.unwrap_or(Outcome::Lost)
    }
}

/// The name is resolved before the clock starts.
async fn connect(address: &str) -> Outcome {
    let to = match lookup_host(address).await.map(|mut found| found.next()) {
        Ok(Some(to)) => to,
        Ok(None) => return Outcome::Failed(format!("{address} has no address")),
        Err(error) => return Outcome::Failed(format!("{address}: {error}")),
    };
    let began = Instant::now();
    match TcpStream::connect(to).await {
        Ok(_) => Outcome::Answered(began.elapsed()),
        Err(error) => told(&error),
    }
}

/// Any answer is one: it is the path that is asked about, not the page.
async fn first_byte(client: &reqwest::Client, url: &Address) -> Outcome {
    let began = Instant::now();
    match client.get(url.reveal()).send().await {
        Ok(_) => Outcome::Answered(began.elapsed()),
        Err(error) if error.is_timeout() => Outcome::Lost,
        Err(error) => {
            let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
            while let Some(one) = cause {
                if let Some(error) = one.downcast_ref::<io::Error>() {
                    return told(error);
                }
                cause = one.source();
            }
            Outcome::Failed(error.without_url().to_string())
        }
    }
}

fn told(error: &io::Error) -> Outcome {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Outcome::Refused,
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Outcome::Lost,
        _ => Outcome::Failed(error.to_string()),
    }
}
