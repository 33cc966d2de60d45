"""Links that fill in the form of a token, as that of `wheelyard login` does."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.http.browser import Browser
from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import toml_of
from wheelyard.model.grants import GrantFields
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings

PASSWORD = "s3cret"
PAGE = "/-/account/tokens/"
GRANTS: tuple[dict[str, object], ...] = (
    {"who": ["htpasswd:ana"], "projects": ["acme-*"], "actions": ["upload"]},
    {"who": ["htpasswd:ana"], "projects": ["tools"], "actions": ["read"]},
    {"who": ["htpasswd:ana"], "projects": ["prod-*"], "actions": ["manage"], "index": "prod"},
)
TABLES = toml_of(index=({"name": "dev"}, {"name": "prod"}), grant=GRANTS)
UPLOAD, IN_MAIN = "can read and upload to", "in the index main"
CUT = "more than you may give, or for what no token has"
EMPTY = {"can": ["read"], "projects": [""], "days": ["90"], "name": [""], "index": ["main"]}
"""The form as it is before somebody fills it in."""
WARNING = "If somebody has sent you the link, close this page"


def settings_in(folder: Path, prefix: str = "", **access: object) -> Settings:
    """Return the settings of a private index with ana, who has rights, and others."""
    names = ("ana", "bo", "cleo", "admin", "reader")
    (folder / "htpasswd").write_text("".join(f"{name}:{SHA}\n" for name in names))
    values = {"cookie_login": True, "htpasswd_file": str(folder / "htpasswd"), **access}
    return Settings(
        access=AccessSettings(private=True, htpasswd_may=(), **values),  # type: ignore[arg-type]
        server=ServerSettings(public_url=f"http://index{prefix}", path_prefix=prefix),
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """Serve a private index."""
    folder: Path = tmp_path_factory.mktemp("server")
    with in_process(folder, settings_in(folder), tables=TABLES) as opened:
        yield opened


def signed_in(server: InProcessServer, user: str = "ana") -> Browser:
    """Return the browser of somebody who has signed in."""
    browser = Browser(server)
    assert browser.sign_in(user, PASSWORD).status == 303
    return browser


@pytest.fixture(scope="module")
def ana(server: InProcessServer) -> Browser:
    """The browser of Ana, who has signed in."""
    return signed_in(server)


def filled(browser: Browser, query: str, page: str = PAGE) -> tuple[dict[str, list[str]], str]:
    """Return the fields of the form as a link fills it in, and the text of the page."""
    answer = browser.open(f"{page}?{query}")
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    html = answer.body.decode()
    fields = dict[str, list[str]]()
    for tag in re.findall("<input[^>]*>", html):
        named = re.search('name="(can|projects|name|days|index)"', tag)
        value = re.search('value="([^"]*)"', tag)
        is_chosen = "type=" not in tag or " checked" in tag
        if named and value and is_chosen:
            fields.setdefault(named[1], []).append(unescape(value[1]))
    text = re.sub(r"\s+", " ", unescape(re.sub("<[^>]*>", " ", html)))
    return fields, text


@pytest.mark.parametrize(
    ("query", "can", "projects", "words"),
    [
        (
            "projects=acme-core",
            "upload",
            "acme-core",
            f"{UPLOAD} acme-core {IN_MAIN}, for 90 days.",
        ),
        ("projects=acme-a&days=1", "upload", "acme-a", f"{UPLOAD} acme-a {IN_MAIN}, for 1 day."),
        ("projects=*", "upload", "acme-*", f"{UPLOAD} acme-* {IN_MAIN}, for 90 days."),
        ("projects=*&can=manage", "upload", "acme-*", f"{UPLOAD} acme-* {IN_MAIN}, for 90 days."),
        ("projects=*&index=main", "upload", "acme-*", f"{UPLOAD} acme-* {IN_MAIN}, for 90 days."),
        ("projects=tools", "read", "tools", f"can read tools {IN_MAIN}, for 90 days."),
        ("projects=x,acme-a", "upload", "acme-a", f"{UPLOAD} acme-a {IN_MAIN}, for 90 days."),
        (
            "projects=acme-*,tools&can=read",
            *("read", "acme-*, tools", f"can read acme-*, tools {IN_MAIN}, for 90 days."),
        ),
        (
            "projects=prod-*&can=manage&index=prod",
            *(
                "manage",
                "prod-*",
                "can read, upload to and manage prod-* in the index prod, for 90",
            ),
        ),
    ],
)
def test_a_link_fills_in_what_its_reader_may_give(
    ana: Browser, query: str, can: str, projects: str, words: str
) -> None:
    """A link fills in the form within the rights of who reads it, and the page says it in words."""
    asked = {"can": ["upload"], "days": ["90"], "index": ["main"], **parse_qs(query)}

    sent = {"can": asked["can"], "name": "lab", **parse_qs(query)}
    fields, text = filled(ana, urlencode(sent, doseq=True))

    assert (fields["can"], fields["projects"], fields["name"]) == ([can], [projects], ["lab"])
    assert (fields["days"], fields["index"]) == (asked["days"], asked["index"])
    assert f"the token {words}" in text
    assert WARNING in text
    is_whole = (fields["can"], projects.replace(", ", ",")) == (asked["can"], asked["projects"][0])
    assert (CUT in text) == (not is_whole)


@pytest.mark.parametrize(("can", "is_cut"), [("upload", False), ("manage", True)])
def test_a_link_may_leave_the_projects_to_its_reader(
    ana: Browser, can: str, *, is_cut: bool
) -> None:
    """A link without projects fills in what its reader may do at most, and says if that is less."""
    fields, text = filled(ana, f"can={can}&name=lab")

    assert fields == {**EMPTY, "can": ["upload"], "name": ["lab"]}
    assert (CUT in text) == is_cut


@pytest.mark.parametrize(
    "query",
    [
        "can=admin&projects=*",
        "can=rubbish&projects=acme-*",
        "can=approve&projects=*",
        "can=read&can=upload&projects=acme-*",
        "can=read&projects=acme-*-x",
        f"can=read&projects={','.join(f'acme-{number}' for number in range(101))}",
        f"can=read&projects={'a' * 300}",
        "can=read&projects=secret-*",
        "can=read&projects=acme-*&index=qa",
        "can=read&projects=acme-*&index=dev,prod",
        "can=manage&projects=acme-*&index=prod",
        "can=manage&projects=prod-*&index=prod&index=dev",
        "can=read&projects=acme-*&index=..%2F..%2F",
        "can=read&projects=*&index=*",
        "can=read&projects=*&index=main,*",
    ],
)
def test_no_rights_are_filled_in_for_others(ana: Browser, query: str) -> None:
    """Rights that are malformed, or none of its reader's, are left out as a whole."""
    fields, text = filled(ana, f"{query}&name=lab")

    # of these, ana has rights in prod alone, so that its box is ticked as for any page of it
    preset = "prod" if query.endswith("&index=prod") else "main"
    assert fields == {**EMPTY, "name": ["lab"], "index": [preset]}
    assert "As it is filled in" not in text
    assert CUT in text
    assert WARNING in text


