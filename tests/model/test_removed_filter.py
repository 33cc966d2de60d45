"""Keys in place of filters of earlier versions."""

import tomllib
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import to_builtins
from packaging.utils import NormalizedName

from tests.model import filter_meaning
from tests.model.filter_meaning import DAY, LOOKED_UP_LATER, NOW, UNREADABLE, OldFile
from wheelyard.model import licences
from wheelyard.model.index_definition import read_definition
from wheelyard.model.public_packages import Decision, Verdict
from wheelyard.model.removed_filter import MAX_CHARS, FilterKeys, keys_of_filter
from wheelyard.model.rule_rows import rules_of_index
from wheelyard.model.rules import Facts, Rules, Vulnerabilities

FILTERS: Final = 4_000
FILES_OF_EACH: Final = 20
APPROVAL: Final = Decision(
    at=NOW, by="local:ana", verdict=Verdict.APPROVED, project=NormalizedName("a")
)
LONG_AGO: Final = NOW - 1000 * DAY
"""When files without a time of upload were first seen, which never counted."""
_LICENCES: Final = {LOOKED_UP_LATER: licences.LOOKED_UP_LATER, UNREADABLE: licences.UNREADABLE}
CONDITIONS: Final = (
    "name == 'a*'",
    'name not in ["b", "c"]',
    "licence == '[M\x7f\u212a\\]IT*'",
    "licence != 'unknown'",
    "version < '2.0rc1'",
    "uploaded < '2026-01-01T12:00'",
    "severity < 8.123456",
    "age_days >= 36500",
    "not prerelease",
    "approved",
)
WORDS: Final = (
    *CONDITIONS,
    "not",
    "and",
    "or",
    "(",
    ")",
    "not (",
    "<",
    "in",
    "yanked",
    "7",
    "true",
)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("age_days >= 7 and severity < 9", ["cooldown_days = 7", "min_cvss = 9"]),
        ("age_days >= 7.0 and age_days >= 0.5", ["cooldown_days = 7"]),
        ("not (age_days < 7 or yanked)", ["cooldown_days = 7", "yanked = false"]),
        ("age_days > 6.5 and age_days >= 14 and age_days >= 7", ["cooldown_days = 14"]),
        ('uploaded <= "2026-01-01"', ['snapshot = "2026-01-01"']),
        ('uploaded < "2026-01-01"', ['snapshot = "2025-12-31"']),
        ('not uploaded >= "2026-03-01" and uploaded <= "2026-04-01"', ['snapshot = "2026-02-28"']),
        ('uploaded <= "2026-01-01T12:00+02:00"', ['snapshot = "2026-01-01T10:00:00Z"']),
        ('uploaded < "2026-01-01 10:00"', ['snapshot = "2026-01-01T09:59:59.999999Z"']),
        ('uploaded < "2026-01-01T00:00Z"', ['snapshot = "2025-12-31"']),
        ("severity < 7.5 and severity < 9", ["min_cvss = 7.5"]),
        ("severity <= 8.9", ["min_cvss = 9"]),
        ("severity == 0", ["min_cvss = 0.1"]),
        ("approved", ["approval = true"]),
        ("attested == true and prerelease == false", ["attested = true", "prereleases = false"]),
        ("not not not yanked", ["yanked = false"]),
        ('name == "Acme_*"', ['allow = ["acme-*"]']),
        ('name == "a" or name in ["b", "acme-*"]', ['allow = ["a", "b", "acme-*"]']),
        ('not (name != "a" and name != "b")', ['allow = ["a", "b"]']),
        ('name in ["acme-a", "b"] and name == "acme-*"', ['allow = ["acme-a"]']),
        ('name in ["a*", "b*"] and name in ["b*", "c", "a*"]', ['allow = ["a*", "b*"]']),
        ('name not in ["a", "b"] and name != "c*"', ['deny = ["a", "b", "c*"]']),
        ('name == "a*" and name != "ab"', ['allow = ["a*"]', 'deny = ["ab"]']),
        ('version < "2"', ['versions = {"*" = "<2"}']),
        ('version in ["1.*"]', ['versions = {"*" = "==1.*"}']),
        (
            'version >= "1" and version not in ["1.5", "1.6"] and not version == "1.7"',
            ['versions = {"*" = ">=1,!=1.5,!=1.6,!=1.7"}'],
        ),
        ("licence == 'MIT'", ['allowed_licenses = ["MIT"]']),
        ('licence in ["MIT", "unknown"]', ['allowed_licenses = ["MIT", "unknown"]']),
        ('licence in ["MIT", "ISC"] and licence == "mit"', ['allowed_licenses = ["mit"]']),
        ('licence in ["MIT", "unknown"] and licence == "MIT"', ['allowed_licenses = ["MIT"]']),
        ('licence != "GPL-*"', ['blocked_licenses = ["GPL-*"]']),
        ('licence != "unknown"', ['blocked_licenses = ["unknown"]']),
        (
            'licence != "unknown" and licence not in ["GPL-*", "AGPL-*"] and licence == "GPL-*"',
            ['allowed_licenses = ["GPL-*"]', 'blocked_licenses = ["GPL-*", "AGPL-*"]'],
        ),
        ("", []),
    ],
)
def test_finds_the_keys(text: str, lines: list[str]) -> None:
    """A filter with keys that hide the same files is told as these keys, in lines of TOML."""
    found = keys_of_filter(text)

    assert list(found.toml_lines()) == lines
    assert found.without_key == ()


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("age_days >= 0", ["age_days >= 0"]),
        ("age_days >= 0.5", ["age_days >= 0.5"]),
        ("age_days > 7", ["age_days > 7"]),
        ("age_days < 7", ["age_days < 7"]),
        ("not age_days >= 7", ["age_days < 7"]),
        ('uploaded > "2026-01-01"', ['uploaded > "2026-01-01"']),
        ('uploaded < "0001-01-01"', ['uploaded < "0001-01-01"']),
        ("severity < 0", ["severity < 0"]),
        ("severity <= 10", ["severity <= 10"]),
        ("severity >= 7", ["severity >= 7"]),
        ("not severity == 0", ["severity != 0"]),
        ("not approved", ["not approved"]),
        ("attested != true", ["not attested"]),
        ("yanked or prerelease", ["yanked or prerelease"]),
        ("not (yanked and prerelease)", ["not yanked or not prerelease"]),
        ('name == "a" and name == "b"', ['name == "a"', 'name == "b"']),
        ('name == "a*" and name == "a?"', ['name == "a*"', 'name == "a?"']),
        ('name == "a*" and name == "*b"', ['name == "a*"', 'name == "*b"']),
        ('name != "a" or name != "b"', ['name != "a" or name != "b"']),
        ('name == "a" or yanked', ['name == "a" or yanked']),
        ('version in ["1.0", "2.0"]', ['version in ["1.0", "2.0"]']),
        ('not version < "2"', ['not version < "2"']),
        (
            'licence == "MIT" or licence == "ISC"',
            ['licence == "MIT" or licence == "ISC"'],
        ),
        ('licence == "MIT" and licence == "ISC"', ['licence == "MIT"', 'licence == "ISC"']),
        (
            'licence != "GPL-*" and licence != "AGPL-*"',
            ['licence != "GPL-*"', 'licence != "AGPL-*"'],
        ),
        ("yanked or (approved and (attested or prerelease))", None),
        ("yanked and yanked and yanked", ["yanked"]),
    ],
)
def test_says_what_has_no_key(text: str, conditions: list[str] | None) -> None:
    """A condition that no key stands for exactly is named."""
    found = keys_of_filter(text)

    assert found.keys == {}
    assert list(found.without_key) == (conditions or [text])


