"""Tests of how variants are named, compared, judged and chosen, on figures that are made up."""
import unittest
from unittest import mock

import numpy as np

import curve
import difference
import figures
import luck
import operations
import paired
import variants
import verdict
from fixtures import counted, directory_for

SIZE = 12  # entities of a family: enough for an interval


def family(**other):
    """Rows of a family, of which no two are alike."""
    return [counted(caught=at % 4, true_alerts=at % 4 + 1, vus_pr=0.3 + 0.02 * at, **other) for at in range(SIZE)]


def changed(rows, **by):
    return [row | {name: row[name] + more for name, more in by.items()} for row in rows]


def apart(base, variant, name="hosts"):
    before, after = figures.of_family(name, base), figures.of_family(name, variant)
    return difference.between(before, after, sum(row["incidents"] > 0 for row in base))


class Variants(unittest.TestCase):
    def files(self, **texts):
        directory = directory_for(self)
        for name, text in texts.items():
            (directory / name).write_text(text)
        return directory

    def test_a_variant_is_known_by_the_content_of_its_files_and_of_those_its_configuration_names(self):
        directory = self.files(one="program", other="program", config="detector: {priors: priors}", priors="{}")
        of = lambda program: variants.parsed(f"x={directory / program},{directory / 'config'}").digest
        first = of("one")
        self.assertEqual(of("other"), first)
        (directory / "priors").write_text("{1}")
        self.assertNotEqual(of("one"), first)
        self.assertNotEqual(variants.parsed(f"x={directory / 'one'}").digest, first)

    def test_what_could_not_be_compared_for_what_it_is_is_refused_with_a_remedy(self):
        directory = self.files(program="1", other="2", config="")
        program, other = directory / "program", directory / "other"
        refusals = [
            (["base"], r"--variant base: it must be NAME=PROGRAM"),
            (["a/b=x"], r"NAME of letters"),
            ([f"a={directory}/none"], r"variant a: .*/none: no such file"),
            ([f"a={program},{directory}/none.yml"], r"none\.yml: no such file"),
            ([f"a={program}"], r"one is nothing to compare; name the base first"),
            ([f"a={program}", f"a={other}"], r"a is there twice"),
            ([f"a={program}", f"b={program}"], r"a and b are the same program and configuration"),
            ([f"a={program}", f"b={other},{directory}/config"], r"a has no configuration.*an empty file is one"),
        ]
        for texts, message in refusals:
            with self.subTest(texts), self.assertRaisesRegex(variants.VariantError, message):
                variants.checked([variants.parsed(text) for text in texts], 2)

    def test_an_environment_that_would_configure_all_of_them_is_refused(self):
        directory = self.files(program="1", other="2")
        two = [variants.parsed(f"{name}={directory / name}") for name in ("program", "other")]
        with mock.patch.dict("os.environ", {"DWCP__INCIDENT__FOR": "1"}):
            with self.assertRaisesRegex(variants.VariantError, "DWCP__INCIDENT__FOR would configure every variant"):
                variants.checked(two, 2)
        self.assertEqual(variants.checked(two, 2), two)


