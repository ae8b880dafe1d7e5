"""A bundle: manifest.json and one CSV an entity (a host, a service, a single series), with labels.

The manifest's `entities` say for each: `family`, `name`, `file` (beside the manifest), `sampling_s`, `rows`,
`train_rows`, the metrics in `columns`, `time_column`, `label_column` and `ignore_column` (or null); `part`, if it is
there, is the half an entity belongs to, otherwise the halves alternate within a family. Where nothing is labelled the
`label_column` may be null. Other keys are for people.
"""
import csv
import gzip
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path

PARTS = ("dev", "check")
LABEL = "label"  # the column that scorers read


@dataclass(frozen=True)
class Entity:
    family: str
    name: str
    file: Path
    interval: int  # seconds from row to row
    rows: int
    train_rows: int  # the first rows, known to be normal
    metrics: tuple[str, ...]
    time_column: str
    label_column: str | None  # none where nothing is labelled
    ignore_column: str | None
    part: str  # dev or check
    entry: dict = field(compare=False, repr=False)  # what the manifest says, the rest of it as well

    @property
    def cells(self):
        return self.rows * len(self.metrics)

    @property
    def scores(self):
        """Where a method's scores of this entity lie, below the method's own directory."""
        return Path(self.family) / f"{self.name}.csv"


class BundleError(Exception):
    """A bundle that cannot be used; the text names the file, the key and the remedy."""


def manifest(directory):
    path = Path(directory) / "manifest.json"
    try:
        text = path.read_text()
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}; --bundle must name a directory with a manifest.json") from error
    try:
        return json.loads(text)["entities"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: not a manifest ({error}); it must be JSON with a list `entities`") from error


def entities(directories, families=None, part="all"):
    """The entities of one bundle or of several, in the order of the manifests; of some families or of one part if so asked.

    A family that is in two bundles is one family. The split goes by the order of the whole manifest an entity is in, so
    neither the choice of families or a part nor another bundle ever moves an entity.
    """
    directories = [directories] if isinstance(directories, (str, Path)) else directories
    found = [entity for directory in directories for entity in _all_of(Path(directory))]
    _once(found)
    known = dict.fromkeys(entity.family for entity in found)
    paths = ", ".join(f"{directory}/manifest.json" for directory in directories)
    if unknown := set(families or ()) - set(known):
        raise BundleError(f"{paths}: no family {', '.join(sorted(unknown))} in the bundle; it has {', '.join(known)}")
    chosen = [e for e in found if (not families or e.family in families) and part in ("all", e.part)]
    if not chosen:
        raise BundleError(f"{paths}: nothing is left of --family and --part")
    return chosen


def _all_of(directory):
    seen, found = {}, []
    for position, entry in enumerate(manifest(directory)):
        try:
            family = entry["family"]
            seen[family] = seen.get(family, 0) + 1
            half = PARTS[(seen[family] - 1) % 2]
            found.append(_entity(directory, entry, entry.get("part", half)))
        except KeyError as missing:
            raise BundleError(f"{directory}/manifest.json: entity {position} has no {missing}") from missing
    return found


def _once(entities):
    """Two entities of one name would overwrite each other's scores, or count one recording twice."""
    files = {}
    for entity in entities:
        other = files.setdefault((entity.family, entity.name), entity.file)
        if other is not entity.file:
            both = f"{other} and {entity.file}"
            raise BundleError(f"{entity.family}/{entity.name} is there twice, as {both}; leave one out of its manifest.json")


def _entity(directory, entry, part):
    return Entity(
        family=entry["family"],
        name=entry["name"],
        file=(directory / entry["file"]).resolve(),
        interval=entry["sampling_s"],
        rows=entry["rows"],
        train_rows=entry["train_rows"],
        metrics=tuple(entry["columns"]),
        time_column=entry["time_column"],
        label_column=entry["label_column"],
        ignore_column=entry["ignore_column"],
        part=part,
        entry=entry,
    )


def write_manifest(chosen, path):
    """A manifest of the chosen entities alone, which keep their part, for readers that want all they are told of.

    Scorers want a column of labels: an entity without one is told of as a copy in which nothing is labelled.
    """
    entries = []
    for entity in chosen:
        told = entity.entry | {"file": str(entity.file), "part": entity.part}
        if entity.label_column is None:
            copy = path.parent.resolve() / "unlabelled" / entity.scores
            _label_nothing(entity, copy)
            told |= {"file": str(copy), "label_column": LABEL}
        entries.append(told)
    path.write_text(json.dumps({"entities": entries}))


def _label_nothing(entity, path):
    opened = gzip.open if entity.file.suffix == ".gz" else open
    with opened(entity.file, "rt", newline="") as file:
        header, *rows = csv.reader(file)
    if LABEL in header:
        raise BundleError(f"{entity.file} has a column {LABEL}, but its label_column is null; name it in manifest.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{threading.get_ident()}")
    with open(new, "w", newline="") as copy:
        csv.writer(copy, lineterminator="\n").writerows([[*header, LABEL], *([*row, 0] for row in rows)])
    new.rename(path)  # whole at once: variants are scored side by side
