"""Several packages are approved or blocked at once, by one commit."""

from pathlib import Path

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.fake_time import Clock
from tests.operations.in_memory_index import IndexHarness
from wheelyard.errors import Invalid
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Scope
from wheelyard.model.index_name import EVERY_INDEX
from wheelyard.model.public_packages import DecisionList, DecisionSummary, Verdict
from wheelyard.upstream.decisions import Deciding, Target

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
ROOT = Caller("local:root", (Scope(Action.ADMIN.with_implied, (EVERY_PROJECT,), (EVERY_INDEX,)),))
APPROVED, BLOCKED = Verdict.APPROVED, Verdict.BLOCKED


def target(name: str, version: str = "", *digests: str) -> Target:
    """Return a project, or a version of it with some files."""
    return Target(NormalizedName(name), Version(version) if version else None, frozenset(digests))


@pytest.fixture
def index(tmp_path: Path) -> IndexHarness:
    """An index in memory."""
    return IndexHarness(tmp_path, Clock())


@pytest.fixture
def decision_maker(index: IndexHarness) -> Deciding:
    """What decides in the name of Ana, without an upstream index."""
    return Deciding(index.index.server.decisions, "local:ana", index.index.projects.names)


def in_force(deciding: Deciding) -> DecisionList:
    """Return what is decided."""
    return deciding.records.get("current").value or DecisionList()


def targets(summary: DecisionSummary) -> list[list[str]]:
    """Return what is new, what was so already, and what stays blocked."""
    parts = (summary.decided, summary.unchanged, summary.blocked)
    return [[decision.target for decision in part] for part in parts]


def test_all_of_it_is_one_commit(decision_maker: Deciding) -> None:
    """Several approvals are one commit with one reason; the same again writes nothing."""
    wanted = [target("a", "1.0", A), target("b", "2.0", B.upper()), target("a", "1.0.0", C)]
    wanted.append(target("a", "2.0", B))
    dry = decision_maker.decide(APPROVED, wanted, "T-7", dry_run=True)
    assert in_force(decision_maker).revision == 0

    first = decision_maker.decide(APPROVED, wanted, "T-7")

    assert targets(first) == targets(dry) == [["a 1.0", "b 2.0", "a 2.0"], [], []]
    assert {decision.reason for decision in in_force(decision_maker).decisions} == {"T-7"}
    assert [decision.sha256 for decision in first.decided] == [(A, C), (B,), (B,)]
    again = decision_maker.decide(APPROVED, wanted, "again")
    assert targets(again) == [[], ["a 1.0", "b 2.0", "a 2.0"], []]
    assert in_force(decision_maker).revision == 1


def test_an_approval_takes_nothing_away(decision_maker: Deciding) -> None:
    """Files and rules that were approved before stay so, and a part of them changes nothing."""
    name = NormalizedName("a")
    decision_maker.approve(name, Version("1.0"), "bought", ["licence"], [A, B])

    part = decision_maker.decide(APPROVED, [target("a", "1.0", A)], "")
    more = decision_maker.decide(APPROVED, [target("a", "1.0", C)], "")

    assert targets(part) == [[], ["a 1.0"], []]
    assert targets(more) == [["a 1.0"], [], []]
    (decision,) = in_force(decision_maker).decisions
    assert (decision.sha256, decision.despite) == ((A, B, C), ("licence",))
    # the approval of a project is about later files, and ends no cooldown
    decision_maker.decide(BLOCKED, [target("b")], "")
    decision_maker.decide(APPROVED, [target("c", "1.0", A)], "")
    assert targets(decision_maker.decide(APPROVED, [target("c", "2.0", B)], "")) == [
        ["c 2.0"],
        [],
        [],
    ]


@pytest.mark.parametrize(
    ("blocked", "wanted"),
    [
        (target("a"), target("a", "1.0", A)),
        (target("a", "1.0"), target("a", "1.0", A)),
        (target("a", "1.0"), target("a", "1.0+cpu", A)),
    ],
)
def test_what_is_blocked_stays_so(
    decision_maker: Deciding, blocked: Target, wanted: Target
) -> None:
    """A block is named, and ends only for whoever says so; the rest is approved meanwhile."""
    decision_maker.decide(BLOCKED, [blocked], "taken over")

    kept = decision_maker.decide(APPROVED, [wanted, target("b", "1", B)], "")

    assert targets(kept)[:2] == [["b 1"], []]
    assert [decision.reason for decision in kept.blocked] == ["taken over"]
    assert not _is_approved(decision_maker, wanted)
    lifted = decision_maker.decide(APPROVED, [wanted], "", unblock=True)
    assert len(lifted.decided) == 1
    assert _is_approved(decision_maker, wanted)


def _is_approved(deciding: Deciding, wanted: Target) -> bool:
    decisions = in_force(deciding).for_project(wanted.project)
    decision = decisions.for_file(str(wanted.version), A)
    return decision is not None and decision.verdict is APPROVED


def test_blocking_several(decision_maker: Deciding) -> None:
    """Projects and versions are blocked together, and what is blocked already is left alone."""
    decision_maker.decide(BLOCKED, [target("a")], "")
    summary = decision_maker.decide(BLOCKED, [target("a"), target("b", "1"), target("c")], "bad")
    assert targets(summary) == [["b 1", "c"], ["a"], []]
    assert in_force(decision_maker).revision == 2


def test_what_cannot_be_decided(decision_maker: Deciding, index: IndexHarness) -> None:
    """Private names and what nobody can be asked about are named, and do not stop the others."""
    index.index.names.reserve(ROOT, NormalizedName("mine"), "soon")
    wanted = [target("mine", "1", A), target("mine"), target("b", "1", B), target("c", "3")]

    summary = decision_maker.decide(APPROVED, wanted, "")

    assert targets(summary) == [["b 1"], [], []]
    assert summary.private == ("mine",)
    assert [(each.project, each.version, each.code) for each in summary.failed] == [
        ("c", "3", "no_upstream")
    ]
    for wrong in (target("b", "", B), target("b", "1", "0"), target("b", "1", "g" * 64)):
        with pytest.raises(Invalid):
            decision_maker.decide(APPROVED, [wrong], "")
    with pytest.raises(Invalid, match="reason"):
        decision_maker.decide(APPROVED, [target("b", "2", B)], "two\nlines")
    assert in_force(decision_maker).revision == 1
