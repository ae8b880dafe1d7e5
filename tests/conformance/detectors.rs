//! Each detector's arithmetic against a reference implementation's, which `reference/make.py` has written down.

use std::collections::VecDeque;
use std::path::Path;

use dwcp_anomaly::detect::Scorer;
use dwcp_anomaly::detect::calibrate::Tail;
use dwcp_anomaly::detect::esd;
use dwcp_anomaly::detect::isolation::{Forest, Grown};
use dwcp_anomaly::detect::lstm::{Autoencoder, Buffers, Course};
use dwcp_anomaly::detect::shape::Shape;
use dwcp_anomaly::detect::surprisal::Raw;
use dwcp_anomaly::detect::zscore::Rolling;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn reference(name: &str) -> Value {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/reference");
    let text = std::fs::read_to_string(directory.join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn get<T: DeserializeOwned>(value: &Value, key: &str) -> T {
    serde_json::from_value(value[key].clone()).unwrap_or_else(|error| panic!("{key}: {error}"))
}

fn cases(value: &Value) -> &[Value] {
    value["cases"].as_array().unwrap()
}

/// Whether `ours` are `theirs`, to within `off` each.
fn same(what: &str, ours: &[f64], theirs: &[f64], off: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!((ours - theirs).abs() <= off, "{what}, at {at}: {ours} for {theirs}");
    }
}

fn grown(node: &Value) -> Grown {
    match node.get("rows") {
        Some(rows) => Grown::Leaf(rows.as_u64().unwrap() as usize),
        None => Grown::Split {
            feature: get(node, "feature"),
            at: get(node, "at"),
            left: get(node, "left"),
            right: get(node, "right"),
        },
    }
}

#[test]
fn on_scikit_learns_trees_rows_have_its_path_lengths_and_its_scores() {
    let theirs = reference("isolation_forest.json");
    let trees: Vec<Vec<Grown>> =
        get::<Vec<Vec<Value>>>(&theirs, "trees").iter().map(|t| t.iter().map(grown).collect()).collect();
    let several = |node: &Grown| matches!(node, Grown::Leaf(rows) if *rows > 2);
    assert!(trees.iter().flatten().any(several), "no leaf whose path goes on below it");
    let forest = Forest::grown(&trees, get(&theirs, "sample_size")).unwrap();
    let (rows, depths): (Vec<Shape>, Vec<Vec<f64>>) = (get(&theirs, "rows"), get(&theirs, "depths"));
    for (at, row) in rows.iter().enumerate() {
        let paths: Vec<f64> = forest.paths(row).collect();
        let expect: Vec<f64> = depths.iter().map(|of_tree| of_tree[at]).collect();
        // The same sums, but for the last bits of a logarithm.
        same(&format!("paths of row {at}"), &paths, &expect, 1e-14);
    }
    let scores: Vec<f64> = rows.iter().map(|row| forest.isolation(row)).collect();
    same("scores", &scores, &get::<Vec<f64>>(&theirs, "scores"), 1e-15);
}

#[test]
fn a_tree_that_does_not_hang_together_is_refused() {
    let split = |feature, left, right| Grown::Split { feature, at: 0.0, left, right };
    let leaf = Grown::Leaf(1);
    assert!(Forest::grown(&[vec![split(4, 1, 2), leaf, leaf]], 2).is_some());
    for tree in
        [vec![], vec![split(4, 1, 3), leaf, leaf], vec![split(5, 1, 2), leaf, leaf], vec![split(0, 0, 0)]]
    {
        assert!(Forest::grown(std::slice::from_ref(&tree), 2).is_none(), "{tree:?}");
    }
}

#[test]
fn esd_takes_out_as_many_as_the_test_written_down_from_the_paper() {
    let theirs = reference("esd.json");
    for (n, removed, lambda) in get::<Vec<(usize, usize, f64)>>(&theirs, "critical") {
        // What the expansion of Student's t leaves out: most with nine degrees of freedom, little with thirty.
        let off = if n - removed < 20 { 1e-4 } else { 1e-5 };
        same(&format!("{removed} of {n}"), &[esd::critical(n, removed)], &[lambda], off);
    }
    for (at, case) in cases(&theirs).iter().enumerate() {
        let sample: Vec<f64> = get(case, "sample");
        let kept = esd::without_outliers(&sample, get(case, "most"));
        assert_eq!(sample.len() - kept.len(), get::<usize>(case, "found"), "case {at}");
    }
}

#[test]
fn the_autoencoder_gives_back_what_the_same_weights_give_in_numpy() {
    let theirs = reference("lstm.json");
    let model: Autoencoder = get(&theirs, "model");
    let mut buffers = Buffers::default();
    for case in cases(&theirs) {
        let scaled: Vec<f32> = get(case, "scaled");
        let back: Vec<f64> = model.reconstruct(&scaled, &mut buffers).iter().map(|x| f64::from(*x)).collect();
        // f32 sums of a few dozen terms over two dozen steps.
        same("reconstruction", &back, &get::<Vec<f64>>(case, "back"), 1e-6);
        let rows: Vec<Vec<f64>> = get(case, "rows");
        let mut before: VecDeque<Vec<Option<f64>>> =
            rows.into_iter().map(|row| row.into_iter().map(Some).collect()).collect();
        let last = before.pop_back().unwrap();
        let mut raw = Raw::default();
        model.score(Course { before: &before, last: &last }, &mut buffers, &mut raw);
        let metrics: Vec<f64> = raw.metrics.iter().map(|score| score.unwrap()).collect();
        same("errors", &metrics, &get::<Vec<f64>>(case, "metrics"), 1e-6);
        same("error", &[raw.vector.unwrap()], &[get(case, "vector")], 1e-6);
    }
}

/// The scores of `make.py`: a congruential generator through the inverse of the generalised Pareto distribution.
fn generated(n: usize, shape: f64) -> Vec<f64> {
    let mut state = 12345_u32;
    let mut scores: Vec<f64> = (0..n)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let u = (f64::from(state) + 0.5) / 4_294_967_296.0;
            if shape == 0.0 { -u.ln() } else { (u.powf(-shape) - 1.0) / shape }
        })
        .collect();
    scores.sort_by(f64::total_cmp);
    scores
}

