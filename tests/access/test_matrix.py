"""The decision matrix: route, principal, visibility and spelling, each cell by itself."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.access.decisions import WRITERS, may_read, reads, status_of
from tests.access.people import (
    ADMIN,
    ANONYMOUS,
    INVALID,
    OTHER_PUBLISHER,
    PEOPLE,
    PUBLISHER,
    STRANGER,
    Headers,
    Person,
)
from tests.access.places import (
    EXISTING,
    KINDS,
    MANAGERS,
    MISSING,
    OTHER,
    READERS,
    Answer,
    Place,
    open_place,
)
from tests.http.packages import wheel

pytestmark = pytest.mark.integration

V1 = ("accept", "application/vnd.pypi.simple.v1+json")
JSON = ("content-type", "application/json")
NUMBERS = count(1)


@pytest.fixture(scope="module", params=["partly open", "closed", "below a prefix"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """An index where anybody may read some projects; one where nobody may; one below a prefix."""
    server: dict[str, object] = {"roots": ["acme"]}
    if request.param == "below a prefix":
        server["path_prefix"] = "/python"
    folder = tmp_path_factory.mktemp("place")
    with open_place(folder, is_open=request.param != "closed", server=server) as place:
        yield place


def is_open(place: Place) -> bool:
    """Return whether anybody may read anything here."""
    return bool(place.index.doors.rights.public)


@pytest.mark.parametrize("person", PEOPLE, ids=str)
def test_reading(place: Place, person: Person) -> None:
    """Whoever asks for whatever of a project, and however, gets what the matrix says."""
    headers, wrong = person.headers(place), list[str]()
    for name in (*EXISTING, *MISSING):
        for title, ask in reads(place, name).items():
            expected = status_of(person.role, name, ask, is_open=is_open(place))
            answer = place.ask("GET", ask.path, headers)
            wrong += _differences(f"{title} of {name}", answer, expected)
            head = place.ask("HEAD", ask.path, headers)
            if (head.status, head.body) != (answer.status, b"") or _kept(head) != _kept(answer):
                wrong.append(f"HEAD of {title} of {name}: {head}, not {answer}")
    assert wrong == []


@pytest.mark.parametrize("person", PEOPLE, ids=str)
def test_what_is_not_there_looks_like_what_is_not_for_me(place: Place, person: Person) -> None:
    """A project that one may not read and one that does not exist: the same to the last byte."""
    headers, wrong, denied = person.headers(place), list[str](), 0
    conditions: tuple[Headers, ...] = (
        (),
        (("if-none-match", "*"),),
        (("range", "bytes=0-9"),),
        (("accept", "text/html"),),
        (V1, ("accept-encoding", "gzip")),
    )
    for there, not_there in zip(EXISTING, MISSING, strict=True):
        if may_read(person.role, there, is_open=is_open(place)):
            continue
        theirs = reads(place, not_there)
        for title, ask in reads(place, there).items():
            for more in conditions:
                one = place.ask("GET", ask.path, (*headers, *more))
                other = place.ask("GET", theirs[title].path, (*headers, *more))
                denied += 1
                if one.without(there) != other.without(not_there):
                    wrong.append(f"{title} of {there}: {one} is not {other}")
                # of a page in memory the version is looked at first: see the test below
                if set(one.asked) - {f"projects/{there}.json"} or other.asked:
                    wrong.append(f"{title} of {there}: the store was asked for {one.asked}")
    assert wrong == []
    assert denied or person.role in {READERS, *WRITERS}


def test_a_page_in_memory(place: Place) -> None:
    """Whoever may not read a page that others have just read costs no look at the store."""
    reader = next(each for each in PEOPLE if each.role == READERS).headers(place)
    assert place.ask("GET", "/simple/shut-lib/", reader).status == 200
    assert place.ask("GET", "/simple/shut-lib/").asked == ()


def test_redirect_to_what_is_not_for_me(place: Place) -> None:
    """Whoever may not read a project is not sent on from its URL without a slash."""
    stranger = next(each for each in PEOPLE if each.role == STRANGER).headers(place)
    assert place.ask("GET", "/simple/shut-lib", stranger).status == 404
    assert place.ask("GET", "/simple/secret-lib", stranger).status == 403


@pytest.mark.parametrize("person", PEOPLE, ids=str)
def test_without_its_slash(place: Place, person: Person) -> None:
    """A path that lacks its slash is answered the same whatever is there, with no look at it."""
    headers = person.headers(place)
    for there, not_there in zip(EXISTING, MISSING, strict=True):
        for path in ("/simple/{}", "/pypi/{}", "/+simple/{}", "/acme/{}", "/{}", "/project/{}"):
            one = place.ask("GET", path.format(there), headers)
            other = place.ask("GET", path.format(not_there), headers)
            assert one.without(there) == other.without(not_there)
            assert (one.asked, other.asked) == ((), ())
            if person.role == INVALID or (person.role == ANONYMOUS and not is_open(place)):
                assert one.status == 401


@pytest.mark.parametrize("person", PEOPLE, ids=str)
@pytest.mark.parametrize(
    "path", ["/simple/", "/pypi/simple/", "/+simple/", "/acme/", "/", "//simple//"]
)
def test_lists(place: Place, person: Person, path: str) -> None:
    """A list has the projects that one may read, and whoever is known gets one."""
    listed = place.ask("GET", path, (*person.headers(place), V1))
    if person.role == INVALID or (person.role == ANONYMOUS and not is_open(place)):
        assert (listed.status, listed.asked) == (401, ())
        return
    assert listed.status == 200
    assert [name for name in (*EXISTING, OTHER) if f'"{name}"'.encode() in listed.body] == seen(
        person, is_open=is_open(place)
    )
    for name in (*EXISTING, OTHER):
        page = place.ask("GET", f"{path}{name}/", (*person.headers(place), V1)).status
        assert (page in {200, 301}) is (f'"{name}"'.encode() in listed.body)


@pytest.mark.parametrize("person", PEOPLE, ids=str)
def test_lists_for_people_and_programs(place: Place, person: Person) -> None:
    """The page for people, what it searches in, and the API list what the Simple API lists."""
    expected = seen(person, is_open=is_open(place))
    for path in ("/", "/api/v1/projects", "/search.json"):
        listed = place.ask("GET", path, (*person.headers(place), ("accept", "text/html")))
        if person.role == INVALID or (person.role == ANONYMOUS and not is_open(place)):
            assert listed.status == 401
        else:
            assert [each for each in (*EXISTING, OTHER) if each.encode() in listed.body] == expected


def seen(person: Person, *, is_open: bool) -> list[str]:
    """Return the projects that somebody sees."""
    if person.role == ADMIN or (person.kind == "access token" and person.role != STRANGER):
        return [*EXISTING, OTHER]
    if person.role in {READERS, *WRITERS}:
        return list(EXISTING)
    public = ["open-lib"] if is_open else []
    is_of_other = person.role == OTHER_PUBLISHER or (
        person.role == STRANGER and person.kind in {"API token", "static token"}
    )
    return [*public, OTHER] if is_of_other else public


@pytest.mark.parametrize("person", PEOPLE, ids=str)
def test_publishing(place: Place, person: Person) -> None:
    """Whoever may publish to a name does, whether it exists or not; others are told neither."""
    headers = person.headers(place)
    for kind in KINDS:
        answers = dict[str, Answer]()
        for name in (f"{kind}-lib", f"{kind}-{next(NUMBERS):03}"):
            is_minted = person.role == PUBLISHER and name not in EXISTING
            expected = {INVALID: 401, ANONYMOUS: 401}.get(person.role, 403)
            if person.role in WRITERS and not is_minted:
                expected = 200
            for path in ("/simple", "/", "/acme/", "/legacy/"):
                answers[name] = answer = place.upload(wheel(name), headers, path)
                assert answer.status == expected, (name, path, answer)
                if expected != 200:
                    assert answer.asked == ()
        if person.role not in WRITERS:
            assert len({answer.without(name) for name, answer in answers.items()}) == 1


@pytest.mark.parametrize("person", PEOPLE, ids=str)
def test_a_form_that_is_none(place: Place, person: Person) -> None:
    """Nonsense is a bad request to those who may publish, and refused unread to all others."""
    headers = (*person.headers(place), ("content-type", "multipart/form-data; boundary=x"))
    answer = place.ask("POST", "/legacy/", headers, b"nonsense")
    may_somewhere = person.role in {*WRITERS, OTHER_PUBLISHER} or (
        person.role == STRANGER and person.kind in {"API token", "static token"}
    )
    refused = 401 if person.role in {ANONYMOUS, INVALID} else 403
    assert answer.status == (400 if may_somewhere else refused)


@pytest.mark.parametrize("person", PEOPLE, ids=str)
def test_changes(place: Place, person: Person) -> None:
    """Only who manages a project yanks, deletes or archives; a refusal says nothing of it."""
    headers, wrong = (*person.headers(place), JSON), list[str]()
    changes = {
        "yank": (b'{"version": "1.0"}', 200),
        "unyank": (b'{"version": "1.0"}', 200),
        "delete": (b'{"version": "9.9"}', 404),
        "status": (b'{"status": "active"}', 200),
    }
    for there, not_there in zip(EXISTING, MISSING, strict=True):
        for verb, (body, done) in changes.items():
            answers = [
                place.ask("POST", f"/api/v1/projects/{name}/{verb}", headers, body)
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
            if answers[0].asked or answers[1].asked:
                wrong.append(f"{verb} {there}: the store was asked for {answers[0].asked}")
    assert wrong == []


@pytest.mark.parametrize("person", PEOPLE, ids=str)
def test_wrong_methods(place: Place, person: Person) -> None:
    """A method that a path does not take is 405, and OPTIONS 204, by the path alone."""
    headers = person.headers(place)
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        for path in ("/simple/{}/", "/files/{}/x-1.0.tar.gz", "/pypi/{}/json", "/project/{}/"):
            both = {
                place.ask(method, path.format(name), headers).without(name)
                for pair in zip(EXISTING, MISSING, strict=True)
                for name in pair
            }
            assert {each[0] for each in both} == {204 if method == "OPTIONS" else 405}
            assert len(both) == 1


@pytest.mark.parametrize("person", PEOPLE, ids=str)
def test_elsewhere(place: Place, person: Person) -> None:
    """Health is everybody's; where nothing is, it is 401 to who may see nothing, and else 404."""
    headers = person.headers(place)
    for path in ("/health", "/ready"):
        assert place.ask("GET", path, headers).status == 200
    is_refused = person.role == INVALID or (person.role == ANONYMOUS and not is_open(place))
    for path in ("/nowhere/at/all", "/api/v1/nothing", "/simple/a/b", "/raw/nothing.txt"):
        assert place.ask("GET", path, headers).status == (401 if is_refused else 404)


def _kept(answer: Answer) -> set[tuple[str, str]]:
    """Return the headers, in any order."""
    return set(answer.headers)


def _differences(what: str, answer: Answer, expected: int) -> list[str]:
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