@pytest.mark.parametrize(
    "query",
    [
        "days=0",
        "days=366",
        "days=-1",
        "days=x",
        "days=%D9%A3",
        "days=7&days=8",
        "name=a%0Ab",
        f"name={'a' * 101}",
        "name=a&name=b",
    ],
)
def test_what_no_token_has_is_left_out(ana: Browser, query: str) -> None:
    """A lifetime or a name that no token can have is left out, and all else filled in."""
    fields, text = filled(ana, f"{query}&can=read&projects=tools")

    assert fields == {**EMPTY, "projects": ["tools"]}
    assert CUT in text


def test_a_link_without_an_index_is_about_one_that_its_reader_has(server: InProcessServer) -> None:
    """Who has no rights in main gets the first other index, with what they have in that one."""
    grant = GrantFields(
        who=("htpasswd:cleo",), projects=("lab-*",), actions=("read",), index="dev,prod"
    )
    server.index.server.access.grant(grant, "local:op")
    cleo = signed_in(server, "cleo")

    fields, text = filled(cleo, "can=upload&projects=*")

    assert fields == {**EMPTY, "projects": ["lab-*"], "index": ["dev"]}
    assert "can read lab-* in the index dev, for 90 days." in text
    assert CUT in text
    both, text = filled(cleo, "can=read&projects=lab-*&index=prod&index=dev")
    assert (both["index"], CUT in text) == (["dev", "prod"], False)


def test_a_link_can_ask_an_administrator_for_all_indexes(server: InProcessServer) -> None:
    """The box of all indexes is for administrators of the server, whom a link can ask for it."""
    for who, can in (("admin", "admin"), ("reader", "read")):
        grant = GrantFields(who=(f"htpasswd:{who}",), projects=("*",), actions=(can,), index="*")
        server.index.server.access.grant(grant, "local:op")

    fields, text = filled(signed_in(server, "admin"), "can=read&projects=acme-*&index=*")
    others, cut = filled(signed_in(server, "reader"), "can=read&projects=acme-*&index=*")

    assert fields == {**EMPTY, "projects": ["acme-*"], "index": ["*"]}
    assert ("can read acme-* in all indexes, for 90 days." in text, CUT in text) == (True, False)
    assert (others, CUT in cut) == (EMPTY, True)


def test_a_link_to_an_index_alone_fills_in_nothing(ana: Browser) -> None:
    """A page of an index leads to the form of its tokens, which is as it is without a link."""
    fields, text = filled(ana, "index=prod")

    assert fields == {**EMPTY, "index": ["prod"]}
    assert WARNING not in text
    assert CUT not in text


