//! The certificate that is served, and how it is exchanged while the server runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// The certificate that new connections get.
#[derive(Debug, Default)]
pub struct Serving {
    current: RwLock<Option<Arc<CertifiedKey>>>,
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Serving {
    /// Serves this chain and key, both PEM, from the next connection on; gives the Unix time of its end. Whatever is
    /// wrong with it leaves the one before in place.
    pub fn install(&self, chain: &[u8], key: &[u8]) -> Result<i64, String> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("no certificate in PEM: {error}"))?;
        let first = chain.first().ok_or("no certificate in PEM")?;
        let ends_at = ends_at(first)?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("no private key in PEM: {error}"))?;
        let pair = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| format!("certificate and key do not fit: {error}"))?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(pair));
        Ok(ends_at)
    }

    /// Whether there is one.
    pub fn is_ready(&self) -> bool {
        self.current.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// A server's TLS with whatever certificate is current.
    pub(super) fn config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, String> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::clone(self) as _);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Unix time of a certificate's end.
pub(super) fn ends_at(certificate: &[u8]) -> Result<i64, String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| format!("no certificate: {error}"))?;
    Ok(parsed.validity().not_after.timestamp())
}

/// Certificate and key in files, as a mounted Secret is.
#[derive(Clone, Debug)]
pub struct Files {
    /// The chain, in PEM.
    pub certificate: PathBuf,
    /// The key, in PEM.
    pub key: PathBuf,
}

impl Files {
    /// Reads and serves them; the content is for [`Files::watch`] to compare with.
    pub fn load(&self, serving: &Serving, metrics: &Metrics) -> Result<(), String> {
        let (certificate, key) = (read(&self.certificate)?, read(&self.key)?);
        let ends_at = serving
            .install(&certificate, &key)
            .map_err(|error| format!("{}: {error}", self.certificate.display()))?;
        metrics.certificate(ends_at);
        Ok(())
    }

    /// Looks at the files again and again, through symlinks and by content, until `stop`.
    pub async fn watch(self, serving: Arc<Serving>, metrics: Arc<Metrics>, stop: CancellationToken) {
        let content = || (std::fs::read(&self.certificate).ok(), std::fs::read(&self.key).ok());
        let mut seen = content();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = content();
            if now == seen {
                continue;
            }
            seen = now;
            match self.load(&serving, &metrics) {
                Ok(()) => tracing::info!(file = %self.certificate.display(), "certificate taken up"),
                Err(error) => {
                    metrics.certificate_failed();
                    tracing::error!(error, "certificate not taken up; the one before stays");
                }
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_certificate_leaves_the_one_before() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let serving = Serving::default();
        assert!(!serving.is_ready());
        assert!(serving.install(chain.as_bytes(), key.as_bytes()).unwrap() > 1_700_000_000);
        let before = serving.current.read().unwrap().clone().unwrap();
        for (chain, key, told) in [
            ("", key.as_str(), "no certificate"),
            (chain.as_str(), "nonsense", "no private key"),
            (chain.as_str(), &other.signing_key.serialize_pem(), "do not fit"),
        ] {
            let error = serving.install(chain.as_bytes(), key.as_bytes()).unwrap_err();
            assert!(error.contains(told), "{error}");
            assert!(!error.contains("PRIVATE"), "{error}");
        }
        assert!(Arc::ptr_eq(&before, &serving.current.read().unwrap().clone().unwrap()));
    }
}
