"""No operation on public packages tells whether a name is private that the caller may not read."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.http.in_process import InProcessServer, in_process
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.upstream.settings import front
from tests.upstream.test_hidden_in_all_states import NAMES, bearer, neutral, post, server_in
from wheelyard.api import package_request_operations as requests
from wheelyard.api import public_package_operations as packages
from wheelyard.api import why_operations
from wheelyard.api.local_api import LocalApi
from wheelyard.errors import Conflict, Forbidden, NotFound, WheelyardError
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Pattern, Scope
from wheelyard.model.index_name import EVERY_INDEX, MAIN
from wheelyard.model.public_packages import Verdict
from wheelyard.settings.sections import AccessSettings

PRIVATE, UNKNOWN = "secret-plan", "nothing-here"
DIGEST = "0" * 64
UPLOADER = Caller("htpasswd:bo", (Scope(Action.UPLOAD.with_implied, (Pattern("own-*"),), (MAIN,)),))
APPROVER = Caller(
    "htpasswd:di",
    (
        Scope(Action.APPROVE, (EVERY_PROJECT,), (MAIN,)),
        Scope(Action.UPLOAD, (Pattern("own-*"),), (MAIN,)),
    ),
)
ADMIN = Caller(
    "htpasswd:ana", (Scope(Action.ADMIN.with_implied, (EVERY_PROJECT,), (EVERY_INDEX,)),)
)


def _several(verdict: Verdict, name: str, *, dry_run: bool = False) -> packages.SeveralDecisions:
    """Return several decisions about one name: the project, a version, and files of another."""
    wanted = [packages.DecidedPackage(name), packages.DecidedPackage(name, "1.0")]
    if verdict is Verdict.APPROVED:
        wanted.append(packages.DecidedPackage(name, "2.0", sha256=(DIGEST,)))
    return packages.SeveralDecisions(verdict=verdict, packages=tuple(wanted), dry_run=dry_run)


Attempt = Callable[[LocalApi, str], object]
ATTEMPTS: dict[str, Attempt] = {
    "refresh": lambda api, name: api.call(packages.refresh, packages.Refresh(name)),
    "why": lambda api, name: api.call(
        why_operations.explain_project, why_operations.WhyQuestion(name)
    ),
    "request": lambda api, name: api.call(
        requests.request_package, requests.PackageAsk(name, reason="why not")
    ),
    "approve": lambda api, name: api.call(packages.approve, packages.Approval(name, "1.0")),
    "approve all": lambda api, name: api.call(packages.approve, packages.Approval(name)),
    "approve files": lambda api, name: api.call(
        packages.approve, packages.Approval(name, "1.0", sha256=(DIGEST,))
    ),
    "block": lambda api, name: api.call(packages.block, packages.Block(name, "1.0", "no")),
    "approve several": lambda api, name: api.call(
        packages.decide, _several(Verdict.APPROVED, name)
    ),
    "block several": lambda api, name: api.call(packages.decide, _several(Verdict.BLOCKED, name)),
    "dry run": lambda api, name: api.call(
        packages.decide, _several(Verdict.APPROVED, name, dry_run=True)
    ),
}


@pytest.fixture
def server(upstream: FakeUpstream, tmp_path: Path) -> Iterator[InProcessServer]:
    """A server with a private project, before an upstream with a public one."""
    upstream.publish(public_wheel("requests", "1.0"))
    with front(tmp_path, upstream, access=AccessSettings(private=True)) as server:
        server.publish(private_wheel("secret_plan", "1.0"))
        yield server


def outcome(server: InProcessServer, caller: Caller, attempt: Attempt, name: str) -> str:
    """Return what a caller is answered, without the name."""
    try:
        answer = str(attempt(LocalApi(index=server.index, caller=caller), name))
    except WheelyardError as error:
        answer = f"{type(error).__name__} {error.code}: {error.message}"
    return answer.replace(name, "NAME")


@pytest.mark.parametrize("what", ATTEMPTS)
@pytest.mark.parametrize("caller", [UPLOADER, APPROVER], ids=["uploader", "approver"])
def test_private_is_answered_as_unknown(
    server: InProcessServer, upstream: FakeUpstream, caller: Caller, what: str
) -> None:
    """Who may not read a private name gets the answer for a name that nobody has."""
    private, unknown = (
        outcome(server, caller, ATTEMPTS[what], name) for name in (PRIVATE, UNKNOWN)
    )
    assert private == unknown
    assert len(upstream.asked(PRIVATE)) == 1  # before its first upload


@pytest.mark.parametrize("name", [PRIVATE, UNKNOWN])
def test_who_asks_for_a_name_is_told_that_the_credential_may_be_wrong(
    server: InProcessServer, name: str
) -> None:
    """Who may not read a name, and asks for it, hears that there may be such a project here."""
    answer = outcome(server, UPLOADER, ATTEMPTS["request"], name)

    assert answer.startswith("NotFound not_found: There is no project 'NAME' here, or your cred")


@pytest.mark.parametrize("state", ["offline", "paused", "down"])
def test_private_is_as_absent_while_no_index_answers(
    tmp_path: Path, upstream: FakeUpstream, state: str
) -> None:
    """While no name is known to be absent, none is for being private: page and refresh fail."""
    with server_in(state, tmp_path, upstream) as server:
        login = bearer(server, "uploader")
        answers = list[list[tuple[int, str]]]()
        for name in NAMES:
            found = (
                server.get(f"/simple/{name}/", login),
                server.get(f"/simple/{name}/", login, ("cache-control", "no-cache")),
                post(server, login, "refresh", {"project": name}),
            )
            answers.append([(each.status, neutral(each.body.decode(), name)) for each in found])

    private, absent = answers
    assert private == absent
    assert [status for status, _ in private] == [503, 503, 503]


def test_readers_are_told(server: InProcessServer) -> None:
    """Who may read a private name is told that it is private, and decides nothing about it."""
    api = LocalApi(index=server.index, caller=ADMIN)
    with pytest.raises(Forbidden, match="is a private name"):
        api.call(packages.refresh, packages.Refresh(PRIVATE))
    with pytest.raises(Conflict, match="is private here"):
        api.call(packages.approve, packages.Approval(PRIVATE))
    with pytest.raises(Conflict, match="is private here"):
        api.call(packages.block, packages.Block(PRIVATE))
    assert api.call(packages.decide, _several(Verdict.BLOCKED, PRIVATE)).private == (PRIVATE,)
    assert api.call(packages.refresh, packages.Refresh(UNKNOWN)).upstream == ""


def test_public_packages_are_refreshed_for_others(server: InProcessServer) -> None:
    """Who may upload some names refreshes what the upstream has, whatever its name."""
    api = LocalApi(index=server.index, caller=UPLOADER)
    assert api.call(packages.refresh, packages.Refresh("requests")).files == 1
    with pytest.raises(NotFound, match="There is no project"):
        api.call(packages.refresh, packages.Refresh(UNKNOWN))


@pytest.mark.parametrize("what", ["refresh", "request"])
def test_without_an_upstream_index_nothing_is_asked_for(tmp_path: Path, what: str) -> None:
    """Where no upstream index is set, questions about public packages say what to set."""
    with in_process(tmp_path) as server:
        api = LocalApi(index=server.index, caller=ADMIN)
        with pytest.raises(NotFound, match=r"no upstream index\. Set \[upstream\] url, and"):
            ATTEMPTS[what](api, UNKNOWN)
