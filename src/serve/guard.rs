//! Who is let in, and who may change anything: requests that do must be let in, be plain JSON, and be meant for us.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::connection::Peer;
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

/// Lets in whom the web configuration names.
pub(super) async fn admit(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let web = shared.web.current();
    let peer = request.extensions_mut().remove::<Peer>().unwrap_or_default();
    let mut response = if web.users.is_empty() || web.users.admit(request.headers()).await {
        request.extensions_mut().insert(Known(!web.users.is_empty() || peer.is_certified));
        tokio::time::timeout(PATIENCE, next.run(request)).await.unwrap_or_else(|_| {
            api::error(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                "the request did not come whole, or takes too long",
            )
        })
    } else {
        let refused =
            api::error(StatusCode::UNAUTHORIZED, "unauthorized", "a user and a password are needed");
        ([(header::WWW_AUTHENTICATE, "Basic")], refused).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in &web.headers {
        headers.insert(name.clone(), value.clone());
    }
    response
}

/// Refuses changes that break a rule. It lies on the routes that change something, so that others say what they are.
pub(super) async fn may_change(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let is_known = request.extensions().get::<Known>().is_some_and(|known| known.0);
    match shared.guard.refusal(is_known, request.uri().path(), request.headers()) {
        Some((status, reason)) => api::error(status, "forbidden", reason),
        None => next.run(request).await,
    }
}

impl Guard {
    /// Why a request is refused.
    fn refusal(&self, is_known: bool, path: &str, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if !text(header::HOST).is_some_and(|host| self.is_ours(host)) {
            return Some((
                StatusCode::FORBIDDEN,
                "the Host header names none of our addresses; see --web.external-url",
            ));
        }
        let host = text(header::HOST).unwrap_or_default();
        if text(header::ORIGIN).is_some_and(|origin| !self.is_own_page(origin, host)) {
            return Some((StatusCode::FORBIDDEN, "the Origin header names a foreign site"));
        }
        if !self.changes_enabled && !is_known {
            let remedy = "changes are not enabled; start with --web.enable-changes, or with users in --web.config.file";
            return Some((StatusCode::FORBIDDEN, remedy));
        }
        let is_json = text(header::CONTENT_TYPE).is_some_and(|kind| {
            kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
        });
        if path != "/-/reload" && !is_json {
            return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, "needs Content-Type: application/json"));
        }
        None
    }

    /// Whether a page of ours asks: under the name and port that it was asked by, or under the external URL.
    fn is_own_page(&self, origin: &str, host: &str) -> bool {
        let authority = origin.split("://").nth(1).unwrap_or_default();
        let same_port = name_and_port(authority).1 == name_and_port(host).1;
        (self.is_ours(authority) && same_port) || self.external_origin.eq_ignore_ascii_case(origin)
    }

    fn is_ours(&self, authority: &str) -> bool {
        let name = name_and_port(authority).0;
        let is_address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
        self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name)) || (self.any_address && is_address)
    }
}

fn name_and_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_must_be_let_in_be_json_and_be_meant_for_us() {
        let guard = |changes_enabled| Guard {
            changes_enabled,
            hosts: ["localhost", "127.0.0.1", "[::1]", "web1"].map(str::to_owned).to_vec(),
            any_address: false,
            external_origin: "https://anomalies.example".to_owned(),
        };
        let json = ("content-type", "application/json; charset=utf-8");
        let host = ("host", "127.0.0.1:10091");
        for (path, headers, enabled, status) in [
            ("/x", vec![host, json], true, None),
            ("/x", vec![host, json], false, Some(403)),
            ("/x", vec![host], true, Some(415)),
            ("/x", vec![host, ("content-type", "text/plain")], true, Some(415)),
            ("/-/reload", vec![host], true, None),
            ("/-/reload", vec![host], false, Some(403)),
            ("/x", vec![("host", "evil.example:10091"), json], true, Some(403)),
            ("/x", vec![json], true, Some(403)),
            ("/x", vec![host, json, ("origin", "http://evil.example")], true, Some(403)),
            ("/x", vec![host, json, ("origin", "null")], true, Some(403)),
            ("/x", vec![host, json, ("origin", "http://WEB1:10091")], true, None),
            ("/x", vec![host, json, ("origin", "http://127.0.0.1:3000")], true, Some(403)),
            ("/x", vec![host, json, ("origin", "https://anomalies.example")], true, None),
            ("/x", vec![("host", "[::1]:10091"), json], true, None),
            ("/x", vec![("host", "10.0.0.1"), json], true, Some(403)),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
                .collect::<Vec<(header::HeaderName, header::HeaderValue)>>()
                .into_iter()
                .collect();
            let got = guard(enabled).refusal(false, path, &map).map(|(s, _)| s.as_u16());
            assert_eq!(got, status, "{path} {headers:?} {enabled}");
        }
        let map = HeaderMap::from_iter([host, json].map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())));
        assert_eq!(guard(false).refusal(true, "/x", &map), None, "who is known may change");
        let open = Guard { any_address: true, ..guard(true) };
        assert!(open.is_ours("10.0.0.1:10091") && !open.is_ours("evil.example:10091"));
    }
}
