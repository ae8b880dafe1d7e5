//! The HTTP client of everybody who asks something of others.

use std::time::Duration;

/// A client with ring as its crypto. `timeout` is for the whole exchange; redirects are followed ten times.
///
/// On a system without CA certificates, as in an image from scratch, the client still works for plain HTTP; the
/// returned flag then is false, and an https:// address will fail to verify.
pub fn http_client(timeout: Duration) -> Result<(reqwest::Client, bool), reqwest::Error> {
    // A second installation is refused, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        reqwest::Client::builder()
            .user_agent(concat!("dwcp-anomaly/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            .connect_timeout(timeout)
            .pool_max_idle_per_host(2)
            .no_proxy()
    };
    if let Ok(client) = builder().build() {
        Ok((client, true))
    } else {
        let roots = rustls::RootCertStore::empty();
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        builder().tls_backend_preconfigured(tls).build().map(|client| (client, false))
    }
}
