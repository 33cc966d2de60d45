"""
Check of all documents and files of a store, and the probe whether it may be used.

A problem is damage, such as listed bytes that are missing or changed, or a journal and a document
that disagree. A note is about a harmless leftover or a foreign object. Only problems make the
command fail. The last journal entry and missing project names are always repaired, documents only
and the list of changes only with `rebuild`. With `sweep`, leftovers are deleted.

The permissions on a bucket cannot be looked up, as conditions, holds and proxies decide, too. So
the format object is written again with its own bytes, which needs the permissions of a commit;
where there is none, an empty object is created and deleted. A server probes writing when it starts,
unless it is read-only, and retries with backoff until it succeeds.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Event, Thread
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.changes import Changes
from wheelyard.catalog.device_logins import DeviceLoginRecords
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.files import listed_objects
from wheelyard.catalog.format import rewrite_format
from wheelyard.catalog.journaled_documents import (
    ACCESS,
    DECISIONS,
    INDEX_LIST,
    PUBLISHERS,
    project_journal,
)
from wheelyard.catalog.keys import FORMAT
from wheelyard.catalog.people import NameClaim
from wheelyard.catalog.projects import NameList, Projects
from wheelyard.catalog.stored_credentials import SessionKey, SessionRecords
from wheelyard.concurrency.runtime import ConflictRetries, Runtime, backoff_pauses
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.downloads.upkeep import counts_faults
from wheelyard.errors import DAMAGED, NotFound, WheelyardError
from wheelyard.model.api_token import TokenRecord, is_token_id
from wheelyard.model.changed_password import ChangedPasswords
from wheelyard.model.decoding import counted
from wheelyard.model.person import Person
from wheelyard.model.project import File, Project
from wheelyard.operations.findings import Findings, JournaledCheck, read_or_report, repair
from wheelyard.operations.sweep import ORPHAN_AGE, Orphans, PublishingCleanup, Sweep
from wheelyard.storage.base import ABSENT, STORAGE_DENIED, Entry, Key, Store, Stored, Stores
from wheelyard.storage.spool import Spool


class ChangesCheck(Struct, frozen=True):
    """Checks the list of changes, and marks commits that have no serial."""

    changes: Changes
    findings: Findings

    def run(self, revisions: Mapping[NormalizedName, int], *, rebuild: bool) -> None:
        """
        Check that projects with these revisions are in the list, or `rebuild` a damaged one.

        Raises Unavailable if objects cannot be listed.
        """
        self._note_foreign_objects()
        try:
            unmarked = self._unmarked(revisions, rebuild=rebuild)
            self.changes.mark(unmarked)
        except WheelyardError as fault:
            advice = fault.message
            if fault.code == DAMAGED:
                advice = (
                    f"{fault.message} With --rebuild the list of changes begins again, and whoever "
                    "follows it has to look at all projects once more"
                )
            self.findings.problems.append(f"the list of changes cannot be read: {advice}")
        else:
            self.findings.repaired += [
                f"{name}: its last change will be in the list of changes" for name in unmarked
            ]

    def _unmarked(
        self, revisions: Mapping[NormalizedName, int], *, rebuild: bool
    ) -> Mapping[NormalizedName, int]:
        try:
            return self.changes.unmarked(revisions)
        except WheelyardError as fault:
            if not rebuild or fault.code != DAMAGED:
                raise
        self.changes.rebuild(revisions)
        self.findings.repaired.append(f"{keys.CHANGES}: the list of changes begins again")
        return self.changes.unmarked(revisions)

    def _note_foreign_objects(self) -> None:
        for entry in self.changes.store.list(keys.PENDING):
            if keys.parse_pending_mark(entry.key) is None:
                self.findings.add_foreign_object(entry.key)
        for entry in self.changes.store.list(keys.SEALED_CHANGES):
            if keys.entry_number(keys.SEALED_CHANGES, entry.key) is None:
                self.findings.add_foreign_object(entry.key)


class CredentialsCheck(Struct, frozen=True):
    """Checks what is below `credentials/`, but for what has a journal."""

    store: Store
    publishing_cleanup: PublishingCleanup
    sessions: SessionRecords
    device_logins: DeviceLoginRecords

    def run(self, findings: Findings, *, sweep: bool) -> None:
        """
        Add what is wrong to `findings`, and with `sweep`, delete what is past its time.

        Raises Unavailable if objects cannot be listed or deleted.
        """
        self._check_tokens(findings, sweep=sweep)
        self._check_sessions(findings)
        self._check_people(findings)
        consequence = (
            "nobody can sign in with a password; restore it from a backup, or remove it, and the "
            "passwords of the htpasswd file count again"
        )
        self._check_record(keys.CHANGED_PASSWORDS, ChangedPasswords, consequence, findings)
        if sweep:
            findings.swept += self.publishing_cleanup.run() + self.sessions.remove_expired()
            findings.swept += self.device_logins.remove_expired()

    def _check_tokens(self, findings: Findings, *, sweep: bool) -> None:
        uses = self._token_uses(findings)  # listed first, so that no new token can have one
        for entry in self.store.list(keys.TOKENS):
            token_id = entry.key.removeprefix(keys.TOKENS).removesuffix(".json")
            if not is_token_id(token_id) or entry.key != keys.token(token_id):
                findings.add_foreign_object(entry.key)
                continue
            uses.pop(token_id, None)
            consequence = "its token opens nothing; remove it, and make another token"
            self._check_record(entry.key, TokenRecord, consequence, findings)
        if uses and sweep:
            for entry in uses.values():
                self.store.delete(entry.key)
            findings.swept += len(uses)
        elif uses:
            objects = counted(len(uses), "object")
            findings.notes.append(f"{objects} under {keys.LAST_USES} belong to no token")

    def _token_uses(self, findings: Findings) -> dict[str, Entry]:
        uses = dict[str, Entry]()
        for entry in self.store.list(keys.LAST_USES):
            token_id = keys.token_id_of_use(entry.key)
            if token_id is None:
                findings.add_foreign_object(entry.key)
            else:
                uses[token_id] = entry
        return uses

    def _check_sessions(self, findings: Findings) -> None:
        for entry in self.store.list(keys.SESSIONS):
            if entry.key == keys.SESSION_KEY:
                consequence = (
                    "nobody can sign in in a browser; remove it, and the next sign-in makes another"
                )
                self._check_record(entry.key, SessionKey, consequence, findings)
            elif keys.expiry_hour(entry.key) is None:
                findings.add_foreign_object(entry.key)
        for entry in self.store.list(keys.DEVICE_LOGINS):
            if keys.expiry_hour(entry.key) is None:
                findings.add_foreign_object(entry.key)

    def _check_people(self, findings: Findings) -> None:
        for entry in self.store.list(keys.PEOPLE):
            if keys.is_person(entry.key):
                consequence = (
                    "this person cannot sign in; remove it, and the next sign-in makes another"
                )
                self._check_record(entry.key, Person, consequence, findings)
            else:
                findings.add_foreign_object(entry.key)
        for entry in self.store.list(keys.PERSON_NAMES):
            if keys.is_person_name(entry.key):
                consequence = (
                    "who has this name cannot sign in; remove it, and the next person who comes "
                    "with the name has it"
                )
                self._check_record(entry.key, NameClaim, consequence, findings)
            else:
                findings.add_foreign_object(entry.key)

    def _check_record(
        self,
        key: Key,
        kind: type[TokenRecord | SessionKey | ChangedPasswords | Person | NameClaim],
        consequence: str,
        findings: Findings,
    ) -> None:
        stored = read_or_report(self.store, key, findings).stored
        try:
            if stored is not None:
                Codec(kind).decode(key, stored.body)
        except WheelyardError:
            findings.problems.append(f"{key} is damaged, so {consequence}")


_PROJECT_NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")

CheckProgress = Callable[[str, int], None]
"""Called with a distribution's filename, and how many bytes were just read, 0 at its start."""


