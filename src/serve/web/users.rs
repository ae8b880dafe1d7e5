//! Users and their passwords, as bcrypt hashes.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::logins::{Count, Login, Logins};
use crate::setting::Secret;

/// What the password of nobody is hashed with.
const SALT: [u8; 16] = *b"nobody has these";

/// Who is let in.
#[derive(Default)]
pub(in crate::serve) struct Users {
    hashes: BTreeMap<String, Secret>,
    /// The highest cost of a hash: what a refusal costs, whoever is named.
    cost: u32,
    good: Good,
}

/// By user the digest of the password that was right, as bcrypt is meant to be slow and a scrape comes every few seconds. What
/// is wrong never gets here, so that guessing drives nobody out.
#[derive(Clone, Default)]
struct Good {
    digests: Arc<Mutex<HashMap<String, (u64, u64)>>>,
    keys: (RandomState, RandomState),
}

impl Users {
    pub(super) fn new(hashes: BTreeMap<String, Secret>) -> Result<Self, String> {
        let mut most = 0;
        for (name, hash) in &hashes {
            let parts = bcrypt::HashParts::from_str(hash.reveal()).map_err(|_| {
                format!("basic_auth_users.{name}: is no bcrypt hash; make one with htpasswd -nBC 10 {name}")
            })?;
            most = most.max(parts.get_cost());
        }
        Ok(Self { hashes, cost: most, good: Good::default() })
    }

    /// Knows again whom `before` knew, as far as the hash is the same.
    pub(super) fn inherit(&mut self, before: &Self) {
        self.good = before.good.clone();
    }

    /// Whether everybody is let in.
    pub(in crate::serve) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether the request names a user and brings the user's password; `None` if it names nobody.
    pub(in crate::serve) async fn admit(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
        (logins, count): (&Logins, &Count),
    ) -> Option<Login> {
        let Some((name, password)) = credentials(headers.get(header::AUTHORIZATION)?) else {
            return Some(logins.malformed(from, count).await);
        };
        let hash = self.hashes.get(&name).map(|hash| hash.reveal().to_owned());
        let digest = hash.as_ref().map(|hash| self.good.digest(&name, &password, hash));
        if digest.is_some_and(|digest| self.good.knows(&name, digest)) {
            return Some(Login::Right);
        }
        let cost = self.cost;
        let login = logins.ask(from, count, move || is_right(&password, hash.as_deref(), cost)).await;
        if let (Login::Right, Some(digest)) = (login, digest) {
            self.good.remember(name, digest);
        }
        Some(login)
    }
}

impl Good {
    fn digest(&self, name: &str, password: &str, hash: &str) -> (u64, u64) {
        let what = (name, password, hash);
        (self.keys.0.hash_one(what), self.keys.1.hash_one(what))
    }

    fn knows(&self, name: &str, digest: (u64, u64)) -> bool {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).get(name) == Some(&digest)
    }

    /// One password a user: there are no more than users.
    fn remember(&self, name: String, digest: (u64, u64)) {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).insert(name, digest);
    }
}

/// Compares; whatever is wrong takes the work of a hash of the highest cost, whoever is named.
fn is_right(password: &str, hash: Option<&str>, most: u32) -> bool {
    let parts = hash.and_then(|hash| bcrypt::HashParts::from_str(hash).ok());
    if hash.is_some_and(|hash| bcrypt::verify(password, hash).unwrap_or(false)) {
        return true;
    }
    for cost in rest(parts.map(|parts| parts.get_cost()), most) {
        drop(std::hint::black_box(bcrypt::hash_with_salt(password, cost, SALT)));
    }
    false
}

/// Costs of the hashes that are made after one of cost `done`, or none, so that all together take the work of one of cost
/// `most`; that of a hash is 2 to the power of its cost.
fn rest(done: Option<u32>, most: u32) -> Range<u32> {
    match done {
        // 2^c + 2^c + 2^(c+1) + … + 2^(most-1) = 2^most
        Some(cost) => cost..most,
        None => most..most + 1,
    }
}

fn credentials(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    // bcrypt ends a password where it has a zero; none has one.
    let (name, password) = decoded.split_once(':').filter(|(_, password)| !password.contains('\0'))?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn basic(text: &str) -> HeaderMap {
        authorization(&format!("Basic {}", BASE64_STANDARD.encode(text)))
    }

    fn authorization(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    fn users(all: &[(&str, &str, u32)]) -> Users {
        let hash = |(name, password, cost): &(&str, &str, u32)| {
            ((*name).to_owned(), Secret::new(bcrypt::hash(password, *cost).unwrap()))
        };
        Users::new(all.iter().map(hash).collect()).unwrap()
    }

    #[tokio::test]
    async fn only_a_known_user_with_the_right_password_is_let_in() {
        let (users, logins) = (users(&[("ann", "s3cret", 4)]), Logins::default());
        for (number, (headers, login)) in (0..).zip([
            (basic("ann:s3cret"), Some(Login::Right)),
            (authorization(&format!("bAsIc {}", BASE64_STANDARD.encode("ann:s3cret"))), Some(Login::Right)),
            (basic("ann:wrong"), Some(Login::Wrong)),
            (basic("ann:s3cret\0"), Some(Login::Wrong)),
            (basic("bob:s3cret"), Some(Login::Wrong)),
            (basic("ann"), Some(Login::Wrong)),
            (authorization("Bearer x"), Some(Login::Wrong)),
            (authorization("Basic %%%"), Some(Login::Wrong)),
            (HeaderMap::new(), None),
        ]) {
            // Each from elsewhere, as refusals take longer and longer.
            let from = IpAddr::from([10, 0, 0, number]);
            assert_eq!(users.admit(&headers, from, (&logins, &|_| {})).await, login, "{headers:?}");
        }
        assert_eq!(
            users.admit(&basic("ann:s3cret"), HERE, (&logins, &|_| {})).await,
            Some(Login::Right),
            "from memory"
        );
    }

    #[test]
    fn whoever_was_right_is_known_until_the_hash_changes_whatever_else_does() {
        let before = users(&[("ann", "s3cret", 4), ("bob", "other", 4)]);
        let hash = |users: &Users, name: &str| users.hashes[name].reveal().to_owned();
        let digest = before.good.digest("ann", "s3cret", &hash(&before, "ann"));
        before.good.remember("ann".to_owned(), digest);
        let mut after = Users::new(before.hashes.clone()).unwrap();
        after.inherit(&before);
        assert!(after.good.knows("ann", after.good.digest("ann", "s3cret", &hash(&after, "ann"))));
        assert!(!after.good.knows("ann", after.good.digest("ann", "guessed", &hash(&after, "ann"))));
        let mut changed = users(&[("ann", "s3cret", 4)]);
        changed.inherit(&before);
        assert!(!changed.good.knows("ann", changed.good.digest("ann", "s3cret", &hash(&changed, "ann"))));
    }

    #[test]
    fn a_refusal_takes_as_much_work_whoever_is_named_and_whatever_their_hash_costs() {
        let work = |cost: u32| 1_u64 << cost;
        for most in 4..16 {
            for done in (4..=most).map(Some).chain([None]) {
                let all = done.map_or(0, work) + rest(done, most).map(work).sum::<u64>();
                assert_eq!(all, work(most), "{done:?} of {most}");
            }
        }
        let users = users(&[("cheap", "a", 4), ("dear", "b", 6)]);
        assert_eq!(users.cost, 6);
        for hash in [None, users.hashes.get("cheap"), users.hashes.get("dear")] {
            assert!(!is_right("wrong", hash.map(Secret::reveal), users.cost));
        }
    }
}
