"""
Licences as SPDX expressions: what core metadata says, and which licences a pattern blocks.

`GPL-*` does not block `MIT OR GPL-3.0-only`, because a choice remains. It blocks
`MIT AND GPL-3.0-only`. A pattern covers a licence with an exception (`WITH`), too, unless the
pattern names an exception itself.
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
"""The licence of a release whose metadata names no licence, or names it by ambiguous words."""
UNREADABLE: Final = "unreadable"
"""Stands for a licence that the metadata names in a way that cannot be read. No SPDX id."""
LOOKED_UP_LATER: Final = "looked up later"
"""Stands for a licence that is looked up as soon as somebody wants the file. No SPDX id."""
BLOCK_UNKNOWN: Final = "unknown"
"""The pattern of an operator who wants no release without a known licence."""
TEXT_LIMIT: Final = 100
"""The most characters of a `License` field that can be an expression and no whole document."""

_HEADINGS: Final = frozenset(
    ("License", "License :: OSI Approved", "License :: DFSG approved", "License :: Public Domain")
)
"""Classifiers that name no licence."""
_OSI: Final = "License :: OSI Approved :: "
_CC0_CLASSIFIER: Final = "License :: CC0 1.0 Universal (CC0 1.0) Public Domain Dedication"
_GNU: Final = {
    "GNU General Public License": "GPL",
    "GNU Lesser General Public License": "LGPL",
    "GNU Library or Lesser General Public License": "LGPL",
    "GNU Affero General Public License": "AGPL",
}
"""The beginning of the SPDX id of each GNU licence, by its name in classifiers."""
_LICENCE_BY_OSI_NAME: Final = MappingProxyType(
    {
        # a name without a version allows any version, which `1.0-or-later` says
        "GNU General Public License (GPL)": "GPL-1.0-or-later",
        "GNU Library or Lesser General Public License (LGPL)": "LGPL-2.0-or-later",
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
    }
)
"""The SPDX id of each classifier below `_OSI`, but for the GNU licences with a version."""
_OLD_GNU: Final = re.compile(r"((?:A|L)?GPL-[0-9]\.[0-9])(\+?)", re.IGNORECASE)
_GNU_WORDS: Final = re.compile(
    r"(?:GNU )?((?:A|L)?GPL)[ -]?v?([1-3])(?:\.([01]))?( ?\+| or later)?", re.IGNORECASE
)
_STATEMENT: Final = re.compile(
    r"(?:license-expression\s*:|license\s*:(?=\s*\S)|classifier\s*:\s*license)(?!\s*UNKNOWN\s*\Z)",
    re.IGNORECASE,
)
"""The beginning of a field of core metadata that says something about the licence."""
_INNERMOST_GROUP: Final = re.compile(r"\(([^()]*)\)")
"""A part of an expression in parentheses that has no parentheses in it."""
_IS_BLOCKED_BY_DIGIT: Final = {"0": False, "1": True}
"""Whether a group in parentheses is blocked, by the digit that replaces the group."""


def _gnu_licences() -> dict[str, str]:
    """
    Return the SPDX ids of classifiers of GNU licences with a version, by the part behind `_OSI`.

    `GNU Affero General Public License v3 or later (AGPLv3+)` is `AGPL-3.0-or-later`, for example,
    also without the part in parentheses.
    """
    licences = dict[str, str]()
    for words, family in _GNU.items():
        for number, version in (("2", "2.0"), ("2.1", "2.1"), ("3", "3.0")):
            only = f"{words} v{number}"
            or_later = f"{only} or later"
            licences[only] = f"{family}-{version}-only"
            licences[f"{only} ({family}v{number})"] = f"{family}-{version}-only"
            licences[or_later] = f"{family}-{version}-or-later"
            licences[f"{or_later} ({family}v{number}+)"] = f"{family}-{version}-or-later"
    return licences


_GNU_LICENCES: Final = MappingProxyType(_gnu_licences())


class LicencePatterns(Struct, frozen=True):
    """The licences of a list, which are either blocked or the only allowed ones."""

    texts: tuple[str, ...]
    """The patterns as they were written."""
    blocks_unknown: bool
    """Whether the list has `unknown`, which stands for every licence that is not known."""
    _expression: re.Pattern[str]
    _is_inverted: bool = False
    """Whether all licences are blocked but those that the expression matches."""

    def __bool__(self) -> bool:
        return bool(self.texts)

    def blocks(self, licence: str) -> bool:
        """
        Return whether a value of `licence_of` leaves no choice but these licences.

        A licence that is not known is blocked if the list has `unknown`, and an unreadable one
        unless the list is empty.
        """
        if licence == UNREADABLE:
            return bool(self)
        if licence:
            return self._blocks_expression(licence)
        return self.blocks_unknown

    def allows(self, licence: str) -> bool:
        """
        Return whether a value of `licence_of` can be met by these licences alone.

        A licence that is not known is allowed if the list has `unknown`, and an unreadable one is
        never allowed.
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
        """Return whether an SPDX expression leaves no choice but these licences."""
        # A digit replaces each innermost group until no group is left. With recursion, a stranger's
        # expression would decide how deep the calls are nested.
        replacements = 1
        while replacements:
            expression, replacements = _INNERMOST_GROUP.subn(self._digit_of_group, expression)
        return self._blocks_each_option(expression)

    def _digit_of_group(self, group: re.Match[str]) -> str:
        """Return the key of `_IS_BLOCKED_BY_DIGIT` that stands for a group in parentheses."""
        if self._blocks_each_option(group[1]):
            return "1"
        return "0"

    def _blocks_each_option(self, options: str) -> bool:
        """Return whether each option of an expression without parentheses is blocked."""
        # `AND` binds more tightly than `OR`
        for option in options.split(" OR "):
            licences = option.split(" AND ")
            if not any(self._blocks_licence(licence) for licence in licences):
                return False
        return True

    def _blocks_licence(self, licence: str) -> bool:
        """Return whether a licence, perhaps with an exception, is blocked."""
        if licence in _IS_BLOCKED_BY_DIGIT:
            return _IS_BLOCKED_BY_DIGIT[licence]
        # an exception only adds permissions, so it is blocked if the licence without it is
        name, _, _ = licence.partition(" WITH ")
        spellings = (licence, name, _current_id(name))
        is_listed = any(self._expression.fullmatch(spelling) for spelling in spellings)
        return is_listed != self._is_inverted


