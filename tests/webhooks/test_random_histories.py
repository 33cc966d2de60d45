"""Random histories, random answers and a clock that jumps: each journal arrives whole, in order."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.utils import NormalizedName

from tests.distributions import make_wheel
from tests.operations.in_memory_index import ALICE, history
from tests.webhooks.crashing import told
from tests.webhooks.harness import WebhookHarness, running_webhooks
from tests.webhooks.receivers import Received
from wheelyard.errors import NotFound, WheelyardError
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.project import Commit, EventKind
from wheelyard.model.webhook_messages import group_events
from wheelyard.operations.lifecycle import ReleaseAction, Selection

pytestmark = pytest.mark.integration

PROJECTS: Final = ("demo", "other", "third")
WHEELS: Final = {
    (name, version): make_wheel(name, version=version)
    for name in PROJECTS
    for version in ("1.0", "2.0")
}
ACTIONS: tuple[ReleaseAction, ...] = ("yank", "unyank", "delete", "restore")

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("change"),
            st.sampled_from(PROJECTS),
            st.sampled_from(("1.0", "2.0")),
            st.sampled_from(("upload", *ACTIONS)),
        ),
        st.tuples(st.just("deliver"), st.lists(st.sampled_from((200, 500, 503)), max_size=6)),
        st.tuples(st.just("advance"), st.sampled_from((1, 5, 31, 600, 3_600))),
    ),
    max_size=25,
)


@contextmanager
def running() -> Iterator[WebhookHarness]:
    """Run a receiver for an index with a webhook."""
    with TemporaryDirectory() as folder, running_webhooks(Path(folder)) as hooks:
        hooks.add()
        yield hooks


def change(hooks: WebhookHarness, name: str, version: str, action: str) -> None:
    """Change a release, if it can be changed so."""
    hooks.index.clock.advance(seconds=1)
    try:
        if action == "upload":
            hooks.index.upload(WHEELS[name, version])
        else:
            [known_action] = [each for each in ACTIONS if each == action]
            hooks.index.index.lifecycle.change(
                known_action, ALICE, NormalizedName(name), Selection(parse_version(version)), ""
            )
    except WheelyardError:
        pass


def committed(hooks: WebhookHarness) -> dict[str, list[tuple[str, str]]]:
    """Return what each journal has, as messages tell of it."""
    kinds = {
        EventKind.UPLOADED: "project.released",
        EventKind.YANKED: "project.yanked",
        EventKind.UNYANKED: "project.unyanked",
        EventKind.DELETED: "project.deleted",
        EventKind.RESTORED: "project.restored",
    }
    journals = dict[str, list[tuple[str, str]]]()
    for name in map(NormalizedName, PROJECTS):
        commits = list[Commit]()
        with suppress(NotFound):  # nothing was ever published
            commits = history(hooks.index.index, name)
        for commit in commits:
            for group in group_events(name, commit.events):
                kind = kinds[EventKind(group.events[0].what)]
                journals.setdefault(name, []).append((kind, group.release))
    return journals


@given(STEPS)
@settings(max_examples=25)
def test_each_journal_arrives_whole_and_in_order(steps: list[tuple[object, ...]]) -> None:
    """Whatever happens, and whatever receivers answer, a webhook is told all of it in order."""
    answers = list[int]()
    lock = Lock()

    def answer(_: Received) -> int:
        with lock:
            return answers.pop() if answers else 200

    with running() as hooks:
        hooks.receiver.answer = answer
        for kind, *values in steps:
            if kind == "change":
                name, version, action = map(str, values)
                change(hooks, name, version, action)
            elif kind == "advance":
                [seconds] = values
                assert isinstance(seconds, int)
                hooks.index.clock.advance(seconds=seconds)
            else:
                [statuses] = values
                assert isinstance(statuses, list)
                answers[:] = statuses
                hooks.deliver()
        answers.clear()
        for _ in range(2):
            hooks.index.clock.advance(hours=9)
            hooks.deliver()

        assert told(hooks.receiver.taken) == committed(hooks)
        assert hooks.state().dead == ()
