"""
The decision matrix: route, principal, visibility and spelling, each cell by itself.

`status_of` is the table of the reference, section 7, as the design and the wire contract amend it:
a 405 and a 403 for an upload come before its body is read, and on a fully private index every path
is 401 to anonymous callers. Behind IAP, assertions are accepted by the web UI only.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from urllib.parse import urlencode

import pytest

from tests.access.access_fixture import (
    EXISTING,
    KINDS,
    MANAGERS,
    MISSING,
    OTHER,
    READERS,
    UPLOADERS,
    AccessHarness,
    RecordedResponse,
    digest,
    open_harness,
    put_behind_the_proxy,
)
from tests.access.principals import (
    ADMIN,
    ANONYMOUS,
    APPROVER,
    INVALID,
    OTHER_PUBLISHER,
    PROXIED,
    PUBLISHER,
    REQUESTERS,
    STRANGER,
    Headers,
    Requester,
)
from tests.distributions import make_wheel
from tests.examples.every_example import EXAMPLES
from wheelyard.api.operation import RequiredRight

pytestmark = pytest.mark.integration

V1 = ("accept", "application/vnd.pypi.simple.v1+json")
JSON = ("content-type", "application/json")
NUMBERS = count(1)
CONDITIONS: tuple[Headers, ...] = (
    (("if-none-match", "*"),),
    (("range", "bytes=0-9"),),
    (("accept", "text/html"),),
    (V1, ("accept-encoding", "gzip")),
)
"""What a request may ask for besides."""
METHODS = ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
"""What no page takes."""
CHANGED = "/api/v1/projects?changed-since=1970-01-01T00:00:00Z"
ALLOWED = {
    RequiredRight.ADMIN: {ADMIN},
    RequiredRight.OWN_ADMIN: {ADMIN},
    RequiredRight.APPROVER: {ADMIN, APPROVER},
}
"""The roles that have a right which is about no project."""
WRONG_BODY = b'{"no": 1}'
"""A body that changes nothing, as its field is unknown. The right is looked at before."""
WRITERS = {UPLOADERS, MANAGERS, ADMIN, PUBLISHER}


@dataclass(frozen=True)
class RouteCase:
    """One way to ask about a project: a path, and what it is answered with if one may read."""

    path: str
    found: int = 200
    """The status if the project is there."""
    missing: int = 404
    """The status if it is not."""
    depends_on_name: bool = True
    """Whether the decision is about the name at all."""


def reads(harness: AccessHarness, name: str) -> dict[str, RouteCase]:
    """Return every route that shows something of a project, in every spelling of its URL."""
    package = harness.packages[name]
    sha, file = digest(package), package.filename
    odd = name.replace("-", "_").title()
    day = f"as-of-{harness.day}"
    escaped = f"%{ord(name[0]):x}{name[1:]}"
    return {
        "page": RouteCase(f"/simple/{name}/"),
        "page, query": RouteCase(f"/simple/{name}/?format=application/vnd.pypi.simple.v1%2Bjson"),
        "page, slashes": RouteCase(f"//simple///{name}//"),
        "page, escaped": RouteCase(f"/simple/{escaped}/"),
        "page, other spelling": RouteCase(f"/simple/{odd}/", 301, 301),
        "page, +simple": RouteCase(f"/+simple/{name}/"),
        "page, of Hatch": RouteCase(f"/legacy/%2Bsimple/{name}/"),
        "page, pypi": RouteCase(f"/pypi/{name}/"),
        "page, pypi/simple": RouteCase(f"/pypi/simple/{name}/"),
        "page, own root": RouteCase(f"/acme/{name}/"),
        "page, root": RouteCase(f"/{name}/", *((301, 301) if harness.prefix else (200, 404))),
        "page of a day": RouteCase(f"/{day}/simple/{name}/"),
        "page of a day, other spelling": RouteCase(f"/{day}/simple/{odd}/", 301, 301),
        "page for people of a day": RouteCase(f"/{day}/project/{name}/"),
        "file of a day": RouteCase(f"/{day}/files/{name}/{sha}/{file}"),
        "file": RouteCase(f"/files/{name}/{sha}/{file}"),
        "file, below a root": RouteCase(f"/simple/files/{name}/{sha}/{file}"),
        "file, slashes": RouteCase(f"//files//{name}//{sha}/{file}"),
        "file, escaped": RouteCase(f"/files/{escaped}/{sha}/{file}"),
        "file, other spelling": RouteCase(f"/files/{odd}/{sha}/{file}", 404),
        "file, slash behind": RouteCase(f"/files/{name}/{sha}/{file}/", 404, depends_on_name=False),
        "file, another digest": RouteCase(f"/files/{name}/{'0' * 64}/{file}", 404),
        "file by name": RouteCase(f"/files/{name}/{file}"),
        "file by name, other spelling": RouteCase(f"/files/{odd}/{file}"),
        "file that is none": RouteCase(f"/files/{name}/{name}.txt", 404),
        "file of old": RouteCase(f"/packages/ab/cd/{file}"),
        "metadata": RouteCase(f"/files/{name}/{sha}/{file}.metadata"),
        "metadata by name": RouteCase(f"/files/{name}/{file}.metadata"),
        "metadata of old": RouteCase(f"/packages/{file}.metadata"),
        "JSON": RouteCase(f"/pypi/{name}/json"),
        "JSON, slash": RouteCase(f"/pypi/{name}/json/"),
        "JSON, other spelling": RouteCase(f"/pypi/{odd}/json"),
        "JSON of a release": RouteCase(f"/pypi/{name}/1.0/json"),
        "JSON of no release": RouteCase(f"/pypi/{name}/7.0/json", 404),
        "JSON of no version": RouteCase(f"/pypi/{name}/not-a-version/json", 404),
        "API": RouteCase(f"/api/v1/projects/{name}"),
        "API, other spelling": RouteCase(f"/api/v1/projects/{odd}"),
        "journal": RouteCase(f"/api/v1/projects/{name}/journal"),
        "journal, later": RouteCase(f"/api/v1/projects/{name}/journal?after=1"),
        "downloads": RouteCase(f"/api/v1/projects/{name}/downloads?days=7"),
        "provenance": RouteCase(f"/integrity/{name}/1.0/{file}/provenance", 404),
        "provenance, API": RouteCase(f"/api/v1/projects/{name}/provenance?filename={file}", 404),
        "client projects": RouteCase(f"/api/v1/client-projects?project={name}"),
        "client projects, other spelling": RouteCase(f"/api/v1/client-projects?project={odd}"),
        "page for people": RouteCase(f"/project/{name}/"),
        "page for people, other spelling": RouteCase(f"/project/{odd}/", 301, 301),
        "release for people": RouteCase(f"/project/{name}/1.0/"),
        "files for people": RouteCase(f"/project/{name}/files/"),
        "files for people, older link": RouteCase(f"/project/{name}/1.0/files/cp312/", 301, 301),
        "releases for people": RouteCase(f"/project/{name}/releases/"),
        "compared releases": RouteCase(f"/project/{name}/compare/"),
        "dependencies for people": RouteCase(f"/project/{name}/dependencies/"),
        "downloads for people": RouteCase(f"/project/{name}/downloads/"),
        "downloads for people, other spelling": RouteCase(f"/project/{odd}/downloads/", 301, 301),
        "requirement with hashes": RouteCase(f"/project/{name}/1.0/requirements.txt"),
        "release for people, other spelling": RouteCase(f"/project/{odd}/v1/", 301),
        "release for people that is none": RouteCase(f"/project/{name}/7.0/", 404),
        "feed": RouteCase(f"/project/{name}/feed.xml"),
        "feed, other spelling": RouteCase(f"/project/{odd}/feed.xml", 301, 301),
        "history": RouteCase(f"/project/{name}/history/"),
        "history, other spelling": RouteCase(f"/project/{odd}/history/", 301, 301),
        "why": RouteCase(f"/api/v1/upstream/why?project={name}"),
        "history, older": RouteCase(f"/project/{name}/history/1/", 404),
    }


def may_read(role: str, name: str, *, is_open: bool) -> bool:
    """Return whether a requester may read a project."""
    is_public = is_open and name.startswith("open") and role != INVALID
    return is_public or role in {READERS, *WRITERS}


def status_of(role: str, name: str, route: RouteCase, *, is_open: bool) -> int:
    """Return the expected status of a request about a project."""
    kind, exists = name.partition("-")[0], name in EXISTING
    if role == INVALID:
        return 401
    if not route.depends_on_name:
        return 401 if role == ANONYMOUS and not is_open else 404
    if may_read(role, name, is_open=is_open):
        return route.found if exists else route.missing
    if role == ANONYMOUS:
        return 401
    return 403 if kind == "secret" else 404


INDEXES = ("partly open", "closed", "below a prefix")
PREFIXES = {"below a prefix": "/python"}


@pytest.fixture(scope="module")
def harnesses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, AccessHarness]]:
    """Three indexes: with public projects, fully private, and below a path prefix."""
    others: list[dict[str, object]] = [{"name": "lab"}, {"name": "vault"}]
    with ExitStack() as stack:
        yield {
            index: stack.enter_context(
                open_harness(
                    tmp_path_factory.mktemp("place"),
                    is_open=index != "closed",
                    server={"roots": ["acme"], "path_prefix": PREFIXES.get(index, "")},
                    indexes=others,
                )
            )
            for index in INDEXES
        }


@pytest.fixture(params=INDEXES)
def harness(request: pytest.FixtureRequest, harnesses: dict[str, AccessHarness]) -> AccessHarness:
    """One of the three indexes."""
    return harnesses[request.param]


def is_open(harness: AccessHarness) -> bool:
    """Return whether anybody may read anything here."""
    return bool(harness.index.authenticator.policy.public())


def is_unknown(person: Requester, harness: AccessHarness) -> bool:
    """Return whether a requester is answered 401 on every path."""
    return person.role == INVALID or (person.role == ANONYMOUS and not is_open(harness))


def is_first(person: Requester) -> bool:
    """Return whether nobody of the same role comes before a requester."""
    return person is next(requester for requester in REQUESTERS if requester.role == person.role)


def params() -> Iterator[object]:
    """
    Yield everybody, with each index that they ask.

    Who somebody is does not depend on the index: in the others, one of each role asks each time.
    """
    for index in INDEXES:
        for person in REQUESTERS:
            is_daily = index == INDEXES[0] or is_first(person)
            marks = [] if is_daily else [pytest.mark.weekly]
            yield pytest.param(index, person, id=f"{index}-{person}", marks=marks)


BY_EVERYBODY = pytest.mark.parametrize(("harness", "person"), [*params()], indirect=["harness"])


@BY_EVERYBODY
def test_reads_have_the_status_of_the_matrix(harness: AccessHarness, person: Requester) -> None:
    """
    Every read of a project by everybody has the status of the matrix, HEAD as GET.

    A project that one may not read and one that does not exist: the same to the last byte.
    """
    headers, wrong, denied = person.headers(harness), list[str](), 0
    number = REQUESTERS.index(person)
    is_whole = is_open(harness) and not harness.prefix
    asks_head = is_whole and is_first(person)
    # one condition after the other, and all of them where each kind of answer is met first
    is_thorough = asks_head and person.role in {ANONYMOUS, STRANGER, MANAGERS}
    # another credential of a role asks there about one kind of project after the other
    step = len(KINDS) if is_whole and not is_first(person) else 1
    for kind, (there, not_there) in enumerate(zip(EXISTING, MISSING, strict=True)):
        is_denied = not may_read(person.role, there, is_open=is_open(harness))
        missing_routes = reads(harness, not_there)
        routes = [*enumerate(reads(harness, there).items(), number)]
        for turn, (title, route) in routes[(number + kind) % step :: step]:
            pair = ((there, route), (not_there, missing_routes[title]))
            answers = [harness.request("GET", case.path, headers) for _, case in pair]
            for (name, case), answer in zip(pair, answers, strict=True):
                expected = status_of(person.role, name, case, is_open=is_open(harness))
                wrong += _differences(f"{title} of {name}", answer, expected)
                if asks_head:
                    head = harness.request("HEAD", case.path, headers)
                    if comparable_parts(head) != (answer.status, b"", comparable_parts(answer)[2]):
                        wrong.append(f"HEAD of {title} of {name}: {head}, not {answer}")
            if not is_denied:
                continue
            wrong += _tells(f"{title} of {there}", (there, not_there), answers)
            for more in CONDITIONS if is_thorough else CONDITIONS[(turn + kind) % 4 :][:1]:
                answers = [harness.request("GET", case.path, (*headers, *more)) for _, case in pair]
                wrong += _tells(f"{title} of {there}, {more}", (there, not_there), answers)
            denied += 1
    assert wrong == []
    assert denied or person.role in {READERS, *WRITERS}


def test_refusal_of_a_cached_page_reads_nothing(harness: AccessHarness) -> None:
    """A refused request for a cached page reads nothing from the store."""
    reader = next(requester for requester in REQUESTERS if requester.role == READERS).headers(
        harness
    )
    assert harness.request("GET", "/simple/shut-lib/", reader).status == 200
    assert harness.request("GET", "/simple/shut-lib/").store_keys == ()


def test_redirect_to_what_is_not_for_me(harness: AccessHarness) -> None:
    """A URL without its slash is refused, not redirected, if the caller may not read there."""
    stranger = next(requester for requester in REQUESTERS if requester.role == STRANGER).headers(
        harness
    )
    assert harness.request("GET", "/simple/shut-lib", stranger).status == 404
    assert harness.request("GET", "/simple/secret-lib", stranger).status == 403


@BY_EVERYBODY
def test_path_without_slash_is_answered_alike(harness: AccessHarness, person: Requester) -> None:
    """A path that lacks its slash is answered the same whatever is there, with no look at it."""
    headers = person.headers(harness)
    for there, not_there in zip(EXISTING, MISSING, strict=True):
        for path in ("/simple/{}", "/pypi/{}", "/+simple/{}", "/acme/{}", "/{}", "/project/{}"):
            one = harness.request("GET", path.format(there), headers)
            other = harness.request("GET", path.format(not_there), headers)
            assert one.without(there) == other.without(not_there)
            assert (one.store_keys, other.store_keys) == ((), ())
            if is_unknown(person, harness):
                assert one.status == 401


@BY_EVERYBODY
def test_list_has_the_readable_projects(harness: AccessHarness, person: Requester) -> None:
    """The list has the projects that a caller may read; every known caller gets one."""
    headers = (*person.headers(harness), V1)
    for path in ("/simple/", "/pypi/simple/", "/+simple/", "/acme/", "/", "//simple//"):
        listed = harness.request("GET", path, headers)
        if is_unknown(person, harness):
            assert (listed.status, listed.store_keys) == (401, ()), path
            continue
        assert listed.status == 200, path
        names = [name for name in (*EXISTING, OTHER) if f'"{name}"'.encode() in listed.body]
        assert names == visible_projects(person, is_open=is_open(harness)), path
        for name in (*EXISTING, OTHER):
            page = harness.request("GET", f"{path}{name}/", headers).status
            assert (page in {200, 301}) is (name in names), (path, name)


@BY_EVERYBODY
def test_lists_for_people_and_programs(harness: AccessHarness, person: Requester) -> None:
    """The page for people, what it searches in, and the API list what the Simple API lists."""
    expected = visible_projects(person, is_open=is_open(harness))
    for path in ("/", "/api/v1/projects", CHANGED, "/search.json"):
        listed = harness.request("GET", path, (*person.headers(harness), ("accept", "text/html")))
        if is_unknown(person, harness):
            assert listed.status == 401
        else:
            assert [
                project for project in (*EXISTING, OTHER) if project.encode() in listed.body
            ] == expected
    setup = harness.request("GET", "/setup/", (*person.headers(harness), ("accept", "text/html")))
    assert setup.status == (401 if is_unknown(person, harness) else 200)


@BY_EVERYBODY
def test_documentation_is_for_everybody(harness: AccessHarness, person: Requester) -> None:
    """Everybody gets the same documentation, whatever the credential, and no look at the store."""
    for path, status in (("", 200), ("tokens/", 200), ("images/overview.svg", 200), ("no/", 404)):
        nobodys = harness.request("GET", f"/-/docs/{path}")
        answer = harness.request("GET", f"/-/docs/{path}", person.headers(harness))
        assert (answer.status, answer.store_keys) == (status, ()), path
        assert (answer.headers, answer.body) == (nobodys.headers, nobodys.body), path
        assert not any(name.encode() in answer.body for name in EXISTING)


@BY_EVERYBODY
def test_only_readers_of_everything_see_changes(harness: AccessHarness, person: Requester) -> None:
    """Only who may read all projects, also new ones, is told which have changed."""
    answer = harness.request("GET", "/api/v1/changes", person.headers(harness))

    is_everything = visible_projects(person, is_open=is_open(harness)) == [*EXISTING, OTHER]
    if is_everything and person.role != INVALID:
        assert answer.status == 200
        assert all(f'"{name}"'.encode() in answer.body for name in (*EXISTING, OTHER))
    else:
        assert answer.status == (401 if person.role in {ANONYMOUS, INVALID} else 403)
        assert not any(name.encode() in answer.body for name in (*EXISTING, OTHER))
        assert answer.store_keys == ()


def visible_projects(person: Requester, *, is_open: bool) -> list[str]:
    """Return the projects that a requester sees."""
    if person.role == ADMIN or (person.kind == "access token" and person.role != STRANGER):
        return [*EXISTING, OTHER]
    if person.role in {READERS, *WRITERS}:
        return list(EXISTING)
    public = ["open-lib"] if is_open else []
    is_of_other = person.role == OTHER_PUBLISHER or (
        person.role == STRANGER and person.kind in {"API token", "static token"}
    )
    return [*public, OTHER] if is_of_other else public


@BY_EVERYBODY
def test_uploads_have_the_status_of_the_matrix(harness: AccessHarness, person: Requester) -> None:
    """An allowed upload succeeds for new and existing names; a refusal does not tell them apart."""
    headers = person.headers(harness)
    for kind in KINDS:
        answers = dict[str, RecordedResponse]()
        for name in (f"{kind}-lib", f"{kind}-{next(NUMBERS):03}"):
            is_minted = person.role == PUBLISHER and name not in EXISTING
            expected = {INVALID: 401, ANONYMOUS: 401}.get(person.role, 403)
            if person.role in WRITERS and not is_minted:
                expected = 200
            for path in ("/simple", "/", "/acme/", "/legacy/"):
                answers[name] = answer = harness.upload(make_wheel(name), headers, path)
                assert answer.status == expected, (name, path, answer)
                if expected != 200:
                    assert answer.store_keys == ()
        if person.role not in WRITERS:
            assert len({answer.without(name) for name, answer in answers.items()}) == 1


@BY_EVERYBODY
def test_nonsense_is_refused_unread(harness: AccessHarness, person: Requester) -> None:
    """Nonsense is a bad request to those who may publish, and refused unread to all others."""
    headers = (*person.headers(harness), ("content-type", "multipart/form-data; boundary=x"))
    answer = harness.request("POST", "/legacy/", headers, b"nonsense")
    may_somewhere = person.role in {*WRITERS, OTHER_PUBLISHER} or (
        person.role == STRANGER and person.kind in {"API token", "static token"}
    )
    refused = 401 if person.role in {ANONYMOUS, INVALID} else 403
    assert answer.status == (400 if may_somewhere else refused)


@BY_EVERYBODY
def test_only_managers_change_a_project(harness: AccessHarness, person: Requester) -> None:
    """Only who manages a project yanks, pins, deletes or archives it; others learn nothing."""
    headers, wrong = (*person.headers(harness), JSON), list[str]()
    changes = {
        "yank": (b'{"version": "1.0"}', 200),
        "unyank": (b'{"version": "1.0"}', 200),
        "pin": (b'{"version": "1.0"}', 200),
        "unpin": (b'{"version": "1.0"}', 200),
        "delete": (b'{"version": "9.9"}', 404),
        "restore": (b'{"version": "9.9"}', 404),
        "status": (b'{"status": "active"}', 200),
    }
    for there, not_there in zip(EXISTING, MISSING, strict=True):
        for verb, (body, done) in changes.items():
            answers = [
                harness.request("POST", f"/api/v1/projects/{name}/{verb}", headers, body)
                for name in (there, not_there)
            ]
            expected = {INVALID: 401, ANONYMOUS: 401}.get(person.role, 403)
            if person.role in {MANAGERS, ADMIN}:
                wrong += _differences(f"{verb} {there}", answers[0], done)
                wrong += _differences(f"{verb} {not_there}", answers[1], 404)
                continue
            wrong += _differences(f"{verb} {there}", answers[0], expected)
            if answers[0].without(there) != answers[1].without(not_there):
                wrong.append(f"{verb} {there}: {answers}")
            if answers[0].store_keys or answers[1].store_keys:
                wrong.append(f"{verb} {there}: the store was asked for {answers[0].store_keys}")
    assert wrong == []


@BY_EVERYBODY
def test_only_administrators_remove_bytes(harness: AccessHarness, person: Requester) -> None:
    """Only administrators remove bytes for good; others learn nothing of a project."""
    headers, body = (*person.headers(harness), JSON), b'{"sha256": "%s"}' % (b"0" * 64)
    expected = {INVALID: 401, ANONYMOUS: 401, ADMIN: 404}.get(person.role, 403)
    for there, not_there in zip(EXISTING, MISSING, strict=True):
        first, second = (
            harness.request("POST", f"/api/v1/projects/{name}/delete-now", headers, body)
            for name in (there, not_there)
        )
        assert first.status == second.status == expected
        assert first.without(there) == second.without(not_there) or person.role == ADMIN
        assert person.role == ADMIN or not (first.store_keys or second.store_keys)


@pytest.mark.parametrize("target", ["lab", "vault"])
@BY_EVERYBODY
def test_only_writers_promote(harness: AccessHarness, person: Requester, target: str) -> None:
    """Only who may also upload to the other index promotes; a refusal says nothing of a project."""
    headers = (*person.headers(harness), JSON)
    body = b'{"version": "9.9", "to": "%s"}' % target.encode()
    writers = WRITERS if target == "lab" else {ADMIN}
    for there, not_there in zip(EXISTING, MISSING, strict=True):
        read = status_of(person.role, there, RouteCase(""), is_open=is_open(harness))
        paths = (f"/api/v1/projects/{name}/promote" for name in (there, not_there))
        first, second = (harness.request("POST", path, headers, body) for path in paths)
        if person.role in writers:
            assert (first.status, second.status) == (404, 404), first
            continue
        expected = {INVALID: 401, ANONYMOUS: 401}.get(person.role, read if read != 200 else 403)
        assert first.status == expected, (there, first)
        assert first.without(there) == second.without(not_there)
        assert not any("projects/" in key for key in (*first.store_keys, *second.store_keys))


@BY_EVERYBODY
def test_manager_pages_are_refused_to_others(harness: AccessHarness, person: Requester) -> None:
    """The pages of a project's managers are refused to others, without a look at the project."""
    headers = person.headers(harness)
    for there, not_there in zip(EXISTING, MISSING, strict=True):
        read = harness.request("GET", f"/project/{there}/", headers).status
        expected = {INVALID: 401, ANONYMOUS: 401}.get(person.role, read if read != 200 else 403)
        for page in ("manage", "access"):
            paths = [f"/project/{name}/{page}/" for name in (there, not_there)]
            first, second = (harness.request("GET", path, headers) for path in paths)
            if person.role in {MANAGERS, ADMIN}:
                assert (first.status, second.status) == (200, 404)
                continue
            assert (first.status, first.store_keys, second.store_keys) == (expected, (), ())
            assert first.without(there) == second.without(not_there)


