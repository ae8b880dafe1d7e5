"""A bundle: manifest.json and one CSV an entity (a host, a service, a single series), with labels.

The manifest's `entities` say for each: `family`, `name`, `file` (beside the manifest), `sampling_s`, `rows`,
`train_rows`, the metrics in `columns`, `time_column`, `label_column` and `ignore_column` (or null); `part`, if it is
there, is the half an entity belongs to, otherwise the halves alternate within a family.
"""
import json
from dataclasses import dataclass
from pathlib import Path

PARTS = ("dev", "check")


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
    label_column: str
    ignore_column: str | None
    part: str  # dev or check

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


def entities(directory, families=None, part="all"):
    """The entities of the bundle, in the order of its manifest; of some families or of one part if so asked.

    The split goes by the order of the whole manifest, so choosing families or a part never moves an entity.
    """
    seen, found = {}, []
    for position, entry in enumerate(manifest(directory)):
        try:
            family = entry["family"]
            seen[family] = seen.get(family, 0) + 1
            half = PARTS[(seen[family] - 1) % 2]
            found.append(_entity(Path(directory), entry, entry.get("part", half)))
        except KeyError as missing:
            raise BundleError(f"{directory}/manifest.json: entity {position} has no {missing}") from missing
    if unknown := set(families or ()) - set(seen):
        raise BundleError(f"no family {', '.join(sorted(unknown))} in the bundle; it has {', '.join(seen)}")
    chosen = [e for e in found if (not families or e.family in families) and part in ("all", e.part)]
    if not chosen:
        raise BundleError(f"{directory}/manifest.json: nothing is left of --family and --part")
    return chosen


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
    )


def write_manifest(directory, chosen, path):
    """A manifest of the chosen entities alone, which keep their part, for readers that want all they are told of."""
    known = {(e.family, e.name): {"file": str(e.file), "part": e.part} for e in chosen}
    kept = [e | known[key] for e in manifest(directory) if (key := (e["family"], e["name"])) in known]
    path.write_text(json.dumps({"entities": kept}))
