"""
Check of all documents and files of a store, and the probe whether it may be used.

A problem is damage, such as listed bytes that are missing or changed, or a journal and a document
that disagree. A note is about a harmless leftover or a foreign object. Only problems make the
command fail. The last journal entry and missing project names are always repaired. Documents and
the list of changes are only made again with `rebuild`. With `sweep`, leftovers are deleted.

The permissions on a bucket cannot be looked up, as conditions, holds and proxies decide, too. So
the probe writes the format object again with its own bytes, which needs the permissions of a
commit. If the store has no format object, the probe creates an empty object, and deletes it. A
server probes its store when it starts, unless it is read-only, and goes on until a probe succeeds.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from math import inf
from pathlib import Path
from threading import Event, Thread
from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys, removed
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.format import rewrite_format
from wheelyard.catalog.journaled_documents import DOCUMENTS
from wheelyard.catalog.keys import FORMAT
from wheelyard.catalog.opening import Catalog
from wheelyard.catalog.person_records import NameClaim
from wheelyard.catalog.session_records import SessionKey, SessionRecords
from wheelyard.concurrency.runtime import ConflictRetries, Runtime, backoff_pauses
from wheelyard.downloads.upkeep import counts_faults
from wheelyard.errors import UNREADABLE_CODES, Unavailable, WheelyardError
from wheelyard.model.api_token import TokenRecord, is_token_id
from wheelyard.model.decoding import counted
from wheelyard.model.person import Person
from wheelyard.operations.check_index import CheckedIndex, CheckProgress, IndexCheck
from wheelyard.operations.findings import Findings, JournaledCheck, read_or_report
from wheelyard.operations.index_definitions import IndexDefinitions
from wheelyard.operations.publishing_cleanup import PublishingCleanup
from wheelyard.operations.sweep import ORPHAN_AGE, Orphans, Sweep
from wheelyard.storage.base import STORAGE_DENIED, Entry, Key, Store, Stored, Stores
from wheelyard.storage.spool import Spool

CatalogOf = Callable[[str], Catalog]
"""Returns the catalog of an index of the store by its name, also if nobody defines it."""
FIRST_RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 60.0
"""The pause after a failed probe: the first limit, which doubles each time, and the last."""
NOT_PROBED_YET: Final = "The first write has not ended yet."
Reason = Callable[[], str]
"""
Returns why no write has succeeded since the server started. An empty text means that a write has
succeeded.
"""
Step = Callable[[], object]
"""One operation on the store."""
logger = logging.getLogger("wheelyard")


class CredentialsCheck(Struct, frozen=True):
    """Checks the objects below `credentials/`, but for documents that have a journal."""

    store: Store
    publishing_cleanup: PublishingCleanup
    sessions: SessionRecords
    outdated_lines: removed.OutdatedLines
    line_of: removed.LineOf | None
    """
    Returns the line of a name in the htpasswd file of the settings. None means that the settings
    name no such file.
    """
    retries: ConflictRetries

    def run(self, findings: Findings, *, sweep: bool) -> None:
        """
        Add the problems to `findings`, and with `sweep`, delete what is of no use any more.

        Of no use are the last uses of tokens that are gone, expired sessions, and outdated lines
        that were replaced. Raises Unavailable if objects cannot be listed or deleted.
        """
        self._check_tokens(findings, sweep=sweep)
        self._check_sessions(findings)
        self._check_device_logins(findings, sweep=sweep)
        self._check_people(findings)
        self._check_passwords(findings, sweep=sweep)
        if sweep:
            findings.swept += self.publishing_cleanup.run() + self.sessions.remove_expired()

    def _check_tokens(self, findings: Findings, *, sweep: bool) -> None:
        # listed before the tokens, so that none of these uses is of a token that is made meanwhile
        unowned_uses = self._list_last_uses(findings)
        for entry in self.store.list(keys.TOKENS):
            token_id = entry.key.removeprefix(keys.TOKENS).removesuffix(".json")
            if not is_token_id(token_id) or entry.key != keys.token(token_id):
                findings.add_foreign_object(entry.key)
                continue
            unowned_uses.pop(token_id, None)
            consequence = "its token opens nothing; remove it, and make another token"
            self._check_record(entry.key, TokenRecord, consequence, findings)
        if unowned_uses and sweep:
            for entry in unowned_uses.values():
                self.store.delete(entry.key)
            findings.swept += len(unowned_uses)
        elif unowned_uses:
            objects = counted(len(unowned_uses), "object")
            findings.add_note(f"{objects} under {keys.LAST_USES} belong to no token")

    def _list_last_uses(self, findings: Findings) -> dict[str, Entry]:
        """Return the objects that say when a token was last used, by the id of the token."""
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

    def _check_device_logins(self, findings: Findings, *, sweep: bool) -> None:
        """Report or delete the logins through a browser that earlier versions have stored."""
        logins = list[Entry]()
        for entry in self.store.list(removed.DEVICE_LOGINS):
            if removed.is_device_login(entry.key):
                logins.append(entry)
            else:
                findings.add_foreign_object(entry.key)
        if logins and sweep:
            for entry in logins:
                self.store.delete(entry.key)
            findings.swept += len(logins)
        elif logins:
            objects = counted(len(logins), "object")
            findings.add_note(f"{objects} under {removed.DEVICE_LOGINS}, of no use any more")

    def _check_passwords(self, findings: Findings, *, sweep: bool) -> None:
        """Check the document of outdated lines. A sweep drops the lines that were replaced."""
        key = removed.CHANGED_PASSWORDS
        stored = read_or_report(self.store, key, findings).stored
        if stored is None:
            return
        try:
            passwords = Codec(removed.ChangedPasswords).decode(key, stored.body)
        except WheelyardError:
            findings.problems.append(
                f"{key} is damaged, so nobody can sign in with a password; restore it from a "
                "backup, or give everybody another line in the htpasswd file, and remove it"
            )
            return

        # without an htpasswd file nobody knows which lines were replaced
        if self.line_of is None:
            return
        absent_names = passwords.absent_names(self.line_of)
        if absent_names:
            findings.add_note(
                f"{key} keeps the outdated lines of people who are not in the htpasswd file, as "
                f"that of another server may have these lines: {', '.join(absent_names)}"
            )
        if sweep:
            self._sweep_passwords(self.line_of, findings)
            return
        replaced_lines = passwords.replaced(self.line_of)
        if replaced_lines:
            names = sorted({line.name for line in replaced_lines.values()})
            findings.add_note(
                f"{key} has lines that were replaced, of no use any more: {', '.join(names)}"
            )
        elif passwords.is_empty:
            findings.add_note(f"{key} is empty, and of no use any more")

    def _sweep_passwords(self, line_of: removed.LineOf, findings: Findings) -> None:
        """
        Drop the outdated lines that were replaced, and delete the document if it is empty then.

        Raises Unavailable if the store does not answer.
        """
        key = removed.CHANGED_PASSWORDS
        try:
            dropped = self.outdated_lines.drop_replaced(line_of, self.retries)
            passwords = self.outdated_lines.documents.get(key, "current").value
        except Unavailable as fault:
            if fault.code not in UNREADABLE_CODES:
                raise
            findings.add_note(f"{key} was not swept: {fault.message}")
            return
        # A delete has no condition, so it may delete lines that a copy has just added. The next
        # copy brings them again.
        if passwords is not None and passwords.is_empty:
            self.store.delete(key)
            dropped = max(dropped, 1)
        findings.swept += dropped

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
        kind: type[TokenRecord | SessionKey | Person | NameClaim],
        consequence: str,
        findings: Findings,
    ) -> None:
        """Add a problem if a record is damaged. It cannot be rebuilt, as it has no journal."""
        stored = read_or_report(self.store, key, findings).stored
        if stored is None:
            return
        try:
            Codec(kind).decode(key, stored.body)
        except WheelyardError:
            findings.problems.append(f"{key} is damaged, so {consequence}")


class Check(Struct, frozen=True):
    """
    Checks a whole store, and repairs simple damage.

    If asked to, it also rebuilds documents and deletes leftovers.
    """

    stores: Stores
    spool: Spool
    catalog_of: CatalogOf
    definitions: IndexDefinitions
    sweep: Sweep
    runtime: Runtime
    credentials: CredentialsCheck
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
        Check the whole store with all indexes that it has objects of, and repair simple damage.

        The missing last entries of journals, missing names of projects, and marks of commits that
        the list of changes lacks are written without any flag. If there is a problem, the next copy
        into the store compares everything. With `rebuild`, damaged documents are made again from
        their journals, and a damaged list of changes begins again. With `sweep`, leftovers are
        deleted: of uploads and deletions, once they are a day old or their filename was deleted, of
        credentials, once their time is over, and scratch files that are a day old.

        `progress` is called from several threads. The check goes on after an object that cannot be
        read, which is a problem. Raises Unavailable if objects cannot be listed or deleted. With
        `sweep`, also raises Unavailable, before anything is read, if the clock is wrong (code
        `clock_differs`), or the store cannot be written.
        """
        clock = self.sweep.removal.clock

        # a wrong clock would let a sweep delete files whose upload is under way
        now = clock.require_agreement() if sweep else clock.estimate()
        findings = Findings()
        file_faults = dict[Key, str]()
        names = [keys.index_in(prefix) for prefix in self.sweep.removal.indexes()]
        indexes = list[CheckedIndex]()
        for name in names:
            is_last = name == names[-1]
            index_check = self._index_check(name, file_faults, now, is_last=is_last)
            indexes.append(index_check.run(findings, progress, rebuild=rebuild))
        self.credentials.run(findings, sweep=sweep)
        for kind in DOCUMENTS:
            store = self.stores.documents
            if kind.key.startswith(keys.CREDENTIALS):
                store = self.stores.credentials
            JournaledCheck(kind, store, findings).run(rebuild=rebuild)
        self._check_definitions(indexes[0], findings)
        self._check_counts(findings)
        self._check_leftovers(indexes, findings, now, sweep=sweep)
        if findings.problems:
            for prefix in self.sweep.removal.indexes():
                with suppress(WheelyardError):  # the next copy compares everything
                    self.stores.documents.delete(Key(f"{prefix}{keys.COPIED}"))
        return findings

    def _index_check(
        self, name: str, file_faults: dict[Key, str], now: datetime, *, is_last: bool
    ) -> IndexCheck:
        """Return the check of one index of the store."""
        catalog = self.catalog_of(name)
        return IndexCheck(
            name=name,
            documents=catalog.stores.documents,
            files=self.stores.files,
            projects=catalog.projects,
            changes=catalog.changes,
            removal=self.sweep.removal,
            runtime=self.runtime,
            now=now,
            threads=self.threads,
            file_faults=file_faults,
            is_last=is_last,
        )

    def _check_definitions(self, main: CheckedIndex, findings: Findings) -> None:
        """Report the definitions that are not served, and names of both an index and a project."""
        try:
            in_force = self.definitions.load()
        except WheelyardError:  # the check of the list itself has reported the problem
            return
        findings.problems += in_force.problems.values()
        findings.notes += in_force.removed_rules()
        for name in sorted(in_force.names & main.existing_projects):
            findings.problems.append(
                f"index {name}: a project of main has this name, too; its page at /{name}/ is that "
                "of the index; remove one of them"
            )

    def _check_counts(self, findings: Findings) -> None:
        """Add the damaged counts of downloads of all indexes to `findings`."""
        for prefix in self.sweep.removal.indexes():
            for key, advice in counts_faults(self.stores.documents, prefix):
                if advice:
                    findings.problems.append(f"{key} is damaged; {advice}")
                else:
                    findings.add_foreign_object(key)

    def _check_leftovers(
        self, indexes: Sequence[CheckedIndex], findings: Findings, now: datetime, *, sweep: bool
    ) -> None:
        """Report the files that no project lists, and the scratch files, or delete them."""
        orphans = 0

        # without the list of names, any project may have existed
        may_sweep = sweep and all(index.has_all_names for index in indexes)
        for project_orphans in self._find_orphans(now, findings):
            # an inconsistent project may list these bytes once it is restored
            if any(index.may_list_more(project_orphans.project) for index in indexes):
                continue
            swept = 0
            if may_sweep:
                swept = self.sweep.remove(project_orphans, now)
            findings.swept += swept
            orphans += len(project_orphans.entries) - swept
        if sweep:
            # the spool of a bucket is on a disk of this machine, which has a clock of its own
            oldest_kept = self.spool.time() - ORPHAN_AGE.total_seconds()
            for path in self.spool.leftovers(oldest_kept):
                path.unlink(missing_ok=True)
                findings.swept += 1
        scratch_files = sum(1 for _ in self.spool.leftovers(inf))
        if orphans:
            findings.add_note(
                f"{counted(orphans, 'object')} under {keys.FILES} belong to no listed file: "
                "leftovers of uploads that did not finish, or that are under way"
            )
        if scratch_files:
            files_text = counted(scratch_files, "scratch file")
            findings.add_note(f"{files_text} of uploads in {self.spool.folder}")

    def _find_orphans(self, now: datetime, findings: Findings) -> list[Orphans]:
        """
        Return the files that no project lists.

        Returns nothing, and adds a note, if a document cannot be read: it may list any file.
        """
        try:
            return self.sweep.find(now, findings)
        except WheelyardError as fault:
            findings.add_note(f"leftovers of uploads were not looked for: {fault.message}")
            return []