@BY_EVERYBODY
def test_wrong_method_is_refused_by_the_path_alone(
    harness: AccessHarness, person: Requester
) -> None:
    """A method that a path does not take is 405, and OPTIONS 204, by the path alone."""
    headers, number = person.headers(harness), REQUESTERS.index(person)
    # all of them with the first credential of a role, and with the others in turn
    for method in METHODS if is_first(person) else METHODS[number % len(METHODS) :][:1]:
        for path in ("/simple/{}/", "/files/{}/x-1.0.tar.gz", "/pypi/{}/json", "/project/{}/"):
            both = {
                harness.request(method, path.format(name), headers).without(name)
                for pair in zip(EXISTING, MISSING, strict=True)
                for name in pair
            }
            assert {each[0] for each in both} == {204 if method == "OPTIONS" else 405}
            assert len(both) == 1


@BY_EVERYBODY
def test_unknown_path_tells_nothing(harness: AccessHarness, person: Requester) -> None:
    """Health is public; unknown paths are 401 to callers without any read access, and else 404."""
    headers = person.headers(harness)
    for path in ("/health", "/ready"):
        assert harness.request("GET", path, headers).status == 200
    is_refused = is_unknown(person, harness)
    for path in ("/nowhere/at/all", "/api/v1/nothing", "/simple/a/b", "/raw/nothing.txt"):
        assert harness.request("GET", path, headers).status == (401 if is_refused else 404)


