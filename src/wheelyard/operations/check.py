"""
Verify every byte, digest, link and document of a store, and mend what can be mended.

A problem is damage: listed bytes that are missing or changed, a journal or a document that does
not add up. A note is what a crash or a person leaves behind. Only problems make the command fail.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.documents import Codec
from wheelyard.catalog.files import ORPHAN_AGE
from wheelyard.catalog.projects import NameList, Projects
from wheelyard.concurrency.pacing import Ambient
from wheelyard.errors import Conflict, IndexFault
from wheelyard.model.text import counted
from wheelyard.model.token import TokenRecord, is_token_id
from wheelyard.operations.check_project import (
    CheckedProject,
    Findings,
    Progress,
    ProjectCheck,
    Unreadable,
    look,
    mend,
)
from wheelyard.operations.spent import Spent
from wheelyard.storage.base import ABSENT, Entry, Store, Stored
from wheelyard.storage.spool import Spool

Checked = Mapping[NormalizedName, CheckedProject]
Names = frozenset[NormalizedName]

_NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Check:
    """The check operation, wired."""

    store: Store
    spool: Spool
    projects: Projects
    ambient: Ambient
    spent: Spent
    threads: int = 1
    """Projects that are checked at a time."""

    def run(
        self,
        progress: Progress = lambda _what, _size: None,
        *,
        rebuild: bool = False,
        sweep: bool = False,
    ) -> Findings:
        """
        Check the whole store, and return what was found.

        Args:
            progress: Told of every file.
            rebuild: Fold every journal again into its document.
            sweep: Remove leftovers.
        """
        findings = Findings()
        checked = dict[NormalizedName, CheckedProject]()
        for found, project in self._checked(self._names(findings), progress, rebuild=rebuild):
            findings.add(found)
            checked[project.name] = project
        known = self._mend_names(checked.values(), findings)
        self._check_tokens(findings, sweep=sweep)
        self._look_at_leftovers(checked, known, findings, sweep=sweep)
        if sweep:
            findings.swept += self.spent.sweep()
        return findings

    def _checked(
        self, names: Iterable[NormalizedName], progress: Progress, *, rebuild: bool
    ) -> Iterator[tuple[Findings, CheckedProject]]:
        def check(name: NormalizedName) -> tuple[Findings, CheckedProject]:
            findings = Findings(projects=1)
            project = ProjectCheck(self.store, name, findings, progress)
            return findings, project.run(rebuild=rebuild)

        if self.threads == 1:
            yield from map(check, names)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            try:
                yield from pool.map(check, names)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)  # nothing more after Ctrl-C

    def _names(self, findings: Findings) -> list[NormalizedName]:
        found = set[NormalizedName]()
        for prefix, end in ((keys.PROJECTS, ".json"), (keys.JOURNAL, "/")):
            for entry in self.store.list(prefix):
                text, separator, _ = entry.key.removeprefix(prefix).partition(end)
                name = NormalizedName(text)
                is_ours = prefix == keys.JOURNAL or entry.key == keys.project(name)
                if _NAME.fullmatch(name) and separator and is_ours:
                    found.add(name)
                else:
                    findings.note_stray(entry.key)
        return sorted(found)

    def _mend_names(self, checked: Iterable[CheckedProject], findings: Findings) -> Names | None:
        """Write the name list again if it lacks a project; return what it had, if it was whole."""
        found = look(self.store, keys.NAMES, findings)
        stored = found if isinstance(found, Stored) else None
        codec, known = Codec(NameList), None
        with suppress(IndexFault):
            known = codec.decode(keys.NAMES, stored.body).known if stored else None
        listed = known or frozenset()
        findings.problems += [
            f"{name}: listed, and its document and journal are gone; restore them from a backup"
            for name in sorted(listed - {each.name for each in checked})
        ]
        # an object that only lies where a document would lie makes no project
        real = {each.name for each in checked if each.project is not None}
        if real - listed and not isinstance(found, Unreadable):
            body = codec.encode(NameList(tuple(sorted(real | listed))))
            expect = stored.version if stored else ABSENT
            if mend(self.store, keys.NAMES, body, expect, findings):
                added = ", ".join(sorted(real - listed))
                findings.mended.append(f"added to the list of projects: {added}")
        return known

    def _check_tokens(self, findings: Findings, *, sweep: bool) -> None:
        codec = Codec(TokenRecord)
        uses = self._uses(findings)  # first, so that a token which is made just now has none yet
        for entry in self.store.list(keys.TOKENS):
            token_id = entry.key.removeprefix(keys.TOKENS).removesuffix(".json")
            if not is_token_id(token_id) or entry.key != keys.token(token_id):
                findings.note_stray(entry.key)
                continue
            uses.pop(token_id, None)
            found = look(self.store, entry.key, findings)
            try:
                if isinstance(found, Stored):
                    codec.decode(entry.key, found.body)
            except IndexFault:
                findings.problems.append(
                    f"{entry.key} is damaged, so its token opens nothing; remove it, and make "
                    "another token"
                )
        if uses and sweep:
            for entry in uses.values():
                self.store.delete(entry.key, None)
            findings.swept += len(uses)
        elif uses:
            objects = counted(len(uses), "object")
            findings.notes.append(f"{objects} under {keys.USES} belong to no token")

    def _uses(self, findings: Findings) -> dict[str, Entry]:
        uses = dict[str, Entry]()
        for entry in self.store.list(keys.USES):
            token_id = keys.user_of(entry.key)
            if token_id is None:
                findings.note_stray(entry.key)
            else:
                uses[token_id] = entry
        return uses

    def _look_at_leftovers(
        self, checked: Checked, known: Names | None, findings: Findings, *, sweep: bool
    ) -> None:
        now = self.ambient.now()
        cutoff, orphans = (now - ORPHAN_AGE).timestamp(), 0
        for entry, owner in self._orphans(checked, known, findings):
            found = checked.get(NormalizedName(owner.project))
            # a deleted filename never comes back, so its bytes need not wait
            is_gone = bool(found and found.project and owner.filename in found.project.gone)
            may_go = sweep and (is_gone or entry.modified < cutoff)
            if may_go and self._sweep(entry, owner):
                findings.swept += 1
            else:
                orphans += 1
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

    def _orphans(
        self, checked: Checked, known: Names | None, findings: Findings
    ) -> Iterator[tuple[Entry, keys.Owner]]:
        """Yield bytes that nothing lists, and whose; none of a project that may list them."""
        listed = {key for each in checked.values() for key in each.listed_keys()}
        for entry in self.store.list(keys.FILES):
            if entry.key in listed:
                continue
            owner = keys.owner_of(entry.key)
            if owner is None:
                findings.note_stray(entry.key)
                continue
            found = checked.get(NormalizedName(owner.project))
            # where the list of names is lost, any project may have been there
            if found.is_sound if found else known is not None and owner.project not in known:
                yield entry, owner

    def _sweep(self, entry: Entry, owner: keys.Owner) -> bool:
        key = keys.project(NormalizedName(owner.project))
        project = self.projects.documents.get(key, "now").value
        file = project.by_filename.get(owner.filename) if project else None
        if file is not None and file.sha256 == owner.sha256:
            return False
        with suppress(Conflict):
            self.store.delete(entry.key, entry.version)
            return True
        return False