#[test]
fn the_tail_is_scipys_generalised_pareto_distribution_by_the_estimator_of_hosking_and_wallis() {
    for case in cases(&reference("pareto.json")) {
        let (n, shape): (usize, f64) = (get(case, "n"), get(case, "shape"));
        let tail = Tail::fit(&generated(n, shape)).unwrap();
        let scores: Vec<f64> = get(case, "scores");
        let ours: Vec<f64> = scores.iter().map(|score| tail.surprisal(*score)).collect();
        same(&format!("{n} of {shape}"), &ours, &get::<Vec<f64>>(case, "surprise"), 1e-12);
    }
}

#[test]
fn the_tail_is_as_close_to_scipys_own_fit_as_samples_allow() {
    let large = |case: &&Value| get::<usize>(case, "excesses") >= 200;
    let reference = reference("pareto.json");
    for case in cases(&reference).iter().filter(large) {
        let tail = Tail::fit(&generated(get(case, "n"), get(case, "shape"))).unwrap();
        let (scores, likely): (Vec<f64>, Vec<f64>) = (get(case, "scores"), get(case, "likely_surprise"));
        let (xi, m): (f64, f64) = (get(case, "likely_shape"), get(case, "excesses"));
        for (score, likely) in scores.iter().zip(likely) {
            // The shape of the likeliest fit has the standard error (1 + ξ) ÷ √m (Smith 1987); −log₁₀ p of an excess
            // of y e-folds moves by y² ÷ 2 ÷ ln 10 of it. Two fits of one sample differ by less than one error.
            let folds = (likely - 1.301) * std::f64::consts::LN_10;
            let error = (1.0 + xi) / m.sqrt() * (folds * folds / 2.0).max(folds) / std::f64::consts::LN_10;
            let ours = tail.surprisal(*score);
            assert!((ours - likely).abs() < error, "{ours} for {likely} ± {error}");
        }
    }
}

#[test]
fn the_rolling_window_has_numpys_median_and_scipys_deviation_from_it() {
    for case in cases(&reference("zscore.json")) {
        let mut rolling = Rolling::new(get(case, "window"));
        get::<Vec<f64>>(case, "values").into_iter().for_each(|value| rolling.learn(value));
        let ours = rolling.expectation().unwrap();
        let (expected, scale): (f64, f64) = (get(case, "expected"), get(case, "scale"));
        same("expected and scale", &[ours.expected, ours.scale], &[expected, scale], 1e-14);
        same("three scales out", &[ours.distance(expected - 3.0 * scale)], &[3.0], 1e-12);
    }
}
