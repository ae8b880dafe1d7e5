"""The evaluation's own test, on a bundle it makes: the driver, the peers, the split, the figures and the tables."""
import argparse
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

import ablation
import bundle
import figures
import peers
import steps
import table
import thresholds
import tiny
from fixtures import ASKED, counted, run_driver, tiny_bundle
from protocol_test import Curve, Differences, Operations, Rule, Variants
from variants_test import Comparison, Suite

# Test classes of other files, which unittest finds by their being here.
ELSEWHERE = (Variants, Differences, Rule, Curve, Operations, Comparison, Suite)


class Bundle(unittest.TestCase):
    def test_entities_alternate_between_the_parts_and_keep_theirs_whatever_is_chosen(self):
        directory = tiny_bundle(self)
        names = lambda **chosen: [(e.family, e.name, e.part) for e in bundle.entities(directory, **chosen)]
        everyone = [("hosts", "a", "dev"), ("hosts", "b", "check"), ("pods", "a", "dev"), ("pods", "b", "check")]
        self.assertEqual(names(), everyone)
        self.assertEqual(names(part="check"), [everyone[1], everyone[3]])
        self.assertEqual(names(families=["pods"], part="check"), [everyone[3]])

    def test_a_manifest_of_some_entities_leaves_them_their_part_and_their_files(self):
        directory = tiny_bundle(self)
        chosen = bundle.entities(directory, part="check")
        (directory / "some").mkdir()
        bundle.write_manifest(chosen, directory / "some" / "manifest.json")
        self.assertEqual(bundle.entities(directory / "some"), chosen)

    def test_an_unusable_bundle_is_named_with_a_remedy(self):
        directory = tiny_bundle(self)
        with self.assertRaisesRegex(bundle.BundleError, "nowhere/manifest.json.*--bundle"):
            bundle.entities(directory / "nowhere")
        with self.assertRaisesRegex(bundle.BundleError, "no family moon.*hosts, pods"):
            bundle.entities(directory, families=["moon"])
        (directory / "manifest.json").write_text('{"entities": [{"family": "hosts"}]}')
        with self.assertRaisesRegex(bundle.BundleError, "entity 0 has no 'name'"):
            bundle.entities(directory)

    def test_bundles_are_put_together_by_family_and_no_entity_changes_its_half(self):
        directories = [tiny_bundle(self), tiny_bundle(self, tiny.SECOND)]
        found = bundle.entities(directories)
        self.assertEqual([(e.family, e.name) for e in found], [*tiny.FIRST, *tiny.SECOND])
        self.assertEqual([e.part for e in found if e.family == "hosts"], ["dev", "check", "dev"])
        self.assertEqual([e.label_column for e in bundle.entities(directories, families=["quiet"])], [None, None])

    def test_an_entity_that_is_in_two_bundles_is_refused(self):
        directories = [tiny_bundle(self), tiny_bundle(self)]
        with self.assertRaisesRegex(bundle.BundleError, "hosts/a is there twice, as .* and .*leave one out of its manifest.json"):
            bundle.entities(directories)

    def test_a_scorer_is_told_of_a_recording_without_labels_as_one_in_which_nothing_is_labelled(self):
        directory = tiny_bundle(self, tiny.SECOND)
        bundle.write_manifest(bundle.entities(directory), directory / "told.json")
        (directory / "told.json").rename(directory / "manifest.json")
        quiet = [e for e in bundle.entities(directory) if e.family == "quiet"]
        header, *rows = quiet[0].file.read_text().splitlines()
        self.assertEqual((quiet[0].label_column, header), ("label", "t,load,memory,latency,label"))
        self.assertEqual((len(rows), {row[-2:] for row in rows}), (tiny.ROWS, {",0"}))


