"""The rules of one index, applied to the projects of its layers."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.concurrency.caches import AnswerCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.concurrency.threads import PREFETCH_THREADS, prefetch_map
from wheelyard.errors import Unavailable
from wheelyard.model.licences import LOOKED_UP_LATER
from wheelyard.model.project import File, Project
from wheelyard.model.public_packages import FileReason
from wheelyard.model.rule_keys import LicenceRule
from wheelyard.model.rule_reasons import FETCHED
from wheelyard.model.rules import Facts, Judged, Named, Rules
from wheelyard.rendering.project_facts import releases_of
from wheelyard.repository.layers import earliest
from wheelyard.repository.rule_facts import FactFinder

if TYPE_CHECKING:
    from wheelyard.upstream.indexes import UpstreamListing
    from wheelyard.upstream.page import UpstreamFile

F = TypeVar("F", bound=Named)

REMEMBERED_FILES: Final = 200_000
"""Files of projects whose answer is remembered."""
NEWEST_RELEASES: Final = 10
"""Of how many releases that are shown the licences are looked up for an installer."""
LOOK_UP_ROUNDS: Final = 3
"""How often the next ones are looked up, because those before are not shown."""
LOOK_AGAIN: Final = timedelta(seconds=4)
"""How long an answer about a public project counts, if its advisories or licences decide."""


class RuleAnswer(Struct, Generic[F], frozen=True):
    """Which files of a project the rules of an index show now."""

    judged: Judged[F]
    digest: str
    """Another one whenever other files are shown or hidden, or for other reasons. May be empty."""
    empty_versions: tuple[str, ...] = ()
    """Versions without files that are shown."""


class ProjectFileFacts(NamedTuple):
    """The facts by which the files of a project are judged."""

    of_files: Iterable[Facts]
    """In the order of the files."""
    of_versions: Iterable[Facts] = ()
    """About the versions without files."""


class IndexRules:
    """
    Decides which files an index with rules shows. Threads may share it.

    Methods take `at`, the moment (UTC) that they are asked about, or None for now. Of a moment,
    what time alone changes is as it was then.

    Args:
        rules: Those of the index.
        facts: Finds what they ask for.
        licence_rule: What of it is about licences.
        runtime: Says what time it is.
    """

    def __init__(
        self, rules: Rules, facts: FactFinder, licence_rule: LicenceRule | None, runtime: Runtime
    ) -> None:
        self._rules = rules
        self._facts = facts
        self._licence_rule = licence_rule
        self._runtime = runtime
        self._answers: AnswerCache[tuple[object, ...], RuleAnswer[Any]] = AnswerCache(
            REMEMBERED_FILES
        )

    @property
    def judges_before_sending(self) -> bool:
        """Whether a public file has to be judged again by `refuses` before it is sent."""
        return not self._rules.codes.isdisjoint(FETCHED)

    def of_private(
        self, project: Project, version: str, at: datetime | None = None
    ) -> RuleAnswer[File]:
        """
        Return which files of a private project are shown.

        `version` is that of its document. Raises Unavailable if the store does not answer.
        """
        key = project.name, at
        made_of = (version, project.revision)

        # only if nothing is remembered: for a licence, the core metadata of each file is read
        def look_up() -> ProjectFileFacts:
            return ProjectFileFacts(self._facts.of_private(project))

        return self._answer(key, made_of, project.files, look_up, at)

    def of_public(
        self, listing: "UpstreamListing", at: datetime | None = None
    ) -> "UpstreamListing":
        """
        Return a public project with the files that are shown, and the reasons for the others.

        The first use of an exception from the cooldown is written. Raises Unavailable if the store
        does not answer.
        """
        now = self._runtime.now()
        policy_view = listing.origin.view
        state = self._facts.state(listing, now)

        def look_up() -> ProjectFileFacts:
            facts = self._facts.of_public(listing, state)
            of_versions = map(facts.of_version, listing.empty_versions)
            return ProjectFileFacts(map(facts.of, listing.files), of_versions)

        key = listing.name, listing.origin.page.upstream, at
        empty_versions = listing.empty_versions
        made_of = (policy_view.generation, state.made_of, listing.files, empty_versions)
        answer = self._answer(key, made_of, listing.files, look_up, at)
        judged = answer.judged

        # advisories and licences become known at no time that could be told before
        look_again_at = None
        if self._facts.looks_again:
            look_again_at = now + LOOK_AGAIN
        changes_at = earliest([policy_view.changes_at, judged.changes_at, look_again_at])
        hides_nothing = not judged.hidden and answer.empty_versions == empty_versions
        if hides_nothing and changes_at == policy_view.changes_at:
            return listing
        view = replace(
            policy_view,
            shown=judged.shown,
            hidden={**policy_view.hidden, **judged.hidden},
            changes_at=changes_at,
        )
        return replace(
            listing,
            files=judged.shown,
            empty_versions=answer.empty_versions,
            version=f"{listing.version} {self._rules.index} {answer.digest}",
            origin=replace(listing.origin, view=view),
        )

    def unknown_licences(
        self, listing: "UpstreamListing", at: datetime | None = None
    ) -> "list[UpstreamFile]":
        """
        Return files of the newest releases that are shown although nobody knows their licence yet.

        There is none if no rule asks for licences, and one of all files with the same core
        metadata. The first use of an exception from the cooldown is written. Raises Unavailable if
        the store does not answer.
        """
        if not self._facts.asks_licences:
            return []
        newest: list[UpstreamFile] = []
        for release in releases_of(self.of_public(listing, at))[:NEWEST_RELEASES]:
            newest += release.files
        licences = self._facts.licences_of(listing, {file.version for file in newest})
        # files of a release often have the same metadata, which is fetched once
        unknown: dict[str, UpstreamFile] = {}
        for file in newest:
            if licences[file.filename] == LOOKED_UP_LATER:
                unknown[file.core_metadata or file.filename] = file
        return list(unknown.values())

    def look_up_licences(self, listing: "UpstreamListing", at: datetime | None = None) -> None:
        """
        Look up the licences of the newest releases, whose core metadata may have to be fetched.

        An installer takes the newest release, and gives up if it gets none of its files. A licence
        that cannot be had now stays unknown. The first use of an exception from the cooldown is
        written. Raises Unavailable if the store does not answer.
        """
        licences = listing.origin.policy.sidecar_facts.licences

        # runs in threads of its own, as another server may be asked for each
        def look_up(file: "UpstreamFile") -> None:
            with suppress(Unavailable):
                licences.find(listing.origin.page, file)

        # what a licence hides makes room for older releases, which are looked up next
        for _ in range(LOOK_UP_ROUNDS):
            files = self.unknown_licences(listing, at)
            if not files:
                return
            list(prefetch_map(look_up, files, PREFETCH_THREADS))

    def refuses(
        self, listing: "UpstreamListing", file: "UpstreamFile", at: datetime | None = None
    ) -> FileReason | None:
        """
        Return why a public file that is listed is not sent, or None if it may be.

        Its core metadata and provenance may be fetched. A licence that hides it is noted in the
        store, and so is the first use of an exception from the cooldown. Raises Unavailable if
        metadata or provenance cannot be had now, or the store does not answer.
        """
        now = self._runtime.now()
        page = listing.origin.page
        judged = replace(listing, files=(file,))
        state = self._facts.state(listing, now)
        # its own licence and attestations are looked at below
        facts = self._facts.of_public(judged, state, with_sidecars=False).of(file)
        sidecar_facts = listing.origin.policy.sidecar_facts
        facts = sidecar_facts.complete(facts, page, file, self._rules.codes, self._licence_rule)
        return self._rules.first(facts, at or now)

    def _answer(
        self,
        key: tuple[object, ...],
        made_of: tuple[object, ...],
        files: Sequence[F],
        look_up: Callable[[], ProjectFileFacts],
        at: datetime | None,
    ) -> RuleAnswer[F]:
        """Return which of some files are shown, from memory while nothing has changed."""
        now = self._runtime.now()
        answer = self._answers.get(key, made_of, now)
        if answer is None:
            answer = self._judge(files, look_up(), at or now)
            if at is not None:  # time changes nothing of a moment that is over
                answer = replace(answer, judged=_lasting(answer.judged))
            end = answer.judged.changes_at
            self._answers.put(key, made_of, now, answer, end, 1 + len(files))
        return answer

    def _judge(self, files: Sequence[F], facts: ProjectFileFacts, at: datetime) -> RuleAnswer[F]:
        """Return which of some files are shown at a moment, by their facts."""
        judged = self._rules.judge(files, facts.of_files, at)
        empty_versions = self._rules.shown_versions(facts.of_versions, at)
        if not judged.hidden:
            return RuleAnswer(judged, "", empty_versions)
        reasons = (f"{filename} {reason.text}" for filename, reason in judged.hidden.items())
        digest = sha256(" ".join(reasons).encode()).hexdigest()[:16]
        return RuleAnswer(judged, digest, empty_versions)


def _lasting(judged: Judged[F]) -> Judged[F]:
    """Return what was judged of a moment, without what time would change after it."""
    hidden = {name: replace(reason, changes_at=None) for name, reason in judged.hidden.items()}
    return Judged(judged.shown, hidden, None)
