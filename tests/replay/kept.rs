//! An engine that was kept in files and restored says what the one that was not interrupted says.

use dwcp_anomaly::state::{Directory, Known};

use crate::driver::{self, Said};
use crate::golden::SCENARIOS;

/// Checks after which the process ends; none while a fit is under way, which would be lost.
const ENDS: [usize; 6] = [20, 120, 200, 400, 450, 590];

#[test]
fn restarts_change_nothing_that_is_said() {
    for name in ["steps-10s", "vanishing-10s"] {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap();
        let config = driver::config(scenario.interval, &["one"]);
        let place = tempfile::tempdir().unwrap();
        let mut engine = driver::engine(&config);
        let mut said: Vec<Said> = Vec::new();
        for (row, trace) in scenario.trace().iter().enumerate() {
            if ENDS.contains(&row) {
                let directory = Directory::open(place.path()).unwrap();
                directory.load();
                for target in engine.keep() {
                    directory.write_target(&target, &mut Known::default()).unwrap();
                }
                directory.write_settled(&engine.incidents()).unwrap();
                let loaded = directory.load();
                assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
                engine = driver::engine(&config);
                engine.restore(loaded.targets, loaded.incidents);
            }
            driver::take(&mut engine, 0, vec![trace.batch()]);
            said.push(driver::judge(&mut engine, 0, trace.at));
        }
        for (row, (said, uninterrupted)) in said.iter().zip(driver::run(scenario)).enumerate() {
            assert_eq!(format!("{said:?}"), format!("{uninterrupted:?}"), "{name} row {row}");
        }
    }
}