@BY_EVERYBODY
def test_what_only_administrators_do(harness: AccessHarness, person: Requester) -> None:
    """Only administrators see and change rights and names; approvers make decisions, too."""
    headers = (*person.headers(harness), JSON)
    refused = {INVALID: 401, ANONYMOUS: 401}.get(person.role, 403)
    for example in EXAMPLES:
        request = example.request
        allowed = ALLOWED.get(request.row.right)
        if allowed is None:
            continue
        path, body = f"/api/v1/{request.row.path}", b""
        if request.row.method == "GET":
            path += f"?{urlencode(request.body)}"
        else:
            body = WRONG_BODY
        answer = harness.request(request.row.method, path, headers, body)
        if person.role in allowed:
            assert answer.status in (200, 400, 404), example
        else:
            assert answer.status == refused, example


@BY_EVERYBODY
def test_managers_reserve_names(harness: AccessHarness, person: Requester) -> None:
    """Only who manages a project may reserve its name."""
    headers = (*person.headers(harness), JSON)
    refused = {INVALID: 401, ANONYMOUS: 401}.get(person.role, 403)
    for name in (EXISTING[0], MISSING[0]):
        wrong = harness.request("POST", f"/api/v1/projects/{name}/reserve", headers, b'{"no": 1}')
        assert wrong.status == (400 if person.role in {MANAGERS, ADMIN} else refused)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AccessHarness]:
    """An index whose web UI is behind IAP."""
    with open_harness(tmp_path_factory.mktemp("proxied"), adjust=put_behind_the_proxy) as harness:
        yield harness


