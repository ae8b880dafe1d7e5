//! The HTTP client of everybody who asks something of others.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Error};

/// A client with ring as its crypto. `timeout` is for the whole exchange; redirects are followed ten times.
///
/// On a system without CA certificates, as in an image from scratch, the client still works for plain HTTP; the
/// returned flag then is false, and an https:// address will fail to verify.
pub fn http_client(timeout: Duration) -> Result<(Client, bool), Error> {
    client(|| basic(timeout).pool_max_idle_per_host(2))
}

/// A client that connects anew for every request and follows no redirect: so that all it takes is one exchange's.
pub fn probing_client(timeout: Duration) -> Result<Client, Error> {
    let built = client(|| basic(timeout).pool_max_idle_per_host(0).redirect(Policy::none()));
    built.map(|(client, _)| client)
}

/// A client that posts: further settings by `apply`, and no redirect is followed.
pub(super) fn sending(
    timeout: Duration,
    apply: impl Fn(ClientBuilder) -> ClientBuilder,
) -> Result<Client, Error> {
    let built = client(|| apply(basic(timeout).pool_max_idle_per_host(2).redirect(Policy::none())));
    built.map(|(client, _)| client)
}

fn basic(timeout: Duration) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("dwcp-anomaly/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .connect_timeout(timeout)
        .no_proxy()
}

fn client(builder: impl Fn() -> ClientBuilder) -> Result<(Client, bool), Error> {
    // A second installation is refused, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Ok(client) = builder().build() {
        return Ok((client, true));
    }
    let roots = rustls::RootCertStore::empty();
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    builder().tls_backend_preconfigured(tls).build().map(|client| (client, false))
}
