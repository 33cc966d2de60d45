"""The tokens of somebody who signs in with a password: making, rotating, and signing in again."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from html import unescape
from pathlib import Path
from random import Random
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.http.browser import Browser
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.http.remote_store import RemoteStore
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, OPEN_MAIN
from wheelyard.authentication.api_tokens import MAX_TOKENS_PER_OWNER, TokenRequest
from wheelyard.model.access import Action
from wheelyard.model.grants import GrantFields
from wheelyard.model.index_name import EVERY_INDEX
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings
from wheelyard.storage.local import LocalStore

PASSWORD = "s3cret"
PAGE = "/-/account/tokens/"
WANTED = {"action": "create", "name": "laptop", "can": "read", "projects": "acme-*", "days": "7"}


def settings_in(folder: Path, prefix: str = "") -> Settings:
    """Return the settings of a private index with the users ana and bo, who may upload."""
    (folder / "htpasswd").write_text(f"ana:{SHA}\nbo:{SHA}\n")
    access = AccessSettings(cookie_login=True, private=True, htpasswd_file=str(folder / "htpasswd"))
    server = ServerSettings(public_url=f"http://index{prefix}", path_prefix=prefix)
    return Settings(access=access, server=server)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """Serve a private index."""
    tables = toml_of(main=OPEN_MAIN)
    with in_process(tmp_path, settings_in(tmp_path), tables=tables) as opened:
        yield opened


def signed_in(server: InProcessServer, user: str = "ana") -> Browser:
    """Return the browser of somebody who has signed in."""
    browser = Browser(server)
    assert browser.sign_in(user, PASSWORD).status == 303
    return browser


def send(browser: Browser, **changes: str | Sequence[str]) -> InProcessResponse:
    """Send a form of the page."""
    fields: Mapping[str, str | Sequence[str]] = {
        "csrf_token": browser.form_token("/-/account/"),
        **WANTED,
        **changes,
    }
    return browser.send(PAGE, fields)


def make_token(browser: Browser, **changes: str | Sequence[str]) -> str:
    """Make or rotate a token by a form of the page, and return the token that is shown."""
    return token_in(browser.follow(send(browser, **changes)))


def token_in(page: InProcessResponse) -> str:
    """Return the token that a page shows."""
    assert (page.status, page.headers["cache-control"]) == (200, "no-store"), page.body
    match = re.search("wyd_[0-9A-Za-z]{48}", page.body.decode())
    assert match is not None
    return match[0]


def principal(server: InProcessServer, token: str) -> str:
    """Return whom a token is for, or an error code."""
    answer = server.get("/api/v1/whoami", ("Authorization", f"Bearer {token}"))
    server.clock.advance(seconds=2)
    found = re.search(b'"(?:principal|error)":"([^"]*)"', answer.body)
    assert found is not None
    return found[1].decode()


def test_a_person_makes_and_rotates_a_token(server: InProcessServer) -> None:
    """A person makes a token, sees what it may do and when it ends, and replaces it by another."""
    ana = signed_in(server)
    token = make_token(ana)
    page = ana.open(PAGE).body.decode()
    assert token not in page
    assert all(words in page for words in (token[4:14], "read acme-*", "2026-01-08", "never"))
    assert f"?rotate={token[4:14]}" in page
    assert "can no longer be used" not in page
    question = ana.open(f"{PAGE}?rotate={token[4:14]}").body.decode()
    assert "The old token works on" in question

    answer = ana.follow(send(ana, action="rotate", token=token[4:14], hours="24"))

    new = token_in(answer)
    assert "works until 2026-01-02" in answer.body.decode()
    assert f"?rotate={token[4:14]}" not in ana.open(PAGE).body.decode()
    assert [principal(server, each) for each in (token, new)] == [
        f"token:{each[4:14]}" for each in (token, new)
    ]
    last = ana.follow(send(ana, action="rotate", token=new[4:14], hours="0"))
    assert f"token:{token_in(last)[4:14]}" == principal(server, token_in(last))
    assert "is revoked" in last.body.decode()
    assert principal(server, new) == "token_revoked"
    ended = ana.open(PAGE).body.decode()
    assert (new[4:14] in ended, "revoked by" in ended) == (True, True)
    assert "1 that can no longer be used" in ended
    refused = send(ana, action="rotate", token=new[4:14], hours="0")
    assert (refused.status, "is revoked" in refused.body.decode()) == (409, True)
    wrong = send(ana, action="rotate", token=token[4:14], hours="x")
    assert (wrong.status, "The old token works on" in wrong.body.decode()) == (400, True)


def test_a_new_token_is_shown_once(server: InProcessServer) -> None:
    """The page of a new token shows it once, and loading that page again makes no other token."""
    ana = signed_in(server)
    answer = send(ana)

    token = token_in(ana.follow(answer))

    assert token not in str(answer.headers)
    second = ana.follow(answer)
    again = second.body.decode()
    assert "is not shown again" in again
    assert f"?revoke={token[4:14]}" in again
    assert "wyd_" not in again
    assert "set-cookie" not in second.headers  # the first page has removed it
    assert len(server.index.tokens.all()) == 1


def test_the_page_of_a_new_token_lists_tokens_once(tmp_path: Path) -> None:
    """The page of a new token reads once from a bucket when each token was used last."""
    store = RemoteStore()
    tables = toml_of(main=OPEN_MAIN)
    settings = settings_in(tmp_path)
    with in_process(tmp_path, settings, store=store, near=False, tables=tables) as bucket:
        ana = signed_in(bucket)
        answer = send(ana)
        store.calls.clear()

        ana.follow(answer)

    assert store.asked("get", "credentials/uses/") == 1


@pytest.mark.parametrize("cookie", ["x", "." * 4000, "A" * 200])
def test_a_broken_cookie_of_a_token_shows_none(server: InProcessServer, cookie: str) -> None:
    """With a damaged cookie, the page of a new token does not show the token."""
    ana = signed_in(server)
    answer = send(ana)
    (name,) = [name for name in ana.cookies if "secret" in name]
    ana.cookies[name] = cookie

    assert "is not shown again" in ana.follow(answer).body.decode()


def test_a_new_token_is_shown_for_a_minute(server: InProcessServer) -> None:
    """A cookie that was kept for longer than a minute shows no token."""
    ana = signed_in(server)
    answer = send(ana)

    server.clock.advance(seconds=60)

    assert "is not shown again" in ana.follow(answer).body.decode()


def test_two_new_tokens_are_shown_each_on_its_page(server: InProcessServer) -> None:
    """Who makes two tokens before a page has shown the first sees both."""
    ana = signed_in(server)
    first = send(ana)
    second = send(ana, name="second")

    assert token_in(ana.follow(first)) != token_in(ana.follow(second))


def test_a_question_for_the_headers_keeps_a_new_token(server: InProcessServer) -> None:
    """A HEAD request shows no token, so that the page after it still does."""
    ana = signed_in(server)
    answer = send(ana)
    cookies = ("Cookie", "; ".join(f"{name}={text}" for name, text in ana.cookies.items()))

    head = server.get(answer.headers["location"], ("Accept", "text/html"), cookies, method="HEAD")

    assert (head.status, "set-cookie" in head.headers) == (200, False)
    assert token_in(ana.follow(answer))


def test_a_new_token_is_shown_in_its_session_alone(server: InProcessServer) -> None:
    """Who signs in again does not see what was made in the session before."""
    ana = signed_in(server)
    answer = send(ana)
    again = signed_in(server)
    again.cookies |= {name: text for name, text in ana.cookies.items() if "secret" in name}

    assert b"wyd_" not in again.follow(answer).body


def test_nobody_sees_or_changes_tokens_of_others(server: InProcessServer) -> None:
    """The tokens of others are not shown, and can be neither rotated nor revoked."""
    token = make_token(signed_in(server))
    bo = signed_in(server, "bo")

    for target in (PAGE, f"{PAGE}?rotate={token[4:14]}", f"{PAGE}?revoke={token[4:14]}"):
        assert token[4:14] not in bo.open(target).body.decode()
    assert send(bo, action="rotate", token=token[4:14], hours="0").status == 404
    assert send(bo, action="revoke", id=token[4:14]).status == 404
    assert principal(server, token) == f"token:{token[4:14]}"


@pytest.mark.parametrize("text", ["../laptop", "laptop/", "/laptop", "x/../../projects/demo"])
def test_a_path_is_no_token(tmp_path: Path, text: str) -> None:
    """Who gives a path in place of a token's id hears that there is no such token."""
    store = LocalStore(tmp_path / "store", Random(1))
    with in_process(tmp_path, settings_in(tmp_path), store=store) as server:
        ana = signed_in(server)
        make_token(ana)

        assert send(ana, action="rotate", token=text, hours="0").status == 404
        assert send(ana, action="revoke", id=text).status == 404


