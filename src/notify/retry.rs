//! What becomes of a message, by how it was answered. A table, so that it can be read and tested as one.

use std::time::{Duration, SystemTime};

/// What is done after an HTTP answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It was taken.
    Delivered,
    /// It never will be.
    Drop,
    /// It may be later: after what the answer asks for, or else after a back-off.
    Retry,
}

/// First and last status of a range, and what is done; of several the first that fits.
pub const BY_STATUS: [(u16, u16, Then); 10] = [
    (200, 299, Then::Delivered),
    // A redirect is not followed: a POST would arrive as a GET.
    (300, 399, Then::Drop),
    // Time-out, too early, too many.
    (408, 408, Then::Retry),
    (425, 425, Then::Retry),
    (429, 429, Then::Retry),
    (400, 499, Then::Drop),
    // Not implemented, not this version of HTTP: no later attempt differs.
    (501, 501, Then::Drop),
    (505, 505, Then::Drop),
    (500, 599, Then::Retry),
    // No status that a server may end an exchange with.
    (0, u16::MAX, Then::Drop),
];

/// Why a message did not arrive; a closed list, so that it can be a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The other side refused it for good.
    Refused,
    /// The other side could not take it now.
    Unavailable,
    /// Nobody listens, or no address is known.
    Unreachable,
    /// It took too long.
    TimedOut,
    /// The certificate of one side did not satisfy the other.
    Tls,
    /// The connection broke.
    Broken,
    /// It could not even be asked: a file of ours cannot be read, or an address is none.
    Settings,
}

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// No more.
    Never,
    /// Soon: an attempt costs nothing, and whoever comes back is told at once.
    Soon,
    /// After a back-off.
    Later,
    /// After so long, as the other side asks.
    After(Duration),
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Refused,
        Self::Unavailable,
        Self::Unreachable,
        Self::TimedOut,
        Self::Tls,
        Self::Broken,
        Self::Settings,
    ];

    /// What is done about it, where the answer does not say.
    pub const fn again(self) -> Again {
        match self {
            Self::Refused => Again::Never,
            Self::Unreachable => Again::Soon,
            // Certificates and files are renewed without us.
            Self::Unavailable | Self::TimedOut | Self::Tls | Self::Broken | Self::Settings => Again::Later,
        }
    }

    /// As in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Tls => "tls",
            Self::Broken => "broken",
            Self::Settings => "settings",
        }
    }
}

/// A message that did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// Why.
    pub kind: Kind,
    /// When to try again.
    pub again: Again,
    /// What HTTP calls it, where it was answered.
    pub status: Option<u16>,
    /// For people; without secrets.
    pub text: String,
}

impl Failure {
    /// One that is dealt with as its kind is.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, again: kind.again(), status: None, text: text.into() }
    }

    /// What a transport's error comes to.
    pub fn transport(error: &reqwest::Error) -> Self {
        let mut root: &dyn std::error::Error = error;
        let mut is_tls = false;
        while let Some(source) = root.source() {
            root = source;
            is_tls |= root.is::<rustls::Error>();
        }
        let text = root.to_string();
        let kind = if error.is_timeout() {
            Kind::TimedOut
        } else if is_tls || text.contains("certificate") {
            Kind::Tls
        } else if error.is_builder() {
            Kind::Settings
        } else if error.is_connect() {
            Kind::Unreachable
        } else {
            Kind::Broken
        };
        // The outermost error names the address, and that may hold a secret.
        Self::new(kind, if error.is_timeout() { "timed out".to_owned() } else { text })
    }
}

/// What an answer comes to.
///
/// # Errors
/// That it was not taken, and when to try again.
pub fn judge(status: u16, retry_after: Option<&str>, text: &str, now: SystemTime) -> Result<(), Failure> {
    let row = BY_STATUS.iter().find(|(first, last, _)| (*first..=*last).contains(&status));
    let told: String = text.trim().chars().take(200).collect();
    let text = if told.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {told}") };
    match row.map_or(Then::Drop, |row| row.2) {
        Then::Delivered => Ok(()),
        Then::Drop => Err(Failure { status: Some(status), ..Failure::new(Kind::Refused, text) }),
        Then::Retry => {
            let wait = retry_after.and_then(|value| seconds_or_date(value, now));
            let again = wait.map_or(Again::Later, Again::After);
            Err(Failure { kind: Kind::Unavailable, again, status: Some(status), text })
        }
    }
}

/// More than this is not waited for, whatever is asked.
const LONGEST: Duration = Duration::from_hours(1);

/// `Retry-After`: seconds, or a date of HTTP.
fn seconds_or_date(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    let date = http_date(value)?;
    Some(date.duration_since(now).unwrap_or_default().min(LONGEST))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<SystemTime> {
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts: Vec<&str> = text.split_once(", ")?.1.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts.as_slice() else { return None };
    let month = months.iter().position(|name| name == month)? + 1;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        humantime::parse_rfc3339("1994-11-06T08:49:07Z").unwrap()
    }

    #[test]
    fn every_status_is_delivered_dropped_or_tried_again() {
        for status in 0..=999 {
            let expect = match status {
                200..=299 => None,
                408 | 425 | 429 | 500 | 502..=504 | 506..=599 => Some(Again::Later),
                _ => Some(Again::Never),
            };
            assert_eq!(judge(status, None, "", now()).err().map(|failure| failure.again), expect, "{status}");
        }
    }

    #[test]
    fn a_wait_that_is_asked_for_is_honoured_and_bounded() {
        let after = |seconds| Again::After(Duration::from_secs(seconds));
        for (status, header, expect) in [
            (429, "7", after(7)),
            (503, "0", after(0)),
            (503, "Sun, 06 Nov 1994 08:49:37 GMT", after(30)),
            (503, "Sun, 06 Nov 1994 08:49:00 GMT", after(0)),
            (429, "999999999", after(3600)),
            (429, "soon", Again::Later),
            (400, "7", Again::Never),
        ] {
            assert_eq!(
                judge(status, Some(header), "", now()).unwrap_err().again,
                expect,
                "{status} {header}"
            );
        }
    }

    #[test]
    fn every_way_to_fail_says_when_to_try_again() {
        let told: Vec<(&str, Again)> = Kind::ALL.iter().map(|kind| (kind.name(), kind.again())).collect();
        assert_eq!(
            told,
            [
                ("refused", Again::Never),
                ("unavailable", Again::Later),
                ("unreachable", Again::Soon),
                ("timed_out", Again::Later),
                ("tls", Again::Later),
                ("broken", Again::Later),
                ("settings", Again::Later),
            ]
        );
    }

    #[test]
    fn an_answer_is_told_shortly() {
        let failure = judge(400, None, &"x".repeat(1000), now()).unwrap_err();
        assert_eq!(failure.text.len(), "HTTP 400: ".len() + 200);
    }
}
