"""Webhooks in a file that describes the index: what is added, pruned and told of their secrets."""

import tomllib
from functools import partial
from typing import Final

import pytest

from tests.fake_store import Before, FakeStore
from tests.operations.in_memory_index import IndexHarness
from tests.refused import refused
from wheelyard.catalog.keys import WEBHOOK_SECRETS
from wheelyard.errors import Conflict, Invalid, NotFound
from wheelyard.model.index_file import IndexTables, read_tables, to_toml
from wheelyard.model.stored_webhooks import WebhookAdded, WebhookRemoved
from wheelyard.operations.apply_plan import IndexState
from wheelyard.operations.applying import Applying, ApplyOptions, ApplyReport, SourcedTables
from wheelyard.operations.webhooks import Webhooks
from wheelyard.wiring.index import Index

BO: Final = "local:bo"
HOOK: Final = """
[[webhook]]
name = "builds"
url = "https://ci.example/hook"
events = ["yanked", "released"]
projects = ["acme-*"]
secret = "kept"
"""
MANY: Final = "\n".join(
    f'[[webhook]]\nname = "h{number}"\nurl = "https://ci.example/"' for number in range(51)
)


def secret_of(webhooks: Webhooks) -> str | None:
    """Return the secret that the store keeps of the webhook `builds`."""
    return webhooks.endpoints.secrets.get("builds", webhooks.find("builds").created)


def tables_in(text: str) -> IndexTables:
    """Return what the text of a file says."""
    return read_tables(tomllib.loads(text), ())


def put(index: Index, text: str, options: ApplyOptions | None = None) -> ApplyReport:
    """Apply a file, and return what it has changed."""
    file = SourcedTables("team.toml", tables_in(text))
    return index.server.applying.apply([file], BO, options or ApplyOptions())[0]


def test_a_file_adds_a_webhook_and_says_that_it_has_no_secret(harness: IndexHarness) -> None:
    """A webhook of a file has no secret at first, and the report says what to do about that."""
    report = put(harness.index, HOOK)
    again = put(harness.index, HOOK, ApplyOptions(again=True))

    change = report.changes[0]
    assert (change.outcome, change.kind, change.name) == ("added", "webhook", "builds")
    assert [
        "Make one, or set WHEELYARD_WEBHOOK_BUILDS_SECRET" in why for why in report.problems
    ] == [True]
    assert not again.changes
    hook = harness.index.server.webhooks.find("builds")
    assert hook.url == "https://ci.example/hook"


def test_a_file_that_is_shown_says_that_there_is_a_secret(harness: IndexHarness) -> None:
    """The file that is shown has secret = "kept", never the secret, and can be applied."""
    put(harness.index, HOOK)
    before = to_toml(harness.index.server.applying.show())
    secret = harness.index.server.webhooks.make_secret("builds", BO).secret
    shown_text = to_toml(harness.index.server.applying.show())

    assert "secret" not in before
    assert 'secret = "kept"' in shown_text
    assert secret not in shown_text
    assert not put(harness.index, shown_text).changes


def test_a_webhook_that_a_file_lacks_is_pruned_with_its_secret(harness: IndexHarness) -> None:
    """Pruning removes a webhook, and another one of its name has neither secret nor progress."""
    webhooks = harness.index.server.webhooks
    put(harness.index, HOOK)
    webhooks.make_secret("builds", BO)

    report = put(harness.index, "", ApplyOptions(prune=True))

    assert [(change.outcome, change.name) for change in report.changes] == [("removed", "builds")]
    assert webhooks.show() == ()
    assert put(harness.index, HOOK).problems


def test_a_file_changes_a_webhook_and_keeps_its_secret(harness: IndexHarness) -> None:
    """Other keys of a webhook in a file leave its secret as it is."""
    webhooks = harness.index.server.webhooks
    put(harness.index, HOOK)
    secret = webhooks.make_secret("builds", BO).secret

    report = put(harness.index, HOOK.replace("acme-*", "acme-core"))

    assert [(change.outcome, change.kind) for change in report.changes] == [("changed", "webhook")]
    assert report.problems == ()
    assert secret_of(webhooks) == secret


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{HOOK}\n{HOOK}", "The webhook 'builds' is there twice"),
        (HOOK.replace('"kept"', '"whsec_x"'), "[[webhook]] number 1: secret"),
        (HOOK.replace("https:", "ftp:"), "[[webhook]] number 1: url: it is no URL"),
        (HOOK.replace('"builds"', '"Builds"'), "name: 'Builds' has other characters than a-z"),
        (f'{HOOK}format = "slack"', "set WHEELYARD_WEBHOOK_BUILDS_URL of the server"),
    ],
)
def test_a_wrong_webhook_is_refused_in_a_sentence(text: str, why: str) -> None:
    """A file with a wrong webhook is refused as a whole, and the message says what to correct."""
    with pytest.raises(Invalid) as raised:
        tables_in(text)

    assert why in raised.value.message
    assert raised.value.code == "wrong_file"