def test_a_link_does_nothing_else(server: InProcessServer, ana: Browser) -> None:
    """A link neither sends the form nor another one, leads nowhere else, and injects no markup."""
    before = len(server.index.tokens.all())
    attack = '"><script>alert(1)</script>'
    query = urlencode(
        {
            "name": attack,
            "can": "read",
            "projects": "tools",
            "action": "create",
            "csrf_token": "x",
            "owner": "htpasswd:bo",
            "next": "https://thief.example/",
            "formaction": "https://thief.example/",
        }
    )

    answer = ana.open(f"{PAGE}?{query}")

    html = answer.body.decode()
    assert len(server.index.tokens.all()) == before
    assert "location" not in answer.headers
    assert "thief.example" not in html.partition("<main")[2]
    assert attack not in html
    assert filled(ana, query)[0]["name"] == [attack]
    assert "form-action 'self'" in answer.headers["content-security-policy"]
    assert "refresh" not in answer.headers
    actions = re.findall('<form[^>]* action="([^"]*)"', html.partition("<main")[2])
    assert actions == ["./"]
    assert ana.open(f"{PAGE}?name={'a' * 100_000}").status == 414
    assert ana.open(f"{PAGE}?name=%FF").status == 400


def test_a_link_says_that_there_are_no_rights(server: InProcessServer) -> None:
    """Whoever has no rights, or no credential, gets nothing filled in."""
    fields, text = filled(signed_in(server, "bo"), "can=read&projects=*&name=lab")

    assert (fields["projects"], CUT in text) == ([""], True)
    anonymous = Browser(server).open(f"{PAGE}?can=read&projects=*&name=lab")
    assert (anonymous.status, b'value="lab"' in anonymous.body) == (401, False)


@pytest.mark.parametrize("prefix", ["", "/packages"])
def test_a_person_signs_in_on_the_way(tmp_path: Path, prefix: str) -> None:
    """Who opens the link signs in first, and finds the form filled in; so after an hour."""
    link = f"{prefix}{PAGE}?can=upload&projects=acme-*&name=lab+%26+co&days=7"
    wanted = {
        "can": ["upload"],
        "projects": ["acme-*"],
        "name": ["lab & co"],
        "days": ["7"],
        "index": ["main"],
    }
    with in_process(tmp_path, settings_in(tmp_path, prefix), tables=TABLES) as server:
        browser = Browser(server)
        for again in (False, True):
            if again:
                server.clock.advance(hours=1, seconds=1)
            asked = browser.open(link).body.decode()
            assert "Make the token" not in asked
            if again:
                (url,) = set(re.findall(f'href="({prefix}/-/sign-in/[^"]*lab[^"]*)"', asked))
                (target,) = parse_qs(urlsplit(unescape(url)).query)["next"]
            else:  # the page is the form itself
                (value,) = re.findall('name="next" value="([^"]*lab[^"]*)"', asked)
                target = unescape(value)
            fields = {"user": "ana", "password": PASSWORD, "next": target}
            answer = browser.send(f"{prefix}/-/sign-in/", fields)
            assert answer.status == 303
            page, _, query = answer.headers["location"].partition("?")
            assert page == f"{prefix}{PAGE}"

            assert filled(browser, query, page)[0] == wanted


def test_a_link_below_an_index_leads_to_the_page(ana: Browser) -> None:
    """A link below an index leads to the server's page, with all of its fields and the index."""
    answer = ana.open(f"/prod{PAGE}?can=read&name=lab")

    assert answer.headers["location"] == f"{PAGE}?can=read&name=lab&index=prod"


def test_a_read_only_server_makes_none(tmp_path: Path) -> None:
    """A read-only server has no form that a link could fill in, and says why."""
    settings = settings_in(tmp_path, cookie_login=False)
    read_only = ServerSettings(read_only=True, public_url="http://index")
    settings = Settings(access=settings.access, server=read_only)
    with in_process(tmp_path, settings, tables=TABLES) as server:
        basic = ("Authorization", "Basic YW5hOnMzY3JldA==")
        answer = Browser(server).open(f"{PAGE}?can=read&projects=tools&name=lab", basic)

    assert (answer.status, b"Make the token" in answer.body) == (200, False)
    assert b"takes no uploads and no changes" in answer.body


def test_what_programs_had_is_refused(server: InProcessServer, ana: Browser) -> None:
    """The endpoints of earlier versions are closed to strangers, and their page is not there."""
    for path in ("/_/login/device", "/_/login/token"):
        headers = (("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", "3"))
        answer = server.get(path, *headers, method="POST", body=[b"x=1"])
        assert answer.status == 401
    assert ana.open("/-/login/?request=5b22").status == 404