def test_gives_the_keys_of_the_rest() -> None:
    """Where a condition has no key, there are still the keys of the others."""
    found = keys_of_filter(
        'age_days > 7 and age_days >= 7 and (yanked or name == "a") and approved'
    )

    assert found.toml_lines() == ("cooldown_days = 7", "approval = true")
    assert found.without_key == ("age_days > 7", 'yanked or name == "a"')


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "yanked and",
        "(yanked",
        "yanked)",
        "()",
        "yanked AND approved",
        "agedays >= 7",
        "age_days",
        "age_days == 7",
        "age_days >= '7'",
        "age_days >= 40000",
        "severity < 11",
        "yanked == 1",
        "yanked < true",
        "yanked in ['true']",
        "name == true",
        "name in []",
        "name == '[a-z]+'",
        "version < '1.*'",
        "version == '==1.0'",
        "licence == 'Proprietary'",
        "uploaded <= '2026-02-30'",
        "uploaded <= '20260101'",
        "uploaded <= '0001-01-01T00:00+14:00'",
        "yanked or " * 100 + "yanked",
        "yanked or\n" * 99 + "yanked or",
        "(yanked and(attested or " * 11 + "yanked" + "))" * 11,
        "(" * MAX_CHARS,
        "yanked" + " " * MAX_CHARS,
        "not " * 249 + "not",
    ],
)
def test_what_cannot_be_read_has_no_key(text: str) -> None:
    """A text that was no filter has no keys, and is what is named."""
    found = keys_of_filter(text)

    assert found.keys == {}
    assert found.without_key == (text[:MAX_CHARS],)