class CheckedProject(Struct, frozen=True):
    """A checked project: its document, and whether document and journal agree."""

    name: NormalizedName
    project: Project | None
    """The document, read or rebuilt, or None if it is missing, damaged or unreadable."""
    is_consistent: bool
    """Whether document and journal are intact and agree. If not, its list of files is uncertain."""


CheckedProjects = Mapping[NormalizedName, CheckedProject]
Names = frozenset[NormalizedName]


class Check(Struct, frozen=True):
    """
    Checks a whole store, and repairs simple damage.

    If asked to, it rebuilds documents and deletes leftovers, too.
    """

    stores: Stores
    spool: Spool
    projects: Projects
    sweep: Sweep
    runtime: Runtime
    credentials: CredentialsCheck
    changes: Changes
    threads: int = 1
    """The number of projects that are checked concurrently."""

    def run(
        self,
        progress: CheckProgress = lambda _what, _size: None,
        *,
        rebuild: bool = False,
        sweep: bool = False,
    ) -> Findings:
        """
        Check the whole store.

        With `rebuild`, damaged documents are made again from their journals. With `sweep`,
        leftovers are deleted. An object that cannot be read is a problem, and ends nothing. Raises
        Unavailable if objects cannot be listed or deleted.
        """
        findings = Findings()
        checked = dict[NormalizedName, CheckedProject]()
        # first, as a mark may have journal entries of a copy that died: without them a project
        # would be reported as damaged
        with suppress(WheelyardError):  # what is not completed is a problem below
            self.changes.complete_journals()
        names = self._project_names(findings)
        check = partial(self._check_project, progress=progress, rebuild=rebuild)
        for project_findings, project in prefetch_map(check, names, self.threads):
            findings.add(project_findings)
            checked[project.name] = project
        listed = self._repair_names(checked.values(), findings)
        revisions = {
            name: checked_project.project.revision if checked_project.project else 0
            for name, checked_project in checked.items()
        }
        ChangesCheck(self.changes, findings).run(revisions, rebuild=rebuild)
        self.credentials.run(findings, sweep=sweep)
        JournaledCheck(ACCESS, self.stores.credentials, findings).run(rebuild=rebuild)
        JournaledCheck(PUBLISHERS, self.stores.credentials, findings).run(rebuild=rebuild)
        JournaledCheck(DECISIONS, self.stores.documents, findings).run(rebuild=rebuild)
        JournaledCheck(INDEX_LIST, self.stores.documents, findings).run(rebuild=rebuild)
        self._check_counts(findings)
        self._check_leftovers(checked, listed, findings, sweep=sweep)
        if findings.problems:
            with suppress(WheelyardError):
                self.stores.documents.delete(keys.COPIED)  # the next copy compares everything
        return findings

    def _check_counts(self, findings: Findings) -> None:
        """Add the damaged counts of downloads of all indexes to `findings`."""
        for prefix in self.sweep.removal.indexes():
            for key, advice in counts_faults(self.stores.documents, prefix):
                if advice:
                    findings.problems.append(f"{key} is damaged; {advice}")
                else:
                    findings.add_foreign_object(key)

    def _check_project(
        self, name: NormalizedName, progress: CheckProgress, *, rebuild: bool
    ) -> tuple[Findings, CheckedProject]:
        """Check a project's journal, document and files."""
        findings = Findings(projects=1)
        check = JournaledCheck(project_journal(name), self.stores.documents, findings)
        project = check.run(rebuild=rebuild)
        removal, now = self.sweep.removal, self.runtime.now()
        for file in removal.held(project, now) if project else ():
            findings.files += 1 if file.keep_until is None else 0
            progress(file.filename, 0)
            for key, expected in listed_objects(name, file):
                problem = self._fault_of(key, expected, file, findings, progress)
                if problem:
                    findings.problems.append(f"{name}: {key} {problem}")
        return findings, CheckedProject(name, project, check.is_consistent)

    def _fault_of(
        self, key: Key, expected: str, file: File, findings: Findings, progress: CheckProgress
    ) -> str:
        """Return what is wrong with an object of a file, and what to do, or an empty text."""
        actual = sha256()
        advice = f"upload {file.filename} again, or restore {key} from a backup"
        try:
            for chunk in self.stores.files.read(key):
                actual.update(chunk)
                findings.size += len(chunk)
                progress(file.filename, len(chunk))
        except NotFound:
            return f"is missing; {advice}"
        except WheelyardError as fault:
            return f"cannot be read: {fault.message} If that stays so, remove it, then {advice}"
        return "" if actual.hexdigest() == expected else f"differs from the uploaded file; {advice}"

    def _project_names(self, findings: Findings) -> list[NormalizedName]:
        names = set[NormalizedName]()
        for prefix, end in ((keys.PROJECTS, ".json"), (keys.JOURNAL, "/")):
            for entry in self.stores.documents.list(prefix):
                text, separator, _ = entry.key.removeprefix(prefix).partition(end)
                name = NormalizedName(text)
                is_ours = prefix == keys.JOURNAL or entry.key == keys.project(name)
                if _PROJECT_NAME.fullmatch(name) and separator and is_ours:
                    names.add(name)
                else:
                    findings.add_foreign_object(entry.key)
        return sorted(names)

    def _repair_names(self, checked: Iterable[CheckedProject], findings: Findings) -> Names | None:
        """
        Add missing projects to the list of names, and report names whose project is lost.

        Return the names that were listed before, or None if the list is missing or unreadable.
        """
        read = read_or_report(self.stores.documents, keys.PROJECT_NAMES, findings)
        stored, codec, name_list = read.stored, Codec(NameList), None
        with suppress(WheelyardError):
            name_list = codec.decode(keys.PROJECT_NAMES, stored.body) if stored else None
        listed = name_list.as_set if name_list else frozenset[NormalizedName]()
        self._check_claims(sorted(listed - {project.name for project in checked}), findings)
        # a malformed object at the key of a document is not a project
        existing = {project.name for project in checked if project.project is not None}
        missing = {name for name in existing - listed if not self._is_released(name)}
        if missing and not read.has_failed:
            before = name_list or NameList()
            body = codec.encode(before.with_names(missing | listed, self.runtime.new_id()))
            expect = stored.version if stored else ABSENT
            if repair(self.stores.documents, keys.PROJECT_NAMES, body, expect, findings):
                added = ", ".join(sorted(missing))
                findings.repaired.append(f"added to the list of projects: {added}")
        return name_list.as_set if name_list else None

    def _is_released(self, name: NormalizedName) -> bool:
        document = self.projects.documents.get(keys.project(name), "current").value
        return document is not None and document.is_released

    def _check_claims(self, names: Iterable[NormalizedName], findings: Findings) -> None:
        """Report listed names that have neither document nor journal."""
        # files that are younger may be those of an upload that is not committed yet
        cutoff = (self.runtime.now() - ORPHAN_AGE).timestamp()
        for name in names:
            files = self.stores.files.list(f"{keys.FILES}{name}/")
            if any(entry.modified < cutoff for entry in files):
                findings.problems.append(
                    f"{name}: listed, and its document and journal are gone; restore them from a "
                    "backup"
                )
            else:
                findings.notes.append(
                    f"{name}: private, and nothing is published under it: an upload did not "
                    "finish, or is under way; if it had files, restore them from a backup, and if "
                    f"nobody needs the name, run 'wheelyard names release {name}'"
                )

    def _check_leftovers(
        self, checked: CheckedProjects, listed: Names | None, findings: Findings, *, sweep: bool
    ) -> None:
        now = self.runtime.now()
        cutoff, orphans = (now - ORPHAN_AGE).timestamp(), 0
        may_sweep = sweep and listed is not None
        for project_orphans in self._find_orphans(findings):
            project = checked.get(project_orphans.project)
            # without the list of names, any project may have existed
            is_lost = listed is None or project_orphans.project in listed
            # an inconsistent project may list these bytes once it is restored
            if project.is_consistent if project else not is_lost:
                swept = self.sweep.remove(project_orphans, now.timestamp()) if may_sweep else 0
                findings.swept += swept
                orphans += len(project_orphans.entries) - swept
        for path in self.spool.leftovers(cutoff) if sweep else ():
            path.unlink(missing_ok=True)
            findings.swept += 1
        scratch = sum(1 for _ in self.spool.leftovers(now.timestamp()))
        if orphans:
            findings.notes.append(
                f"{counted(orphans, 'object')} under {keys.FILES} belong to no listed file: "
                "leftovers of uploads that did not finish, or that are under way"
            )
        if scratch:
            files = counted(scratch, "scratch file")
            findings.notes.append(f"{files} of uploads in {self.spool.folder}")

    def _find_orphans(self, findings: Findings) -> list[Orphans]:
        try:
            return self.sweep.find(findings=findings)
        except WheelyardError as fault:
            findings.notes.append(f"leftovers of uploads were not looked for: {fault.message}")
            return []


