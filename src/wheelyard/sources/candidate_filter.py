"""
Guesses from filenames: which files of a source are candidates, and of which project.

Looser than `wheelyard.model.distribution_filename`, which decides what is imported: a source yields
every file that was ever named like a distribution, so that the report can list it.
"""

import re
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Final

from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.errors import Invalid
from wheelyard.model.distribution_filename import parse_known_filename, parse_version

DISTRIBUTION_SUFFIXES: Final = (
    *(".whl", ".tar.gz", ".zip", ".egg", ".exe", ".msi", ".rpm", ".dmg", ".deb"),
    *(".tar", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".tar.Z"),
)
"""Suffixes of distributions, also obsolete ones."""
SIDECAR_SUFFIXES: Final = (
    *(".metadata", ".provenance", ".publish.attestation", ".meta", ".asc", ".sig"),
    *(".md5", ".sha1", ".sha256", ".sha512", ".html", ".json", ".xml", ".css", ".js", ".ico"),
)
"""Suffixes of files that describe distributions; the report does not list them."""
SITE_FILES: Final = frozenset({"json", "index", "simple", "favicon.ico", "robots.txt"})
"""Files of a static site that lie among its packages."""

_SDIST: Final = re.compile(r"(.+?)-v?\d.*", re.DOTALL)


def is_distribution_name(filename: str) -> bool:
    """Return whether a filename has the suffix of a distribution and no dot at its beginning."""
    return filename.endswith(DISTRIBUTION_SUFFIXES) and not filename.startswith(".")


def is_sidecar(filename: str) -> bool:
    """Return whether a file describes distributions, belongs to a site, or is hidden."""
    return filename.endswith(SIDECAR_SUFFIXES) or filename in SITE_FILES or filename.startswith(".")


def guess_project(filename: str) -> str:
    """Return the probable normalised project name of a distribution, from its filename."""
    if filename.endswith(".whl"):
        return canonicalize_name(filename.partition("-")[0])
    found = _SDIST.fullmatch(filename)
    return canonicalize_name(found[1] if found else filename)


def version_in(filename: str, project: NormalizedName) -> str:
    """
    Return the normalised version in the filename of a distribution of a project, in any format.

    It is empty for a file of another project, and if no version can be made out.
    """
    with suppress(Invalid):
        known = parse_known_filename(filename)
        return str(known.version) if known.project == project else ""
    for at in (found.start() for found in re.finditer("[-_]", filename)):
        if canonicalize_name(filename[:at]) != project:
            continue
        # what follows the version is a release, a platform or a suffix: take less of it each time
        parts = re.split("[-_]", filename[at + 1 :])[0].split(".")
        for end in range(len(parts), 0, -1):
            with suppress(Invalid):
                return str(parse_version(".".join(parts[:end])))
    return ""


def matches(project: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a normalised project name matches one of the patterns, or there are none."""
    # canonicalize_name does not change `*`, `?` and `[...]`; a range such as [a-z] keeps its "-"
    return not patterns or any(fnmatchcase(project, canonicalize_name(each)) for each in patterns)