class _TrialObject(Struct, frozen=True):
    """An object on which the permissions of a store are tried, one method for each of them."""

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
    Return the steps that write into a store.

    That is one step, which rewrites the format object with its own bytes. If the store has no
    format object, or it cannot be read, two steps write and delete an empty object at `key`.
    """
    with suppress(WheelyardError):
        if isinstance(store.get(FORMAT), Stored):
            return (partial(rewrite_format, store, retries),)
    return scratch_write_steps(store, key)


def scratch_write_steps(store: Store, key: Key) -> tuple[Step, ...]:
    """Return the steps that write an empty object at `key`, and delete it."""
    trial = _TrialObject(store, key)
    return (trial.write, trial.delete)


def failures_of(steps: Iterable[Step]) -> Iterator[WheelyardError]:
    """
    Run the steps and yield their errors, or nothing if all succeed.

    The steps end at the first error other than a missing permission: all later steps would fail
    alike.
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

    Writes the reason into `status_file`, too, for the other processes of a server.
    """

    def __init__(
        self, steps: Sequence[Step], runtime: Runtime, status_file: Path | None = None
    ) -> None:
        # the thread of the probe sets the reason, and all other threads only read it
        self.reason = NOT_PROBED_YET
        """Why the store cannot be written, or an empty text once all steps have succeeded."""
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
        logged_message = ""
        while True:
            error = next(failures_of(self._steps), None)
            if error is None:
                self._publish("")
                if logged_message:
                    logger.info("the store can be written now, so /ready answers 200")
                return
            # the message may say where the store is, which nobody who asks /ready has to know
            self._publish(f"The log says why ({error.code}).")
            # once for each message: the probe goes on as long as a bucket is down
            if error.message != logged_message:
                logged_message = error.message
                logger.warning(
                    "the store cannot be written, so /ready answers 503: %s", logged_message
                )
            self._runtime.pause(next(pauses))

    def _publish(self, reason: str) -> None:
        """Set `reason` for the threads of this process, and write it for the other processes."""
        self.reason = reason
        if self._status_file is not None:
            # under another name first, so that no process reads a part of the text
            with suppress(OSError):  # the next probe writes the file again
                new_file = self._status_file.with_suffix(".new")
                new_file.write_text(reason)
                new_file.replace(self._status_file)
        self._first_result.set()


def always_writable() -> str:
    """Return an empty text: the `Reason` of a server that does not probe its store."""
    return ""


def recorded_reason(status_file: Path) -> str:
    """
    Return the reason in the `status_file` of the server's probe.

    The reason is empty once a write has succeeded, and NOT_PROBED_YET if the file cannot be read.
    """
    try:
        return status_file.read_text()
    except OSError:
        return NOT_PROBED_YET
