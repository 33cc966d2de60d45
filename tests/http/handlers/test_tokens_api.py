"""`/api/v1/tokens` and `/api/v1/whoami`: who makes which tokens, sees them, and ends them."""

import reprlib
from base64 import b64encode
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.distributions import make_wheel
from tests.http.google_users import (
    ACCESS_TOKEN,
    INDEX,
    PASSWORD,
    STATIC,
    GoogleUsersServer,
    running_google_server,
)
from tests.http.packages import post
from tests.http.servers import Answer, RunningServer
from tests.waiting import until
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.model.access import parse_actions, parse_pattern
from wheelyard.wiring.stores import system_runtime

pytestmark = pytest.mark.integration

ANA = "ana@acme.dev"
EVE = "eve@acme.dev"
ROOT = "root@acme.dev"
STRANGER = "stranger@example.org"
ROBOT = "ci@p.iam.gserviceaccount.com"
WANTED = {"name": "my laptop", "projects": ["acme-core"]}


def make(users: GoogleUsersServer, email: str, changes: dict[str, object]) -> Answer:
    """Create a personal token of a user."""
    return users.ask("POST", "tokens", users.id_token(email), {**WANTED, **changes})


def asked(users: GoogleUsersServer, **changes: object) -> Answer:
    """Create a personal token of Ana."""
    return make(users, ANA, changes)


def make_token(users: GoogleUsersServer, email: str = ANA, **changes: object) -> str:
    """Create a personal token of a user, and return it."""
    answer = make(users, email, changes)
    assert answer.status_code == 201, answer.text
    text: str = answer.json()["token"]
    return text


def listed(users: GoogleUsersServer, email: str) -> list[dict[str, object]]:
    """Return the tokens that the API lists for a user."""
    answer = users.ask("GET", "tokens", users.id_token(email))
    assert answer.status_code == 200
    found: list[dict[str, object]] = answer.json()["tokens"]
    return found


def time_left(token: dict[str, str]) -> timedelta:
    """Return how long a token is still good for."""
    return datetime.fromisoformat(token["expires"]) - system_runtime().now()


def test_user_makes_uses_and_revokes_a_token(users: GoogleUsersServer) -> None:
    """A user creates a token, good for 90 days unless said, uses it, lists it, and revokes it."""
    usual = asked(users).json()
    assert usual["can"] == ["read", "upload"]
    assert timedelta(days=89) < time_left(usual) <= timedelta(days=90)
    answer = asked(users, can=["upload"], days=7)
    created = answer.json()
    token = created.pop("token")
    assert answer.status_code == 201
    assert created["id"] == token[4:14]
    assert (created["name"], created["owner"]) == ("my laptop", f"user:{ANA}")
    assert (created["can"], created["projects"]) == (["read", "upload"], ["acme-core"])
    assert (created["state"], created["created-by"]) == ("active", f"user:{ANA}")
    assert timedelta(days=6, hours=23) < time_left(created) <= timedelta(days=7)
    assert post(users.server, make_wheel("acme-core"), token=token).status_code == 200
    (seen,) = [each for each in listed(users, ANA) if each["id"] == created["id"]]
    assert {**seen, "last-used": None} == {**created, "marks": ["expiring"]}

    gone = users.ask("DELETE", f"tokens/{created['id']}", users.id_token(ANA))

    assert (gone.status_code, gone.content) == (204, b"")
    until(lambda: users.server.get("/simple/", token).status_code == 401)
    (found,) = [each for each in listed(users, ANA) if each["id"] == created["id"]]
    assert (found["state"], found["revoked-by"]) == ("revoked", f"user:{ANA}")
    assert users.ask("DELETE", f"tokens/{created['id']}", users.id_token(ANA)).status_code == 204


