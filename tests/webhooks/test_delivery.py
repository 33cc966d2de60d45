"""What webhooks are told, in which order, and what becomes of messages that nobody takes."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.distributions import Distribution, make_sdist, make_wheel
from tests.fake_store import ALWAYS, Before, FakeStore, Fault, FaultKind, ProcessCrash
from tests.in_process_network import NetworkOrPorts
from tests.metrics import samples
from tests.operations.in_memory_index import ALICE, remove_now
from tests.operations.two_indexes import DEMO, TwoIndexes
from tests.waiting import TIMEOUT_SECONDS
from tests.webhooks.harness import BY, DeliveringServer, WebhookHarness, running_webhooks
from tests.webhooks.receivers import Received
from wheelyard.api.package_request_operations import find_waiting
from wheelyard.catalog import keys
from wheelyard.errors import Conflict, Invalid
from wheelyard.model.grants import GrantFields
from wheelyard.model.project import Event, File, Status
from wheelyard.model.webhook_state import PAUSES, DeadLetter, MessagePlace, WaitingJournal
from wheelyard.operations.lifecycle import Selection
from wheelyard.webhooks import delivery, dispatcher
from wheelyard.webhooks.delivery import Delivery
from wheelyard.webhooks.dispatcher import LOOK_SECONDS, WebhookDispatcher
from wheelyard.webhooks.lease import DeliveryLease
from wheelyard.wiring.webhook_building import build_tools

ONE = Selection(Version("1.0"))
OTHER = make_wheel("other")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def hooks(tmp_path: Path, network: NetworkOrPorts) -> Iterator[WebhookHarness]:
    """An index, and a receiver."""
    with running_webhooks(tmp_path, network) as harness:
        yield harness


def change_state(hooks: WebhookHarness, **changes: object) -> None:
    """Change the stored state of the webhook `builds`."""
    created = hooks.webhooks.find("builds").created
    hooks.webhooks.states.change("builds", created, lambda state: replace(state, **changes))


def waiting_at(journal: str, last: int = 1) -> WaitingJournal:
    """Return a journal whose commits up to the last one wait since its first one."""
    return WaitingJournal(
        place=MessagePlace(journal, 1), ranges=((1, last),), due=LONG_AGO, since=LONG_AGO
    )


def letter_at(journal: str, number: int = 1) -> DeadLetter:
    """Return a dead letter about a commit of a journal."""
    place = MessagePlace(journal, number)
    return DeadLetter(id=f"{journal}-{number}", place=place, event="", at=LONG_AGO, error="lost")


def gauges_of(server: DeliveringServer) -> dict[str, float]:
    """Return the gauges of the webhook `builds`."""
    registry = server.index.server.webhook_metrics.registry
    return {
        name: samples(registry, f"wheelyard_webhook_{name}")["builds",]
        for name in ("oldest_waiting_seconds", "dead_letters")
    }


def samples_of(server: DeliveringServer, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of a metric of a server's webhooks."""
    return samples(server.index.server.webhook_metrics.registry, name)


def projects_of(received: list[Received]) -> list[str]:
    """Return the projects and releases of messages."""
    return [f"{message.json['project']} {message.json['release']}" for message in received]


def test_a_release_is_told_with_a_signature(hooks: WebhookHarness) -> None:
    """A webhook is told of a new release, and the library of Standard Webhooks verifies it."""
    hooks.add()
    wheel = make_wheel()
    file = hooks.index.upload(wheel)

    hooks.deliver()

    [received] = hooks.receiver.taken
    assert received.is_signed
    assert received.json == {
        "type": "project.released",
        "version": 1,
        "time": "2026-01-01T00:00:00Z",
        "by": "local:alice",
        "by_name": "",
        "index": "main",
        "project": "demo",
        "release": "1.0",
        "url": "http://127.0.0.1:8080/project/demo/1.0/",
        "files": [
            {
                "filename": wheel.filename,
                "sha256": file.sha256,
                "size": file.size,
                "url": f"http://127.0.0.1:8080/files/demo/{file.sha256}/{wheel.filename}",
            }
        ],
        "from_index": "",
        "status": "",
        "reason": "",
        "imported": False,
    }


def test_everything_that_happens_to_a_project_is_told_in_order(hooks: WebhookHarness) -> None:
    """A webhook is told of releases, files, yanks, deletions, restores and status, in order."""
    hooks.add()
    index = hooks.index.index
    hooks.index.upload(make_wheel())
    hooks.index.clock.advance(seconds=1)
    hooks.index.upload(make_sdist())
    index.lifecycle.change("yank", ALICE, DEMO, ONE, "it is bad")
    index.lifecycle.change("unyank", ALICE, DEMO, ONE, "")
    index.lifecycle.change("delete", ALICE, DEMO, ONE, "")
    index.lifecycle.change("restore", ALICE, DEMO, ONE, "")
    index.lifecycle.set_status(ALICE, DEMO, Status.ARCHIVED, "it is over")

    hooks.deliver()

    assert hooks.receiver.types == [
        "project.released",
        "project.file_added",
        "project.yanked",
        "project.unyanked",
        "project.deleted",
        "project.restored",
        "project.status",
    ]
    yanked = hooks.receiver.taken[2].json
    assert (yanked["reason"], len(yanked["files"])) == ("it is bad", 2)
    assert hooks.receiver.taken[6].json["status"] == "archived"


