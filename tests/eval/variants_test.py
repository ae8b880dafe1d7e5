"""Tests of the driver with variants and with an operations suite: the real program, a stand-in scorer and a stand-in suite."""
import json
import shutil
import unittest

import steps
import tiny
from fixtures import ASKED, directory_for, run_driver, tiny_bundle


class Comparison(unittest.TestCase):
    def setUp(self):
        self.directory = directory_for(self)
        self.bundles = [tiny_bundle(self), tiny_bundle(self, tiny.SECOND)]

    def variant(self, name, text):
        config = self.directory / f"{name}.yml"
        config.write_text(text)
        return "--variant", f"{name}={ASKED.program},{config}"

    def run_it(self, *flags):
        bundles = [word for path in self.bundles for word in ("--bundle", path)]
        return run_driver(self.directory, *bundles, *flags)

    def test_variants_are_compared_on_all_bundles_and_what_was_replayed_is_kept(self):
        flags = [*self.variant("base", "# the default\n"), *self.variant("deaf", "detector: {ensemble_threshold: 0.99}\n")]
        done = self.run_it(*flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("14 replays, 2 at a time; 0 are there already", done.stderr)
        self.assertEqual((self.directory / "out" / "comparison.md").read_text(), done.stdout)
        self.assertRegex(done.stdout, r"## deaf less base\n\n.*\n.*\n\| hosts \| 3 \| 3 \|.*\n\| pods \| 2 \| 2 \|.*\n\| quiet \| 2 \| 0 \| – ")
        self.assertRegex(done.stdout, r"\| deaf \| .* \| \*\*(goes|undecided)\*\* \|")
        self.assertRegex(done.stdout, r"## Learning curve\n\n.*\n.*\n\| 1 \| 2 \| .* %\) \|\n")
        self.assertRegex(done.stdout, r"## Each family held out\n\n.*\n.*\n\| hosts \| base \| ")

        again = self.run_it(*flags, *self.variant("third", "detector: {ensemble_threshold: 0.7}\n"), "--family", "hosts")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn("3 replays, 2 at a time; 6 are there already", again.stderr)

        pooled = self.run_it(*flags, "--pool", "hosts,pods")
        self.assertIn("0 replays, 2 at a time; 14 are there already", pooled.stderr)
        self.assertRegex(pooled.stdout, r"\| hosts\+pods \| 5 \| 5 \|")
        self.assertIn("It needs two families with labels", pooled.stdout)

    def test_what_cannot_be_compared_is_refused_before_anything_is_replayed(self):
        one = self.variant("base", "")
        self.assertRegex(self.run_it(*one).stderr, "tests/eval/run: --variant: one is nothing to compare")
        self.assertRegex(self.run_it(*one, "--program", ASKED.program).stderr, "--variant goes with none of --program")
        self.assertRegex(run_driver(self.directory).stderr, "--bundle DIR or --suite DIR is required")
        self.bundles.append(self.bundles[0])
        self.assertRegex(self.run_it(*one, *self.variant("other", "#")).stderr, "hosts/a is there twice")

    def test_a_configuration_that_the_program_refuses_is_named(self):
        done = self.run_it(*self.variant("base", ""), *self.variant("bad", "no_such_key: 1\n"), "--family", "quiet")
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"tests/eval/run: backtest of .* failed .*no_such_key")


class Suite(unittest.TestCase):
    def setUp(self):
        self.directory = directory_for(self)
        self.suite = self.directory / "suite"
        self.suite.mkdir()
        shutil.copy(steps.HERE / "stand_in_suite.py", self.suite / "ops.py")

    def test_a_suite_is_run_on_each_variant_and_seed_and_kept(self):
        flags = ["--suite", self.suite, "--seeds", "1,2", "--situations", "fault", "job"]
        for name, threshold in (("base", 0.6), ("deaf", 0.99)):
            (self.directory / f"{name}.yml").write_text(f"detector: {{ensemble_threshold: {threshold}}}\n")
            flags += ["--variant", f"{name}={ASKED.program},{self.directory / name}.yml"]
        done = run_driver(self.directory, *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, r"base, seed 2: fault: \d+ alerts")
        self.assertRegex(done.stdout, r"\| base \| taught \| 2 \| 2 of 2 \| .* \| 0 of 0 \|\n\| base \| cold \| 4 \| ")
        self.assertRegex(done.stdout, r"### deaf less base, operations\n\n.*\n.*\n\| taught \| 1 \| ")
        again = run_driver(self.directory, *flags)
        self.assertEqual(again.stdout, done.stdout)
        self.assertNotIn("alerts", again.stderr)

    def test_one_program_alone_is_tried_without_a_bundle(self):
        done = run_driver(self.directory, "--suite", self.suite, "--seeds", "1", "--situations", "plain", "--program", ASKED.program)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"\| dwcp-anomaly \| taught \| 1 \| 0 of 0 \| ")
        self.assertEqual(json.loads(next((self.directory / "out").rglob("operations.json")).read_text())[0]["case"], "plain")

    def test_what_fails_is_named(self):
        asked = lambda *flags: run_driver(self.directory, "--program", ASKED.program, *flags).stderr
        self.assertRegex(asked("--suite", self.directory / "none"), r"none/ops\.py: no suite there; --suite must name")
        self.assertRegex(asked("--suite", self.suite, "--seeds", "one"), r"--seeds one: it must be numbers")
        (self.suite / "ops.py").write_text("raise SystemExit('a broken suite')")
        self.assertRegex(asked("--suite", self.suite), r"ops\.py failed on dwcp-anomaly, seed 1 \(1\): a broken suite")