def parse_licence_patterns(texts: Iterable[str]) -> LicencePatterns:
    """
    Return the patterns in `texts`: SPDX ids, their beginnings with `*`, or `unknown`.

    Raises Invalid (code `bad_setting`) if a text matches no licence of SPDX, so that a misspelt one
    does not go unnoticed.
    """
    texts = tuple(texts)
    patterns = [_current_id(text.strip()) for text in texts if text != BLOCK_UNKNOWN]
    for pattern in patterns:
        _require_licence(pattern)
    # without patterns an expression that matches nothing, as an empty one matches the empty text
    alternatives = "|".join(map(translate, patterns)) or r"(?!)"
    expression = re.compile(alternatives, re.IGNORECASE)
    return LicencePatterns(texts, BLOCK_UNKNOWN in texts, expression)


def licence_of(raw: bytes, name: NormalizedName, version: str) -> str:
    """
    Return the licence in core metadata as an SPDX expression, or `UNKNOWN`, or `UNREADABLE`.

    The licence is unreadable if the metadata breaks the specification, and has more fields about
    the licence than could be read: a wrong expression, two expressions, or too many fields.
    """
    try:
        return licence_in(parse_metadata(raw))
    except Invalid:
        core = parse_leniently(raw, name, version)
    count_in_text = _count_licence_fields(raw)
    count_in_use = {
        "license-expression": core.license_expression is not None,
        "license": core.license is not None,
        "classifier": sum(classifier.startswith("License") for classifier in core.classifiers),
    }
    # a field that could not be read may name another licence, which must not pass unseen
    for field, count in count_in_use.items():
        if count_in_text[field] > count:
            return UNREADABLE
    return licence_in(core)


