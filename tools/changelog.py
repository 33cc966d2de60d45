"""The sections of CHANGELOG.md, as https://keepachangelog.com has them."""

import re
from datetime import date
from typing import Final

REPOSITORY: Final = "https://github.com/wheelyard/wheelyard"
UNRELEASED: Final = "## [Unreleased]\n"
HEADING: Final = re.compile(r"^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?\n", re.MULTILINE)
LINKS: Final = re.compile(r"^\[[^\]]+\]: \S+\n", re.MULTILINE)
RELATIVE_LINK: Final = re.compile(r"\]\((?![a-z+]+:|#)")


def sections(text: str) -> dict[str, str]:
    """Return what stands below each heading, by version; `Unreleased` is one of them."""
    _, *parts = HEADING.split(LINKS.sub("", text))
    return {version: body.strip() for version, body in zip(parts[::3], parts[2::3], strict=True)}


def is_dated(text: str, version: str) -> bool:
    """Return whether a version has a heading with a date."""
    return any(match[1] == version and match[2] for match in HEADING.finditer(text))


def released(text: str, version: str, today: date) -> str:
    """Return the changelog with *Unreleased* as the section of a version, and its links."""
    heading = f"{UNRELEASED}\n## [{version}] - {today.isoformat()}\n"
    changed = LINKS.sub("", text.replace(UNRELEASED, heading, 1)).rstrip()
    versions = [match[1] for match in HEADING.finditer(changed)]
    return f"{changed}\n\n{_links(versions)}"


def _links(versions: list[str]) -> str:
    """Return a line for each heading, newest first: what has changed since the one before."""
    tags = ["HEAD", *(f"v{version}" for version in versions[1:])]
    before = [*tags[1:], ""]
    return "".join(
        f"[{version}]: {REPOSITORY}/"
        + (f"compare/{older}...{tag}\n" if older else f"releases/tag/{tag}\n")
        for version, tag, older in zip(versions, tags, before, strict=True)
    )


def release_notes(text: str, version: str) -> str:
    """Return the section of a version for a page elsewhere: its links are whole URLs."""
    page = f"]({REPOSITORY}/blob/v{version}/"
    return RELATIVE_LINK.sub(lambda _: page, sections(text)[version]) + "\n"
