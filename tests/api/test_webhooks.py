"""Operations on webhooks: secrets that are told once, deliveries, and what is sent again."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace

from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.http.in_process import InProcessServer, in_process
from tests.webhooks.fake_sender import FakeSender
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.catalog.keys import webhook_state
from wheelyard.model.access import Action
from wheelyard.model.stored_webhooks import WebhookVariables
from wheelyard.model.webhook_state import (
    DeadLetter,
    DeliveryAttempt,
    MessagePlace,
    WaitingJournal,
    WebhookState,
)
from wheelyard.storage.memory import MemoryStore
from wheelyard.wiring.server import Server

BO: Final = "local:bo"
URL: Final = "https://ci.example/hook"
SECRET_URL: Final = "https://chat.example/services/T0/B0/verysecret"
KEYS: Final = {"name": "builds", "url": URL}
JSON: Final = ("content-type", "application/json")
AT: Final = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
OPERATIONS: Final = (
    "GET webhooks",
    "GET webhooks/history",
    "GET webhooks/deliveries?name=builds",
    "POST webhooks/add",
    "POST webhooks/change",
    "POST webhooks/remove",
    "POST webhooks/new-secret",
    "POST webhooks/send-again",
    "POST webhooks/test",
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """A server without webhooks."""
    with in_process(tmp_path) as started:
        yield started


def token(
    server: InProcessServer, action: Action = Action.ADMIN, index: str = "*"
) -> tuple[str, str]:
    """Return the header of a token with a right in an index, or in all."""
    request = TokenRequest(name="somebody", actions=action, indexes=(index,))
    text = server.index.tokens.create(request, by=BO)[0].text
    return "authorization", f"Bearer {text}"


def answer_of(
    server: InProcessServer, operation: str, body: object = None, status: int = 200
) -> Any:  # noqa: ANN401 - any JSON
    """Return the answer of an operation to an administrator."""
    method, path = operation.split()
    content = b"" if body is None else json.dumps(body).encode()
    headers = (token(server), JSON)
    answer = server.get(f"/api/v1/{path}", *headers, method=method, body=[content])
    assert answer.status == status, answer.body
    return json.loads(answer.body) if answer.body else None


def give_state(server: InProcessServer, state: WebhookState) -> None:
    """Write what is known of the deliveries of the webhook `builds`."""
    webhooks = server.index.server.webhooks
    created = webhooks.find("builds").created
    webhooks.states.change("builds", created, lambda before: replace(before, **_of(state)))


def _of(state: WebhookState) -> dict[str, Any]:
    names = ("attempts", "dead", "waiting", "dropped", "note")
    return {name: getattr(state, name) for name in names}


def letter(number: int) -> DeadLetter:
    """Return a message that was given up."""
    place = MessagePlace("main/acme", number)
    return DeadLetter(id=f"msg-{number}", place=place, event="released", at=AT, error="410 Gone")


def test_a_secret_is_told_once(server: InProcessServer) -> None:
    """The answer to a new webhook, and to a new secret, has the secret, and nothing else has it."""
    added = answer_of(server, "POST webhooks/add", {"webhook": KEYS}, 201)
    again = answer_of(server, "POST webhooks/new-secret", {"name": "builds", "note": "leaked"}, 201)

    assert added["secret"].startswith("whsec_")
    assert again["secret"] not in {"", added["secret"]}
    listed = answer_of(server, "GET webhooks")
    assert listed["webhooks"][0]["secret_from"] == "store"
    texts = [str(answer_of(server, path)) for path in OPERATIONS[:3]] + [
        str(answer_of(server, "GET tables"))
    ]
    assert all(secret["secret"] not in text for secret in (added, again) for text in texts)
    assert "another secret: leaked" in texts[1]


def test_no_secret_is_made_where_a_variable_has_one(server: InProcessServer) -> None:
    """A webhook whose secret is in a variable names that variable, and gets no other secret."""
    give_variables(server, secrets={"BUILDS": "whsec_" + "A" * 40})

    added = answer_of(server, "POST webhooks/add", {"webhook": KEYS}, 201)
    refused = answer_of(server, "POST webhooks/new-secret", {"name": "builds"}, 409)

    assert "secret" not in added
    assert added["secret_from"] == "WHEELYARD_WEBHOOK_BUILDS_SECRET"
    assert refused["error"] == "secret_in_variable"


def give_variables(
    server: InProcessServer,
    *,
    secrets: dict[str, str] | None = None,
    urls: dict[str, str] | None = None,
) -> None:
    """Give the process variables with secrets and URLs of webhooks."""
    webhooks = server.index.server.webhooks
    variables = WebhookVariables(secrets=secrets or {}, urls=urls or {})
    webhooks.endpoints = replace(webhooks.endpoints, variables=variables)


def test_a_url_of_a_variable_is_in_no_answer(server: InProcessServer) -> None:
    """A URL that a variable has is in no answer, journal, or file that is shown."""
    give_variables(server, urls={"CHAT": SECRET_URL})

    answers = [answer_of(server, "POST webhooks/add", {"webhook": chat()}, 201)]
    paths = ("webhooks", "webhooks/history", "webhooks/deliveries?name=chat", "tables", "journal")
    answers += [answer_of(server, f"GET {path}") for path in paths]

    assert answers[0]["url_from"] == "WHEELYARD_WEBHOOK_CHAT_URL"
    assert "verysecret" not in str(answers)


def chat() -> dict[str, object]:
    """Return the keys of a webhook of a chat."""
    return {"name": "chat", "format": "slack"}


def test_the_url_of_a_chat_is_no_key(server: InProcessServer) -> None:
    """The URL of a chat is refused as a key, and the message does not repeat it."""
    keys = {**chat(), "url": SECRET_URL}

    refused = answer_of(server, "POST webhooks/add", {"webhook": keys}, 400)

    assert "WHEELYARD_WEBHOOK_CHAT_URL" in refused["message"]
    assert "verysecret" not in str(refused)


def test_what_is_not_signed_gets_no_secret(server: InProcessServer) -> None:
    """No secret is made for a chat, to which nothing is signed, and nothing is noted."""
    give_variables(server, urls={"CHAT": SECRET_URL})
    answer_of(server, "POST webhooks/add", {"webhook": chat()}, 201)
    before = answer_of(server, "GET webhooks/history")

    refused = answer_of(server, "POST webhooks/new-secret", {"name": "chat"}, 409)

    assert refused["error"] == "secret_in_variable"
    assert "chat is not signed, so it needs no secret" in refused["message"]
    assert answer_of(server, "GET webhooks/history") == before


@pytest.mark.parametrize(
    ("keys", "variables", "words"),
    [
        (chat(), {"urls": {"CHAT": "ftp://verysecret"}}, "CHAT_URL of the server is wrong: it is"),
        (
            KEYS,
            {"secrets": {"BUILDS": "verysecret"}},
            "BUILDS_SECRET of the server is no secret. Set it to whsec_ and 24 to 64 random bytes",
        ),
    ],
    ids=["url", "secret"],
)
def test_a_wrong_variable_is_a_problem_of_its_webhook(
    server: InProcessServer, keys: dict[str, object], variables: dict[str, Any], words: str
) -> None:
    """A list of webhooks says which variable of the server is wrong, and never what it has."""
    give_variables(server, **variables)
    answer_of(server, "POST webhooks/add", {"webhook": keys}, 201)

    (listed,) = answer_of(server, "GET webhooks")["webhooks"]

    assert f"WHEELYARD_WEBHOOK_{words}" in listed["problem"]
    assert "verysecret" not in str(listed)


def test_deliveries_are_shown(server: InProcessServer) -> None:
    """The last deliveries, what waits and what was given up are shown, with their errors."""
    answer_of(server, "POST webhooks/add", {"webhook": KEYS}, 201)
    waits = WaitingJournal(
        place=MessagePlace("main/acme", 3),
        ranges=((3, 4),),
        due=AT,
        since=AT,
        attempts=2,
        error="timeout",
    )
    tried = DeliveryAttempt(id="m", event="yanked", subject="acme 1.0 in main", at=AT, status=500)
    give_state(
        server,
        WebhookState(attempts=(tried,), waiting={"main/acme": waits}, dead=(letter(1),), dropped=7),
    )

    known_of = answer_of(server, "GET webhooks/deliveries?name=builds")

    assert known_of["attempts"][0]["subject"] == "acme 1.0 in main"
    assert known_of["waiting"][0]["journal"] == "main/acme"
    assert known_of["waiting"][0]["error"] == "timeout"
    assert known_of["dead"] == [
        {
            "id": "msg-1",
            "journal": "main/acme",
            "event": "released",
            "subject": "",
            "at": "2030-01-02T03:04:00Z",
            "error": "410 Gone",
        }
    ]
    assert (known_of["dropped"], known_of["note"]) == (7, "")


def test_what_was_given_up_is_sent_again(server: InProcessServer) -> None:
    """One message that was given up, or all of them, wait to be sent again."""
    answer_of(server, "POST webhooks/add", {"webhook": KEYS}, 201)
    give_state(server, WebhookState(dead=tuple(map(letter, range(1, 5)))))

    one = answer_of(server, "POST webhooks/send-again", {"name": "builds", "ids": ["msg-2"]})
    left = answer_of(server, "GET webhooks/deliveries?name=builds")
    rest = answer_of(server, "POST webhooks/send-again", {"name": "builds"})

    assert one["ids"] == ["msg-2"]
    assert [message["id"] for message in left["dead"]] == ["msg-1", "msg-3", "msg-4"]
    assert [message["id"] for message in left["again"]] == ["msg-2"]
    assert rest["ids"] == ["msg-1", "msg-3", "msg-4"]


def test_an_unknown_message_sends_nothing_again(server: InProcessServer) -> None:
    """If one of the messages was not given up, none is sent again."""
    answer_of(server, "POST webhooks/add", {"webhook": KEYS}, 201)
    give_state(server, WebhookState(dead=(letter(1),)))

    body = {"name": "builds", "ids": ["msg-1", "msg-9"]}
    refused = answer_of(server, "POST webhooks/send-again", body, 404)

    assert "msg-9" in refused["message"]
    assert len(answer_of(server, "GET webhooks/deliveries?name=builds")["dead"]) == 1


def test_nothing_is_sent_again_if_that_cannot_be_written(tmp_path: Path) -> None:
    """Who has messages sent again is told if others change the webhook's state all the time."""
    store = FakeStore(MemoryStore(lambda: 0.0))
    with in_process(tmp_path, store=store) as server:
        answer_of(server, "POST webhooks/add", {"webhook": KEYS}, 201)
        give_state(server, WebhookState(dead=(letter(1),)))
        key = webhook_state("builds")
        store.follow(Fault(FaultKind.LOST_RACE, "put", key, times=ALWAYS))
        refused = answer_of(server, "POST webhooks/send-again", {"name": "builds"}, 503)

    assert refused["error"] == "overloaded"


