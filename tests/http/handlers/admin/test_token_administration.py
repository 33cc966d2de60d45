"""The page of everybody's API tokens."""

import re
from datetime import timedelta

import pytest

from tests.http.handlers.admin.administering import Administrator, text_of
from tests.http.in_process import InProcessServer
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.model.access import Action, Pattern, Scope
from wheelyard.model.api_token import NOBODY, TokenOwner
from wheelyard.model.index_name import MAIN

PAGE = "tokens/"
WANTED = {
    "action": "create",
    "name": "laptop of ana",
    "can": "upload",
    "projects": "acme-*, tools",
    "days": "7",
    "index": "main",
    "kind": "other",
    "who": "user:ana@acme.dev",
}


def make_token(
    server: InProcessServer, name: str, days: int = 100, owner: str = "", *projects: str
) -> str:
    """Make a token, and return its id."""
    request = TokenRequest(
        name=name,
        lifetime=timedelta(days=days),
        owner=TokenOwner(owner, frozenset({owner})) if owner else NOBODY,
        projects=tuple(map(Pattern, projects or ("*",))),
    )
    return server.index.tokens.create(request, by="local:bo")[1].id


def test_old_address_leads_to_the_page(admin: Administrator) -> None:
    """Who has kept the old address of the page gets to the new one."""
    answer = admin.browser.open("/-/tokens/")

    assert (answer.status, answer.headers["location"]) == (301, "/-/admin/tokens/")


def test_the_form_for_a_token_has_its_own_address(admin: Administrator) -> None:
    """The list leads to the form for a new token, which asks for what the token may do."""
    form = admin.open(f"{PAGE}?action=make").body.decode()

    assert 'href="./?action=make"' in admin.open(PAGE).body.decode()
    assert [f'name="{field}"' in form for field in ("who", "projects", "days")] == [True] * 3


def test_a_made_token_is_looked_up_by_its_id(admin: Administrator) -> None:
    """The page of a made token that there is not leads to the list of tokens."""
    page = admin.open(f"{PAGE}?made=nothing")

    assert page.status == 404
    assert "There is no token 'nothing'. Look at the list of tokens." in text_of(page)


def test_a_token_is_shown_though_its_index_has_gone(admin: Administrator) -> None:
    """A token is shown with how to publish, and without once its index was removed meanwhile."""
    index_list = admin.server.index.server.index_administration
    index_list.add({"name": "dev"}, "local:bo")
    made = [admin.send(PAGE, **{**WANTED, "index": "dev"}) for _ in range(2)]

    there = text_of(admin.browser.follow(made[0]))
    index_list.remove("dev", "local:bo")
    gone = text_of(admin.browser.follow(made[1]))

    assert ["uv publish" in page for page in (there, gone)] == [True, False]
    assert ["shown only this once" in page for page in (there, gone)] == [True, True]


@pytest.mark.parametrize("name", ["reader", "stranger"])
def test_tokens_are_for_administrators(server: InProcessServer, name: str) -> None:
    """Who is no administrator sees no token of others, and their forms change nothing."""
    person = Administrator.of(server, name)
    token_id = make_token(server, "of somebody")

    pages = [
        person.open(path) for path in (PAGE, f"{PAGE}?action=make", f"{PAGE}?revoke={token_id}")
    ]
    forms = [person.send(PAGE, **WANTED), person.send(PAGE, action="revoke", id=token_id)]

    assert {answer.status for answer in (*pages, *forms, person.browser.open("/-/tokens/"))} == {
        403
    }
    assert not any(token_id in text_of(answer) for answer in (*pages, *forms))
    record = server.index.tokens.find(token_id)
    assert record.revoked_at is None


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["t-young", "t-soon", "t-old"]),
        ("search=T-SOON", ["t-soon"]),
        ("search=bo%40acme", ["t-old"]),
        ("search=zebra", ["t-soon"]),
        ("project=Zebra_web", ["t-young", "t-soon", "t-old"]),
        ("project=acme&search=t-", ["t-young", "t-old"]),
        ("owner=user%3Abo%40acme.dev", ["t-old"]),
        ("state=expiring", ["t-soon"]),
        ("state=unused", ["t-old"]),
        ("state=owner-gone", ["t-old"]),
        ("state=revoked", ["t-gone"]),
        ("search=t-&state=&sort=name", ["t-gone", "t-old", "t-soon", "t-young"]),
        ("search=t-&sort=expires", ["t-soon", "t-old", "t-young"]),
        ("search=nothing-like-it", []),
        ("search=t-&state=nonsense&sort=nonsense&page=x", ["t-young", "t-gone", "t-soon", "t-old"]),
    ],
)
def test_administrator_finds_tokens(
    searchable: Administrator, query: str, names: list[str]
) -> None:
    """Tokens are found by name, owner, project and state, and sorted as wished."""
    page = searchable.open(f"{PAGE}?{query}").body.decode()

    assert re.findall(r'<bdi class="id">(t-\w+)</bdi>', page) == names


