//! Users and their passwords, as bcrypt hashes.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use moka::sync::Cache;
use tokio::sync::Semaphore;

use crate::setting::Secret;

/// What an unknown user's password is compared with, so that it takes as long; nobody's.
const NOBODY: &str = "$2b$10$tPuVZMu2pbV2N5F1gpa3gOa6YZP3d2S1Dq2T9W9Ck8Oz6Yy3Xn5sW";
/// Good passwords are remembered so long: bcrypt is meant to be slow, and a scrape comes every few seconds.
const REMEMBERED: Duration = Duration::from_mins(5);
/// Comparisons at once; the others wait, so that guessing does not take the processor.
const AT_ONCE: usize = 1;

/// Who is let in.
pub(in crate::serve) struct Users {
    hashes: BTreeMap<String, Secret>,
    good: Cache<(u64, u64), ()>,
    keys: (RandomState, RandomState),
    places: Arc<Semaphore>,
}

impl Default for Users {
    fn default() -> Self {
        Self {
            hashes: BTreeMap::new(),
            good: Cache::builder().max_capacity(128).time_to_live(REMEMBERED).build(),
            keys: (RandomState::new(), RandomState::new()),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Users {
    pub(super) fn new(hashes: BTreeMap<String, Secret>) -> Result<Self, String> {
        for (name, hash) in &hashes {
            if bcrypt::HashParts::from_str(hash.reveal()).is_err() {
                return Err(format!(
                    "basic_auth_users.{name}: is no bcrypt hash; make one with htpasswd -nBC 10 {name}"
                ));
            }
        }
        Ok(Self { hashes, ..Self::default() })
    }

    /// Whether everybody is let in.
    pub(in crate::serve) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether the request names a user and brings the user's password.
    pub(in crate::serve) async fn admit(&self, headers: &HeaderMap) -> bool {
        let Some((name, password)) = credentials(headers) else { return false };
        let known = self.hashes.get(&name);
        let hash = known.map_or(NOBODY, Secret::reveal).to_owned();
        let key = (&name, &password, &hash);
        let key = (self.keys.0.hash_one(key), self.keys.1.hash_one(key));
        if self.good.contains_key(&key) {
            return true;
        }
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return false };
        let compared = tokio::task::spawn_blocking(move || {
            let is_right = bcrypt::verify(password, &hash).unwrap_or(false);
            drop(place);
            is_right
        });
        let is_right = compared.await.unwrap_or(false) && known.is_some();
        if is_right {
            self.good.insert(key, ());
        }
        is_right
    }
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[tokio::test]
    async fn only_a_known_user_with_the_right_password_is_let_in() {
        let hash = bcrypt::hash("s3cret", 4).unwrap();
        let users = Users::new(BTreeMap::from([("ann".to_owned(), Secret::new(hash))])).unwrap();
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        for (value, admitted) in [
            (basic("ann:s3cret"), true),
            (basic("ann:s3cret").replace("Basic", "bAsIc"), true),
            (basic("ann:wrong"), false),
            (basic("bob:s3cret"), false),
            (basic("ann"), false),
            ("Bearer x".to_owned(), false),
            ("Basic %%%".to_owned(), false),
        ] {
            assert_eq!(users.admit(&headers(&value)).await, admitted, "{value}");
        }
        assert!(!users.admit(&HeaderMap::new()).await);
        assert!(users.admit(&headers(&basic("ann:s3cret"))).await, "from memory");
    }

    #[test]
    fn the_hash_of_nobody_is_one() {
        assert!(bcrypt::HashParts::from_str(NOBODY).is_ok());
    }
}