class Differences(unittest.TestCase):
    def test_the_objective_is_the_mean_of_ranking_and_of_f1_at_the_one_threshold(self):
        of = lambda **other: difference.measured(figures.as_they_are([counted(**other)])[None])[0][0]
        self.assertAlmostEqual(of(), (0.5 + 2 * 0.75 * 0.5 / 1.25) / 2)
        self.assertAlmostEqual(of(alerts=0, true_alerts=0, caught=0), 0.25)
        self.assertTrue(np.isnan(of(incidents=0, caught=0)))

    def test_a_difference_that_is_the_same_in_every_entity_has_no_doubt_in_it_however_unlike_the_entities_are(self):
        rows = family()
        found = apart(rows, changed(rows, vus_pr=0.1))
        self.assertAlmostEqual(found["vus_pr"], 0.1)
        np.testing.assert_allclose(found.interval("vus_pr"), 0.1)
        np.testing.assert_allclose(found.interval("objective"), 0.05)
        self.assertEqual(found.interval("inc_recall"), (0, 0))

    def test_a_family_in_which_nothing_is_labelled_has_false_alerts_alone(self):
        rows = [row | {"incidents": 0, "caught": 0, "vus_pr": np.nan} for row in family()]
        found = apart(rows, changed(rows, false_alerts=2))
        self.assertTrue(np.isnan([found[name] for name in difference.MEASURES[:4]]).all())
        np.testing.assert_allclose((found["false_per_day"], *found.interval("false_per_day")), 0.2)

    def test_an_interval_of_few_is_as_wide_as_students_t_and_one_entity_has_none(self):
        # For three values whose mean is 0: t times the standard error of the mean.
        self.assertAlmostEqual(difference.stretch(3), np.sqrt(3 / 2) * 4.30265 / 1.95996, places=4)
        self.assertLess(difference.stretch(200), 1.02)
        one = apart([counted()], [counted(vus_pr=0.9)])
        self.assertTrue(np.isnan(one.interval("vus_pr")).all())
        rows = family()
        mean = difference.mean_of([one, apart(rows, changed(rows, vus_pr=0.1))])
        self.assertAlmostEqual(mean["vus_pr"], 0.1)

    def test_few_entities_that_go_one_way_by_luck_seldom_look_like_a_proof(self):
        random, misses = np.random.default_rng(5), 0
        for _ in range(200):
            change = random.normal(0, 0.1, 4)
            draws = change[random.integers(4, size=(500, 4))].mean(axis=1)
            low, high = figures.interval(change.mean() + difference.stretch(4) * (draws - change.mean()))
            misses += low > 0 or high < 0
        self.assertLess(misses, 20)

    def test_families_of_one_source_are_one_family(self):
        found = difference.pooled({"kpi": [1], "smd": [2], "kpimv": [3]}, ["kpi,kpimv", "smd,moon"])
        self.assertEqual(found, {"kpi+kpimv": [1, 3], "smd": [2]})

    def test_the_table_says_difference_and_interval_of_each_family_and_mean(self):
        rows = family()
        found = {name: apart(rows, changed(rows, vus_pr=0.1)) for name in figures.MEANS["core"]}
        shown = paired.differences(difference.with_means(found)).splitlines()
        self.assertEqual([line.split(" | ")[0] for line in shown[2:]], ["| smd", "| asd", "| jumpstarter", "| core", "| all families"])
        self.assertIn("| +0.050 [+0.050, +0.050] | +0.100 [+0.100, +0.100] | +0.000", shown[-1])


class Rule(unittest.TestCase):
    def judged(self, **changes):
        """The verdict on a variant that changes these measures in three families, the last without labels."""
        rows = family()
        quiet = [row | {"incidents": 0, "caught": 0, "vus_pr": np.nan} for row in rows]
        bases = {"hosts": rows, "pods": rows, "quiet": quiet}
        return verdict.judged({name: apart(base, changes.get(name, lambda rows: rows)(base), name) for name, base in bases.items()})

    def test_what_a_variant_does_decides_whether_it_stays(self):
        more = lambda vus=0.0, false=0: lambda rows: changed(rows, vus_pr=vus, false_alerts=false)
        mixed = lambda rows: [row | {"vus_pr": row["vus_pr"] + (0.3 if at < 4 else -0.1)} for at, row in enumerate(rows)]
        cases = [
            (verdict.STAYS, "helps in the mean", dict(hosts=more(0.1), pods=more(0.1))),
            (verdict.STAYS, "helps in the mean", dict(pods=more(false=-1), quiet=more(false=-1))),
            (verdict.GOES, "hurts pods: objective", dict(hosts=more(0.3), pods=more(-0.1))),
            (verdict.GOES, "hurts quiet: false alerts, the mean: false alerts", dict(hosts=more(0.1), pods=more(0.1), quiet=more(false=1))),
            (verdict.GOES, "it helps nothing", {}),
            (verdict.UNDECIDED, "within its interval", dict(hosts=mixed)),
            (verdict.UNDECIDED, "without hosts it gains nothing", dict(hosts=more(0.1))),
        ]
        for word, why, changes in cases:
            with self.subTest(why, word=word):
                found = self.judged(**changes)
                self.assertEqual(found.word, word, found)
                self.assertIn(why, found.why)

    def test_one_family_alone_or_none_with_labels_decides_nothing(self):
        rows = family()
        alone = verdict.judged({"hosts": apart(rows, changed(rows, vus_pr=0.1))})
        self.assertEqual((alone.word, alone.why), (verdict.UNDECIDED, "one family tells nothing of others"))
        nothing = verdict.judged({"hosts": apart([counted()], [counted(vus_pr=0.9)])})
        self.assertEqual((nothing.word, nothing.why), (verdict.UNDECIDED, "no family has two labelled recordings"))

    def test_chance_is_seldom_told_to_stay_and_what_finds_twice_as_much_often(self):
        few = {"a": 6, "b": 6, "c": 12, "quiet": 6}
        with mock.patch.object(figures, "DRAWS", 300), mock.patch.object(luck, "SIZES", few):
            chance, better = luck.worlds((0.0, 1.0), 30), luck.worlds((0.4, 1.0), 30)
        self.assertLess(chance[verdict.STAYS], 3, chance)
        self.assertGreater(better[verdict.STAYS], 15, better)


