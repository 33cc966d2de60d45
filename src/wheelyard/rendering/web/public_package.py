"""The notes on pages of a project about its origin, its hidden files and the decisions on it."""

from collections.abc import Iterable, Sequence
from typing import Final

from markupsafe import Markup, escape
from msgspec import Struct
from msgspec.structs import replace

from wheelyard.model.access import describe_principal
from wheelyard.model.decoding import counted
from wheelyard.model.distribution_filename import strip_trailing_zeros
from wheelyard.model.public_packages import Decision, describe
from wheelyard.rendering.listing import HiddenFiles, Origin
from wheelyard.rendering.simple_pages import timestamp

HIDDEN_SHOWN: Final = 20
"""How many rows of hidden files a page shows unfolded."""


class OriginNotes(Struct, frozen=True):
    """The origin of a project, its hidden files, and the decisions about it."""

    origin: Origin
    hidden: Sequence[HiddenFiles] = ()
    """The hidden files, newest version first."""
    decisions: Sequence[Decision] = ()
    """The decisions in force."""

    def of_release(self, version: str) -> "OriginNotes":
        """Return the notes for the page of one release, without hidden files of other releases."""
        short_version = strip_trailing_zeros(version)
        hidden_of_release = [
            files for files in self.hidden if strip_trailing_zeros(files.version) == short_version
        ]
        return replace(self, hidden=hidden_of_release)

    @property
    def hidden_by_view(self) -> list[str]:
        """The versions of which a view hides files, each once, the newest first."""
        # a version has a row for each reason that hides a file of it
        versions = [files.version for files in self.hidden if files.is_by_view]
        return list(dict.fromkeys(versions))

    @property
    def is_hidden_by_policy(self) -> bool:
        """Whether the policy hides a file: people can ask for it, and not for what a view hides."""
        return any(not files.is_by_view for files in self.hidden)

    @property
    def newest_hidden(self) -> str:
        """The newest version of which the policy hides files, or an empty text if there is none."""
        for files in self.hidden:
            if not files.is_by_view:
                return files.version
        return ""

    @property
    def stale_time(self) -> str:
        """When the upstream index last confirmed the project, or empty if it answers now."""
        origin = self.origin
        if origin.is_stale and origin.confirmed_at:
            return timestamp(origin.confirmed_at)
        return ""

    @property
    def recent_rows(self) -> Markup:
        """The unfolded rows of the table of hidden files, as HTML."""
        return _render_rows(self.hidden[:HIDDEN_SHOWN])

    @property
    def older_rows(self) -> Markup:
        """The folded rows of the table of hidden files, as HTML."""
        return _render_rows(self.hidden[HIDDEN_SHOWN:])

    @property
    def older_count(self) -> int:
        """How many rows of the table are folded."""
        return len(self.hidden[HIDDEN_SHOWN:])

    @property
    def decisions_in_words(self) -> list[tuple[str, str, str]]:
        """The decisions in words, each with the principal that has made it, and the day."""
        rows: list[tuple[str, str, str]] = []
        for decision in self.decisions:
            who = describe_principal(decision.by)
            day = timestamp(decision.at)[:10]
            rows.append((describe(decision), who, day))
        return rows


def notes_on(origin: Origin, public: OriginNotes | None) -> OriginNotes | None:
    """
    Return the notes on the hidden files of a project, or None if pages have no such notes.

    `public` are the notes on a public project, which are returned as they are. A private project
    has notes if a view hides files of it.
    """
    if public is not None:
        return public
    hidden = origin.hidden()
    if not hidden:
        return None
    return OriginNotes(origin, hidden)


def public_package(origin: Origin) -> OriginNotes | None:
    """
    Return the notes on a project of an upstream index, or None for a private project.

    Raises Unavailable if the decisions about the project cannot be read.
    """
    if not origin.is_upstream:
        return None
    # read here and not by a template, so that an error of the store becomes an error page
    return OriginNotes(origin, origin.hidden(), origin.decisions())


def _render_rows(hidden: Iterable[HiddenFiles]) -> Markup:
    """Return the rows of hidden files as HTML, built in Python as there may be thousands."""
    return Markup("".join(map(_render_row, hidden)))  # noqa: S704 - they are escaped


def _render_row(hidden: HiddenFiles) -> str:
    """Return the row of hidden files of one version as HTML."""
    return (
        f'<tr><td class="id">{escape(hidden.version)}</td>'
        f"<td>{counted(hidden.count, 'file')}</td>"
        f'<td class="sentence"><bdi>{escape(hidden.reason)}</bdi></td></tr>\n'
    )
