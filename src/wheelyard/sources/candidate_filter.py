"""
Guesses from filenames: which files of a source are candidates, and of which project.

Looser than `wheelyard.model.distribution_filename`, which decides what is imported: a source yields
every file that was ever named like a distribution, so that the report can list it.
"""

import re
from fnmatch import fnmatchcase
from typing import Final

from packaging.utils import canonicalize_name

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


def matches(project: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a normalised project name matches one of the patterns, or there are none."""
    # canonicalize_name does not change `*`, `?` and `[...]`; a range such as [a-z] keeps its "-"
    return not patterns or any(fnmatchcase(project, canonicalize_name(each)) for each in patterns)
