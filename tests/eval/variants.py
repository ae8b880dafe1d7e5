"""Variants: programs and configurations that are tried on the same recordings, each known by its content.

A variant is given as NAME=PROGRAM[,CONFIG.yml]. What it is has to be all in these files, so the environment may not
configure it as well, and one with a configuration is not compared with one without: a configuration also brings the default
signals with their sides, which a replay without one does not have.
"""
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
PREFIXES = ("DWCP__", "DWCP_DEFAULTS", "DWCP_WITHOUT")


class VariantError(Exception):
    """Variants that cannot be compared; the text names the remedy."""


@dataclass(frozen=True)
class Variant:
    name: str
    program: Path
    config: Path | None
    digest: str  # of all that is in them


def parsed(text):
    name, sign, files = text.partition("=")
    if not sign or not NAME.fullmatch(name):
        raise VariantError(
            f"--variant {text}: it must be NAME=PROGRAM[,CONFIG.yml], and NAME of letters, digits, dots, dashes and underscores"
        )
    program, comma, config = files.partition(",")
    return of(name, Path(program), Path(config) if comma else None)


def of(name, program, config=None):
    for file in filter(None, (program, config)):
        if not file.is_file():
            raise VariantError(f"variant {name}: {file}: no such file; it must be NAME=PROGRAM[,CONFIG.yml]")
    program, config = program.resolve(), config and config.resolve()
    files = [program, *([config, *named_in(config)] if config else [])]
    return Variant(name, program, config, digest([*map(digest_of_file, files), "config" if config else ""]))


def named_in(config):
    """Files that a configuration names, such as priors: they are part of what the variant is."""
    words = re.split(r"[\s\"',\[\]{}]+", config.read_text())
    paths = (config.parent / word for word in words if word)
    return sorted({path.resolve() for path in paths if os.path.isfile(path)})


def digest_of_file(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(words):
    return hashlib.sha256("\n".join(map(str, words)).encode()).hexdigest()[:20]


def checked(variants, least):
    """Refuses variants that would not be compared for what they are."""
    names = [variant.name for variant in variants]
    if len(variants) < least:
        raise VariantError("--variant: one is nothing to compare; name the base first, and then what is to be tried")
    if twice := {name for name in names if names.count(name) > 1}:
        raise VariantError(f"--variant: {', '.join(sorted(twice))} is there twice; give each its own name")
    alike = {}
    for variant in variants:
        other = alike.setdefault(variant.digest, variant)
        if other is not variant:
            raise VariantError(f"--variant: {other.name} and {variant.name} are the same program and configuration; leave one out")
    if len({variant.config is None for variant in variants}) > 1:
        without = ", ".join(variant.name for variant in variants if variant.config is None)
        raise VariantError(
            f"--variant: {without} has no configuration and others have; a configuration also brings the default signals "
            "with their sides, so give every variant one: an empty file is one"
        )
    if configured := sorted(name for name in os.environ if name.startswith(PREFIXES)):
        raise VariantError(f"{', '.join(configured)} would configure every variant; unset it and put it into CONFIG.yml")
    return variants
