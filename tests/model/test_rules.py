"""Rows of rules: which files they hide, why, and until when."""

import reprlib
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import NormalizedName

from tests.upstream.policy.pages import NOW, listed_wheel, page
from wheelyard.model.licences import LOOKED_UP_LATER, UNKNOWN, UNREADABLE
from wheelyard.model.public_packages import Decision, Verdict
from wheelyard.model.rule_keys import NO_KEYS, RuleKeys
from wheelyard.model.rule_reasons import Code
from wheelyard.model.rule_rows import (
    cooldown_end,
    rules_of_day,
    rules_of_index,
    rules_of_removed_filter,
    rules_of_upstream,
)
from wheelyard.model.rules import Facts, Vulnerabilities

DAY: Final = timedelta(days=1)
OLD: Final = NOW - 30 * DAY
HOLE: Final = Vulnerabilities(("CVE-1", "CVE-2", "CVE-3", "CVE-4"), 7.0, "2.0")


def facts_with(**more: Any) -> Facts:  # noqa: ANN401 - of any fact
    """Return facts about a public file that is thirty days old, some of them others."""
    name = NormalizedName(more.pop("name", "demo"))
    values: dict[str, Any] = {"version": "1.0", "uploaded_at": OLD, "licence": "MIT"}
    return Facts(name=name, **(values | more))


def decided(verdict: Verdict, version: str = "", *despite: str) -> Decision:
    """Return a decision about demo, or one version of it."""
    project = NormalizedName("demo")
    return Decision(
        at=OLD, by="local:ana", verdict=verdict, project=project, version=version, despite=despite
    )


@pytest.mark.parametrize(
    ("keys", "shown", "hidden"),
    [
        ({"cooldown_days": 7}, {"uploaded_at": NOW - 7 * DAY}, {"uploaded_at": NOW - 6.9 * DAY}),
        ({"cooldown_days": 7}, {}, {"uploaded_at": None}),
        ({"cooldown_days": 7}, {}, {"uploaded_at": None, "first_seen": OLD}),
        ({"cooldown_days": 7}, {}, {"uploaded_at": datetime.max.replace(tzinfo=UTC)}),
        (
            {"cooldown_days": 7, "cooldown_missing": "first_seen"},
            {"uploaded_at": None, "first_seen": OLD},
            {"uploaded_at": None},
        ),
        ({"cooldown_days": 60, "cooldown_allow": ("de*",)}, {}, {"name": "other"}),
        ({"cooldown_days": 60}, {"is_exempt": True}, {}),
        ({"min_cvss": 7}, {}, {"vulnerabilities": HOLE}),
        ({"min_cvss": 7.1}, {"vulnerabilities": HOLE}, {"malware": ("MAL-1",)}),
        ({"min_cvss": 7}, {"is_private": True}, {"has_advisories": False}),
        (
            {"allowed_licenses": ("MIT",)},
            {"licence": "MIT OR GPL-3.0-only"},
            {"licence": "MIT AND GPL-3.0-only"},
        ),
        ({"allowed_licenses": ("MIT",)}, {"licence": LOOKED_UP_LATER}, {"licence": UNKNOWN}),
        ({"allowed_licenses": ("unknown",)}, {"licence": UNKNOWN}, {"licence": UNREADABLE}),
        ({"blocked_licenses": ("GPL-*",)}, {}, {"licence": "GPL-2.0-only"}),
        ({"blocked_licenses": ("GPL-*",)}, {}, {"licence": UNKNOWN}),
        ({"blocked_licenses": ("GPL-*",)}, {}, {"licence": UNREADABLE}),
        ({"approval": True}, {"decision": decided(Verdict.APPROVED)}, {}),
        ({"approval": True}, {"is_private": True}, {}),
        ({"attested": True}, {"is_attested": True}, {"is_private": True}),
        ({"prereleases": False}, {}, {"version": "1.0.dev1"}),
        ({"prereleases": False}, {}, {"version": "of today"}),
        ({"yanked": False}, {}, {"is_yanked": True}),
        ({"allow": ("de*",)}, {}, {"name": "other"}),
        ({"deny": ("other",)}, {}, {"name": "other"}),
        ({"allow": ("*",), "deny": ("demo",)}, {"name": "other"}, {}),
        ({"versions": {"demo": "<2"}}, {"version": "1.9"}, {"version": "2.0"}),
        ({"versions": {"demo": "<2"}}, {"version": "1.5rc1"}, {"version": "2.0rc1"}),
        ({"versions": {"demo": "<2"}}, {"name": "other", "version": "2.0"}, {"version": "x"}),
        ({"versions": {"*": ">=1", "demo": "<2"}}, {}, {"version": "0.9"}),
        ({"snapshot": "2025-12-31"}, {"uploaded_at": NOW - DAY}, {"uploaded_at": NOW}),
        ({"snapshot": "2025-12-31"}, {}, {"uploaded_at": None, "first_seen": OLD}),
        (
            {"snapshot": "2025-12-31", "cooldown_missing": "first_seen"},
            {"uploaded_at": None, "first_seen": OLD},
            {"uploaded_at": None},
        ),
    ],
    ids=reprlib.repr,
)
def test_a_key_hides_what_it_says(
    keys: dict[str, Any], shown: dict[str, Any], hidden: dict[str, Any]
) -> None:
    """Each key of an index shows one file and hides another one, in words that name the index."""
    rules = rules_of_index(RuleKeys(**keys), "stable")

    reason = rules.first(facts_with(**hidden), NOW)

    assert rules.first(facts_with(**shown), NOW) is None
    assert reason is not None
    assert reason.code == "view"
    assert "is hidden by the rules of the index stable: " in reason.text
    assert reason.text.endswith(" Use another version, or another index.")


