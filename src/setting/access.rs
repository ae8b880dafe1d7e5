//! How somebody is asked over HTTP: TLS, authentication and a proxy, as in Prometheus' `http_config`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Identity, Proxy, RequestBuilder};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde::{Deserialize, Serialize};

use super::http_client::sending;
use super::{Address, Secret};

/// Everything that a request needs beside its address.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// Whom to trust, and who we are.
    pub tls: Tls,
    /// User and password.
    pub basic_auth: Option<BasicAuth>,
    /// A token in place.
    pub bearer_token: Option<Secret>,
    /// A token in a file, read anew for each request, so that it may be rotated.
    pub bearer_token_file: Option<String>,
    /// A proxy for all requests; its address may hold a password.
    pub proxy_url: Option<Secret>,
}

/// Certificates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the authorities to trust instead of the system's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ca_file: String,
    /// PEM file of our own certificate.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cert_file: String,
    /// PEM file of its key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_file: String,
    /// Name that the other side's certificate has to bear, where it is not the address'.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server_name: String,
    /// Trust anybody.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
}

/// User and password, the latter in place or in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The user.
    pub username: String,
    /// The password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Read anew for each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
}

impl Tls {
    /// Every file that it names.
    pub fn files(&mut self) -> impl Iterator<Item = &mut String> {
        [&mut self.ca_file, &mut self.cert_file, &mut self.key_file].into_iter()
    }
}

impl BasicAuth {
    /// Every file that it names.
    pub fn files(&mut self) -> impl Iterator<Item = &mut String> {
        self.password_file.iter_mut()
    }
}

impl Access {
    /// Key, relative to the access, and problem of everything that is wrong.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let mut must = |holds: bool, key, problem: &str| {
            if !holds {
                found.push((key, problem.to_owned()));
            }
        };
        let auth = self.basic_auth.as_ref();
        must(
            auth.is_none_or(|auth| auth.password.is_some() != auth.password_file.is_some()),
            "basic_auth",
            "needs either password or password_file",
        );
        let ways = [auth.is_some(), self.bearer_token.is_some(), self.bearer_token_file.is_some()];
        must(
            ways.iter().filter(|way| **way).count() <= 1,
            "",
            "has several of basic_auth, bearer_token and bearer_token_file; keep one",
        );
        let tls = &self.tls;
        must(
            tls.cert_file.is_empty() == tls.key_file.is_empty(),
            "tls",
            "needs both cert_file and key_file, or neither",
        );
        must(
            tls.server_name.is_empty() || !tls.ca_file.is_empty() || tls.insecure_skip_verify,
            "tls.server_name",
            "needs ca_file: name the authority whose certificates may bear that name",
        );
        must(
            ServerName::try_from(tls.server_name.as_str()).is_ok() || tls.server_name.is_empty(),
            "tls.server_name",
            "is no host name",
        );
        let proxy = self.proxy_url.as_ref().map(Secret::reveal);
        must(
            proxy.is_none_or(|url| Proxy::all(url).is_ok() && Address::new(url).problem().is_none()),
            "proxy_url",
            "is no address of an HTTP proxy; write http://host:port or https://host:port (socks is not spoken)",
        );
        found
    }

    /// A client for this access. It follows no redirect: a POST that became a GET on its way would seem delivered.
    ///
    /// # Errors
    /// Which file cannot be read or taken, in words.
    pub fn client(&self, timeout: Duration) -> Result<Client, String> {
        let proxy = match &self.proxy_url {
            Some(url) => Some(Proxy::all(url.reveal()).map_err(|_| "proxy_url is no URL".to_owned())?),
            None => None,
        };
        let certificates = self.tls.load()?;
        let apply = |mut builder: ClientBuilder| {
            if let Some(proxy) = &proxy {
                builder = builder.proxy(proxy.clone());
            }
            certificates.apply(builder)
        };
        sending(timeout, apply).map_err(|error| error.without_url().to_string())
    }

    /// Puts who we are on a request, and says which secrets are on it now: an answer may repeat them.
    ///
    /// # Errors
    /// Which file cannot be read.
    pub async fn authorize(&self, request: RequestBuilder) -> Result<(RequestBuilder, Vec<Secret>), String> {
        let (request, mut shown) = self.identify(request).await?;
        // A server that is reached through the proxy may see what the proxy is told.
        let proxy = self.proxy_url.as_ref().map(|url| Address::new(url.reveal()).secrets());
        shown.extend(proxy.into_iter().flatten());
        Ok((request, shown))
    }

    async fn identify(&self, request: RequestBuilder) -> Result<(RequestBuilder, Vec<Secret>), String> {
        if let Some(token) = &self.bearer_token {
            return Ok((request.bearer_auth(token.reveal()), vec![token.clone()]));
        }
        if let Some(file) = &self.bearer_token_file {
            let token = Secret::read("bearer_token_file", file).await?;
            return Ok((request.bearer_auth(token.reveal()), vec![token]));
        }
        let Some(auth) = &self.basic_auth else { return Ok((request, Vec::new())) };
        let password = match (&auth.password, &auth.password_file) {
            (Some(password), _) => password.clone(),
            (None, Some(file)) => Secret::read("basic_auth.password_file", file).await?,
            (None, None) => Secret::new(""),
        };
        Ok((request.basic_auth(&auth.username, Some(password.reveal())), vec![password]))
    }
}

