//! Why there is no value where one could be.

use super::read::bounds;
use super::{Slot, Target};
use crate::engine::Setup;
use crate::series::Timestamp;
use crate::setting::short;

/// Of one series of a signal whose others have values.
const SILENT: &str = "this series has no value now";

impl Target {
    /// Of an output that had a value once, or whose signal has none at all.
    pub(super) fn why_no_value(&self, slot: &Slot, setup: &Setup) -> Option<String> {
        // One that the signal gave at this check; of an earlier one it is not known any more.
        if let Some(value) = slot.impossible.filter(|_| self.last_tick == Some(slot.seen)) {
            let possible = bounds(&setup.signals[slot.signal].0);
            return Some(format!("its value, {}, is impossible: min and max allow {possible}", short(value)));
        }
        let of_signal = self.no_data[slot.signal].clone();
        of_signal.or_else(|| slot.output.is_some().then(|| SILENT.to_owned()))
    }

    /// Of a signal without any value.
    pub(super) fn why_silent(&mut self, at: Timestamp, setup: &Setup, signal: usize) -> String {
        if let Some(failure) = self.health.as_ref().and_then(|health| health.failure.as_ref()) {
            return format!("the scrape failed: {failure}");
        }
        let (plan, selections) = (&setup.signals[signal].1, &mut self.selections[signal]);
        plan.why_silent(self.window.view(), at, selections).to_string()
    }
}
