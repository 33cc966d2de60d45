"""
What stands in an htpasswd file.

    # a comment
    ana:$2y$10$...
    ml-ci:$6$...:whatever Apache and nginx leave unread

A refusal of a line names it, and never shows what stands in it.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from wheelyard.errors import Invalid
from wheelyard.trust.crypts import Hash, recognise
from wheelyard.trust.watched import Content

NAME_LIMIT: Final = 255
"""Bytes of a name, as in Apache's own program."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Htpasswd:
    """
    What stands in an htpasswd file.

    Args:
        hashes: By name.
        decoy: What is checked for a name that is not there: a hash as most of them are, that no
            password leads to. None where there are no names at all.
    """

    hashes: Mapping[str, str] = field(repr=False)
    decoy: str | None = field(repr=False)


def parse_htpasswd(text: str) -> Content[Htpasswd]:
    """
    Return the entries of an htpasswd file.

    Raises:
        Invalid: A line is no entry, its hash is not taken, or a name is there twice
            (code `bad_setting`).
    """
    known: dict[str, tuple[int, str, Hash]] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        name, hashed, parts = _entry(entry, number)
        if name in known:
            raise _bad_line(
                number, f"has the name of line {known[name][0]} once more", "Remove one of the two"
            )
        known[name] = (number, hashed, parts)
    warnings = tuple(
        f"the hash on line {number} {parts.warning}; make it again with 'htpasswd -B'"
        for number, _, parts in known.values()
        if parts.warning
    )
    if not known:
        warnings = ("there is no name in it, so nobody has a password",)
    hashes = {name: hashed for name, (_, hashed, _) in known.items()}
    decoy = _decoy([parts for _, _, parts in known.values()])
    return Content(Htpasswd(MappingProxyType(hashes), decoy), warnings)


def _entry(entry: str, number: int) -> tuple[str, str, Hash]:
    name, colon, rest = entry.partition(":")
    if not colon:
        raise _bad_line(number, "has no colon", "Write NAME:HASH, as 'htpasswd -B' does")
    if not name or len(name.encode()) > NAME_LIMIT or _CONTROL.search(name):
        raise _bad_line(
            number,
            f"has no name of 1 to {NAME_LIMIT} bytes without control characters before its colon",
            "Write NAME:HASH, as 'htpasswd -B' does",
        )
    hashed = rest.partition(":")[0].strip()
    reason = "is missing"
    if hashed:
        try:
            return name, hashed, recognise(hashed)
        except ValueError as error:
            reason = str(error)
    raise _bad_line(
        number, f"has a hash that {reason}", "Make it again with 'htpasswd -B', or remove the line"
    )


def _bad_line(number: int, what: str, remedy: str) -> Invalid:
    return Invalid(f"Line {number} {what}. {remedy}.", code="bad_setting")


def _decoy(hashes: list[Hash]) -> str | None:
    if not hashes:
        return None
    kinds = Counter((each.scheme, each.cost) for each in hashes)
    usual = kinds.most_common(1)[0][0]
    return next(each.decoy for each in hashes if (each.scheme, each.cost) == usual)
