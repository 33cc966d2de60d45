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
"""Files of the projects whose answer is remembered."""
NEWEST_RELEASES: Final = 10
"""The newest releases that are shown, whose licences are looked up for an installer."""
LOOK_UP_ROUNDS: Final = 3
"""How often older releases are looked up, because their licences have hidden newer ones."""
LOOK_AGAIN: Final = timedelta(seconds=4)
"""How long an answer about a public project counts, if its advisories or licences decide."""


class RuleAnswer(Struct, Generic[F], frozen=True):
    """Which files of a project the rules of an index show now."""

    judged: Judged[F]
    digest: str
    """Changes with the files that are hidden and the reasons. Empty if no file is hidden."""
    empty_versions: tuple[str, ...] = ()
    """Versions without files that are shown."""


class ProjectFileFacts(NamedTuple):
    """The facts by which the files of a project are judged."""

    of_files: Iterable[Facts]
    """The facts about the files, in their order."""
    of_versions: Iterable[Facts] = ()
    """The facts about the versions without files, in their order."""


class IndexRules:
    """
    Decides which files an index with rules shows. Threads may share it.

    Methods take the moment (UTC) that they are asked about, or None for now. What time alone
    changes is as it was at that moment.

    Args:
        rules: The rules of the index.
        facts: Finds the facts that the rules ask for.
        licence_rule: The rule about licences, if there is one.
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
        """Whether a public file has to be judged again by `refusal_of_file` before it is sent."""
        return not self._rules.codes.isdisjoint(FETCHED)

    def judge_private(
        self, project: Project, version: str, moment: datetime | None = None
    ) -> RuleAnswer[File]:
        """
        Return which files of a private project are shown.

        `version` is that of the project's document. Raises Unavailable if the store does not
        answer.
        """
        key = project.name, moment
        made_of = (version, project.revision)

        # only if nothing is remembered: for a licence, the core metadata of each file is read
        def find_facts() -> ProjectFileFacts:
            return ProjectFileFacts(self._facts.private_facts(project))

        return self._answer(key, made_of, project.files, find_facts, moment)

    def judge_public(
        self, listing: "UpstreamListing", moment: datetime | None = None
    ) -> "UpstreamListing":
        """
        Return a public project with the files that are shown, and the reasons for the others.

        The first use of an exception from the cooldown is written. Raises Unavailable if the store
        does not answer.
        """
        now = self._runtime.now()
        policy_view = listing.origin.view
        state = self._facts.read_public_state(listing, now)

        def find_facts() -> ProjectFileFacts:
            page_facts = self._facts.public_facts(listing, state)
            of_files = map(page_facts.of, listing.files)
            of_versions = map(page_facts.of_version, listing.empty_versions)
            return ProjectFileFacts(of_files, of_versions)

        key = listing.name, listing.origin.page.upstream, moment
        empty_versions = listing.empty_versions
        made_of = (policy_view.generation, state.made_of, listing.files, empty_versions)
        answer = self._answer(key, made_of, listing.files, find_facts, moment)
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
        self, listing: "UpstreamListing", moment: datetime | None = None
    ) -> "list[UpstreamFile]":
        """
        Return files of the newest releases that are shown although nobody knows their licence yet.

        Of several files with the same core metadata, one file is returned. If no rule asks for
        licences, no file is. The first use of an exception from the cooldown is written. Raises
        Unavailable if the store does not answer.
        """
        if not self._facts.asks_licences:
            return []
        releases = releases_of(self.judge_public(listing, moment))
        newest_files: list[UpstreamFile] = []
        for release in releases[:NEWEST_RELEASES]:
            newest_files += release.files
        versions = {file.version for file in newest_files}
        licences = self._facts.licences_of(listing, versions)
        # files of a release often have the same metadata, which is fetched once
        files_by_metadata: dict[str, UpstreamFile] = {}
        for file in newest_files:
            if licences[file.filename] == LOOKED_UP_LATER:
                files_by_metadata[file.core_metadata or file.filename] = file
        return list(files_by_metadata.values())

    def look_up_licences(self, listing: "UpstreamListing", moment: datetime | None = None) -> None:
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
            files = self.unknown_licences(listing, moment)
            if not files:
                return
            list(prefetch_map(look_up, files, PREFETCH_THREADS))

    def refusal_of_file(
        self, listing: "UpstreamListing", file: "UpstreamFile", moment: datetime | None = None
    ) -> FileReason | None:
        """
        Return why a public file that is listed is not sent, or None if it may be.

        Its core metadata and provenance may be fetched. A licence that hides the file is noted in
        the store, and so is the first use of an exception from the cooldown. Raises Unavailable if
        metadata or provenance cannot be had now, or the store does not answer.
        """
        now = self._runtime.now()
        page = listing.origin.page
        listing_of_file = replace(listing, files=(file,))
        state = self._facts.read_public_state(listing, now)
        # the licence and the attestations of the file are looked at below
        page_facts = self._facts.public_facts(listing_of_file, state, with_sidecars=False)
        sidecar_facts = listing.origin.policy.sidecar_facts
        facts = sidecar_facts.complete(
            page_facts.of(file), page, file, self._rules.codes, self._licence_rule
        )
        return self._rules.first(facts, moment or now)

    def _answer(
        self,
        key: tuple[object, ...],
        made_of: tuple[object, ...],
        files: Sequence[F],
        find_facts: Callable[[], ProjectFileFacts],
        moment: datetime | None,
    ) -> RuleAnswer[F]:
        """
        Return which files are shown, from memory while `made_of` is the same.

        `find_facts` is called only if nothing is remembered under `key`.
        """
        now = self._runtime.now()
        answer = self._answers.get(key, made_of, now)
        if answer is None:
            answer = self._judge(files, find_facts(), moment or now)
            if moment is not None:  # time changes nothing of a moment that is over
                answer = replace(answer, judged=_without_changes(answer.judged))
            changes_at = answer.judged.changes_at
            self._answers.put(key, made_of, now, answer, changes_at, 1 + len(files))
        return answer

    def _judge(
        self, files: Sequence[F], facts: ProjectFileFacts, moment: datetime
    ) -> RuleAnswer[F]:
        """Return which files are shown at a moment, by their facts."""
        judged = self._rules.judge(files, facts.of_files, moment)
        empty_versions = self._rules.shown_versions(facts.of_versions, moment)
        if not judged.hidden:
            return RuleAnswer(judged, "", empty_versions)
        lines = [f"{filename} {reason.text}" for filename, reason in judged.hidden.items()]
        text = " ".join(lines)
        digest = sha256(text.encode()).hexdigest()[:16]
        return RuleAnswer(judged, digest, empty_versions)


def _without_changes(judged: Judged[F]) -> Judged[F]:
    """Return what was judged, without the times at which it would change."""
    hidden = {name: replace(reason, changes_at=None) for name, reason in judged.hidden.items()}
    return Judged(judged.shown, hidden, None)
