"""What each ingredient is worth: the evaluation again and again, each time without one of them.

    tests/eval/run --ablation --bundle DIR [--part dev] [--without NAME ...] [--out DIR]

Detectors and persistence are left out by the configuration. The rest nobody would want to be without, so the program has no
switch for it: a copy of the source is made in which each such place asks the environment variable below, and built once. Where the
source has moved on and a place is not found, that is an error; the evaluation's own test looks for all of them.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import bundle
import figures
import replay
import steps
import table

WITHOUT = "DWCP_WITHOUT"
ASKED_BY_COPY = f"""
#[doc(hidden)]
pub fn without(name: &str) -> bool {{
    static WITHOUT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    WITHOUT.get_or_init(|| std::env::var("{WITHOUT}").unwrap_or_default()) == name
}}
"""
DETECTOR = "DWCP__DETECTOR__"
# What is left out by the configuration: name, what it is, the environment.
SETTINGS = [
    ("none", "nothing is left out", {}),
    ("forest", "isolation forest", {f"{DETECTOR}ISOLATION_FOREST__ENABLED": "false"}),
    ("lstm", "LSTM autoencoder", {f"{DETECTOR}LSTM_AUTOENCODER__ENABLED": "false"}),
    ("zscore", "rolling z-score", {f"{DETECTOR}ZSCORE__ENABLED": "false"}),
    ("esd", "seasonal hybrid ESD", {f"{DETECTOR}SEASONAL_ESD__ENABLED": "false"}),
    ("persistence", "three checks before an incident opens: one is enough", {"DWCP__INCIDENT__FOR": "1"}),
    ("hysteresis", "five checks before it closes: one is enough", {"DWCP__INCIDENT__CLEAR_AFTER": "1"}),
]
SURPRISAL, ENSEMBLE, CALIBRATE = "detect/surprisal.rs", "detect/ensemble.rs", "detect/calibrate.rs"
TIMESCALE, LEARNING = "detect/timescale.rs", "detect/ensemble/learning.rs"
# What is left out of the copy: name, what it is, and for each place a file below src, what stands there, and what will.
CODE = [
    ("spheres", "the forest's second half, the distance of the whole row from normal ones", [(
        "detect/isolation.rs",
        "        raw.vector = self",
        '        if crate::without("spheres") { return; }\n        raw.vector = self',
    )]),
    ("windows", "the forest's third look, the distance of the recent course from typical ones", [
        (ENSEMBLE, "    let quick = Component", "    let mut quick = Component"),
        (ENSEMBLE, "    let slow = Component", "    let mut slow = Component"),
        (ENSEMBLE, "    if smoothing > 1 {", """    if crate::without("windows") {
        (quick[Component::Windows.index()], slow[Component::Windows.index()]) = (0.0, 0.0);
    }
    if crate::without("spans") {
        for component in [Component::ZShort, Component::ZLong, Component::ZStep] {
            (quick[component.index()], slow[component.index()]) = (0.0, 0.0);
        }
    }
    if smoothing > 1 && !crate::without("slow") {"""),
    ]),
    ("spans", "the z-score's other spans and its step: one window is left", []),
    ("slow", "the second timescale, all components on five-minute means as well", []),
    ("alone", "leaving values that stand alone out of what is looked back on: all count", [(
        TIMESCALE, "        let alone = alone(", '        let alone = if crate::without("alone") { 0 } else { 1 } * alone(',
    )]),
    ("season", "seasons", [(
        "detect/expectation.rs",
        "        self.season = season;",
        '        self.season = season.filter(|_| !crate::without("season"));',
    )]),
    ("former", "that a metric may go back, within a day, to where it was before it adapted", [(
        "detect/expectation.rs",
        "        self.former = self.level.level()",
        '        self.former = self.level.level().filter(|_| !crate::without("former"))',
    )]),
    ("three", "that a daily event is known after three days: most of a week is asked for", [(
        "detect/season/events.rs",
        "            newest.max(seen[rank])",
        '            if crate::without("three") { seen[rank] } else { newest.max(seen[rank]) }',
    )]),
    ("pareto", "the shape of the tail, which is exponential then", [(
        CALIBRATE, ".clamp(0.0, 0.5);", '.clamp(0.0, if crate::without("pareto") { 0.0 } else { 0.5 });',
    )]),
    ("priors", "what is known of other machines", [(
        CALIBRATE,
        "        let Some(prior) = &self.prior else",
        '        let Some(prior) = self.prior.as_ref().filter(|_| !crate::without("priors")) else',
    )]),
    ("together", "the calibrated mean of the most surprised metrics: the bound by their number is left", [(
        SURPRISAL,
        "        let Some(together) = self",
        '        if crate::without("together") { return Some(alone); }\n        let Some(together) = self',
    )]),
    ("bound", "that bound: the calibrated mean is left", [(
        SURPRISAL, "        if width > NARROW &&", '        if crate::without("bound") || width > NARROW &&',
    )]),
    ("withhold", "keeping back what was flagged: all is learned", [
        (
            LEARNING,
            "            let flagged = standing.active[metric] || verdict.flags(metric) || is_touched;",
            '            let flagged = !crate::without("withhold") && (standing.active[metric] || verdict.flags(metric) || is_touched);',
        ),
        (
            "detect/ensemble/probation.rs",
            "        let fires = standing.firing.contains(&true);",
            '        let fires = !crate::without("withhold") && standing.firing.contains(&true);',
        ),
    ]),
    ("floor", "that the threshold never falls below what a training measured: it may by two fifths", [(
        "detect/alert_rate.rs",
        "self.trained.is_some() { begun }",
        'self.trained.is_some() { begun * if crate::without("floor") { 0.6 } else { 1.0 } }',
    )]),
    ("falling", "that the threshold falls without a training, as far as the budget allows", [(
        "detect/alert_rate.rs",
        "else { self.least(assumed) }",
        'else if crate::without("falling") { assumed } else { self.least(assumed) }',
    )]),
    ("following", "calibrations that follow: they stay as training left them", [(
        LEARNING,
        "    for (timescale, raw) in timescales.iter_mut().zip(&row.raw) {",
        '    if crate::without("following") && !is_young {\n        return;\n    }\n    for (timescale, raw) in timescales.iter_mut().zip(&row.raw) {',
    )]),
    ("curve", "the curve from surprisal to confidence: a plain saturation is left", [(
        "detect/vote.rs",
        "    let x = surprisal.max(0.0) / kappa;",
        '    let x = surprisal.max(0.0) / kappa;\n    if crate::without("curve") {\n        return x / (x + 0.6);\n    }',
    )]),
]
WHAT = {name: what for name, what, _ in SETTINGS + CODE}


class PlaceError(Exception):
    """The source has moved on."""


def leave_out(source):
    """Makes every place in a copy of `src` ask the environment."""
    for name, _, places in CODE:
        for file, before, after in places:
            path = source / file
            text = path.read_text()
            if text.count(before) != 1:
                raise PlaceError(f"{name}: {before.strip()!r} stands {text.count(before)} times in src/{file}, not once; mend ablation.py")
            path.write_text(text.replace(before, after))
    with open(source / "lib.rs", "a") as file:
        file.write(ASKED_BY_COPY)


def build():
    """The program of which ingredients can be left out."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "source"
        shutil.copytree(steps.REPOSITORY, copy, ignore=shutil.ignore_patterns(".git", "target"))
        leave_out(copy / "src")
        target = steps.TARGET.resolve() / "ablation"
        subprocess.run(["cargo", "build", "--release", "--target-dir", target], cwd=copy, check=True)
        return target / "release" / steps.OURS


def measure(name, program, chosen, judge, asked):
    """Replays without `name`; what was measured before is kept."""
    out = asked.out / name
    if not (out / steps.OURS / "score.json").is_file():
        print(f"without {name}: {len(chosen)} entities, {asked.jobs} at a time", file=sys.stderr)
        out.mkdir(parents=True, exist_ok=True)
        bundle.write_manifest(chosen, out / "manifest.json")
        environment = next((settings for known, _, settings in SETTINGS if known == name), {WITHOUT: name})
        os.environ.update(environment)
        replay.replay_all(program, chosen, out / steps.OURS, asked.jobs)
        for variable in environment:
            del os.environ[variable]
        steps.score(judge, [steps.OURS], out, asked.jobs)
    return figures.groups(table.read(out, steps.OURS, "score")["entities"])


def shown(measured):
    """A row for each ingredient, and what its loss changes in the means."""
    columns = [("core", "vus_pr"), ("core", "inc_recall"), ("core", "alert_prec"), ("core", "false_per_day")]
    columns += [("nab+mscloud", "vus_pr"), ("nab+mscloud", "alert_prec"), ("synth7", "inc_recall"), ("synth7", "false_per_day")]
    columns = [(group, figure) for group, figure in columns if all(group in groups for groups in measured.values())]
    rows = [
        [WHAT[name], *(table.number(groups[group][figure], figure) for group, figure in columns)]
        for name, groups in measured.items()
    ]
    return table.markdown(["without", *(f"{group} {table.HEADINGS[figure]}" for group, figure in columns)], rows)


def arguments():
    parser = argparse.ArgumentParser(prog="tests/eval/run --ablation", description="Evaluate without one ingredient after another.")
    parser.add_argument("--bundle", type=Path, action="append", required=True, help="directory with a manifest.json; may be given again")
    parser.add_argument("--scorer", type=Path, help="the scorer; score.py beside the bundle by default")
    parser.add_argument("--program", type=Path, help="one of which all can be left out; built by default")
    parser.add_argument("--without", nargs="+", choices=WHAT, default=list(WHAT), metavar="NAME", help=f"of {', '.join(WHAT)}")
    parser.add_argument("--family", nargs="+", action="extend", help="these families alone")
    parser.add_argument("--part", choices=["dev", "check", "all"], default="dev", help="half of the entities, or all")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: 2)")
    parser.add_argument("--out", type=Path, default=steps.TARGET / "ablation-results", help="where results go, and are kept")
    return parser.parse_args()


def main():
    asked = arguments()
    try:
        chosen = bundle.entities(asked.bundle, asked.family, asked.part)
        judge = steps.scorer(asked.scorer, asked.bundle)
        program = asked.program or build()
        print(shown({name: measure(name, program, chosen, judge, asked) for name in asked.without}), end="")
    except (bundle.BundleError, replay.ReplayError, steps.StepError, PlaceError, OSError) as error:
        sys.exit(f"tests/eval/run: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"tests/eval/run: {error.cmd[0]} failed ({error.returncode})")


if __name__ == "__main__":
    main()