def test_list_says_when_a_token_was_last_used(users: GoogleUsersServer) -> None:
    """The list tells on which day a token was last used, to its owner and to itself."""
    token, other = make_token(users), make_token(users)
    before = system_runtime().now().date()
    assert users.ask("GET", "whoami", token).status_code == 200
    after = system_runtime().now().date()

    def days(secret: str, token: str) -> list[str | None]:
        found = users.ask("GET", "tokens", secret).json()["tokens"]
        return [each["last-used"] for each in found if each["id"] == token[4:14]]

    own = users.id_token(ANA)
    until(lambda: days(own, token) != [None])
    assert days(own, token)[0] in (str(before), str(after))
    assert days(own, other) == [None]
    assert days(token, token) == days(own, token)


def test_new_account_does_not_get_old_tokens(users: GoogleUsersServer) -> None:
    """Who has the e-mail of a deleted account neither sees nor revokes its tokens."""
    token_id = make_token(users, ROBOT, can=["read"])[4:14]
    assert token_id in {each["id"] for each in listed(users, ROBOT)}
    credentials = users.index.tokens.records
    snapshot = credentials.get_for_update(token_id)
    assert snapshot.value is not None
    names = (f"serviceAccount:{ROBOT}", f"serviceAccount:{ROBOT}#1")
    assert credentials.replace(replace(snapshot.value, owner_names=names), snapshot)

    gone = users.ask("DELETE", f"tokens/{token_id}", users.id_token(ROBOT))

    assert gone.status_code == 404
    assert token_id not in {each["id"] for each in listed(users, ROBOT)}
    assert token_id in {each["id"] for each in listed(users, ROOT)}


def test_nothing_is_told_that_a_token_is_known_by(users: GoogleUsersServer) -> None:
    """No list has a token or its digest in it, and no answer may be kept."""
    token, someone = make_token(users), users.id_token(ANA)
    answers = [
        users.ask("GET", "tokens", someone),
        users.ask("GET", "tokens", users.id_token(ROOT)),
        users.ask("GET", "whoami", token),
        asked(users),
        asked(users, name=""),
        users.ask("DELETE", "tokens/0123456789", someone),
        users.ask("GET", "tokens"),
    ]

    for answer in answers:
        assert answer.headers.get_list("Cache-Control") == ["no-store"]
        assert token not in answer.text
        assert "sha256" not in answer.text
        record = users.index.tokens.records.get(token[4:14]).value
        assert record is not None
        assert record.sha256 not in answer.text


def test_only_administrators_make_tokens_for_others(users: GoogleUsersServer) -> None:
    """An administrator makes tokens for others and for nobody, and nobody else does."""
    eve = f"user:{EVE},domain:acme.dev"
    for owner, names in ((None, ()), (eve, (f"user:{EVE}", "domain:acme.dev"))):
        token = make_token(users, ROOT, owner=owner)
        record = users.index.tokens.records.get(token[4:14]).value
        assert record is not None
        assert (record.owner, record.created_by) == (names[0] if names else "", f"user:{ROOT}")
        assert set(names) <= set(record.owner_names)
        refused = make(users, ANA, {"owner": owner})
        assert refused.status_code == 403
        assert f"Name yourself as the owner: user:{ANA}." in refused.json()["message"]
    for somebody, status in (("htpasswd:bob", 201), ("htpasswd:eve", 400), ("oidc:acme:eve", 400)):
        assert make(users, ROOT, {"owner": somebody}).status_code == status
        # nobody else learns who has a password
        assert make(users, ANA, {"owner": somebody}).status_code == 403
    assert make(users, ANA, {"owner": "eve"}).status_code == 400


