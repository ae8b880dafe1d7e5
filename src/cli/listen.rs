//! Where to listen, and under which address people find it, as Prometheus' own flags take them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::Url;
use tokio::net::TcpListener;

use super::Failed;

/// Between attempts to listen where somebody else does.
const AGAIN: Duration = Duration::from_secs(1);

/// Listens at `address`: HOST:PORT, or :PORT for all addresses of this machine.
pub(super) async fn listen(flag: &str, address: &str) -> Result<TcpListener, Failed> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let Ok(port) = port.parse::<u16>() else {
        return Err(Failed::Asked(format!(
            "{flag}: {address:?} is no address; give HOST:PORT or :PORT, such as :10091"
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

/// Where nobody listens yet, tries again until somebody does.
pub(super) async fn listen_in_time(flag: &str, address: &str) -> TcpListener {
    loop {
        tokio::time::sleep(AGAIN).await;
        if let Ok(listener) = listen(flag, address).await {
            tracing::info!(address, "listening at last");
            return listener;
        }
    }
}

/// The address that is meant, as far as its text says; where it does not, one that is nobody's.
pub(super) fn meant(address: &str) -> SocketAddr {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let ip = match host {
        "" => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        host => host.trim_matches(['[', ']']).parse().unwrap_or(Ipv4Addr::BROADCAST.into()),
    };
    SocketAddr::new(ip, port.parse().unwrap_or_default())
}

/// `url` without a slash at its end. An address of IPv6 is put into brackets, as `http://$(POD_IP):10091` has none.
pub(super) fn external(url: &str) -> Result<String, Failed> {
    let bracketed = bracketed(url);
    let url = bracketed.as_deref().unwrap_or(url);
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

/// The URL of a bare address of IPv6: what is behind its last colon is a port, if the rest is an address.
fn bracketed(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let is_address = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    match authority.rsplit_once(':') {
        Some((host, port)) if is_address(host) && port.parse::<u16>().is_ok() => {
            Some(format!("{scheme}://[{host}]:{port}{path}"))
        }
        _ => is_address(authority).then(|| format!("{scheme}://[{authority}]{path}")),
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
    fn an_address_that_is_taken_is_meant_nevertheless() {
        for (address, is) in [
            (":10091", "[::]:10091"),
            ("0.0.0.0:1", "0.0.0.0:1"),
            ("[::1]:1", "[::1]:1"),
            ("localhost:1", "127.0.0.1:1"),
            ("web-1:1", "255.255.255.255:1"),
        ] {
            assert_eq!(meant(address), is.parse().unwrap(), "{address}");
        }
    }

    #[test]
    fn an_external_url_has_a_scheme_and_a_host() {
        assert_eq!(external("http://web-1:10091/").ok().as_deref(), Some("http://web-1:10091"));
        for (url, is) in [
            ("http://fd00:10:244::1f:10091", "http://[fd00:10:244::1f]:10091"),
            ("http://[fd00:10:244::1f]:10091/", "http://[fd00:10:244::1f]:10091"),
            ("http://2001:db8:1:2:3:4:5:6:10091/dwcp", "http://[2001:db8:1:2:3:4:5:6]:10091/dwcp"),
            ("https://::1", "https://[::1]"),
            ("http://10.244.0.7:10091", "http://10.244.0.7:10091"),
        ] {
            assert_eq!(external(url).ok().as_deref(), Some(is), "{url}");
        }
        for url in [
            "http://fd00::zz:10091",
            "http://:10091",
            "http://fd00::1:99999",
            "nope",
            "web-1:10091",
            "ftp://web-1",
            "/dwcp",
            "",
        ] {
            assert!(matches!(external(url), Err(Failed::Asked(_))), "{url}");
        }
    }
}