def test_no_key_hides_nothing() -> None:
    """An index without keys shows whatever is known of a file, and whatever is not."""
    rules = rules_of_index(NO_KEYS, "stable")
    unknown = facts_with(version="of today", uploaded_at=None, licence=UNREADABLE)

    assert rules.rows == ()
    assert rules.first(unknown, NOW) is None


def test_reasons_are_in_order_and_each_has_its_words() -> None:
    """The upstream gives the most serious reason, and an index all of them in one text."""
    keys = RuleKeys(
        cooldown_days=60,
        min_cvss=7,
        blocked_licenses=("MIT",),
        approval=True,
        attested=True,
        prereleases=False,
        yanked=False,
        versions={"demo": "<1"},
        snapshot="2025-01-01",
    )
    facts = facts_with(
        version="1.0rc1",
        malware=("MAL-1",),
        vulnerabilities=HOLE,
        is_yanked=True,
        quarantine="stolen",
    )

    reasons = rules_of_upstream(keys).reasons(facts, NOW)
    of_index = rules_of_index(keys, "stable").first(facts, NOW)

    assert [reason.code for reason in reasons] == [
        Code.QUARANTINED,
        Code.MALICIOUS,
        Code.VULNERABLE,
        Code.LICENCE,
        Code.NOT_APPROVED,
        Code.VERSION,
        Code.PRERELEASE,
        Code.NOT_ATTESTED,
        Code.YANKED,
        Code.SNAPSHOT,
        Code.COOLDOWN,
    ]
    assert of_index is not None
    # time alone ends the cooldown, and not the others
    assert (of_index.changes_at, "It is shown from" in of_index.text) == (None, False)
    for words in (
        *("CVE-1, CVE-2, CVE-3 and 1 more", "is under MIT, which is blocked here"),
        *("is not approved", "less than 60 days ago"),
    ):
        assert words in of_index.text
    assert reasons[-1].changes_at == OLD + 60 * DAY
    assert all(reason.changes_at is None for reason in reasons[:-1])


@pytest.mark.parametrize(
    ("clean_after", "advice"),
    [("2.0", "Use 2.0 or newer."), ("", "Use another package.")],
    ids=["a later version is clean", "no version is clean"],
)
def test_a_vulnerable_version_has_one_to_use(clean_after: str, advice: str) -> None:
    """Who is refused a vulnerable version is told from which version on it is clean, if any is."""
    facts = facts_with(vulnerabilities=Vulnerabilities(("CVE-1",), 7.0, clean_after))

    (reason,) = rules_of_upstream(RuleKeys(min_cvss=7)).reasons(facts, NOW)

    assert reason.text.endswith(f": CVE-1. {advice}")


