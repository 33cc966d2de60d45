"""Rights in several indexes, compared with those that e94b31aa gave."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

import pytest

from tests.access.index_matrix import (
    CONDITIONS,
    Cells,
    Difference,
    Matrix,
    differences,
    recorded,
)

pytestmark = pytest.mark.integration


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why rights of callers in an index are others. Each pattern is one of `fnmatch`."""

    why: str
    caller: str = "*"
    index: str = "*"
    condition: str = "*"
    stage: str = "*"

    def covers(self, difference: Difference) -> bool:
        """Return whether a difference is one of these."""
        return (
            fnmatchcase(difference.caller, self.caller)
            and fnmatchcase(difference.index, self.index)
            and fnmatchcase(difference.condition, self.condition)
            and fnmatchcase(difference.stage, self.stage)
        )


HAD_GRANTS, LAST_GRANT_GONE = "dev has grants", "last grant of dev gone"
DIFFERENCES: tuple[Reason, ...] = (
    Reason(
        index="free",
        stage=HAD_GRANTS,
        why="A right that names no index is about main, and free is read by whoever has a right.",
    ),
    Reason(
        index="free",
        stage=LAST_GRANT_GONE,
        why="Taking a grant of dev away changes nothing in free, which stays closed.",
    ),
    Reason(
        index="dev",
        stage=LAST_GRANT_GONE,
        why="Without its last grant dev is closed, and not open to rights that name no index.",
    ),
    Reason(
        index="dev",
        condition="settings grant to anonymous in dev, private",
        why="access.private closes every index, whatever a grant says.",
    ),
)
"""
Why rights are gone since the recording.

Each difference has a row, and each row a difference.
"""
OPENED: tuple[Reason, ...] = (
    Reason(
        caller="*to admin",
        index="dev",
        stage=HAD_GRANTS,
        why=(
            "A right to administer that names no index is about the server: whoever had it could "
            "grant themselves any right in dev."
        ),
    ),
    Reason(
        index="main",
        condition="settings grant, private = false",
        why="The settings say that reading main needs no credential, and a grant closes nothing.",
    ),
)
"""What was decided to be more than it was. Nothing else may be."""


def faults(
    before: Cells, now: Cells, reasons: tuple[Reason, ...], decided: tuple[Reason, ...] = ()
) -> list[str]:
    """Return what is wrong about the differences between two matrices, and about their reasons."""
    found = list(differences(before, now))
    excused = [each for each in found if any(reason.covers(each) for reason in decided)]
    opened = [f"opened: {each}" for each in found if each.opens and each not in excused]
    uncovered = [
        f"without a reason: {each}"
        for each in found
        if each not in excused and not any(reason.covers(each) for reason in reasons)
    ]
    idle = [
        f"without a difference: {reason.why}"
        for reason in (*reasons, *decided)
        if not any(reason.covers(each) for each in found)
    ]
    return [*opened, *uncovered, *idle]


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    """What every caller may do now."""
    return Matrix.computed()


def test_no_right_is_opened_and_each_closed_one_has_its_reason(matrix: Matrix) -> None:
    """Nobody may do what e94b31aa refused, unless decided; what it allowed ends by a reason."""
    assert faults(recorded(), matrix.cells, DIFFERENCES, OPENED) == []


def test_everything_recorded_is_asked(matrix: Matrix) -> None:
    """Every caller of the recording is asked under each condition, and nobody else."""
    before = recorded()

    assert before.keys() == CONDITIONS.keys() == matrix.cells.keys()
    for name, stages in matrix.cells.items():
        for stage, callers in stages.items():
            assert callers.keys() == before[name][stage].keys()


@pytest.mark.parametrize(
    ("now", "caller", "expected"),
    [
        ("main ru-- dev r---", "", []),
        ("main ru-- dev ----", "ana", []),
        ("main ru-- dev ----", "*", []),
        ("main ru-- dev ----", "", ["without a reason"]),
        ("main ru-- dev ----", "bo", ["without a reason", "without a difference"]),
        ("main ru-- dev r---", "ana", ["without a difference"]),
        ("main rum- dev r---", "ana", ["opened"]),
        ("main -um- dev ----", "ana", ["opened"]),
        ("main rum- dev r---", "", ["opened", "without a reason"]),
    ],
)
def test_comparison_finds_each_fault(now: str, caller: str, expected: list[str]) -> None:
    """An opened right is never excused, and no difference and no reason stands alone."""
    before, after = (
        {"open": {"dev has grants": {"ana": line}}} for line in ("main ru-- dev r---", now)
    )
    reasons = (Reason(why="It is closed.", caller=caller),) if caller else ()

    assert [fault.partition(":")[0] for fault in faults(before, after, reasons)] == expected
