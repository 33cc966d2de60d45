"""
The tables of docs/dependencies.md, made from what is installed: `nox -s dependencies` writes them.

What a package is for stands in the page alone, and stays. Its licence is the `License-Expression`
of its metadata, or the one that was read in its licence file.
"""

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from tools.lock_files import read_lock

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "dependencies.md"
LICENCES: Final = {
    "asgiref": "BSD-3-Clause",
    "bcrypt": "Apache-2.0",
    "certifi": "MPL-2.0",
    "charset-normalizer": "MIT",
    "comrak": "BSD-2-Clause",
    "cvss": "LGPL-3.0-or-later",
    "docutils": "public domain AND BSD-2-Clause",
    "email-validator": "Unlicense",
    "google-api-core": "Apache-2.0",
    "google-auth": "Apache-2.0",
    "google-cloud-core": "Apache-2.0",
    "google-cloud-storage": "Apache-2.0",
    "google-crc32c": "Apache-2.0",
    "google-resumable-media": "Apache-2.0",
    "granian": "BSD-3-Clause",
    "h11": "MIT",
    "id": "Apache-2.0",
    "jinja2": "BSD-3-Clause",
    "libpass": "BSD-3-Clause",
    "markdown-it-py": "MIT",
    "mdurl": "MIT",
    "multipart": "MIT",
    "nh3": "MIT",
    "obstore": "MIT",
    "proto-plus": "Apache-2.0",
    "protobuf": "BSD-3-Clause",
    "pyasn1": "BSD-2-Clause",
    "pyasn1-modules": "BSD-2-Clause",
    "requests": "Apache-2.0",
    "rfc3161-client": "Apache-2.0",
    "rfc3986": "Apache-2.0",
    "rfc8785": "Apache-2.0",
    "rich": "MIT",
    "sigstore-models": "MIT",
    "sigstore-rekor-types": "Apache-2.0",
}
"""What the licence files of packages without a `License-Expression` say."""
TABLES: Final = ("packages", "sizes", "licences")
_ROW: Final = re.compile(r"^\| ([\w-]+) \| ([^|]*) \|", re.MULTILINE)

Names = frozenset[NormalizedName]


def direct() -> Names:
    """Return the names of the packages that wheelyard itself requires."""
    texts = _project()["dependencies"]
    return frozenset(canonicalize_name(Requirement(text).name) for text in texts)


def packages() -> Names:
    """Return the names of all packages that wheelyard needs, itself left out."""
    return _closure(_project()["dependencies"])


def packages_of_extras() -> dict[str, Names]:
    """Return the names of the packages that each extra needs besides."""
    extras = _project()["optional-dependencies"]
    return {extra: _closure(extras[extra]) - packages() for extra in sorted(extras)}


def locked(lock: str) -> Names:
    """Return the names of all packages in a lock file, without its ending, of `requirements/`."""
    path = ROOT / "requirements" / f"{lock}.txt"
    return frozenset(package.name for package in read_lock(path))


def licence(name: str) -> str:
    """Return the licence of an installed package. Raises KeyError if nobody has read its file."""
    metadata = distribution(name).metadata
    field = "License-Expression"
    return metadata[field] if field in metadata else LICENCES[name]


def purposes(page: str) -> dict[str, str]:
    """Return what the packages and the extras are for, as a page says it."""
    return dict(_ROW.findall(page))


def with_tables(page: str) -> str:
    """Return a page with the tables of today, in which every text of a known name stays."""
    texts = purposes(page)
    extras = packages_of_extras()
    rows = {
        "packages": [f"| {name} | {texts.get(name, '')} |" for name in sorted(direct())],
        "sizes": [
            f"| (none) | | {len(packages())} | {_megabytes(packages())} |",
            *(
                f"| {name} | {texts.get(name, '')} | {len(names)} | {_megabytes(names)} |"
                for name, names in extras.items()
            ),
        ],
        "licences": [
            f"| {terms} | {', '.join(names)} |"
            for terms, names in _by_licence(packages().union(*extras.values())).items()
        ],
    }
    for table in TABLES:
        begin, end = f"<!-- {table} -->\n", "\n<!-- end -->"
        before, _, rest = page.partition(begin)
        head, _, after = rest.partition(end)
        kept = head.splitlines()[:2]
        page = before + begin + "\n".join([*kept, *rows[table]]) + end + after
    return page


def _by_licence(names: Names) -> dict[str, list[str]]:
    """Return the sorted names of the packages under each licence."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        found.setdefault(licence(name), []).append(name)
    return dict(sorted(found.items()))


def _project() -> dict[str, dict[str, list[str]]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert isinstance(project, dict)  # noqa: S101 - every project has this table
    return project


def _closure(requirements: Iterable[str]) -> Names:
    """Return the names of installed packages that requirements need, with what these need."""
    names, pending = set[NormalizedName](), [(text, "") for text in requirements]
    seen = set(pending)
    while pending:
        text, extra = pending.pop()
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        names.add(canonicalize_name(requirement.name))
        for inner in distribution(requirement.name).requires or ():
            new = {(inner, name) for name in ("", *requirement.extras)} - seen
            seen |= new
            pending += new
    return frozenset(names)


def _megabytes(names: Iterable[str]) -> str:
    """Return the size of installed packages in MB, of what is in their wheels."""
    files = (file for name in names for file in distribution(name).files or ())
    return f"{sum(file.size or 0 for file in files) / 1e6:.1f}"


def main() -> None:
    """Write the tables into docs/dependencies.md."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
