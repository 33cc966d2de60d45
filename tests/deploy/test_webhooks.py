"""deploy/webhooks: the receivers run, and verify; the build is one that Cloud Build takes."""

import json
import re
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from standardwebhooks import Webhook

from tests.authentication.verifiers.fake_issuer import (
    CannedResponse,
    FakeIssuer,
    google_claims,
    hmac_signature,
    rsa_key,
    running_issuer,
    sealed,
)
from tests.clients.harness import REPOSITORY, Sandbox, new_sandbox, wheelyard
from tests.deploy.running import DEPLOY, assert_valid, problems
from tests.distributions import make_wheel
from tests.http_server import is_listening, running_program
from tests.plain_http import LOCALLY
from tests.ports import free_port
from tests.webhooks.harness import WebhookHarness, running_webhooks
from wheelyard.model.webhook_messages import ProjectMessage
from wheelyard.wiring.stores import system_runtime

FOLDER = DEPLOY / "webhooks"
BUILD = FOLDER / "cloudbuild.yaml"
METADATA = "/computeMetadata/v1/instance/service-accounts/default/token"
TOPIC = "projects/acme/topics/releases"
PUBLISH = f"/v1/{TOPIC}:publish"
AUDIENCE = "https://push.acme.dev"
ACCOUNT = "wheelyard-push@acme.iam.gserviceaccount.com"
KEY = rsa_key("google")
SECRET = f"whsec_{b64encode(bytes(32)).decode()}"
BODY = b'{"type": "project.released", "index": "main", "project": "demo", "release": "1.0"}'


