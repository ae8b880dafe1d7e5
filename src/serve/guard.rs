//! Who is let in, and who may change anything. All requests must be meant for us; those that change something must be let
//! in, be plain JSON, and come from no foreign page. What cannot be read is refused: each rule says what is let through.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::connection::Peer;
use super::web::{Login, Users};
use super::{Shared, api};

/// The rules.
#[derive(Clone, Debug)]
pub struct Guard {
    /// `--web.enable-changes`, or a loopback listener outside a container.
    pub changes_enabled: bool,
    /// Names a request may call us by, without the port.
    pub hosts: Vec<String>,
    /// Whether any address may be meant, because we listen on all.
    pub any_address: bool,
    /// Scheme, name and port of the external URL.
    pub external_origin: String,
}

/// For a whole request, its body included, up to the beginning of the answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whether who asks is known: by a password or by a certificate.
#[derive(Clone, Copy)]
struct Known(bool);

/// Lets in whom the web configuration names, and only what is meant for us: a page that had its name resolved to our
/// address must not read either.
pub(super) async fn admit(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let web = shared.web.current();
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = if let Err(reason) = shared.guard.is_meant(request.uri(), request.headers()) {
        api::error(StatusCode::FORBIDDEN, "forbidden", reason)
    } else if web.is_closed && !["/-/healthy", "/-/ready"].contains(&request.uri().path()) {
        let told = "nobody is let in while --web.config.file is bad; the log says what is wrong with it";
        api::error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", told)
    } else if web.tls.is_some() && !peer.is_encrypted {
        // The connection is older than the encryption.
        let told = "this listener speaks TLS by now; connect anew";
        ([(header::CONNECTION, "close")], api::error(StatusCode::BAD_REQUEST, "bad_data", told))
            .into_response()
    } else if let Err(refused) = let_in(&shared, &web.users, peer, request.headers()).await {
        *refused
    } else {
        request.extensions_mut().insert(Known(!web.users.is_empty() || peer.is_certified));
        tokio::time::timeout(PATIENCE, next.run(request)).await.unwrap_or_else(|_| {
            api::error(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                "the request did not come whole, or takes too long",
            )
        })
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in &web.headers {
        headers.insert(name.clone(), value.clone());
    }
    response
}

/// Fails with the answer to who is not let in.
async fn let_in(
    shared: &Shared,
    users: &Users,
    peer: Peer,
    headers: &HeaderMap,
) -> Result<(), Box<Response>> {
    if users.is_empty() {
        return Ok(());
    }
    let logins = (&shared.web.logins, &*shared.failed_login);
    let login = users.admit(headers, peer.network, logins).await;
    if login == Some(Login::Right) {
        return Ok(());
    }
    Err(Box::new(if login == Some(Login::TooMany) {
        let told = "too many logins from there wait already; come again later";
        ([(header::RETRY_AFTER, "10")], api::error(StatusCode::TOO_MANY_REQUESTS, "unavailable", told))
            .into_response()
    } else {
        let told = "a user and a password are needed";
        ([(header::WWW_AUTHENTICATE, "Basic")], api::error(StatusCode::UNAUTHORIZED, "unauthorized", told))
            .into_response()
    }))
}

/// Refuses changes that break a rule. It lies on the routes that change something, so that others say what they are.
pub(super) async fn may_change(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let is_known = request.extensions().get::<Known>().is_some_and(|known| known.0);
    let is_encrypted = request.extensions().get::<Peer>().is_some_and(|peer| peer.is_encrypted);
    if let Some((status, reason)) =
        shared.guard.refusal(is_known, is_encrypted, request.uri().path(), request.headers())
    {
        return api::error(status, "forbidden", reason);
    }
    // Whoever sends a body slowly holds up others who send one, and nobody who reads.
    let Ok(_room) = shared.bodies.acquire().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    next.run(request).await
}

/// The header's value, if the header is there once and is text; `Err` if it is there in another way.
fn only(headers: &HeaderMap, name: impl header::AsHeaderName) -> Result<Option<&str>, ()> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        _ => Err(()),
    }
}