def _count_licence_fields(raw: bytes) -> Counter[str]:
    """Return how often core metadata has each field about the licence, by name in lower case."""
    headers, _, _ = raw.replace(b"\r\n", b"\n").partition(b"\n\n")
    counts = Counter[str]()
    # `splitlines` divides also where another reader would see the end of a line
    for line in headers.decode(errors="replace").splitlines():
        statement = _STATEMENT.match(line)
        if statement is not None:
            name = statement[0].partition(":")[0]
            counts[name.strip().lower()] += 1
    return counts


def licence_in(core: CoreMetadata) -> str:
    """
    Return the licence of a release as an SPDX expression.

    `License-Expression` counts first, else the classifiers and `License`, if each of these means
    one licence of SPDX. Several classifiers do not say "and" or "or", so they count as a choice.
    Metadata that is ambiguous, or names no licence, gives `UNKNOWN`.
    """
    if core.license_expression:
        return core.license_expression
    licences = list[str]()
    for classifier in core.classifiers:
        if classifier.startswith("License") and classifier not in _HEADINGS:
            licences.append(_licence_of_classifier(classifier))
    # the field `License` may have any text, so it counts only where it means a licence
    licence_of_field = _licence_of_text(core.license or "")
    if licence_of_field != UNKNOWN:
        licences.append(licence_of_field)
    if all(licences):
        return " OR ".join(dict.fromkeys(licences))
    return UNKNOWN


def _licence_of_classifier(classifier: str) -> str:
    """Return the SPDX id that a classifier means, or `UNKNOWN` if it means no single licence."""
    if classifier == _CC0_CLASSIFIER:
        return "CC0-1.0"
    if not classifier.startswith(_OSI):
        return UNKNOWN
    return _licence_of_osi_name(classifier.removeprefix(_OSI))


def _licence_of_osi_name(name: str) -> str:
    """Return the SPDX id of a classifier from its part behind `_OSI`, or `UNKNOWN`."""
    return _LICENCE_BY_OSI_NAME.get(name) or _GNU_LICENCES.get(name, UNKNOWN)


def _require_licence(pattern: str) -> None:
    """Raise Invalid (code `bad_setting`) unless a pattern matches a licence of SPDX."""
    if "*" in pattern:
        is_licence = _matches_any_licence(pattern)
    else:
        is_expression = re.search(r"\s(?:AND|OR)\s|[()]", pattern, re.IGNORECASE) is not None
        is_licence = not is_expression and _canonical_expression(pattern) != UNKNOWN
    if is_licence:
        return
    raise Invalid(
        f"{quoted(pattern)} is no licence of SPDX. Write an id such as AGPL-3.0-only, the "
        f"beginning of some and a star such as GPL-*, or {BLOCK_UNKNOWN}.",
        code="bad_setting",
    )


def _matches_any_licence(pattern: str) -> bool:
    """Return whether a pattern with a star matches an id of SPDX, or ids of other licences."""
    expression = re.compile(translate(pattern), re.IGNORECASE)
    ids = [licence["id"] for licence in LICENSES.values()]
    # SPDX has ids that begin with `LicenseRef-` for all licences that are not in its list
    return any(expression.fullmatch(licence_id) for licence_id in [*ids, "LicenseRef-x"])


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
    return _licence_of_osi_name(text.strip()) or _canonical_expression(text)


@lru_cache(1024)
def _canonical_expression(text: str) -> str:
    """Return an SPDX expression in canonical form, or `UNKNOWN` for any other text."""
    # packaging compiles a stranger's text as Python, which may be nested as deep as it is long
    with suppress(ValueError, RecursionError, MemoryError):
        if len(text) <= EXPRESSION_LIMIT:
            return canonicalize_license_expression(text)
    return UNKNOWN


def _current_id(licence: str) -> str:
    """Return today's id for an id of a GNU licence: `GPL-3.0-only` for `GPL-3.0`."""
    old = _OLD_GNU.fullmatch(licence)
    if old is None:
        return licence
    if old[2]:
        return f"{old[1]}-or-later"
    return f"{old[1]}-only"
