"""The commit protocol, played in every order with a fault anywhere, on the product's own code."""

from pathlib import Path

import pytest

from tests.catalog.explorer import Explorer, Scenario, Stage
from tests.catalog.invariants import RecordIntent, WriteIntent, document
from tests.catalog.scheduler import Call, CallOutcome, Scheduler
from tests.distributions import Distribution, make_wheel
from wheelyard.catalog import keys
from wheelyard.catalog.journaled_documents import ACCESS

pytestmark = pytest.mark.slow

ONE = make_wheel(content=b"1")
OTHER_BYTES = make_wheel(content=b"2")
TWO = make_wheel(version="2.0")
THREE = make_wheel(version="3.0")

DELETE_ONE = WriteIntent(ONE, delete=True)
SCENARIOS: dict[str, tuple[dict[str, WriteIntent], tuple[Distribution, ...]]] = {
    "same filename, other bytes": ({"A": WriteIntent(ONE), "B": WriteIntent(OTHER_BYTES)}, ()),
    "same filename, same bytes": ({"A": WriteIntent(ONE), "B": WriteIntent(ONE)}, ()),
    "first uploads of a project": ({"A": WriteIntent(ONE), "B": WriteIntent(TWO)}, ()),
    "upload beside a delete": ({"A": WriteIntent(TWO), "D": DELETE_ONE}, (ONE,)),
    "upload and delete of one file": ({"A": WriteIntent(ONE), "D": DELETE_ONE}, ()),
    "upload again and delete": ({"A": WriteIntent(ONE), "D": DELETE_ONE}, (ONE,)),
}
"""Two writers: who wants what, and what is there before."""


def test_an_upload_that_fails_three_times_can_be_repeated(tmp_path: Path) -> None:
    """An upload that fails up to three times, anywhere, breaks nothing and can be repeated."""
    result = Explorer(Scenario(tmp_path, {"A": WriteIntent(ONE)}), faults=3).explore()

    assert {("ok",), ("crashed",), ("Unavailable storage_unavailable",)} == result.answers


@pytest.mark.parametrize(
    ("name", "place", "faults", "fewest"),
    [
        ("same filename, other bytes", "processes", 1, 1_300),
        ("same filename, same bytes", "processes", 0, 380),
        ("first uploads of a project", "processes", 1, 3_000),
        ("upload beside a delete", "processes", 1, 2_000),
        ("upload and delete of one file", "processes", 1, 650),
        ("upload again and delete", "processes", 1, 200),
        ("same filename, other bytes", "far", 1, 800),
        ("upload again and delete", "far", 1, 200),
        ("upload and delete of one file", "together", 0, 230),
        pytest.param("upload and delete of one file", "together", 1, 600, marks=pytest.mark.weekly),
        pytest.param("first uploads of a project", "together", 0, 900, marks=pytest.mark.weekly),
        pytest.param("first uploads of a project", "far", 1, 1_400, marks=pytest.mark.weekly),
        pytest.param("upload beside a delete", "far", 1, 1_100, marks=pytest.mark.weekly),
        pytest.param("upload and delete of one file", "far", 1, 650, marks=pytest.mark.weekly),
        pytest.param("same filename, other bytes", "together", 0, 600, marks=pytest.mark.weekly),
        pytest.param("same filename, same bytes", "together", 0, 1_200, marks=pytest.mark.weekly),
        pytest.param("upload beside a delete", "together", 0, 380, marks=pytest.mark.weekly),
        pytest.param("upload again and delete", "together", 1, 800, marks=pytest.mark.weekly),
    ],
)
def test_two_writers_keep_every_promise_in_every_order(
    tmp_path: Path, name: str, place: str, faults: int, fewest: int
) -> None:
    """Two writers, in one process or in two, near or far, keep every promise in every order."""
    intents, before = SCENARIOS[name]
    scenario = Scenario(tmp_path, intents, before, together=place == "together", far=place == "far")

    assert Explorer(scenario, faults).explore().states >= fewest


BO_BY_A, BO_BY_B = RecordIntent("grant", "local:a"), RecordIntent("grant", "local:b")
EVE_BY_B = RecordIntent("grant", "local:b", "user:eve@acme.dev")
RECORDS: dict[str, tuple[dict[str, RecordIntent], tuple[RecordIntent, ...]]] = {
    "two grants": ({"A": BO_BY_A, "B": EVE_BY_B}, ()),
    "two equal grants": ({"A": BO_BY_A, "B": BO_BY_B}, ()),
    "a grant and its end": (
        {"A": BO_BY_A, "B": RecordIntent("revoke", "local:b")},
        (RecordIntent("grant", "local:c"),),
    ),
    "two decisions about one package": (
        {"A": RecordIntent("block", "local:a"), "B": RecordIntent("block", "local:b")},
        (RecordIntent("block", "local:c"),),
    ),
}
"""Two who change the grants or the decisions: who wants what, and what is there before."""


