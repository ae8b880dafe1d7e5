//! Counters that were read wrongly for a moment.
//!
//! A counter that falls began anew at 0, says PromQL, and what it shows is an increase. But idle times step back by a tick,
//! and drivers read half of a register: where a counter of billions falls by a little, that makes a rate of billions. So for
//! signals, and only for them, one that falls by less than [`GLITCH`] has not begun anew. Until it is back where it was, the
//! rate is that of the time before it fell; once a whole range has passed it is taken as it is.

use super::range::Bounds;

/// A counter that falls by less than this share of its value was read wrongly: one that began anew at 0 would have counted
/// nine tenths of what it had counted before within one scrape.
const GLITCH: f64 = 0.1;

/// Mends the `samples` of a counter, which begin a range before `bounds` where there are so many. Leaves those of the range
/// that is given back, which ends before `bounds` where the counter has fallen and is not back. Whether the newest sample is
/// the first that has fallen.
pub(super) fn mend(samples: &mut Vec<(i64, f64)>, bounds: Bounds) -> (Bounds, bool) {
    let first = samples.partition_point(|(at, _)| *at < bounds.start);
    let falls = |pair: &[(i64, f64)]| pair[1].1 < pair[0].1;
    if !samples.windows(2).any(falls) {
        samples.drain(..first);
        return (bounds, false);
    }
    let sound = samples.len() - fallen(samples);
    if sound <= first {
        // It has stayed where it fell to for a range.
        samples.drain(..first);
        hold(samples);
        return (bounds, false);
    }
    let is_new = sound + 1 == samples.len();
    let bounds = match samples.get(sound) {
        Some(_) => ending(bounds, samples[sound - 1].0),
        None => bounds,
    };
    hold(samples);
    samples.truncate(sound);
    samples.drain(..samples.partition_point(|(at, _)| *at < bounds.start));
    (bounds, is_new)
}

fn ending(bounds: Bounds, end: i64) -> Bounds {
    Bounds { start: bounds.start - (bounds.end - end), end, ..bounds }
}

fn has_fallen(value: f64, highest: f64) -> bool {
    value < highest && value > (1.0 - GLITCH) * highest
}

/// Samples at the end that have fallen.
fn fallen(samples: &[(i64, f64)]) -> usize {
    let (mut highest, mut fallen) = (f64::NEG_INFINITY, 0);
    for (_, value) in samples {
        if has_fallen(*value, highest) {
            fallen += 1;
        } else {
            (highest, fallen) = (*value, 0);
        }
    }
    fallen
}

/// Has each sample that has fallen be where it fell from.
fn hold(samples: &mut [(i64, f64)]) {
    let mut highest = f64::NEG_INFINITY;
    for (_, value) in samples {
        if has_fallen(*value, highest) {
            *value = highest;
        } else {
            highest = *value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::Fill;

    /// A counter that begins at `values[0]`, read each 10 s, and the bounds of the last 40 s.
    fn read(values: &[f64]) -> (Vec<(i64, f64)>, Bounds) {
        let samples: Vec<_> =
            values.iter().enumerate().map(|(n, value)| (n as i64 * 10_000, *value)).collect();
        let end = samples.last().map_or(0, |(at, _)| *at);
        (samples, Bounds { start: end - 40_000, end, at: end, fill: Fill::Filled })
    }

    #[test]
    fn what_fell_a_little_is_where_it_was_and_what_began_anew_is_not() {
        const STEADY: [f64; 9] = [1000.0, 1001.0, 1002.0, 1003.0, 1004.0, 1005.0, 1006.0, 1007.0, 1008.0];
        let with = |changes: &[(usize, f64)]| {
            let mut values = STEADY;
            changes.iter().for_each(|(at, value)| values[*at] = *value);
            let (mut samples, bounds) = read(&values);
            let (bounds, is_new) = mend(&mut samples, bounds);
            (samples.iter().map(|(_, value)| *value).collect::<Vec<_>>(), bounds.end, is_new)
        };
        for (changes, values, end, is_new, what) in [
            (&[][..], &[1004.0, 1005.0, 1006.0, 1007.0, 1008.0][..], 80_000, false, "nothing fell"),
            (&[(6, 950.0)], &[1004.0, 1005.0, 1005.0, 1007.0, 1008.0], 80_000, false, "it is back"),
            (
                &[(4, 950.0)],
                &[1003.0, 1005.0, 1006.0, 1007.0, 1008.0],
                80_000,
                false,
                "the range begins with it",
            ),
            (&[(8, 950.0)], &[1003.0, 1004.0, 1005.0, 1006.0, 1007.0], 70_000, true, "it has just fallen"),
            (
                &[(7, 950.0), (8, 951.0)],
                &[1002.0, 1003.0, 1004.0, 1005.0, 1006.0],
                60_000,
                false,
                "it fell before",
            ),
            (&[(8, 3.0)], &[1004.0, 1005.0, 1006.0, 1007.0, 3.0], 80_000, false, "it has begun anew"),
        ] {
            assert_eq!(with(changes), (values.to_vec(), end, is_new), "{what}");
        }
    }

    #[test]
    fn what_stays_where_it_fell_to_is_taken_as_it_is_after_a_range() {
        let (mut samples, bounds) =
            read(&[1000.0, 1001.0, 1002.0, 1003.0, 951.0, 952.0, 953.0, 954.0, 955.0]);
        let (mended, is_new) = mend(&mut samples, bounds);
        assert_eq!((mended.end, is_new), (80_000, false));
        assert_eq!(
            samples.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
            [951.0, 952.0, 953.0, 954.0, 955.0]
        );
    }
}