def test_owner_and_administrator_rotate_a_token(users: GoogleUsersServer) -> None:
    """An administrator rotates each token, by its name, too; an owner an own one, by its id."""
    token = make_token(users, name="of one name")

    def rotated(secret: str, text: str, **fields: object) -> Answer:
        return users.ask("POST", "tokens/rotate", secret, {"token": text, **fields})

    ana = users.id_token(ANA)
    for secret, text, status in (
        *((users.id_token(EVE), token[4:14], 404), (ana, "of one name", 404), (token, "x", 403)),
        *((ana, "0123456789", 404), (users.id_token(ROOT), "no such name", 404)),
    ):
        assert rotated(secret, text).status_code == status, (text, status)
    assert rotated(ana, token[4:14], hours=-1).status_code == 400
    first = rotated(ana, token[4:14], hours=0)
    second = rotated(users.id_token(ROOT), "of one name")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["replaces"]["revoked-by"] == f"user:{ANA}"
    assert second.json()["replaces"]["id"] == first.json()["id"] == first.json()["token"][4:14]
    assert second.json()["owner"] == f"user:{ANA}"


def test_owner_gets_no_unproven_principal(users: GoogleUsersServer) -> None:
    """Who names itself as the owner gets no principal that its credential does not prove."""
    token = make_token(users, ANA, owner=f"user:{ANA},domain:other.example")

    record = users.index.tokens.records.get(token[4:14]).value
    assert record is not None
    assert record.owner == f"user:{ANA}"
    assert "domain:other.example" not in record.owner_names


def test_people_see_their_own_tokens(users: GoogleUsersServer) -> None:
    """People see their own tokens, an administrator sees all of them, and a token sees itself."""
    ana, eve = make_token(users), make_token(users, EVE, projects=["shared"], can=["read"])
    ids = {each["id"] for each in listed(users, ANA)}
    assert ana[4:14] in ids
    assert eve[4:14] not in ids
    assert {each["owner"] for each in listed(users, EVE)} == {f"user:{EVE}"}
    every = {each["id"] for each in listed(users, ROOT)}
    assert {ana[4:14], eve[4:14], users.server.token[4:14]} <= every

    for token in (ana, eve, users.server.token):
        seen = users.ask("GET", "tokens", token).json()["tokens"]
        assert [each["id"] for each in seen] == [token[4:14]]
    for other in (STATIC, ACCESS_TOKEN, users.ci.token()):
        assert users.ask("GET", "tokens", other).json() == {"tokens": []}


def test_who_may_keep_a_page_behind_googles_proxy(users: GoogleUsersServer) -> None:
    """A page is for whom the proxy has let through, though anybody may read the index."""
    headers = {"X-Goog-IAP-JWT-Assertion": users.assertion(ANA)}
    page = users.server.client.get("/", headers=headers)

    assert (page.status_code, page.headers["cache-control"]) == (200, "private, no-cache")


def test_request_without_a_credential_is_refused(users: GoogleUsersServer) -> None:
    """On a private index, requests without valid credentials are 401."""
    requests = ("GET tokens", "POST tokens", "DELETE tokens/0123456789", "GET tokens/x/y")
    for request in (*requests, "POST tokens/self/revoke", "GET whoami"):
        method, path = request.split()
        for secret in ("", "wyd_nothing", "x"):
            answer = users.ask(method, path, secret, {} if method == "POST" else None)
            assert answer.status_code == 401
            assert "WWW-Authenticate" in answer.headers


def test_caller_can_ask_for_its_rights(users: GoogleUsersServer, server: RunningServer) -> None:
    """Every caller can ask for its principals and rights."""
    seen = users.ask("GET", "whoami", users.id_token(ANA)).json()
    assert seen["principal"] == f"user:{ANA}"
    assert seen["principals"] == ["allAuthenticated", "anonymous", "domain:acme.dev", f"user:{ANA}"]
    assert {"can": ["read", "upload"], "projects": ["acme-*"], "index": "main"} in seen["rights"]
    stranger = users.ask("GET", "whoami", users.id_token(STRANGER))
    assert (stranger.status_code, stranger.json()["rights"]) == (200, [])
    minted = users.ask("GET", "whoami", users.ci.token()).json()
    assert minted["principals"] == ["anonymous", "publisher:ci-demo"]
    anyone = {"can": ["read"], "projects": ["*"], "index": "main"}
    assert server.get("/api/v1/whoami").json() == {
        "principal": "anonymous",
        "principals": ["anonymous"],
        "rights": [anyone],
    }


