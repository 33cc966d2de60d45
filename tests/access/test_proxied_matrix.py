"""The decision matrix behind Google's proxy, which knows people for the pages for people alone."""

from collections.abc import Iterator

import pytest

from tests.access.decisions import Ask, status_of
from tests.access.people import (
    ADMIN,
    ANONYMOUS,
    INVALID,
    PEOPLE,
    PROXIED,
    Person,
)
from tests.access.places import (
    EXISTING,
    MISSING,
    OTHER,
    Place,
    open_place,
    put_behind_the_proxy,
)

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("person", PROXIED, ids=str)
def test_pages_behind_the_proxy(proxied: Place, person: Person) -> None:
    """Behind Google's proxy the pages for people are for those whom it names, and nobody else."""
    headers = (*person.headers(proxied), ("accept", "text/html"))
    home = proxied.ask("GET", "/", headers)
    is_refused = person.role in {ANONYMOUS, INVALID}
    assert home.status == (401 if is_refused else 200)
    for name in (*EXISTING, *MISSING):
        page = proxied.ask("GET", f"/project/{name}/", headers)
        expected = status_of(person.role, name, Ask(""), is_open=True)
        assert page.status == (401 if is_refused else expected), name
        if not is_refused and page.status == 200:
            assert "private" in page.header("cache-control")


@pytest.mark.parametrize("person", PROXIED, ids=str)
def test_search_behind_the_proxy(proxied: Place, person: Person) -> None:
    """A search there finds what the page shows; a program without the proxy sees what it may."""
    headers = person.headers(proxied)
    found = proxied.ask("GET", "/search.json", headers)
    if person.kind == "wrong assertion":
        assert found.status == 401
        return
    assert found.status == 200
    listed = [name for name in (*EXISTING, OTHER) if f'"{name}"'.encode() in found.body]
    shown = proxied.ask("GET", "/", (*headers, ("accept", "text/html")))
    if shown.status == 200:
        assert listed == [name for name in (*EXISTING, OTHER) if f">{name}<".encode() in shown.body]
    else:
        assert listed == (["open-lib"] if person.role == ANONYMOUS else list(EXISTING))
    assert "private" in found.header("cache-control")


@pytest.mark.parametrize("person", PEOPLE, ids=str)
def test_programs_behind_the_proxy(proxied: Place, person: Person) -> None:
    """Programs are known by their own credentials there, as anywhere; the proxy is not asked."""
    told = next(each for each in PROXIED if each.role == ADMIN).headers(proxied)
    for name in (*EXISTING, *MISSING):
        answer = proxied.ask("GET", f"/simple/{name}/", (*person.headers(proxied), *told))
        assert answer.status == status_of(person.role, name, Ask(""), is_open=True)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An index whose pages for people are behind Google's proxy."""
    with open_place(tmp_path_factory.mktemp("proxied"), adjust=put_behind_the_proxy) as place:
        yield place
