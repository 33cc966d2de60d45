"""Which versions of a project an OSV entry is about, and which entries count."""

import json
import reprlib
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from tests.upstream.policy.pages import DEMO
from wheelyard.upstream.policy.advisories import AdvisoryTable, OsvReader, base_score

Entry = Mapping[str, object]
V3_CRITICAL = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
V3_MEDIUM = "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N"
V4_CRITICAL = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"


def entry(entry_id: str = "MAL-2026-1", **affected: object) -> Entry:
    """Return an OSV entry about `Demo`."""
    package = {"ecosystem": "PyPI", "name": "Demo"}
    return {"id": entry_id, "affected": [{"package": package, **affected}]}


def ranges(*events: tuple[str, str]) -> list[Entry]:
    """Return one range with these events."""
    return [{"type": "ECOSYSTEM", "events": [{name: version} for name, version in events]}]


def table(*entries: Entry, min_cvss: float = 0.0) -> AdvisoryTable:
    """Return what is known after these entries."""
    reader = OsvReader(min_cvss)
    for each in entries:
        reader.read(json.dumps(each).encode(), "osv.json")
    return AdvisoryTable("", {name: tuple(some) for name, some in reader.by_name.items()})


def affected(known: AdvisoryTable, *versions: str) -> list[str]:
    """Return which of these versions of `demo` some entry is about."""
    hits = known.hits(DEMO, versions)
    return [each for each in versions if each in hits]


@pytest.mark.parametrize(
    ("events", "versions"),
    [
        ((("introduced", "0"),), ["0.1", "1.0rc1", "1.0", "1.5", "2.0", "10.0"]),
        ((("introduced", "0"), ("fixed", "1.5")), ["0.1", "1.0rc1", "1.0"]),
        ((("introduced", "1.0"), ("last_affected", "1.5")), ["1.0", "1.5"]),
        ((("introduced", "1.5"),), ["1.5", "2.0", "10.0"]),
        (
            (("fixed", "1.0"), ("introduced", "2.0"), ("introduced", "0"), ("fixed", "10")),
            ["0.1", "1.0rc1", "2.0"],
        ),
        ((("introduced", "0"), ("limit", "1.0")), ["0.1", "1.0rc1"]),
        ((("introduced", "0"), ("limit", "*")), ["0.1", "1.0rc1", "1.0", "1.5", "2.0", "10.0"]),
        ((("introduced", "1.5"), ("last_affected", "1.5")), ["1.5"]),
        ((("last_affected", "1.5"), ("introduced", "1.5")), ["1.5"]),
        ((("introduced", "strange"), ("fixed", "1.0")), ["0.1", "1.0rc1"]),
        ((("introduced", "2"), ("fixed", "strange")), ["2.0", "10.0"]),
        ((("fixed", "1.0"),), ["0.1", "1.0rc1"]),
        (
            (("introduced", "0"), ("introduced", "1.5"), ("fixed", "1.5"), ("fixed", "2.0")),
            ["0.1", "1.0rc1", "1.0", "1.5"],
        ),
    ],
    ids=reprlib.repr,
)
def test_a_range_follows_the_order_of_versions(
    events: Sequence[tuple[str, str]], versions: list[str]
) -> None:
    """A range is about versions in the order of PEP 440, not of their letters."""
    known = table(entry(ranges=ranges(*events)))
    assert affected(known, "0.1", "1.0rc1", "1.0", "1.5", "2.0", "10.0") == versions


def test_a_listed_version_counts_in_any_spelling() -> None:
    """A listed version counts in any spelling, and for its local versions; git's ranges do not."""
    git = [{"type": "GIT", "events": [{"introduced": "0"}]}]
    known = table(entry(versions=["1.0.0", "v2-rc1", "not a version"], ranges=git))
    assert affected(known, "1.0", "1.0+cpu", "2.0rc1", "2.0", "1.0.1") == [
        "1.0",
        "1.0+cpu",
        "2.0rc1",
    ]


def test_an_entry_about_a_local_version_is_about_no_other() -> None:
    """An entry about one local version is not about its public version, nor about another one."""
    known = table(entry(versions=["1.0+cpu"]))
    assert affected(known, "1.0", "1.0+cpu", "1.0+cu118") == ["1.0+cpu"]


def test_the_next_clean_version() -> None:
    """A hit names the next version that no entry is about, and that is no pre-release."""
    known = table(
        entry(ranges=ranges(("introduced", "0"), ("fixed", "1.1"))), entry(versions=["1.1", "3.0"])
    )
    hits = known.hits(DEMO, ["1.0", "1.1", "2.0rc1", "2.0", "3.0", "1.0+cpu"])
    found = {version: (len(hit.advisories), hit.clean_after) for version, hit in hits.items()}
    assert found == {
        "1.0": (1, "2.0"),
        "1.0+cpu": (1, "2.0"),
        "1.1": (1, "2.0"),
        "3.0": (1, ""),
    }


