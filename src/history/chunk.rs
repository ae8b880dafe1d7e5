//! A range cut into pieces that a server gives at once.

use std::time::Duration;

use super::Problem;
use crate::series::Timestamp;

/// The instants a range asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    from: i64,
    /// Steps from the first instant to the last.
    steps: u64,
    step: i64,
}

/// Instants for one request: `from`, and every step up to and with `to`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Chunk {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// In seconds.
    pub(super) step: f64,
}

impl Grid {
    pub(super) fn new(from: Timestamp, to: Timestamp, step: Duration) -> Result<Self, Problem> {
        let step = i64::try_from(step.as_millis()).ok().filter(|step| *step > 0).ok_or(Problem::Step)?;
        if to < from {
            return Err(Problem::Backwards);
        }
        let steps = to.millis().abs_diff(from.millis()) / step.unsigned_abs();
        Ok(Self { from: from.millis(), steps, step })
    }

    pub(super) fn points(&self) -> u64 {
        self.steps.saturating_add(1)
    }

    /// The pieces, in order, of at most `most` instants each.
    pub(super) fn chunks(self, most: usize) -> impl ExactSizeIterator<Item = Chunk> {
        let most = most.max(1) as u64;
        let count = self.points().div_ceil(most) as usize;
        (0..count).map(move |index| {
            let first = index as u64 * most;
            let last = first.saturating_add(most - 1).min(self.steps);
            Chunk { from: self.instant(first), to: self.instant(last), step: self.step as f64 / 1e3 }
        })
    }

    /// The instant so many steps after the first; none is beyond the end of the range.
    fn instant(&self, steps: u64) -> Timestamp {
        Timestamp::from_millis(self.from.wrapping_add_unsigned(steps * self.step.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(from: i64, to: i64, step: u64, most: usize) -> Vec<(i64, i64)> {
        let (from, to) = (Timestamp::from_millis(from), Timestamp::from_millis(to));
        let grid = Grid::new(from, to, Duration::from_millis(step)).unwrap();
        let chunks = grid.chunks(most);
        let promised = chunks.len();
        let chunks: Vec<_> = chunks.map(|chunk| (chunk.from.millis(), chunk.to.millis())).collect();
        assert_eq!(chunks.len(), promised);
        chunks
    }

    #[test]
    fn a_range_is_cut_where_one_more_point_would_be_too_many() {
        for ((from, to, step, most), expect) in [
            ((0, 0, 10, 3), vec![(0, 0)]),
            ((0, 20, 10, 3), vec![(0, 20)]),
            ((0, 30, 10, 3), vec![(0, 20), (30, 30)]),
            ((5, 69, 10, 3), vec![(5, 25), (35, 55), (65, 65)]),
            ((-25, 10, 10, 2), vec![(-25, -15), (-5, 5)]),
            ((0, 20, 10, 1), vec![(0, 0), (10, 10), (20, 20)]),
            ((0, 9, 10, usize::MAX), vec![(0, 0)]),
            ((i64::MIN, i64::MAX, i64::MAX as u64, 9), vec![(i64::MIN, i64::MAX - 1)]),
        ] {
            assert_eq!(cut(from, to, step, most), expect, "{from}..{to} by {step}, {most} at most");
        }
    }

    #[test]
    fn a_range_without_a_grid_is_refused() {
        let new = |from, to, step| {
            Grid::new(Timestamp::from_millis(from), Timestamp::from_millis(to), step).unwrap_err()
        };
        assert_eq!(new(1, 0, Duration::from_secs(1)), Problem::Backwards);
        assert_eq!(new(0, 1, Duration::from_micros(999)), Problem::Step);
        assert_eq!(new(0, 1, Duration::MAX), Problem::Step);
    }

    proptest::proptest! {
        #[test]
        fn every_instant_is_in_exactly_one_piece(from in -1000_i64..1000, length in 0_i64..1000, step in 1_u64..50, most in 1_usize..40) {
            let instants = |(from, to): (i64, i64)| (from..=to).step_by(step as usize);
            let pieces = cut(from, from + length, step, most);
            assert!(pieces.iter().all(|piece| instants(*piece).count() <= most));
            let all: Vec<i64> = pieces.into_iter().flat_map(instants).collect();
            assert_eq!(all, instants((from, from + length)).collect::<Vec<_>>());
        }
    }
}
