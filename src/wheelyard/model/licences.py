"""
Licences as SPDX expressions: what core metadata says, and which licences a pattern blocks.

`MIT OR GPL-3.0-only` is not blocked by `GPL-*`, because a choice remains. `MIT AND GPL-3.0-only`
is. A pattern covers a licence with an exception (`WITH`), too, unless the pattern names one itself.
"""

import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from fnmatch import translate
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.licenses import canonicalize_license_expression
from packaging.licenses._spdx import LICENSES
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid, quoted
from wheelyard.model.metadata import EXPRESSION_LIMIT, CoreMetadata, parse_leniently, parse_metadata

UNKNOWN: Final = ""
"""The licence of a release whose metadata does not say, or says it in words that are ambiguous."""
UNREADABLE: Final = "unreadable"
"""Stands for a licence that the metadata says in a way that cannot be read. It is no SPDX id."""
LOOKED_UP_LATER: Final = "looked up later"
"""Stands for a licence that is looked up as soon as somebody wants the file. It is no SPDX id."""
BLOCK_UNKNOWN: Final = "unknown"
"""The pattern of an operator who wants no release without a known licence."""
TEXT_LIMIT: Final = 100
"""Characters of a `License` field that can be an expression. Longer ones are whole documents."""

_HEADINGS: Final = frozenset(
    ("License", "License :: OSI Approved", "License :: DFSG approved", "License :: Public Domain")
)
"""Classifiers that name no licence."""
_OSI: Final = "License :: OSI Approved :: "
_GNU: Final = {
    "GNU General Public License": "GPL",
    "GNU Lesser General Public License": "LGPL",
    "GNU Library or Lesser General Public License": "LGPL",
    "GNU Affero General Public License": "AGPL",
}
_CLASSIFIERS: Final = MappingProxyType(
    {
        f"{_OSI}{name}": licence
        for name, licence in {
            # without a version any one may be chosen, which is what `1.0-or-later` says
            "GNU General Public License (GPL)": "GPL-1.0-or-later",
            "GNU Library or Lesser General Public License (LGPL)": "LGPL-2.0-or-later",
            **{
                f"{words} v{number}{suffix}{end}": f"{short}-{full}-{kind}"
                for words, short in _GNU.items()
                for number, full in (("2", "2.0"), ("2.1", "2.1"), ("3", "3.0"))
                for suffix, kind in (("", "only"), (" or later", "or-later"))
                for end in (f" ({short}v{number}{'+' if suffix else ''})", "")
            },
            "Academic Free License (AFL)": "AFL-3.0",
            "Apache Software License": "Apache-2.0",
            "BSD License": "BSD-3-Clause",
            "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
            "CEA CNRS Inria Logiciel Libre License, version 2.1 (CeCILL-2.1)": "CECILL-2.1",
            "Common Development and Distribution License 1.0 (CDDL-1.0)": "CDDL-1.0",
            "Eclipse Public License 1.0 (EPL-1.0)": "EPL-1.0",
            "Eclipse Public License 2.0 (EPL-2.0)": "EPL-2.0",
            "European Union Public Licence 1.1 (EUPL 1.1)": "EUPL-1.1",
            "European Union Public Licence 1.2 (EUPL 1.2)": "EUPL-1.2",
            "ISC License (ISCL)": "ISC",
            "MIT License": "MIT",
            "MIT No Attribution License (MIT-0)": "MIT-0",
            "Mozilla Public License 1.0 (MPL)": "MPL-1.0",
            "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
            "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
            "Mulan Permissive Software License v2 (MulanPSL-2.0)": "MulanPSL-2.0",
            "Python Software Foundation License": "PSF-2.0",
            "Sleepycat License": "Sleepycat",
            "The Unlicense (Unlicense)": "Unlicense",
            "University of Illinois/NCSA Open Source License": "NCSA",
            "Zero-Clause BSD (0BSD)": "0BSD",
            "zlib/libpng License": "Zlib",
        }.items()
    }
    | {"License :: CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0"}
)
"""The SPDX id of each classifier that means one licence."""
_OLD_GNU: Final = re.compile(r"((?:A|L)?GPL-[0-9]\.[0-9])(\+?)", re.IGNORECASE)
_GNU_WORDS: Final = re.compile(
    r"(?:GNU )?((?:A|L)?GPL)[ -]?v?([1-3])(?:\.([01]))?( ?\+| or later)?", re.IGNORECASE
)
_STATEMENT: Final = re.compile(
    r"(?:license-expression\s*:|license\s*:(?=\s*\S)|classifier\s*:\s*license)(?!\s*UNKNOWN\s*\Z)",
    re.IGNORECASE,
)
"""A field of core metadata that says something of the licence."""
_INNERMOST: Final = re.compile(r"\(([^()]*)\)")
_RESULTS: Final = {"0": False, "1": True}
"""Whether what was in parentheses is blocked, by the digit in their place."""


