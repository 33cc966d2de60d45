"""
Objects and keys of earlier versions, which this version reads only to refuse or to sweep them.

They are not written again, but by a copy, and by a sweep that removes a part of a document. Events
of earlier versions that a replay of a journal needs are in `model/`, as the replay is:
`File.approved_for`, `PromotionData.person` and `EventKind.PROMOTION_APPROVED`. The keys of objects:

    credentials/logins/<yyyymmddhh>/<id>.json              a login through a browser, by expiry
    credentials/passwords.json                             passwords that people had changed
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Self

from msgspec import Struct
from msgspec import field as stored_field
from msgspec.structs import replace

from wheelyard.catalog.document_cache import DocumentCache, Snapshot
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.model.decoding import Extensible
from wheelyard.model.field_texts import text_of_value
from wheelyard.model.index_name import FORMER_MAIN, MAIN
from wheelyard.model.stored_indexes import FILTER, LISTS_OF_INDEXES
from wheelyard.remedies import Advice, Caution, Remedy
from wheelyard.storage.base import Key

REMOVED_RULES: Final = ("promote_other_person", "promote_min_age_days", "promote_approvals")
"""The keys of an index by which earlier versions kept promoted releases back."""
REMOVED_RULE: Final = "removed_rule"
"""The code of an error about an index with one of the removed rules."""
REMOVED_KEYS: Final = (*REMOVED_RULES, FILTER)
"""All keys of an index that earlier versions had, and that can only be left out."""
DEVICE_LOGINS: Final = "credentials/logins/"
"""The decisions of people about logins of earlier versions, which may be deleted."""
CHANGED_PASSWORDS: Final = Key("credentials/passwords.json")
FORMER_MAIN_PROBLEM: Final = (
    "The index that an earlier version has made as 'main' is not served, as this is the name of "
    "the index at the root now, and rights and layers that name main give nothing. Stop the "
    "servers, and give it another name by the command index rename."
)
"""Why an index that an earlier version has made as `main` is not served, and what to do."""
RENAME_MAIN: Final = Advice(Remedy.RENAME_MAIN)
"""How such an index gets another name."""

LineOf = Callable[[str], str]
"""Returns the digest of the line of a user in an htpasswd file, or an empty text without one."""

_VALUES_WITHOUT_EFFECT: Final = (None, False, 0, "", "false", "0")
"""Values of a removed rule in a document, a file or a variable with which it has no effect."""
_DEVICE_LOGIN: Final = re.compile(rf"{DEVICE_LOGINS}[0-9]{{10}}/[0-9a-f]{{32}}\.json")


def removed_rules(index: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the removed rules in the keys of an index that have an effect."""
    return tuple(rule for rule in REMOVED_RULES if index.get(rule) not in _VALUES_WITHOUT_EFFECT)