def test_right_of_everybody_is_told_once(tmp_path: Path) -> None:
    """A right that everybody has is told once, also to whoever has signed in."""
    grant: dict[str, object] = {"who": ["anonymous"], "projects": ["acme-*"], "actions": ["read"]}
    with running_google_server(tmp_path, [grant], is_private=False) as users:
        seen = users.ask("GET", "whoami", users.id_token(ANA)).json()

    assert seen["rights"] == [{"can": ["read"], "projects": ["acme-*"], "index": "main"}]


def test_whoever_loses_a_grant_loses_it_for_their_tokens(tmp_path: Path) -> None:
    """A token opens nothing that its owner may not do any more."""
    with running_google_server(tmp_path) as users:
        access = users.index.server.access
        first, second, third, *_ = (grant.id for grant in access.show().grants)

        def status() -> int:
            return users.server.get("/simple/acme-core/", token).status_code

        token = make_token(users, projects=["acme-*", "shared"], can=["read"])
        assert post(users.server, make_wheel("acme-core")).status_code == 200
        assert status() == 200
        access.revoke(first, "local:test")
        access.revoke(second, "local:test")
        until(lambda: status() == 404)
        seen = users.ask("GET", "whoami", token).json()
        assert seen["rights"] == [{"can": ["read"], "projects": ["shared"], "index": "main"}]
        access.revoke(third, "local:test")
        until(lambda: users.ask("GET", "whoami", token).json()["rights"] == [])
        assert status() == 404
        assert users.ask("POST", "tokens/self/revoke", token).status_code == 204


@pytest.mark.parametrize(
    ("email", "can", "projects", "status"),
    [
        (ANA, ["read", "upload"], ["Acme_Core", "acme-x*", "tools"], 201),
        (ROOT, ["manage"], ["*"], 201),
        (ROBOT, ["read"], ["*"], 201),
        (ANA, ["manage"], ["acme-core"], 403),
        (ANA, ["upload"], ["acme-core", "other"], 403),
        (EVE, ["read"], ["acme-core"], 403),
        (STRANGER, ["read"], ["*"], 403),
    ],
)
def test_token_may_do_no_more_than_its_maker(
    users: GoogleUsersServer, email: str, can: list[str], projects: list[str], status: int
) -> None:
    """A token may do what its maker may do, or less, and never more."""
    assert make(users, email, {"can": can, "projects": projects}).status_code == status


def test_no_token_makes_a_token(users: GoogleUsersServer) -> None:
    """No token can create a token, not even one of an administrator."""
    everything = users.server.token
    of_root = make_token(users, ROOT, can=["admin"], projects=["*"])
    before = len(listed(users, ROOT))
    answers = [
        users.ask("POST", "tokens", secret, {"name": "x", "projects": ["demo"], "can": ["read"]})
        for secret in (
            everything,
            of_root,
            make_token(users),
            STATIC,
            ACCESS_TOKEN,
            users.ci.token(),
        )
    ]

    assert [answer.status_code for answer in answers] == [403] * 6
    assert {answer.json()["error"] for answer in answers} == {"forbidden"}
    assert len(listed(users, ROOT)) == before + 2  # Ana's, and the minted one