class Peers(unittest.TestCase):
    def test_no_peer_looks_ahead(self):
        values = tiny.values(1)
        for name, peer in peers.PEERS.items():
            whole = peer(values, tiny.TRAIN, 60)
            for end in (tiny.TRAIN + 1, tiny.FAULT.start, tiny.FAULT.start + 7, 800):
                with self.subTest(name, end=end):
                    part = peer(values[:end], tiny.TRAIN, 60)
                    np.testing.assert_allclose(part.score, whole.score[: len(part.score)], rtol=1e-9, atol=1e-12)
                    np.testing.assert_array_equal(part.alert, whole.alert[: len(part.alert)])

    def test_every_peer_judges_all_rows_after_the_training_rows_and_sees_a_plain_fault(self):
        values = tiny.values(2)
        fault = np.isin(np.arange(tiny.TRAIN, tiny.ROWS), tiny.FAULT)
        for name, peer in peers.PEERS.items():
            with self.subTest(name):
                judged = peer(values, tiny.TRAIN, 60)
                self.assertEqual((len(judged.score), len(judged.alert)), (tiny.ROWS - tiny.TRAIN,) * 2)
                self.assertTrue(np.isfinite(judged.score).all())
                self.assertTrue(peer is peers.chance or judged.alert[fault].any())

    def test_a_fitted_peer_sees_no_training_row_of_the_last_third_and_no_later_one_while_it_fits(self):
        seen = []
        fit = lambda rows: seen.append(len(rows)) or (lambda new: new[:, 0])
        values = np.arange(4000.0)[:, None]
        judged = peers.fitted(fit, values, 3000, 3600)
        self.assertEqual(seen, [2100])
        expected = np.quantile(values[2100:3000], 1 - 1 / 24)
        np.testing.assert_array_equal(judged.alert, values[3000:, 0] > expected)

    def test_trailing_moments_are_those_of_the_rows_that_have_a_value(self):
        random = np.random.default_rng(3)
        values = random.normal(1e3, 1, (60, 2))
        values[random.random((60, 2)) < 0.3] = np.nan
        mean, deviation = peers.rolling_moments(values, 7)
        for row in range(len(values)):
            for metric in range(2):
                last = values[max(0, row - 6) : row + 1, metric]
                last = last[~np.isnan(last)]
                expected = (last.mean(), last.std()) if len(last) else (np.nan, np.nan)
                np.testing.assert_allclose((mean[row, metric], deviation[row, metric]), expected, atol=1e-6)

    def test_an_alert_waits_until_its_condition_has_held(self):
        condition = np.array([0, 1, 1, 1, 1, 0, 1, 1, 0], dtype=bool)[:, None]
        self.assertEqual(peers.held(condition, 2)[:, 0].nonzero()[0].tolist(), [3, 4])
        np.testing.assert_array_equal(peers.held(condition, 0), condition)

    def test_a_gap_takes_the_value_before_it(self):
        directory = tiny_bundle(self)
        entity = bundle.entities(directory)[0]
        entity.file.write_text("t,load,memory,latency,label\n0,,1,2,0\n60,3,,5,0\n120,6,7,,0\n")
        np.testing.assert_array_equal(peers.load(entity), [[0, 1, 2], [3, 1, 5], [6, 7, 5]])


class Aggregates(unittest.TestCase):
    def test_counts_are_pooled_and_rankings_averaged(self):
        silent = {"alerts": 0, "true_alerts": 0, "false_alerts": 0, "delays": []}
        rows = [
            counted(),
            counted(vus_pr=0.7, alert_time=0.3, incidents=1, caught=0, **silent),
            counted(vus_pr=float("nan"), incidents=0, caught=0, delays=[]),
        ]
        found = figures.of_family("hosts", rows)
        np.testing.assert_allclose(found.values, [0.6, 3 / 5, 10 / 20, 10 / 30, 120, 0.5 / 3])

    def test_what_was_never_counted_has_no_figure(self):
        silent = counted(incidents=0, caught=0, alerts=0, true_alerts=0, false_alerts=0, delays=[])
        found = figures.of_family("hosts", [silent])
        self.assertTrue(np.isnan([found["inc_recall"], found["alert_prec"], found["delay_s"]]).all())
        self.assertTrue(np.isnan(found.interval("alert_prec")).all())
        self.assertEqual(found["false_per_day"], 0)

    def test_entities_that_are_all_alike_leave_no_doubt_and_others_do(self):
        alike = figures.of_family("hosts", [counted()] * 5)
        self.assertEqual(alike.interval("inc_recall"), (0.75, 0.75))
        mixed = figures.of_family("hosts", [counted(), counted(caught=1)] * 3)
        low, high = mixed.interval("inc_recall")
        self.assertTrue(0.25 <= low < mixed["inc_recall"] < high <= 0.75)

    def test_the_bootstrap_is_the_same_every_time_and_for_every_method(self):
        rows = [counted(caught=caught) for caught in (0, 1, 2, 4)]
        first, again = figures.of_family("hosts", rows), figures.of_family("hosts", rows)
        np.testing.assert_array_equal(first.draws, again.draws)
        better = figures.of_family("hosts", [row | {"caught": min(4, row["caught"] + 1)} for row in rows])
        self.assertTrue((better.draws[:, 1] >= first.draws[:, 1]).all())

    def test_a_mean_is_that_of_its_families_and_wants_them_all(self):
        scored = {"smd": [counted()], "asd": [counted(caught=1)], "jumpstarter": [counted(caught=2, vus_pr=0.2)]}
        found = figures.groups(scored)
        self.assertEqual(set(found), {"smd", "asd", "jumpstarter", "core"})
        self.assertAlmostEqual(found["core"]["inc_recall"], 0.5)
        self.assertAlmostEqual(found["core"]["vus_pr"], 0.4)
        self.assertNotIn("core", figures.groups({"smd": scored["smd"], "asd": scored["asd"]}))

    def test_a_scorer_that_adds_up_otherwise_is_refused(self):
        found = figures.groups({"hosts": [counted()]})
        summary = {"hosts": dict(zip(figures.FIGURES, found["hosts"].values))}
        table.agree("ours", found, summary)
        with self.assertRaisesRegex(SystemExit, "ours, hosts"):
            table.agree("ours", found, {"hosts": summary["hosts"] | {"inc_recall": 0.8}})