def sign_in_link(answer: InProcessResponse) -> str:
    """Return where a page says to sign in again."""
    match = re.search('href="([^"]*/-/sign-in/[^"]*again=)"', answer.body.decode())
    assert match is not None, answer.body.decode()
    return unescape(match[1])


@pytest.mark.parametrize("prefix", ["", "/packages"])
def test_an_old_sign_in_is_renewed_and_leads_back(tmp_path: Path, prefix: str) -> None:
    """An hour after the sign-in a person signs in again, and finds the form as it was filled in."""
    with in_process(tmp_path, settings_in(tmp_path, prefix)) as server:
        browser, page = Browser(server), f"{prefix}{PAGE}"
        fields = {"user": "ana", "password": PASSWORD, "next": page}
        browser.send(f"{prefix}/-/sign-in/", fields)
        form = {"csrf_token": browser.form_token(page), **WANTED, "can": "upload"}
        server.clock.advance(hours=1, seconds=1)
        assert "Make the token" not in browser.open(page).body.decode()

        refused = browser.send(page, {**form, "name": "laptop & tablet"})

        assert (refused.status, "more than an hour ago" in refused.body.decode()) == (403, True)
        link = sign_in_link(refused)
        again = browser.open(link)
        text = again.body.decode()
        assert (again.status, "You are <bdi>ana, by password</bdi>" in text) == (200, True)
        assert 'value="ana"' in text
        (target,) = parse_qs(urlsplit(link).query)["next"]
        answer = browser.send(f"{prefix}/-/sign-in/", {**fields, "next": target})
        assert (answer.status, answer.headers["location"]) == (303, target)
        back = browser.open(target).body.decode()
        assert 'value="laptop &amp; tablet"' in back
        assert re.search('value="upload" checked', back)
        form["csrf_token"] = browser.form_token(target)
        assert token_in(browser.follow(browser.send(page, form)))