@dataclass(frozen=True)
class Running:
    """A receiver that runs, and what it writes."""

    url: str
    log: Path

    def post(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Send a body, and return the status of the answer."""
        with httpx2.Client(timeout=60, **LOCALLY) as client:
            return client.post(self.url, content=body, headers=dict(headers)).status_code


@contextmanager
def running(folder: Path, name: str, port: int, **variables: str) -> Iterator[Running]:
    """Run a receiver until the block ends, as its container does."""
    sandbox, log = new_sandbox(folder / name), folder / f"{name}.log"
    environment = {"PORT": str(port), **variables}
    command: list[str | Path] = [sys.executable, FOLDER / name]
    address = ("127.0.0.1", port)
    with running_program(sandbox, command, log, lambda: is_listening(address), environment):
        yield Running(f"http://127.0.0.1:{port}/", log)


@contextmanager
def running_relay(
    folder: Path, google: FakeIssuer, secret: str = SECRET, port: int = 0
) -> Iterator[Running]:
    """Run the relay, with a stand-in for the metadata server and for Pub/Sub."""
    granted = {"access_token": "ya29.relay", "expires_in": 3599, "token_type": "Bearer"}
    google.answers[METADATA] = CannedResponse(json.dumps(granted).encode())
    google.answers[PUBLISH] = CannedResponse(b'{"messageIds": ["1"]}')
    host = google.url.removeprefix("http://")
    hosts = {"GCE_METADATA_HOST": host, "PUBSUB_EMULATOR_HOST": host}
    variables = {"WEBHOOK_SECRET": secret, "TOPIC": TOPIC, **hosts}
    with running(folder, "relay.py", port or free_port(), **variables) as relay:
        yield relay


@contextmanager
def running_endpoint(folder: Path, google: FakeIssuer) -> Iterator[Running]:
    """Run the push endpoint, with the keys of the issuer."""
    google.serve_keys(KEY)
    variables = {"AUDIENCE": AUDIENCE, "ACCOUNT": ACCOUNT, "KEYS_URL": google.keys_url}
    with running(folder, "push_endpoint.py", free_port(), **variables) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def google() -> Iterator[FakeIssuer]:
    """A stand-in for what both receivers ask of Google."""
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def relay(google: FakeIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The relay, with `SECRET`."""
    with running_relay(tmp_path_factory.mktemp("relay"), google) as relay:
        yield relay


@pytest.fixture(scope="module")
def endpoint(google: FakeIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The push endpoint."""
    with running_endpoint(tmp_path_factory.mktemp("endpoint"), google) as endpoint:
        yield endpoint


def signed(body: bytes, secret: str = SECRET, *, age: int = 0) -> dict[str, str]:
    """Return the headers of a message, as of some seconds ago."""
    seconds = int(system_runtime().now().timestamp()) - age
    stamp = datetime.fromtimestamp(seconds, UTC)
    signature = Webhook(secret).sign("msg_1", stamp, body.decode())
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(seconds),
        "webhook-signature": signature,
        "content-type": "application/json",
    }


def published(google: FakeIssuer) -> list[dict[str, Any]]:
    """Return what Pub/Sub was given."""
    return [
        message
        for request in google.seen
        if request.path == PUBLISH
        for message in json.loads(request.body)["messages"]
    ]


def push_of(message: dict[str, Any]) -> bytes:
    """Return what a push subscription sends of a message."""
    return json.dumps({"message": {**message, "messageId": "1"}, "subscription": "s"}).encode()


def claims(**changed: object) -> dict[str, object]:
    """Return the claims of a token of the subscription, with changes."""
    issued_at = int(system_runtime().now().timestamp()) - 10
    return {**google_claims(ACCOUNT, AUDIENCE, issued_at), **changed}


def test_a_release_goes_from_the_index_to_the_push_endpoint(tmp_path: Path) -> None:
    """The relay publishes what the index has signed, once Pub/Sub takes it, and it is handled."""
    with running_webhooks(tmp_path) as hooks, running_issuer() as google:
        hooks.index.clock.now = system_runtime().now()  # which the relay compares with its own
        port = free_port()
        secret = hooks.add(url=f"http://127.0.0.1:{port}/")
        with (
            running_relay(tmp_path, google, secret, port),
            running_endpoint(tmp_path, google) as endpoint,
        ):
            _deliver_at_second_try(hooks, google)
            refused, taken = published(google)
            headers = {"Authorization": f"Bearer {KEY.token(claims())}"}

            assert endpoint.post(push_of(taken), headers) == 204

            body = json.loads(b64decode(taken["data"]))
            assert refused == taken
            assert (body["type"], body["project"]) == ("project.released", "demo")
            assert taken["orderingKey"] == "main/demo"
            assert "project.released demo 1.0" in endpoint.log.read_text()
    (asked,) = {request.authorization for request in google.seen if request.path == PUBLISH}
    assert asked == "Bearer ya29.relay"
    assert google.asked(METADATA) == 1


def _deliver_at_second_try(hooks: WebhookHarness, google: FakeIssuer) -> None:
    taken = google.answers[PUBLISH]
    google.answers[PUBLISH] = CannedResponse(status=503)
    hooks.index.upload(make_wheel())
    hooks.deliver()
    assert [each.status for each in hooks.state().attempts] == [502]
    google.answers[PUBLISH] = taken
    hooks.index.clock.advance(seconds=5)
    hooks.deliver()
    assert [each.status for each in hooks.state().attempts] == [204, 502]


def test_the_relay_publishes_nothing_else(relay: Running, google: FakeIssuer) -> None:
    """A body that is not signed, or by another secret, of another body or long ago, is refused."""
    before = len(published(google))
    other = f"whsec_{b64encode(bytes([1] * 32)).decode()}"
    refused: tuple[dict[str, str], ...] = (
        {},
        signed(BODY, other),
        signed(BODY + b" "),
        signed(BODY, age=600),
        signed(BODY, age=-600),
        {**signed(BODY), "webhook-id": "msg_2"},
        {**signed(BODY), "webhook-signature": "v1"},
        {**signed(BODY), "webhook-signature": "v1,!"},
    )

    assert [relay.post(BODY, headers) for headers in refused] == [401] * len(refused)
    assert relay.post(b"\xff", signed(BODY)) == 401
    assert relay.post(b"x" * 5_000_001, {}) == 413
    assert len(published(google)) == before
    assert relay.post(BODY, signed(BODY)) == 204
    assert published(google)[-1]["attributes"] == {
        "webhook-id": "msg_1",
        "type": "project.released",
        "index": "main",
        "project": "demo",
        "release": "1.0",
    }
    assert SECRET not in relay.log.read_text()


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, 204),
        ({"aud": "https://other.acme.dev"}, 401),
        ({"aud": None}, 401),
        ({"iss": "https://accounts.acme.dev"}, 401),
        ({"exp": 1_700_000_000}, 401),
        ({"exp": None}, 401),
        ({"email": "other@acme.iam.gserviceaccount.com"}, 403),
        ({"email": None}, 401),
        ({"email_verified": False}, 403),
        ({"email_verified": "true"}, 403),
        ({"email_verified": None}, 403),
    ],
)
def test_who_may_push(endpoint: Running, changed: dict[str, object], status: int) -> None:
    """A push is taken by the issuer, audience, time and verified address of its token."""
    headers = {"Authorization": f"Bearer {KEY.token(claims(**changed))}"}

    assert endpoint.post(push_of(_message()), headers) == status


def test_what_signs_a_push(endpoint: Running) -> None:
    """A token has to be signed by a key of the issuer, by the algorithm of that key."""
    head = {"alg": "HS256", "kid": "google", "typ": "JWT"}
    wrong = (
        rsa_key("other").token(claims()),
        rsa_key("other").token(claims(), kid="google"),
        sealed(head, claims(), hmac_signature(KEY.pem())),
        sealed({**head, "alg": "none"}, claims(), lambda _: b""),
        "x",
    )
    headers = [{"Authorization": f"Bearer {token}"} for token in wrong]

    statuses = [endpoint.post(push_of(_message()), each) for each in (*headers, {})]

    assert statuses == [401] * len(statuses)


def test_what_is_no_message(endpoint: Running) -> None:
    """A body with a token that is no message of the relay is refused."""
    headers = {"Authorization": f"Bearer {KEY.token(claims())}"}
    bodies = (b"", b"[]", b"{}", push_of({"data": "!"}), push_of({**_message(), "attributes": {}}))

    assert [endpoint.post(body, headers) for body in bodies] == [400] * len(bodies)


def _message() -> dict[str, Any]:
    return {"data": b64encode(BODY).decode(), "attributes": {"webhook-id": "msg_1"}}


def test_the_build_is_one_that_cloud_build_takes(sandbox: Sandbox) -> None:
    """Each field of the build is one of Cloud Build's, and each substitution is declared."""
    build: dict[str, Any] = yaml.safe_load(BUILD.read_text())

    assert_valid(sandbox, "vendor.cloudbuild", BUILD)
    assert problems(sandbox, "cloudbuild.v1", "Build", build) == ""
    assert build["options"]["logging"] == "CLOUD_LOGGING_ONLY"
    used = {word[1:] for word in build["steps"][0]["args"] if word.startswith("$")}
    page = (REPOSITORY / "docs" / "webhook-recipes.md").read_text()
    bound = dict(re.findall(r"(_[A-Z]+)=\$\(body\.(\w+)\)", page))
    assert len(bound) == 4
    assert used | bound.keys() <= build["substitutions"].keys()
    assert set(bound.values()) <= set(ProjectMessage.__struct_fields__)


def test_the_step_of_the_build_exports(sandbox: Sandbox) -> None:
    """The step of the build exports what is new to a site."""
    step = yaml.safe_load(BUILD.read_text())["steps"][0]
    first = make_wheel()
    (sandbox.folder / first.filename).write_bytes(first.body)
    wheelyard(sandbox, "upload", "--store", "store", first.filename)
    wheelyard(sandbox, "export", "site", "--base-url", "http://127.0.0.1:8000", "--store", "store")
    another = make_wheel("other")
    (sandbox.folder / another.filename).write_bytes(another.body)
    wheelyard(sandbox, "upload", "--store", "store", another.filename)
    values = {"$_SITE": "site", "$_STORE": "store"}

    wheelyard(sandbox, *(values.get(word, word) for word in step["args"]))

    assert (sandbox.folder / "site" / "simple" / "other" / "index.html").is_file()