impl Secret {
    /// The one line of the file that `key` names, without a byte order mark or white space at its end.
    ///
    /// # Errors
    /// The key and the file, and why it cannot be used.
    pub async fn read(key: &str, file: &str) -> Result<Self, String> {
        let wrong = |problem: &str| format!("{key}: {file}{problem}");
        let text = tokio::fs::read_to_string(file).await.map_err(|error| wrong(&format!(": {error}")))?;
        let text = text.trim_start_matches('\u{feff}').trim_end();
        if text.is_empty() {
            return Err(wrong(" is empty; write the secret into it"));
        }
        // A header would not take it, and the error of the client names neither key nor file.
        if text.contains(char::is_control) {
            return Err(wrong(
                " holds several lines or control characters; leave one line in it, the secret",
            ));
        }
        Ok(Self::new(text))
    }
}

/// What the files of a [`Tls`] hold.
struct Certificates {
    authorities: Option<Vec<u8>>,
    identity: Option<Vec<u8>>,
    /// TLS that asks for a certificate of another name than the address'.
    named: Option<rustls::ClientConfig>,
    trust_anybody: bool,
}

/// What the files of a [`Tls`] hold now; `None` where there is none or it cannot be read.
pub type Files = [Option<Vec<u8>>; 3];

impl Tls {
    /// The files' contents.
    pub fn contents(&self) -> Files {
        [&self.ca_file, &self.cert_file, &self.key_file]
            .map(|file| if file.is_empty() { None } else { std::fs::read(file).ok() })
    }

    /// The files' names, for people.
    pub fn named(&self) -> String {
        let files = [&self.ca_file, &self.cert_file, &self.key_file].map(String::as_str);
        files.into_iter().filter(|file| !file.is_empty()).collect::<Vec<_>>().join(", ")
    }

    fn load(&self) -> Result<Certificates, String> {
        let read = |file: &str| std::fs::read(file).map_err(|error| format!("{file}: {error}"));
        let given = |file: &String| (!file.is_empty()).then(|| read(file)).transpose();
        let (authorities, mut identity) = (given(&self.ca_file)?, given(&self.key_file)?);
        if let (Some(key), Some(certificate)) = (&mut identity, given(&self.cert_file)?) {
            key.push(b'\n');
            key.extend(certificate);
            Identity::from_pem(key).map_err(|_| {
                format!("{} and {} are no key with its certificate", self.key_file, self.cert_file)
            })?;
        }
        if let Some(pem) = &authorities {
            let found = Certificate::from_pem_bundle(pem).unwrap_or_default();
            if found.is_empty() {
                return Err(format!("{} holds no certificate in PEM", self.ca_file));
            }
        }
        let name = (!self.server_name.is_empty() && !self.insecure_skip_verify)
            .then(|| ServerName::try_from(self.server_name.clone()))
            .transpose()
            .map_err(|_| format!("{} is no host name", self.server_name))?;
        let named = match (name, &authorities) {
            (Some(name), Some(pem)) => Some(
                named(name, pem, identity.as_deref())
                    .map_err(|error| format!("{} with {}: {error}", self.key_file, self.cert_file))?,
            ),
            _ => None,
        };
        Ok(Certificates { authorities, identity, named, trust_anybody: self.insecure_skip_verify })
    }
}

impl Certificates {
    /// The files were checked when they were loaded, so what does not parse here is left out.
    fn apply(&self, mut builder: ClientBuilder) -> ClientBuilder {
        if let Some(config) = &self.named {
            return builder.tls_backend_preconfigured(config.clone());
        }
        if let Some(authorities) = &self.authorities {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(authorities).unwrap_or_default());
        }
        if let Some(identity) = self.identity.as_ref().and_then(|pem| Identity::from_pem(pem).ok()) {
            builder = builder.identity(identity);
        }
        builder.tls_danger_accept_invalid_certs(self.trust_anybody)
    }
}

/// TLS that asks for a certificate of `name`, whatever the address is.
///
/// # Errors
/// What is wrong with the identity, as with a certificate of X.509 version 1.
fn named(
    name: ServerName<'static>,
    authorities: &[u8],
    identity: Option<&[u8]>,
) -> Result<rustls::ClientConfig, String> {
    let wrong = |error: &dyn std::fmt::Display| error.to_string();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(authorities).flatten());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| wrong(&error))?;
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Named { name, verifier }));
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain = CertificateDer::pem_slice_iter(identity).flatten().collect();
    let key = PrivateKeyDer::from_pem_slice(identity).map_err(|error| wrong(&error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| wrong(&error))
}

/// Verifies as is done for any server, but for another name than the address'.
struct Named {
    name: ServerName<'static>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a certificate of {:?}", self.name)
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_holds_no_secret_is_told_with_its_key_and_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token").display().to_string();
        for (text, told) in [
            ("", "is empty"),
            ("\u{feff} \r\n", "is empty"),
            ("hunter2\nhunter3\n", "leave one line"),
            ("hunter2\0", "leave one line"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = Secret::read("bearer_token_file", &file).await.unwrap_err();
            let is_named = error.starts_with(&format!("bearer_token_file: {file} "));
            assert!(is_named && error.contains(told) && !error.contains("hunter"), "{text:?}: {error}");
        }
        std::fs::write(&file, "\u{feff}hunter2\r\n").unwrap();
        assert_eq!(Secret::read("k", &file).await.unwrap().reveal(), "hunter2");
        std::fs::remove_file(&file).unwrap();
        assert!(Secret::read("key", &file).await.unwrap_err().starts_with(&format!("key: {file}: ")));
    }

    #[test]
    fn a_proxy_speaks_http() {
        for (url, is_right) in [
            ("http://u:p@proxy:3128", true),
            ("https://proxy", true),
            ("socks5://proxy:1080", false),
            ("socks5h://proxy:1080", false),
            ("proxy:3128", false),
            ("", false),
        ] {
            let access = Access { proxy_url: Some(Secret::new(url)), ..Access::default() };
            assert_eq!(access.problems().is_empty(), is_right, "{url}");
        }
    }
}
