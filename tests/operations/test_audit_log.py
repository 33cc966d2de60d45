"""The audit lines of the log: one for each event of the journal, in the words of who did what."""

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.distributions import make_sdist, make_wheel
from tests.fake_store import FakeStore, Fault, FaultKind
from tests.fake_time import START, Clock
from tests.model.jobs import GITLAB
from tests.operations.in_memory_index import ALICE, EVERYTHING, IndexHarness, history
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.authentication.rejections import REJECTIONS_LOGGED_PER_MINUTE, RejectionLog
from wheelyard.errors import Conflict
from wheelyard.model.access import Caller
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.grants import GrantFields
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import EventKind
from wheelyard.model.webhook_state import DeadLetter, MessagePlace
from wheelyard.operations.lifecycle import Selection
from wheelyard.upstream.decisions import Deciding

DEMO = NormalizedName("demo")
RELEASE = Selection(parse_version("1.0"))


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The captured log."""
    caplog.set_level(logging.INFO, "wheelyard.audit")
    return caplog


def audit_lines(log: pytest.LogCaptureFixture) -> list[Mapping[str, Any]]:
    """Return what the audit lines say."""
    records = [record for record in log.records if record.name == "wheelyard.audit"]
    return [vars(record)["facts"]["audit"] for record in records]


def test_every_event_has_a_line(harness: IndexHarness, log: pytest.LogCaptureFixture) -> None:
    """Each event has one line in the log, without a secret; a change without effect has none."""
    lifecycle = harness.index.lifecycle
    for made in (make_wheel(), make_sdist(), make_wheel()):
        harness.upload(made)
    with pytest.raises(Conflict):
        harness.upload(make_wheel(content=b"other"))
    token = f"wyd_{'a1B2' * 12}"
    for _ in range(2):
        lifecycle.change("yank", ALICE, DEMO, RELEASE, f"see {token}")
    lifecycle.change("delete", ALICE, DEMO, RELEASE, "")

    names = [make_wheel().filename, make_sdist().filename]
    assert [(line["action"], line["files"]) for line in audit_lines(log)] == [
        ("uploaded", names[:1]),
        ("uploaded", names[1:]),
        ("yanked", names),
        ("deleted", names),
    ]
    assert {line["who"] for line in audit_lines(log)} == {"local:alice"}
    assert audit_lines(log)[2]["reason"] == "see wyd_***"
    assert token not in log.text


def test_only_one_has_done_it(harness: IndexHarness, log: pytest.LogCaptureFixture) -> None:
    """Of many who upload the same bytes at once, the log names the one whom the journal names."""
    people = [Caller(f"token:{number}", (EVERYTHING,)) for number in range(8)]
    together, made = Barrier(len(people)), make_wheel()

    def publish(caller: Caller) -> None:
        together.wait()
        harness.upload(made, caller)

    with ThreadPoolExecutor(len(people)) as pool:
        list(pool.map(publish, people))

    (line,) = audit_lines(log)
    (event,) = [event for commit in history(harness.index, DEMO) for event in commit.events]
    assert event.what == EventKind.UPLOADED
    assert line["who"] == event.by
    assert line["sha256"] == made.sha256


def test_a_commit_that_is_not_journaled_at_once(
    harness: IndexHarness, log: pytest.LogCaptureFixture
) -> None:
    """What is committed has its line, once, though the journal got its entry by a later change."""
    faults = (Fault(FaultKind.NOT_DONE, "put", "journal/*"),)
    index = harness.opened(5, FakeStore(harness.store, *faults))
    index.uploads.accept(make_wheel().arrival(harness.folder), ALICE)
    assert harness.snapshot("journal/") == {}

    assert [line["action"] for line in audit_lines(log)] == ["uploaded"]
    harness.upload(make_wheel())
    assert [line["action"] for line in audit_lines(log)] == ["uploaded"]
    assert len(harness.snapshot("journal/")) == 1


def test_a_change_of_a_table_has_a_line(
    harness: IndexHarness, log: pytest.LogCaptureFixture
) -> None:
    """Each change of a table has a line with who has made it and which, without a secret."""
    publishers = harness.index.server.publishers
    publishers.add(GITLAB, "local:bo", f"see wyd_{'a1B2' * 12}")
    publishers.remove("gl-tools", "user:ana@acme.dev")

    added, removed = [record.getMessage() for record in log.records]
    assert added.startswith("publishers changed by local:bo: publisher gl-tools: added, provider")
    assert added.endswith(", index main (see wyd_***)")
    assert removed == "publishers changed by user:ana@acme.dev: publisher gl-tools: removed"


def test_dead_letters_that_are_sent_again_have_a_line(
    harness: IndexHarness, log: pytest.LogCaptureFixture
) -> None:
    """Who has dead letters of a webhook sent again is in the log, with how many they are."""
    webhooks = harness.index.server.webhooks
    webhooks.add({"name": "builds", "url": "https://ci.example/hook"}, "local:bo")
    place = MessagePlace("main/demo", 1)
    letters = tuple(
        DeadLetter(id=name, place=place, event="released", at=START, error="410 Gone")
        for name in ("msg-1", "msg-2")
    )
    created = webhooks.find("builds").created
    webhooks.states.change("builds", created, lambda state: replace(state, dead=letters))
    log.clear()

    webhooks.send_again("builds", None, "local:eva")

    assert log.messages == ["webhooks changed by local:eva: webhook builds: 2 messages again"]


def test_a_change_of_a_group_has_a_line(
    harness: IndexHarness, log: pytest.LogCaptureFixture
) -> None:
    """Each change of a group or a grant has a line with who has made it, without a secret."""
    access = harness.index.server.access
    note = f"see wyd_{'a1B2' * 12}"
    access.edit_group("set", "team", ["user:ana@acme.dev"], "local:bo", note)
    fields = GrantFields(who=("group:team",), projects=("acme-*",), actions=("upload",))
    access.revoke(access.grant(fields, "local:bo"), "local:eva")

    made, granted, revoked = [record.getMessage() for record in log.records]
    added = "group team: added user:ana@acme.dev (see wyd_***)"
    assert made == f"access changed by local:bo: {added}"
    assert granted.startswith("access changed by local:bo: granted ")
    assert granted.endswith(": group:team may read and upload to acme-* in the index main")
    assert revoked.startswith("access changed by local:eva: revoked ")


def test_a_change_of_a_token_has_a_line(
    harness: IndexHarness, log: pytest.LogCaptureFixture
) -> None:
    """Each change of a token has a line with who has made it; what changes nothing has none."""
    tokens = harness.index.tokens
    _, record = tokens.create(TokenRequest(name="ci"), "local:bo")
    for _ in range(2):
        tokens.name_indexes(record, (MAIN, "dev"), "user:ana@acme.dev")
    tokens.revoke(record.id, "local:bo")

    assert [(line["action"], line["who"]) for line in audit_lines(log)] == [
        ("token_created", "local:bo"),
        ("token_changed", "user:ana@acme.dev"),
        ("token_revoked", "local:bo"),
    ]
    changed = audit_lines(log)[1]
    assert (changed["token"], changed["name"], changed["index"]) == (record.id, "ci", "dev,main")


HERE = "192.0.2.0/24"


@pytest.fixture(autouse=True)
def _everything(caplog: pytest.LogCaptureFixture) -> None:
    """Let the log have every line."""
    caplog.set_level(logging.INFO)


def test_a_flood_is_so_many_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Sixty refusals a minute have a line each; the others are one number, a minute later."""
    clock = Clock()
    log = RejectionLog(clock.seconds)
    for _ in range(1000):
        log.log("htpasswd_user", HERE)
    assert len(caplog.records) == REJECTIONS_LOGGED_PER_MINUTE

    clock.advance(seconds=60)
    log.log("token_expired", HERE, "token:0123456789")
    log.log("htpasswd_user", HERE, "htpasswd:a\u202eb")
    assert [record.getMessage() for record in caplog.records[REJECTIONS_LOGGED_PER_MINUTE:]] == [
        "940 more credentials were refused, without a line each",
        "a credential was refused: token_expired for token:0123456789, from 192.0.2.0/24",
        "a credential was refused: htpasswd_user for htpasswd:a\\u202eb, from 192.0.2.0/24",
    ]


def test_each_decision_has_audit_line(harness: IndexHarness, log: pytest.LogCaptureFixture) -> None:
    """What somebody decides about a public package has a line, without a secret."""
    deciding = Deciding(harness.index.server.decisions, "local:ana")
    deciding.block(DEMO, parse_version("1.0"), f"see wyd_{'a1B2' * 12}")
    deciding.approve(DEMO, parse_version("2.0"), "", ["licence"], ["A" * 64])

    facts, digests = {"project": "demo", "who": "local:ana"}, {"sha256": ["a" * 64]}
    assert audit_lines(log) == [
        {"action": "blocked", "version": "1.0", "reason": "see wyd_***", **facts},
        {"action": "approved", "version": "2.0", "despite": "licence", **facts, **digests},
    ]
