//! Whom the verdict names: a fault of one metric is that metric's, and where one of several that go together leaves
//! them, it is mostly that one.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use dwcp_anomaly::backtest::{Outcome, Replay};
use dwcp_anomaly::config::Config;
use dwcp_anomaly::dataset::{Columns, Dataset};
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

const METRICS: usize = 8;
/// These go together: what they share moves them by nearly three times what each strays by itself.
const GROUP: [usize; 6] = [0, 1, 2, 3, 4, 5];
const TAUGHT: usize = 3000;
/// Rows of a fault, and from the beginning of one to that of the next.
const LASTS: usize = 20;
const APART: usize = 120;

/// What befalls one metric, in the standard deviations of its normal values.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Step(f64),
    Ramp(f64),
    Spikes(f64),
    /// It goes its own way within its usual range.
    Parts,
}

#[derive(Clone, Copy, Debug)]
struct Injected {
    metric: usize,
    kind: Kind,
    from: usize,
}

impl Injected {
    fn rows(&self) -> Range<usize> {
        self.from..self.from + LASTS
    }

    fn strike(&self, row: usize, shared: f64, value: &mut f64) {
        let nth = row - self.from;
        match self.kind {
            Kind::Step(height) => *value += height,
            Kind::Ramp(height) => *value += height * (nth + 1) as f64 / LASTS as f64,
            Kind::Spikes(height) => *value += if nth.is_multiple_of(2) { height } else { -height },
            Kind::Parts => *value -= 2.0 * shared * weight(self.metric),
        }
    }
}

/// What the shared course weighs in a metric.
fn weight(metric: usize) -> f64 {
    if GROUP.contains(&metric) { 2.0_f64.sqrt() / 1.5 } else { 0.0 }
}

/// Normal values of unit variance, with the faults in them, as a recording.
fn recording(seed: u128, faults: &[Injected]) -> Dataset {
    let mut random = Pcg64Mcg::new(seed << 1 | 1);
    // Twelve even numbers are as good as normal, and need no library of functions.
    let mut normal =
        || (0..12).map(|_| f64::from(random.next_u32()) / f64::from(u32::MAX)).sum::<f64>() - 6.0;
    let mut text = String::from("timestamp");
    (0..METRICS).for_each(|metric| write!(text, ",m{metric}").unwrap());
    let rows = TAUGHT + APART * (faults.len() + 1);
    let mut shared = 0.0;
    for row in 0..rows {
        shared = 0.9 * shared + 0.19_f64.sqrt() * normal();
        let mut values: [f64; METRICS] = std::array::from_fn(|metric| {
            let weight = weight(metric);
            shared * weight + (1.0 - weight * weight).sqrt() * normal()
        });
        let happening = faults.iter().filter(|fault| fault.rows().contains(&row));
        happening.for_each(|fault| fault.strike(row, shared, &mut values[fault.metric]));
        write!(text, "\n{}", 1_700_000_000 + 10 * row).unwrap();
        values.iter().for_each(|value| write!(text, ",{}", 50.0 + value).unwrap());
    }
    Dataset::parse(text.as_bytes(), Path::new("injected"), &Columns::default()).unwrap()
}

fn replayed(seed: u128, faults: &[Injected]) -> Outcome {
    let replay = Replay {
        config: Config::default(),
        signals: Vec::new(),
        interval: Duration::from_secs(10),
        train_rows: TAUGHT,
        fits: None,
    };
    replay.run(&recording(seed, faults), &mut |_, _| ())
}

/// Who heads the verdict when the fault's alert fires, or at its height where none does, and whether one did.
fn head(outcome: &Outcome, fault: &Injected) -> (String, bool) {
    let verdicts = &outcome.verdicts[fault.rows()];
    let fired = verdicts.iter().find(|verdict| verdict.alert);
    let highest = || verdicts.iter().max_by(|a, b| a.score.total_cmp(&b.score)).unwrap();
    (fired.unwrap_or_else(highest).metric.clone(), fired.is_some())
}

#[test]
fn a_fault_of_one_metric_is_headed_by_it_in_nineteen_of_twenty() {
    let kinds = [5.0, 8.0, 12.0].into_iter().flat_map(|h| [Kind::Step(h), Kind::Ramp(h), Kind::Spikes(h)]);
    let all = kinds.cycle().zip((0..METRICS).cycle()).take(9 * METRICS);
    let faults: Vec<Injected> = all
        .enumerate()
        .map(|(nth, (kind, metric))| Injected { metric, kind, from: TAUGHT + APART * (nth + 1) })
        .collect();
    let outcome = replayed(11, &faults);
    let heads: Vec<(String, bool)> = faults.iter().map(|fault| head(&outcome, fault)).collect();
    let is_right = |fault: &Injected, head: &str| head == format!("m{}", fault.metric);
    for (fault, (head, fired)) in faults.iter().zip(&heads).filter(|(f, (head, _))| !is_right(f, head)) {
        println!("{fault:?} is headed by {head}, {}", if *fired { "fired" } else { "no alert" });
    }
    let right = faults.iter().zip(&heads).filter(|(fault, (head, _))| is_right(fault, head)).count();
    let fired = heads.iter().filter(|(_, fired)| *fired).count();
    println!("{right} of {} are headed by the metric that has the fault; {fired} fired", faults.len());
    assert!(right * 20 >= faults.len() * 19, "{right} of {}", faults.len());
}

/// It never left its usual range, so the z-score and seasonal ESD see nothing, and who is named is a matter of the two
/// detectors that see the vector, against the noise of all. By chance it would be one of eight.
#[test]
fn a_metric_that_leaves_its_group_heads_the_verdict_more_often_than_not() {
    let part = |nth: usize| Injected {
        metric: GROUP[nth % GROUP.len()],
        kind: Kind::Parts,
        from: TAUGHT + APART * (nth + 1),
    };
    let faults: Vec<Injected> = (0..40).map(part).collect();
    let outcome = replayed(12, &faults);
    let right = |fault: &&Injected| head(&outcome, fault).0 == format!("m{}", fault.metric);
    let of = faults.iter().filter(right).count();
    println!("{of} of {} partings are headed by the metric that parts", faults.len());
    assert!(of * 2 > faults.len(), "{of} of {}", faults.len());
}
