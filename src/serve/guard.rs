//! Who may change anything: requests that do must be let in, be plain JSON, and be meant for us.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

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
}

/// Refuses requests of changing methods that break a rule; lets everything else through.
pub(super) async fn check(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    match shared.guard.refusal(request.method(), request.uri().path(), request.headers()) {
        Some((status, reason)) => api::error(status, "forbidden", reason).into_response(),
        None => next.run(request).await,
    }
}

impl Guard {
    /// Why a request is refused.
    fn refusal(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<(StatusCode, &'static str)> {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return None;
        }
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if !text(header::HOST).is_some_and(|host| self.is_ours(host)) {
            return Some((
                StatusCode::FORBIDDEN,
                "the Host header names none of our addresses; see --web.external-url",
            ));
        }
        if text(header::ORIGIN)
            .is_some_and(|origin| !self.is_ours(origin.split("://").nth(1).unwrap_or_default()))
        {
            return Some((StatusCode::FORBIDDEN, "the Origin header names a foreign site"));
        }
        if !self.changes_enabled {
            return Some((StatusCode::FORBIDDEN, "changes are not enabled; start with --web.enable-changes"));
        }
        let is_json = text(header::CONTENT_TYPE).is_some_and(|kind| {
            kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
        });
        if path != "/-/reload" && !is_json {
            return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, "needs Content-Type: application/json"));
        }
        None
    }

    fn is_ours(&self, authority: &str) -> bool {
        let name = match authority.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => authority,
        };
        let is_address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
        self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name)) || (self.any_address && is_address)
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
        };
        let json = ("content-type", "application/json; charset=utf-8");
        let host = ("host", "127.0.0.1:10091");
        for (method, path, headers, enabled, status) in [
            ("GET", "/metrics", vec![], false, None),
            ("GET", "/metrics", vec![("host", "evil.example")], false, None),
            ("POST", "/x", vec![host, json], true, None),
            ("POST", "/x", vec![host, json], false, Some(403)),
            ("POST", "/x", vec![host], true, Some(415)),
            ("POST", "/x", vec![host, ("content-type", "text/plain")], true, Some(415)),
            ("POST", "/-/reload", vec![host], true, None),
            ("POST", "/-/reload", vec![host], false, Some(403)),
            ("POST", "/x", vec![("host", "evil.example:10091"), json], true, Some(403)),
            ("POST", "/x", vec![json], true, Some(403)),
            ("POST", "/x", vec![host, json, ("origin", "http://evil.example")], true, Some(403)),
            ("POST", "/x", vec![host, json, ("origin", "null")], true, Some(403)),
            ("POST", "/x", vec![host, json, ("origin", "http://WEB1:10091")], true, None),
            ("DELETE", "/x", vec![("host", "[::1]:10091"), json], true, None),
            ("PUT", "/x", vec![("host", "10.0.0.1"), json], true, Some(403)),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
                .collect::<Vec<(header::HeaderName, header::HeaderValue)>>()
                .into_iter()
                .collect();
            let got = guard(enabled).refusal(&method.parse().unwrap(), path, &map).map(|(s, _)| s.as_u16());
            assert_eq!(got, status, "{method} {path} {headers:?} {enabled}");
        }
        let open = Guard { any_address: true, ..guard(true) };
        assert!(open.is_ours("10.0.0.1:10091") && !open.is_ours("evil.example:10091"));
    }
}