PUT_ACCESS = Call("put", keys.ACCESS)


@pytest.mark.parametrize("faults", [1, pytest.param(2, marks=pytest.mark.weekly)])
@pytest.mark.parametrize("place", ["processes", "far", "together"])
@pytest.mark.parametrize("name", list(RECORDS))
def test_changes_keep_promises(tmp_path: Path, name: str, place: str, faults: int) -> None:
    """Two changes of grants or decisions keep every promise in every order, also if one dies."""
    intents, before = RECORDS[name]
    scenario = Scenario(tmp_path, intents, before, together=place == "together", far=place == "far")

    result = Explorer(scenario, faults).explore()

    assert result.states >= 100
    assert ("ok", "ok") in result.answers


def commit_behind_l(stage: Stage, first: str) -> None:
    """Let these writers go on, after which all but L wait for it; then let all end well."""
    for writer in first:
        stage.let(writer, CallOutcome.DONE)
    assert list(stage.waiting()) == ["L"]
    while stage.waiting():
        stage.let(next(iter(stage.waiting())), CallOutcome.DONE)
    assert set(stage.answers().values()) == {"ok"}


def test_changes_of_grants_share_a_write(tmp_path: Path) -> None:
    """Grants that are made while another one is being written are in one commit."""
    grants = {
        name: RecordIntent("grant", f"local:{name}", f"user:{name}@acme.dev") for name in "LAB"
    }
    with Scenario(tmp_path, grants, together=True).stage() as stage:
        commit_behind_l(stage, "LLAB")  # A and B wait together while L commits
        rules, _ = ACCESS.read(stage.store)
        assert rules.commit is not None
        assert (rules.revision, len(rules.commit.events), len(rules.grants)) == (2, 2, 3)
        assert isinstance(stage, Scheduler)
        steps = [step for writer in stage.writers.values() for step in writer.history]
        puts = [step for step in steps if isinstance(step, tuple) and step[0] == PUT_ACCESS]
        assert len(puts) == 2


def test_a_grant_revoked_by_its_own_commit_succeeds(tmp_path: Path) -> None:
    """A grant that is revoked in its own commit succeeds, and is not there."""
    intents = {"L": EVE_BY_B, "A": BO_BY_A, "R": RecordIntent("revoke", "local:r")}
    before = (RecordIntent("grant", "local:c"),)
    with Scenario(tmp_path, intents, before, together=True).stage() as stage:
        commit_behind_l(stage, "LLLARR")  # A and R wait together while L commits
        rules, _ = ACCESS.read(stage.store)
        assert [grant.by for grant in rules.grants] == ["local:b"]


@pytest.mark.parametrize("faults", [0, 1])
def test_an_upload_beside_a_sweep_loses_nothing(tmp_path: Path, faults: int) -> None:
    """An upload and a sweep of the same leftover bytes lose nothing in any order."""
    intents = {"A": WriteIntent(ONE), "S": WriteIntent(ONE, sweep=True)}
    scenario = Scenario(tmp_path, intents, (TWO,), leftovers=(ONE,))

    result = Explorer(scenario, faults).explore()

    assert result.states >= 100
    assert ("ok", "ok") in result.answers


@pytest.mark.parametrize(
    ("together", "far", "schedules"),
    [
        (True, False, 120),
        pytest.param(True, False, 1_000, marks=pytest.mark.weekly),
        pytest.param(False, True, 1_000, marks=pytest.mark.weekly),
    ],
)
def test_four_writers_keep_every_promise(
    tmp_path: Path, schedules: int, *, together: bool, far: bool
) -> None:
    """Four writers with three faults keep every promise, in schedules drawn at random."""
    intents = {
        "A": WriteIntent(ONE),
        "B": WriteIntent(OTHER_BYTES),
        "C": WriteIntent(THREE),
        "D": WriteIntent(TWO, delete=True),
        "E": WriteIntent(TWO),
    }
    scenario = Scenario(tmp_path, intents, (TWO,), together=together, far=far)

    result = Explorer(scenario, faults=3).sample(seed=1, schedules=schedules)

    assert len(result.answers) > 10


def test_an_upload_deleted_by_its_own_commit_succeeds(tmp_path: Path) -> None:
    """An upload whose file is deleted by the very same commit succeeds, and is not listed."""
    intents = {"L": WriteIntent(TWO), "A": WriteIntent(ONE), "D": WriteIntent(ONE, delete=True)}
    with Scenario(tmp_path, intents, (ONE,), together=True).stage() as stage:
        commit_behind_l(stage, "LLLLAAD")  # A and D wait together while L commits
        project = document(stage.store)
        assert (project.revision, project.deleted_filenames) == (3, (ONE.filename,))
        assert project.commit is not None
        assert len(project.commit.events) == 1