FIRST_RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 60.0
"""The pause after a failed probe: the first limit, which doubles each time, and the last."""
NOT_PROBED_YET: Final = "The first write has not ended yet."

Reason = Callable[[], str]
"""Returns why no write has succeeded since the server started, or an empty text once one has."""
Step = Callable[[], object]
"""One operation on the store."""

logger = logging.getLogger("wheelyard")


class _TrialObject(Struct, frozen=True):
    """An object on which the permissions are tried."""

    store: Store
    key: Key

    def list(self) -> None:
        next(self.store.list(self.key), None)

    def read(self) -> None:
        self.store.get(self.key)

    def write(self) -> None:
        self.store.put(self.key, b"", None)

    def delete(self) -> None:
        self.store.delete(self.key)


def read_steps(store: Store, key: Key) -> tuple[Step, ...]:
    """Return the steps that list and read `key`, which may be missing."""
    trial = _TrialObject(store, key)
    return (trial.list, trial.read)


def write_steps(store: Store, key: Key, retries: ConflictRetries) -> tuple[Step, ...]:
    """
    Return the step that rewrites the format object, or those of `scratch_write_steps`.

    The latter if the store is empty, or its format object cannot be read.
    """
    with suppress(WheelyardError):
        if isinstance(store.get(FORMAT), Stored):
            return (partial(rewrite_format, store, retries),)
    return scratch_write_steps(store, key)  # the store is empty, or its format cannot be read


