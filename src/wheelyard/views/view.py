"""The filter of one index, applied to the projects of its layers."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog.files import Files
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.concurrency.threads import PREFETCH_THREADS, prefetch_map
from wheelyard.errors import Unavailable
from wheelyard.model.project import File, Project
from wheelyard.model.public_packages import HIDDEN_BY_VIEW, FileReason
from wheelyard.model.rules import Named
from wheelyard.model.view_filter.facts import FileFacts
from wheelyard.model.view_filter.language import parse_filter
from wheelyard.rendering.project_facts import releases_of
from wheelyard.views.facts import Licences, private_facts, public_facts

if TYPE_CHECKING:
    from wheelyard.upstream.indexes import UpstreamIndex, UpstreamListing
    from wheelyard.upstream.page import UpstreamFile
    from wheelyard.upstream.policy.osv_source import OsvSource


F = TypeVar("F", bound=Named)

REMEMBERED_FILES: Final = 200_000
"""Files of projects whose answer is remembered."""
NEWEST_RELEASES: Final = 10
"""Of how many releases that a view shows the licences are looked up for an installer."""
LOOK_UP_ROUNDS: Final = 3
"""How often the next ones are looked up, because those before are not shown."""
LOOK_AGAIN: Final = timedelta(seconds=4)
"""How long an answer about a public project counts, if its advisories or licences decide."""


class Shown(Struct, Generic[F], frozen=True):
    """Which files of a project a view shows now."""

    files: tuple[F, ...]
    hidden: Mapping[str, FileReason]
    """Why each other file is not shown, by filename."""
    changes_at: datetime | None
    """Until when this counts for the same project, or None if for ever."""
    digest: str
    """Another one whenever other files are shown or hidden, or for other reasons. May be empty."""


class View:
    """
    Decides which files an index with a filter shows. Threads may share it.

    Methods take `at`, the moment (UTC) that they are asked about, or None for now. Of a moment,
    what time alone changes is as it was then.

    Args:
        name: What people call it: the name of the index.
        text: The filter.
        files: Where the core metadata of private files is.
        runtime: Says what time it is.
        advisories: The database that severities are looked up in, or None without one.

    Raises Invalid (code `invalid_filter`) for a wrong filter.
    """

    def __init__(
        self,
        name: str,
        text: str,
        files: Files,
        runtime: Runtime,
        advisories: "OsvSource | None" = None,
    ) -> None:
        self._name = name
        self._filter = parse_filter(text)
        self._files = files
        self._runtime = runtime
        self._advisories = advisories
        self._licences = Licences()
        self._remembered: LruCache[tuple[object, ...], _Remembered] = LruCache(REMEMBERED_FILES)

    @property
    def asks_licences(self) -> bool:
        """Whether a public file has to be judged again by `refuses` before it is sent."""
        return "licence" in self._filter.fields

    def of_private(self, project: Project, version: str, at: datetime | None = None) -> Shown[File]:
        """
        Return which files of a private project are shown.

        `version` is that of its document. Raises Unavailable if the store does not answer.
        """
        fields, licences = self._filter.fields, self._licences
        look_up = partial(private_facts, fields, self._files, licences, project)
        made_of = (version, project.revision, at)
        return self._show(project.name, project.files, made_of, look_up, at)

    def of_public(
        self, listing: "UpstreamListing", at: datetime | None = None
    ) -> "UpstreamListing":
        """
        Return a public project with the files that are shown, and the reasons for the others.

        Raises Unavailable if the store does not say what was decided.
        """
        seen = listing.origin.view
        fields, licences = self._filter.fields, self._licences
        look_up = partial(public_facts, fields, licences, self._advisories, listing)
        made_of = (listing.version, seen.generation, at, licences.count)
        is_lasting = fields.isdisjoint({"licence", "severity"})
        lasts = None if is_lasting else LOOK_AGAIN
        shown = self._show(listing.name, listing.files, made_of, look_up, at, lasts)
        if not shown.hidden and shown.changes_at is None:
            return listing
        times = filter(None, (seen.changes_at, shown.changes_at))
        view = replace(
            seen,
            shown=shown.files,
            hidden={**seen.hidden, **shown.hidden},
            changes_at=min(times, default=None),
        )
        return replace(
            listing,
            files=shown.files,
            version=f"{listing.version} {self._name} {shown.digest}",
            origin=replace(listing.origin, view=view),
        )

    def unknown_licences(
        self, listing: "UpstreamListing", at: datetime | None = None
    ) -> "list[UpstreamFile]":
        """
        Return files of the newest releases that are shown although nobody knows their licence yet.

        Raises Unavailable if the store does not say what was decided.
        """
        if not self.asks_licences:
            return []
        newest = releases_of(self.of_public(listing, at))[:NEWEST_RELEASES]
        return self._licences.unknown(file for release in newest for file in release.files)

    def look_up_licences(
        self, upstream: "UpstreamIndex", listing: "UpstreamListing", at: datetime | None = None
    ) -> None:
        """
        Look up the licences of the newest releases, whose core metadata may have to be fetched.

        An installer takes the newest release, and gives up if it gets none of its files. A licence
        that cannot be had now stays unknown. Raises Unavailable as `unknown_licences`.
        """

        def look_up(file: "UpstreamFile") -> None:
            with suppress(Unavailable):
                self._licences.find_public(upstream, listing.origin.page, file)

        for _ in range(LOOK_UP_ROUNDS):
            files = self.unknown_licences(listing, at)
            if not files:
                return
            list(prefetch_map(look_up, files, PREFETCH_THREADS))

    def refuses(
        self,
        upstream: "UpstreamIndex",
        listing: "UpstreamListing",
        file: "UpstreamFile",
        at: datetime | None = None,
    ) -> FileReason | None:
        """
        Return why a public file that is listed is not sent, or None if it may be.

        Its core metadata may be fetched. Raises Unavailable if it cannot be had now.
        """
        self._licences.find_public(upstream, listing.origin.page, file)
        judged = replace(listing, files=(file,))
        facts = public_facts(self._filter.fields, self._licences, self._advisories, judged)
        return self._reason(facts[file.filename], at or self._runtime.now())

    def _show(
        self,
        name: NormalizedName,
        files: Sequence[F],
        made_of: tuple[object, ...],
        look_up: Callable[[], Mapping[str, FileFacts]],
        at: datetime | None,
        lasts: timedelta | None = None,
    ) -> Shown[F]:
        """Return which of some files are shown, from memory while nothing has changed."""
        now, key = self._runtime.now(), (name, *made_of)
        remembered = self._remembered.get(key)
        if remembered is not None and remembered.made_at <= now:
            end = remembered.shown.changes_at
            if end is None or now < end:
                return remembered.shown
        until = now + lasts if lasts else None
        shown = self._judge(files, look_up(), at or now, until, is_lasting=at is not None)
        self._remembered.put(key, _Remembered(now, shown), 1 + len(files))
        return shown

    def _judge(
        self,
        files: Sequence[F],
        facts: Mapping[str, FileFacts],
        at: datetime,
        until: datetime | None,
        *,
        is_lasting: bool,
    ) -> Shown[F]:
        hidden, times = dict[str, FileReason](), {until}
        for filename, of_file in facts.items():
            reason = self._reason(of_file, at)
            if reason is not None:
                hidden[filename] = reason
            if not is_lasting:
                times.add(self._filter.changes_at(of_file, at))
        shown = tuple(file for file in files if file.filename not in hidden) if hidden else files
        reasons = " ".join(f"{filename} {reason.text}" for filename, reason in hidden.items())
        digest = sha256(reasons.encode()).hexdigest()[:16] if hidden else ""
        return Shown(tuple(shown), hidden, min(filter(None, times), default=None), digest)

    def _reason(self, facts: FileFacts, at: datetime) -> FileReason | None:
        """Return why a file is not shown, or None if it is."""
        why = self._filter.why_hidden(facts, at)
        if not why:
            return None
        text = (
            f"{facts.name} {facts.version} is not shown by the index {self._name}: "
            f"{'; '.join(why)}. Use another version, or another index."
        )
        return FileReason(HIDDEN_BY_VIEW, text)


class _Remembered(Struct, frozen=True):
    made_at: datetime
    shown: Shown[Any]
