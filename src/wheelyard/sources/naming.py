"""
What a filename tells of a file that nobody has looked into: may it be a distribution, and whose?

Looser than `wheelyard.model.distribution`, which decides what is taken: a source offers whatever
was once named so, that the report can tell of it.
"""

import re
from fnmatch import fnmatchcase
from typing import Final

from packaging.utils import canonicalize_name

SUFFIXES: Final = (
    *(".whl", ".tar.gz", ".zip", ".egg", ".exe", ".msi", ".rpm", ".dmg", ".deb"),
    *(".tar", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".tar.Z"),
)
"""How distributions have ended, at any time."""
BESIDE: Final = (
    *(".metadata", ".provenance", ".publish.attestation", ".meta", ".asc", ".sig"),
    *(".md5", ".sha1", ".sha256", ".sha512", ".html", ".json", ".xml", ".css", ".js", ".ico"),
)
"""How files end that say something of a distribution, or of all of them; nobody misses these."""
PAGES: Final = frozenset({"json", "index", "simple", "favicon.ico", "robots.txt"})
"""Names of files that a static site has among its packages."""

_SDIST: Final = re.compile(r"(.+?)-v?\d.*", re.DOTALL)


def is_offered(filename: str) -> bool:
    """Return whether a file may be a distribution, by its name."""
    return filename.endswith(SUFFIXES) and not filename.startswith(".")


def is_beside(filename: str) -> bool:
    """Return whether a file goes with distributions, and is no loss."""
    return filename.endswith(BESIDE) or filename in PAGES or filename.startswith(".")


def project_of(filename: str) -> str:
    """Return the normalised name of the project that a file belongs to, as far as one can tell."""
    if filename.endswith(".whl"):
        return canonicalize_name(filename.partition("-")[0])
    found = _SDIST.fullmatch(filename)
    return canonicalize_name(found[1] if found else filename)


def is_wanted(project: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a project, normalised, is one of those asked for; nobody asked is all."""
    return not patterns or any(fnmatchcase(project, normalised(each)) for each in patterns)


def normalised(pattern: str) -> str:
    """Return a name that may have `*`, `?` and `[...]` in it as `is_wanted` compares it."""
    # canonicalize_name leaves these as they are; a range such as [a-z] has one "-" and keeps it
    return canonicalize_name(pattern)
