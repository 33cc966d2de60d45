"""The pages of webhooks: list, form, secret, deliveries, and what is sent again."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

import pytest
from msgspec.structs import replace

from tests.http.handlers.admin.administering import Administrator, text_of
from tests.http.in_process import InProcessServer
from tests.webhooks.fake_sender import FakeSender
from wheelyard.model.stored_webhooks import WebhookVariables
from wheelyard.model.webhook_state import (
    DeadLetter,
    DeliveryAttempt,
    MessagePlace,
    WaitingJournal,
    WebhookState,
)
from wheelyard.operations.webhooks import Webhooks
from wheelyard.wiring.server import Server

PAGE: Final = "webhooks/"
BO: Final = "local:bo"
ONE: Final = f"{PAGE}?show=builds"
SECRET_URL: Final = "https://chat.example/services/T0/B0/verysecret"
AT: Final = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
KEYS: Final[Mapping[str, str]] = {
    "action": "add",
    "name": "builds",
    "url": "https://ci.example/hook",
    "events": "yanked, released",
    "note": "TEAM-12",
}
SECRET: Final = re.compile("whsec_[A-Za-z0-9+/=]{44}")


@pytest.fixture
def admin(server: InProcessServer) -> Iterator[Administrator]:
    """The administrator, with no webhook before and after."""
    yield Administrator.of(server)
    webhooks = server.index.server.webhooks
    webhooks.endpoints = replace(webhooks.endpoints, variables=WebhookVariables())
    for row in webhooks.show():
        webhooks.remove(row.name, BO)


def secret_of(webhooks: Webhooks) -> str | None:
    """Return the secret that the store keeps of the webhook `builds`."""
    return webhooks.endpoints.secrets.get("builds", webhooks.find("builds").created)


def add(admin: Administrator) -> str:
    """Add a webhook by its form, and return its secret."""
    answer = admin.browser.follow(admin.send(PAGE, **KEYS))
    secret = SECRET.search(text_of(answer))
    assert secret is not None
    return secret[0]


def give_state(admin: Administrator, state: WebhookState) -> None:
    """Write what is known of the deliveries of the webhook `builds`."""
    webhooks = admin.server.index.server.webhooks
    created = webhooks.find("builds").created

    def change(before: WebhookState) -> WebhookState:
        return replace(
            before, attempts=state.attempts, dead=state.dead, waiting=state.waiting, again=()
        )

    webhooks.states.change("builds", created, change)


def letters(count: int) -> tuple[DeadLetter, ...]:
    """Return messages that were given up."""
    place = MessagePlace("main/acme", 1)
    return tuple(
        DeadLetter(id=f"msg-{number}", place=place, event="released", at=AT, error="410 Gone")
        for number in range(count)
    )


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}?add=webhook", ONE, f"{PAGE}history/"])
@pytest.mark.parametrize("name", ["reader", "stranger"])
def test_webhooks_are_for_administrators(
    admin: Administrator, server: InProcessServer, path: str, name: str
) -> None:
    """Who is no administrator sees, adds, changes and sends to no webhook."""
    add(admin)
    person = Administrator.of(server, name)
    fields = {**KEYS, "name": "other"}

    answers = [person.open(path), person.send(PAGE, **fields)]
    answers += [
        person.send(PAGE, action=action, name="builds")
        for action in ("test", "new-secret", "send-again", "remove")
    ]

    assert {answer.status for answer in answers} == {403}
    assert [row.name for row in server.index.server.webhooks.show()] == ["builds"]


def test_a_form_without_its_token_is_refused(admin: Administrator) -> None:
    """A form that another site could have sent makes no new secret."""
    add(admin)
    before = secret_of(admin.server.index.server.webhooks)

    answer = admin.send(PAGE, action="new-secret", name="builds", csrf_token="wrong")

    assert answer.status == 403
    assert secret_of(admin.server.index.server.webhooks) == before


def test_a_secret_is_shown_once(admin: Administrator, caplog: pytest.LogCaptureFixture) -> None:
    """The secret is on the page that comes after the form, and on no other page and in no log."""
    first = add(admin)
    redirect = admin.send(PAGE, action="new-secret", name="builds")
    answer = admin.browser.follow(redirect)
    second = SECRET.search(text_of(answer))

    assert not SECRET.search(str(redirect.headers))
    assert answer.headers["cache-control"] == "no-store"
    assert second is not None
    assert second[0] != first
    assert "it is not shown again" in text_of(answer)
    again = admin.browser.follow(redirect)
    assert "is not shown again" in text_of(again)
    pages = [text_of(again)]
    pages += [admin.read(path) for path in (PAGE, ONE, f"{PAGE}history/", "journal/")]
    pages += [admin.read(f"{PAGE}?{action}=builds") for action in ("change", "remove")]
    assert not any(SECRET.search(page) for page in [*pages, caplog.text])
    assert "another secret" in pages[3]


def test_a_webhook_is_changed_and_removed(admin: Administrator) -> None:
    """The form shows the keys, changes them, and the question removes the webhook."""
    add(admin)
    form = admin.open(f"{PAGE}?change=builds").body.decode()
    as_of = re.search('name="as_of" value="([^"]+)"', form)
    assert as_of is not None
    assert 'value="released, yanked"' in form

    fields = {
        **KEYS,
        "action": "change",
        "events": "",
        "projects": "acme-*",
        "allow_private": "true",
    }
    changed = admin.done(PAGE, **fields, as_of=as_of[1])

    assert "The webhook is changed: builds" in changed
    (row,) = admin.server.index.server.webhooks.show()
    assert row.keys == {
        "name": "builds",
        "url": "https://ci.example/hook",
        "projects": ["acme-*"],
        "allow_private": True,
    }
    assert "what waits to be sent" in admin.read(f"{PAGE}?remove=builds")
    assert "There is none." in admin.done(PAGE, action="remove", name="builds")


def test_a_url_of_a_variable_is_on_no_page(
    admin: Administrator, caplog: pytest.LogCaptureFixture
) -> None:
    """Pages name the variable with the URL of a chat, and never the URL."""
    webhooks = admin.server.index.server.webhooks
    variables = WebhookVariables(urls={"CHAT": SECRET_URL})
    webhooks.endpoints = replace(webhooks.endpoints, variables=variables)

    admin.done(PAGE, action="add", name="chat", format="slack")

    paths = (PAGE, f"{PAGE}?show=chat", f"{PAGE}?change=chat", f"{PAGE}history/", "journal/")
    pages = [admin.open(path).body.decode() for path in paths]
    assert not any("verysecret" in page for page in [*pages, caplog.text])
    assert "WHEELYARD_WEBHOOK_CHAT_URL" in pages[1]


def test_the_url_of_a_chat_is_not_repeated(
    admin: Administrator, caplog: pytest.LogCaptureFixture
) -> None:
    """Who types the URL of a chat is told of the variable, and the page does not have it again."""
    answer = admin.send(PAGE, action="add", name="chat", format="slack", url=SECRET_URL)

    assert answer.status == 400
    assert "set WHEELYARD_WEBHOOK_CHAT_URL of the server" in text_of(answer)
    assert "verysecret" not in answer.body.decode()
    assert "verysecret" not in caplog.text


def test_a_page_says_what_is_wrong(admin: Administrator) -> None:
    """A webhook to which nothing can be sent says why, in the list and on its page."""
    admin.done(PAGE, action="add", name="chat", format="slack", indexes="gone")

    for path in (PAGE, f"{PAGE}?show=chat"):
        page = admin.read(path)
        assert "This process has no WHEELYARD_WEBHOOK_CHAT_URL" in page
        assert "there is no index gone" in page


def test_deliveries_are_on_the_page(admin: Administrator) -> None:
    """The page has the last deliveries, what waits and what was given up."""
    add(admin)
    assert "Nothing was sent so far." in admin.read(ONE)
    waits = WaitingJournal(
        place=MessagePlace("main/acme", 3),
        ranges=((3, 4),),
        due=AT,
        since=AT,
        attempts=2,
        error="timed out",
    )
    tried = DeliveryAttempt(
        id="m",
        event="yanked",
        subject="acme 1.0 in main",
        at=AT,
        status=500,
        error="HTTP 500",
        answer="<b>oops",
    )
    state = WebhookState(attempts=(tried,), waiting={"main/acme": waits}, dead=letters(2))
    give_state(admin, state)

    page = admin.read(ONE)

    for words in ("acme 1.0 in main", "HTTP 500", "oops", "timed out", "410 Gone", "tried 2 times"):
        assert words in page
    assert b"<b>oops" not in admin.open(ONE).body


def test_messages_are_sent_again(admin: Administrator) -> None:
    """One message that was given up waits again by its button, and all by another one."""
    add(admin)
    give_state(admin, WebhookState(dead=letters(3)))
    webhooks = admin.server.index.server.webhooks
    created = webhooks.find("builds").created

    page = admin.done(PAGE, action="send-again", name="builds", id="msg-1")
    one = webhooks.states.read_stored("builds", created)
    stale = admin.send(PAGE, action="send-again", name="builds", id="msg-1")
    admin.done(PAGE, action="send-again", name="builds")
    everything = webhooks.states.read_stored("builds", created)

    assert "wait to be sent again" in page
    assert [letter.id for letter in one.again] == ["msg-1"]
    assert stale.status == 404
    assert "It may have been sent again" in text_of(stale)
    assert "Webhook builds" in text_of(stale)
    assert (len(everything.again), everything.dead) == (3, ())


@pytest.mark.parametrize(
    ("sender", "status", "words"),
    [
        (FakeSender(), 200, "The receiver took the test and answered 204"),
        (FakeSender(error="no route"), 200, "The test was not delivered: no route"),
        (
            FakeSender(is_broken=True),
            503,
            "Nothing can be sent to builds for htpasswd:admin now.",
        ),
    ],
)
def test_a_test_says_what_came_of_it(
    admin: Administrator,
    monkeypatch: pytest.MonkeyPatch,
    sender: FakeSender,
    status: int,
    words: str,
) -> None:
    """The page says at once what came of a test, and what is wrong if it could not be sent."""
    add(admin)
    monkeypatch.setattr(Server, "webhook_sender", sender)

    answer = admin.send(PAGE, action="test", name="builds")

    assert answer.status == status
    assert words in text_of(answer)
    assert "Webhook builds" in text_of(answer)


def test_a_webhook_that_is_gone(admin: Administrator) -> None:
    """The page and the forms of a webhook that is not there say so."""
    answers = [admin.open(f"{PAGE}?show=gone")]
    answers += [
        admin.send(PAGE, action=action, name="gone")
        for action in ("test", "new-secret", "send-again")
    ]

    assert {answer.status for answer in answers} == {404}