@pytest.mark.parametrize("make", [rules_of_upstream, lambda keys: rules_of_index(keys, "stable")])
def test_an_approval_lifts_the_same_everywhere(make: Any) -> None:  # noqa: ANN401 - a function
    """The approval of a version ends its cooldown, and what `despite` names, in each index."""
    rules = make(RuleKeys(cooldown_days=60, snapshot="2025-01-01", yanked=False))
    of_project = facts_with(decision=decided(Verdict.APPROVED))
    of_version = facts_with(decision=decided(Verdict.APPROVED, "1.0"))
    despite = facts_with(decision=decided(Verdict.APPROVED, "1.0", "snapshot"))
    too_much = decided(Verdict.APPROVED, "1.0", "snapshot", "yanked")

    def codes(facts: Facts) -> list[Code]:
        return [row.code for row in rules.why(facts, NOW)]

    assert codes(of_project) == [Code.SNAPSHOT, Code.COOLDOWN]
    assert codes(of_version) == [Code.SNAPSHOT]
    assert codes(despite) == []
    assert codes(facts_with(decision=too_much, is_yanked=True)) == [Code.YANKED]


def test_nothing_lifts_a_day_or_a_removed_filter() -> None:
    """What somebody approves now was not there on a day, and a filter has to be replaced."""
    facts = facts_with(decision=decided(Verdict.APPROVED, "1.0", "snapshot"))

    of_day = rules_of_day(OLD - DAY, "dev/as-of-2025-12-01").first(facts, NOW)
    removed = rules_of_removed_filter("dev", "The index dev has a filter.").first(facts, NOW)

    assert of_day is not None
    assert removed is not None
    assert "The index dev has a filter." in removed.text


TIMES: Final = st.none() | st.integers(-40, 10).map(lambda days: NOW + days * DAY)


@given(
    st.lists(st.tuples(st.sampled_from(["1.0", "2.0rc1", "x"]), TIMES, TIMES), max_size=6),
    st.integers(0, 20),
    st.booleans(),
    st.booleans(),
)
def test_each_file_is_shown_or_has_a_reason(
    made: list[tuple[str, datetime | None, datetime | None]],
    days: int,
    prereleases: bool,  # noqa: FBT001 - Hypothesis fills it in
    uses_first_seen: bool,  # noqa: FBT001 - as well
) -> None:
    """What is judged is shown or hidden for a reason, and stays so until the next moment."""
    keys = RuleKeys(
        cooldown_days=days,
        cooldown_missing="first_seen" if uses_first_seen else "hide",
        prereleases=prereleases,
    )
    rules = rules_of_index(keys, "stable")
    files = page(
        *(
            listed_wheel("1.0", at, first_seen=seen, tag=f"py3-none-linux_{number}")
            for number, (_, at, seen) in enumerate(made)
        )
    ).files
    facts = [
        facts_with(version=version, uploaded_at=at, first_seen=seen) for version, at, seen in made
    ]

    judged = rules.judge(files, facts, NOW)

    names = {file.filename for file in judged.shown}
    assert names | judged.hidden.keys() == {file.filename for file in files}
    assert not names & judged.hidden.keys()
    for file, of_file in zip(files, facts, strict=True):
        assert rules.first(of_file, NOW) == judged.hidden.get(file.filename)
        assert bool(rules.reasons(of_file, NOW)) == (file.filename in judged.hidden)
    if judged.changes_at is not None:
        before = rules.judge(files, facts, judged.changes_at - timedelta(microseconds=1))
        assert judged.changes_at > NOW
        assert before.shown == judged.shown


def test_a_cooldown_ends_at_its_moment_or_never() -> None:
    """A cooldown ends so many days after the upload, and never where nobody knows the upload."""
    assert cooldown_end(OLD, 7) == OLD + 7 * DAY
    assert cooldown_end(None, 7) is None
    assert cooldown_end(datetime.max.replace(tzinfo=UTC), 7) is None
