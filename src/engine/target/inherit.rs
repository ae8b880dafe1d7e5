//! Going on with other signals.

use super::super::{Change, Setup};
use super::Target;
use crate::series::Timestamp;
use crate::window::Window;

impl Target {
    /// Takes over the window, and of the signals that have stayed what was learned and the incidents; ends the rest.
    pub(in crate::engine) fn inherit(
        &mut self,
        before: &mut Self,
        (was, setup): (&Setup, &Setup),
        now: Timestamp,
    ) -> Vec<Change> {
        let mut stays = Vec::new();
        if before.window.limits() == self.window.limits() {
            std::mem::swap(&mut self.window, &mut before.window);
        } else {
            self.window = Window::thaw(self.window.limits(), &before.window.freeze());
        }
        (self.health, self.last_scrape, self.rejected) =
            (before.health.take(), before.last_scrape, before.rejected);
        (self.last_tick, self.checks, self.last_verdict) =
            (before.last_tick, before.checks, before.last_verdict);
        self.born = before.checks;
        for (place, slot) in before.slots.iter_mut().enumerate() {
            let known = self
                .slots
                .iter()
                .position(|own| own.labels.get("metric_name") == slot.labels.get("metric_name"));
            if let (Some(own), Some(output)) = (known, slot.output.take()) {
                let own = if self.slots[own].output.is_none() {
                    Some(own)
                } else {
                    self.assign(self.slots[own].signal, &output, now, setup)
                };
                if let Some(own) = own {
                    self.slots[own].name(&output, setup);
                    self.slots[own].machine = std::mem::take(&mut slot.machine);
                    if was.signals[slot.signal].0 == setup.signals[self.slots[own].signal].0 {
                        stays.push((place, own));
                    }
                }
            }
        }
        self.lead = before.lead.and_then(|lead| Some(stays.iter().find(|(was, _)| *was == lead)?.1));
        self.canonical.inherit(&before.canonical, &stays);
        self.ensemble.inherit(&mut before.ensemble, &stays);
        before.end_all(now)
    }
}
