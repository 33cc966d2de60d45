"""Requests of an older command, and what the server answered then, are what they are today."""

import json
import re
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.distributions import make_sdist, make_wheel
from tests.http.in_process import InProcessServer, in_process
from wheelyard.api.namespace_operations import NAMESPACES
from wheelyard.api.operation import ApiOperation
from wheelyard.api.table import OPERATIONS
from wheelyard.api.webhook_operations import WEBHOOK_ROWS, WEBHOOKS
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.model.access import EVERY_PROJECT, Action
from wheelyard.model.index_name import EVERY_INDEX

RECORDED: Final[list[tuple[int, Any]]] = json.loads(
    Path(__file__).with_name("recorded_answers.json").read_text()
)
"""Status and JSON of each answer, without secrets and the words of errors."""
GRANT = {"projects": ["d*"], "actions": ["read"]}
PUBLISHER = {
    "id": "bk",
    "provider": "buildkite",
    "organization": "acme",
    "pipeline": "release",
    "build_branch": "main",
    "projects": ["demo"],
}
REQUESTS: Final[tuple[tuple[str, str, object], ...]] = (
    ("GET", "projects", None),
    ("GET", "projects?changed-since=2020-01-01T00:00:00%2B00:00", None),
    ("GET", "projects/Demo", None),
    ("GET", "projects/nothing", None),
    ("POST", "projects/demo/yank", {"version": "1.0", "file": None, "dry_run": True}),
    ("POST", "projects/demo/yank", {"version": "1.0", "reason": "bad"}),
    ("POST", "projects/demo/yank", {"versions": "<1", "file": None, "reason": ""}),
    ("POST", "projects/demo/unyank", {"versions": ">=1", "file": "demo-1.0.tar.gz"}),
    ("POST", "projects/demo/delete", {"version": "2.0", "reason": "leaked"}),
    ("POST", "projects/demo/status", {"status": "deprecated", "reason": "old"}),
    ("POST", "projects/demo/status", {"status": "happy"}),
    ("GET", "projects/demo/journal", None),
    ("GET", "projects/demo/journal?after=5", None),
    ("GET", "client-projects?project=demo", None),
    ("POST", "projects/next/reserve", {"reason": "soon"}),
    ("POST", "projects/next/reserve", {}),
    ("GET", "names", None),
    ("POST", "projects/next/release", {"reason": ""}),
    ("POST", "projects/next/release", {"reason": ""}),
    ("GET", "whoami", None),
    ("POST", "tokens", {"name": "ci", "projects": ["demo"], "owner": None, "days": 3}),
    ("POST", "tokens", {"name": "a", "projects": ["x*"], "expires": "2026-03-01T00:00:00Z"}),
    ("POST", "tokens", {"name": "a", "projects": [], "owner": None}),
    ("POST", "tokens/rotate", {"token": "ci", "hours": 2.5}),
    ("GET", "tokens", None),
    ("DELETE", "tokens/0123456789", None),
    ("POST", "access/grant", {"who": ["user:a@b.dev"], "note": "n", **GRANT}),
    ("POST", "access/grant", {"who": [], **GRANT}),
    ("POST", "access/group", {"change": "set", "name": "team", "who": ["user:a@b.dev"]}),
    ("POST", "access/group", {"change": "fly", "name": "team"}),
    ("GET", "access", None),
    ("GET", "access/history?after=1", None),
    ("GET", "access/explain?who=user%3Aa%40b.dev&project=demo&action=read", None),
    ("GET", "access/explain?who=anonymous&project=demo&action=upload", None),
    ("POST", "access/revoke", {"id": "g0", "note": ""}),
    ("POST", "upstream/block", {"project": "requests", "version": "2.0", "reason": "broken"}),
    ("POST", "upstream/approve", {"project": "requests", "version": "3.0", "sha256": ["0" * 64]}),
    ("POST", "upstream/approve", {"project": "requests", "version": "", "reason": ""}),
    ("GET", "upstream/decisions", None),
    ("GET", "upstream/decisions/history?after=0", None),
    ("GET", "changes", None),
    ("GET", "changes?since=7", None),
    ("GET", "journal?limit=2", None),
    ("POST", "upstream/decide", {"verdict": "blocked", "packages": [{"project": "idna"}]}),
    ("GET", "usage", None),
    ("POST", "publishers/add", {"publisher": PUBLISHER, "note": "n"}),
    ("POST", "publishers/add", {"publisher": {"id": "x"}}),
    ("POST", "publishers/change", {"id": "bk", "publisher": {"build_tag": "v*"}}),
    ("GET", "publishers", None),
    ("POST", "publishers/remove", {"id": "bk", "note": "gone"}),
    ("GET", "publishers/history?after=1&limit=5", None),
    ("POST", "people/release-name", {"provider": "acme", "name": "ana@acme.dev"}),
    ("POST", "people/end", {"who": "user:a@b.dev", "note": "left"}),
    ("POST", "people/admit", {"who": "user:a@b.dev"}),
    ("GET", "people?limit=2", None),
    ("GET", "people/show?who=user%3Aa%40b.dev", None),
    ("GET", "people/groups", None),
    ("GET", "upstream/requests", None),
    ("POST", "upstream/request", {"project": "requests", "reason": ""}),
    ("GET", "projects/demo/downloads?days=2", None),
    ("POST", "tokens/self/revoke", None),
)