def test_a_rotation_asks_for_a_sign_in_too(server: InProcessServer) -> None:
    """Who has signed in long ago revokes a token at once, and rotates it after a new sign-in."""
    ana = signed_in(server)
    token = make_token(ana)
    server.clock.advance(hours=2)

    question = ana.open(f"{PAGE}?rotate={token[4:14]}")
    refused = send(ana, action="rotate", token=token[4:14], hours="0")

    for answer in (question, refused):
        target = parse_qs(urlsplit(sign_in_link(answer)).query)["next"]
        assert target == [f"{PAGE}?rotate={token[4:14]}"]
    assert refused.status == 403
    assert send(ana, action="revoke", id=token[4:14]).status == 303


def test_who_has_too_many_tokens_rotates_none(server: InProcessServer) -> None:
    """Who has a hundred tokens is told to revoke some, and a rotation makes no other one."""
    ana = signed_in(server)
    tokens, owner = server.index.tokens, server.index.authenticator.owners.named("htpasswd:ana")
    request = TokenRequest(name="ci", owner=owner)
    ids = [tokens.create(request, "local:op")[1].id for _ in range(MAX_TOKENS_PER_OWNER)]

    answer = send(ana, action="rotate", token=ids[0], hours="0")

    assert answer.status == 409
    assert "Revoke those that are not used any more" in answer.body.decode()
    states = [each.state(server.clock.now) for each in tokens.all()]
    assert states == ["active"] * MAX_TOKENS_PER_OWNER


def test_nobody_has_tokens_without_a_name(tmp_path: Path) -> None:
    """Where everybody may read, a stranger has to say whose tokens to show."""
    with in_process(tmp_path) as app:
        answer = app.get(PAGE, ("Accept", "text/html"))

    assert (answer.status, b"Make the token" in answer.body) == (401, False)
    assert "www-authenticate" in answer.headers


def test_a_session_of_a_token_makes_none(server: InProcessServer) -> None:
    """Who has signed in with a token sees it, and makes and rotates none, even an administrator."""
    owner = server.index.authenticator.owners.named("htpasswd:ana")
    for request in (
        TokenRequest(name="mine", owner=owner),
        TokenRequest(name="free", actions=Action.ADMIN.with_implied, indexes=(EVERY_INDEX,)),
    ):
        token, _ = server.index.tokens.create(request, "local:op")
        browser = Browser(server)
        browser.sign_in("", token.text)

        page = browser.open(PAGE).body.decode()

        assert (token.id in page, "Make the token" in page) == (True, False)
        assert "Only a person who has signed in" in page
        assert send(browser, index="main").status == 403
        assert send(browser, action="rotate", token=token.id, hours="0").status == 403


