"""Asking for hidden public packages by a reason, and what whoever decides sees of it."""

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.fake_time import START
from tests.http.in_process import InProcessResponse, InProcessServer
from tests.upstream.fake_pages import FakeFile, Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.upstream.reading import page_of
from tests.upstream.settings import front
from wheelyard.api import package_request_operations as requests
from wheelyard.api import public_package_operations as packages
from wheelyard.api.local_api import LocalApi
from wheelyard.api.package_request_operations import PackageAsk, WaitingRequest
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated, WheelyardError
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Pattern, Scope
from wheelyard.model.api_token import TokenOwner
from wheelyard.model.index_name import EVERY_INDEX, MAIN
from wheelyard.model.package_requests import MAX_ASKS_OF_ONE
from wheelyard.model.person import Person

ADMIN = Caller("local:ana", (Scope(Action.ADMIN.with_implied, (EVERY_PROJECT,), (EVERY_INDEX,)),))
READER = Caller("htpasswd:bo", (Scope(Action.READ, (EVERY_PROJECT,), (MAIN,)),))
APPROVER = Caller("htpasswd:cy", (Scope(Action.APPROVE, (Pattern("num*"),), (MAIN,)),))
NUMPY, REQUESTS = NormalizedName("numpy"), NormalizedName("requests")


@pytest.fixture
def server(tmp_path: Path, upstream: FakeUpstream) -> Iterator[InProcessServer]:
    """A server that hides what is newer than a week, or under the AGPL."""
    yesterday = START - timedelta(days=1)
    upstream.publish(
        FakeFile.of(public_wheel("requests", "1.0")),
        FakeFile.of(public_wheel("requests", "2.0"), yesterday),
        FakeFile.of(public_wheel("numpy", "1.0"), yesterday),
        FakeFile.of(public_wheel("numpy", "2.0rc1"), yesterday),
        FakeFile.of(public_wheel("copied", "1.0", "License: AGPL-3.0")),
    )
    settings: dict[str, Any] = {
        "cooldown_days": 7,
        "blocked_licenses": ("AGPL-*",),
        "deny": ("denied",),
        "shadow": ("numpy",),
    }
    with front(tmp_path, upstream, **settings) as running:
        running.publish(private_wheel("ours", "1.0"))
        yield running


def ask_for_package(
    server: InProcessServer,
    project: str,
    version: str = "",
    reason: str = "need it",
    *,
    caller: Caller = READER,
) -> str:
    """Ask for a package, as a reader if nobody else is named, and return for what."""
    api = LocalApi(index=server.index, caller=caller)
    asked = api.call(requests.request_package, PackageAsk(project, version, reason=reason))
    return f"{asked.project} {asked.version}".rstrip()


def waiting_requests(server: InProcessServer, caller: Caller = ADMIN) -> dict[str, WaitingRequest]:
    """Return what somebody sees that waits."""
    listed = LocalApi(index=server.index, caller=caller).call(requests.list_requests)
    return {request.target: request for request in listed.requests}


def test_a_reason_is_seen_at_once(server: InProcessServer) -> None:
    """What somebody asks for is in the list at once, with who asks and why, until it is decided."""
    assert ask_for_package(server, "requests", "2.0.0", "the bug of TICKET-1") == "requests 2.0"
    assert ask_for_package(server, "numpy") == "numpy 1.0"
    waiting = waiting_requests(server)
    assert [*waiting] == ["numpy 1.0", "requests 2.0"]
    request = waiting["requests 2.0"]
    assert [(one.by, one.reason) for one in request.asks] == [
        ("htpasswd:bo", "the bug of TICKET-1")
    ]
    assert (request.code, request.who, request.times) == ("cooldown", ("htpasswd:bo",), 1)
    assert request.until == START + timedelta(days=6)
    assert (request.approvable, request.despite) == (True, ())
    api = LocalApi(index=server.index, caller=ADMIN)
    api.call(packages.approve, packages.Approval("requests", "2.0", "fine"))
    api.call(packages.block, packages.Block("numpy", "1.0", "no"))
    assert waiting_requests(server) == {}
    # nobody has to wait for two weeks to say more
    server.clock.advance(seconds=1)
    assert ask_for_package(server, "numpy", "1.0", "there is no other") == "numpy 1.0"
    assert waiting_requests(server)["numpy 1.0"].code == "blocked"


