//! The past of a signal, asked of a Prometheus or of anything that has its range API.
//!
//! One range becomes as many requests as its points ask for, since Prometheus refuses more than 11 000 a series; their
//! grids follow one another, so that no point is asked for twice. A value that is not finite is no data, as everywhere.
//! A series without a value anywhere is left out.
//!
//! Prometheus gives the last sample for up to five minutes (its `--query.lookback-delta`) where a series ends without
//! notice, so a shorter gap is none here either.

mod answer;
mod chunk;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use reqwest::{Response, StatusCode, Url};

use crate::series::{Labels, Timestamp};
use crate::setting::{Address, Secret, redirected, told as told_by_peer};
use answer::{Answer, Row};
use chunk::{Chunk, Grid};

/// Points of a series that Prometheus gives at once.
const MOST_POINTS: usize = 11_000;
/// Values of all series together; more is refused.
const MOST_VALUES: usize = 16 << 20;
/// Bytes of one answer, unpacked; more is refused.
const MOST_BYTES: usize = 64 << 20;
/// How often one request is tried.
const ATTEMPTS: u32 = 4;
/// Waits between attempts double from here.
const WAIT: Duration = Duration::from_millis(500);

/// One series and its values over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// As the expression left them.
    pub labels: Labels,
    /// Ascending in time; where there is no data, there is no point.
    pub points: Vec<(Timestamp, f64)>,
}

/// Why there is no past; names the address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {problem}")]
pub struct Error {
    /// Who was asked, without user and password.
    pub url: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing to send to.
    #[error("is no http:// or https:// address of a Prometheus; give one such as http://127.0.0.1:9090")]
    Address,
    /// No range.
    #[error("the range ends before it begins; swap its ends")]
    Backwards,
    /// No grid.
    #[error("the step is shorter than 1ms; give a longer one")]
    Step,
    /// More than is held.
    #[error("the range has more than {0} values; ask for a longer step, a shorter range or fewer series")]
    TooMany(usize),
    /// Nobody listens.
    #[error("cannot be reached: {0}; is Prometheus running there, and the address right?")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer in time; is it overloaded, or the expression too dear?")]
    Timeout,
    /// The answer broke off.
    #[error("the answer broke off: {0}; try again")]
    Broken(String),
    /// An answer larger than is read.
    #[error("answered with more than {0} bytes; ask for a longer step or fewer series")]
    TooLarge(usize),
    /// Answered from somewhere else.
    #[error("redirects to {0}; give the address where the API is")]
    Redirected(String),
    /// By Prometheus, in its own words.
    #[error("{kind}: {text}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its kind of error.
        kind: String,
        /// Its text.
        text: String,
    },
    /// By somebody else.
    #[error("answered HTTP {status}: {text:?}; is it a Prometheus, and the path right?")]
    Status {
        /// HTTP status.
        status: u16,
        /// How the answer begins.
        text: String,
    },
    /// Not what the API answers.
    #[error("does not answer as Prometheus does: {0}; is the address right?")]
    Unreadable(String),
}

impl Problem {
    /// Whether the same request may do better a little later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Refused { status, .. } | Self::Status { status, .. } => *status == 429 || *status >= 500,
            Self::Broken(_) => true,
            _ => false,
        }
    }
}

/// A Prometheus to ask.
#[derive(Clone)]
pub struct Prometheus {
    client: reqwest::Client,
    endpoint: Url,
    chunk: usize,
    most_values: usize,
    most_bytes: usize,
    wait: Duration,
}

impl Prometheus {
    /// The Prometheus at `url`, where it serves its page; user and password may be in it.
    ///
    /// The client's timeout is for one request.
    pub fn new(client: reqwest::Client, url: &Address) -> Result<Self, Error> {
        let endpoint = endpoint(url.reveal())
            .ok_or_else(|| Error { url: url.to_string(), problem: Problem::Address })?;
        let (most_values, most_bytes) = (MOST_VALUES, MOST_BYTES);
        Ok(Self { client, endpoint, chunk: MOST_POINTS, most_values, most_bytes, wait: WAIT })
    }

    /// Asks for at most that many points at once, for a server that allows fewer than 11 000.
    #[must_use]
    pub fn in_chunks_of(self, points: usize) -> Self {
        Self { chunk: points.max(1), ..self }
    }

    /// What `query` was at `from` and every `step` after it, up to and with `to`; series in the order of their labels.
    ///
    /// `progress` hears how many requests of how many are done.
    pub async fn range(
        &self,
        query: &str,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
        progress: &mut (dyn FnMut(usize, usize) + Send),
    ) -> Result<Vec<Series>, Error> {
        let grid = Grid::new(from, to, step).map_err(|problem| self.error(problem))?;
        if grid.points() > self.most_values as u64 {
            return Err(self.error(Problem::TooMany(self.most_values)));
        }
        let chunks = grid.chunks(self.chunk);
        let (total, mut past) = (chunks.len(), Past::default());
        for (done, chunk) in chunks.enumerate() {
            past.append(self.ask(query, &chunk).await?);
            if past.values > self.most_values {
                return Err(self.error(Problem::TooMany(self.most_values)));
            }
            progress(done + 1, total);
        }
        Ok(past.into_series())
    }