class LicencePatterns(Struct, frozen=True):
    """Licences of a list, which are blocked, or the only ones that are allowed."""

    texts: tuple[str, ...]
    """As they were written."""
    blocks_unknown: bool
    """Whether a release is blocked whose licence is not known."""
    _expression: re.Pattern[str]
    _is_inverted: bool = False
    """Whether it blocks all licences but those of the expression."""

    def __bool__(self) -> bool:
        return bool(self.texts)

    def blocks(self, licence: str) -> bool:
        """
        Return whether a licence of `licence_of` leaves no choice but these licences.

        One that is not known does if the list has `unknown`. One that is unreadable does unless the
        list is empty.
        """
        if licence == UNREADABLE:
            return bool(self)
        if licence:
            return self._blocks_expression(licence)
        return self.blocks_unknown

    def allows(self, licence: str) -> bool:
        """
        Return whether a licence of `licence_of` can be met by these licences alone.

        One that is not known can if the list has `unknown`. One that is unreadable cannot.
        """
        if licence == UNREADABLE:
            return False
        if licence:
            return self.covers(licence)
        return self.blocks_unknown

    def covers(self, expression: str) -> bool:
        """Return whether an SPDX expression can be met by these licences alone."""
        return not replace(self, _is_inverted=True).blocks(expression)

    def _blocks_expression(self, expression: str) -> bool:
        # What is in the innermost parentheses is replaced by its result until there are none: with
        # recursion, a stranger's expression would decide how deep the calls are nested.
        replaced = 1
        while replaced:
            expression, replaced = _INNERMOST.subn(self._result, expression)
        return self._blocks_all(expression)

    def _result(self, inner: re.Match[str]) -> str:
        """Return the digit that says whether what is in parentheses is blocked."""
        if self._blocks_all(inner[1]):
            return "1"
        return "0"

    def _blocks_all(self, options: str) -> bool:
        """Return whether each option of an expression without parentheses is blocked."""
        # `AND` binds more tightly than `OR`
        for option in options.split(" OR "):
            if not any(map(self._blocks_one, option.split(" AND "))):
                return False
        return True

    def _blocks_one(self, licence: str) -> bool:
        """Return whether a licence, perhaps with an exception, is blocked."""
        if licence in _RESULTS:
            return _RESULTS[licence]
        # an exception only adds permissions, so it is blocked as the licence itself is
        name, _, _ = licence.partition(" WITH ")
        forms = (licence, name, _modern(name))
        return any(map(self._expression.fullmatch, forms)) != self._is_inverted


def parse_licence_patterns(texts: Iterable[str]) -> LicencePatterns:
    """
    Return the patterns in `texts`: SPDX ids, their beginnings with `*`, or `unknown`.

    Raises Invalid (code `bad_setting`) if a text matches no licence of SPDX, so that a misspelt one
    does not go unnoticed.
    """
    texts = tuple(texts)
    patterns = [_modern(text.strip()) for text in texts if text != BLOCK_UNKNOWN]
    for pattern in patterns:
        _require_licence(pattern)
    # without patterns an expression that matches nothing: an empty one matches the empty text
    expression = re.compile("|".join(map(translate, patterns)) or r"(?!)", re.IGNORECASE)
    return LicencePatterns(texts, BLOCK_UNKNOWN in texts, expression)


