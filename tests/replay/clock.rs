//! Wall time that is set back or ahead while the host goes on.

use std::time::Duration;

use dwcp_anomaly::engine::Engine;
use dwcp_anomaly::incident::{Reason, State};
use dwcp_anomaly::series::{Batch, Sample, Timestamp};

use crate::host::{Fault, Host};
use crate::{HOUR, Happened, config, feed, opened, setup};

/// Seconds after which rates are there, though hardly anything is learned.
const SOON: u64 = 400;

/// A host that is scraped every ten seconds by a clock that may be wrong.
struct Scraped {
    engine: Engine,
    host: Host,
    second: u64,
}

impl Scraped {
    fn until(host: Host, second: u64) -> Self {
        let mut scraped = Self { engine: Engine::new(setup(&config(10))), host, second: 0 };
        scraped.go_on(second, |at| at);
        scraped
    }

    /// Goes on until `second`, told by the clock that `wrong` makes of the true one.
    fn go_on(&mut self, second: u64, wrong: impl Fn(Timestamp) -> Timestamp) -> Vec<Happened> {
        let mut happened = Vec::new();
        while self.second < second {
            for _ in 0..10 {
                self.host.live(self.second as f64);
                self.second += 1;
            }
            let batch = self.host.scrape(self.second as f64);
            happened.extend(feed(&mut self.engine, Batch { at: wrong(batch.at), ..batch }, false));
        }
        happened
    }

    fn at(&self) -> Timestamp {
        self.engine.snapshot().at
    }

    fn cpu(&self) -> Option<f64> {
        let snapshot = self.engine.snapshot();
        snapshot.targets[0].metrics.iter().find(|metric| metric.name() == "cpu_usage")?.value
    }
}

#[test]
fn a_small_step_back_drops_what_comes_until_time_has_passed_the_newest() {
    let mut scraped = Scraped::until(Host::new(1), HOUR);
    let newest = scraped.at();
    let back = |at: Timestamp| at - Duration::from_mins(1);
    assert_eq!(scraped.go_on(HOUR + 60, back), []);
    assert_eq!(scraped.at(), newest, "nothing was judged meanwhile");
    assert_eq!(scraped.go_on(HOUR + 600, back), []);
    assert_eq!(scraped.at(), newest + Duration::from_mins(9));
    assert!(scraped.cpu().is_some());
}

#[test]
fn a_step_back_that_is_waited_out_makes_no_rate_wrong() {
    for back in [1, 2, 20, 60, 119] {
        let mut scraped = Scraped::until(Host::new(4), SOON);
        let usual = scraped.cpu().unwrap();
        for second in (SOON + 10..=SOON + 300).step_by(10) {
            let happened = scraped.go_on(second, |at| at - Duration::from_secs(back));
            assert_eq!(happened, [], "{back} s");
            if let Some(cpu) = scraped.cpu() {
                assert!(
                    (cpu - usual).abs() < 15.0,
                    "{back} s back, {cpu} % at {second} where {usual} is usual"
                );
            }
        }
        assert!(scraped.cpu().is_some(), "{back} s");
    }
}

#[test]
fn samples_stamped_ahead_by_the_exporter_blind_no_other_signal() {
    for ahead in [Duration::from_secs(121), Duration::from_mins(9), Duration::from_hours(24 * 365)] {
        let mut scraped = Scraped::until(Host::new(5), SOON);
        for second in (SOON + 10..=SOON + 100).step_by(10) {
            while scraped.second < second {
                scraped.host.live(scraped.second as f64);
                scraped.second += 1;
            }
            let mut batch = scraped.host.scrape(second as f64);
            let labels = dwcp_anomaly::series::Labels::new([("__name__", "app_queue_depth")]);
            batch.samples.push(Sample { labels, value: 5.0, at: Some(batch.at + ahead) });
            assert_eq!(feed(&mut scraped.engine, batch, false), []);
            assert!(scraped.cpu().is_some(), "{ahead:?}");
        }
    }
}

#[test]
fn a_large_step_back_restarts_the_windows_and_an_incident_outlives_it() {
    for back in [Duration::from_secs(150), Duration::from_hours(24 * 365)] {
        let host = Host::new(2).with(Fault::Cpu, HOUR as f64, HOUR as f64 + 600.0);
        let mut scraped = Scraped::until(host, HOUR + 120);
        let wrong = |at: Timestamp| at - back;
        let at_once = scraped.go_on(HOUR + 130, wrong);
        assert_eq!(at_once, []);
        assert_eq!(scraped.cpu(), None, "a rate has to fill anew");
        let during = scraped.go_on(HOUR + 600, wrong);
        assert_eq!(during, [], "{back:?}");
        assert!(scraped.cpu().is_some());
        let after = scraped.go_on(HOUR + 900, wrong);
        let ends: Vec<_> = after.iter().filter(|happened| happened.to == State::Resolved).collect();
        assert_eq!(
            ends.iter().map(|end| (&*end.metric, end.reason)).collect::<Vec<_>>(),
            [("cpu_usage", Reason::Recovered)]
        );
        // What is learned from here on is of the time it is now.
        assert!(opened(&scraped.go_on(2 * HOUR, wrong)).is_empty());
    }
}

#[test]
fn a_jump_ahead_is_a_gap_in_which_rates_have_no_data_and_nothing_opens_or_ends() {
    for fault in [None, Some(Fault::Cpu)] {
        let host = Host::new(3);
        let host = match fault {
            Some(fault) => host.with(fault, HOUR as f64, 1e9),
            None => host,
        };
        let mut scraped = Scraped::until(host, HOUR + 120);
        let ahead = |at: Timestamp| at + Duration::from_hours(1);
        assert_eq!(scraped.go_on(HOUR + 130, ahead), []);
        assert_eq!(scraped.cpu(), None, "what was counted in ten seconds is no rate of an hour");
        // An incident that goes on may still get worse.
        let after = scraped.go_on(HOUR + 400, ahead);
        assert!(after.iter().all(|happened| happened.reason == Reason::Escalated), "{fault:?}: {after:?}");
        assert!(scraped.cpu().is_some());
    }
}
