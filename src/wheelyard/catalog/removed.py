"""
What earlier versions have stored, and this one reads only to refuse, replay or sweep it.

Nothing of it is written again, but for what a copy has to take along. What changes a project when
its journal is replayed is in `model/`, as replaying is: `File.approved_for`, `PromotionData.person`
and `EventKind.PROMOTION_APPROVED`. The keys:

    credentials/logins/<yyyymmddhh>/<id>.json              a login through a browser, by expiry
    credentials/passwords.json                             passwords that people had changed
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from msgspec import Struct
from msgspec import field as stored_field

from wheelyard.catalog.document_cache import DocumentCache, Snapshot
from wheelyard.model.decoding import Extensible
from wheelyard.storage.base import Key

REMOVED_RULES: Final = ("promote_other_person", "promote_min_age_days", "promote_approvals")
"""The keys of an index by which earlier versions kept releases back that were promoted to it."""
OUT_OF_SETTINGS: Final = "Take them out of the settings, and restart the servers."
REMOVED_RULE: Final = "removed_rule"
"""The code of an error about an index that has such a rule."""
DEVICE_LOGINS: Final = "credentials/logins/"
"""What people decided about logins, before they made the token themselves: it may be deleted."""
CHANGED_PASSWORDS: Final = Key("credentials/passwords.json")

_NO_DEMAND: Final = (None, False, 0, "", "false", "0")
"""Values of such a rule in a document, a file or a variable by which it demands nothing."""
_DEVICE_LOGIN: Final = re.compile(rf"{DEVICE_LOGINS}[0-9]{{10}}/[0-9a-f]{{32}}\.json")


def removed_rules(index: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the removed rules by which the keys of an index demand something."""
    return tuple(rule for rule in REMOVED_RULES if index.get(rule) not in _NO_DEMAND)


def without_removed_rules(index: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of an index that this version knows."""
    return {key: value for key, value in index.items() if key not in REMOVED_RULES}


def describe_removed_rules(name: str, rules: Iterable[str]) -> str:
    """Return what removed rules of an index lead to, in a sentence."""
    place = f"the index {name}" if name else "the index without a name"
    return f"Nothing is promoted to {place}, as it has rules that were removed: {', '.join(rules)}."


def removed_rules_warning(name: str, rules: Collection[str], *, is_configured: bool) -> str:
    """Return the same, and how the rules are taken away, for a list of warnings."""
    fact = describe_removed_rules(name, rules)
    if is_configured:
        return f"{fact} {OUT_OF_SETTINGS}"
    words = " ".join(f"{rule}=" for rule in rules)
    return (
        f"{fact} Take them away on the page of indexes, or by "
        f"'wheelyard index change {name} {words}'."
    )


def description_digests(text: str, markup: str, *, is_declared: bool) -> Iterator[str]:
    """Yield the digests in the keys of a description, with links and with fetched pictures."""
    for has_pictures in (False, True):
        content = f"{markup} {is_declared} {has_pictures}\n{text}"
        yield sha256(content.encode("utf-8", "replace")).hexdigest()


def is_device_login(key: Key) -> bool:
    """Return whether a key can be that of a login through a browser."""
    return _DEVICE_LOGIN.fullmatch(key) is not None


class ChangedPassword(Struct, frozen=True, kw_only=True):
    """A password that counted in place of that of a line of the htpasswd file, and does not now."""

    name: str
    """The user name, as in the line."""
    hash: str
    changed_at: datetime

    def __repr__(self) -> str:  # without the hash
        return f"ChangedPassword(name={self.name!r}, changed_at={self.changed_at})"


class ChangedPasswords(
    Extensible, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The stored document with all of them."""

    by_line: dict[str, ChangedPassword] = stored_field(default_factory=dict)
    """By the digest of the line that each belongs to."""
    revision: int = 0
    """The number of writes of the document."""
    write_id: str = ""


def joined(one: ChangedPasswords, other: ChangedPasswords) -> dict[str, ChangedPassword]:
    """Return the passwords of both, of a line that both have those of `one`."""
    return dict(sorted((other.by_line | one.by_line).items()))


@dataclass(slots=True)
class OutdatedLines:
    """
    The digests of lines of htpasswd files whose people had changed their password.

    The password of such a line may be known to others, so the line does not count until it is
    replaced. What a process has seen once stays for as long as it runs: a sweep by a server with
    another file gives no line back. Threads may share it. `current` raises Unavailable if the store
    does not answer, or the document is damaged.
    """

    documents: DocumentCache[ChangedPasswords]
    _seen: frozenset[str] = field(default=frozenset(), init=False)

    def current(self) -> frozenset[str]:
        """Return the digests, read from the store unless a fresh document is cached."""
        return self._with(self.documents.get(CHANGED_PASSWORDS))

    def known(self) -> frozenset[str]:
        """Return the digests as this process knows them, without a look at the store."""
        return self._with(self.documents.peek(CHANGED_PASSWORDS, "any"))

    def _with(self, snapshot: Snapshot[ChangedPasswords] | None) -> frozenset[str]:
        passwords = snapshot.value if snapshot else None
        if passwords is not None and not passwords.by_line.keys() <= self._seen:
            self._seen = self._seen.union(passwords.by_line)
        return self._seen