def test_nothing_that_was_before_a_webhook_is_told(hooks: WebhookHarness) -> None:
    """A new webhook begins with what happens after it was added."""
    hooks.index.upload(make_wheel())
    hooks.add()
    hooks.index.upload(OTHER)

    hooks.deliver()

    assert projects_of(hooks.receiver.taken) == ["other 1.0"]


def test_nothing_is_told_twice(hooks: WebhookHarness) -> None:
    """A server that finds that another one has delivered sends nothing again."""
    hooks.add()
    first = hooks.server()
    second = hooks.server()
    hooks.index.upload(make_wheel())

    first.deliver()
    second.deliver()
    first.deliver()

    assert len(hooks.receiver.asked) == 1


def test_a_failing_message_holds_up_its_project_alone(hooks: WebhookHarness) -> None:
    """While a message fails, later ones of its project wait, and those of others arrive."""
    hooks.add()
    hooks.receiver.answer = lambda received: 500 if received.json["project"] == "demo" else 200
    hooks.index.upload(make_wheel())
    hooks.index.upload(OTHER)
    hooks.index.upload(make_sdist())

    hooks.deliver()

    assert projects_of(hooks.receiver.taken) == ["other 1.0"]
    hooks.receiver.answer = lambda _: 200
    hooks.deliver()
    assert len(hooks.receiver.taken) == 1
    hooks.index.clock.advance(seconds=5)
    hooks.deliver()
    assert hooks.receiver.types == ["project.released", "project.released", "project.file_added"]
    assert len({received.body for received in hooks.receiver.asked}) == 3


def test_a_receiver_that_fails_for_one_project_delays_no_other(hooks: WebhookHarness) -> None:
    """What is new is sent before what has failed is tried again."""
    hooks.add()
    hooks.receiver.answer = lambda received: 500 if received.json["project"] == "demo" else 200
    server = hooks.server()
    hooks.index.upload(make_wheel())
    server.deliver()
    hooks.index.clock.advance(seconds=5)
    hooks.index.upload(OTHER)

    server.deliver()

    assert projects_of(hooks.receiver.asked) == ["demo 1.0", "other 1.0", "demo 1.0"]


def test_what_has_failed_least_is_tried_again_first(hooks: WebhookHarness) -> None:
    """Of messages that have failed, the one with the fewest tries is sent first."""
    hooks.add()
    hooks.receiver.answer = lambda _: 500
    server = hooks.server()
    for wheel in (make_wheel(), OTHER):
        hooks.index.upload(wheel)
        server.deliver()
        hooks.index.clock.advance(hours=1)
    hooks.receiver.answer = lambda _: 200

    server.deliver()

    assert projects_of(hooks.receiver.asked) == [
        *("demo 1.0", "other 1.0", "demo 1.0"),
        *("other 1.0", "demo 1.0"),
    ]


