"""
Operations on a whole index, for administrators: what it stores, and how it is.

Each raises Unavailable if the store does not answer.
"""

from operator import attrgetter
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.api.operation import Call

USAGE: Final = "see what is stored"
"""What only administrators may do."""


class ProjectUsage(Struct, frozen=True):
    """What a private project stores."""

    name: NormalizedName
    files: int
    bytes: int


class Usage(Struct, frozen=True):
    """What the private projects store: the files that they list, without core metadata."""

    projects: tuple[ProjectUsage, ...]
    """The largest first."""
    files: int
    """Of all projects together."""
    bytes: int
    unread: int
    """Projects that this process has not looked at yet, which count as empty."""


def show_usage(call: Call) -> Usage:
    """
    Show how much the private projects store.

    It is known from the search: no file is looked at.
    """
    private = [facts for facts in call.index.search.table().projects if not facts.origin]
    by_name = [ProjectUsage(facts.name, facts.files, facts.bytes) for facts in private]
    return Usage(
        projects=tuple(sorted(by_name, key=attrgetter("bytes", "files"), reverse=True)),
        files=sum(facts.files for facts in private),
        bytes=sum(facts.bytes for facts in private),
        unread=sum(not facts.document for facts in private),
    )
