"""
Verify every byte, digest, link and document of a store, and mend what can be mended.

A problem is damage: listed bytes that are missing or changed, a journal or a document that does
not add up. A note is what a crash or a person leaves behind; `check` puts right by itself what it
can, and `--sweep` removes leftovers. Only problems make the command fail.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.codec import Codec
from wheelyard.catalog.files import ORPHAN_AGE
from wheelyard.catalog.names import NameList
from wheelyard.catalog.projects import Projects
from wheelyard.errors import Conflict, IndexFault
from wheelyard.model.ambient import Ambient
from wheelyard.model.token import TokenRecord
from wheelyard.operations.check_project import CheckedProject, ProjectCheck
from wheelyard.operations.findings import Findings, Progress, counted
from wheelyard.storage.base import ABSENT, Entry, Store, Stored
from wheelyard.storage.spool import Spool

_NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What else a check is to do."""

    rebuild: bool = False
    sweep: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """The check operation, wired."""

    store: Store
    spool: Spool
    projects: Projects
    ambient: Ambient

    def run(self, options: CheckOptions, progress: Progress) -> Findings:
        """
        Check the whole store, and return what was found.

        Raises:
            Unavailable: The store does not answer.
        """
        findings = Findings()
        checked = dict[NormalizedName, CheckedProject]()
        for name in self._names(findings):
            findings.projects += 1
            check = ProjectCheck(self.store, name, findings, progress)
            checked[name] = check.run(rebuild=options.rebuild)
        self._mend_names(checked.values(), findings)
        self._check_tokens(findings)
        self._look_at_leftovers(checked, findings, options)
        return findings

    def _names(self, findings: Findings) -> list[NormalizedName]:
        """Return the projects that have a document or a journal."""
        found = set[str]()
        for prefix, end in ((keys.PROJECTS, ".json"), (keys.JOURNAL, "/")):
            for entry in self.store.list(prefix):
                name, separator, _ = entry.key.removeprefix(prefix).partition(end)
                if _NAME.fullmatch(name) and separator and _is_ours(entry, name):
                    found.add(name)
                else:
                    findings.notes.append(f"{entry.key} is no object of wheelyard's")
        return sorted(NormalizedName(name) for name in found)

    def _mend_names(self, checked: Iterable[CheckedProject], findings: Findings) -> None:
        """Write the name list again if it is damaged or lacks a project: it follows from them."""
        names = {each.name for each in checked}
        found = self.store.get(keys.NAMES)
        stored = found if isinstance(found, Stored) else None
        codec, known = Codec(NameList), frozenset[NormalizedName]()
        with suppress(IndexFault):
            known = codec.decode(keys.NAMES, stored.body).known if stored else known
        for name in sorted(known - names):
            findings.problems.append(
                f"{name}: listed, and its document and journal are gone; restore them from a backup"
            )
        if names <= known:
            return
        after = NameList(tuple(sorted(known | names)))
        with suppress(Conflict):  # somebody adds a project just now, and the others with it
            self.store.put(keys.NAMES, codec.encode(after), stored.version if stored else ABSENT)
            added = ", ".join(sorted(names - known))
            findings.mended.append(f"added to the list of projects: {added}")

    def _check_tokens(self, findings: Findings) -> None:
        codec = Codec(TokenRecord)
        for entry in self.store.list(keys.TOKENS):
            found = self.store.get(entry.key)
            try:
                if isinstance(found, Stored):
                    codec.decode(entry.key, found.body)
            except IndexFault:
                findings.problems.append(
                    f"{entry.key} is damaged, so its token opens nothing; remove it, and make "
                    "another token"
                )

    def _look_at_leftovers(
        self,
        checked: dict[NormalizedName, CheckedProject],
        findings: Findings,
        options: CheckOptions,
    ) -> None:
        """Count bytes that nothing lists, and scratch files; remove those that are old enough."""
        cutoff = (self.ambient.now() - ORPHAN_AGE).timestamp()
        # where no project is left at all, the documents may be what is lost, and not the bytes
        sweeps = options.sweep and bool(checked)
        orphans = 0
        for entry, owner in self._orphans(checked, findings):
            if sweeps and self._may_go(entry, owner, cutoff) and self._sweep(entry):
                findings.swept += 1
            else:
                orphans += 1
        for path in self.spool.leftovers(cutoff) if options.sweep else ():
            path.unlink(missing_ok=True)
            findings.swept += 1
        scratch = sum(1 for _ in self.spool.leftovers(self.ambient.now().timestamp()))
        if orphans:
            findings.notes.append(
                f"{counted(orphans, 'object')} under {keys.FILES} belong to no listed file: "
                "leftovers of uploads that did not finish, or that are under way"
            )
        if scratch:
            files = counted(scratch, "scratch file")
            findings.notes.append(f"{files} of uploads in {self.spool.folder}")

    def _orphans(
        self, checked: dict[NormalizedName, CheckedProject], findings: Findings
    ) -> Iterator[tuple[Entry, CheckedProject | None]]:
        """Yield bytes that nothing lists, with their project; what may be listed is spared."""
        listed = {key for each in checked.values() for key in each.listed_keys()}
        for entry in self.store.list(keys.FILES):
            if entry.key in listed:
                continue
            owner = keys.owner_of(entry.key)
            if owner is None:
                findings.notes.append(f"{entry.key} is no object of wheelyard's")
                continue
            project = checked.get(NormalizedName(owner.project))
            if project is None or project.is_sound:
                yield entry, project

    def _may_go(self, entry: Entry, owner: CheckedProject | None, cutoff: float) -> bool:
        # a deleted filename never comes back, so its bytes need not wait
        project = owner.project if owner else None
        file = keys.owner_of(entry.key)
        is_gone = project is not None and file is not None and file.filename in project.gone
        return is_gone or entry.modified < cutoff

    def _sweep(self, entry: Entry) -> bool:
        """Remove an orphan unless it was listed or renewed just now; return whether it is gone."""
        owner = keys.owner_of(entry.key)
        if owner is None:
            return False
        key = keys.project(NormalizedName(owner.project))
        project = self.projects.documents.reload(key).value
        file = project.by_filename.get(owner.filename) if project else None
        if file is not None and file.sha256 == owner.sha256:
            return False
        with suppress(Conflict):
            self.store.delete(entry.key, entry.version)
            return True
        return False


def _is_ours(entry: Entry, name: str) -> bool:
    return entry.key.startswith(keys.JOURNAL) or entry.key == keys.project(NormalizedName(name))
