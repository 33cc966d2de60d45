"""Promotions beside deletions and sweeps, in every order, with a fault anywhere."""

from pathlib import Path

import pytest

from tests.catalog.explorer import APART, Explorer, InvariantViolated, Scenario, Stop
from tests.catalog.invariants import (
    DEMO,
    AnyIntent,
    PromotionIntent,
    RemovalIntent,
    RetentionIntent,
    WriteIntent,
    YankIntent,
)
from tests.catalog.scheduler import Call
from tests.distributions import make_sdist, make_wheel
from wheelyard.catalog import keys
from wheelyard.catalog.file_removal import FileRemoval
from wheelyard.operations import promotion
from wheelyard.operations.lifecycle import PromotionNotes
from wheelyard.retention import judgements

WHEEL, SDIST, LATER = make_wheel(), make_sdist(), make_wheel(version="2.0")
OTHERS: dict[str, AnyIntent] = {
    "promotion": PromotionIntent(WHEEL),
    "delete": WriteIntent(WHEEL, delete=True),
    "delete now": RemovalIntent(WHEEL),
    "delete everywhere": RemovalIntent(WHEEL, everywhere=True),
    "delete in a public bucket": RemovalIntent(WHEEL, is_public=True),
    "restore": WriteIntent(WHEEL, restore=True),
    "upload of another file": WriteIntent(make_wheel(tag="py2-none-any")),
    "yank": YankIntent(),
    "upload to the target": WriteIntent(WHEEL, in_prod=True),
    "sweep": WriteIntent(WHEEL, sweep=True),
    "retention": RetentionIntent(),
    "retention in a public bucket": RetentionIntent(is_public=True),
}
"""What happens beside a promotion."""


def explorer(folder: Path, *others: str, faults: int = 0) -> Explorer:
    """Return the exploration of a promotion of one wheel beside what others do."""
    intents = {"P": PromotionIntent(WHEEL), **{name: OTHERS[name] for name in others}}
    # rules keep the latest release
    uploaded = (WHEEL, LATER) if any("retention" in name for name in others) else (WHEEL,)
    apart = () if faults else APART
    scenario = Scenario(
        folder, intents, uploaded, has_prod=True, in_prod=(make_wheel("a"),), apart=apart
    )
    return Explorer(scenario, faults)


IN_SOURCE = Call("put", keys.project(DEMO))
"""The call with which the index is changed that a release is promoted from."""
CHANGED = "Conflict conflict: Version 1.0 of 'demo' was changed meanwhile. Do it again."
SCHEDULES: dict[str, tuple[str, Stop, tuple[str, str]]] = {
    "a release is yanked": ("yank", ("P", IN_SOURCE), (CHANGED, "ok")),
    "a release gets a file": ("upload of another file", ("P", IN_SOURCE), (CHANGED, "ok")),
    "a file is promoted that is removed": (
        "delete now",
        ("delete now", IN_SOURCE),
        ("ok", "Conflict conflict: The release was promoted meanwhile. Do it again."),
    ),
}
"""What happens beside a promotion, who stops at which call, and what both are told."""


@pytest.mark.parametrize(
    ("other", "stop", "answers"), list(SCHEDULES.values()), ids=list(SCHEDULES)
)
def test_who_comes_in_between_is_noticed(
    tmp_path: Path, other: str, stop: Stop, answers: tuple[str, str]
) -> None:
    """Who promotes or removes a release that changes meanwhile hears that, and may do it again."""
    assert explorer(tmp_path, other).play(stop) == answers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "faults"),
    [
        ("upload of another file", 0),
        ("upload to the target", 0),
        ("delete now", 0),
        ("delete everywhere", 0),
        ("delete in a public bucket", 0),
        ("retention in a public bucket", 0),
        *(pytest.param(other, 1, marks=pytest.mark.weekly) for other in OTHERS),
    ],
)
def test_no_listed_bytes_are_lost(tmp_path: Path, other: str, faults: int) -> None:
    """Whatever happens beside a promotion, no index lists bytes that are gone."""
    result = explorer(tmp_path, other, faults=faults).explore()

    assert result.states >= 100
    assert any(answers[0] == "ok" for answers in result.answers)


@pytest.mark.slow
def test_a_promotion_that_fails_can_be_repeated(tmp_path: Path) -> None:
    """A promotion that fails anywhere is made whole by the same one again, and nothing twice."""
    scenario = Scenario(
        tmp_path, {"P": PromotionIntent(WHEEL)}, (WHEEL, SDIST), has_prod=True, late=True
    )

    result = Explorer(scenario, faults=1).explore()

    assert {("ok",), ("crashed",)} < result.answers


@pytest.mark.slow
@pytest.mark.parametrize(
    "others",
    [
        ("upload of another file", "delete", "sweep"),
        ("delete", "restore", "delete now", "sweep"),
        ("delete in a public bucket", "sweep"),
        ("delete everywhere", "sweep"),
    ],
)
@pytest.mark.parametrize("schedules", [40, pytest.param(1_000, marks=pytest.mark.weekly)])
def test_several_lose_no_listed_bytes(
    tmp_path: Path, others: tuple[str, ...], schedules: int
) -> None:
    """Uploads, deletions and sweeps beside a promotion lose nothing that is listed, at random."""
    result = explorer(tmp_path, *others, faults=1).sample(seed=1, schedules=schedules)

    assert len(result.answers) > 2


def _nothing(*_: object, **__: object) -> tuple[()]:
    return ()


MUTATIONS = {
    "the source gets no note": (promotion._NoteInSource, "__call__", "delete now"),  # noqa: SLF001
    "a pending promotion is overlooked": (FileRemoval, "awaited", "delete everywhere"),
    "a new note is overlooked": (PromotionNotes, "require_no_other", "delete now"),
    "a promoted release is deleted": (
        judgements,
        "_find_protections",
        "retention in a public bucket",
    ),
    "a note in a public bucket": (PromotionNotes, "require_no_other", "delete in a public bucket"),
}
"""What is left out of the protocol: a method, which does nothing, and who then loses bytes."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutation",
    [
        pytest.param(name, marks=[pytest.mark.weekly] if "overlooked" in name else [])
        for name in MUTATIONS
    ],
)
def test_each_part_of_the_protocol_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutation: str
) -> None:
    """Without any part of the protocol, some order of steps breaks a promise."""
    owner, method, other = MUTATIONS[mutation]
    nothing = (lambda *_: {}) if method == "awaited" else _nothing
    monkeypatch.setattr(owner, method, nothing)

    with pytest.raises(InvariantViolated, match=r"listed|source does not say|is noted"):
        explorer(tmp_path, other).explore()
