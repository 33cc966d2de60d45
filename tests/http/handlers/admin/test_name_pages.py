"""The page of private names."""

import re
from collections.abc import Iterator

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.distributions import make_wheel
from tests.http.handlers.admin.administering import TABLES, Administrator, settings_in, text_of
from tests.http.in_process import InProcessServer, in_process
from tests.operations.in_memory_index import ALICE
from wheelyard.operations.lifecycle import Selection

PAGE = "names/"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """An index with names of each kind, and a pattern in its settings."""
    folder = tmp_path_factory.mktemp("server")
    settings = settings_in(folder)
    settings = replace(settings, access=replace(settings.access, private_names=("acme-*",)))
    with in_process(folder, settings, tables=TABLES) as opened:
        opened.publish(make_wheel("n-files"), make_wheel("n-deleted"))
        index = opened.index
        index.lifecycle.change(
            "delete", ALICE, NormalizedName("n-deleted"), Selection(Version("1.0")), "x"
        )
        index.names.reserve(ALICE, NormalizedName("n-reserved"), "starts in spring")
        index.projects.names.claim(NormalizedName("n-claimed"))
        yield opened


@pytest.mark.parametrize("name", ["reader", "stranger"])
def test_names_are_for_administrators(server: InProcessServer, name: str) -> None:
    """Who is no administrator sees no private names, and reserves and releases none."""
    person = Administrator.of(server, name)

    answers = [
        person.open(PAGE),
        person.send(PAGE, action="reserve", name="own"),
        person.send(PAGE, action="release", name="n-reserved"),
    ]

    assert [answer.status for answer in answers] == [403] * 3
    listed = server.index.names.listed()
    assert ("own" in listed, "n-reserved" in listed) == (False, True)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("search=N_", ["n-claimed", "n-deleted", "n-files", "n-reserved"]),
        ("search=n-&state=unpublished", ["n-claimed", "n-deleted", "n-reserved"]),
        ("search=n-&state=reserved", ["n-reserved"]),
        ("search=n-&state=files", ["n-files"]),
        ("search=nothing-like-it", []),
    ],
)
def test_names_are_found(admin: Administrator, query: str, names: list[str]) -> None:
    """Names are found by a part in any spelling, and by why they are private."""
    page = admin.open(f"{PAGE}?{query}").body.decode()

    assert re.findall(r'class="whole"[^>]*>(n-\w+)<', page) == names


def test_each_name_says_why_it_is_private(admin: Administrator) -> None:
    """The list says why each name is private, since when and by whom."""
    page = admin.read(f"{PAGE}?search=n-")

    assert "n-files it has 1 file" in page
    assert "n-deleted all of its files were deleted x 2026" in page
    assert "n-reserved it is reserved starts in spring 2026-01-01 by alice" in page
    assert "n-claimed an upload has begun under it" in page
    assert "acme-* access.private_names matches" not in page
    assert "matches Acme_Next" in admin.read(f"{PAGE}?search=Acme_Next")


def test_who_releases_a_name_is_asked_before(admin: Administrator) -> None:
    """Who is about to release a name reads what clients get under it from then on."""
    question = admin.read(f"{PAGE}?release=n-reserved")

    assert "gets the public package of that name" in question
    assert "if another index of the client has one" in question


def test_the_form_to_reserve_a_name_has_the_name_of_the_link(admin: Administrator) -> None:
    """A link to the form to reserve a name fills it in, and reserves nothing by itself."""
    before = admin.server.index.names.listed()

    form = admin.open(f"{PAGE}?action=reserve&name=spring")

    assert (form.status, b'name="reason"' in form.body) == (200, True)
    assert b'value="spring"' in form.body
    assert admin.server.index.names.listed() == before


@pytest.mark.parametrize(
    ("action", "fields", "status", "words"),
    [
        ("reserve", {"name": ""}, 400, "name"),
        ("reserve", {"name": "-"}, 400, "name"),
        ("reserve", {"name": "simple"}, 400, "path of the index"),
        ("reserve", {"name": "fine", "reason": "x" * 2000}, 400, "The reason has 2000"),
        ("release", {"name": "n-files"}, 409, "has files"),
        ("release", {"name": "nobody-has-it"}, 404, "not in the list"),
        ("reserve", {"name": "fine", "csrf_token": ""}, 403, "too old"),
    ],
)
def test_what_is_refused(
    admin: Administrator, action: str, fields: dict[str, str], status: int, words: str
) -> None:
    """What cannot be reserved or released comes again with the reason, and is not changed."""
    before = admin.server.index.names.listed()

    answer = admin.send(PAGE, action=action, **fields)

    assert (answer.status, words in text_of(answer)) == (status, True), text_of(answer)
    page = answer.body.decode()
    assert f'value="{fields["name"]}"' in page
    assert f'name="action" value="{action}"' in page
    assert admin.server.index.names.listed() == before
