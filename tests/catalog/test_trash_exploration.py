"""Deletions, restorations and removals at once, in every order, with a fault anywhere."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.explorer import APART, Explorer, InvariantViolated, Scenario, Stop, are_like
from tests.catalog.invariants import DEMO, AnyIntent, RemovalIntent, WriteIntent
from tests.catalog.scheduler import Call
from tests.distributions import make_wheel
from wheelyard.catalog import file_removal, keys
from wheelyard.catalog.file_removal import FileRemoval
from wheelyard.operations.immediate_deletion import ImmediateDeletion

ONE, OTHER_BYTES = make_wheel(content=b"1"), make_wheel(content=b"2")
DAMAGED = make_wheel(tag="py2-none-any")
FIRST_OF_ALL = make_wheel("a")
"""A wheel whose objects are the first ones of an index."""
UPLOAD, DELETE = WriteIntent(ONE), WriteIntent(ONE, delete=True)
RESTORE, REMOVE = WriteIntent(ONE, restore=True), RemovalIntent(ONE)
TRASH: dict[str, tuple[dict[str, AnyIntent], bool]] = {
    "restore and remove": ({"R": RESTORE, "X": REMOVE}, True),
    "two restore": ({"R": RESTORE, "S": RESTORE}, True),
    "restore and upload": ({"R": RESTORE, "A": UPLOAD}, True),
    "restore and upload other bytes": ({"R": RESTORE, "A": WriteIntent(OTHER_BYTES)}, True),
    "delete and restore": ({"D": DELETE, "R": RESTORE}, False),
    "delete and remove": ({"D": DELETE, "X": REMOVE}, False),
    "remove and upload": ({"X": replace(REMOVE, has_uploads=True), "A": UPLOAD}, False),
    "remove and sweep": ({"X": REMOVE, "S": WriteIntent(ONE, sweep=True)}, True),
    "restore at the last moment and sweep": (
        {"R": replace(RESTORE, days=29.9), "S": WriteIntent(ONE, sweep=True, days=30.9)},
        True,
    ),
}
"""Two who delete, restore or remove at once: who wants what, and whether it was deleted before."""


def restoring_all(folder: Path) -> Scenario:
    """Return a release that is restored while a damaged file of it is deleted."""
    intents: dict[str, AnyIntent] = {
        "R": replace(RESTORE, whole=True),
        "D": WriteIntent(DAMAGED, delete=True),
    }
    return Scenario(folder, intents, (ONE, DAMAGED), (ONE,), damaged=(DAMAGED,))


def removing(folder: Path, apart: tuple[str, ...] = APART) -> Scenario:
    """Return a removal of bytes that are uploaded to another index."""
    intents: dict[str, AnyIntent] = {
        "X": replace(REMOVE, has_uploads=True),
        "A": WriteIntent(ONE, in_prod=True),
    }
    return Scenario(folder, intents, (ONE,), has_prod=True, in_prod=(FIRST_OF_ALL,), apart=apart)


METADATA = keys.core_metadata(DEMO, ONE.sha256, ONE.filename)
SCHEDULES: dict[str, tuple[Callable[[Path], Scenario], Stop, tuple[str, str]]] = {
    "a file is deleted while another one is verified": (
        restoring_all,
        ("R", Call("read", keys.FILES)),
        ("Conflict conflict: The trash of demo has changed meanwhile. *", "ok"),
    ),
    "another index gets the bytes that are removed": (
        removing,
        ("X", Call("delete", METADATA)),
        ("Conflict listed_meanwhile: *came to these indexes: prod. They are still *", "ok"),
    ),
}
"""Who stops at which call, so that the other comes in between, and what both are told."""


@pytest.mark.parametrize(
    ("scenario", "stop", "answers"), list(SCHEDULES.values()), ids=list(SCHEDULES)
)
def test_who_comes_in_between_is_noticed(
    tmp_path: Path,
    scenario: Callable[[Path], Scenario],
    stop: Stop,
    answers: tuple[str, str],
) -> None:
    """Who restores or removes what somebody else changes meanwhile is told what has happened."""
    told = Explorer(scenario(tmp_path), faults=0).play(stop)

    assert are_like(told, answers), told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "place", "faults"),
    [
        *((name, "processes", 1) for name in TRASH),
        ("restore and remove", "far", 1),
        ("remove and upload", "far", 1),
        ("restore and remove", "together", 0),
        ("delete and restore", "together", 0),
    ],
)
def test_deleted_files_keep_every_promise(
    tmp_path: Path, name: str, place: str, faults: int
) -> None:
    """Who deletes, restores or removes breaks no promise in any order, also if one of them dies."""
    intents, is_deleted = TRASH[name]
    scenario = Scenario(
        *(tmp_path, intents, (ONE,), (ONE,) if is_deleted else ()),
        together=place == "together",
        far=place == "far",
    )

    assert Explorer(scenario, faults).explore().states >= 20


@pytest.mark.slow
def test_no_file_is_restored_unseen(tmp_path: Path) -> None:
    """What comes into the trash while bytes are verified is not restored unseen."""
    result = Explorer(restoring_all(tmp_path), faults=0).explore()

    assert {
        ("ok", "ok"),
        ("Conflict conflict", "ok"),
        ("Conflict not_intact", "ok"),
    } >= result.answers


@pytest.mark.slow
@pytest.mark.parametrize("faults", [0, pytest.param(1, marks=pytest.mark.weekly)])
def test_a_removal_and_an_upload_to_another_index(tmp_path: Path, faults: int) -> None:
    """
    A removal does not succeed while another index lists the bytes, and later ones keep theirs.

    An upload there that loses its bytes to the removal gets them back when it is repeated.
    """
    result = Explorer(removing(tmp_path, () if faults else APART), faults).explore()

    refusals = {"Conflict listed_meanwhile", "Conflict listed_elsewhere"}
    assert {("ok", "ok"), *((refusal, "ok") for refusal in refusals)} <= result.answers


_REMOVE = ImmediateDeletion._remove  # noqa: SLF001 - it is replaced


def _bytes_first(self: ImmediateDeletion, *arguments: Any) -> object:  # noqa: ANN401 - passed on
    for entry in self.removal.stores.files.list(keys.FILES):
        self.removal.stores.files.delete(entry.key)
    return _REMOVE(self, *arguments)


MUTATIONS: dict[str, tuple[object, str, object, str]] = {
    "bytes go once nobody may begin to restore": (
        *(file_removal, "RESTORE_TIME", timedelta()),
        "restore at the last moment and sweep",
    ),
    "the trash does not count": (
        *(FileRemoval, "kept_files", lambda _, project, _now: project.files),
        "restore at the last moment and sweep",
    ),
    "bytes go before the commit": (
        *(ImmediateDeletion, "_remove", _bytes_first),
        "restore and remove",
    ),
}
"""What is changed in the protocol, an attribute and its value, and where that loses bytes."""


@pytest.mark.slow
@pytest.mark.parametrize("mutation", list(MUTATIONS))
def test_each_part_of_the_protocol_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutation: str
) -> None:
    """Without any part of the protocol, some order of steps breaks a promise."""
    owner, name, value, scenario = MUTATIONS[mutation]
    monkeypatch.setattr(owner, name, value)
    intents, is_deleted = TRASH[scenario]

    with pytest.raises(InvariantViolated, match="listed or kept"):
        Explorer(Scenario(tmp_path, intents, (ONE,), (ONE,) if is_deleted else ()), 0).explore()
