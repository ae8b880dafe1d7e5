"""Reads a dashboard by the types that Grafana generates from its own schema, and names what they do not know."""

import json
import sys

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

# What Grafana takes and its schema of 10.1 leaves out: fields of data sources, which are theirs, and two that came later.
KNOWN = {
    "builtIn", "step", "titleFormat", "textFormat", "tagKeys", "definition", "spanNulls", "mode", "showColorScale",
}


def lost(given, read, path=""):
    """Paths of what was given and does not come back."""
    if isinstance(given, dict) and isinstance(read, dict):
        for key, value in given.items():
            if key in read:
                yield from lost(value, read[key], f"{path}.{key}")
            elif key not in KNOWN:
                yield f"{path}.{key}"
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        for at, pair in enumerate(zip(given, read)):
            yield from lost(*pair, f"{path}[{at}]")
    elif given != read:
        yield f"{path}: {given!r} was read as {read!r}"


plugins.register_default_plugins()
with open(sys.argv[1], encoding="utf-8") as file:
    given = json.load(file)
read = json.loads(JSONEncoder().encode(Dashboard.from_json(given)))
unknown = list(lost(given, read))
sys.exit("\n".join(unknown) if unknown else 0)