def without_removed_rules(index: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of an index without those that this version has removed."""
    return {key: value for key, value in index.items() if key not in REMOVED_KEYS}


def removed_filter(index: Mapping[str, Any]) -> str:
    """Return the filter in the keys of an index, or an empty text without one."""
    # a value of another type was never a valid filter, and hides all files as well
    return str(index.get(FILTER) or "")


def describe_removed_filter(name: str, text: str) -> str:
    """Return a sentence with the effect of the filter of an index."""
    return (
        f"The index {name} shows no file, as it has a filter, and there are none any more: {text}."
    )


def removed_filter_warning(name: str, text: str) -> Caution:
    """
    Return the warning that an index shows no file because of its filter.

    `name` is the name of the index, and `text` its filter. The warning names the keys that replace
    the filter.
    """
    # imported here, as few stores have such an index
    from wheelyard.model.removed_filter import keys_of_filter  # noqa: PLC0415

    replacement = keys_of_filter(text)
    is_whole = not replacement.without_key
    sentences = [describe_removed_filter(name, text)]
    if replacement.without_key:
        sentences.append(f"No key says the same as: {', '.join(replacement.without_key)}.")
    if replacement.keys:
        keys_title = "Keys that say the same"
        if not is_whole:
            keys_title = "Keys for its other conditions"
        sentences.append(f"{keys_title}: {', '.join(replacement.toml_lines())}.")
    fact = " ".join(sentences)
    if not is_whole:  # with these keys alone, the index would show more than before
        how = "Give it keys that hide what it is to hide, and with them an empty filter."
        return Caution(f"{fact} {how}", Advice(Remedy.CHANGE_INDEX, name))

    # one command for all: between two commands, the index would show too much
    assignments = [f"{FILTER}="]
    assignments += [f"{key}={text_of_value(value)}" for key, value in replacement.keys.items()]
    return Caution(fact, Advice(Remedy.REPLACE_FILTER, name, keys=tuple(assignments)))


def describe_removed_rules(name: str, rules: Iterable[str]) -> str:
    """Return a sentence with the effect of the removed rules of an index."""
    names = ", ".join(rules)
    return f"Nothing is promoted to the index {name}, as it has rules that were removed: {names}."


def removed_rules_warning(name: str, rules: tuple[str, ...]) -> Caution:
    """Return the warning that nothing is promoted to an index because of its removed rules."""
    fact = describe_removed_rules(name, rules)
    return Caution(fact, Advice(Remedy.EMPTY_KEYS, name, keys=rules))


def with_former_main(index: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the keys of an index that an earlier version has written, for this version.

    There, `main` is an index that a command has made, and an empty text is the index at the root.
    """
    return keys_after_rename(index, MAIN, FORMER_MAIN)


def keys_after_rename(index: Mapping[str, Any], old_name: str, new_name: str) -> dict[str, Any]:
    """Return the keys of an index with another name of one index in its lists of indexes."""
    keys = dict(index)
    for key in LISTS_OF_INDEXES:
        if isinstance(index.get(key), list | tuple):
            names = list(index[key])
            for number, name in enumerate(names):
                if name == old_name:
                    names[number] = new_name
            keys[key] = names
    return keys


def description_digests(text: str, markup: str, *, is_declared: bool) -> Iterator[str]:
    """
    Yield the digests that the keys of a description had in earlier versions.

    These rendered a description with links to pictures, or with fetched pictures.
    """
    for has_pictures in (False, True):
        content = f"{markup} {is_declared} {has_pictures}\n{text}"
        yield sha256(content.encode("utf-8", "replace")).hexdigest()


def is_device_login(key: Key) -> bool:
    """Return whether a key can be that of a login through a browser."""
    return _DEVICE_LOGIN.fullmatch(key) is not None


class ChangedPassword(Struct, frozen=True, kw_only=True):
    """A password that a person had set in place of the one in the htpasswd file. It is not used."""

    name: str
    """The user name, as in the line."""
    hash: str
    """The hash of the password, which nothing reads, and which is empty in a copy."""
    changed_at: datetime

    def __repr__(self) -> str:  # without the hash
        return f"ChangedPassword(name={self.name!r}, changed_at={self.changed_at})"


class ChangedPasswords(
    Extensible, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The stored document with all changed passwords."""

    by_line: dict[str, ChangedPassword] = stored_field(default_factory=dict)
    """The changed passwords, by the digest of the line that each had replaced."""
    revision: int = 0
    """The number of writes of the document."""
    write_id: str = ""
    """A random id, by which a writer without an answer knows whether its write has succeeded."""

    @property
    def is_empty(self) -> bool:
        """Whether the document has neither passwords nor fields that this version does not know."""
        return not self.by_line and not self.other_fields

    def replaced(self, line_of: LineOf) -> dict[str, ChangedPassword]:
        """
        Return the changed passwords whose lines an htpasswd file has replaced by valid ones.

        Nothing is returned of a person whose new line is outdated, too.
        """
        replaced = dict[str, ChangedPassword]()
        for line, changed in self.by_line.items():
            line_in_file = line_of(changed.name)
            if line_in_file and line_in_file not in self.by_line:
                replaced[line] = changed
        return replaced

    def absent_names(self, line_of: LineOf) -> list[str]:
        """Return the people without a line in an htpasswd file, sorted."""
        names = {changed.name for changed in self.by_line.values()}
        return sorted(name for name in names if not line_of(name))

    def next_write(self, by_line: Mapping[str, ChangedPassword], write_id: str) -> Self:
        """Return the document with other lines, for its next write."""
        lines = dict(sorted(by_line.items()))
        return replace(self, by_line=lines, revision=self.revision + 1, write_id=write_id)

    def is_same_write(self, other: Self | None) -> bool:
        """Return whether a document was written by the same write as this one."""
        return other is not None and other.write_id == self.write_id


def joined(target: ChangedPasswords, source: ChangedPasswords) -> dict[str, ChangedPassword]:
    """Return the changed passwords of a copy's target and, without hashes, of its source."""
    # without hashes, as the target only needs to know which lines are outdated
    copied = {line: replace(changed, hash="") for line, changed in source.by_line.items()}
    return copied | target.by_line


@dataclass(slots=True)
class OutdatedLines:
    """
    The digests of lines of htpasswd files whose people had changed their password.

    Others may know the password of such a line, so the line does not count until it is replaced. A
    process never forgets a line that it has read: a sweep by a server with another file makes no
    line valid again. Threads may share an object. `current` raises Unavailable if the store does
    not answer, or the document is damaged.
    """

    documents: DocumentCache[ChangedPasswords]
    _digests: frozenset[str] = field(default=frozenset(), init=False)
    """All digests that this process has read."""

    def current(self) -> frozenset[str]:
        """Return the digests, read from the store unless a fresh document is cached."""
        return self._with_digests_of(self.documents.get(CHANGED_PASSWORDS))

    def peek(self) -> frozenset[str]:
        """Return the digests that this process has read so far. The store is not read."""
        return self._with_digests_of(self.documents.peek(CHANGED_PASSWORDS, "any"))

    def drop_replaced(self, line_of: LineOf, retries: ConflictRetries) -> int:
        """
        Remove the outdated lines of people who have another valid line in the file now.

        `line_of` returns that line. The lines of people without one stay. Returns how many were
        removed. A document that is empty then is not deleted.

        Raises Unavailable if the document cannot be read or written, has parts that this version
        does not know (code `damaged_document`), or is changed by too many writers (code
        `overloaded`).
        """
        for _ in retries.attempts():
            snapshot = self.documents.get(CHANGED_PASSWORDS, "current")
            before = snapshot.value or ChangedPasswords()
            replaced = before.replaced(line_of)
            if not replaced:
                return 0
            self.documents.codec.require_whole(CHANGED_PASSWORDS, before, snapshot.size)
            remaining = dict(before.by_line)
            for line in replaced:
                del remaining[line]
            after = before.next_write(remaining, retries.runtime.new_id())
            version = snapshot.version
            if self.documents.swap(CHANGED_PASSWORDS, after, version, after.is_same_write):
                return len(replaced)
        raise retries.exhausted(CHANGED_PASSWORDS)

    def _with_digests_of(self, snapshot: Snapshot[ChangedPasswords] | None) -> frozenset[str]:
        """Add the digests of a document to those that this process has read, and return all."""
        if snapshot is None or snapshot.value is None:
            return self._digests
        lines = snapshot.value.by_line
        # two threads may replace the set at once: the next read adds what one of them has lost
        if not lines.keys() <= self._digests:
            self._digests = self._digests.union(lines)
        return self._digests
