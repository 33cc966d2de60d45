"""The format of `/search.json`: all projects as a list, or the results of a search."""

from collections.abc import Iterable
from operator import attrgetter

from msgspec.json import Encoder

from wheelyard.rendering.project_facts import ProjectFacts


def search_json(projects: Iterable[ProjectFacts]) -> bytes:
    """Return the bytes of `/search.json`: a JSON list, sorted by name, one entry on a line."""
    ordered = map(_entry, sorted(projects, key=attrgetter("name")))
    lines = Encoder().encode_lines(ordered)[:-1].replace(b"\n", b",\n")  # none within an entry
    return b"[\n" + lines + b"\n]\n" if lines else b"[]\n"


def results_json(total: int, best: Iterable[ProjectFacts]) -> bytes:
    """Return the bytes of `/search.json?q=`: how many projects were found, and the best of them."""
    return Encoder().encode({"total": total, "projects": [*map(_entry, best)]}) + b"\n"


def _entry(project: ProjectFacts) -> tuple[str, ...]:
    """Return `["acme-core", "1.4.0", "What it is"]`, with further facts up to the last."""
    entry = (project.name, project.version, project.summary)
    further = (project.keywords, project.status, project.origin)
    count = max((at for at, text in enumerate(further, 1) if text), default=0)
    return (*entry, *further[:count])
