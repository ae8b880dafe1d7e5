use super::*;

fn labels(name: &str) -> Labels {
    Labels::new([("__name__", name)])
}

fn sample(name: &str, value: f64) -> Sample {
    Sample { labels: labels(name), value, at: None }
}

fn scrape(at: i64, samples: Vec<Sample>) -> Batch {
    Batch { origin: Origin::Scrape, at: Timestamp::from_millis(at), samples }
}

fn values(window: &Window, name: &str) -> Vec<(i64, Option<f64>)> {
    let view = window.view();
    let found = view.select(|l| l.name() == name);
    let column = view.series(found[0].1);
    (0..column.len()).map(|i| (column.time(i).millis(), column.get(i))).collect()
}

const LIMITS: Limits = Limits { samples: 4, bytes: 1 << 20 };

#[test]
fn a_series_missing_from_a_scrape_is_a_null_not_a_zero() {
    let mut window = Window::new(LIMITS);
    window.push(&scrape(1, vec![sample("a", 1.0), sample("b", 0.0)]));
    window.push(&scrape(2, vec![sample("b", 0.0)]));
    assert_eq!(values(&window, "a"), [(1, Some(1.0)), (2, None)]);
    assert_eq!(values(&window, "b"), [(1, Some(0.0)), (2, Some(0.0))]);
}

#[test]
fn only_the_newest_samples_are_kept_and_in_order() {
    let mut window = Window::new(LIMITS);
    for at in 0..500 {
        window.push(&scrape(at, vec![sample("a", at as f64)]));
    }
    let kept = values(&window, "a");
    assert_eq!(kept, (496..500).map(|at| (at, Some(at as f64))).collect::<Vec<_>>());
}

#[test]
fn what_is_not_newer_is_dropped_and_counted() {
    let mut window = Window::new(LIMITS);
    window.push(&scrape(10, vec![sample("a", 1.0)]));
    window.push(&scrape(10, vec![sample("a", 2.0)]));
    window.push(&scrape(9, vec![sample("a", 3.0)]));
    assert_eq!(values(&window, "a"), [(10, Some(1.0))]);
    assert_eq!(window.late(), 2);
}

#[test]
fn a_series_with_its_own_timestamps_keeps_them_and_is_not_marked_stale() {
    let stamped = |at| Sample { at: Some(Timestamp::from_millis(at)), ..sample("own", at as f64) };
    let mut window = Window::new(LIMITS);
    window.push(&scrape(100, vec![stamped(7)]));
    window.push(&scrape(200, vec![stamped(7)]));
    window.push(&scrape(300, vec![stamped(8)]));
    assert_eq!(values(&window, "own"), [(7, Some(7.0)), (8, Some(8.0))]);
    assert_eq!(window.late(), 0);
}

#[test]
fn what_is_stamped_far_ahead_is_refused_counted_and_moves_no_other_time() {
    let stamped = |ahead| {
        let at = Timestamp::from_millis(1_000_000) + Duration::from_secs(ahead);
        Sample { at: Some(at), ..sample("own", ahead as f64) }
    };
    let mut window = Window::new(LIMITS);
    window.push(&scrape(1_000_000, vec![sample("a", 1.0), stamped(600), stamped(601), stamped(1 << 40)]));
    assert_eq!(values(&window, "own"), [(1_600_000, Some(600.0))]);
    assert_eq!((window.ahead(), window.late(), window.refused()), (2, 0, 0));
    assert_eq!(window.newest_of(Origin::Scrape), Some(Timestamp::from_millis(1_000_000)));
}

#[test]
fn a_series_with_and_without_timestamps_keeps_the_axis_it_began_with() {
    let stamped = Sample { at: Some(Timestamp::from_millis(999)), ..sample("a", 9.0) };
    let mut window = Window::new(LIMITS);
    window.push(&scrape(1, vec![sample("a", 1.0), stamped]));
    window.push(&scrape(2, vec![sample("a", 2.0)]));
    assert_eq!(values(&window, "a"), [(1, Some(1.0)), (2, Some(2.0))]);
    assert_eq!((window.refused(), window.late()), (1, 0));
}

