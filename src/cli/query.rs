//! `query`: one expression, evaluated as `run` would.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Failed, Output, Query, output, runtime};
use crate::clock::Clock;
use crate::exposition::{Everything, Format, Reader};
use crate::hostmetrics::{self, Root};
use crate::scrape::config::EMBEDDED;
use crate::scrape::{self, Exporter, Job};
use crate::series::{Batch, Labels, Origin, Timestamp};
use crate::setting::{Address, Redirects, http_client, instant};
use crate::signal::{Fill, Macros, Plan, Selections, Value};
use crate::window::{Limits, Window};

/// Evaluates and prints.
pub(super) fn query(args: &Query) -> Result<(), Failed> {
    if args.interval.0 < Duration::from_millis(100) {
        return Err(Failed::Asked(format!(
            "--interval: {} is too short; give at least 100ms",
            args.interval
        )));
    }
    let macros = Macros { rate_interval: args.interval.0 * 4 };
    let plan =
        Plan::parse(&args.expr, &macros).map_err(|error| Failed::Asked(format!("{}: {error}", args.expr)))?;
    let at = args.time.as_deref().map(time).transpose().map_err(Failed::Asked)?;
    let (window, newest) = match (&args.openmetrics, &args.target) {
        (Some(file), _) => from_file(file)?,
        (None, Some(url)) => runtime()?.block_on(from_target(url, &plan, args.interval.0))?,
        (None, None) => return Err(Failed::Asked("give --target or --openmetrics".to_owned())),
    };
    let at = at.unwrap_or(newest);
    let value = plan
        .eval(window.view(), at, Fill::AsPrometheus, &mut Selections::default())
        .map_err(|error| Failed::Running(error.to_string()))?;
    print(&value, at, args.output)
}

fn print(value: &Value, at: Timestamp, as_what: Output) -> Result<(), Failed> {
    match as_what {
        Output::Json => output::say(value.to_json(at)),
        Output::Text => output::put(value.to_text(at)),
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    instant(text).ok_or_else(|| format!("--time: {text:?} is neither Unix seconds nor RFC 3339"))
}

/// A window over a whole file, as long as it is.
fn from_file(file: &Path) -> Result<(Window, Timestamp), Failed> {
    let body =
        std::fs::read(file).map_err(|error| Failed::Running(format!("{}: {error}", file.display())))?;
    let page = Reader::new(Arc::new(Everything)).read(&body, Format::OpenMetrics);
    if let Some((line, fault)) = page.first_rejected {
        return Err(Failed::Running(format!("{}:{line}: {fault}", file.display())));
    }
    if let Some(end) = page.bad_end {
        return Err(Failed::Running(format!("{}: {end}; give the whole file", file.display())));
    }
    let mut samples = page.samples;
    if let Some(sample) = samples.iter().find(|sample| sample.at.is_none()) {
        return Err(Failed::Running(format!("{}: {} has no timestamp", file.display(), sample.labels)));
    }
    samples.sort_by_key(|sample| sample.at);
    let newest = samples.last().and_then(|sample| sample.at).unwrap_or_default();
    let mut longest = std::collections::HashMap::<&Labels, usize>::new();
    for sample in &samples {
        *longest.entry(&sample.labels).or_default() += 1;
    }
    let samples_kept = longest.values().copied().max().unwrap_or(1);
    let mut window = Window::new(Limits { samples: samples_kept, bytes: usize::MAX });
    window.push(&Batch { origin: Origin::Scrape, at: newest, samples });
    Ok((window, newest))
}

/// Scrapes until the longest range is filled, at most a few minutes.
async fn from_target(url: &Address, plan: &Plan, interval: Duration) -> Result<(Window, Timestamp), Failed> {
    let exporter = if *url == *EMBEDDED {
        Exporter::Embedded(Box::new(|page| hostmetrics::collect(&Root::default(), page)))
    } else {
        if let Some(problem) = url.problem() {
            return Err(Failed::Asked(format!("--target: {url:?} {problem}; or give {EMBEDDED}")));
        }
        let client = http_client(interval.max(Duration::from_secs(5)), Redirects::SameHost);
        let (client, _) = client.map_err(|error| Failed::Running(error.to_string()))?;
        Exporter::Http(client, url.clone())
    };
    let range = plan.longest_range();
    let scrapes = if plan.needs_a_past() {
        (range.as_secs_f64() / interval.as_secs_f64()).ceil() as usize + 1
    } else {
        1
    };
    let job = Job {
        target: 0,
        labels: Labels::empty(),
        interval,
        timeout: interval.max(Duration::from_secs(5)),
        max_body_size: 64 << 20,
        pending: tokio::sync::watch::channel(false).1,
        clock: Clock::default(),
    };
    let (out, mut scraped) = mpsc::channel(4);
    let stop = CancellationToken::new();
    tokio::spawn(scrape::run(job, exporter, Reader::new(Arc::new(Everything)), out, stop.clone()));
    let mut window = Window::new(Limits { samples: scrapes + 1, bytes: usize::MAX });
    let (mut newest, mut told) = (Timestamp::default(), false);
    for _ in 0..scrapes {
        let Some(scraped) = scraped.recv().await else {
            return Err(Failed::Running(format!("{url}: the scraper has ended; please report it")));
        };
        if let Some(failure) = scraped.failure {
            return Err(Failed::Running(format!("{url}: {failure}")));
        }
        if let Some((line, fault)) = scraped.page.first_rejected.filter(|_| !told) {
            told = true;
            let rejected = scraped.page.rejected;
            output::note(format_args!(
                "{url}: line {line}: {fault} ({rejected} malformed lines); the rest was kept"
            ));
        }
        newest = scraped.batch.at;
        window.push(&scraped.batch);
    }
    stop.cancel();
    Ok((window, newest))
}
