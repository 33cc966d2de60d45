"""Filters of views."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name
from packaging.version import Version

from wheelyard.errors import Invalid
from wheelyard.model.licences import UNKNOWN, UNREADABLE
from wheelyard.model.view_filter.conditions import ViewFilter
from wheelyard.model.view_filter.facts import FileFacts
from wheelyard.model.view_filter.language import MAX_CHARS, parse_filter

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def facts_with(
    *,
    name: str = "acme-core",
    version: str = "1.0",
    uploaded_at: datetime | None = NOW - 8 * DAY,
    licence: str | None = "MIT",
    severity: float = 0.0,
    is_approved: bool = False,
    is_attested: bool = False,
    is_yanked: bool = False,
) -> FileFacts:
    """Return facts about a file that is eight days old."""
    return FileFacts(
        name=canonicalize_name(name),
        version=version,
        uploaded_at=uploaded_at,
        licence=licence,
        severity=severity,
        is_approved=is_approved,
        is_attested=is_attested,
        is_yanked=is_yanked,
    )


@pytest.mark.parametrize(
    ("text", "shown", "hidden"),
    [
        ('name == "Acme_*"', {"name": "acme-core"}, {"name": "tools"}),
        ('name in ["acme-*", "tools"]', {"name": "tools"}, {"name": "toolsmith"}),
        ('name not in ["acme-*", "tools"]', {"name": "numpy"}, {"name": "acme-x"}),
        ("name != 'tools'", {"name": "numpy"}, {"name": "tools"}),
        ('version < "2.0"', {"version": "1.9"}, {"version": "2.0"}),
        ('version < "2.0"', {"version": "1.10.post1"}, {"version": "2.0rc1"}),
        ('version >= "1.9"', {"version": "1.10"}, {"version": "1.8"}),
        ('version == "1.*"', {"version": "1.4.2"}, {"version": "2.0"}),
        ('version == "1.0"', {"version": "1.0+cpu"}, {"version": "1.0.1"}),
        ('version in ["1.*", "2.1"]', {"version": "2.1"}, {"version": "2.2"}),
        ('version not in ["1.0"]', {"version": "2.1"}, {"version": "1.0"}),
        ("not prerelease", {"version": "1.0"}, {"version": "1.0.dev3"}),
        ("prerelease == true", {"version": "1.0rc1"}, {"version": "1.0"}),
        ("age_days >= 7", {"uploaded_at": NOW - 7 * DAY}, {"uploaded_at": NOW - 6.9 * DAY}),
        ("age_days < 0.5", {"uploaded_at": NOW}, {"uploaded_at": NOW - 0.5 * DAY}),
        (
            'uploaded <= "2026-01-01"',
            {"uploaded_at": datetime(2026, 1, 1, 23, 59, 59, 999999, tzinfo=UTC)},
            {"uploaded_at": datetime(2026, 1, 2, tzinfo=UTC)},
        ),
        (
            'uploaded > "2026-01-01"',
            {"uploaded_at": datetime(2026, 1, 2, tzinfo=UTC)},
            {"uploaded_at": datetime(2026, 1, 1, 23, tzinfo=UTC)},
        ),
        (
            'uploaded < "2026-01-01"',
            {"uploaded_at": datetime(2025, 12, 31, 23, tzinfo=UTC)},
            {"uploaded_at": datetime(2026, 1, 1, tzinfo=UTC)},
        ),
        (
            'uploaded >= "2026-01-01T10:00+02:00"',
            {"uploaded_at": datetime(2026, 1, 1, 8, tzinfo=UTC)},
            {"uploaded_at": datetime(2026, 1, 1, 7, 59, tzinfo=UTC)},
        ),
        ('licence == "MIT"', {"licence": "MIT OR GPL-3.0-only"}, {"licence": "MIT AND ISC"}),
        ('licence in ["MIT", "ISC"]', {"licence": "MIT AND ISC"}, {"licence": "Zlib"}),
        ('licence != "GPL-*"', {"licence": "MIT OR GPL-3.0-only"}, {"licence": "GPL-2.0-only"}),
        ('not licence == "GPL-*"', {"licence": "MIT"}, {"licence": "MIT AND GPL-2.0-only"}),
        ('licence in ["MIT", "unknown"]', {"licence": UNKNOWN}, {"licence": "ISC"}),
        ('licence != "unknown"', {"licence": "ISC"}, {"licence": UNKNOWN}),
        ("severity < 9", {"severity": 8.9}, {"severity": 9.0}),
        ("severity == 0", {}, {"severity": 0.1}),
        ("approved", {"is_approved": True}, {}),
        ("attested == true", {"is_attested": True}, {}),
        ("yanked != true", {}, {"is_yanked": True}),
        ("yanked == false", {}, {"is_yanked": True}),
        ("not (yanked or approved)", {}, {"is_approved": True}),
        ("approved or attested and yanked", {"is_approved": True}, {"is_attested": True}),
    ],
)
def test_shows_what_fits(text: str, shown: dict[str, object], hidden: dict[str, object]) -> None:
    """A filter shows a file that fits it, and hides another one, with a reason."""
    parsed = parse_filter(text)
    fitting, other = facts_with(**shown), facts_with(**hidden)  # type: ignore[arg-type]

    assert parsed.shows(fitting, NOW)
    assert parsed.why_hidden(fitting, NOW) == ()
    assert not parsed.shows(other, NOW)
    assert parsed.why_hidden(other, NOW)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("age_days >= 7", facts_with(uploaded_at=None)),
        ("not age_days >= 7", facts_with(uploaded_at=None)),
        ('uploaded > "2026-01-01" or uploaded <= "2026-01-01"', facts_with(uploaded_at=None)),
        ('licence != "GPL-*"', facts_with(licence=UNKNOWN)),
        ('licence == "GPL-*"', facts_with(licence=UNKNOWN)),
        ('licence != "GPL-*"', facts_with(licence=UNREADABLE)),
        ('licence == "unknown"', facts_with(licence=UNREADABLE)),
        ("prerelease", facts_with(version="dog")),
        ("not prerelease", facts_with(version="dog")),
        ('version != "1.0"', facts_with(version="dog")),
    ],
)
def test_what_is_not_known_hides(text: str, facts: FileFacts) -> None:
    """A file is hidden where the filter depends on a fact that is not known."""
    parsed = parse_filter(text)

    assert not parsed.shows(facts, NOW)
    assert parsed.why_hidden(facts, NOW)


def test_what_is_not_known_may_not_matter() -> None:
    """A file is shown if another condition is enough, whatever is not known of it."""
    assert parse_filter("approved or age_days >= 7").shows(
        facts_with(uploaded_at=None, is_approved=True), NOW
    )


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        (
            "age_days >= 7 and severity < 9",
            (
                (
                    "age_days >= 7 does not hold, as it was uploaded on 2026-01-07 12:00 UTC, "
                    "so it has to wait until 2026-01-14 12:00 UTC"
                ),
                "severity < 9 does not hold, as its severity is 9.8",
            ),
        ),
        (
            'approved or name == "tools"',
            (
                (
                    "approved does not hold, as it is not approved, and "
                    'name == "tools" does not hold, as the name is acme-core'
                ),
            ),
        ),
        ("not yanked and age_days < 7", ("not yanked does not hold, as it is yanked",)),
        ('licence == "ISC"', ('licence == "ISC" does not hold, as its licence is MIT',)),
    ],
)
def test_says_what_hides_a_file(text: str, reasons: tuple[str, ...]) -> None:
    """The reason why a file is hidden names each condition that does not hold, and the fact."""
    facts = facts_with(uploaded_at=NOW - 3 * DAY, severity=9.8, is_yanked=True)

    assert parse_filter(text).why_hidden(facts, NOW) == reasons


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected '(', 'not' or a field"),
        ("age_days >= '7'", "at character 13, \"'7'\": age_days needs a number of days"),
        ("age_days >= 40000", "needs a number of days from 0 to 36500"),
        ("age_days", "at its end: age_days needs one of < <= > >="),
        ("age_days == 7", "at character 10, '== 7': age_days needs one of < <= > >="),
        ("age_days in ['7']", "age_days needs one of"),
        ("severity < 11", "severity needs a number from 0 to 10"),
        ("name < 'a'", "name needs one of == != in not in"),
        ("name == 7", "at character 9, '7': name needs a name or a pattern in quotes"),
        ("name == '[a-z]+'", "name needs a name or a pattern"),
        ("version < '1.*'", "version needs a version"),
        ('version == "==1.0"', "version needs a version"),
        ("version in ['1.0', 'dog']", "at character 20"),
        ("licence == 'Proprietary'", "licence needs a licence of SPDX"),
        ("uploaded <= '2026-02-30'", "uploaded needs a date or a time"),
        ("uploaded <= '0001-01-01T00:00+14:00'", "uploaded needs a date or a time"),
        ("uploaded <= '20260101'", "uploaded needs a date or a time"),
        ("yanked == 1", "yanked needs true or false"),
        ("agedays >= 7", "at character 1, 'agedays >= 7': there is no field 'agedays'. The fields"),
        ("yanked and", "at its end: expected '(', 'not' or a field"),
        ("(yanked", "at its end: expected"),
        ("yanked)", "at character 7, ')': expected"),
        ("yanked AND approved", "at character 8, 'AND approved': expected"),
        ("name == acme", "at character 9, 'acme': expected a number, a text in quotes or true"),
        ("name == 'a", "at character 9"),
        ("name in []", "expected a text in quotes"),
        ("__import__('os').system('true')", "at character 11"),
        ("yanked; approved", "at character 7, '; approved'"),
    ],
)
def test_names_the_place_of_a_mistake(text: str, message: str) -> None:
    """The message about a wrong filter says where it is wrong, and what may stand there."""
    with pytest.raises(Invalid) as raised:
        parse_filter(text)

    assert raised.value.code == "invalid_filter"
    assert message in raised.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yanked or " * 100 + "yanked", "it has 1006 characters, and may have 1000"),
        ("yanked or " * 99 + "yanked", None),
        ("(yanked and(attested or " * 10 + "yanked" + "))" * 10, None),
        ("(yanked and(attested or " * 11 + "yanked" + "))" * 11, "22 groups in one another"),
        ("(" * 497 + "yanked" + ")" * 497, None),
        ("not " * 248 + "yanked", None),
        ("(" * MAX_CHARS, "expected"),
    ],
)
def test_bounds_what_it_costs(text: str, message: str | None) -> None:
    """A filter that is too long or too deep is refused, and no nesting ends the process."""
    if message is None:
        assert parse_filter(text).fields
    else:
        with pytest.raises(Invalid, match=message):
            parse_filter(text)


@pytest.mark.parametrize(
    ("text", "moments"),
    [
        ("age_days >= 7", [NOW + DAY]),
        ("age_days > 7", [NOW + DAY + timedelta(microseconds=1)]),
        ("age_days <= 7 or age_days < 9", [NOW + DAY + timedelta(microseconds=1), NOW + 3 * DAY]),
        ("severity < 9", []),
        ("age_days >= 3 and not yanked", []),
    ],
)
def test_knows_when_an_answer_changes(text: str, moments: list[datetime]) -> None:
    """A filter knows the next time at which the answer about a file may change."""
    parsed, facts, now = parse_filter(text), facts_with(uploaded_at=NOW - 6 * DAY), NOW
    changes = list[datetime]()
    while (change := parsed.changes_at(facts, now)) is not None:
        changes.append(change)
        now = change

    assert changes == moments


def test_survives_times_that_never_come() -> None:
    """A file that another index dates to the end of all days has to wait for ever."""
    facts = facts_with(uploaded_at=datetime(9999, 12, 31, tzinfo=UTC))

    assert parse_filter("age_days >= 36500").why_hidden(facts, NOW)


Evaluator = Callable[[FileFacts], bool | None]


def _leaves() -> st.SearchStrategy[tuple[str, Evaluator]]:
    """Return texts of conditions, each with a function that knows by itself if it holds."""

    def after(days: int, facts: FileFacts) -> bool | None:
        at = facts.uploaded_at
        return None if at is None else (NOW - at).total_seconds() >= days * 86400

    def before(text: str, facts: FileFacts) -> bool | None:
        return None if facts.uploaded_at is None else facts.uploaded_at.isoformat() < text

    return st.sampled_from(
        [
            ("yanked", lambda facts: facts.is_yanked),
            ("approved == false", lambda facts: not facts.is_approved),
            ("attested", lambda facts: facts.is_attested),
            ('name == "acme-*"', lambda facts: facts.name.startswith("acme-")),
            ('name not in ["acme-*" , ]', lambda facts: not facts.name.startswith("acme-")),
            ('version >= "1.5"', lambda facts: Version(facts.version) >= Version("1.5")),
            ("prerelease", lambda facts: "rc" in facts.version),
            ("severity>7.50", lambda facts: facts.severity > 7.5),
            ("age_days >= 7", lambda facts: after(7, facts)),
            (
                "uploaded < '2026-01-04'",
                lambda facts: before("2026-01-04", facts),
            ),
            (
                'licence == "MIT"',
                lambda facts: facts.licence == "MIT" if facts.licence else None,
            ),
        ]
    )


def _combined(
    inner: st.SearchStrategy[tuple[str, Evaluator]],
) -> st.SearchStrategy[tuple[str, Evaluator]]:
    def negated(part: tuple[str, Evaluator]) -> tuple[str, Evaluator]:
        text, holds = part

        def opposite(facts: FileFacts) -> bool | None:
            result = holds(facts)
            return None if result is None else not result

        return f"not ({text})", opposite

    def joined(word: str, parts: list[tuple[str, Evaluator]]) -> tuple[str, Evaluator]:
        # `and` is the least of all results, and `or` the greatest, where "not known" is between
        choose = min if word == "and" else max
        values = {False: 0, None: 1, True: 2}

        def holds(facts: FileFacts) -> bool | None:
            chosen = choose(values[part[1](facts)] for part in parts)
            return (False, None, True)[chosen]

        return f" {word}\n".join(f"({part[0]})" for part in parts), holds

    words = st.sampled_from(["and", "or"])
    return inner.map(negated) | st.builds(joined, words, st.lists(inner, min_size=1, max_size=4))


FILTERS = st.recursive(_leaves(), _combined, max_leaves=12).filter(
    lambda part: len(part[0]) <= MAX_CHARS
)
FACTS = st.builds(
    facts_with,
    name=st.sampled_from(["acme-core", "tools"]),
    version=st.sampled_from(["1.0", "1.5", "2.0rc1"]),
    uploaded_at=st.none() | st.sampled_from([NOW - days * DAY for days in (1, 7, 8)]),
    licence=st.sampled_from(["MIT", "ISC", UNKNOWN, None]),
    severity=st.sampled_from([0.0, 7.5, 9.8]),
    is_approved=st.booleans(),
    is_attested=st.booleans(),
    is_yanked=st.booleans(),
)


@given(FILTERS, FACTS)
def test_means_what_an_independent_evaluator_says(
    part: tuple[str, Evaluator], facts: FileFacts
) -> None:
    """A filter shows what another evaluator shows, and gives a reason for all else."""
    text, holds = part
    parsed = parse_filter(text)

    assert parsed.shows(facts, NOW) == (holds(facts) is True)
    assert bool(parsed.why_hidden(facts, NOW)) != parsed.shows(facts, NOW)


@given(FILTERS)
def test_is_the_same_after_it_was_printed(part: tuple[str, Evaluator]) -> None:
    """What a filter is printed as has the same meaning."""
    parsed = parse_filter(part[0])

    assert parse_filter(str(parsed)) == parsed


@given(
    st.text(alphabet=st.sampled_from("()[]\"', \n<=!>andornotinyked1.*"), max_size=200)
    | st.text(max_size=50)
)
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    """Any text is a filter, or is refused, and no other error comes of it."""
    with suppress(Invalid):
        assert isinstance(parse_filter(text), ViewFilter)