def test_a_file_with_too_many_webhooks_is_refused(harness: IndexHarness) -> None:
    """A file cannot add more webhooks than there may be, and then changes nothing."""
    with refused(Conflict, "too_many_webhooks"):
        put(harness.index, MANY)

    assert harness.index.server.webhooks.show() == ()


def test_a_key_that_no_webhook_has_is_not_left_out(harness: IndexHarness) -> None:
    """Who misspells a key that is to be left out hears it, and nothing is changed."""
    webhooks = harness.index.server.webhooks
    put(harness.index, HOOK)
    before = webhooks.show()

    with refused(Invalid, "invalid_field", match="'project' is no key of a webhook. Correct it"):
        webhooks.change("builds", {"project": None}, BO)
    with refused(Invalid, "invalid_field", match="'project' is no key of a webhook. Correct it"):
        webhooks.add({**before[0].keys, "name": "other", "project": None}, BO)

    assert webhooks.show() == before


def test_there_are_fifty_webhooks_at_most(harness: IndexHarness) -> None:
    """The fiftieth webhook can be added, and none after it until one is removed."""
    webhooks = harness.index.server.webhooks
    *first, last, surplus = tables_in(MANY).webhook
    for table in (*first, last):
        webhooks.add(table, BO)

    with refused(Conflict, "too_many_webhooks"):
        webhooks.add(surplus, BO)

    webhooks.remove(last["name"], BO)
    webhooks.add(surplus, BO)


def test_a_webhook_that_somebody_changes_meanwhile_stays(
    harness: IndexHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody else changes between plan and commit stays, and the file is refused."""
    put(harness.index, HOOK)
    other = harness.opened(seed=7).server.webhooks
    read_state = Applying.read_state

    def read_and_change(applying: Applying) -> IndexState:
        state = read_state(applying)
        other.change("builds", {"projects": ["other"]}, BO)
        return state

    monkeypatch.setattr(Applying, "read_state", read_and_change)
    with pytest.raises(Conflict) as raised:
        put(harness.index, HOOK.replace("acme-*", "acme-core"))

    assert raised.value.code == "changed_meanwhile"
    assert "The webhook 'builds' was changed meanwhile" in raised.value.message
    assert other.show()[0].keys["projects"] == ["other"]


def test_no_secret_is_told_of_a_webhook_that_somebody_removes_meanwhile(
    harness: IndexHarness,
) -> None:
    """Who adds a webhook that another process removes at once is told that, and no secret."""
    remove = partial(harness.index.server.webhooks.remove, "builds", BO)
    store = FakeStore(harness.store, Before(remove, "put", f"{WEBHOOK_SECRETS}*"))
    webhooks = harness.opened(seed=7, store=store).server.webhooks

    with pytest.raises(NotFound, match="The webhook 'builds' has been removed meanwhile"):
        webhooks.add({"name": "builds", "url": "https://ci.example/hook"}, BO)

    assert webhooks.show() == ()


def test_a_webhook_that_is_gone_with_the_commit_that_adds_it(harness: IndexHarness) -> None:
    """Who adds a webhook is told if a removal has shared the commit, and nothing of it is left."""
    webhooks, at = harness.index.server.webhooks, harness.clock.now
    keys = {"name": "builds", "url": "https://ci.example/hook"}
    added = WebhookAdded(at=at, by=BO, keys=keys)
    removed = WebhookRemoved(at=at, by="local:cy", name="builds")

    committed = webhooks.commit(lambda _: (added, removed))

    with pytest.raises(NotFound, match="The webhook 'builds' has been removed meanwhile"):
        webhooks.listed_after(committed, "builds")
    assert [key for key in harness.snapshot() if "builds" in key] == []


def test_a_misspelt_table_of_webhooks_is_refused() -> None:
    """An array with the name of the section of the settings is none, and is not passed over."""
    with pytest.raises(Invalid, match="There is no table 'webhooks'"):
        read_tables({"webhooks": [{"name": "builds"}]}, ("webhooks",))
    assert read_tables({"webhooks": {}}, ("webhooks",)) == IndexTables()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ('events = ["relesed"]', "'relesed' is none. Choose some of released, file_added"),
        ('secret = "whsec_x"', "no file and no command has a secret"),
        ('url = "https://169.254.169.254/"', "an address that is never asked"),
        ('url = "https://bücher.example/"', "other letters than ASCII"),
    ],
)
def test_a_wrong_key_says_what_is_right(keys: str, words: str) -> None:
    """A wrong event, a secret, or an address that is never asked is refused with the reason."""
    with pytest.raises(Invalid, match=words):
        tables_in(f'[[webhook]]\nname = "builds"\n{keys}\n')