class Curve(unittest.TestCase):
    def choice(self, **variants):
        """A choice among variants that change VUS-PR and false alerts, family by family."""
        rows, names = family(), ("a", "b", "c")
        told = {name: {f: changed(rows, **variants[name].get(f, {})) for f in names} for name in variants}
        found = {name: {f: figures.of_family(f, told[name][f]) for f in names} for name in variants}
        base = found[next(iter(found))]
        between = {name: {f: difference.between(base[f], found[name][f], SIZE) for f in names} for name in variants}
        return curve.Choice(found, between)

    def test_the_best_of_the_families_chosen_on_is_chosen_unless_it_alerts_falsely_more_often(self):
        choice = self.choice(base={}, better={"a": {"vus_pr": 0.1}}, louder={"a": {"vus_pr": 0.2, "false_alerts": 3}})
        self.assertEqual([choice.names[choice.best(on)] for on in ([0], [1], [1, 2], [0, 1, 2])], ["better", "base", "base", "better"])

    def test_what_helps_only_where_it_was_chosen_leaves_a_gap_that_more_families_close(self):
        tuned = {f"for-{f}": {g: {"vus_pr": 0.2 if f == g else -0.1} for g in "abc"} for f in "abc"}
        choice = self.choice(base={}, **tuned)
        first, second = (curve.row(choice, size) for size in (1, 2))
        self.assertEqual((first[0], first[1], second[1]), (1, 3, 3))
        level = choice.objective[0].mean()
        self.assertEqual(first[2:4], [f"{level + 0.1:.3f} ± 0.000", f"{level - 0.05:.3f} ± 0.000"])
        self.assertEqual(first[4], f"{100 * 0.15 / (level + 0.1):+.1f} %")
        self.assertEqual(first[6], "-0.050")

    def test_choices_are_all_there_are_or_a_sample_that_is_the_same_every_time(self):
        self.assertEqual(len(curve.subsets(range(6), 3)), 20)
        many = curve.subsets(range(20), 10)
        self.assertTrue(900 < len(many) <= curve.MOST)
        self.assertEqual(many, curve.subsets(range(20), 10))

    def test_each_family_is_held_out_with_the_variant_that_the_others_choose(self):
        choice = self.choice(base={}, one={"a": {"vus_pr": 0.2}, "b": {"vus_pr": -0.1}})
        shown = curve.each_held_out(choice).splitlines()[2:]
        self.assertEqual([line.split(" | ")[:2] for line in shown], [["| a", "base"], ["| b", "one"], ["| c", "one"], ["| all families", ""]])
        self.assertEqual([line.split(" | ")[-1] for line in shown], ["+0.000 |", "-0.050 |", "+0.000 |", "-0.017 |"])


class Operations(unittest.TestCase):
    def row(self, case, cold=False, found=1, false=2, seed=1, benign_alerted=0):
        faults = [{"found": bool(found)}]
        return dict(case=case, args={}, cold=cold, seed=seed, faults=faults, false=false, days=2.0, benign=1, benign_alerted=benign_alerted)

    def test_taught_and_cold_stand_apart_with_what_was_found_and_false_and_benign(self):
        told = {"base": [self.row("job"), self.row("leak", found=0, false=6), self.row("job", cold=True, benign_alerted=1)]}
        shown = operations.own(told).splitlines()[2:]
        self.assertEqual(shown[0], "| base | taught | 2 | 1 of 2 | 2.00 | 0 of 2 |")
        self.assertEqual(shown[1], "| base | cold | 1 | 1 of 1 | 1.00 | 1 of 1 |")

    def test_situations_are_compared_in_pairs_and_what_is_worse_in_all_of_them_hurts(self):
        base = [self.row(case, false=at, seed=seed) for at, case in enumerate("abcdef") for seed in (1, 2)]
        worse = [row | {"false": row["false"] + 2} for row in base]
        shown = operations.paired(base, worse).splitlines()
        self.assertIn("| taught | 6 | +0.00 [+0.00, +0.00] | +1.00 [+1.00, +1.00] |", shown[2])
        self.assertTrue(shown[2].endswith("| false alerts a host-day, mean of cases |"), shown[2])
        better = operations.paired(worse, base).splitlines()
        self.assertTrue(better[2].endswith("| – |"), better[2])

    def test_the_cases_that_differ_are_listed_and_no_others(self):
        base = [self.row("job"), self.row("leak")]
        other = [self.row("job"), self.row("leak", found=0)]
        self.assertEqual(operations.differing({"a": base, "b": other}).splitlines()[2:], ["| leak, taught | 1/1; 1.00; 0/1 | 0/1; 1.00; 0/1 |"])
        self.assertIn("do the same", operations.differing({"a": base, "b": base}))