def test_when_a_file_without_a_time_of_upload_is_shown(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    """A file that counts from when it was first seen is asked for until that cooldown ends."""
    upstream.publish(FakeFile.of(public_wheel("requests", "2.0")))
    upstream.behave("requests", Fault.NO_UPLOAD_TIME)
    with front(tmp_path, upstream, cooldown_days=7, cooldown_missing="first_seen") as server:
        assert ask_for_package(server, "requests", "2.0") == "requests 2.0"
        end = START + timedelta(days=7)
        assert waiting_requests(server)["requests 2.0"].until == end
        server.clock.advance(seconds=(end - server.clock.now).total_seconds())
        assert waiting_requests(server) == {}


def test_approvers_see_requests_for_their_names(server: InProcessServer) -> None:
    """Who may approve some names sees the requests for those, and who may not sees none."""
    ask_for_package(server, "requests", "2.0")
    ask_for_package(server, "numpy", "2.0rc1")
    assert [*waiting_requests(server, APPROVER)] == ["numpy 2.0rc1"]
    with pytest.raises(Forbidden, match="approve"):
        waiting_requests(server, READER)
    with pytest.raises(Unauthenticated):
        waiting_requests(server, Caller("anonymous", ()))


def test_a_name_that_became_private_is_gone(server: InProcessServer) -> None:
    """Nobody has to decide about a name that is private now."""
    ask_for_package(server, "numpy", "1.0")
    server.publish(private_wheel("numpy", "9.0"))
    assert waiting_requests(server) == {}


def test_what_an_approval_has_to_lift(server: InProcessServer) -> None:
    """A request says which rule an approval has to lift, and if none does."""
    assert page_of(server, "copied").files != {}
    assert ask_for_package(server, "copied", "1.0") == "copied 1.0"
    waiting = waiting_requests(server)
    assert (waiting["copied 1.0"].approvable, waiting["copied 1.0"].despite) == (True, ("licence",))
    assert ask_for_package(server, "denied") == "denied"
    assert not waiting_requests(server)["denied"].approvable


@pytest.mark.parametrize(
    ("wanted", "error", "words"),
    [
        (("requests", "1.0"), Conflict, "not hidden here: install it"),
        (("requests", ""), Conflict, "Some versions of requests are shown. Name the one"),
        (("requests", "7.0"), NotFound, "no file of requests 7.0"),
        (("nothing", ""), NotFound, "No upstream index has it"),
        (("ours", ""), Conflict, "is private"),
        (("numpy", "1.0", " "), Invalid, "Say why you need it"),
        (("numpy", "1.0", "a\nb"), Invalid, "one line"),
        (("numpy", "1.0", "x" * 2000), Invalid, "Use at most 1024"),
        (("numpy", "one"), Invalid, "version"),
        (("-", ""), Invalid, "not a project name"),
    ],
)
def test_what_nobody_has_to_ask_for(
    server: InProcessServer, wanted: tuple[str, ...], error: type[WheelyardError], words: str
) -> None:
    """What is shown, private, unknown or malformed is refused, and nothing is stored."""
    with pytest.raises(error, match=words):
        ask_for_package(server, *wanted)
    assert server.index.server.package_requests.get().requests == ()


def test_one_person_asks_for_a_limited_number(
    server: InProcessServer, upstream: FakeUpstream
) -> None:
    """Who has asked for many packages has to wait, and others need not."""
    versions = [f"{number}.0" for number in range(MAX_ASKS_OF_ONE + 1)]
    files = (public_wheel("many", version) for version in versions)
    upstream.publish(*(FakeFile.of(file, START - timedelta(days=1)) for file in files))
    for version in versions[:-1]:
        ask_for_package(server, "many", version)
    with pytest.raises(Conflict, match="You have asked for 50") as refused:
        ask_for_package(server, "many", versions[-1])
    assert refused.value.code == "request_limit"
    api = LocalApi(index=server.index, caller=ADMIN)
    api.call(requests.request_package, PackageAsk("many", versions[-1], reason="mine"))
    assert len(waiting_requests(server)) == len(versions)
    # what is decided makes room
    server.clock.advance(seconds=1)
    api.call(packages.block, packages.Block("many", versions[0], "no"))
    assert ask_for_package(server, "many", versions[-1]) == f"many {versions[-1]}"


def test_another_name_is_no_other_limit(server: InProcessServer, upstream: FakeUpstream) -> None:
    """Of a person who has another name now, or sends a token, all reasons count."""
    person = Person(provider="acme", subject="1", name="ana@acme.dev", confirmed_at=START)
    renamed = replace(person, name="ana.maria@acme.dev")
    before, after = (
        replace(READER, principal=named.principal, principals=named.principals)
        for named in (person, renamed)
    )
    names = {"owner": person.principal, "owner_names": person.principals}
    token = replace(READER, principal="token:of-ana", principals=frozenset(), **names)
    versions = [f"{number}.0" for number in range(MAX_ASKS_OF_ONE + 1)]
    files = (public_wheel("many", version) for version in versions)
    upstream.publish(*(FakeFile.of(file, START - timedelta(days=1)) for file in files))
    for number, version in enumerate(versions[:-1]):
        ask_for_package(server, "many", version, caller=before if number % 2 else token)
    for caller in (before, after, token):
        with pytest.raises(Conflict, match="You have asked for 50"):
            ask_for_package(server, "many", versions[-1], caller=caller)
    # somebody who gets the name later
    other = replace(person, subject="2")
    heir = replace(READER, principal=other.principal, principals=other.principals)
    assert ask_for_package(server, "many", versions[-1], caller=heir)


def test_programs_ask_by_the_api(server: InProcessServer, caplog: pytest.LogCaptureFixture) -> None:
    """A program asks for a person whose token it has, and nobody asks without a credential."""
    caplog.set_level(logging.INFO, "wheelyard.audit")
    owner = TokenOwner("user:bo@acme.dev", frozenset({"user:bo@acme.dev"}))
    wanted = TokenRequest(name="of-bo", owner=owner, actions=Action.READ)
    token = server.index.tokens.create(wanted, by="user:bo@acme.dev")[0].text
    body = json.dumps({"project": "numpy", "reason": "need it"}).encode()
    kind = ("content-type", "application/json")

    def post(*headers: tuple[str, str]) -> InProcessResponse:
        return server.get("/api/v1/upstream/request", kind, *headers, method="POST", body=(body,))

    assert post().status == 401
    answer = post(("authorization", f"Bearer {token}"))
    assert (answer.status, json.loads(answer.body)["version"]) == (201, "1.0")
    assert waiting_requests(server)["numpy 1.0"].who == ("user:bo@acme.dev",)
    assert "package requested by user:bo@acme.dev: numpy 1.0, reason need it" in caplog.text
