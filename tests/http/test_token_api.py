"""`/api/v1/tokens` and `/api/v1/whoami`: tokens that people have made, and who sees which."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import fields, replace

from tests.http.packages import post, wheel
from tests.http.people import ACCESS_TOKEN, GRANTS, STATIC, Office, running_office
from tests.http.servers import Site
from tests.http.tokens import ANA, EVE, ROBOT, ROOT, STRANGER, asked, listed, made, make
from tests.test_house import DOCS
from tests.waiting import until
from wheelyard.http.token_api import NewToken
from wheelyard.operations.tokens import OWNED_LIMIT, TokenRequest
from wheelyard.storage.memory import MemoryStore
from wheelyard.stores import real_ambient

pytestmark = pytest.mark.integration


def test_a_life_of_a_token(office: Office) -> None:
    """Somebody makes a token, publishes with it, finds it in their list, and revokes it."""
    answer = asked(office, can=["upload"], days=7)
    told = answer.json()
    token = told.pop("token")
    assert answer.status_code == 201
    assert told["id"] == token[4:14]
    assert (told["name"], told["owner"]) == ("my laptop", f"user:{ANA}")
    assert (told["can"], told["projects"]) == (["read", "upload"], ["acme-core"])
    assert (told["state"], told["created-by"]) == ("active", f"user:{ANA}")
    left = datetime.fromisoformat(told["expires"]) - real_ambient().now()
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
    assert post(office.site, wheel("acme-core"), token=token).status_code == 200
    (seen,) = [each for each in listed(office, ANA) if each["id"] == told["id"]]
    assert {**seen, "last-used": None} == told

    gone = office.ask("DELETE", f"tokens/{told['id']}", office.id_token(ANA))

    assert (gone.status_code, gone.content) == (204, b"")
    until(lambda: office.site.get("/simple/", token).status_code == 401)
    (found,) = [each for each in listed(office, ANA) if each["id"] == told["id"]]
    assert (found["state"], found["revoked-by"]) == ("revoked", f"user:{ANA}")
    assert office.ask("DELETE", f"tokens/{told['id']}", office.id_token(ANA)).status_code == 204


def test_when_a_token_was_last_used(office: Office) -> None:
    """The list tells on which day a token was last used, to its owner and to itself."""
    token, other = made(office), made(office)
    before = real_ambient().now().date()
    assert office.ask("GET", "whoami", token).status_code == 200
    after = real_ambient().now().date()

    def days(secret: str, token: str) -> list[str | None]:
        found = office.ask("GET", "tokens", secret).json()["tokens"]
        return [each["last-used"] for each in found if each["id"] == token[4:14]]

    own = office.id_token(ANA)
    until(lambda: days(own, token) != [None])
    assert days(own, token)[0] in (str(before), str(after))
    assert days(own, other) == [None]
    assert days(token, token) == days(own, token)


def test_too_many_tokens(tmp_path: Path) -> None:
    """Somebody who has a hundred tokens makes no more, and is told which to revoke."""
    with running_office(tmp_path) as office:
        ana = f"user:{ANA}"
        request = TokenRequest(name="laptop", owner=ana, owner_names=(ana,))
        _, record = office.index.tokens.create(request, by=ana)
        for _ in range(OWNED_LIMIT - 1):
            office.index.tokens.create(request, by=ana)

        answer = asked(office)

        assert (answer.status_code, answer.json()["error"]) == (409, "too_many_tokens")
        assert len(listed(office, ANA)) == OWNED_LIMIT
        assert make(office, EVE, {"projects": ["shared"], "can": ["read"]}).status_code == 201
        assert office.ask("DELETE", f"tokens/{record.id}", office.id_token(ANA)).status_code == 204
        assert asked(office).status_code == 201


def test_an_account_that_was_made_anew(office: Office) -> None:
    """Who has the e-mail of a deleted account neither sees nor revokes its tokens."""
    token_id = made(office, ROBOT, can=["read"])[4:14]
    assert token_id in {each["id"] for each in listed(office, ROBOT)}
    credentials = office.index.tokens.credentials
    snapshot = credentials.latest(token_id)
    assert snapshot.value is not None
    names = (f"serviceAccount:{ROBOT}", f"serviceAccount:{ROBOT}#1")
    assert credentials.replace(replace(snapshot.value, owner_names=names), snapshot)

    gone = office.ask("DELETE", f"tokens/{token_id}", office.id_token(ROBOT))

    assert gone.status_code == 404
    assert token_id not in {each["id"] for each in listed(office, ROBOT)}
    assert token_id in {each["id"] for each in listed(office, ROOT)}


def test_nothing_is_told_that_a_token_is_known_by(office: Office) -> None:
    """No list has a token or its digest in it, and no answer may be kept."""
    token, someone = made(office), office.id_token(ANA)
    answers = [
        office.ask("GET", "tokens", someone),
        office.ask("GET", "tokens", office.id_token(ROOT)),
        office.ask("GET", "whoami", token),
        asked(office),
        asked(office, name=""),
        office.ask("DELETE", "tokens/0123456789", someone),
        office.ask("GET", "tokens"),
    ]

    for answer in answers:
        assert answer.headers.get_list("Cache-Control") == ["no-store"]
        assert token not in answer.text
        assert "sha256" not in answer.text
        record = office.index.tokens.credentials.get(token[4:14]).value
        assert record is not None
        assert record.sha256 not in answer.text


def test_who_sees_which(office: Office) -> None:
    """People see their own tokens, an administrator sees all of them, and a token sees itself."""
    ana, eve = made(office), made(office, EVE, projects=["shared"], can=["read"])
    ids = {each["id"] for each in listed(office, ANA)}
    assert ana[4:14] in ids
    assert eve[4:14] not in ids
    assert {each["owner"] for each in listed(office, EVE)} == {f"user:{EVE}"}
    every = {each["id"] for each in listed(office, ROOT)}
    assert {ana[4:14], eve[4:14], office.site.token[4:14]} <= every

    for token in (ana, eve, office.site.token):
        seen = office.ask("GET", "tokens", token).json()["tokens"]
        assert [each["id"] for each in seen] == [token[4:14]]
    for other in (STATIC, ACCESS_TOKEN, office.ci.token()):
        assert office.ask("GET", "tokens", other).json() == {"tokens": []}


def test_a_false_word_of_the_proxy(office: Office) -> None:
    """What the proxy has not signed is worth nothing, and is not read beside a credential."""
    forged = office.assertion(ANA)[:-8] + "AAAAAAAA"
    eve = office.id_token(EVE)

    assert office.ask("GET", "whoami", "", X_Goog_IAP_JWT_Assertion=forged).status_code == 401
    seen = office.ask("GET", "whoami", eve, X_Goog_IAP_JWT_Assertion=office.assertion(ANA))
    assert seen.json()["principal"] == f"user:{EVE}"


def test_who_may_keep_a_page_behind_googles_proxy(office: Office) -> None:
    """A page is for whom the proxy has let through, though anybody may read the index."""
    headers = {"X-Goog-IAP-JWT-Assertion": office.assertion(ANA)}
    page = office.site.client.get("/", headers=headers)

    assert (page.status_code, page.headers["cache-control"]) == (200, "private, no-cache")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", "tokens"), ("POST", "tokens"), ("DELETE", "tokens/0123456789")),
        *(("POST", "tokens/self/revoke"), ("GET", "whoami"), ("GET", "tokens/x/y")),
    ],
)
def test_nobody_in_particular(office: Office, method: str, path: str) -> None:
    """Where reading is closed, whoever sends no credential, or a bad one, gets 401."""
    for secret in ("", "wyd_nothing", "x"):
        answer = office.ask(method, path, secret, {} if method == "POST" else None)
        assert answer.status_code == 401
        assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "tokens", "GET, HEAD, POST, OPTIONS"),
        ("GET", "tokens/0123456789", "DELETE, OPTIONS"),
        ("POST", "tokens/0123456789", "DELETE, OPTIONS"),
        ("GET", "tokens/self/revoke", "POST, OPTIONS"),
        ("POST", "whoami", "GET, HEAD, OPTIONS"),
    ],
)
def test_other_methods(office: Office, method: str, path: str, allowed: str) -> None:
    """These paths, too, say which methods they take."""
    answer = office.ask(method, path, office.id_token(ANA))
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)


def test_without_the_body(office: Office) -> None:
    """HEAD answers as GET does, without the body."""
    for path in ("tokens", "whoami"):
        answer = office.ask("HEAD", path, office.id_token(ANA))
        assert (answer.status_code, answer.content) == (200, b"")


def test_who_one_is(office: Office, site: Site) -> None:
    """Everybody can ask by which names grants call them, and what they may do."""
    seen = office.ask("GET", "whoami", office.id_token(ANA)).json()
    assert seen["principal"] == f"user:{ANA}"
    assert seen["principals"] == ["allAuthenticated", "anonymous", "domain:acme.dev", f"user:{ANA}"]
    assert {"can": ["read", "upload"], "projects": ["acme-*"]} in seen["rights"]
    stranger = office.ask("GET", "whoami", office.id_token(STRANGER))
    assert (stranger.status_code, stranger.json()["rights"]) == (200, [])
    minted = office.ask("GET", "whoami", office.ci.token()).json()
    assert minted["principals"] == ["anonymous", "publisher:ci-demo"]
    anyone = {"can": ["read"], "projects": ["*"]}
    assert site.get("/api/v1/whoami").json() == {
        "principal": "anonymous",
        "principals": ["anonymous"],
        "rights": [anyone],
    }


def test_whoever_loses_a_grant_loses_it_for_their_tokens(tmp_path: Path) -> None:
    """A token opens nothing that its owner may not do any more (row 85)."""
    store = MemoryStore(lambda: 0.0)
    with running_office(tmp_path / "before", store=store) as office:
        token = made(office, projects=["acme-*", "shared"], can=["read"])
        assert post(office.site, wheel("acme-core")).status_code == 200
        assert office.site.get("/simple/acme-core/", token).status_code == 200
    with running_office(tmp_path / "after", GRANTS[2:], store) as office:
        assert office.site.get("/simple/acme-core/", token).status_code == 404
        seen = office.ask("GET", "whoami", token).json()
        assert seen["rights"] == [{"can": ["read"], "projects": ["shared"]}]
    with running_office(tmp_path / "never", GRANTS[3:], store) as office:
        assert office.site.get("/simple/acme-core/", token).status_code == 404
        assert office.ask("POST", "tokens/self/revoke", token).status_code == 204


def test_the_description_of_a_token() -> None:
    """docs/openapi.json has every field of a request for a token, and every route."""
    described = json.loads((DOCS / "openapi.json").read_text())
    schema = described["components"]["schemas"]["NewToken"]

    assert set(schema["properties"]) == {each.name for each in fields(NewToken)}
    assert set(schema["required"]) == {each.name for each in fields(NewToken) if each.required}
    routes = {
        (path.removeprefix("/api/v1/"), method)
        for path, item in described["paths"].items()
        for method in item
    }
    assert {
        *(("tokens", "get"), ("tokens", "post"), ("tokens/{id}", "delete")),
        *(("tokens/self/revoke", "post"), ("whoami", "get")),
    } <= routes