def test_a_token_of_an_administrator_changes_no_rights(users: GoogleUsersServer) -> None:
    """A token of an administrator sees rights and tokens, and makes neither; a free one does."""
    of_root = make_token(users, ROOT, can=["admin"], projects=["*"])
    free = make_token(users, ROOT, can=["admin"], projects=["*"], owner=None)
    grant: dict[str, object] = {"projects": ["of-a-token"], "actions": ["read"]}
    changes: dict[str, dict[str, object]] = {
        "access/group": {"change": "set", "name": "of-a-token", "who": [f"user:{EVE}"]},
        "access/grant": {"who": [f"user:{EVE}"], **grant},
        "access/revoke": {"id": "g00000000"},
        "tokens": {**WANTED, "owner": None},
        "tokens/rotate": {"token": of_root[4:14]},
    }

    for path, body in changes.items():
        refused = users.ask("POST", path, of_root, body)
        assert (refused.status_code, path) == (403, path)
        assert f"This token is of {ROOT}, by Google" in refused.json()["message"]
        assert users.ask("POST", path, free, body).status_code in {201, 204, 404}, path
    assert users.ask("GET", "access", of_root).status_code == 200
    assert len(users.ask("GET", "tokens", of_root).json()["tokens"]) > 1


def test_a_password_makes_a_token(users: GoogleUsersServer) -> None:
    """A person with a password makes a token by the API, which works within their rights."""
    bob = b64encode(f"bob:{PASSWORD}".encode()).decode()
    headers, client = {"Authorization": f"Basic {bob}"}, users.server.client
    wanted = {"name": "bob's", "projects": ["acme-*"], "can": ["manage"]}

    answer = client.post("/api/v1/tokens", json=wanted, headers=headers)
    token = answer.json()["token"]

    assert (answer.status_code, answer.json()["owner"]) == (201, "htpasswd:bob")
    seen = users.ask("GET", "whoami", token).json()
    rights = {"can": ["read", "upload", "manage"], "projects": ["acme-*"], "index": "main"}
    assert rights in seen["rights"]
    own = client.get("/api/v1/tokens", headers=headers).json()["tokens"]
    assert {each["owner"] for each in own} == {"htpasswd:bob"}
    path = f"/api/v1/tokens/{token[4:14]}"
    assert client.delete(path, headers=headers).status_code == 204


@pytest.mark.parametrize(("age", "status"), [(3500, 201), (3620, 403), (3800, 401)])
def test_old_sign_in_makes_no_token(users: GoogleUsersServer, age: int, status: int) -> None:
    """An ID token that is older than an hour makes no token, though it may still open the index."""
    answer = users.ask("POST", "tokens", users.id_token(ANA, age), WANTED)

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": INDEX}, 201),
        ({"Origin": INDEX, "Sec_Fetch_Site": "same-origin"}, 201),
        ({"Sec_Fetch_Site": "same-origin"}, 201),
        ({}, 403),
        ({"Sec_Fetch_Site": "none"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://packages.example.com"}, 403),
        ({"Origin": INDEX, "Sec_Fetch_Site": "cross-site"}, 403),
        ({"Origin": INDEX, "Sec_Fetch_Site": "same-site"}, 403),
        ({"Origin": f"{INDEX}.evil.example"}, 403),
    ],
    ids=reprlib.repr,
)
def test_browser_makes_tokens_from_pages_of_the_index_alone(
    users: GoogleUsersServer, headers: dict[str, str], status: int
) -> None:
    """A user behind Identity-Aware Proxy can make tokens only from a page of the index."""
    headers = {**headers, "X_Goog_IAP_JWT_Assertion": users.assertion(ANA)}

    answer = users.ask("POST", "tokens", "", WANTED, **headers)

    assert answer.status_code == status
    if status == 201:
        gone = users.ask("DELETE", f"tokens/{answer.json()['id']}", "", **headers)
        assert gone.status_code == 204