impl Guard {
    /// Fails unless the request names one of our addresses, wherever it names one.
    fn is_meant(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), &'static str> {
        let is_named = only(headers, header::HOST).is_ok_and(|host| host.is_some_and(|h| self.is_ours(h)));
        if is_named && uri.authority().is_none_or(|authority| self.is_ours(authority.as_str())) {
            return Ok(());
        }
        Err("the Host header names none of our addresses; see --web.external-url and --web.allowed-hosts")
    }

    /// Why a change is refused that is meant for us.
    fn refusal(
        &self,
        is_known: bool,
        is_encrypted: bool,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<(StatusCode, &'static str)> {
        let host = only(headers, header::HOST).ok().flatten().unwrap_or_default();
        let is_from_us = only(headers, header::ORIGIN)
            .is_ok_and(|origin| origin.is_none_or(|origin| self.is_own_page(origin, is_encrypted, host)));
        if !is_from_us {
            return Some((StatusCode::FORBIDDEN, "the Origin header names a foreign site"));
        }
        // Said by browsers, also where they leave out the origin.
        let is_from_here = only(headers, "sec-fetch-site")
            .is_ok_and(|site| site.is_none_or(|site| ["same-origin", "none"].contains(&site)));
        if !is_from_here {
            return Some((StatusCode::FORBIDDEN, "the Sec-Fetch-Site header tells of a foreign site"));
        }
        if !self.changes_enabled && !is_known {
            let remedy = "changes are not enabled; start with --web.enable-changes, or with users in --web.config.file";
            return Some((StatusCode::FORBIDDEN, remedy));
        }
        let is_json = only(headers, header::CONTENT_TYPE).ok().flatten().is_some_and(|kind| {
            kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
        });
        if path != "/-/reload" && !is_json {
            return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, "needs Content-Type: application/json"));
        }
        None
    }

    /// Whether a page of ours asks: under a name of ours, or the very address that it was asked by, and that port; or under
    /// the external URL.
    fn is_own_page(&self, origin: &str, is_encrypted: bool, host: &str) -> bool {
        if !self.external_origin.is_empty() && self.external_origin.eq_ignore_ascii_case(origin) {
            return true;
        }
        let (scheme, default) = if is_encrypted { ("https", 443) } else { ("http", 80) };
        let Some((named, authority)) = origin.split_once("://") else { return false };
        let (Some((name, port)), Some((asked, asked_port))) = (name_and_port(authority), name_and_port(host))
        else {
            return false;
        };
        named.eq_ignore_ascii_case(scheme)
            && port.unwrap_or(default) == asked_port.unwrap_or(default)
            && (self.is_named(name) || name.eq_ignore_ascii_case(asked))
    }

    fn is_ours(&self, authority: &str) -> bool {
        let Some((name, _)) = name_and_port(authority) else { return false };
        // An address cannot be resolved to another, so that it is meant, by whatever way it has come here.
        let is_address = || name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
        self.is_named(name) || (self.any_address && is_address())
    }

    fn is_named(&self, name: &str) -> bool {
        self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }
}

