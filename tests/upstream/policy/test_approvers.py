"""Who may decide about public packages: a right of its own, for some names or all."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.advice import in_terminal
from tests.operations.in_memory_index import IndexHarness
from wheelyard.api import public_package_operations as packages
from wheelyard.api.local_api import LocalApi
from wheelyard.api.project_operations import After
from wheelyard.api.public_package_operations import Block
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.errors import Forbidden, Unauthenticated
from wheelyard.model.access import (
    ANONYMOUS,
    EVERY_PROJECT,
    Action,
    Caller,
    Pattern,
    Scope,
    parse_actions,
)
from wheelyard.model.index_name import EVERY_INDEX, MAIN
from wheelyard.model.public_packages import Verdict

NUMPY, REQUESTS = NormalizedName("numpy"), NormalizedName("requests")
APPROVER = Caller("htpasswd:bo", (Scope(Action.APPROVE, (Pattern("num*"),), (MAIN,)),))
ADMIN = Caller(
    "htpasswd:ana", (Scope(Action.ADMIN.with_implied, (EVERY_PROJECT,), (EVERY_INDEX,)),)
)


def api(harness: IndexHarness, caller: Caller) -> LocalApi:
    """Return the operations for a caller."""
    return LocalApi(index=harness.index, caller=caller)


@contextmanager
def refused(error: type[Exception], words: str) -> Iterator[None]:
    """Expect an error with these words."""
    with pytest.raises(error, match=words):
        yield


def test_approver_decides_about_some_names(harness: IndexHarness) -> None:
    """Who may approve some names decides about those, and sees decisions about those alone."""
    bo, ana = api(harness, APPROVER), api(harness, ADMIN)
    bo.call(packages.block, Block(NUMPY, "2.0", "breaks us"))
    ana.call(packages.block, Block(REQUESTS, "", "ours"))

    with refused(Forbidden, "may not approve 'requests'"):
        bo.call(packages.block, Block(REQUESTS))
    with pytest.raises(Forbidden) as unfit:
        bo.call(packages.approve, packages.Approval(REQUESTS, "1.0"))
    assert "--can approve --project requests" in in_terminal(unfit.value)
    several = (packages.DecidedPackage(NUMPY), packages.DecidedPackage(REQUESTS))
    for dry_run in (True, False):
        decisions = packages.SeveralDecisions(
            verdict=Verdict.BLOCKED, packages=several, dry_run=dry_run
        )
        with pytest.raises(Forbidden, match="may not approve 'requests'") as unfit:
            bo.call(packages.decide, decisions)
        assert "--can approve --project requests" in in_terminal(unfit.value)
    names = (NUMPY, REQUESTS, "flask", "numba")
    with refused(Forbidden, "may not approve 'flask', 'requests', so nothing was decided"):
        bo.call(
            packages.decide,
            packages.SeveralDecisions(
                verdict=Verdict.APPROVED, packages=tuple(map(packages.DecidedPackage, names))
            ),
        )
    shown = bo.call(packages.list_decisions).decisions
    assert [(decision.project, decision.by) for decision in shown] == [(NUMPY, "htpasswd:bo")]
    commits = bo.call(packages.decision_history, After()).commits
    assert [event.project for commit in commits for event in commit.events] == [NUMPY]
    assert len(ana.call(packages.decision_history, After()).commits) == 2


@pytest.mark.parametrize("actions", [Action.MANAGE.with_implied, Action.READ])
def test_other_rights_decide_nothing(harness: IndexHarness, actions: Action) -> None:
    """Who may manage all projects may decide about no public package."""
    manager = api(harness, Caller("htpasswd:di", (Scope(actions, (EVERY_PROJECT,), (MAIN,)),)))
    with refused(Forbidden, "a grant of approve"):
        manager.call(packages.block, Block(NUMPY))
    with refused(Forbidden, "a grant of approve"):
        manager.call(packages.list_decisions)
    with refused(Unauthenticated, "credential"):
        api(harness, Caller(ANONYMOUS, ())).call(packages.list_decisions)


def test_token_of_an_older_administrator_approves(harness: IndexHarness) -> None:
    """A token of an administrator that an older version has stored may approve, too."""
    index, actions = harness.index, parse_actions(["admin"], admin=True)
    _, made = index.tokens.create(
        TokenRequest(
            name="old", actions=actions, lifetime=timedelta(days=1), indexes=(EVERY_INDEX,)
        ),
        by="local:ana",
    )
    # what 0.1.0 has written
    old = replace(made, actions=15, projects=(EVERY_PROJECT,), in_index=None)
    assert old.scope == made.scope
    assert not replace(old, actions=7).scope.actions & Action.APPROVE