#[test]
fn a_series_beyond_the_byte_limit_is_refused_and_counted_while_the_held_ones_go_on() {
    let mut window = Window::new(Limits { samples: 100, bytes: 4 * Table::bytes_per_column(100) });
    let many: Vec<_> = (0..10).map(|i| sample(&format!("m{i}"), 1.0)).collect();
    window.push(&scrape(1, many.clone()));
    window.push(&scrape(2, many));
    assert_eq!(window.len(), 3, "one column's worth is the time axis");
    assert_eq!(window.refused(), 14);
    assert!(window.bytes() <= 4 * Table::bytes_per_column(100));
    assert_eq!(values(&window, "m0"), [(1, Some(1.0)), (2, Some(1.0))]);
}

#[test]
fn shrinking_gives_up_the_silent_first_then_the_many_and_keeps_the_rare() {
    let mut window = Window::new(Limits { samples: 100, bytes: 1 << 20 });
    window.push(&scrape(1, vec![sample("silent", 1.0)]));
    let many = (0..20).map(|i| {
        let labels = Labels::new([("__name__", "many".to_owned()), ("i", i.to_string())]);
        Sample { labels, value: 1.0, at: None }
    });
    window.push(&scrape(2, many.chain([sample("rare", 7.0)]).collect()));
    let each = Table::bytes_per_column(100);
    window.shrink(22 * each);
    let left = |window: &Window, name: &str| window.view().select(|l| l.name() == name).len();
    assert_eq!((left(&window, "silent"), left(&window, "many"), left(&window, "rare")), (0, 20, 1));
    window.shrink(5 * each);
    assert_eq!((left(&window, "many"), left(&window, "rare")), (3, 1));
    assert!(window.bytes() <= 5 * each);
    assert_eq!(values(&window, "rare"), [(1, None), (2, Some(7.0))]);
    window.push(&scrape(3, vec![sample("new", 1.0), sample("rare", 8.0)]));
    assert_eq!((left(&window, "many"), left(&window, "new")), (2, 1), "it is full, but not of what is rare");
    assert!(window.bytes() <= 5 * each);
}

#[test]
fn many_series_of_one_name_do_not_keep_out_the_few_of_another() {
    let mut window = Window::new(Limits { samples: 100, bytes: 12 * Table::bytes_per_column(100) });
    let many = |i: usize| {
        let labels = Labels::new([("__name__", "many".to_owned()), ("i", i.to_string())]);
        Sample { labels, value: 1.0, at: None }
    };
    for at in 1..4 {
        let rare = ["a", "b", "c"].map(|name| sample(name, at as f64));
        window.push(&scrape(at, (0..50).map(many).chain(rare).collect()));
    }
    for name in ["a", "b", "c"] {
        assert_eq!(values(&window, name), [(1, Some(1.0)), (2, Some(2.0)), (3, Some(3.0))]);
    }
    assert_eq!(window.len(), 11);
    assert!(window.bytes() <= window.limits().bytes);
}

