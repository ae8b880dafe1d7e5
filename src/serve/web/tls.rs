//! `tls_server_config`.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use serde::Deserialize;

use crate::setting::Secret;

/// The section. Relative paths are below the directory of the file.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    cert: String,
    key: Option<Secret>,
    client_ca: String,
    cert_file: String,
    key_file: String,
    client_ca_file: String,
    client_auth_type: ClientAuth,
    /// Names of clients; not taken.
    client_allowed_sans: Vec<String>,
    min_version: Option<Version>,
    max_version: Option<Version>,
    cipher_suites: Vec<String>,
    /// Taken: the server's order always counts.
    #[serde(rename = "prefer_server_cipher_suites")]
    _prefer_server_cipher_suites: bool,
    curve_preferences: Vec<String>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
enum ClientAuth {
    #[default]
    #[serde(alias = "")]
    NoClientCert,
    RequestClientCert,
    #[serde(alias = "RequireClientCert")]
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

/// How files are read, so that somebody can take note of it.
type ReadFile<'a> = dyn FnMut(&Path) -> std::io::Result<Vec<u8>> + 'a;

impl Config {
    /// Whether certificates of clients are verified, so that who has one is known.
    pub(super) fn verifies_clients(&self) -> bool {
        matches!(
            self.client_auth_type,
            ClientAuth::VerifyClientCertIfGiven | ClientAuth::RequireAndVerifyClientCert
        )
    }

    /// Whether clients are asked for a certificate.
    pub(super) fn asks_clients(&self) -> bool {
        self.client_auth_type != ClientAuth::NoClientCert
    }

    /// What connections are encrypted by. An error begins with the key below `tls_server_config`.
    pub(super) fn server(
        &self,
        directory: &Path,
        read: &mut ReadFile<'_>,
    ) -> Result<Arc<ServerConfig>, String> {
        if !self.client_allowed_sans.is_empty() {
            return Err("client_allowed_sans: is not taken; let client_ca sign only those clients".to_owned());
        }
        let provider = Arc::new(self.provider()?);
        let key = self.key.as_ref().map(Secret::reveal).unwrap_or_default();
        let key = pem(("key", key), ("key_file", &self.key_file), directory, read)?;
        let chain = pem(("cert", &self.cert), ("cert_file", &self.cert_file), directory, read)?;
        let chain = certificates("cert", &chain)?;
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|error| format!("key: {error:?}; give a private key in PEM"))?;
        let clients = self.clients(&provider, directory, read)?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions()?)
            .map_err(|error| format!("cipher_suites: {error}"))?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(|error| format!("cert: does not go with the key: {error}"))?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(server))
    }

    fn versions(&self) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, String> {
        let (least, most) =
            (self.min_version.unwrap_or(Version::Tls12), self.max_version.unwrap_or(Version::Tls13));
        let all = [(Version::Tls12, &rustls::version::TLS12), (Version::Tls13, &rustls::version::TLS13)];
        let wanted = all.into_iter().filter(|(version, _)| (least..=most).contains(version));
        let wanted: Vec<_> = wanted.map(|(_, version)| version).collect();
        if wanted.is_empty() { Err("max_version: is below min_version".to_owned()) } else { Ok(wanted) }
    }

    fn provider(&self) -> Result<CryptoProvider, String> {
        let mut provider = ring::default_provider();
        if !self.cipher_suites.is_empty() {
            // As in Go, the suites of TLS 1.3 are not chosen among.
            let name = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite());
            let known: Vec<String> = provider.cipher_suites.iter().map(name).collect();
            if let Some(unknown) = self.cipher_suites.iter().find(|wanted| !known.contains(wanted)) {
                return Err(format!(
                    "cipher_suites: {unknown} is not there; these are: {}",
                    known.join(", ")
                ));
            }
            let is_wanted = |suite: &rustls::SupportedCipherSuite| {
                suite.tls13().is_some() || self.cipher_suites.contains(&name(suite))
            };
            provider.cipher_suites.retain(is_wanted);
        }
        if !self.curve_preferences.is_empty() {
            let groups = self.curve_preferences.iter().map(|curve| match curve.as_str() {
                "CurveP256" => Ok(ring::kx_group::SECP256R1),
                "CurveP384" => Ok(ring::kx_group::SECP384R1),
                "X25519" => Ok(ring::kx_group::X25519),
                other => Err(format!(
                    "curve_preferences: {other} is not there; CurveP256, CurveP384 and X25519 are"
                )),
            });
            provider.kx_groups = groups.collect::<Result<_, _>>()?;
        }
        Ok(provider)
    }

    fn clients(
        &self,
        provider: &Arc<CryptoProvider>,
        directory: &Path,
        read: &mut ReadFile<'_>,
    ) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let has_ca = !self.client_ca.is_empty() || !self.client_ca_file.is_empty();
        if !self.verifies_clients() {
            if has_ca {
                return Err("client_auth_type: must verify clients where client_ca is given; use RequireAndVerifyClientCert".to_owned());
            }
            return Ok(match self.client_auth_type {
                ClientAuth::NoClientCert => WebPkiClientVerifier::no_client_auth(),
                other => Arc::new(Anybody {
                    must: other == ClientAuth::RequireAnyClientCert,
                    algorithms: provider.signature_verification_algorithms,
                }),
            });
        }
        if !has_ca {
            return Err("client_ca_file: is missing; clients are verified by it".to_owned());
        }
        let ca = ("client_ca", self.client_ca.as_str());
        let ca = pem(ca, ("client_ca_file", &self.client_ca_file), directory, read)?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates("client_ca", &ca)? {
            roots.add(certificate).map_err(|error| format!("client_ca: {error}"))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = match self.client_auth_type {
            ClientAuth::VerifyClientCertIfGiven => builder.allow_unauthenticated(),
            _ => builder,
        };
        builder.build().map(|verifier| verifier as _).map_err(|error| format!("client_ca: {error}"))
    }
}

/// What is given in place, or in a file.
fn pem(
    (key, text): (&str, &str),
    (file_key, file): (&str, &str),
    directory: &Path,
    read: &mut ReadFile<'_>,
) -> Result<Vec<u8>, String> {
    match (text, file) {
        ("", "") => Err(format!("{file_key}: is missing; name a file in PEM")),
        ("", file) => read(&directory.join(file)).map_err(|error| format!("{file_key}: {file}: {error}")),
        (text, "") => Ok(text.as_bytes().to_vec()),
        _ => Err(format!("{file_key}: is given as {key} as well; keep one")),
    }
}

fn certificates(key: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("{key}: has no certificate; give one in PEM")),
        Err(error) => Err(format!("{key}: {error:?}; give certificates in PEM")),
    }
}

/// Takes any certificate, or none: whoever has it is not known by it.
#[derive(Debug)]
struct Anybody {
    must: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        self.must
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