def test_a_test_is_sent_now(server: InProcessServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to a test of a webhook has the status of the receiver, and who sent it."""
    monkeypatch.setattr(Server, "webhook_sender", FakeSender())
    answer_of(server, "POST webhooks/add", {"webhook": KEYS}, 201)

    answer = answer_of(server, "POST webhooks/test", {"name": "builds"})

    assert answer["status"] == 204
    assert answer["id"].startswith("builds token:")


def test_a_webhook_without_a_url_is_sent_no_test(server: InProcessServer) -> None:
    """A test of a webhook that has no URL is refused, and the message says what to set."""
    answer_of(server, "POST webhooks/add", {"webhook": chat()}, 201)

    refused = answer_of(server, "POST webhooks/test", {"name": "chat"}, 400)

    assert refused["error"] == "no_delivery"
    assert "WHEELYARD_WEBHOOK_CHAT_URL" in refused["message"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_only_who_administers_the_server_has_webhooks(
    server: InProcessServer, operation: str
) -> None:
    """Neither a manager nor an administrator of one index sees or changes webhooks."""
    server.index.server.index_administration.add({"name": "dev"}, BO)
    server.index.server.webhooks.add(KEYS, BO)
    method, path = operation.split()
    content = b"" if method == "GET" else b'{"name": "builds", "webhook": {}}'
    callers = (token(server, Action.MANAGE), token(server, Action.ADMIN, "dev"))

    for header in callers:
        answer = server.get(f"/api/v1/{path}", header, JSON, method=method, body=[content])
        assert answer.status == 403, answer.body
    anonymous = server.get(f"/api/v1/{path}", JSON, method=method, body=[content])
    assert anonymous.status == 401
