"""What an archive says of its name, version and metadata, held to what the filename promises."""

import re

from packaging.utils import canonicalize_name

from wheelyard.archive.rules import METADATA, NAME, VERSION, Leniency, refusal
from wheelyard.errors import Invalid
from wheelyard.model.distribution import Distribution, parse_name, parse_version
from wheelyard.model.metadata import CoreMetadata, parse_metadata
from wheelyard.model.old_metadata import claimed, salvaged

_ODD = re.compile(r"[^a-z0-9]+")


def read_core(raw: bytes, distribution: Distribution, leniency: Leniency) -> CoreMetadata:
    """
    Return what METADATA or PKG-INFO says; if it breaks an excused rule, what can be read.

    The caller bounds the length of `raw`.
    """
    with leniency.excusing(METADATA):
        core = parse_metadata(raw)
        _check_agreement(core.name, core.version, distribution, leniency)
        return core
    name, version = claimed(raw, "name"), claimed(raw, "version")
    _check_agreement(name, version, distribution, leniency)
    return salvaged(raw, distribution.project, distribution.version)


def is_named_for(folder: str, distribution: Distribution) -> bool:
    """Return whether `folder` is `name-version` of the distribution, in whatever spelling."""
    name, _, version = folder.rpartition("-")
    return _is_name(name, distribution) and _is_version(version, distribution)


def is_of_project(folder: str, distribution: Distribution) -> bool:
    """Return whether `folder` is `name-` of the distribution and anything; installers ask that."""
    return canonicalize_name(folder).startswith(f"{distribution.project}-")


def _check_agreement(
    name: str, version: str, distribution: Distribution, leniency: Leniency
) -> None:
    if name and not _is_name(name, distribution):
        fault = refusal("name_mismatch", "its Name is not that of the filename", name)
        if not _is_spelled_like(name, distribution):
            raise fault
        with leniency.excusing(NAME):
            raise fault
    with leniency.excusing(VERSION):
        if version and not _is_version(version, distribution):
            reason = "its Version is not that of the filename"
            raise refusal("version_mismatch", reason, version)


def _is_spelled_like(name: str, distribution: Distribution) -> bool:
    # the same letters and digits in the same order
    return _ODD.sub("", name.lower()) == _ODD.sub("", distribution.project)


def _is_name(name: str, distribution: Distribution) -> bool:
    try:
        return parse_name(name) == distribution.project
    except Invalid:
        return False


def _is_version(version: str, distribution: Distribution) -> bool:
    try:
        return parse_version(version) == distribution.version
    except Invalid:
        return False