def scratch_write_steps(store: Store, key: Key) -> tuple[Step, ...]:
    """Return the steps that write an empty object at `key`, and delete it."""
    trial = _TrialObject(store, key)
    return (trial.write, trial.delete)


def failures_of(steps: Iterable[Step]) -> Iterator[WheelyardError]:
    """
    Run the steps and yield their errors, or nothing if all succeed.

    The first error that is not a missing permission is the last, as all others would be the same.
    """
    for step in steps:
        try:
            step()
        except WheelyardError as error:
            yield error
            if error.code != STORAGE_DENIED:
                return


class StoreProbe:
    """
    Repeats the steps until all succeed, and keeps the reason of a failure.

    The reason is also in `status_file`, for the other processes of a server.
    """

    def __init__(
        self, steps: Sequence[Step], runtime: Runtime, status_file: Path | None = None
    ) -> None:
        self.reason = NOT_PROBED_YET
        """Why the store cannot be written, or an empty text once all steps have succeeded."""
        # the thread of the probe writes it, and all others only read it
        self._steps = steps
        self._runtime = runtime
        self._status_file = status_file
        self._first_result = Event()

    def start(self) -> None:
        """Start `run` in a daemon thread, and return at once."""
        Thread(target=self.run, name="store-probe", daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Wait up to `seconds` until the first run of the steps has succeeded or failed."""
        self._first_result.wait(seconds)

    def run(self) -> None:
        """
        Run the steps, with pauses, until all succeed.

        The log gets each new reason, and success after a failure.
        """
        pauses = backoff_pauses(
            self._runtime.random, FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, at_least=0.5
        )
        logged = ""
        while True:
            error = next(failures_of(self._steps), None)
            # whoever asks /ready may not know where the store is
            self._publish("" if error is None else f"The log says why ({error.code}).")
            if error is None:
                if logged:
                    logger.info("the store can be written now, so /ready answers 200")
                return
            if error.message != logged:
                logged = error.message
                logger.warning("the store cannot be written, so /ready answers 503: %s", logged)
            self._runtime.pause(next(pauses))

    def _publish(self, reason: str) -> None:
        self.reason = reason
        if self._status_file is not None:
            # by another name first, so that no process reads half of it
            with suppress(OSError):  # the next probe writes it again
                new = self._status_file.with_suffix(".new")
                new.write_text(reason)
                new.replace(self._status_file)
        self._first_result.set()


def always_writable() -> str:
    """Return an empty text: the `Reason` of a server that does not probe its store."""
    return ""


def recorded_reason(status_file: Path) -> str:
    """
    Return the reason in the `status_file` of the server's probe.

    It is empty once a write has succeeded, and NOT_PROBED_YET if the file cannot be read.
    """
    try:
        return status_file.read_text()
    except OSError:
        return NOT_PROBED_YET