def answer(
    server: InProcessServer, token: str, method: str, path: str, body: object
) -> tuple[int, str]:
    """Return the status and the text of an answer, a second after the one before it."""
    server.clock.advance(seconds=1)
    headers = [("authorization", f"Bearer {token}")]
    sent = () if body is None else (json.dumps(body).encode(),)
    if body is not None:
        headers.append(("content-type", "application/json"))
    got = server.get(f"/api/v1/{path}", *headers, method=method, body=sent)
    return got.status, got.body.decode() or "null"


def row_of(method: str, path: str) -> ApiOperation:
    """Return the row of the table for a request."""
    fixed = [row for row in OPERATIONS if row.method == method and row.path == path]
    others = [
        row
        for row in OPERATIONS
        if row.method == method and re.fullmatch(re.sub("{.*?}", "[^/]+", row.path), path)
    ]
    return [*fixed, *others][0]


def _as_before(found: Any, recorded: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return an answer without the fields that were added since it was recorded."""
    if isinstance(found, dict) and isinstance(recorded, dict):
        return {
            name: _as_before(value, recorded[name])
            for name, value in found.items()
            if name in recorded
        }
    if isinstance(found, list) and isinstance(recorded, list) and len(found) == len(recorded):
        return [_as_before(*pair) for pair in zip(found, recorded, strict=True)]
    return found


def _without_sources(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return an answer without where things are from: it was the store or the settings."""
    if isinstance(value, dict):
        return {name: _without_sources(inner) for name, inner in value.items() if name != "source"}
    return [_without_sources(inner) for inner in value] if isinstance(value, list) else value


def no_thread(_: object) -> None:
    """Leave the table for searches as it is: what stores it takes random numbers of commits."""
    raise RuntimeError


def test_answers_are_as_they_were(tmp_path: Path) -> None:
    """Each recorded request has its status and JSON, perhaps with more fields; no digest."""
    with in_process(tmp_path) as server:
        server.publish(
            make_wheel("demo", "1.0", "Summary: a demo"),
            make_sdist("demo"),
            make_wheel("demo", "2.0"),
        )
        server.index.search.start = no_thread
        actions = Action.ADMIN.with_implied
        wanted = TokenRequest(
            name="admin", actions=actions, projects=(EVERY_PROJECT,), indexes=(EVERY_INDEX,)
        )
        token = server.index.tokens.create(wanted, by="local:ana")[0].text
        answers = [answer(server, token, *request) for request in REQUESTS]
        digests = [record.sha256 for record in server.index.tokens.all()]

    for request, (status, text), recorded in zip(REQUESTS, answers, RECORDED, strict=True):
        found = json.loads(re.sub(r"wyd_\w{48}", "wyd_", text))
        shown = found if status < 400 else {"error": found["error"]}
        before = _without_sources(recorded[1])
        assert (status, _as_before(_without_sources(shown), before)) == (recorded[0], before), (
            request
        )
    assert len(digests) == 4
    assert not [digest for digest in digests if digest in str(answers)]


def test_a_new_command_reads_them() -> None:
    """The answers of an older server have all that a command of today needs."""
    for (method, path, _), (status, body) in zip(REQUESTS, RECORDED, strict=True):
        if status < 400:
            msgspec.convert(body, row_of(method, path.partition("?")[0]).answer_type)


def test_every_operation_is_asked_for() -> None:
    """Each operation is recorded but those that ask upstreams, vary by machine or came later."""
    asked = [row_of(method, path.partition("?")[0]) for method, path, _ in REQUESTS]

    left = {row.path for row in OPERATIONS if row not in asked and "index" not in row.path}

    of_releases = ("delete-now", "restore", "pin", "unpin", "promote")
    later = {f"projects/{{name}}/{what}" for what in of_releases} | {"retention", "retention/run"}
    later |= {"tokens/change", "tables", "tables/apply", "projects/{name}/provenance"}
    later |= {row.path for row in (*NAMESPACES.rows, *WEBHOOKS.rows, *WEBHOOK_ROWS)}
    assert left == {"upstream/why", "upstream/refresh", "health", "settings", *later}
