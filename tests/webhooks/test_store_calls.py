"""What webhooks ask of the store: nothing in an upload, and the feed alone while idle."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from packaging.version import Version

from tests.distributions import make_wheel
from tests.fake_store import FakeStore
from tests.in_process_network import NetworkOrPorts
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.operations.two_indexes import DEMO, TwoIndexes
from tests.webhooks.harness import WebhookHarness, running_webhooks
from wheelyard.api.package_request_operations import find_waiting
from wheelyard.catalog import keys
from wheelyard.operations.lifecycle import Selection
from wheelyard.wiring.index import Index
from wheelyard.wiring.webhook_building import build_dispatcher

LOOK = [("get", "changes.json"), ("list", "pending/")]
WITH_LIST = sorted([*LOOK, ("get", "index-list.json")])
FIRST, SECOND = make_wheel(), make_wheel(version="2.0")


@pytest.fixture
def hooks(tmp_path: Path, network: NetworkOrPorts) -> Iterator[WebhookHarness]:
    """An index and a receiver, without a webhook."""
    with running_webhooks(tmp_path, network) as harness:
        yield harness


def observed(index: IndexHarness, seed: int = 50) -> tuple[Index, FakeStore]:
    """Return a server over a bucket, and the bucket."""
    store = FakeStore(index.store)
    return index.opened(seed, store, is_local=False), store


def take(store: FakeStore) -> list[tuple[str, str]]:
    """Return the calls since the last time, in the order of their words."""
    calls = sorted(store.calls)
    store.calls.clear()
    return calls


def uploaded(index: IndexHarness) -> list[list[tuple[str, str]]]:
    """Return the calls of the first upload of a project, and of the second one."""
    server, store = observed(index)
    each = list[list[tuple[str, str]]]()
    for made in (FIRST, SECOND):
        arrival = made.arrival(index.folder)
        take(store)
        server.uploads.accept(arrival, ALICE)
        each.append([(verb, key.partition("/")[0]) for verb, key in take(store)])
    return each


def test_an_upload_makes_no_further_calls(hooks: WebhookHarness, tmp_path: Path) -> None:
    """An upload asks the store the same with webhooks as without."""
    plain = uploaded(IndexHarness(tmp_path))
    hooks.add()
    hooks.add("all", events=["imported", "access_changed"], indexes=["*"])

    assert uploaded(hooks.index) == plain


@pytest.mark.parametrize("events", [["released"], ["released", "imported"]])
def test_an_idle_server_reads_the_feed_alone(hooks: WebhookHarness, events: list[str]) -> None:
    """A look at which nothing is new lists the marks of a feed and reads it, and nothing else."""
    hooks.add(events=events)
    hooks.index.upload(FIRST)
    index, store = observed(hooks.index)
    dispatcher = build_dispatcher(index.server, partial(find_waiting, index))
    assert dispatcher.deliver_if_due() == 10
    assert dispatcher.deliver_if_due() == 10
    take(store)

    looks = list[list[tuple[str, str]]]()
    for _ in range(12):
        hooks.index.clock.advance(seconds=10)
        assert dispatcher.deliver_if_due() == 10
        looks.append(take(store))

    assert [look for look in looks if look != LOOK] == [WITH_LIST] * 2
    hooks.index.upload(SECOND)
    dispatcher.deliver_if_due()
    assert hooks.receiver.types == ["project.released", "project.released"]
    index.server.webhook_sender.close()


def test_only_feeds_that_a_webhook_is_told_of_are_read(hooks: WebhookHarness) -> None:
    """The feed of an index that no webhook is told of is not read, but for that of main."""
    indexes = TwoIndexes(hooks.index)
    for index in (indexes.dev, indexes.prod):
        indexes.upload(FIRST, index)
    hooks.add(indexes=["prod"])
    hooks.add("server", events=["access_changed", "package_requested"], indexes=["*"])
    index, store = observed(hooks.index)
    dispatcher = build_dispatcher(index.server, partial(find_waiting, index))
    dispatcher.deliver_if_due()
    dispatcher.deliver_if_due()
    take(store)

    hooks.index.clock.advance(seconds=10)
    dispatcher.deliver_if_due()

    look = take(store)
    prod = [("get", "indexes/prod/changes.json"), ("list", "indexes/prod/pending/")]
    assert look == sorted([*LOOK, *prod])


def test_of_files_that_are_listed_no_older_commit_is_read(hooks: WebhookHarness) -> None:
    """A message about files that their project lists reads no commit before its own."""
    for version in range(1, 6):
        hooks.index.upload(make_wheel(version=f"{version}.0"))
    hooks.add()
    index, store = observed(hooks.index)
    dispatcher = build_dispatcher(index.server, partial(find_waiting, index))
    dispatcher.deliver_if_due()
    hooks.index.index.lifecycle.change("yank", ALICE, DEMO, Selection(Version("5.0")), "")
    take(store)

    hooks.index.clock.advance(seconds=10)
    dispatcher.deliver_if_due()

    index.server.webhook_sender.close()
    assert hooks.receiver.types == ["project.yanked"]
    older_commits = {("get", keys.commit(DEMO, number)) for number in range(1, 6)}
    assert older_commits.isdisjoint(take(store))


def test_without_a_webhook_a_server_reads_twice_a_minute(hooks: WebhookHarness) -> None:
    """Without any webhook, a server reads one document twice a minute, and finds a new webhook."""
    index, store = observed(hooks.index)
    dispatcher = build_dispatcher(index.server, partial(find_waiting, index))
    dispatcher.deliver_if_due()
    dispatcher.deliver_if_due()
    take(store)
    for _ in range(12):
        hooks.index.clock.advance(seconds=10)
        assert dispatcher.deliver_if_due() == 10
    assert take(store) == [("get", "credentials/webhooks.json")] * 4

    hooks.add()
    hooks.index.clock.advance(seconds=30)
    dispatcher.deliver_if_due()
    hooks.index.upload(FIRST)
    dispatcher.deliver_if_due()
    assert hooks.receiver.types == ["project.released"]
    index.server.webhook_sender.close()