class Tables(unittest.TestCase):
    scored = {family: [counted(), counted(caught=1)] for family in figures.MEANS["core"]}
    better = {family: [row | {"caught": row["caught"] + 1} for row in rows] for family, rows in scored.items()}

    def test_methods_stand_side_by_side_with_what_they_cost_on_those_families(self):
        run = {"rows": 1000, "judge_seconds": 0.002, "fit_seconds": 3.0}
        cost = {"runs": [run | {"family": "smd"}, run | {"family": "nezha", "judge_seconds": 9.0, "fit_seconds": 9.0}]}
        shown = table.side_by_side("core", {"ours": figures.groups(self.scored)}, {"ours": cost})
        row = shown.splitlines()[-1]
        self.assertTrue(row.startswith("| ours | 0.500 [0.500, 0.500] | 0.500 ["), row)
        self.assertTrue(row.endswith(" | 2.0 | 3.00 |"), row)

    def test_a_difference_is_taken_draw_by_draw(self):
        methods = {"ours": figures.groups(self.better), "theirs": figures.groups(self.scored)}
        shown = table.differences("core", methods).splitlines()
        self.assertEqual(len(shown), 3)
        self.assertIn("| theirs | +0.000 [+0.000, +0.000] | +0.250 [+0.250, +0.250] |", shown[-1])

    def test_figures_without_a_value_are_a_dash(self):
        silent = counted(alerts=0, true_alerts=0, false_alerts=0, delays=[])
        shown = table.own_table(figures.groups({"hosts": [silent]})).splitlines()[-1]
        self.assertEqual(shown, "| hosts | 1 | 4 | 0.500 | 0.750 | – | 0.00 | – | 10.0 |")


class Thresholds(unittest.TestCase):
    def compared(self, **alerts):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        for name, alert in alerts.items():
            path = Path(directory.name) / name / "hosts" / "a.csv"
            path.parent.mkdir(parents=True)
            evidence = "2.5" if name == "otherwise" else "1.5"
            path.write_text("evidence,alert\n" + "".join(f"{evidence},{row}\n" for row in alert))
        base, *others = (Path(directory.name) / name for name in alerts)
        counts, complaints = thresholds.compare(base, [base, *others])
        return list(counts.values()), complaints

    def test_alerts_within_those_of_the_threshold_below_are_counted(self):
        counts, complaints = self.compared(low="0110011", middle="0111001", high="0100000")
        self.assertEqual((counts, complaints), ([[2, 4], [2, 4], [1, 1]], []))

    def test_an_alert_elsewhere_and_another_evidence_are_named(self):
        _, complaints = self.compared(low="0110", high="0101")
        self.assertRegex(" ".join(complaints), r"high/hosts/a\.csv: an alert that the threshold below has not, rows \[3\]")
        _, complaints = self.compared(low="0110", otherwise="0110")
        self.assertRegex(" ".join(complaints), r"otherwise/hosts/a\.csv: another evidence")


class Ablation(unittest.TestCase):
    def test_every_place_is_in_the_source_once(self):
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(directory) / "src"
            shutil.copytree(steps.REPOSITORY / "src", copy)
            ablation.leave_out(copy)
            source = "".join(path.read_text() for path in copy.rglob("*.rs"))
        for name, _, _ in ablation.CODE:
            self.assertIn(f'crate::without("{name}")', source)

    def test_a_place_that_is_not_there_is_named(self):
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(directory) / "src"
            shutil.copytree(steps.REPOSITORY / "src", copy)
            (copy / "detect" / "vote.rs").write_text("")
            with self.assertRaisesRegex(ablation.PlaceError, r"curve: .* stands 0 times in src/detect/vote\.rs"):
                ablation.leave_out(copy)


