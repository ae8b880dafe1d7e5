//! What happens at the same time of most periods and is far more than usual, as a backup is; and bumps that may be missing.
//!
//! Takes values at even steps, gives one a phase of the period.

use super::robust;

/// Times the usual reach of a time of the period from which on what is reached there is an event of its own.
pub(super) const EVENT: f64 = 4.0;
/// How much further than before an event may go.
pub(super) const FURTHER: f64 = 1.25;

/// What most of the newest periods reach at each phase, give or take `reach` steps, or all of the last `repeats`, where that
/// is far more than what is usually reached; 0 elsewhere. `None` where it is nowhere.
pub(super) fn find(
    values: &[f64],
    period: usize,
    reach: usize,
    newest: usize,
    repeats: usize,
) -> Option<Vec<f64>> {
    let periods = (values.len() / period).min(newest);
    if periods < repeats {
        return None;
    }
    // The newest whole periods; phases are counted from the first value.
    let end = values.len() / period * period;
    let begin = end - periods * period;
    let highest = |cycle: usize, phase: usize| {
        let at = begin + cycle * period + phase;
        let (from, to) = (at.saturating_sub(reach), (at + reach).min(values.len() - 1));
        values[from..=to].iter().copied().fold(f64::NEG_INFINITY, f64::max)
    };
    let rank = periods - (periods / 2 + 1).max(repeats);
    let mut seen = vec![0.0; periods];
    let reached: Vec<f64> = (0..period)
        .map(|phase| {
            (0..periods).for_each(|cycle| seen[cycle] = highest(cycle, phase));
            let newest = seen[periods - repeats..].iter().copied().fold(f64::INFINITY, f64::min);
            robust::sort(&mut seen);
            newest.max(seen[rank])
        })
        .collect();
    let mut sorted = reached.clone();
    robust::sort(&mut sorted);
    let usual = robust::median(&sorted)?.max(0.0);
    let line = EVENT * usual;
    let events: Vec<f64> = reached
        .iter()
        .map(|reached| if *reached > line && *reached > 1e-9 { FURTHER * reached } else { 0.0 })
        .collect();
    // What most phases reach is no event.
    let some = events.iter().filter(|event| **event > 0.0).count();
    (some > 0 && some * 4 <= period).then_some(events)
}

/// Widens the range where the center has a bump or dip of more than `line` and no more than `short` steps, by what it would
/// be without (morphological opening and closing).
pub(super) fn widen(center: &[f64], short: usize, line: f64, up: &mut [f64], down: &mut [f64]) {
    let n = center.len();
    let around = |values: &[f64], at: usize, reach: usize, pick: fn(f64, f64) -> f64| {
        (0..=2 * reach).map(|step| values[(at + n + step - reach) % n]).fold(values[at], pick)
    };
    let filtered = |values: &[f64], reach: usize, pick: fn(f64, f64) -> f64| -> Vec<f64> {
        (0..n).map(|at| around(values, at, reach, pick)).collect()
    };
    let half = (short / 2).min(n / 8);
    let opened = filtered(&filtered(center, half, f64::min), half, f64::max);
    let closed = filtered(&filtered(center, half, f64::max), half, f64::min);
    for at in 0..n {
        if center[at] - opened[at] > line {
            down[at] = down[at].max(center[at] - opened[at]);
        }
        if closed[at] - center[at] > line {
            up[at] = up[at].max(closed[at] - center[at]);
        }
    }
}
