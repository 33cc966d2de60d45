"""
Copying what is below `credentials/`: tokens, and the grants and groups of the store.

Sessions of browsers are left out: whoever has the key that signs them could be anybody, so it stays
where it is, and a copy holds no secret.

A token that is revoked in the target stays revoked, and one that was rotated there ends as soon.
The changes of grants and groups are committed in the target one by one, each in the two steps of
`catalog/access_records.py`, so that a copy may end at any time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from wheelyard.catalog import keys
from wheelyard.catalog.commit_transfer import diverged
from wheelyard.catalog.conflict_retry import ConflictRetries
from wheelyard.catalog.document_cache import Codec, damaged, digest
from wheelyard.errors import Conflict
from wheelyard.model.access_rules import AccessCommit, AccessRules, fold
from wheelyard.model.token import TokenRecord
from wheelyard.operations.copying.source_faults import source_faults
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stored

_RECORDS: Final = Codec(TokenRecord)
_RULES: Final = Codec(AccessRules)
_COMMITS: Final = Codec(AccessCommit)


@dataclass(frozen=True, slots=True)
class CredentialCopy:
    """Copies credentials from one store to another one."""

    source: Store
    target: Store
    retries: ConflictRetries
    """For the writes of the target's grants, of which a bucket may refuse many at once."""

    def wanted(self) -> Iterator[tuple[Key, bool]]:
        """Yield the key of each object that may have to be copied, and if the target has it."""
        present = {entry.key for entry in self.target.list(keys.CREDENTIALS)}
        for entry in self.source.list(keys.CREDENTIALS):
            is_used = entry.key.startswith(keys.USED_ID_TOKENS)  # such a record never changes
            if not entry.key.startswith((keys.ACCESS_JOURNAL, keys.SESSIONS)) and not (
                is_used and entry.key in present
            ):
                yield entry.key, entry.key in present

    def copy(self, wanted: tuple[Key, bool]) -> int:
        """Copy one of the wanted objects, if it is newer; return how many were written."""
        key, is_present = wanted
        if key == keys.ACCESS:
            return self._copy_access()
        with source_faults(self.source):
            found = self.source.get(key)
        there = self.target.get(key) if is_present else None
        if not isinstance(found, Stored) or not _is_newer(key, found, there):
            return 0
        version = there.version if isinstance(there, Stored) else ABSENT
        self.target.put(key, found.body, version)
        return 1

    def _copy_access(self) -> int:
        """Commit the changes of the grants and groups that the target lacks; return how many."""
        with source_faults(self.source):
            newest, _ = _read_rules(self.source)
        rules, version = _read_rules(self.target)
        before = rules.revision
        if before > newest.revision or rules.commit != self._commit(newest, before):
            raise diverged()
        for number in range(before + 1, newest.revision + 1):
            self._ensure_journaled(rules)
            commit = self._commit(newest, number)
            if commit is None or commit.previous != _digest(rules.commit):
                raise damaged(
                    f"in FROM: {keys.access_commit(number)} does not continue the journal. Run "
                    "'wheelyard check' there."
                )
            rules = fold(rules, commit)
            version = self._put(rules, version)
        if newest.revision > before:
            self._ensure_journaled(rules)
        return newest.revision - before

    def _put(self, rules: AccessRules, version: ObjectVersion) -> ObjectVersion:
        for _ in self.retries.attempts():
            try:
                return self.target.put(keys.ACCESS, _RULES.encode(rules), version)
            except Conflict as error:
                if _read_rules(self.target)[1] != version:
                    raise diverged() from error
        raise self.retries.exhausted(keys.ACCESS)

    def _ensure_journaled(self, rules: AccessRules) -> None:
        if rules.commit is not None:
            key = keys.access_commit(rules.revision)
            self.target.create_all([(key, _COMMITS.encode(rules.commit))])

    def _commit(self, newest: AccessRules, number: int) -> AccessCommit | None:
        if number == newest.revision:
            return newest.commit
        key = keys.access_commit(number)
        with source_faults(self.source):
            found = self.source.get(key)
            return _COMMITS.decode_whole(key, found.body) if isinstance(found, Stored) else None


def _read_rules(store: Store) -> tuple[AccessRules, ObjectVersion]:
    found = store.get(keys.ACCESS)
    if not isinstance(found, Stored):
        return AccessRules(), ABSENT
    return _RULES.decode_whole(keys.ACCESS, found.body), found.version


def _digest(commit: AccessCommit | None) -> str:
    return digest(_COMMITS.encode(commit)) if commit else ""


def _is_newer(key: Key, found: Stored, there: object) -> bool:
    """Return whether the target needs an object; of two ends of a token it keeps the earlier."""
    if not isinstance(there, Stored):
        return True
    if key.startswith(keys.LAST_USES):
        return found.body > there.body  # days, which sort as text
    if found.body == there.body or not key.startswith(keys.TOKENS):
        return found.body != there.body
    ours, theirs = _RECORDS.decode(key, found.body), _RECORDS.decode(key, there.body)
    if ours.revoked_at is not None:
        return True
    return theirs.revoked_at is None and ours.expires_at <= theirs.expires_at  # else it was rotated