#[test]
fn a_full_window_gives_up_what_is_gone_before_anything_that_lives() {
    let mut window = Window::new(Limits { samples: 100, bytes: 12 * Table::bytes_per_column(100) });
    let pod = |i: i64| {
        let labels = Labels::new([("__name__", "pod".to_owned()), ("id", format!("{i:03}"))]);
        Sample { labels, value: 1.0, at: None }
    };
    let held = |window: &Window| {
        let found = window.view().select(|labels| labels.name() == "pod");
        found.iter().map(|(l, _)| l.get("id").unwrap().parse().unwrap()).collect::<Vec<i64>>()
    };
    for at in 1..50 {
        // Two pods live at a time, and names run backwards so that order by name cannot help.
        let pods = [pod(500 - at), pod(501 - at)];
        let nic = if at < 30 { sample("eth0", 1.0) } else { sample("ens5", 1.0) };
        window.push(&scrape(at, pods.into_iter().chain([nic, sample("up", 1.0)]).collect()));
        assert_eq!(window.refused(), 0, "at {at}");
        assert!(window.bytes() <= window.limits().bytes);
    }
    assert_eq!(held(&window), (451..460).collect::<Vec<_>>(), "those seen last");
    assert_eq!(values(&window, "ens5").iter().filter(|(_, value)| value.is_some()).count(), 20);
    assert_eq!(window.view().select(|labels| labels.name() == "eth0").len(), 0);
}

#[test]
fn very_many_series_are_refused_in_passing_and_a_batch_displaces_only_so_many() {
    let mut window = Window::new(Limits { samples: 10, bytes: 2_000 * Table::bytes_per_column(10) });
    let of = |name: String, id: usize| {
        let labels = Labels::new([("__name__", name), ("id", id.to_string())]);
        Sample { labels, value: 1.0, at: None }
    };
    let many = || (0..2_000).map(|id| of("many".to_owned(), id));
    window.push(&scrape(1, many().collect()));
    let held = |window: &Window, name: &str| window.view().select(|l| l.name() == name).len();
    assert_eq!(held(&window, "many"), 1_999);
    // As many families as series, and stamped ones: counting what is held for each of them would not end.
    let stamped =
        (0..100_000).map(|id| Sample { at: Some(Timestamp::from_millis(5)), ..of("own".to_owned(), id) });
    let families = (0..200_000).map(|id| of(format!("family{id}"), id));
    window.push(&scrape(2, many().chain(families).chain(stamped).collect()));
    assert_eq!(held(&window, "many"), 1_999 - MOST_WAYS);
    assert!(window.bytes() <= window.limits().bytes);
}

#[test]
fn what_was_frozen_thaws_to_the_same_window() {
    let stamped = |at| Sample { at: Some(Timestamp::from_millis(at)), ..sample("own", at as f64) };
    let mut window = Window::new(LIMITS);
    for at in 1..400 {
        let some = (at % 3 > 0).then(|| sample("b", -at as f64));
        let batch = [sample("a", at as f64), stamped(at - 1)].into_iter().chain(some);
        window.push(&scrape(at, batch.collect()));
    }
    window.push(&Batch { origin: Origin::Probe, ..scrape(5, vec![sample("p", 1.0)]) });
    let mut thawed = Window::thaw(LIMITS, &window.freeze());
    for name in ["a", "b", "own", "p"] {
        assert_eq!(values(&thawed, name), values(&window, name), "{name}");
    }
    for window in [&mut window, &mut thawed] {
        window.push(&scrape(400, vec![sample("a", 0.0), stamped(400)]));
    }
    for name in ["a", "b", "own"] {
        assert_eq!(values(&thawed, name), values(&window, name), "{name} after a further scrape");
    }
    let small = Limits { samples: 2, bytes: 2 * Table::bytes_per_column(2) };
    let less = Window::thaw(small, &window.freeze());
    assert_eq!(less.len(), 1, "what finds no room is left out");
    assert!(less.bytes() <= small.bytes);
}

#[test]
fn a_series_silent_for_a_whole_window_gives_its_place_back() {
    let mut window = Window::new(LIMITS);
    window.push(&scrape(0, vec![sample("gone", 1.0)]));
    let before = window.generation();
    for at in 1..400 {
        window.push(&scrape(at, vec![sample("a", 1.0)]));
    }
    assert_eq!(window.len(), 1);
    assert!(window.generation() > before);
    assert_eq!(window.bytes(), 2 * Table::bytes_per_column(LIMITS.samples), "the time axis and one column");
}