def test_malware_counts_without_a_score() -> None:
    """Malware counts without a score, by its id or an alias, and everywhere if nothing is said."""
    alias = {**entry("GHSA-1", versions=["2"]), "aliases": ["MAL-2026-2"]}
    known = table(entry(versions=["1"]), alias, entry("GHSA-2", versions=["3"]))
    assert affected(known, "1", "2", "3") == ["1", "2"]
    assert affected(table(entry()), "1", "2") == ["1", "2"]
    assert affected(table(entry("GHSA-3"), min_cvss=0.1), "1") == []


def test_what_does_not_count() -> None:
    """Withdrawn entries, other ecosystems and other names do not count."""
    withdrawn = {**entry(), "withdrawn": "2026-01-01T00:00:00Z"}
    npm = {"id": "MAL-2", "affected": [{"package": {"ecosystem": "npm", "name": "demo"}}]}
    other = {"id": "MAL-3", "affected": [{"package": {"ecosystem": "PyPI", "name": "demo2"}}]}
    null = {"id": "MAL-4", "affected": None, "aliases": None, "severity": None}
    assert affected(table(withdrawn, npm, other, null), "1") == []


@pytest.mark.parametrize(
    ("severity", "is_blocked"),
    [
        ([("CVSS_V3", V3_CRITICAL)], True),
        ([("CVSS_V3", V3_MEDIUM)], False),
        ([("CVSS_V4", V4_CRITICAL)], True),
        ([("CVSS_V3", V3_MEDIUM), ("CVSS_V4", V4_CRITICAL)], True),
        ([("CVSS_V2", "AV:N/AC:L/Au:N/C:C/I:C/A:C")], True),
        ([("CVSS_V3", "CVSS:3.1/AV:N")], False),
        ([("CVSS_V9", V4_CRITICAL)], False),
        ([], False),
    ],
    ids=reprlib.repr,
)
def test_the_highest_score_decides(severity: list[tuple[str, str]], *, is_blocked: bool) -> None:
    """A vulnerability counts from the score on; the highest of its scores decides."""
    vectors = [{"type": kind, "score": vector} for kind, vector in severity]
    whole = {**entry("GHSA-1", versions=["1"]), "severity": vectors}
    part = entry("GHSA-1", versions=["1"], severity=vectors)
    for each in (whole, part):
        assert affected(table(each, min_cvss=7.0), "1") == (["1"] if is_blocked else [])
        assert affected(table(each), "1") == []


def test_a_rating_counts_as_its_lowest_score() -> None:
    """A vulnerability with a rating and no score counts as the lowest score of its rating."""
    rated = {**entry("GHSA-1", versions=["1"]), "database_specific": {"severity": "HIGH"}}
    assert affected(table(rated, min_cvss=7.0), "1") == ["1"]
    assert affected(table(rated, min_cvss=7.1), "1") == []
    assert base_score("CVSS_V3", V3_CRITICAL) == pytest.approx(9.8)


@pytest.mark.parametrize("body", [b"", b"{", b'{"id": 1}', b'{"affected": []}', b"[1]", b"null"])
def test_what_is_no_entry_is_skipped_and_counted(body: bytes) -> None:
    """What is no entry of the format is skipped, and counted, with where it stands."""
    reader = OsvReader(0.0)
    reader.read(body, "osv.json")
    assert (reader.entries, reader.skipped) == (0, 1)
    assert reader.first_skipped.startswith("osv.json: it is no OSV entry in JSON")


VERSIONS = st.sampled_from(["0.1", "1.0a1", "1.0", "1.0.post1", "1.1", "2.0", "2!1.0", "10.0"])
EVENTS = st.lists(st.tuples(st.sampled_from(["introduced", "fixed", "last_affected"]), VERSIONS))


@given(EVENTS.filter(lambda events: any(name == "introduced" for name, _ in events)), VERSIONS)
def test_any_range_is_read_as_the_schema_says(events: list[tuple[str, str]], version: str) -> None:
    """A range is about exactly the versions of the algorithm in the OSV schema."""
    order = {"fixed": 0, "introduced": 1, "last_affected": 2}
    is_vulnerable = False
    for name, text in sorted(events, key=lambda each: (Version(each[1]), order[each[0]])):
        if name == "introduced" and Version(version) >= Version(text):
            is_vulnerable = True
        elif (name == "fixed" and Version(version) >= Version(text)) or (
            name == "last_affected" and Version(version) > Version(text)
        ):
            is_vulnerable = False
    known = table(entry(ranges=ranges(*events)))
    assert affected(known, version) == ([version] if is_vulnerable else [])
