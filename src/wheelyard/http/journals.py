"""A project's journal over HTTP: in pages, so that a long one is nobody's burden."""

import re
from typing import Final
from urllib.parse import parse_qs

from msgspec.json import encode

from wheelyard.catalog.projects import Projects
from wheelyard.errors import Invalid, quoted
from wheelyard.model.project import Project

PAGE: Final = 1000
"""Commits in one answer, at most."""
FAR_PAGE: Final = 100
"""The same where the store is far: each commit is a read of its own, one after the other."""

_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)


def after_of(query: bytes) -> int:
    """
    Return the number of the commit that `?after=` names, 0 where nothing does.

    Raises:
        Invalid: It is no number, or there are several (code `invalid_field`).
    """
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("after", ["0"])
    if len(values) > 1 or not _NUMBER.fullmatch(values[0]):
        raise Invalid(
            f"'after' is {quoted(values[-1])}. Send the number of one commit, in digits.",
            code="invalid_field",
        )
    return int(values[0])


def journal_json(projects: Projects, project: Project, after: int, page_size: int) -> bytes:
    """
    Return at most `page_size` commits that follow number `after`, waiting for the store.

    Where there are more, `next` is what to ask for `after` the next time.

    Raises:
        Unavailable: The store does not answer, or a commit is damaged.
    """
    last = min(after + page_size, project.revision)
    commits = list(projects.journal(project, after, last))
    page: dict[str, object] = {"name": project.name, "commits": commits}
    if last < project.revision:
        page["next"] = last
    return encode(page)