@pytest.mark.parametrize(
    "text",
    [
        "not yanked and " * 66 + "not yanked",
        "(" * 490 + "not yanked" + ")" * 490,
        "not " * 247 + "yanked",
        "not yanked andnot(yanked)",
        "\tnot\r\nyanked==true",
    ],
)
def test_reads_what_could_be_read(text: str) -> None:
    """Whatever was a filter is read, however it was written."""
    assert keys_of_filter(text).toml_lines() == ("yanked = false",)


@given(
    st.text(alphabet=st.sampled_from("()[]\"', \n<=!>andornotinyked1.*"), max_size=200)
    | st.text(max_size=50)
    | st.lists(st.sampled_from(WORDS), max_size=20).map(" ".join)
    | st.lists(st.sampled_from(CONDITIONS), max_size=8).map(" and ".join)
)
def test_any_text_has_keys_or_none(text: str) -> None:
    """Whatever somebody has stored as a filter, there is an answer, and its lines are TOML."""
    found = keys_of_filter(text)

    assert found.without_key or found.keys or not text
    assert _as_toml_has_them(found.keys) == tomllib.loads("\n".join(found.toml_lines()))


def _as_toml_has_them(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in keys.items()}


@pytest.mark.slow
def test_keys_hide_what_the_filter_hid() -> None:
    """If all conditions of a filter have keys, an index with these shows the very same files."""
    draw = Random(20260110)
    counts = Counter[str]()
    of_keys = Counter[str]()
    for _ in range(FILTERS):
        tree = filter_meaning.random_filter(draw)
        text = filter_meaning.write(tree, draw)
        found = keys_of_filter(text)
        if found.without_key:
            counts["without"] += 1
            continue
        counts["with"] += 1
        of_keys.update(list(found.keys))
        of_index = _rules_of(found.keys)
        for _ in range(FILES_OF_EACH):
            file = filter_meaning.random_file(draw)
            now = draw.choice([NOW, NOW + DAY])
            is_listed = filter_meaning.lists(tree, file, now)
            counts["listed" if is_listed else "hidden"] += 1
            is_hidden = of_index.first(_facts_of(file), now) is not None
            assert is_hidden != is_listed, (text, found.keys, file, now)

    # no filter of this test is there in vain
    assert counts["with"] > FILTERS / 5, counts
    assert counts["without"] > FILTERS / 5
    assert counts["listed"] > FILTERS
    assert counts["hidden"] > FILTERS
    assert len(of_keys) == 12, of_keys
    assert min(of_keys.values()) > 50


def _rules_of(keys: Mapping[str, Any]) -> Rules:
    """Return the rules of an index that has some keys."""
    table = tomllib.loads("\n".join((*FilterKeys(keys, ()).toml_lines(), 'name = "stable"')))
    definition = read_definition(to_builtins(table))
    return rules_of_index(definition.rules, definition.name)


def _facts_of(file: OldFile) -> Facts:
    """Return the same about a file as rules ask for it."""
    vulnerabilities = Vulnerabilities(("CVE-1",), file.severity, "") if file.severity else None
    return Facts(
        name=file.name,
        version=file.version,
        uploaded_at=file.uploaded_at,
        first_seen=LONG_AGO,
        licence=_LICENCES.get(file.licence, file.licence),
        vulnerabilities=vulnerabilities,
        decision=APPROVAL if file.is_approved and not file.is_private else None,
        is_private=file.is_private,
        is_attested=file.is_attested,
        is_yanked=file.is_yanked,
    )
