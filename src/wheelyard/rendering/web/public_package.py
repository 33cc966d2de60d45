"""What pages say of where a project is from, and of what is not shown of it."""

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
"""How many rows of what is not shown are shown at first, before the folded ones."""


class OriginNotes(Struct, frozen=True):
    """Where a project is from, what of it is not shown, and who decided so."""

    origin: Origin
    hidden: Sequence[HiddenFiles] = ()
    """Newest first."""
    decisions: Sequence[Decision] = ()
    """Those in force."""

    def of_release(self, version: str) -> "OriginNotes":
        """Return the notes for the page of one release, without what is hidden of the others."""
        number = strip_trailing_zeros(version)
        hidden = [files for files in self.hidden if strip_trailing_zeros(files.version) == number]
        return replace(self, hidden=hidden)

    @property
    def hidden_by_view(self) -> list[str]:
        """The versions of which a view hides files, each once, the newest first."""
        # a version has a row for each reason that hides a file of it
        versions = [files.version for files in self.hidden if files.is_by_view]
        return list(dict.fromkeys(versions))

    @property
    def is_hidden_by_policy(self) -> bool:
        """Whether somebody can lift what hides a file: nobody asks for what a view hides."""
        return any(not files.is_by_view for files in self.hidden)

    @property
    def newest_hidden(self) -> str:
        """The newest version of which the policy hides files, or an empty text if there is none."""
        return next((files.version for files in self.hidden if not files.is_by_view), "")

    @property
    def stale_time(self) -> str:
        """When its upstream index confirmed it, if that does not answer now, or an empty text."""
        origin = self.origin
        if origin.is_stale and origin.confirmed_at:
            return timestamp(origin.confirmed_at)
        return ""

    @property
    def recent_rows(self) -> Markup:
        """The first HIDDEN_SHOWN rows of a table of what is not shown."""
        return _rows(self.hidden[:HIDDEN_SHOWN])

    @property
    def older_rows(self) -> Markup:
        """The rows after the first HIDDEN_SHOWN, or none if there are few."""
        return _rows(self.hidden[HIDDEN_SHOWN:])

    @property
    def older(self) -> int:
        """How many rows come after the first HIDDEN_SHOWN."""
        return len(self.hidden[HIDDEN_SHOWN:])

    @property
    def decisions_in_words(self) -> list[tuple[str, str, str]]:
        """What was decided in words, by whom, and on which day."""
        rows: list[tuple[str, str, str]] = []
        for decision in self.decisions:
            who = describe_principal(decision.by)
            rows.append((describe(decision), who, timestamp(decision.at)[:10]))
        return rows


def notes_on(origin: Origin, public: OriginNotes | None) -> OriginNotes | None:
    """Return `public`, or for a private project what a view hides of it, or None if nothing."""
    if public is not None:
        return public
    hidden = origin.hidden()
    if not hidden:  # pages have no section about it then
        return None
    return OriginNotes(origin, hidden)


def public_package(origin: Origin) -> OriginNotes | None:
    """
    Return what pages say of a package of an upstream index, or None for a private project.

    Raises Unavailable if the decisions about the project cannot be read.
    """
    if not origin.is_upstream:
        return None
    # here and not in a template, so that an error of the store is answered as one
    return OriginNotes(origin, origin.hidden(), origin.decisions())


def _rows(hidden: Iterable[HiddenFiles]) -> Markup:
    """Return rows of a table, built in Python as there may be thousands."""
    return Markup("".join(map(_row, hidden)))  # noqa: S704 - they are escaped


def _row(hidden: HiddenFiles) -> str:
    return (
        f'<tr><td class="id">{escape(hidden.version)}</td>'
        f"<td>{counted(hidden.count, 'file')}</td>"
        f'<td class="sentence"><bdi>{escape(hidden.reason)}</bdi></td></tr>\n'
    )
