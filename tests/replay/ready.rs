//! From which check on each detector votes, when its fits are back in time.

use dwcp_anomaly::detect::verdict::Detector;
use dwcp_anomaly::engine::Event;

use crate::driver;
use crate::golden::SCENARIOS;
use crate::trace::{Fault, Kind, Scenario};

/// The first check at which each detector votes, on a trace with these faults.
fn first_votes(faults: Vec<Fault>, sequence_length: usize) -> [Option<usize>; 4] {
    let scenario = Scenario { faults: faults.leak(), rows: 450, ..SCENARIOS[0] };
    let mut config = driver::config(scenario.interval, &["one"]);
    config.detector.lstm_autoencoder.sequence_length = sequence_length;
    let mut engine = driver::engine(&config);
    let mut first = [None; 4];
    for (nth, row) in scenario.trace().iter().enumerate() {
        driver::take(&mut engine, 0, vec![row.batch()]);
        driver::judge(&mut engine, 0, row.at);
        for (first, detector) in first.iter_mut().zip(Detector::ALL) {
            *first = first.or(engine.ready(detector).then_some(nth + 1));
        }
        engine.step(Event::Confirm(0, row.at + std::time::Duration::from_secs(1)));
    }
    first
}

#[test]
fn the_forest_votes_at_sixty_rows_and_the_autoencoder_at_ten_sequences() {
    for (sequence_length, lstm) in [(30, 300), (40, 400), (10, 120)] {
        let [forest, autoencoder, zscore, esd] = first_votes(Vec::new(), sequence_length);
        assert_eq!((forest, autoencoder), (Some(60), Some(lstm)), "of {sequence_length} rows");
        assert!(zscore < forest && esd < forest, "{zscore:?} {esd:?}");
    }
}

/// Nothing of any signal for a while.
const HOLE: &[Fault] = &[hole(0), hole(1), hole(2)];

const fn hole(signal: usize) -> Fault {
    Fault { kind: Kind::Vanish, signal, from: 100, until: 120, height: 0.0 }
}

#[test]
fn with_a_hole_in_its_rows_the_autoencoder_votes_soon_after_all_the_same() {
    let [_, autoencoder, ..] = first_votes(HOLE.to_vec(), 30);
    assert!(autoencoder.is_some_and(|check| check <= 420), "{autoencoder:?}");
}

#[test]
fn an_incident_that_does_not_end_keeps_no_detector_from_voting() {
    for from in [10, 25, 31, 35, 45, 58] {
        let fault = Fault { kind: Kind::Step, signal: 1, from, until: 450, height: 25.0 };
        let [forest, autoencoder, ..] = first_votes(vec![fault], 30);
        assert!(forest.is_some_and(|check| check <= 150), "from {from} on the forest: {forest:?}");
        assert!(
            autoencoder.is_some_and(|check| check <= 420),
            "from {from} on the autoencoder: {autoencoder:?}"
        );
    }
}