/// The parts of `NAME` or `NAME:PORT`; `None` if it is neither.
fn name_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        Some((name, "")) => Some((name, None)),
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse().ok().map(|port| (name, Some(port)))
        }
        Some((name, _)) if !name.starts_with('[') => None,
        _ => Some((authority, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: [&str; 4] = ["localhost", "127.0.0.1", "[::1]", "web1"];
    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
    const HOST: (&str, &str) = ("host", "127.0.0.1:10091");

    fn guard(changes_enabled: bool, any_address: bool) -> Guard {
        Guard {
            changes_enabled,
            hosts: HOSTS.map(str::to_owned).to_vec(),
            any_address,
            external_origin: "https://anomalies.example".to_owned(),
        }
    }

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: header::HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    /// The status of a refusal.
    fn change(guard: &Guard, is_known: bool, path: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let map = map(headers);
        if guard.is_meant(&Uri::from_static("/x"), &map).is_err() {
            return Some(403);
        }
        guard.refusal(is_known, false, path, &map).map(|(status, _)| status.as_u16())
    }

    #[test]
    fn a_change_must_be_let_in_be_json_and_be_meant_for_us() {
        for (path, headers, enabled, status) in [
            ("/x", vec![HOST, JSON], true, None),
            ("/x", vec![HOST, JSON], false, Some(403)),
            ("/x", vec![HOST], true, Some(415)),
            ("/x", vec![HOST, ("content-type", "text/plain")], true, Some(415)),
            ("/x", vec![HOST, JSON, JSON], true, Some(415)),
            ("/-/reload", vec![HOST], true, None),
            ("/-/reload", vec![HOST], false, Some(403)),
            ("/x", vec![("host", "evil.example:10091"), JSON], true, Some(403)),
            ("/x", vec![JSON], true, Some(403)),
            ("/x", vec![HOST, HOST, JSON], true, Some(403)),
            ("/x", vec![HOST, JSON, ("sec-fetch-site", "cross-site")], true, Some(403)),
            ("/x", vec![HOST, JSON, ("sec-fetch-site", "same-site")], true, Some(403)),
            ("/x", vec![HOST, JSON, ("sec-fetch-site", "same-origin")], true, None),
            ("/x", vec![("host", "[::1]:10091"), JSON], true, None),
            ("/x", vec![("host", "[::1]"), JSON], true, None),
            ("/x", vec![("host", "10.0.0.1"), JSON], true, Some(403)),
        ] {
            assert_eq!(change(&guard(enabled, false), false, path, &headers), status, "{path} {headers:?}");
        }
        assert_eq!(change(&guard(false, false), true, "/x", &[HOST, JSON]), None, "who is known may change");
    }

    #[test]
    fn a_page_may_change_something_only_if_it_is_ours() {
        let own = [
            "http://127.0.0.1:10091",
            "http://WEB1:10091",
            "http://localhost:10091",
            "https://anomalies.example",
        ];
        let foreign = [
            "http://evil.example",
            "http://evil.example:10091",
            "http://6.6.6.6:10091",
            "http://93.184.216.34:10091",
            "https://127.0.0.1:10091",
            "http://127.0.0.1:3000",
            "http://127.0.0.1",
            "http://evil@localhost:10091",
            "http://localhost:10091/evil",
            "http://localhost:10091 http://evil.example",
            "x://x://localhost:10091",
            "http://\u{e9}vil:10091",
            "file://",
            "null",
            "",
        ];
        for any_address in [false, true] {
            let guard = guard(true, any_address);
            for origin in own {
                assert_eq!(change(&guard, false, "/x", &[HOST, JSON, ("origin", origin)]), None, "{origin}");
            }
            for origin in foreign {
                for headers in [
                    vec![HOST, JSON, ("origin", origin)],
                    vec![HOST, JSON, ("origin", own[0]), ("origin", origin)],
                ] {
                    assert_eq!(change(&guard, false, "/x", &headers), Some(403), "{headers:?}");
                }
            }
        }
        let open = guard(true, true);
        let by_address = |origin| change(&open, false, "/x", &[("host", "10.0.0.5:10091"), JSON, origin]);
        assert_eq!(by_address(("origin", "http://10.0.0.5:10091")), None);
        assert_eq!(by_address(("origin", "http://6.6.6.6:10091")), Some(403));
    }

    #[test]
    fn what_names_another_host_is_not_meant_for_us_whether_it_reads_or_changes() {
        let is_meant = |uri: &str, any_address, headers: &[(&str, &str)]| {
            guard(true, any_address).is_meant(&uri.parse().unwrap(), &map(headers)).is_ok()
        };
        for host in ["localhost", "localhost:", "LOCALHOST:1", "127.0.0.1:10091", "[::1]:10091", "web1"] {
            assert!(is_meant("/metrics", false, &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.",
            "127.0.0.2:10091",
            "2130706433",
            "0x7f.1",
            "localhost@evil",
            "evil@localhost",
            "localhost:evil",
            "localhost:99999",
            "\u{e9}vil",
            "",
        ] {
            assert!(!is_meant("/metrics", false, &[("host", host)]), "{host}");
        }
        assert!(!is_meant("/metrics", true, &[]), "none at all");
        assert!(!is_meant("http://evil.example/metrics", true, &[HOST]), "a foreign target in whole");
        assert!(is_meant("http://127.0.0.1:10091/metrics", true, &[HOST]));
        assert!(!is_meant("/metrics", false, &[("host", "10.0.0.1:10091")]));
        assert!(is_meant("/metrics", true, &[("host", "10.0.0.1:10091")]), "we listen on all addresses");
        assert!(is_meant("/metrics", true, &[("host", "[fd00::1]:10091")]));
        assert!(!is_meant("/metrics", true, &[("host", "evil.example:10091")]));
    }
}
