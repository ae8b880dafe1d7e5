//! Where to listen, and under which address people find it, as Prometheus' own flags take them.

use reqwest::Url;
use tokio::net::TcpListener;

use super::Failed;

/// Listens at `address`: HOST:PORT, or :PORT for all addresses of this machine.
pub(super) async fn listen(flag: &str, address: &str) -> Result<TcpListener, Failed> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let Ok(port) = port.parse::<u16>() else {
        return Err(Failed::Asked(format!(
            "{flag}: {address:?} is no address; give HOST:PORT such as 0.0.0.0:10091"
        )));
    };
    let failed = |error| Failed::Running(format!("{flag}: {address}: {error}"));
    if host.is_empty() {
        // Both kinds of addresses where the machine has both.
        return match TcpListener::bind(("::", port)).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind(("0.0.0.0", port)).await.map_err(failed),
        };
    }
    TcpListener::bind(address).await.map_err(failed)
}

/// `url` without a slash at its end.
pub(super) fn external(url: &str) -> Result<String, Failed> {
    let is_good =
        Url::parse(url).is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    if is_good {
        Ok(url.trim_end_matches('/').to_owned())
    } else {
        Err(Failed::Asked(format!(
            "--web.external-url: {url:?} is no URL; give one such as http://web-1.example:10091"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_taken_as_prometheus_takes_it_and_another_text_is_refused() {
        for address in ["127.0.0.1:0", "localhost:0", ":0", "[::1]:0"] {
            assert!(listen("--a", address).await.is_ok(), "{address}");
        }
        for address in ["foo", "127.0.0.1:99999", "127.0.0.1", ":"] {
            let Err(Failed::Asked(told)) = listen("--a", address).await else { panic!("{address}") };
            assert!(told.starts_with(&format!("--a: {address:?} is no address")), "{told}");
        }
    }

    #[test]
    fn an_external_url_has_a_scheme_and_a_host() {
        assert_eq!(external("http://web-1:10091/").ok().as_deref(), Some("http://web-1:10091"));
        for url in ["nope", "web-1:10091", "ftp://web-1", "/dwcp", ""] {
            assert!(matches!(external(url), Err(Failed::Asked(_))), "{url}");
        }
    }
}