@pytest.mark.parametrize("person", PROXIED, ids=str)
def test_pages_behind_the_proxy(proxied: AccessHarness, person: Requester) -> None:
    """Behind IAP, the web UI is only for the users that IAP names."""
    headers = (*person.headers(proxied), ("accept", "text/html"))
    home = proxied.request("GET", "/", headers)
    is_refused = person.role in {ANONYMOUS, INVALID}
    assert home.status == (401 if is_refused else 200)
    assert proxied.request("GET", "/setup/", headers).status == home.status
    for name in (*EXISTING, *MISSING):
        page = proxied.request("GET", f"/project/{name}/", headers)
        expected = status_of(person.role, name, RouteCase(""), is_open=True)
        assert page.status == (401 if is_refused else expected), name
        if not is_refused and page.status == 200:
            assert "private" in page.header("cache-control")


@pytest.mark.parametrize("person", PROXIED, ids=str)
def test_search_behind_the_proxy(proxied: AccessHarness, person: Requester) -> None:
    """Behind IAP, a search finds what the page lists; without it, what the caller may read."""
    headers = person.headers(proxied)
    found = proxied.request("GET", "/search.json", headers)
    if person.kind == "wrong assertion":
        assert found.status == 401
        return
    assert found.status == 200
    listed = [name for name in (*EXISTING, OTHER) if f'"{name}"'.encode() in found.body]
    shown = proxied.request("GET", "/", (*headers, ("accept", "text/html")))
    if shown.status == 200:
        assert listed == [name for name in (*EXISTING, OTHER) if f">{name}<".encode() in shown.body]
    else:
        assert listed == (["open-lib"] if person.role == ANONYMOUS else list(EXISTING))
    assert "private" in found.header("cache-control")