def test_who_may_make_no_token_is_told_who_may(server: InProcessServer) -> None:
    """A token makes no token, and a person none for others; the refusal says who may make it."""
    owner = server.index.authenticator.owners.named("htpasswd:ana")
    wishes = [TokenRequest(name="mine", owner=owner), TokenRequest(name="free")]
    made = [server.index.tokens.create(wish, "local:op")[0] for wish in wishes]
    of_ana, of_nobody = (f"Bearer {token.text}" for token in made)
    ana = f"Basic {b64encode(f'ana:{PASSWORD}'.encode()).decode()}"
    reasons = {
        (of_ana, "htpasswd:ana"): "a token of somebody makes no token. Sign in yourself.",
        (of_nobody, "htpasswd:ana"): "Only an administrator, or a person who has signed in, can",
        (ana, "htpasswd:bo"): "Only an administrator makes tokens for others, or tokens of nobody.",
    }

    for (credential, named), reason in reasons.items():
        body = json.dumps({"name": "x", "projects": ["acme-*"], "owner": named}).encode()
        refused = server.send("/api/v1/tokens", body, ("Authorization", credential))

        assert (refused.status, reason in refused.json()["message"]) == (403, True), refused.text
    names = {each.record.name for each in server.index.caller_tokens.visible(ALICE)}
    assert names == {"mine", "free"}


@pytest.mark.parametrize("body", [b"", b"nonsense", b"\xff"])
def test_a_wish_that_is_no_json_is_said_so(server: InProcessServer, body: bytes) -> None:
    """A body that is no JSON makes no token, and the refusal says what to send."""
    ana = f"Basic {b64encode(f'ana:{PASSWORD}'.encode()).decode()}"

    refused = server.send("/api/v1/tokens", body, ("Authorization", ana))

    assert (refused.status, refused.json()["error"]) == (400, "invalid_field")
    assert "the body is not JSON. Send an object with the fields" in refused.json()["message"]


def test_a_link_fills_in_the_form(server: InProcessServer) -> None:
    """A link can fill in what a token is for, and the person decides."""
    page = signed_in(server).open(f"{PAGE}?projects=acme-core&can=upload&name=x%22y").body.decode()

    assert 'value="acme-core"' in page
    assert 'value="upload" checked' in page
    assert 'value="x&#34;y"' in page


def test_a_token_for_a_view_comes_without_commands_that_publish(server: InProcessServer) -> None:
    """The page of a new token says how to publish with it only to one index that takes uploads."""
    for table in ({"name": "dev", "layers": ["dev"]}, {"name": "view", "layers": ["dev"]}):
        server.index.server.index_administration.add(table, "local:bo")
    grant = GrantFields(
        who=("htpasswd:ana",), projects=("*",), actions=("upload",), index="dev,view"
    )
    server.index.server.access.grant(grant, "local:bo")
    ana = signed_in(server)

    publishes = dict[str, bool]()
    for index in ("main", "dev", "view", "dev,view"):
        page = ana.follow(send(ana, can="upload", index=index))
        assert token_in(page)
        publishes[index] = b"UV_PUBLISH_URL" in page.body

    assert publishes == {"main": True, "dev": True, "view": False, "dev,view": False}


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """Serve main, `dev` and `prod`, in which people have rights of several kinds."""
    folder: Path = tmp_path_factory.mktemp("indexes")
    names = ("ana", "bo", "cleo", "eve", "admin")
    (folder / "htpasswd").write_text("".join(f"{name}:{SHA}\n" for name in names))
    settings = Settings(
        access=AccessSettings(
            cookie_login=True,
            private=True,
            htpasswd_file=str(folder / "htpasswd"),
            htpasswd_may=(),
        ),
        server=ServerSettings(public_url="http://index"),
    )
    grants = [
        {"who": [f"htpasswd:{who}"], "projects": ["*"], "actions": [can], "index": index}
        for who, can, index in (
            ("ana", "read", "main,dev"),
            ("bo", "read", "dev,prod"),
            ("cleo", "read", "*"),
            ("admin", "admin", "*"),
        )
    ]
    tables = toml_of(index=({"name": "dev"}, {"name": "prod"}), grant=grants)
    with in_process(folder, settings, tables=tables) as opened:
        yield opened


@pytest.mark.parametrize(
    ("user", "query", "boxes"),
    [
        ("ana", "", {"main": True, "dev": False}),
        ("ana", "?index=dev", {"main": False, "dev": True}),
        ("ana", "?index=prod", {"main": True, "dev": False}),
        ("ana", "?index=*", {"main": True, "dev": False}),
        ("bo", "", {"dev": True, "prod": False}),
        ("bo", "?index=prod", {"dev": False, "prod": True}),
        ("cleo", "?index=*", {"main": True, "dev": False, "prod": False}),
        ("eve", "?index=dev", {}),
        ("admin", "", {"main": True, "dev": False, "prod": False, "*": False}),
        ("admin", "?index=prod", {"main": False, "dev": False, "prod": True, "*": False}),
    ],
)
def test_the_form_has_the_indexes_of_a_person(
    indexes: InProcessServer, user: str, query: str, boxes: dict[str, bool]
) -> None:
    """The form has the indexes in which a person has rights, and ticks that of the page before."""
    page = signed_in(indexes, user).open(f"{PAGE}{query}").body.decode()

    found = re.findall('name="index" value="([^"]*)"( checked)?', page)
    assert {name: bool(checked) for name, checked in found} == boxes
    assert ("all indexes" in page) == ("*" in boxes)
    assert "A link has filled in this form" not in page


