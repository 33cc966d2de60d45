"""Requests for public packages: what waits, how they are merged, and how many are kept."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import NormalizedName

from wheelyard.model.decoding import ExtensibleCodec, encode_all_fields
from wheelyard.model.package_requests import (
    KEPT_FOR,
    MAX_OF_ONE,
    MAX_REQUESTS,
    MAX_WHO,
    Ask,
    PackageRequest,
    RequestList,
)
from wheelyard.model.public_packages import Decision, DecisionList, Verdict, decisions_about

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NUMPY = NormalizedName("numpy")


def request(
    project: str = "numpy",
    version: str = "2.0",
    who: tuple[str, ...] = ("user:ana",),
    at: datetime = NOW,
    *,
    until: datetime | None = None,
    asks: tuple[Ask, ...] = (),
    times: int = 1,
    code: str = "not_approved",
) -> PackageRequest:
    """Return a request for what is hidden, usually as it is not approved."""
    return PackageRequest(
        project=NormalizedName(project),
        version=version,
        code=code,
        reason="It is not approved.",
        who=who,
        times=times,
        first=at,
        last=at,
        until=until,
        asks=asks,
    )


def decision(
    verdict: Verdict, version: str = "2.0", at: datetime = NOW, despite: tuple[str, ...] = ()
) -> Decision:
    """Return a decision about numpy."""
    return Decision(
        at=at, by="local:bo", verdict=verdict, project=NUMPY, version=version, despite=despite
    )


ANA = Ask("user:ana", NOW + HOUR, "for the viewer")


@pytest.mark.parametrize(
    ("asked", "decided", "is_open"),
    [
        (request(), None, True),
        (request(at=NOW - KEPT_FOR - HOUR), None, False),
        (request(until=NOW + 3 * HOUR), None, True),
        (request(until=NOW + HOUR), None, False),
        (request(), decision(Verdict.APPROVED), False),
        (request(), decision(Verdict.APPROVED, ""), False),
        (request(), decision(Verdict.APPROVED, "1.0"), True),
        (request(version="2.0.0"), decision(Verdict.APPROVED), False),
        (request(version=""), decision(Verdict.APPROVED), False),
        (request(version=""), decision(Verdict.BLOCKED), True),
        (request(at=NOW + HOUR), decision(Verdict.APPROVED), True),
        (request(code="licence"), decision(Verdict.APPROVED), True),
        (request(code="licence"), decision(Verdict.APPROVED, despite=("licence",)), False),
        (request(code="cooldown"), decision(Verdict.APPROVED), False),
        (request(code="cooldown"), decision(Verdict.APPROVED, ""), True),
        (request(code="licence"), decision(Verdict.BLOCKED), False),
        (request(at=NOW + HOUR), decision(Verdict.BLOCKED), False),
        (request(at=NOW + HOUR), decision(Verdict.BLOCKED, at=NOW - KEPT_FOR), True),
        (request(asks=(ANA,)), decision(Verdict.BLOCKED), True),
        (request(asks=(ANA,)), decision(Verdict.APPROVED), True),
        (request(asks=(ANA,)), decision(Verdict.BLOCKED, at=NOW + HOUR), False),
    ],
)
def test_waiting(asked: PackageRequest, decided: Decision | None, *, is_open: bool) -> None:
    """A request waits two weeks or until it is shown or decided, and again with a new reason."""
    in_force = decisions_about([decided] if decided else [])
    assert asked.is_open(in_force, NOW + 2 * HOUR) is is_open


def test_requests_for_one_version_are_one() -> None:
    """What several people ask for is one request, with the newest reason of each of them."""
    later = Ask("user:ana", NOW + 2 * HOUR, "now for the editor, too")
    bo = request(version="2.0.0", who=("user:bo", "user:ana"), at=NOW + HOUR, times=3)
    stored = RequestList().with_noted([request(asks=(ANA,))], NOW)
    stored = stored.with_noted([bo, request(asks=(later,))], NOW + HOUR)

    (merged,) = stored.requests
    assert (merged.who, merged.times, merged.asks) == (("user:ana", "user:bo"), 5, (later,))
    assert (merged.first, merged.last) == (NOW, NOW + HOUR)


def test_those_with_reasons_come_first() -> None:
    """The list begins with what people gave a reason for, and has the newest before the others."""
    stored = RequestList().with_noted(
        [
            request("old", at=NOW - HOUR),
            request("new"),
            request("numpy", asks=(ANA,), at=NOW - DAY),
            request("gone", at=NOW - KEPT_FOR - HOUR),
        ],
        NOW,
    )
    order = [waiting.project for waiting in stored.open_ones(DecisionList(), NOW)]
    assert order == ["numpy", "new", "old"]
    assert len(stored.requests) == 3


def test_a_client_that_asks_for_all_names_pushes_out_no_other() -> None:
    """Who asks for many names once fills some of the list, and no wanted name leaves it."""
    wanted = [request(f"wanted-{number}", who=("user:bo",), times=2) for number in range(50)]
    asked = request("asked", asks=(ANA,), at=NOW - DAY)
    flood = [request(f"n{number}", who=("token:x",)) for number in range(10 * MAX_OF_ONE)]
    stored = RequestList().with_noted([*wanted, asked], NOW).with_noted(flood, NOW)

    names = {kept.project for kept in stored.requests}
    assert {waiting.project for waiting in (*wanted, asked)} <= names
    assert len(names) == 51 + MAX_OF_ONE


def test_a_full_list_keeps_what_waits() -> None:
    """What waits stays until it is old, however many other names the same client asks for."""
    first = [request(f"a{number}", who=("anonymous",)) for number in range(MAX_OF_ONE)]
    flood = [
        request(f"b{number}", who=("anonymous",), at=NOW + HOUR, times=9)
        for number in range(MAX_OF_ONE)
    ]
    stored = RequestList().with_noted(first, NOW)
    assert stored.with_noted(flood, NOW + HOUR).requests == stored.requests
    later = NOW + KEPT_FOR + HOUR
    assert {kept.times for kept in stored.with_noted(flood, later).requests} == {9}


@given(
    st.lists(
        st.builds(
            request,
            st.sampled_from(("a", "b", "c")),
            st.sampled_from(("", "1.0", "1.0.0", "2")),
            st.lists(
                st.sampled_from([f"user:{n}" for n in range(20)]), min_size=1, max_size=MAX_WHO
            ).map(tuple),
            st.integers(-400, 0).map(lambda hours: NOW + hours * HOUR),
        )
    )
)
def test_merging_is_bounded_and_takes_any_order(noted: list[PackageRequest]) -> None:
    """However servers add their requests, there is one for each version, sorted, and current."""
    at_once = RequestList().with_noted(noted, NOW)
    one_by_one = RequestList()
    for new in noted:
        one_by_one = one_by_one.with_noted([new], NOW)

    keys = [kept.key for kept in at_once.requests]
    assert keys == sorted(set(keys)) == [kept.key for kept in one_by_one.requests]
    assert all(
        len(kept.who) <= MAX_WHO and NOW - kept.last <= KEPT_FOR for kept in at_once.requests
    )
    assert len(keys) <= MAX_REQUESTS
    assert at_once.with_noted((), NOW) == at_once


@pytest.mark.parametrize(
    ("asked", "decided", "told_at", "is_new"),
    [
        (request(), None, None, True),
        (request(), None, NOW, False),
        (request(at=NOW + HOUR), None, NOW, False),
        (request(asks=(ANA,)), None, NOW, True),
        (request(asks=(ANA,)), None, ANA.at, False),
        (request(), decision(Verdict.APPROVED, at=NOW + HOUR), NOW, True),
        (request(), decision(Verdict.APPROVED, at=NOW - HOUR), NOW, False),
        (request(), decision(Verdict.BLOCKED, "3.0", at=NOW + HOUR), NOW, False),
    ],
)
def test_news_until_somebody_was_told(
    asked: PackageRequest, decided: Decision | None, told_at: datetime | None, *, is_new: bool
) -> None:
    """A request is news until a message told of it, and again with a new reason or decision."""
    in_force = decisions_about([decided] if decided else [])
    assert asked.is_new(in_force, told_at) is is_new


def test_a_list_of_an_earlier_version_is_read() -> None:
    """A list that says which requests a message has told of keeps its requests."""
    at = '"2026-01-01T00:00:00Z"'
    body = (
        '{"requests":[{"project":"numpy","version":"2.0","code":"not_approved",'
        f'"reason":"It is not approved.","who":["user:ana"],"times":1,"first":{at},"last":{at},'
        f'"told_at":{at}}}],"message":{{"at":{at},"error":"webhook: no answer"}}}}'
    )

    stored = ExtensibleCodec(RequestList).decode(body.encode())

    assert stored.requests == (request(),)
    assert [name for name, _ in stored.other_fields] == ["message"]
    assert b"told_at" not in encode_all_fields(stored)


def test_who_waits_for_a_version() -> None:
    """A decision is for those who wait for the version, or for the project, until it is decided."""
    stored = RequestList().with_noted(
        [
            request(who=("user:ana",)),
            request(version="", who=("user:bo",)),
            request(version="3.0", who=("user:cy",)),
            request("pandas", who=("user:di",)),
        ],
        NOW,
    )
    undecided = decisions_about(())
    assert set(stored.asked_by(NUMPY, "2.0.0", undecided, NOW)) == {"user:ana", "user:bo"}
    assert set(stored.asked_by(NUMPY, "", undecided, NOW)) == {"user:ana", "user:bo", "user:cy"}
    decided = decisions_about([decision(Verdict.BLOCKED)])
    assert stored.asked_by(NUMPY, "2.0", decided, NOW) == ("user:bo",)