@pytest.fixture(scope="module")
def searchable(server: InProcessServer) -> Administrator:
    """The administrator of an index with tokens of several kinds."""
    make_token(server, "t-old", 365, "user:bo@acme.dev")
    server.clock.advance(days=120)
    make_token(server, "t-soon", 5, "", "zebra-*")
    server.clock.advance(seconds=1)
    server.index.tokens.revoke(make_token(server, "t-gone"), "local:ana")
    server.clock.advance(days=1)
    make_token(server, "t-young", 364)
    return Administrator.of(server)


def test_a_whole_token_is_found_and_not_repeated(admin: Administrator) -> None:
    """Who has found a token somewhere finds whose it is; neither page nor address repeats it."""
    token, record = admin.server.index.tokens.create(TokenRequest(name="found"), "local:bo")

    answer = admin.open(f"{PAGE}?search={token.text}")

    address = answer.headers["location"]
    assert (answer.status, token.text in address) == (303, False)
    page = admin.browser.open(address).body.decode()
    assert ("found" in page, record.id in page, token.text in page) == (True, True, False)


def test_token_is_made_for_somebody_or_nobody(admin: Administrator) -> None:
    """A token is made for a person or for nobody, shown once, and opens what was chosen."""
    answer = admin.browser.follow(admin.send(PAGE, **WANTED))

    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store"), answer.body
    match = re.search("wyd_([0-9A-Za-z]{10})[0-9A-Za-z]{38}", answer.body.decode())
    assert match is not None
    record = admin.server.index.tokens.find(match[1])
    wanted = Scope(Action.UPLOAD.with_implied, (Pattern("acme-*"), Pattern("tools")), (MAIN,))
    assert (record.owner, record.scope) == ("user:ana@acme.dev", wanted)
    assert match[0] not in admin.read(PAGE)
    everything = {"kind": "", "who": "", "can": "admin", "projects": "*", "index": "*"}
    nobodys = admin.browser.follow(admin.send(PAGE, **{**WANTED, **everything}))
    assert "administer every project in all indexes" in text_of(nobodys)


@pytest.mark.parametrize(
    ("changes", "field", "status"),
    [
        ({"name": ""}, "name", 400),
        ({"days": "0"}, "days", 400),
        ({"can": ""}, "can", 400),
        ({"projects": "a-*-b"}, "projects", 400),
        ({"index": "nowhere"}, "index", 409),
        ({"who": ""}, "who", 400),
        ({"who": "no address"}, "who", 400),
        ({"kind": "", "who": "bo"}, "who", 400),
        ({"csrf_token": "x"}, "", 403),
    ],
)
def test_what_was_typed_is_kept(
    admin: Administrator, changes: dict[str, str], field: str, status: int
) -> None:
    """A form that is refused comes again with the reason beside its field."""
    wanted = {**WANTED, "name": "kept", **changes}

    answer = admin.send(PAGE, **wanted)

    page = answer.body.decode()
    assert answer.status == status
    assert f'value="{wanted["name"]}"' in page
    assert (f'id="{field}-error"' in page) == bool(field)
    kind = wanted["kind"]
    assert not kind or f'<option value="{kind}" selected>' in page


def test_several_tokens_are_revoked_at_once(admin: Administrator) -> None:
    """Selected tokens are shown once more, and revoked together; others are left as they are."""
    tokens = [make_token(admin.server, f"many-{number}") for number in range(3)]
    chosen = tokens[:2]
    question = admin.read(f"{PAGE}?revoke={chosen[0]}&revoke={chosen[1]}&revoke=0123456789")
    assert "Revoke 2 tokens" in question
    assert "many-2" not in question

    page = admin.done(PAGE, action="revoke", id=chosen)

    assert "2 tokens are revoked" in page
    records = [admin.server.index.tokens.find(token_id) for token_id in tokens]
    assert [record.revoked_by for record in records] == ["htpasswd:admin"] * 2 + [""]
    assert "None of these tokens is active" in admin.read(f"{PAGE}?revoke={chosen[0]}")
    unknown = admin.send(PAGE, action="revoke", id="0123456789")
    assert unknown.status == 404
    assert "None of these tokens is active" in text_of(unknown)


def test_page_that_there_is_not(searchable: Administrator) -> None:
    """A page behind the last one is not found, in each list."""
    for path in ("tokens/", "names/", "people/", "storage/", "grants/", "grants/history/"):
        assert searchable.open(f"{path}?page=99999").status == 404
