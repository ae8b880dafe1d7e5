//! From an exporter's page to samples.
//!
//! A page is read line by line by a strict parser of ours that loses nothing silently: what is not a sample is
//! counted, the first such line with its number and reason. Like Prometheus' scrape cache, a [`Reader`] remembers the
//! series it has met by the very bytes they were written in, so a known series costs one look-up and no allocation.
//! New ones are named by prometheus-parse where the line is provably simple, otherwise by ours: prometheus-parse
//! drops or garbles label values with brackets, commas, escapes or equal signs, and says nothing about it.

mod limits;
mod line;
mod naming;

use std::collections::HashMap;
use std::sync::Arc;

use crate::series::{Labels, Sample, Timestamp};

pub use limits::{Exceeded, Limits};
pub use line::Fault;

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4: timestamps in milliseconds.
    Text,
    /// OpenMetrics 1.0: timestamps in seconds, a last line `# EOF`.
    OpenMetrics,
}

impl Format {
    /// The format a `Content-Type` announces; text where it says nothing better, as Prometheus takes it.
    pub fn of_content_type(content_type: &str) -> Self {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        if media.eq_ignore_ascii_case("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }
}

/// Which series are wanted; the others are counted and passed over.
pub trait Wanted: Send + Sync {
    /// Whether a series of this name may be wanted; asked before its labels are read.
    fn name(&self, name: &str) -> bool;
    /// Whether the series is wanted.
    fn series(&self, labels: &Labels) -> bool;
}

/// Everything is wanted.
pub struct Everything;

impl Wanted for Everything {
    fn name(&self, _: &str) -> bool {
        true
    }
    fn series(&self, _: &Labels) -> bool {
        true
    }
}

/// Series remembered at most; a page with more is read all the same, but names its series anew each time.
const MOST_KNOWN: usize = 100_000;
/// Bytes of what is remembered, about; beyond it, series are named anew as well.
const MOST_BYTES: usize = 8 << 20;
/// Pages a series may be missing from before it is forgotten.
const FORGET_AFTER: u32 = 10;

/// Reads the pages of one target.
pub struct Reader {
    wanted: Arc<dyn Wanted>,
    known: HashMap<Box<[u8]>, Known>,
    /// How a wanted series was written first: the same labels in another order are the same series.
    spelled: HashMap<Labels, Arc<[u8]>>,
    page: u32,
    /// About what the remembered series take.
    bytes: usize,
    limits: Limits,
}

struct Known {
    /// `None` for a series nobody wants.
    labels: Option<Labels>,
    /// The page it was last seen on.
    seen: u32,
    /// How it was written first, where this is another order of its labels.
    first: Option<Arc<[u8]>>,
}

/// What a page held.
#[derive(Debug, Default, PartialEq)]
pub struct Page {
    /// The wanted samples, in order.
    pub samples: Vec<Sample>,
    /// All samples, the unwanted ones counted.
    pub exposed: usize,
    /// Samples of a series that the page had already given; the first counts, as in Prometheus.
    pub duplicates: usize,
    /// Lines that are no samples, comments or blanks.
    pub rejected: usize,
    /// The first of those, counted from 1, and what is wrong with it.
    pub first_rejected: Option<(usize, Fault)>,
    /// What is wrong with the end of an `OpenMetrics` page: it is not the whole page, and its last line may hold half a
    /// number.
    pub bad_end: Option<&'static str>,
    /// The limit that it goes beyond; it was not read further then.
    pub exceeded: Option<Exceeded>,
}

impl Reader {
    /// A reader that keeps what `wanted` accepts.
    pub fn new(wanted: Arc<dyn Wanted>) -> Self {
        Self {
            wanted,
            known: HashMap::new(),
            spelled: HashMap::new(),
            page: 0,
            bytes: 0,
            limits: Limits::default(),
        }
    }

    /// The same, but for pages within `limits`.
    #[must_use]
    pub fn within(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Reads one page.
    pub fn read(&mut self, body: &[u8], format: Format) -> Page {
        self.page = self.page.wrapping_add(1);
        let is_open = format == Format::OpenMetrics;
        let mut page = Page { bad_end: is_open.then_some("does not end with # EOF"), ..Page::default() };
        let mut number = 0;
        let mut rest = body;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let text = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            number += 1;
            match line::parse(text, format) {
                Ok(line::Line::Sample(sample)) => {
                    if let Err(exceeded) = self.take(&sample, text, &mut page) {
                        page.exceeded = Some(exceeded);
                        break;
                    }
                }
                Ok(line::Line::Comment) => {}
                Ok(line::Line::End) => {
                    page.bad_end = (!rest.is_empty()).then_some("goes on after # EOF");
                    break;
                }
                Err(fault) => {
                    page.rejected += 1;
                    page.first_rejected.get_or_insert((number, fault));
                }
            }
        }
        self.forget();
        page
    }

    /// Forgets what has been missing for long; where there is no room for more, whatever this page did not have.
    fn forget(&mut self) {
        let is_full = self.bytes >= MOST_BYTES / 2 || self.known.len() >= MOST_KNOWN / 2;
        if !is_full && !self.page.is_multiple_of(FORGET_AFTER) {
            return;
        }
        let oldest = if is_full { self.page } else { self.page.saturating_sub(FORGET_AFTER) };
        let before = self.known.len();
        self.known.retain(|_, known| known.seen >= oldest);
        if self.known.len() == before {
            return;
        }
        self.spelled.retain(|_, spelling| self.known.contains_key(&**spelling));
        self.known.shrink_to(2 * self.known.len());
        self.spelled.shrink_to(2 * self.spelled.len());
        self.bytes = self.known.iter().map(|(series, known)| weight(series, known.labels.is_some())).sum();
    }

    fn take(&mut self, sample: &line::SampleLine<'_>, text: &[u8], page: &mut Page) -> Result<(), Exceeded> {
        page.exposed += 1;
        self.limits.allow(page.exposed)?;
        if let Some(known) = self.known.get_mut(sample.series) {
            let mut again = std::mem::replace(&mut known.seen, self.page) == self.page;
            let labels = known.labels.clone();
            if let Some(first) = known.first.clone() {
                again |= self.see(&first);
            }
            give(labels.as_ref(), sample, again, page);
            return Ok(());
        }
        self.limits.check(sample)?;
        let wanted = self.wanted.name(sample.name).then(|| naming::labels(sample, text));
        let labels = wanted.filter(|labels| self.wanted.series(labels));
        let first = labels.as_ref().and_then(|labels| self.spelled.get(labels)).cloned();
        let again = first.as_ref().is_some_and(|first| self.see(first));
        give(labels.as_ref(), sample, again, page);
        let weight = weight(sample.series, labels.is_some());
        if self.known.len() < MOST_KNOWN && self.bytes + weight <= MOST_BYTES {
            self.bytes += weight;
            if let Some(labels) = labels.as_ref().filter(|_| first.is_none()) {
                self.spelled.insert(labels.clone(), sample.series.into());
            }
            self.known.insert(sample.series.into(), Known { labels, seen: self.page, first });
        }
        Ok(())
    }

    /// Marks the series first spelled so as seen on this page; whether it was before.
    fn see(&mut self, first: &[u8]) -> bool {
        let known = self.known.get_mut(first);
        known.is_some_and(|known| std::mem::replace(&mut known.seen, self.page) == self.page)
    }
}

/// A sample for the page, if its series is wanted and was not given before.
fn give(labels: Option<&Labels>, sample: &line::SampleLine<'_>, again: bool, page: &mut Page) {
    match labels {
        _ if again && sample.at.is_none() => page.duplicates += 1,
        Some(labels) => page.samples.push(sampled(labels, sample)),
        None => {}
    }
}

/// About the bytes that remembering a series takes: one that is wanted is kept as labels and as it is spelled, too.
fn weight(series: &[u8], is_wanted: bool) -> usize {
    if is_wanted { 256 + 3 * series.len() } else { 64 + series.len() }
}

fn sampled(labels: &Labels, sample: &line::SampleLine<'_>) -> Sample {
    Sample { labels: labels.clone(), value: sample.value, at: sample.at.map(Timestamp::from_millis) }
}

#[cfg(test)]
mod tests;