class Driver(unittest.TestCase):
    def run_it(self, directory, *flags, driver="evaluate.py"):
        return run_driver(directory, "--bundle", directory, *flags, driver=driver)

    def test_a_bundle_becomes_scores_and_tables(self):
        directory = tiny_bundle(self)
        done = self.run_it(directory, "--program", ASKED.program, "--peers")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((directory / "out" / "table.md").read_text(), done.stdout)
        for method in ["dwcp-anomaly", *map(peers.directory_of, peers.PEERS)]:
            self.assertIn(f"| hosts | {method} |", done.stdout)
            for name in ("hosts/a", "hosts/b", "pods/a", "pods/b"):
                rows = len((directory / "out" / method / f"{name}.csv").read_text().splitlines()) - 1
                self.assertIn(rows, (tiny.ROWS, tiny.ROWS - tiny.TRAIN))
        for part in ("all", "dev", "check"):
            self.assertIn(f"## dwcp-anomaly, {part}\n", done.stdout)
        self.assertRegex(done.stdout, r"4 replays, 2 at a time, took .* 3600 rows, .* [1-9]\d* MiB")
        ours = table.read(directory / "out", "dwcp-anomaly", "score")["summary"]
        self.assertEqual({family: ours[family]["inc_recall"] for family in ("hosts", "pods")}, {"hosts": 1, "pods": 1})

    def test_a_part_of_a_family_is_one_entity_here(self):
        directory = tiny_bundle(self)
        done = self.run_it(directory, "--program", ASKED.program, "--family", "pods", "--part", "check")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([p.name for p in (directory / "out").rglob("*.csv")], ["b.csv"])
        self.assertRegex(done.stdout, r"^## dwcp-anomaly, check\n(.*\n)+\| pods \| 1 \| 1 \|")
        self.assertNotIn(", all", done.stdout)

    def test_higher_thresholds_are_replayed_and_compared(self):
        directory = tiny_bundle(self)
        done = self.run_it(directory, "--program", ASKED.program, "--family", "hosts", "--thresholds", "0.95", "0.7")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"## A raised threshold\n\n.*\n.*\n\| default \| .*\n\| 0\.7 \| .*\n\| 0\.95 \| ")

    def test_without_an_ingredient_it_is_evaluated_again_and_what_is_known_is_kept(self):
        directory = tiny_bundle(self)
        flags = ("--program", ASKED.program, "--family", "hosts", "--without", "none", "persistence")
        done = self.run_it(directory, *flags, driver="ablation.py")
        self.assertEqual(done.returncode, 0, done.stderr)
        ours = lambda name: (directory / "out" / name / "dwcp-anomaly" / "hosts" / "a.csv").read_text()
        self.assertNotEqual(ours("none"), ours("persistence"))
        again = self.run_it(directory, *flags, driver="ablation.py")
        self.assertEqual((again.stdout, again.stderr), (done.stdout, ""))

    def test_what_fails_is_named(self):
        directory = tiny_bundle(self)
        failed = self.run_it(directory, "--program", "/bin/false")
        self.assertNotEqual(failed.returncode, 0)
        self.assertRegex(failed.stderr, r"tests/eval/run: backtest of .*\.csv.* failed \(1\)")
        missing = self.run_it(directory, "--program", "/bin/false", "--scorer", directory / "none.py")
        self.assertRegex(missing.stderr, r"none\.py: no scorer there.*--scorer")


def main():
    parser = argparse.ArgumentParser(prog="tests/eval/run --self-test", description=__doc__)
    parser.add_argument("--program", type=Path, default=steps.TARGET / "debug" / steps.OURS)
    parser.add_argument("--scorer", type=Path, help="a bundle's score.py; a stand-in by default")
    parser.parse_args(namespace=ASKED)
    if not ASKED.program.is_file():
        sys.exit(f"{ASKED.program}: no program there; run `cargo build` or name one with --program")
    if ASKED.scorer is None:
        print("no --scorer: a stand-in takes its place, so the scorer itself is not tried", file=sys.stderr)
        ASKED.scorer = steps.HERE / "stand_in_scorer.py"
    unittest.main(argv=[sys.argv[0]])


if __name__ == "__main__":
    main()