def licence_of(raw: bytes, name: NormalizedName, version: str) -> str:
    """
    Return the licence that core metadata says as an SPDX expression, or `UNKNOWN`, or `UNREADABLE`.

    It is unreadable if the metadata breaks the specification, and says more of a licence than what
    could be used: an expression that is none, two of them, or too many fields.
    """
    try:
        return licence_in(parse_metadata(raw))
    except Invalid:
        core = parse_leniently(raw, name, version)
    head = raw.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode(errors="replace")
    # also where another reader would see the end of a line
    statements = filter(None, map(_STATEMENT.match, head.splitlines()))
    stated = Counter(statement[0].partition(":")[0].strip().lower() for statement in statements)
    used = {
        "license-expression": core.license_expression is not None,
        "license": core.license is not None,
        "classifier": sum(classifier.startswith("License") for classifier in core.classifiers),
    }
    # a field that was not used may say another licence, which must not pass unseen
    if any(stated[field] > number for field, number in used.items()):
        return UNREADABLE
    return licence_in(core)


def licence_in(core: CoreMetadata) -> str:
    """
    Return the licence of a release as an SPDX expression.

    That is `License-Expression`, or else the classifiers and `License`, if each of them means one
    licence of SPDX. Several of them say nothing of "and" or "or", so they count as a choice.
    Metadata that is ambiguous, or names no licence, gives `UNKNOWN`.
    """
    if core.license_expression:
        return core.license_expression
    licences = list[str]()
    for classifier in core.classifiers:
        if classifier.startswith("License") and classifier not in _HEADINGS:
            licences.append(_CLASSIFIERS.get(classifier, UNKNOWN))
    # the free text may be anything, so it counts only where it means a licence
    licences += filter(None, (_licence_of_text(core.license or ""),))
    if all(licences):
        return " OR ".join(dict.fromkeys(licences))
    return UNKNOWN


def _require_licence(text: str) -> None:
    """Raise Invalid unless a pattern matches a licence of SPDX."""
    if "*" in text:
        matches = re.compile(translate(text), re.IGNORECASE).fullmatch
        if any(matches(licence["id"]) for licence in LICENSES.values()) or matches("LicenseRef-x"):
            return
    elif not re.search(r"\s(?:AND|OR)\s|[()]", text, re.IGNORECASE) and _canonical(text):
        return
    raise Invalid(
        f"{quoted(text)} is no licence of SPDX. Write an id such as AGPL-3.0-only, the beginning "
        f"of some and a star such as GPL-*, or {BLOCK_UNKNOWN}.",
        code="bad_setting",
    )


def _licence_of_text(text: str) -> str:
    """Return the licence that a `License` field means, or `UNKNOWN`."""
    if len(text) > TEXT_LIMIT:
        return UNKNOWN
    words = _GNU_WORDS.fullmatch(text.strip())
    if words is not None:
        kind, major, minor, later = words.groups()
        text = f"{kind}-{major}.{minor or 0}-only"
        if later:
            text = f"{kind}-{major}.{minor or 0}-or-later"
    return _CLASSIFIERS.get(f"{_OSI}{text.strip()}") or _canonical(text)


@lru_cache(1024)
def _canonical(text: str) -> str:
    """Return an SPDX expression in canonical form, or `UNKNOWN` for any other text."""
    # a stranger's text, which packaging compiles as Python: it may be nested as deep as it is long
    with suppress(ValueError, RecursionError, MemoryError):
        if len(text) <= EXPRESSION_LIMIT:
            return canonicalize_license_expression(text)
    return UNKNOWN


def _modern(licence: str) -> str:
    """Return today's id of one of GNU's licences: `GPL-3.0` is `GPL-3.0-only`."""
    old = _OLD_GNU.fullmatch(licence)
    if old is None:
        return licence
    if old[2]:
        return f"{old[1]}-or-later"
    return f"{old[1]}-only"
