//! The HTTP client of everybody who asks something of others.

use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, ClientBuilder, Error, Response, Url};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Redirects that are followed one after the other, at most.
const MOST_REDIRECTS: usize = 10;

/// Which redirects are followed. Credentials never leave the host, whichever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirects {
    /// Those to the host and port that were asked, or from http to https on that host.
    #[default]
    SameHost,
    /// All.
    All,
    /// None.
    No,
}

impl Redirects {
    fn policy(self) -> Policy {
        match self {
            Self::No => Policy::none(),
            Self::All => Policy::limited(MOST_REDIRECTS),
            Self::SameHost => Policy::custom(|attempt: Attempt<'_>| {
                let stays = attempt.previous().last().is_some_and(|from| is_same_host(from, attempt.url()));
                if !stays {
                    attempt.stop()
                } else if attempt.previous().len() > MOST_REDIRECTS {
                    attempt.error("too many redirects")
                } else {
                    attempt.follow()
                }
            }),
        }
    }
}

fn is_same_host(from: &Url, to: &Url) -> bool {
    let is_upgrade = from.scheme() == "http" && to.scheme() == "https";
    let is_same_port =
        from.scheme() == to.scheme() && from.port_or_known_default() == to.port_or_known_default();
    from.host() == to.host() && (is_same_port || is_upgrade)
}

impl Serialize for Redirects {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::SameHost => serializer.serialize_str("same_host"),
            Self::All => serializer.serialize_bool(true),
            Self::No => serializer.serialize_bool(false),
        }
    }
}

impl<'de> Deserialize<'de> for Redirects {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl de::Visitor<'_> for Words {
            type Value = Redirects;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("same_host, true or false")
            }

            fn visit_bool<E: de::Error>(self, all: bool) -> Result<Redirects, E> {
                Ok(if all { Redirects::All } else { Redirects::No })
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Redirects, E> {
                match text {
                    "same_host" => Ok(Redirects::SameHost),
                    "true" => Ok(Redirects::All),
                    "false" => Ok(Redirects::No),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Words)
    }
}

/// Where a redirect that was not followed leads: only the host, because the rest may hold a secret.
pub fn redirected(response: &Response) -> Option<String> {
    if !response.status().is_redirection() {
        return None;
    }
    let to = response.headers().get(reqwest::header::LOCATION)?.to_str().ok()?;
    let to = response.url().join(to).ok()?;
    let port = to.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{}{port}", to.scheme(), to.host_str().unwrap_or_default()))
}

/// A client with ring as its crypto. `timeout` is for the whole exchange.
///
/// On a system without CA certificates, as in an image from scratch, the client still works for plain HTTP; the
/// returned flag then is false, and an https:// address will fail to verify.
pub fn http_client(timeout: Duration, redirects: Redirects) -> Result<(Client, bool), Error> {
    client(|| basic(timeout).pool_max_idle_per_host(2).redirect(redirects.policy()))
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
        // The address that was asked may hold a token, and is nobody else's business.
        .referer(false)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_stays_on_its_host_unless_more_is_allowed() {
        for (from, to, stays) in [
            ("http://a:9100/", "http://a:9100/metrics", true),
            ("http://a/", "http://a:80/x", true),
            ("http://a/", "https://a/", true),
            ("http://a:9100/", "https://a:9443/", true),
            ("https://a/", "http://a/", false),
            ("http://a:9100/", "http://a:2379/", false),
            ("http://a/", "http://b/", false),
            ("http://127.0.0.1/", "http://localhost/", false),
            ("http://a/", "file:///etc/passwd", false),
        ] {
            assert_eq!(
                is_same_host(&Url::parse(from).unwrap(), &Url::parse(to).unwrap()),
                stays,
                "{from} {to}"
            );
        }
    }

    #[test]
    fn the_setting_is_prometheus_with_one_word_more() {
        for (text, expect) in
            [("true", Redirects::All), ("false", Redirects::No), ("same_host", Redirects::SameHost)]
        {
            let read: Redirects = yaml_serde::from_str(text).unwrap();
            assert_eq!(read, expect);
            assert_eq!(yaml_serde::to_string(&read).unwrap().trim(), text);
        }
        let told = yaml_serde::from_str::<Redirects>("maybe").unwrap_err().to_string();
        assert!(told.contains("same_host, true or false"), "{told}");
    }
}