    /// Tries until it is answered, or refused for good.
    async fn ask(&self, query: &str, chunk: &Chunk) -> Result<Vec<Row>, Error> {
        let mut wait = self.wait;
        for _ in 1..ATTEMPTS {
            match self.post(query, chunk).await {
                Err(error) if error.problem.may_pass() => {
                    tracing::debug!(%error, ?wait, "asking again");
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                done => return done,
            }
        }
        self.post(query, chunk).await
    }

    async fn post(&self, query: &str, chunk: &Chunk) -> Result<Vec<Row>, Error> {
        let form = [
            ("query", query.to_owned()),
            ("start", chunk.from.seconds().to_string()),
            ("end", chunk.to.seconds().to_string()),
            ("step", chunk.step.to_string()),
        ];
        let request = self.client.post(self.endpoint.clone()).form(&form);
        let mut response = request.send().await.map_err(|error| self.error(told(&error)))?;
        let body = self.body(&mut response).await.map_err(|problem| self.error(problem))?;
        let answer = answer::read(&body);
        match answer {
            Ok(Answer::Rows(rows, warnings)) if response.status().is_success() => {
                for warning in warnings {
                    let warning = told_by_peer(&warning, &self.secrets());
                    tracing::warn!(url = %shown(&self.endpoint), warning, "Prometheus warns");
                }
                Ok(rows)
            }
            answer => Err(self.error(self.refusal(&response, answer, &body))),
        }
    }

    /// Reads piece by piece and unpacked, so that neither a huge answer nor a small bomb is ever held.
    async fn body(&self, response: &mut Response) -> Result<Vec<u8>, Problem> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| told(&error))? {
            if body.len() + piece.len() > self.most_bytes {
                return Err(Problem::TooLarge(self.most_bytes));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// What is wrong with an answer that has no rows for us.
    fn refusal(&self, response: &Response, answer: Result<Answer, String>, body: &[u8]) -> Problem {
        let status = response.status();
        let (asked, from) = (shown(&self.endpoint), shown(response.url()));
        let secrets = self.secrets();
        let begin = || told_by_peer(&String::from_utf8_lossy(&body[..body.len().min(4096)]), &secrets);
        if let Some(to) = redirected(response) {
            return Problem::Redirected(to);
        }
        match answer {
            // A redirected POST has lost what it asked.
            _ if from != asked => Problem::Redirected(from),
            Ok(Answer::Error { kind, text }) => Problem::Refused {
                status: status.as_u16(),
                kind: told_by_peer(&kind, &secrets),
                text: told_by_peer(&text, &secrets),
            },
            Err(why) if status == StatusCode::OK => Problem::Unreadable(told_by_peer(&why, &secrets)),
            _ => Problem::Status { status: status.as_u16(), text: begin() },
        }
    }

    /// What an answer may repeat and nobody shall see.
    fn secrets(&self) -> Vec<Secret> {
        Address::new(self.endpoint.as_str()).secrets()
    }

    fn error(&self, problem: Problem) -> Error {
        Error { url: shown(&self.endpoint), problem }
    }
}

impl fmt::Debug for Prometheus {
    /// Shows no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Prometheus").field(&shown(&self.endpoint)).finish()
    }
}

/// Series as they grow from answer to answer.
#[derive(Default)]
struct Past {
    series: BTreeMap<Labels, Vec<(Timestamp, f64)>>,
    values: usize,
}

impl Past {
    /// Puts rows after those before; a time that is not later than the last is not taken again.
    fn append(&mut self, rows: Vec<Row>) {
        for row in rows.into_iter().filter(|row| !row.points.is_empty()) {
            let points = self.series.entry(row.labels).or_default();
            let (before, last) = (points.len(), points.last().map(|(at, _)| *at));
            points.extend(row.points.into_iter().filter(|(at, _)| Some(*at) > last));
            self.values += points.len() - before;
        }
    }

    fn into_series(self) -> Vec<Series> {
        self.series.into_iter().map(|(labels, points)| Series { labels, points }).collect()
    }
}

/// Where ranges are asked for.
fn endpoint(url: &str) -> Option<Url> {
    let mut endpoint = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let path = format!("{}/api/v1/query_range", endpoint.path().trim_end_matches('/'));
    endpoint.set_path(&path);
    endpoint.set_fragment(None);
    Some(endpoint)
}

/// An address without what may be secret in it.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Refused only by addresses that have no host, and so no user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

fn told(error: &reqwest::Error) -> Problem {
    let mut root: &dyn std::error::Error = error;
    while let Some(source) = root.source() {
        root = source;
    }
    if error.is_connect() {
        Problem::Unreachable(root.to_string())
    } else if error.is_timeout() {
        Problem::Timeout
    } else {
        Problem::Broken(root.to_string())
    }
}
