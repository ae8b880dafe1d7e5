//! The address of somebody who is asked, which may hold a user, a password or a token.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use serde::{Deserialize, Serialize, Serializer};

use super::Secret;

/// A URL that prints without what is secret in it: not by `Display` or `Debug`, not by the API, not in logs.
///
/// Whatever stands before an `@` is `<secret>`, and so are a fragment and the values of parameters, but for those of
/// [`SHOWN`]. That goes by the text alone, so that one that cannot be parsed hides as much.
#[derive(Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct Address(String);

/// Parameters by which exporters choose what they expose; their values are no secrets.
const SHOWN: [&str; 6] = ["collect[]", "exclude[]", "format", "module", "name[]", "target"];
/// A user of fewer characters is hidden in addresses, but not wherever else its letters stand.
const SHORTEST_USER: usize = 4;
/// What stands for a secret.
const HIDDEN: &str = "<secret>";

impl Address {
    /// Keeps what is secret in `text` from view.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole text, for the one place that asks there.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What keeps it from being asked over HTTP, to be said behind it, with the remedy.
    pub fn problem(&self) -> Option<&'static str> {
        let host = self.0.strip_prefix("http://").or_else(|| self.0.strip_prefix("https://"));
        let parsed = Url::parse(&self.0).ok().filter(|_| host.is_some_and(|rest| !rest.starts_with('/')));
        let Some(url) = parsed else {
            return Some("is neither http://… nor https://…");
        };
        if url.fragment().is_some() {
            return Some("has a fragment, which is never sent; leave out what follows #");
        }
        // A password with one of these characters ends the host early: then a part of it is taken for the host.
        if url.path().contains('@') || url.query().is_some_and(|query| query.contains('@')) {
            return Some(
                "has an @ behind its host; write %40 for it, and in a password %2F for /, %3F for ? and %23 for #",
            );
        }
        None
    }

    /// Whether a user is in it.
    pub fn has_user(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| !url.username().is_empty() || url.password().is_some())
    }

    /// What an answer may repeat and nobody shall see.
    pub fn secrets(&self) -> Vec<Secret> {
        let Ok(url) = Url::parse(&self.0) else { return Vec::new() };
        let mut found: Vec<String> = Vec::new();
        let (user, password) = (decoded(url.username()), url.password().map(decoded));
        if let Some(password) = &password {
            found.push(STANDARD.encode(format!("{user}:{password}")));
        }
        // A short name beside a password is no secret, and hiding it would take letters out of every word.
        if password.is_none() || user.len() >= SHORTEST_USER {
            found.push(user);
        }
        found.extend(password);
        let hidden = url.query_pairs().filter(|(name, _)| !SHOWN.contains(&name.as_ref()));
        found.extend(hidden.map(|(name, value)| if value.is_empty() { name } else { value }.into_owned()));
        found.into_iter().filter(|text| !text.is_empty()).map(Secret::new).collect()
    }
}

/// `text` with what its percent signs stand for.
fn decoded(text: &str) -> String {
    // A query gives these two a meaning that they do not have in a user.
    let value = text.replace('+', "%2B").replace('&', "%26");
    let url = Url::parse(&format!("http://host/?={value}"));
    let decoded = url.ok().and_then(|url| url.query_pairs().next().map(|(_, value)| value.into_owned()));
    decoded.unwrap_or_else(|| text.to_owned())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_at(self.0.find("://").map_or(0, |at| at + 3));
        f.write_str(scheme)?;
        let rest = match rest.rfind('@') {
            Some(at) => {
                f.write_str(HIDDEN)?;
                &rest[at..]
            }
            None => rest,
        };
        let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(rest, end)| (rest, Some(end)));
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        f.write_str(rest)?;
        for (at, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
            f.write_str(if at == 0 { "?" } else { "&" })?;
            match pair.split_once('=') {
                Some((name, value)) if SHOWN.contains(&name) => write!(f, "{name}={value}")?,
                Some((name, _)) => write!(f, "{name}={HIDDEN}")?,
                None => f.write_str(HIDDEN)?,
            }
        }
        if fragment.is_some() { write!(f, "#{HIDDEN}") } else { Ok(()) }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Address {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text))
    }
}

impl PartialEq<str> for Address {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_prints_without_what_is_secret_in_it() {
        for (text, told) in [
            ("http://a:9093/x", "http://a:9093/x"),
            ("embedded://host", "embedded://host"),
            ("http://u:hunter2@a:9093/x", "http://<secret>@a:9093/x"),
            ("https://hunter2@a", "https://<secret>@a"),
            ("https://u:a@hunter2@host", "https://<secret>@host"),
            ("http://u:hun/ter2@host/x", "http://<secret>@host/x"),
            ("http://u:12?hunter2@host/x", "http://<secret>@host/x"),
            ("http://u:12#hunter2@host/x", "http://<secret>@host/x"),
            ("u:hunter2@a:9100/metrics", "<secret>@a:9100/metrics"),
            ("http://a/m?token=hunter2&module=icmp", "http://a/m?token=<secret>&module=icmp"),
            ("http://a/m?hunter2", "http://a/m?<secret>"),
            ("http://a/m#hunter2", "http://a/m#<secret>"),
            ("", ""),
        ] {
            let address = Address::new(text);
            assert_eq!(
                (address.to_string(), format!("{address:?}")),
                (told.to_owned(), format!("\"{told}\""))
            );
            assert_eq!(serde_json::to_value(&address).unwrap(), told);
            assert_eq!(address.reveal(), text);
        }
    }

    #[test]
    fn what_cannot_be_asked_is_told_with_its_remedy_and_without_its_secret() {
        for (text, told) in [
            ("http://a:9093/x?y=z", ""),
            ("https://u:p%40w@a/", ""),
            ("http://[::1]:9100/metrics", ""),
            ("ftp://u:hunter2@a", "neither http"),
            ("u:hunter2@a:9100", "neither http"),
            ("http://", "neither http"),
            ("http:///x", "neither http"),
            ("", "neither http"),
            ("http://a/x#hunter2", "leave out what follows #"),
            ("http://u:12/hunter2@a/x", "%2F for /"),
            ("http://u:12?hunter2@a/x", "%3F for ?"),
            ("http://u:12#hunter2@a/x", "leave out"),
        ] {
            let problem = Address::new(text).problem().unwrap_or_default();
            assert!(problem.contains(told) && problem.is_empty() == told.is_empty(), "{text}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn no_user_or_password_is_ever_printed(user in "[a-z]{6}", password in "[ -~]{6,12}", path in "[a-z/]{0,9}") {
            prop_assume!(!password.contains('@') && !HIDDEN.contains(&password));
            let address = Address::new(format!("https://{user}:{password}@host/{path}"));
            let shown = format!("{address} {address:?}");
            prop_assert!(!shown.contains(&password) && !shown.contains(&user), "{shown}");
        }
    }
}
