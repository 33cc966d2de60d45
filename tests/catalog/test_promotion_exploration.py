"""Promotions beside deletions and sweeps, in every order, with a fault anywhere."""

from pathlib import Path

import pytest

from tests.catalog.explorer import Explorer, InvariantViolated, Scenario
from tests.catalog.invariants import (
    AnyIntent,
    PromotionIntent,
    RemovalIntent,
    RetentionIntent,
    WriteIntent,
)
from tests.distributions import make_wheel
from wheelyard.catalog.file_removal import FileRemoval
from wheelyard.operations import promotion
from wheelyard.operations.lifecycle import PromotionNotes
from wheelyard.retention import judgements

pytestmark = pytest.mark.slow

WHEEL, LATER = make_wheel(), make_wheel(version="2.0")
OTHERS: dict[str, AnyIntent] = {
    "promotion": PromotionIntent(WHEEL),
    "delete": WriteIntent(WHEEL, delete=True),
    "delete now": RemovalIntent(WHEEL),
    "delete everywhere": RemovalIntent(WHEEL, everywhere=True),
    "delete in a public bucket": RemovalIntent(WHEEL, is_public=True),
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
    return Explorer(Scenario(folder, intents, uploaded, has_prod=True), faults)


@pytest.mark.parametrize(
    ("other", "faults"),
    [
        ("delete now", 0),
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


@pytest.mark.weekly
@pytest.mark.parametrize(
    "others", [("delete in a public bucket", "sweep"), ("delete everywhere", "sweep")]
)
def test_three_lose_no_listed_bytes(tmp_path: Path, others: tuple[str, str]) -> None:
    """A sweep beside a promotion and a deletion deletes nothing that is listed."""
    result = explorer(tmp_path, *others, faults=1).sample(seed=1, schedules=1_000)

    assert len(result.answers) > 2


def _nothing(*_: object, **__: object) -> tuple[()]:
    return ()


MUTATIONS = {
    "the source gets no note": (promotion._NoteInSource, "__call__", "delete now"),  # noqa: SLF001
    "a pending promotion is overlooked": (FileRemoval, "awaited", "delete everywhere"),
    "a new note is overlooked": (PromotionNotes, "require_no_other", "delete now"),
    "a promoted release is deleted": (judgements, "_protections", "retention in a public bucket"),
    "a note in a public bucket": (PromotionNotes, "require_no_other", "delete in a public bucket"),
}
"""What is left out of the protocol: a method, which does nothing, and who then loses bytes."""


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
