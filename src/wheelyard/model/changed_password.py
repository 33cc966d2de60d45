"""Passwords that people have changed in the browser, beside those of the htpasswd file."""

from datetime import datetime
from typing import Final

from msgspec import Struct, field

from wheelyard.model.decoding import Extensible

MIN_PASSWORD_CHARS: Final = 8
"""The fewest characters of a new password."""


class ChangedPassword(Struct, frozen=True, kw_only=True):
    """A password that counts in place of that of a line of the htpasswd file."""

    name: str
    """The user name, as in the line."""
    hash: str
    """In the form of the hashes of the file."""
    changed_at: datetime

    def __repr__(self) -> str:  # without the hash
        return f"ChangedPassword(name={self.name!r}, changed_at={self.changed_at})"


class ChangedPasswords(
    Extensible, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The stored document with all changed passwords."""

    by_line: dict[str, ChangedPassword] = field(default_factory=dict)
    """
    By the digest of the line that each belongs to.

    So it does not count any more once the line is changed or removed, and counts again with it.
    """
    revision: int = 0
    """The number of writes of the document."""
    write_id: str = ""
    """A random text that shows whether a write without a reply has succeeded."""


def with_password(
    passwords: ChangedPasswords, line: str, changed: ChangedPassword
) -> dict[str, ChangedPassword]:
    """Return the passwords with a new one, without those of earlier lines of the same name."""
    others = (entry for entry in passwords.by_line.items() if entry[1].name != changed.name)
    return dict(sorted((*others, (line, changed))))


def joined(one: ChangedPasswords, other: ChangedPasswords) -> dict[str, ChangedPassword]:
    """Return the passwords of both, of each name and line the one that was changed last."""
    by_line = dict(one.by_line)
    for line, changed in other.by_line.items():
        before = by_line.get(line)
        if before is None or before.changed_at < changed.changed_at:
            by_line[line] = changed
    return dict(sorted(by_line.items()))