@pytest.mark.parametrize(
    "changes",
    [
        *({"name": 1}, {"projects": "a"}, {"projects": [1]}),
        *({"projects": ["acme-core"] * 101}, {"can": ["admin"]}),
        *({"can": "upload"}, {"days": 366}, {"days": "7"}, {"owner": "user:x"}),
        *({"expires": "2020-01-01T00:00:00Z"}, {"expires": "tomorrow"}),
        {"expires": "2096-01-01T00:00:00"},
        {"days": 1, "expires": "2096-01-01T00:00:00Z"},
    ],
    ids=reprlib.repr,
)
def test_senseless_token_is_refused(users: GoogleUsersServer, changes: dict[str, object]) -> None:
    """A request for a token that makes no sense is refused, and says why."""
    answer = make(users, ANA, changes)

    assert answer.status_code == 400
    assert answer.json()["error"] in ("invalid_field", "invalid_name")


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff"])
def test_what_is_no_json_object(users: GoogleUsersServer, body: bytes) -> None:
    """A body that is no JSON object, or does not say that it is one, makes no token."""
    headers = {"Authorization": f"Bearer {users.id_token(ANA)}"}
    typed = {**headers, "Content-Type": "application/json; charset=utf-8"}
    plain, answer = (
        users.server.client.post("/api/v1/tokens", content=body, headers=sent)
        for sent in (headers, typed)
    )

    assert (plain.status_code, plain.json()["error"]) == (415, "unsupported_media_type")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_field")


def test_other_tokens_are_as_good_as_none(users: GoogleUsersServer) -> None:
    """Another user's token is answered as if it did not exist."""
    ana = make_token(users)[4:14]
    ids = ["0123456789", ana, users.server.token[4:14], "self", "x", "x" * 300, users.server.token]
    for secret in (users.id_token(EVE), users.server.token, STATIC, ACCESS_TOKEN):
        others = [each for each in ids if secret[4:14] not in each]
        answers = [users.ask("DELETE", f"tokens/{other}", secret) for other in others]

        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.content for answer in answers}) == 1
    (left,) = [each for each in listed(users, ANA) if each["id"] == ana]
    assert left["state"] == "active"


def is_out(users: GoogleUsersServer, token: str) -> bool:
    """Return whether a token opens nothing any more."""
    return users.ask("GET", "whoami", token).status_code == 401


def test_owner_administrator_and_token_may_revoke(users: GoogleUsersServer) -> None:
    """Besides the owner, an administrator revokes a token, and so does the token itself."""
    first, second, third = make_token(users), make_token(users), make_token(users)

    assert users.ask("DELETE", f"tokens/{first[4:14]}", users.id_token(ROOT)).status_code == 204
    assert users.ask("DELETE", f"tokens/{second[4:14]}", second).status_code == 204
    assert users.ask("POST", "tokens/self/revoke", third).status_code == 204
    for token in (first, second, third):
        until(partial(is_out, users, token))
        assert users.ask("POST", "tokens/self/revoke", token).status_code == 401


def test_whoever_finds_a_token_can_end_it(users: GoogleUsersServer) -> None:
    """A leaked token can be revoked with the token alone, as user name or password."""
    minted = users.ci.token()
    request = TokenRequest(
        name="lost", actions=parse_actions(["read"]), projects=(parse_pattern("demo"),)
    )
    lost = users.index.tokens.create(request, by="local:test")[0].text

    assert users.ask("POST", "tokens/self/revoke", minted).status_code == 204
    pair = b64encode(f"{lost}:".encode()).decode()
    headers = {"Authorization": f"Basic {pair}"}
    answer = users.server.client.post("/api/v1/tokens/self/revoke", headers=headers)
    assert answer.status_code == 204
    for token in (minted, lost):
        until(partial(is_out, users, token))


@pytest.mark.parametrize("secret", [STATIC, ACCESS_TOKEN])
def test_other_credentials_are_not_revoked(users: GoogleUsersServer, secret: str) -> None:
    """What is no API token is not revoked here, and its bearer is told so."""
    assert users.ask("POST", "tokens/self/revoke", secret).status_code == 403
    assert users.ask("POST", "tokens/self/revoke", users.id_token(ANA)).status_code == 403
