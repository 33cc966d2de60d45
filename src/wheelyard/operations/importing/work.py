"""The import of one group: files of one project, in the order of the source, in few commits."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.archive.faults import EXCUSABLE
from wheelyard.catalog.documents import DAMAGED
from wheelyard.errors import Conflict, Forbidden, IndexFault, Unavailable
from wheelyard.model.access import Caller
from wheelyard.model.distribution import Identity, parse_listed
from wheelyard.model.project import File, Project
from wheelyard.operations.importing.arrivals import UNREADABLE, claim, fetch
from wheelyard.operations.importing.groups import Group, Item
from wheelyard.operations.importing.ledgers import Ledger
from wheelyard.operations.importing.report import Fate, Outcome
from wheelyard.operations.listing import Checked, taken
from wheelyard.operations.spooling import SHA256
from wheelyard.operations.upload import Uploads
from wheelyard.sources.candidate import Candidate

SPOOLED: Final = 64 * 1024 * 1024
"""Bytes of a group that may wait in the spool for their commit; one file may be larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    What is the same for all groups of an import.

    Args:
        uploads: What checks files.
        ledger: Where they are listed.
        caller: Who imports.
        began: When the import began, UTC.
        read: Told how many bytes were read just now, by several threads.
        stopped: Set when nothing more is to be begun.
    """

    uploads: Uploads
    ledger: Ledger
    caller: Caller
    began: datetime
    read: Callable[[int], None]
    stopped: Event = field(default_factory=Event)


@dataclass(frozen=True, slots=True)
class Done:
    """
    What became of a group.

    Args:
        name: Of its project.
        is_project: Whether there is such a project now.
        outcomes: One for each file.
    """

    name: NormalizedName
    is_project: bool
    outcomes: list[Outcome]


def import_group(job: Job, group: Group) -> Done:
    """
    Publish what is new in a group.

    Raises:
        Unavailable: The store does not answer.
    """
    work = None
    try:
        work = _Work(job, job.ledger.latest(group.name))
        for item in group.items:
            if job.stopped.is_set():
                break
            work.take(item)
        else:
            work.commit()
    except Unavailable as fault:
        if fault.code != DAMAGED:
            raise
        # only this project is: each of its files that has no outcome yet is refused
        outcomes = work.outcomes if work is not None else []
        told = {outcome.place for outcome in outcomes}
        left = [each.candidate for each in group.items if each.candidate.place not in told]
        return Done(group.name, False, outcomes + [refused(each, fault) for each in left])  # noqa: FBT003
    finally:
        if work is not None:
            work.close()
    return Done(group.name, work.project.revision > 0, work.outcomes)


def refused(candidate: Candidate, fault: IndexFault, hint: str = "") -> Outcome:
    """Return the outcome of a file that is refused."""
    return Outcome(
        place=candidate.place,
        fate=Fate.REFUSED,
        code=fault.code,
        why=f"{fault.message} {hint}".strip(),
        may_pass=fault.code == UNREADABLE
        or isinstance(fault, Unavailable | Forbidden)
        or isinstance(fault.__cause__, Unavailable),  # of the source, where only this file failed
    )


class _Work:
    """Files of one project on their way."""

    def __init__(self, job: Job, project: Project) -> None:
        self._job = job
        self._pending: list[tuple[Candidate, Checked]] = []
        self._waiting = set[Identity]()
        self._size = 0
        self._gone = {parse_listed(each).identity for each in project.gone}
        self.project = project
        self.outcomes: list[Outcome] = []

    def take(self, item: Item) -> None:
        """Settle one file, or have it wait for the next commit."""
        if item.distribution.identity in self._waiting:
            self.commit()  # of two that are there once, the second is compared with the first
        fate = self._known(item)
        if fate is not None:
            self.outcomes.append(fate)
            return
        try:
            self._check(item)
        except IndexFault as fault:
            if isinstance(fault, Unavailable) and fault.code != DAMAGED:
                raise  # the next file would fare no better
            self.outcomes.append(refused(item.candidate, fault, self._hint(fault)))
        if self._size >= SPOOLED:
            self.commit()

    def commit(self) -> None:
        """Store and list everything that waits."""
        job, pending = self._job, self._pending
        if not pending:
            return
        name, checked = self.project.name, [each for _, each in pending]
        listing = job.uploads.listing(self.project, checked, job.caller)
        committed = job.ledger.commit(name, checked, listing)
        self.project = committed.after
        for (candidate, each), outcome in zip(
            pending, listing.outcomes(committed.before), strict=True
        ):
            self.outcomes.append(_outcome(candidate, each, outcome))
        self.close()

    def close(self) -> None:
        """Remove what waits in the spool."""
        for _, each in self._pending:
            each.arrival.path.unlink(missing_ok=True)
        self._pending, self._size = [], 0
        self._waiting.clear()

    def _known(self, item: Item) -> Outcome | None:
        """Return what becomes of a file that need not be read."""
        candidate = item.candidate
        if item.distribution.identity in self._gone:
            return Outcome(place=candidate.place, fate=Fate.DELETED)
        held = self.project.by_filename.get(candidate.filename)
        if held is None:
            return None
        said = claim(candidate, SHA256)
        if said == held.sha256 or (not said and self._is_untouched(held, candidate)):
            return Outcome(place=candidate.place, fate=Fate.THERE)
        return refused(candidate, taken(candidate.filename)) if said else None

    def _is_untouched(self, held: File, candidate: Candidate) -> bool:
        """Return whether a file was imported from there, before this import, and is the same."""
        return (
            held.imported_at is not None
            and held.imported_at < self._job.began
            and candidate.size == held.size
            and candidate.uploaded_at == held.uploaded_at
            and candidate.changed_at is not None  # moving another one there changes it
            and candidate.changed_at < held.imported_at.timestamp()
        )

    def _check(self, item: Item) -> None:
        job, candidate = self._job, item.candidate
        distribution = job.uploads.admit(candidate.filename, job.caller)
        arrival = fetch(candidate, distribution, job.uploads, job.read)
        try:
            checked = job.uploads.check(arrival, job.caller, self.project)
        except BaseException:
            arrival.path.unlink(missing_ok=True)
            raise
        self._pending.append((candidate, checked))
        self._waiting.add(distribution.identity)
        self._size += arrival.size

    def _hint(self, fault: IndexFault) -> str:
        if self._job.uploads.rules.lenient or isinstance(fault, Conflict):
            return ""
        return "With --lenient it may be taken." if fault.code in EXCUSABLE else ""


def _outcome(candidate: Candidate, checked: Checked, outcome: File | IndexFault) -> Outcome:
    if isinstance(outcome, IndexFault):
        return refused(candidate, outcome)
    if checked.is_held or outcome is not checked.file:
        return Outcome(place=candidate.place, fate=Fate.THERE)
    return Outcome(place=candidate.place, fate=Fate.NEW, excused=outcome.excused)