def test_a_message_is_tried_for_a_day_and_then_given_up(
    hooks: WebhookHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A message that fails for a day is a dead letter, and what waited behind it arrives.

    The metrics and the log tell of it.
    """
    hooks.add()
    hooks.receiver.answer = lambda received: 500 if received.type == "project.released" else 200
    hooks.index.upload(make_wheel())
    hooks.index.upload(make_sdist())
    began = hooks.index.clock.now
    server = hooks.server()

    server.deliver()
    for pause in PAUSES:
        assert hooks.receiver.taken == []
        age = (hooks.index.clock.now - began).total_seconds()
        assert gauges_of(server) == {"oldest_waiting_seconds": age, "dead_letters": 0}
        hooks.index.clock.advance(seconds=pause.total_seconds())
        server.deliver()

    assert gauges_of(server) == {"oldest_waiting_seconds": 0, "dead_letters": 1}
    assert (hooks.index.clock.now - began).total_seconds() > 23 * 3600
    assert len(hooks.receiver.asked) == len(PAUSES) + 2
    assert hooks.receiver.types == ["project.file_added"]
    [letter] = hooks.state().dead
    assert (letter.event, letter.error) == ("released", "it answers with status 500")
    assert not hooks.state().waiting
    told = (
        "webhook builds: a message about demo 1.0 in main was given up: it answers with status 500"
    )
    assert [message for message in caplog.messages if "given up" in message] == [told]


def test_a_dead_letter_is_sent_again(hooks: WebhookHarness) -> None:
    """A dead letter that somebody sends again has the same id and body as before."""
    hooks.add()
    hooks.receiver.answer = lambda _: 500
    hooks.index.upload(make_wheel())
    server = hooks.server()
    server.deliver()
    for pause in PAUSES:
        hooks.index.clock.advance(seconds=pause.total_seconds())
        server.deliver()
    [letter] = hooks.state().dead
    hooks.receiver.answer = lambda _: 200

    assert hooks.webhooks.send_again("builds", [letter.id], BY) == (letter.id,)
    server.deliver()

    [received] = hooks.receiver.taken
    assert {(asked.id, asked.body) for asked in hooks.receiver.asked} == {
        (received.id, received.body)
    }
    assert not hooks.state().dead


def test_retry_after_is_waited_for(hooks: WebhookHarness) -> None:
    """A receiver that says when to come again is left alone until then."""
    hooks.add()
    hooks.receiver.answer = lambda _: 429
    hooks.receiver.headers = {"Retry-After": "60"}
    hooks.index.upload(make_wheel())
    hooks.deliver()

    hooks.index.clock.advance(seconds=59)
    hooks.deliver()
    assert len(hooks.receiver.asked) == 1

    hooks.index.clock.advance(seconds=1)
    hooks.deliver()
    assert len(hooks.receiver.asked) == 2


def test_a_redirect_is_not_followed(hooks: WebhookHarness) -> None:
    """A receiver cannot lead a message elsewhere."""
    hooks.add()
    hooks.receiver.answer = lambda _: 307
    hooks.receiver.headers = {"Location": hooks.receiver.url}
    hooks.index.upload(make_wheel())

    hooks.deliver()

    assert len(hooks.receiver.asked) == 1
    assert hooks.state().attempts[0].error == "it answers with status 307"


def test_secrets_in_an_answer_are_not_kept(hooks: WebhookHarness) -> None:
    """What a receiver answers is kept without the URL, without tokens and cut off."""
    hooks.add()
    token = "wyd_" + "a" * 48
    echo = f"{hooks.receiver.url} \x1b[31m {token} POST /hooks/T0PS3CRET {hooks.receiver.secret} "
    hooks.receiver.text = echo.encode() + b"x" * 5_000_000
    hooks.index.upload(make_wheel())

    hooks.deliver()

    [attempt] = hooks.state().attempts
    assert attempt.answer.startswith("*** \\x1b[31m wyd_*** POST *** whsec_*** xxx")
    assert len(attempt.answer) == 200
    assert (attempt.status, attempt.error) == (200, "")


def test_a_webhook_is_told_of_its_projects_and_events_alone(hooks: WebhookHarness) -> None:
    """The keys `projects` and `events` say what a webhook is told."""
    hooks.add(projects=["dem*"], events=["yanked"])
    hooks.index.upload(make_wheel())
    hooks.index.upload(OTHER)
    lifecycle = hooks.index.index.lifecycle
    lifecycle.change("yank", ALICE, NormalizedName("other"), ONE, "")
    lifecycle.change("yank", ALICE, DEMO, ONE, "")

    hooks.deliver()

    assert [(message.type, message.json["project"]) for message in hooks.receiver.taken] == [
        ("project.yanked", "demo")
    ]


def test_a_promotion_is_told_by_the_index_that_it_went_to(hooks: WebhookHarness) -> None:
    """A webhook of `prod` is told of a promotion once, with all files, and where they came from."""
    indexes = TwoIndexes(hooks.index)
    indexes.upload(make_wheel())
    indexes.upload(make_sdist())
    hooks.add(indexes=["prod"])
    hooks.add("everything", indexes=["*"])

    indexes.promote()
    hooks.deliver()

    both = [message.json for message in hooks.receiver.once()]
    assert [message["type"] for message in both] == ["project.promoted"]
    assert (both[0]["index"], both[0]["from_index"], len(both[0]["files"])) == ("prod", "dev", 2)
    assert len(hooks.receiver.taken) == 2


def test_a_new_index_is_told_from_its_beginning(hooks: WebhookHarness) -> None:
    """A webhook of all indexes is told of what happens in one that was made later."""
    hooks.add(indexes=["*"])
    hooks.index.clock.advance(seconds=1)
    indexes = TwoIndexes(hooks.index)
    indexes.upload(make_wheel())

    hooks.deliver()

    assert [message.json["index"] for message in hooks.receiver.taken] == ["dev"]


def test_changes_of_rights_are_told_if_they_are_asked_for(hooks: WebhookHarness) -> None:
    """A webhook that names `access_changed` is told who has granted what."""
    hooks.add(events=["access_changed"])
    indexes = TwoIndexes(hooks.index)
    del indexes

    hooks.deliver()

    changes = [change for message in hooks.receiver.taken for change in message.json["changes"]]
    assert {message.type for message in hooks.receiver.taken} == {"access.changed"}
    assert [change.partition(",")[0] for change in changes] == [
        "index dev: made",
        "index prod: made",
    ]


def test_a_removed_webhook_leaves_nothing(hooks: WebhookHarness) -> None:
    """A webhook that is removed takes its secret and its state with it."""
    hooks.add()
    hooks.index.upload(make_wheel())
    hooks.deliver()

    hooks.webhooks.remove("builds", BY)

    left = [entry.key for entry in hooks.index.store.list("") if "builds" in entry.key]
    assert left == []
    hooks.index.clock.advance(seconds=1)
    hooks.add()
    hooks.index.upload(OTHER)
    hooks.deliver()
    assert projects_of(hooks.receiver.taken) == ["demo 1.0", "other 1.0"]


def test_a_new_webhook_begins_with_no_state_of_an_earlier_one(hooks: WebhookHarness) -> None:
    """A webhook with the name of a removed one is told nothing that the other one waited for."""
    key = keys.webhook_state("builds")
    hooks.add()
    hooks.receiver.answer = lambda _: 500
    hooks.index.upload(make_wheel())
    hooks.deliver()
    left_behind = hooks.index.bytes_at(key)
    assert hooks.state().waiting
    hooks.webhooks.remove("builds", BY)
    hooks.index.store.put(key, left_behind, None)  # by a server that delivers meanwhile
    hooks.index.clock.advance(days=1)

    hooks.add()

    assert (hooks.state().waiting, hooks.state().attempts) == ({}, ())
    hooks.deliver()
    assert projects_of(hooks.receiver.asked) == ["demo 1.0"]


def test_a_new_secret_signs_from_then_on(hooks: WebhookHarness) -> None:
    """After a new secret was made, messages are signed with that."""
    hooks.add()
    made = hooks.webhooks.make_secret("builds", BY)
    hooks.receiver.secret = made.secret
    hooks.index.upload(make_wheel())

    hooks.deliver()

    assert hooks.receiver.taken[0].is_signed
    with pytest.raises(Invalid):
        hooks.webhooks.add({"name": "b", "url": "https://a.example/", "secret": "mine"}, BY)


def test_without_the_key_of_sessions_a_webhook_has_no_secret(hooks: WebhookHarness) -> None:
    """Where the key is gone, the list says that the webhook has no secret, until one is made."""
    hooks.add()
    hooks.index.store.delete(keys.SESSION_KEY)
    webhooks = hooks.server().index.server.webhooks

    (row,) = webhooks.show()
    assert row.secret_from == ""
    assert "has no secret here. Make one" in row.problem

    made = webhooks.make_secret("builds", BY)
    assert (made.secret_from, made.problem) == ("store", "")


def test_a_name_is_taken_once(hooks: WebhookHarness) -> None:
    """Two webhooks cannot have one name, whose variables would be the same."""
    hooks.add()
    with pytest.raises(Conflict):
        hooks.add()


def test_a_store_that_was_made_again_is_told_from_now_on(hooks: WebhookHarness) -> None:
    """After a restore the feed is another one: the webhook begins at its end, and says so."""
    hooks.add()
    hooks.index.upload(make_wheel())
    hooks.deliver()
    webhook = hooks.webhooks.find("builds")
    hooks.webhooks.states.change(
        "builds",
        webhook.created,
        lambda state: type(state)(created=state.created, cursors={"main": 5}),
    )
    hooks.index.upload(OTHER)

    hooks.deliver()

    assert projects_of(hooks.receiver.taken) == ["demo 1.0"]
    assert "its feed is another one" in hooks.state().note
    hooks.index.upload(make_wheel("third"))
    hooks.deliver()
    assert projects_of(hooks.receiver.taken)[1:] == ["third 1.0"]


def test_a_copy_of_a_store_begins_anew_and_says_so(hooks: WebhookHarness) -> None:
    """Where nobody knows how far a webhook was, it begins at the newest change, and says so."""
    indexes = TwoIndexes(hooks.index)
    hooks.add(indexes=["*"])
    indexes.upload(make_wheel())
    hooks.deliver()
    hooks.webhooks.states.remove("builds")
    hooks.index.clock.advance(hours=1)
    indexes.upload(make_wheel(version="2.0"))

    hooks.deliver()

    assert projects_of(hooks.receiver.taken) == ["demo 1.0"]
    assert "is not there any more" in hooks.state().note
    indexes.upload(OTHER)
    hooks.deliver()
    assert projects_of(hooks.receiver.taken) == ["demo 1.0", "other 1.0"]


def test_one_file_alone_is_the_first_of_a_release(hooks: WebhookHarness) -> None:
    """Of two files of a release, one is told as its first, whatever the clocks of servers say."""
    hooks.add()
    hooks.index.upload(make_wheel())
    hooks.deliver()
    hooks.index.clock.advance(seconds=-30)
    hooks.index.upload(make_sdist())
    hooks.index.clock.advance(seconds=60)
    hooks.index.upload(make_wheel(tag="py2-none-any"))

    hooks.deliver()

    assert hooks.receiver.types == ["project.released", "project.file_added", "project.file_added"]


def test_one_file_of_a_commit_is_the_first_of_a_release(hooks: WebhookHarness) -> None:
    """Of files of a release that two people upload in one commit, one is told as its first."""
    hooks.add()
    at = hooks.index.clock.now
    events = [
        Event.uploaded(
            File(
                filename=made.filename,
                version="1.0",
                sha256=made.sha256,
                size=len(made.body),
                uploaded_at=at,
                uploaded_by=by,
            ),
            at=at,
            by=by,
        )
        for made, by in ((make_wheel(), "local:ana"), (make_sdist(), "local:bo"))
    ]
    hooks.index.index.projects.change(DEMO, lambda _: tuple(events))

    hooks.deliver()

    told = [(message.type, message.json["by"]) for message in hooks.receiver.taken]
    assert told == [("project.released", "local:ana"), ("project.file_added", "local:bo")]


def test_a_damaged_commit_hides_no_earlier_file_of_a_release(hooks: WebhookHarness) -> None:
    """A file is told as a further one of its release, though the commit between is damaged."""
    hooks.index.upload(make_wheel())
    hooks.index.upload(make_wheel(version="2.0"))
    hooks.add()
    hooks.index.upload(make_sdist())
    hooks.index.store.put(keys.commit(DEMO, 2), b"{", None)

    hooks.deliver()

    assert hooks.receiver.types == ["project.file_added"]


def numbered_wheel(number: int) -> Distribution:
    """Return a wheel of a project of its own."""
    return make_wheel(f"project{number:03}")


def test_hundreds_of_messages_arrive_in_the_order_of_the_feed(hooks: WebhookHarness) -> None:
    """Many releases are told in order, in several batches."""
    hooks.add()
    for number in range(130):
        hooks.index.upload(numbered_wheel(number))

    hooks.deliver()

    names = [message.json["project"] for message in hooks.receiver.taken]
    assert names == [f"project{number:03}" for number in range(130)]


def test_a_dead_receiver_is_told_all_once_it_is_back(
    hooks: WebhookHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has piled up for a receiver that was down for an hour arrives, once each."""
    monkeypatch.setattr(delivery, "BATCH_MESSAGES", 5)
    monkeypatch.setattr(delivery, "BATCH_RANGES", 20)
    for module in (delivery, dispatcher):
        monkeypatch.setattr(module, "MOST_WAITING", 20)
    hooks.add()
    hooks.receiver.answer = lambda _: 503
    server = hooks.server()
    for number in range(23):
        hooks.index.upload(numbered_wheel(number))
    for _ in range(12):
        server.deliver()
        hooks.index.clock.advance(minutes=5)
    hooks.receiver.answer = lambda _: 200

    for _ in range(4):
        hooks.index.clock.advance(hours=1)
        server.deliver()

    assert sorted(message.json["project"] for message in hooks.receiver.taken) == [
        f"project{number:03}" for number in range(23)
    ]
    assert not hooks.state().dead


def test_what_a_webhook_is_told_anew_begins_when_it_was_changed(hooks: WebhookHarness) -> None:
    """A webhook that gets an index back, or another event, is told of nothing from before."""
    indexes = TwoIndexes(hooks.index)
    hooks.add(indexes=["dev"])
    hooks.webhooks.change("builds", {"indexes": ["prod"]}, BY)
    indexes.upload(make_wheel())
    hooks.webhooks.change("builds", {"indexes": ["dev"], "events": ["released"]}, BY)
    hooks.webhooks.change("builds", {"events": ["released", "access_changed"]}, BY)
    hooks.deliver()
    assert hooks.receiver.taken == []

    indexes.upload(OTHER)
    hooks.deliver()

    assert projects_of(hooks.receiver.taken) == ["other 1.0"]


def test_a_damaged_state_holds_up_no_other_webhook(hooks: WebhookHarness) -> None:
    """A webhook whose state is damaged is told of nothing, and the others are."""
    hooks.add("broken")
    hooks.add()
    hooks.index.store.put(keys.webhook_state("broken"), b"{", None)
    hooks.index.upload(make_wheel())

    hooks.deliver()

    assert hooks.receiver.types == ["project.released"]
    assert len(hooks.receiver.asked) == 1


def test_an_unknown_journal_holds_up_nothing(hooks: WebhookHarness) -> None:
    """A journal that only a later version knows waits, and the webhook is told of all others."""
    hooks.add()
    change_state(hooks, waiting={"-later": waiting_at("-later")}, again=(letter_at("-later"),))
    hooks.index.upload(make_wheel())

    hooks.deliver()

    assert projects_of(hooks.receiver.taken) == ["demo 1.0"]
    (waiting,) = hooks.state().waiting.values()
    assert (waiting.place.journal, waiting.error) == (
        "-later",
        "This version has no journal -later.",
    )
    assert [dead.error for dead in hooks.state().dead] == ["This version has no journal -later."]


@pytest.mark.parametrize(
    ("journal", "error"),
    [
        ("-access", "The journal is gone."),
        ("dev/demo", "There is no index dev any more."),
        ("main/lost", "There is no project lost any more."),
    ],
    ids=["rights", "index", "project"],
)
def test_a_journal_that_is_gone_holds_up_nothing(
    hooks: WebhookHarness, journal: str, error: str
) -> None:
    """Of a journal that is gone, what waits is given up, a dead letter says so, others are told."""
    hooks.add(events=["released", "access_changed"])
    change_state(hooks, waiting={journal: waiting_at(journal)}, again=(letter_at(journal),))
    hooks.index.upload(make_wheel())

    hooks.deliver()

    assert projects_of(hooks.receiver.taken) == ["demo 1.0"]
    assert hooks.state().waiting == {}
    assert [letter.error for letter in hooks.state().dead] == [error]


@pytest.mark.parametrize(
    "unsent",
    [
        {"waiting": {"main/demo": waiting_at("main/demo", last=5)}},
        {"again": tuple(letter_at("main/demo", number) for number in range(1, 6))},
    ],
    ids=["one project", "dead letters"],
)
def test_what_was_sent_is_written_down_after_each_batch(
    hooks: WebhookHarness, monkeypatch: pytest.MonkeyPatch, unsent: dict[str, object]
) -> None:
    """However much waits, the state is written after a few messages, so that few come twice."""
    monkeypatch.setattr(delivery, "BATCH_MESSAGES", 3)
    for number in range(1, 6):
        hooks.index.upload(make_wheel(version=f"{number}.0"))
    hooks.add()
    change_state(hooks, **unsent)
    unwritten = list[int]()

    def answer(_: Received) -> int:
        unwritten.append(len(hooks.receiver.asked) - len(hooks.state().attempts))
        return 200

    hooks.receiver.answer = answer
    hooks.deliver()

    assert unwritten == [1, 2, 3, 1, 2]
    assert projects_of(hooks.receiver.taken) == [f"demo {number}.0" for number in range(1, 6)]


def test_while_much_waits_nothing_new_is_begun(
    hooks: WebhookHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While as many projects wait as may, a look ends without a further one, which comes later."""
    monkeypatch.setattr(delivery, "MOST_WAITING", 2)
    monkeypatch.setattr(dispatcher, "MOST_WAITING", 2)
    hooks.add()
    hooks.receiver.answer = lambda _: 503
    for name in ("alpha", "beta", "gamma"):
        hooks.index.upload(make_wheel(name))
    server = hooks.server()

    # when the first one is tried again
    assert server.deliver() == PAUSES[0].total_seconds()
    assert projects_of(hooks.receiver.asked) == ["alpha 1.0", "beta 1.0"]
    hooks.receiver.answer = lambda _: 200
    hooks.index.clock.advance(seconds=5)
    server.deliver()
    assert projects_of(hooks.receiver.taken) == ["alpha 1.0", "beta 1.0", "gamma 1.0"]


def test_a_damaged_commit_holds_up_its_project_alone(hooks: WebhookHarness) -> None:
    """A commit that cannot be read is told once it is repaired, and others are told at once."""
    hooks.add()
    hooks.index.upload(make_wheel())
    hooks.index.upload(make_wheel(version="2.0"))
    hooks.index.upload(OTHER)
    key = keys.commit(DEMO, 1)
    body = hooks.index.bytes_at(key)
    hooks.index.store.put(key, b"{", None)

    hooks.deliver()

    assert projects_of(hooks.receiver.taken) == ["other 1.0"]
    assert key in hooks.state().waiting["main/demo"].error
    hooks.index.store.put(key, body, None)
    hooks.index.clock.advance(seconds=5)
    hooks.deliver()
    assert projects_of(hooks.receiver.taken) == ["other 1.0", "demo 1.0", "demo 2.0"]


def test_a_commit_that_stays_damaged_is_given_up(
    hooks: WebhookHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """A commit that nobody repairs for a day is a dead letter, as the log says, and others come."""
    hooks.add()
    hooks.index.upload(make_wheel())
    hooks.index.upload(make_wheel(version="2.0"))
    key = keys.commit(DEMO, 1)
    hooks.index.store.put(key, b"{", None)
    server = hooks.server()

    server.deliver()
    for pause in PAUSES:
        assert hooks.receiver.asked == []
        hooks.index.clock.advance(seconds=pause.total_seconds())
        server.deliver()
    server.deliver()

    [letter] = hooks.state().dead
    assert (letter.id, letter.place) == ("main/demo-1", MessagePlace("main/demo", 1))
    assert key in letter.error
    given_up = f"webhook builds: a message about main/demo was given up: {letter.error}"
    assert given_up in caplog.messages
    assert projects_of(hooks.receiver.taken) == ["demo 2.0"]
    assert samples_of(server, "wheelyard_webhook_dead_letters") == {("builds",): 1}


def test_metrics_forget_a_webhook_that_is_removed(hooks: WebhookHarness) -> None:
    """A webhook that is removed is not in the metrics as one that is stuck."""
    hooks.add()
    hooks.receiver.answer = lambda _: 500
    hooks.index.upload(make_wheel())
    server = hooks.server()
    server.deliver()
    hooks.index.clock.advance(seconds=3)
    server.deliver()
    waiting, dead = "wheelyard_webhook_oldest_waiting_seconds", "wheelyard_webhook_dead_letters"
    assert samples_of(server, waiting) == {("builds",): 3}
    assert samples_of(server, dead) == {("builds",): 0}

    server.index.server.webhooks.remove("builds", BY)
    server.deliver()

    assert samples_of(server, waiting) == samples_of(server, dead) == {}


class Commits(threading.Event):
    """Notes the looks of a dispatcher that waits for commits, and ends it at the third one."""

    def __init__(self, calls: list[object], commit: Callable[[], object]) -> None:
        super().__init__()
        self.calls = calls
        self.commit = commit

    def wait(self, timeout: float | None = None) -> bool:
        """Commit something at once."""
        self.calls.append(("wait", timeout))
        if self.calls.count(("wait", LOOK_SECONDS)) == 3:
            raise ProcessCrash
        self.commit()
        self.set()
        return True

    def clear(self) -> None:
        """Note that what was committed is looked at now."""
        self.calls.append("clear")
        super().clear()


def test_a_server_looks_after_each_commit_and_each_fault(
    hooks: WebhookHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server looks again after a commit, at most once a second, also after a fault of its own."""
    hooks.add()
    index = hooks.server().index
    calls = list[object]()
    server = index.server

    def pause(seconds: float) -> None:
        calls.append(("pause", seconds))
        if calls.count(("pause", seconds)) == 4:
            raise ProcessCrash

    runtime = replace(server.runtime, pause=pause)
    versions = iter(["1.0", "2.0"])
    commits = Commits(calls, lambda: hooks.index.upload(make_wheel(version=next(versions))))
    lease = DeliveryLease(server.stores.documents, runtime)
    tools = build_tools(server, partial(find_waiting, index), lease.is_held_for)
    looking = WebhookDispatcher(server.webhooks, tools, lease, runtime, commits)
    looks = iter([lambda: 1 / 0, looking.deliver_if_due, looking.deliver_if_due])

    def look() -> float:
        return next(looks)()

    monkeypatch.setattr(looking, "deliver_if_due", look)

    with pytest.raises(ProcessCrash):
        looking.run()

    between_looks = [("wait", LOOK_SECONDS), ("pause", 1.0), "clear"]
    assert calls == [*between_looks, *between_looks, ("wait", LOOK_SECONDS)]
    assert projects_of(hooks.receiver.taken) == ["demo 1.0", "demo 2.0"]
    assert "webhooks are told of nothing for now" in caplog.messages


def test_webhooks_are_told_beside_the_server(
    hooks: WebhookHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that starts its deliveries goes on, and a thread makes them."""
    runs, is_over = list[str](), threading.Event()

    def run(_: WebhookDispatcher) -> None:
        runs.append(threading.current_thread().name)
        is_over.set()

    monkeypatch.setattr(WebhookDispatcher, "run", run)

    hooks.server().dispatcher.start()

    assert is_over.wait(TIMEOUT_SECONDS)
    assert runs == ["webhooks"]


def test_of_one_change_each_release_is_told_once(hooks: WebhookHarness) -> None:
    """If the second message about a change of two releases fails, that one alone is sent again."""
    hooks.index.upload(make_wheel())
    hooks.index.upload(make_wheel(version="2.0"))
    hooks.add()
    both = Selection(SpecifierSet(">=1"))
    hooks.index.index.lifecycle.change("yank", ALICE, DEMO, both, "broken")
    hooks.receiver.answer = lambda received: 500 if received.json["release"] == "2.0" else 200
    hooks.deliver()
    hooks.receiver.answer = lambda _: 200
    hooks.index.clock.advance(seconds=5)

    hooks.deliver()

    assert projects_of(hooks.receiver.asked) == ["demo 1.0", "demo 2.0", "demo 2.0"]


def test_a_file_that_comes_hours_later_is_a_further_one(hooks: WebhookHarness) -> None:
    """A file is told as a further one of its release, though other releases came in between."""
    hooks.index.upload(make_wheel())
    hooks.index.upload(make_wheel(version="2.0"))
    hooks.index.clock.advance(hours=3)
    hooks.add()
    hooks.index.upload(make_sdist())

    hooks.deliver()

    assert hooks.receiver.types == ["project.file_added"]


def test_a_release_that_was_removed_for_good_is_told_anew(hooks: WebhookHarness) -> None:
    """A file of a release whose files were removed hours ago is told as the first one."""
    file = hooks.index.upload(make_wheel())
    remove_now(hooks.index.index, file.sha256)
    hooks.index.clock.advance(hours=3)
    hooks.add()
    hooks.index.upload(make_sdist())

    hooks.deliver()

    assert hooks.receiver.types == ["project.released"]


def test_files_that_are_gone_are_named_beside_a_damaged_commit(hooks: WebhookHarness) -> None:
    """Of a deletion, the files are told though they were removed, and a commit is damaged."""
    file = hooks.index.upload(make_wheel())
    hooks.index.upload(make_wheel(version="2.0"))
    hooks.add()
    hooks.index.index.lifecycle.change("delete", ALICE, DEMO, ONE, "")
    remove_now(hooks.index.index, file.sha256)
    hooks.index.store.put(keys.commit(DEMO, 2), b"{", None)

    hooks.deliver()

    deleted = hooks.receiver.taken[0].json
    assert (deleted["type"], deleted["files"][0]["sha256"]) == ("project.deleted", file.sha256)


def test_a_server_that_runs_finds_changes_of_rights(hooks: WebhookHarness) -> None:
    """A server that has looked already tells of a change of rights by another process."""
    hooks.add(events=["access_changed"])
    server = hooks.server()
    for _ in range(2):
        server.deliver()
    hooks.index.index.server.access.grant(
        GrantFields(who=("user:bo@acme.dev",), projects=("demo",), actions=("read",)), BY
    )

    hooks.index.clock.advance(seconds=30)
    server.deliver()

    assert hooks.receiver.types == ["access.changed"]


def test_one_server_sends_at_a_time(hooks: WebhookHarness) -> None:
    """While a server sends a message, another one sends nothing, and looks again soon."""
    hooks.add()
    first, second = hooks.server(), hooks.server()
    hooks.index.upload(make_wheel())
    looks = list[tuple[float, int]]()

    def answer(_: Received) -> int:
        if not looks:
            looks.append((second.deliver(), len(hooks.receiver.asked)))
        return 200

    hooks.receiver.answer = answer
    first.deliver()
    second.deliver()

    assert looks == [(LOOK_SECONDS, 1)]
    assert projects_of(hooks.receiver.asked) == ["demo 1.0"]


def test_what_was_sent_before_a_server_stood_still_is_not_sent_again(
    hooks: WebhookHarness,
) -> None:
    """A server that stands still between two dead letters has written down the first one."""
    hooks.index.upload(make_wheel())
    hooks.index.upload(OTHER)
    hooks.index.index.changes.newest()
    hooks.add()
    change_state(hooks, again=(letter_at("main/demo"), letter_at("main/other")))
    step = Before(lambda: hooks.index.clock.advance(seconds=31), "get", "projects/other.json")
    store = FakeStore(hooks.index.store, step)
    server = DeliveringServer(hooks.index.opened(seed=50, store=store))
    hooks.servers.append(server)

    server.deliver()
    hooks.deliver()

    assert projects_of(hooks.receiver.asked) == ["demo 1.0", "other 1.0"]


def test_a_store_that_is_slow_holds_up_no_message(hooks: WebhookHarness) -> None:
    """A store that takes longer for a look than a batch may take ends no batch before a message."""
    hooks.add()
    hooks.index.upload(make_wheel())
    slow = Before(lambda: hooks.index.clock.advance(seconds=6), "list", "pending/", times=9)
    away = Fault(FaultKind.NOT_DONE, "list", "pending/", nth=10, times=ALWAYS)
    store = FakeStore(hooks.index.store, slow, away)
    server = DeliveringServer(hooks.index.opened(seed=50, store=store))
    hooks.servers.append(server)

    server.deliver()

    assert projects_of(hooks.receiver.taken) == ["demo 1.0"]


def test_what_was_sent_is_not_sent_again_while_the_store_fails(hooks: WebhookHarness) -> None:
    """While another project cannot be read, a message that was taken is sent once."""
    hooks.add()
    hooks.index.upload(make_wheel("alpha"))
    hooks.index.upload(OTHER)
    hooks.index.index.changes.newest()

    away = Fault(FaultKind.NOT_DONE, "*", "projects/other.json", times=ALWAYS)
    store = FakeStore(hooks.index.store, away)
    server = DeliveringServer(hooks.index.opened(seed=50, store=store))
    hooks.servers.append(server)
    for _ in range(3):
        server.deliver()

    assert projects_of(hooks.receiver.asked) == ["alpha 1.0"]
    hooks.deliver()
    assert projects_of(hooks.receiver.taken) == ["alpha 1.0", "other 1.0"]


def test_what_has_failed_is_sent_again_after_a_pause(hooks: WebhookHarness) -> None:
    """A server that has looked already sends a failed message again as soon as it is due."""
    hooks.add()
    hooks.index.upload(make_wheel())
    hooks.receiver.answer = lambda _: 500
    server = hooks.server()
    server.deliver()
    hooks.receiver.answer = lambda _: 200
    tries = list[tuple[int, float]]()
    for seconds in (PAUSES[0].total_seconds() - 1, 1, 1):
        hooks.index.clock.advance(seconds=seconds)
        next_look = server.deliver()
        tries.append((len(hooks.receiver.asked), next_look))

    assert tries == [(1, 1), (2, LOOK_SECONDS), (2, LOOK_SECONDS)]


def test_a_failure_that_goes_on_is_logged_once(
    hooks: WebhookHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says why webhooks are told of nothing, once for as long as it is the same reason."""
    hooks.add()
    hooks.index.upload(make_wheel())
    hooks.index.index.changes.newest()
    away = Fault(FaultKind.NOT_DONE, "*", keys.project(DEMO), times=ALWAYS)
    store = FakeStore(hooks.index.store, away)
    server = DeliveringServer(hooks.index.opened(seed=50, store=store))
    hooks.servers.append(server)

    for _ in range(3):
        server.deliver()

    assert hooks.receiver.asked == []
    assert hooks.state().note == "", "a store that is away for a while is nothing to note"
    (message,) = [each for each in caplog.messages if "webhooks are told of nothing" in each]
    assert "webhooks are told of nothing for now: builds: " in message


def test_what_could_not_be_read_is_sent_later(hooks: WebhookHarness) -> None:
    """What a server could not read is sent at its next look at which the store answers."""
    hooks.add()
    hooks.index.upload(make_wheel())
    hooks.index.index.changes.newest()
    away = Fault(FaultKind.NOT_DONE, "*", keys.project(DEMO), times=ALWAYS)
    store = FakeStore(hooks.index.store, away)
    server = DeliveringServer(hooks.index.opened(seed=50, store=store))
    hooks.servers.append(server)

    assert server.deliver() == LOOK_SECONDS
    assert hooks.receiver.asked == []
    store.follow()
    server.deliver()

    assert projects_of(hooks.receiver.taken) == ["demo 1.0"]


def delivery_that_loses_its_lease(hooks: WebhookHarness) -> Delivery:
    """Return what delivers to a webhook, and loses the lease after its first message."""
    may_send = iter([True, False])
    index = hooks.server().index
    tools = build_tools(index.server, partial(find_waiting, index), lambda _: next(may_send))
    return Delivery(hooks.webhooks.find("builds"), tools)


def test_a_server_that_loses_its_lease_sends_no_more(hooks: WebhookHarness) -> None:
    """A server whose lease is over notes what it has sent, and another one sends the rest."""
    hooks.add()
    hooks.index.upload(make_wheel())
    hooks.index.upload(OTHER)

    delivery_that_loses_its_lease(hooks).run()

    assert projects_of(hooks.receiver.asked) == ["demo 1.0"]
    hooks.deliver()
    assert projects_of(hooks.receiver.asked) == ["demo 1.0", "other 1.0"]


def test_a_server_that_loses_its_lease_changes_no_state_of_another(hooks: WebhookHarness) -> None:
    """What another server has delivered meanwhile is not sent again, though the first goes on."""
    hooks.add()
    hooks.index.upload(make_wheel())
    hooks.index.upload(OTHER)
    slow = delivery_that_loses_its_lease(hooks)
    came_first = list[Received]()

    def answer(received: Received) -> int:
        if not came_first:
            came_first.append(received)
            hooks.deliver()
        return 200

    hooks.receiver.answer = answer
    with pytest.raises(Conflict, match="Another process delivers to the webhook builds"):
        slow.run()

    hooks.deliver()
    assert projects_of(hooks.receiver.asked) == ["demo 1.0", "demo 1.0", "other 1.0"]
