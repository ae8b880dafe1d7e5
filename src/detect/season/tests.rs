use super::*;

const STEP: Duration = Duration::from_mins(5);
/// Steps of a day and of an hour.
const DAILY: usize = 288;
const HOURLY: usize = 12;

fn noise(i: usize) -> f64 {
    use rand_core::Rng;
    f64::from(rand_pcg::Pcg64Mcg::new(i as u128 + 1).next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0
}

fn wave(n: usize, period: usize, slope: f64) -> Vec<Option<f64>> {
    let value = |i: usize| {
        10.0 * (i as f64 / period as f64 * std::f64::consts::TAU).sin() + slope * i as f64 + noise(i)
    };
    (0..n).map(|i| Some(value(i))).collect()
}

/// Steps from the epoch on, each of a single value.
fn history(values: &[Option<f64>]) -> History {
    History { origin: 0, step: STEP, steps: values.iter().map(|value| value.map(|v| [v; 3])).collect() }
}

/// What is known of `values`, where anything recurs in them.
fn recurring(values: &[Option<f64>], period: &Period, longer_than: Duration) -> Option<Season> {
    fit(&history(values), period, longer_than).filter(|season| season.period() > Duration::ZERO)
}

fn season(values: &[Option<f64>]) -> Option<Season> {
    recurring(values, &Period::Auto, Duration::ZERO)
}

/// Noise, and so much more for `long` steps from `from` on, every day.
fn daily(days: usize, from: usize, long: usize, more: f64) -> Vec<Option<f64>> {
    let is_on = |i: usize| (from..from + long).contains(&(i % DAILY));
    (0..days * DAILY).map(|i| Some(noise(i) + if is_on(i) { more } else { 0.0 })).collect()
}

/// How far `value` is from the range that `season` expects in the middle of a step; 0 within it.
fn beyond(season: &Season, step: usize, value: f64) -> f64 {
    let Seasonal { center, low, high, .. } = season.at(Timestamp::default() + STEP * step as u32 + STEP / 2);
    value - value.clamp(center + low, center + high)
}

#[test]
fn a_period_is_found_on_a_trend_and_through_gaps() {
    for (n, period) in [(900, 288), (600, 60), (400, 24), (2016, 288)] {
        let mut values = wave(n, period, 0.05);
        values.iter_mut().step_by(17).for_each(|v| *v = None);
        let found = season(&values).unwrap_or_else(|| panic!("no season of {period} in {n}"));
        // Beside it there may be layers of nothing but a range, which noise makes where periods are few.
        let swing = |layer: &Layer| layer.center.iter().fold(0.0_f32, |most, center| most.max(center.abs()));
        let largest = found.layers.iter().max_by(|a, b| swing(a).total_cmp(&swing(b))).unwrap();
        let steps = largest.center.len() as i64;
        assert!((steps - period as i64).abs() <= 1 + period as i64 / 100, "{steps} for {period}");
    }
}

#[test]
fn the_profile_follows_the_wave_between_steps_as_well() {
    let asked = Period::OneOf(vec![STEP * 96]);
    let found = recurring(&wave(960, 96, 0.0), &asked, Duration::ZERO).unwrap();
    for tenth in 0..960 {
        let at = f64::from(tenth) / 10.0;
        // A step stands for its middle.
        let expect = 10.0 * ((at - 0.5) / 96.0 * std::f64::consts::TAU).sin();
        let got = found.at(Timestamp::from_millis((at * 300_000.0) as i64)).center;
        assert!((got - expect).abs() < 1.2, "at {at}: {got} for {expect}");
    }
}

#[test]
fn noise_and_constants_and_less_than_two_periods_have_no_season() {
    assert_eq!(season(&(0..600).map(|i| Some(noise(i))).collect::<Vec<_>>()), None);
    assert_eq!(season(&[Some(5.0); 600]), None);
    assert_eq!(season(&[]), None);
    assert_eq!(season(&[None; 600]), None);
    let day = Period::OneOf(vec![STEP * 288]);
    let asked = |n, longer_than| recurring(&wave(n, 288, 0.0), &day, longer_than);
    assert_eq!(asked(500, Duration::ZERO), None);
    assert!(asked(600, Duration::ZERO).is_some());
    assert_eq!(asked(600, STEP * 288), None);
}

#[test]
fn whole_days_are_known_once_there_were_two_even_if_nothing_recurs() {
    let known = |n: usize| {
        let values: Vec<_> = (0..n).map(|i| Some(noise(i))).collect();
        fit(&history(&values), &Period::Auto, Duration::ZERO)
    };
    assert_eq!(known(2 * DAILY - 1), None);
    let season = known(2 * DAILY).unwrap();
    assert!(season.knows_days() && season.level().0.abs() < 0.2, "{season:?}");
    assert_eq!(season.at(Timestamp::default()).center, 0.0);
}

#[test]
fn a_day_that_explains_little_is_found_and_noise_has_none() {
    let values = |size: f64| -> Vec<Option<f64>> {
        let day = |i: usize| (i as f64 / 288.0 * std::f64::consts::TAU).sin();
        (0..10 * 288).map(|i| Some(size * day(i) + noise(i))).collect()
    };
    let found = season(&values(0.5)).unwrap();
    assert_eq!(found.period(), Duration::from_hours(24));
    assert_eq!(season(&values(0.0)), None);
}

#[test]
fn what_happens_at_the_same_time_on_three_days_is_expected_then_and_at_no_other_hour() {
    let at_three = 3 * HOURLY;
    let found = season(&daily(3, at_three, 2, 20.0)).unwrap();
    for step in [at_three, at_three + 1] {
        assert_eq!(beyond(&found, step, 20.0), 0.0, "at step {step}");
        assert_eq!(beyond(&found, step + 3 * DAILY, 20.0), 0.0, "on the fourth day at step {step}");
    }
    for hour in (0..24).filter(|hour| !(2..=4).contains(hour)) {
        let off = beyond(&found, hour * HOURLY, 20.0);
        assert!(off > 15.0, "at {hour}: {off}");
    }
}

#[test]
fn what_happened_once_is_not_expected_again() {
    let mut values = daily(3, 0, 0, 0.0);
    values[DAILY + 3 * HOURLY] = Some(20.0);
    let off = season(&values).map_or(20.0, |found| beyond(&found, 3 * HOURLY, 20.0));
    assert!(off > 15.0, "{off}");
}

#[test]
fn a_new_daily_job_is_known_after_three_days_of_however_long_a_history() {
    let at_three = 3 * HOURLY;
    for days in [2, 4, 11] {
        let known_after = (1..=5).find(|repeats| {
            let mut values: Vec<_> = (0..days * DAILY).map(|i| Some(noise(i))).collect();
            values.extend(daily(*repeats, at_three, HOURLY, 20.0));
            let season = fit(&history(&values), &Period::Auto, Duration::ZERO);
            season.is_some_and(|season| beyond(&season, at_three + HOURLY / 2, 20.0) < 0.5)
        });
        assert_eq!(known_after, Some(3), "after {days} days without it");
    }
}

#[test]
fn a_short_daily_bump_may_be_missing_and_a_long_one_may_not() {
    let at_three = 3 * HOURLY;
    let short = season(&daily(7, at_three, HOURLY, 20.0)).unwrap();
    let long = season(&daily(7, at_three, 6 * HOURLY, 20.0)).unwrap();
    let middle = at_three + HOURLY / 2;
    for value in [0.0, 20.0] {
        let off = beyond(&short, middle, value);
        assert!(off.abs() < 0.5, "{off} for {value}");
    }
    let off = beyond(&long, at_three + 3 * HOURLY, 0.0);
    assert!(off < -15.0, "{off}");
}