@pytest.mark.parametrize(
    ("user", "index", "status", "words"),
    [
        ("ana", (), 400, "Choose the index that the token is for."),
        ("ana", ("dev",), 200, "read acme-* in the index dev"),
        ("ana", ("dev", "prod"), 403, "no more than its owner in the index prod"),
        ("ana", ("*",), 403, "about all indexes is for administrators"),
        ("bo", (), 400, "Choose the index that the token is for."),
        ("bo", ("main",), 403, "no more than its owner in the index main"),
        ("bo", ("dev", "prod"), 200, "read acme-* in the indexes dev and prod"),
        ("admin", ("*",), 200, "read acme-* in all indexes"),
    ],
)
def test_a_token_is_for_the_indexes_that_are_ticked(
    indexes: InProcessServer, user: str, index: tuple[str, ...], status: int, words: str
) -> None:
    """A token is for the indexes that are ticked, and for none where its owner may do less."""
    browser = signed_in(indexes, user)
    answer = send(browser, index=index)
    if status == 200:
        answer = browser.follow(answer)

    page = " ".join(unescape(re.sub("<[^>]*>", " ", answer.body.decode())).split())
    assert (answer.status, words in page) == (status, True), page
    ticked = re.findall('name="index" value="([^"]*)" checked', answer.body.decode())
    assert set(ticked) == (set() if status == 200 else set(index))


def test_a_new_token_is_shown_to_its_maker_alone(indexes: InProcessServer) -> None:
    """Who has the cookie of a new token, but not its maker's session, does not see the token."""
    ana, bo, admin = (signed_in(indexes, user) for user in ("ana", "bo", "admin"))
    answer = send(ana, index=("dev",))
    (cookie,) = [name for name in ana.cookies if "secret" in name]

    for browser in (bo, admin):
        browser.cookies[cookie] = ana.cookies[cookie]
        assert b"wyd_" not in browser.follow(answer).body
        page = browser.open(answer.headers["location"].replace("account", "admin"))
        assert b"wyd_" not in page.body


@pytest.mark.parametrize("path", ["", "setup/", "-/projects/1/", "as-of-2026-01-01/setup/"])
def test_pages_of_an_index_lead_to_a_token_for_it(indexes: InProcessServer, path: str) -> None:
    """From pages of an index, also as it was on a day, its menu leads to a token for that index."""
    ana = signed_in(indexes)

    for index, query in (("dev/", "?index=dev"), ("", "")):
        page = ana.open(f"/{index}{path}").body.decode()
        assert f'-/account/{query}"' in page
        account = ana.open(f"/{index}-/account/{query}")
        if index:
            assert account.headers["location"] == f"/-/account/{query}"
            account = ana.open(account.headers["location"])
        assert f'href="tokens/{query}"' in account.body.decode()


def test_the_set_up_page_and_an_empty_index_lead_to_a_token_for_it(
    indexes: InProcessServer,
) -> None:
    """The links beside the commands of an index lead to the form with that index, too."""
    admin, links = signed_in(indexes, "admin"), re.compile('href="[^"]*-/account/tokens/([^"]*)"')

    found = {
        path: set(map(unescape, links.findall(admin.open(path).body.decode())))
        for path in ("/dev/setup/", "/setup/", "/dev/", "/")
    }

    assert found == {
        "/dev/setup/": {"?can=upload&index=dev", "?can=read&index=dev"},
        "/setup/": {"?can=upload", "?can=read"},
        "/dev/": {"?index=dev"},
        "/": set(),  # nothing was ever published in main, so nobody publishes there
    }


def test_the_account_leads_only_to_the_tokens(indexes: InProcessServer) -> None:
    """Whatever the address of the account says in place of an index is a part of the query."""
    attack = urlencode({"index": '"><script>../../?x&index='})

    page = signed_in(indexes).open(f"/-/account/?{attack}").body.decode()

    (query,) = re.findall('href="tokens/[?]([^"]*)"', page)
    assert parse_qs(query) == parse_qs(attack)