@pytest.mark.parametrize("person", REQUESTERS, ids=str)
def test_programs_behind_the_proxy(proxied: AccessHarness, person: Requester) -> None:
    """Behind IAP, programs have the rights of their own credentials, whoever IAP names."""
    iap_headers = next(each for each in PROXIED if each.role == ADMIN).headers(proxied)
    for name in (*EXISTING, *MISSING):
        answer = proxied.request(
            "GET", f"/simple/{name}/", (*person.headers(proxied), *iap_headers)
        )
        assert answer.status == status_of(person.role, name, RouteCase(""), is_open=True)


def _tells(what: str, names: tuple[str, str], answers: list[RecordedResponse]) -> list[str]:
    """Return by what a project that is there can be told from one that is not."""
    (there, not_there), (one, other) = names, answers
    wrong = []
    if one.without(there) != other.without(not_there):
        wrong.append(f"{what}: {one} is not {other}")
    # of a page in memory the version is looked at first
    if set(one.store_keys) - {f"projects/{there}.json"} or other.store_keys:
        wrong.append(f"{what}: the store was asked for {one.store_keys}")
    return wrong


def comparable_parts(answer: RecordedResponse) -> tuple[int, bytes, set[tuple[str, str]]]:
    """Return status, body, and the headers in any order."""
    return answer.status, answer.body, set(answer.headers)


def _differences(what: str, answer: RecordedResponse, expected: int) -> list[str]:
    """Return what is wrong about an answer: its status, and who may keep it."""
    wrong = []
    if answer.status != expected:
        wrong.append(f"{what}: {answer.status}, not {expected}: {answer.body[:80]!r}")
    caching = answer.header("cache-control")
    if answer.status >= 400 and caching != "no-store":
        wrong.append(f"{what}: {answer.status} may be kept: {caching}")
    if answer.status >= 400 and answer.header("etag"):
        wrong.append(f"{what}: {answer.status} has an ETag")
    if answer.status == 401 and not answer.header("www-authenticate"):
        wrong.append(f"{what}: 401 without a challenge")
    return wrong
