"""A private name that a caller may not read is answered as one that no upstream index has."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fake_time import Clock
from tests.http.in_process import InProcessResponse, InProcessServer
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.upstream.settings import front
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.http.upstream_reader import UNKNOWN_NAMES_PER_MINUTE
from wheelyard.http_client.hosts import FAILURES
from wheelyard.model.access import EVERY_PROJECT, Action, Pattern
from wheelyard.settings.sections import AccessSettings
from wheelyard.storage.memory import MemoryStore

pytestmark = pytest.mark.integration

PRIVATE, ABSENT = "secret-plan", "nothing-now"  # of one length, as headers tell it
NAMES = PRIVATE, ABSENT
DIGEST = "0" * 64
VARYING = frozenset({"x-request-id", "etag", "server-timing"})
"""Headers that differ for each request, or follow from the body, which is compared."""
CSRF_TOKEN = re.compile(r'(?<=name="csrf_token" value=")[^"]+')
JSON = ("accept", "application/vnd.pypi.simple.v1+json")
PAGE = ("accept", "text/html")
RIGHTS = {
    "reader": (Action.READ, Pattern("own-project")),
    "uploader": (Action.READ | Action.UPLOAD, Pattern("own-project")),
    "approver": (Action.APPROVE, EVERY_PROJECT),
}
STATES: dict[str, dict[str, Any]] = {
    "open": {},
    "allowlist": {"allow": ("requests",)},
    "deny": {"deny": NAMES},
    "approval": {"approval": True},
    "cooldown": {"cooldown_days": 7},
    "offline": {"offline": True},
    "paused": {},
    "down": {},
    "blocked": {},
    "allowed": {},
}
UPLOADED = ("open", "approval", "down")
"""The states that an uploader meets each time, and the others once a week."""
FILE = "{file}-1.0-py3-none-any.whl"
PATHS = (
    "/simple/{name}/",
    "/simple/{name}",
    "/simple/{upper}/",
    "/pypi/{name}/json",
    "/pypi/{name}/1.0/json",
    "/project/{name}/",
    "/project/{name}/1.0/",
    "/project/{name}/1.0/requirements.txt",
    "/project/{name}/releases/",
    "/project/{name}/files/",
    "/project/{name}/dependencies/",
    "/project/{name}/history/",
    "/project/{name}/manage/",
    "/project/{name}/access/",
    "/project/{name}/feed.xml",
    f"/files/{{name}}/{DIGEST}/{FILE}",
    f"/files/{{name}}/{DIGEST}/{FILE}.metadata",
    f"/files/{{name}}/{FILE}",
    f"/files/{FILE}",
    f"/packages/{{name}}/{DIGEST}/{FILE}",
    "/?q={name}",
    "/search.json?q={name}",
    "/-/request/?project={name}",
    "/api/v1/projects/{name}",
    "/api/v1/projects/{name}/journal",
    "/api/v1/client-projects?project={name}",
    "/api/v1/upstream/why?project={name}",
    "/api/v1/upstream/why?project={name}&version=1.0",
)
LISTS = (
    "/simple/",
    "/search.json",
    "/-/projects/1/",
    "/-/admin/requests/",
    "/api/v1/projects",
    "/api/v1/upstream/requests",
    "/api/v1/upstream/decisions",
    "/api/v1/upstream/decisions/history",
)
Fields = dict[str, object]
POSTED: dict[str, Callable[[str], Fields]] = {
    "refresh": lambda name: {"project": name},
    "request": lambda name: {"project": name, "reason": "why not"},
    "block": lambda name: {"project": name, "version": "1.0"},
    "approve": lambda name: {"project": name, "version": "1.0", "sha256": [DIGEST]},
}
DECIDED: dict[str, Callable[[str], Fields]] = {
    "approve": lambda name: {"project": name},
    "block": lambda name: {"project": name, "reason": "no"},
    "decide": lambda name: {"verdict": "approved", "packages": [{"project": name}]},
}


@contextmanager
def server_in(state: str, folder: Path, upstream: FakeUpstream) -> Iterator[InProcessServer]:
    """Run a server in a state, whose store has a private project."""
    store, access = MemoryStore(Clock().seconds), AccessSettings(private=True)
    upstream.publish(public_wheel("requests", "1.0"))
    folders = [folder / "before", folder / "now"]
    for each in folders:
        each.mkdir()
    with front(folders[0], upstream, store=store, access=access) as before:
        before.publish(private_wheel("secret_plan", "1.0"))
    with front(folders[1], upstream, store=store, access=access, **STATES[state]) as server:
        login = bearer(server, "approver")
        if state == "paused":
            upstream.behave("requests", 429, Retry_After="200")
            assert server.get("/simple/requests/", login).status == 503
        if state == "down":
            upstream.stop()
            for number in range(FAILURES):
                assert server.get(f"/simple/other-{number}/", login).status == 503
        for name in NAMES:
            if state == "blocked":
                assert post(server, login, "block", {"project": name}).status == 200
            if state == "allowed":
                fields = POSTED["approve"](name)
                assert post(server, login, "approve", fields).status == 200
        yield server


def bearer(server: InProcessServer, who: str) -> tuple[str, str]:
    """Return the header of a new token."""
    actions, project = RIGHTS[who]
    request = TokenRequest(name=who, actions=actions, projects=(project,))
    return "authorization", f"Bearer {server.index.tokens.create(request, 'local:test')[0].text}"


def post(
    server: InProcessServer, login: tuple[str, str], what: str, fields: Fields
) -> InProcessResponse:
    """Send an operation about public packages."""
    kind = ("content-type", "application/json")
    path, body = f"/api/v1/upstream/{what}", json.dumps(fields).encode()
    return server.get(path, login, kind, method="POST", body=[body])


def neutral_answer(answer: InProcessResponse, name: str) -> tuple[int, str, str]:
    """Return what a caller sees of an answer, without the name."""
    headers = sorted(pair for pair in answer.headers.items() if pair[0] not in VARYING)
    return answer.status, neutral(str(headers), name), neutral(answer.body.decode(), name)


def neutral(text: str, name: str) -> str:
    """Return a text in which the name of a project is another word, in each spelling."""
    for spelling in (name, name.replace("-", "_"), name.upper()):
        text = text.replace(spelling, "NAME")
    return CSRF_TOKEN.sub("TOKEN", text)


def answers_of(server: InProcessServer, login: tuple[str, str], name: str) -> dict[str, object]:
    """Return what a caller is answered about a name, one request after another."""
    answers = dict[str, object]()
    spellings = {"name": name, "upper": name.upper(), "file": name.replace("-", "_")}

    def look(when: str) -> None:
        for path in PATHS:
            for accept in (JSON, PAGE):
                answer = server.get(path.format(**spellings), login, accept)
                answers[f"{when} {path} {accept[1]}"] = neutral_answer(answer, name)

    look("at first")
    for what, fields in POSTED.items():
        answers[f"first {what}"] = neutral_answer(post(server, login, what, fields(name)), name)
    look("after some")
    for what, fields in DECIDED.items():
        answer = post(server, login, what, fields(name))
        answers[f"then {what}"] = neutral_answer(answer, name)
        if answer.status == 200:
            look(f"after {what}")
    look("at last")
    return answers


def lists_with(server: InProcessServer, login: tuple[str, str], name: str) -> dict[str, object]:
    """Return which lists that a caller gets have a name."""
    bodies = {path: server.get(path, login, JSON).body.decode() for path in LISTS}
    return {f"listed at {path}": name in body for path, body in bodies.items()}


@pytest.mark.parametrize(
    ("state", "who"),
    [
        # for pages, an uploader is a reader; what they may request is another state
        pytest.param(
            state,
            who,
            marks=[pytest.mark.weekly] if who == "uploader" and state not in UPLOADED else [],
        )
        for state in STATES
        for who in RIGHTS
    ],
)
def test_private_is_as_absent(tmp_path: Path, upstream: FakeUpstream, state: str, who: str) -> None:
    """Whatever a caller asks who may not read a private name, nothing tells that it is private."""
    with server_in(state, tmp_path, upstream) as server:
        login = bearer(server, who)
        private, absent = (answers_of(server, login, name) for name in NAMES)
        server.clock.advance(seconds=30)  # for the lists
        private |= lists_with(server, login, PRIVATE)
        absent |= lists_with(server, login, ABSENT)

    different = {what for what, answer in absent.items() if private[what] != answer}
    assert {what: (private[what], absent[what]) for what in sorted(different)} == {}
    assert len(upstream.asked(PRIVATE)) == 1  # before its first upload


def test_private_names_count_as_guesses(tmp_path: Path, upstream: FakeUpstream) -> None:
    """Who asks for many private names is limited as one who asks for names that nobody has."""
    with server_in("open", tmp_path, upstream) as server:
        login = bearer(server, "reader")
        for number in range(UNKNOWN_NAMES_PER_MINUTE):
            assert server.get(f"/simple/team-{number}/", login, JSON).status == 404
        private, absent = (server.get(f"/simple/{name}/", login, JSON) for name in NAMES)
        again = server.get("/simple/team-0/", login, JSON)

    assert neutral_answer(private, PRIVATE) == neutral_answer(absent, ABSENT)
    assert (private.status, again.status) == (429, 404)
