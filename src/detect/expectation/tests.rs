use super::*;
use crate::detect::robust;
use crate::detect::season::{self, History, Period};

const STEP: Duration = Duration::from_mins(5);
const DAILY: usize = 288;
/// Days that a season is fitted on.
const DAYS: usize = 10;
/// Days that a baseline goes on for after that.
const SINCE: usize = 3;

/// The value at each row.
type Values<'a> = &'a dyn Fn(usize) -> f64;

fn noise(i: usize) -> f64 {
    use rand_core::Rng;
    f64::from(rand_pcg::Pcg64Mcg::new(i as u128 + 1).next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0
}

fn day(i: usize) -> f64 {
    10.0 * (i as f64 / DAILY as f64 * std::f64::consts::TAU).sin()
}

/// The middle of a step.
fn at(i: usize) -> Timestamp {
    Timestamp::default() + STEP * i as u32 + STEP / 2
}

fn residual(baseline: &Baseline, i: usize, value: f64) -> f64 {
    baseline.at(at(i)).unwrap().residual(value)
}

fn learned(values: impl Iterator<Item = f64>) -> Baseline {
    let mut baseline = Baseline::new(STEP);
    values.enumerate().for_each(|(i, value)| baseline.learn(at(i), value, 0.0));
    baseline
}

/// A baseline that knows the day of `value` from [`DAYS`] of it, and has gone on with it for [`SINCE`] days.
fn seasonal(value: impl Fn(usize) -> f64) -> Baseline {
    let values = || (0..DAYS * DAILY).map(&value);
    let steps = values().map(|value| Some([value; 3])).collect();
    let season = season::fit(&History { origin: 0, step: STEP, steps }, &Period::Auto, Duration::ZERO);
    assert_eq!(season.as_ref().unwrap().period(), Duration::from_hours(24));
    let mut baseline = learned(values());
    baseline.reseason(season.map(Arc::new), at(DAYS * DAILY));
    (DAYS * DAILY..(DAYS + SINCE) * DAILY).for_each(|i| baseline.learn(at(i), value(i), 0.0));
    baseline
}

/// Median and MAD of what is left of a day of `value` after row `from`, while it is learned.
fn left(baseline: &mut Baseline, from: usize, value: impl Fn(usize) -> f64) -> (f64, f64) {
    let mut residuals = Vec::new();
    for i in from..from + DAILY {
        residuals.push(residual(baseline, i, value(i)));
        baseline.learn(at(i), value(i), 0.0);
    }
    robust::sort(&mut residuals);
    let center = robust::median(&residuals).unwrap();
    (center, robust::mad(&residuals, center).unwrap())
}

/// Noise without and with a day.
fn flat(i: usize) -> f64 {
    50.0 + noise(i)
}

fn daily(i: usize) -> f64 {
    flat(i) + day(i)
}

/// A baseline of each, the row it has come to, and its values.
fn with_and_without_a_season() -> [(Baseline, usize, Values<'static>); 2] {
    [(learned((0..DAILY).map(flat)), DAILY, &flat), (seasonal(daily), (DAYS + SINCE) * DAILY, &daily)]
}

#[test]
fn nothing_is_expected_before_the_first_value() {
    assert_eq!(Baseline::new(STEP).at(at(0)), None);
    assert!(learned(std::iter::once(5.0)).at(at(1)).is_some());
}

#[test]
fn a_short_job_that_does_not_come_is_no_change_of_clocks() {
    let job = |i: usize| if (30..34).contains(&(i % DAILY)) { 80.0 } else { 5.0 } + noise(i);
    let mut baseline = seasonal(job);
    let from = (DAYS + SINCE) * DAILY;
    for i in from..from + DAILY {
        baseline.compare(at(i), 5.0 + noise(i));
        let betters = baseline.betters().unwrap();
        // A quarter is taken for a change of clocks.
        assert!(betters.iter().all(|better| *better < 0.2), "at {i}: {betters:?}");
    }
}

#[test]
fn residuals_lie_around_zero_with_and_without_a_season() {
    let (center, mad) = left(&mut learned((0..DAILY).map(flat)), DAILY, flat);
    // Half of a uniform variable on ±1 are within a half.
    assert!(center.abs() < 0.15 && (mad - 0.5).abs() < 0.1, "{center} {mad}");
    let (center, mad) = left(&mut seasonal(daily), (DAYS + SINCE) * DAILY, daily);
    assert!(center.abs() < 0.15 && mad < 0.6, "{center} {mad}");
}

#[test]
fn a_step_that_is_adapted_to_leaves_a_residual_of_zero() {
    for (mut baseline, from, usual) in with_and_without_a_season() {
        let stepped = |i: usize| usual(i) + 30.0;
        let until = from + 100;
        assert!(residual(&baseline, from, stepped(from)) > 20.0);
        (from..until).for_each(|i| baseline.withhold(at(i), stepped(i)));
        assert!(baseline.is_level());
        baseline.adapt(at(until));
        let (center, mad) = left(&mut baseline, until, stepped);
        assert!(center.abs() < 0.3 && mad < 0.7, "{center} {mad}");
    }
}

/// A baseline of `usual` that has adapted to a step by 30 at row `from`, and the row after.
fn stepped(mut baseline: Baseline, usual: Values<'_>, from: usize) -> (Baseline, usize) {
    let until = from + 72;
    (from..until).for_each(|i| baseline.withhold(at(i), usual(i) + 30.0));
    baseline.adapt(at(until));
    (baseline, until)
}

#[test]
fn a_step_that_is_undone_within_a_day_is_expected_and_a_later_one_is_not() {
    for (baseline, from, usual) in with_and_without_a_season() {
        let (baseline, until) = stepped(baseline, usual, from);
        for (stays, is_expected) in [(10, true), (DAILY - 10, true), (DAILY + 10, false)] {
            let (mut baseline, undone) = (baseline.clone(), until + stays);
            (until..undone).for_each(|i| baseline.learn(at(i), usual(i) + 30.0, 0.0));
            let off = baseline.of_value(at(undone), usual(undone)).unwrap().residual(usual(undone)).abs();
            assert_eq!(off < 5.0, is_expected, "{off} after {stays}");
            (undone..undone + 3).for_each(|i| baseline.learn(at(i), usual(i), 0.0));
            let off = residual(&baseline, undone + 3, usual(undone + 3)).abs();
            assert_eq!(off < 5.0, is_expected, "three of them are the level again: {off} after {stays}");
            let again = usual(undone + 3) + 30.0;
            let off = baseline.of_value(at(undone + 3), again).unwrap().residual(again).abs();
            assert_eq!(off > 20.0, is_expected, "what was undone is a step again: {off} after {stays}");
        }
    }
}

#[test]
fn a_value_nearer_to_the_former_level_does_not_move_the_present_one() {
    let (mut baseline, until) = stepped(learned((0..DAILY).map(flat)), &flat, DAILY);
    let level = baseline.level();
    (0..2).for_each(|i| baseline.learn(at(until + i), 50.0, 0.0));
    assert_eq!(baseline.level(), level);
    baseline.learn(at(until + 2), 80.0, 0.0);
    (3..5).for_each(|i| baseline.learn(at(until + i), 50.0, 0.0));
    let (now, _) = baseline.level().unwrap();
    assert!((now - level.unwrap().0).abs() < 1.0, "two, one of the other and two more: {now}");
}

#[test]
fn a_day_that_does_not_go_with_a_step_is_expected_between_the_levels() {
    // At its lowest hour the metric stays where it is by day; what is learned of it then is a step by the whole day.
    let daily = |i: usize| 50.0 + 4.0 * day(i) + noise(i);
    let from = (DAYS + SINCE) * DAILY + 3 * DAILY / 4 - 36;
    let mut baseline = seasonal(daily);
    ((DAYS + SINCE) * DAILY..from).for_each(|i| baseline.learn(at(i), daily(i), 0.0));
    let (baseline, until) = stepped(baseline, &|_| 50.0, from);
    let noon = until + DAILY / 3;
    let off = |of: Expected| of.residual(daily(noon)).abs();
    assert!(off(baseline.at(at(noon)).unwrap()) > 20.0);
    assert!(off(baseline.of_value(at(noon), daily(noon)).unwrap()) < 5.0);
}

#[test]
fn a_step_soon_after_the_day_became_known_is_no_change_of_scale() {
    let stepped = |i: usize| daily(i) + 30.0;
    let mut baseline = Baseline::new(STEP);
    let from = DAYS * DAILY;
    (0..from).for_each(|i| baseline.learn(at(i), daily(i), 0.0));
    baseline.reseason(seasonal(daily).season(), at(from));
    (from..from + 100).for_each(|i| baseline.withhold(at(i), stepped(i)));
    baseline.adapt(at(from + 100));
    let gain = baseline.gain;
    assert_eq!(gain, 1.0, "it strays as before");
}

#[test]
fn a_change_of_unit_that_is_adapted_to_leaves_residuals_of_the_usual_size() {
    let bytes = |i: usize| 50_000.0 + 1000.0 * noise(i);
    let kilobytes = |i: usize| bytes(i) / 1000.0;
    let mut baseline = learned((0..DAILY).map(bytes));
    let usual = left(&mut baseline.clone(), DAILY, bytes).1;
    let until = 2 * DAILY;
    (DAILY..until).for_each(|i| baseline.withhold(at(i), kilobytes(i)));
    assert!(baseline.is_level());
    baseline.adapt(at(until));
    let (center, mad) = left(&mut baseline, until, kilobytes);
    assert!(center.abs() < 0.3 * usual, "{center} of {usual}");
    assert!((0.6..1.6).contains(&(mad / usual)), "{mad} for {usual}");
}

#[test]
fn a_change_of_unit_of_a_metric_with_a_day_leaves_residuals_of_the_usual_size() {
    let bytes = |i: usize| 1000.0 * (50.0 + day(i) + noise(i));
    let kilobytes = |i: usize| bytes(i) / 1000.0;
    let mut baseline = seasonal(bytes);
    let from = (DAYS + SINCE) * DAILY;
    let until = from + DAILY / 4;
    (from..until).for_each(|i| baseline.withhold(at(i), kilobytes(i)));
    baseline.adapt(at(until));
    let (center, mad) = left(&mut baseline, until, kilobytes);
    // The noise is ±1000 in the old unit, and the day ±10 000.
    assert!(center.abs() < 500.0 && mad < 2000.0, "{center} {mad}");
}

#[test]
fn where_days_are_known_before_the_first_value_the_level_follows_over_a_day_too() {
    let moved = |season: Option<Arc<Season>>, first: bool| {
        let mut baseline = Baseline::new(STEP);
        if first {
            baseline.reseason(season.clone(), at(0));
        }
        (0..4 * DAILY).for_each(|i| baseline.learn(at(i), flat(i), 0.0));
        if !first {
            baseline.reseason(season, at(4 * DAILY));
        }
        let before = baseline.level().unwrap().0;
        (0..12).for_each(|i| baseline.learn(at(4 * DAILY + i), 52.0, 0.0));
        baseline.level().unwrap().0 - before
    };
    let steps = (0..4 * DAILY).map(|i| Some([flat(i); 3])).collect();
    let season = season::fit(&History { origin: 0, step: STEP, steps }, &Period::Auto, Duration::ZERO);
    let season = season.map(Arc::new);
    let (later, first) = (moved(season.clone(), false), moved(season, true));
    assert!(later < 0.3, "in an hour it moves by a tenth of the way: {later}");
    assert!(first < 0.3, "and so it does here: {first}");
}

#[test]
fn a_ramp_is_no_level_and_what_stays_where_it_is_is_one() {
    let usual = learned((0..DAILY).map(|i| 50.0 + noise(i)));
    let withheld = |value: &dyn Fn(usize) -> f64| {
        let mut baseline = usual.clone();
        (DAILY..2 * DAILY).for_each(|i| baseline.withhold(at(i), value(i)));
        baseline.is_level()
    };
    assert!(!withheld(&|i| 50.0 + 0.2 * (i - DAILY) as f64 + noise(i)));
    assert!(!withheld(&|i| 50.0 - 0.2 * (i - DAILY) as f64 + noise(i)));
    assert!(withheld(&|i| 80.0 + noise(i)));
}

#[test]
fn what_is_withheld_is_bounded_and_spread_evenly_over_its_time() {
    let mut held = Held::default();
    (0..100_000).for_each(|i| held.push(f64::from(i), 0.0));
    assert!((held::MOST / 2..=held::MOST).contains(&held.len()), "{}", held.len());
    let [first, middle, last] = held.thirds(1.0).unwrap();
    for (third, of) in [(first, 1.0), (middle, 3.0), (last, 5.0)] {
        assert!((third / 100_000.0 - of / 6.0).abs() < 0.03, "{third}");
    }
}
