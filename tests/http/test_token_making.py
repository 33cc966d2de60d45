"""`POST /api/v1/tokens`: who may make which tokens, and how they ask for them."""

from base64 import b64encode
from datetime import datetime, timedelta

import pytest

from tests.http.people import ACCESS_TOKEN, INDEX, PASSWORD, STATIC, Office
from tests.http.tokens import ANA, EVE, ROBOT, ROOT, STRANGER, WANTED, asked, listed, made, make
from wheelyard.stores import real_ambient

pytestmark = pytest.mark.integration


def test_the_usual_token(office: Office) -> None:
    """A token for which nothing else is said reads and uploads for 90 days."""
    told = asked(office).json()

    assert told["can"] == ["read", "upload"]
    left = datetime.fromisoformat(told["expires"]) - real_ambient().now()
    assert timedelta(days=89) < left <= timedelta(days=90)


def test_until_a_moment(office: Office) -> None:
    """A token may live until a moment, in any time zone."""
    moment = real_ambient().now().replace(microsecond=0) + timedelta(days=3)

    told = asked(office, expires=f"{(moment + timedelta(hours=2)).isoformat()[:19]}+02:00").json()

    assert abs(datetime.fromisoformat(told["expires"]) - moment) < timedelta(seconds=1)


@pytest.mark.parametrize(
    ("email", "can", "projects"),
    [
        (ANA, ["upload"], ["acme-*"]),
        (ANA, ["read", "upload"], ["acme-core", "acme-x*", "tools"]),
        (ANA, ["manage"], ["tools"]),
        (ANA, ["read"], ["shared", "Acme_Core"]),
        (EVE, ["read"], ["shared"]),
        (ROOT, ["manage"], ["*"]),
        (ROBOT, ["read"], ["*"]),
    ],
)
def test_what_may_be_given(office: Office, email: str, can: list[str], projects: list[str]) -> None:
    """A token may do what its maker may do, or less."""
    assert make(office, email, {"can": can, "projects": projects}).status_code == 201


@pytest.mark.parametrize(
    ("email", "can", "projects"),
    [
        (ANA, ["manage"], ["acme-core"]),
        (ANA, ["read"], ["*"]),
        (ANA, ["upload"], ["acme*"]),
        (ANA, ["upload"], ["acme-core", "other"]),
        (ANA, ["upload"], ["shared"]),
        (EVE, ["read"], ["acme-core"]),
        (EVE, ["upload"], ["shared"]),
        (ROBOT, ["upload"], ["demo"]),
        (STRANGER, ["read"], ["shared"]),
        (STRANGER, ["read"], ["*"]),
    ],
)
def test_what_may_not_be_given(
    office: Office, email: str, can: list[str], projects: list[str]
) -> None:
    """Nobody makes a token that may do more than they may themselves (row 86)."""
    answer = make(office, email, {"can": can, "projects": projects})

    assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")


def test_no_stored_secret_makes_a_token(office: Office) -> None:
    """Whatever may lie in a file of somebody's makes no token, whatever it may do."""
    everything = office.site.token
    bob = b64encode(f"bob:{PASSWORD}".encode()).decode()
    before = len(listed(office, ROOT))
    headers = {"Authorization": f"Basic {bob}"}
    answers = [
        office.ask("POST", "tokens", secret, {"name": "x", "projects": ["demo"], "can": ["read"]})
        for secret in (everything, made(office), STATIC, ACCESS_TOKEN, office.ci.token())
    ]
    answers.append(office.site.client.post("/api/v1/tokens", json=WANTED, headers=headers))

    assert [answer.status_code for answer in answers] == [403] * 6
    assert {answer.json()["error"] for answer in answers} == {"forbidden"}
    assert len(listed(office, ROOT)) == before + 2  # Ana's, and the minted one


@pytest.mark.parametrize(("age", "status"), [(3500, 201), (3620, 403), (3800, 401)])
def test_who_has_signed_in_long_ago(office: Office, age: int, status: int) -> None:
    """An ID token that is older than an hour makes no token, though it may still open the index."""
    answer = office.ask("POST", "tokens", office.id_token(ANA, age), WANTED)

    assert answer.status_code == status


def test_as_a_password(office: Office) -> None:
    """An ID token may be sent as a password, as pip would."""
    pair = b64encode(f"oidc:{office.id_token(ANA)}".encode()).decode()
    headers = {"Authorization": f"Basic {pair}"}

    assert (
        office.site.client.post("/api/v1/tokens", json=WANTED, headers=headers).status_code == 201
    )


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
)
def test_before_a_browser(office: Office, headers: dict[str, str], status: int) -> None:
    """Somebody whom a proxy lets through makes tokens on a page of the index only (row 76)."""
    headers = {**headers, "X_Goog_IAP_JWT_Assertion": office.assertion(ANA)}

    answer = office.ask("POST", "tokens", "", WANTED, **headers)

    assert answer.status_code == status
    if status == 201:
        gone = office.ask("DELETE", f"tokens/{answer.json()['id']}", "", **headers)
        assert gone.status_code == 204


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": " "},
        {"name": "x" * 101},
        {"name": "two\nlines"},
        {"name": 1},
        {"projects": []},
        {"projects": "acme-core"},
        {"projects": [1]},
        {"projects": ["acme-*-core"]},
        {"projects": [""]},
        {"projects": ["acme-core"] * 101},
        {"can": []},
        {"can": ["admin"]},
        {"can": ["fly"]},
        {"can": "upload"},
        {"days": 0},
        {"days": 366},
        {"days": 1.5},
        {"days": "7"},
        {"days": True},
        {"expires": "2020-01-01T00:00:00Z"},
        {"expires": "2096-01-01T00:00:00Z"},
        {"expires": "tomorrow"},
        {"expires": "2096-01-01T00:00:00"},
        {"days": 1, "expires": "2096-01-01T00:00:00Z"},
        {"owner": "user:root@acme.dev"},
    ],
)
def test_what_makes_no_sense(office: Office, changes: dict[str, object]) -> None:
    """A request for a token that makes no sense is refused, and says why."""
    answer = make(office, ANA, changes)

    assert answer.status_code == 400
    assert answer.json()["error"] in ("invalid_field", "invalid_name")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"{}", b"\xff", b"[" * 10_000])
def test_what_is_no_json_object(office: Office, body: bytes) -> None:
    """A body that is no JSON object makes no token."""
    headers = {"Authorization": f"Bearer {office.id_token(ANA)}"}
    url = "/api/v1/tokens"

    plain = office.site.client.post(url, content=body, headers=headers)
    typed = {**headers, "Content-Type": "application/json; charset=utf-8"}
    answer = office.site.client.post(url, content=body, headers=typed)

    assert (plain.status_code, plain.json()["error"]) == (415, "unsupported_media_type")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_field")


def test_a_long_body(office: Office) -> None:
    """A body that is longer than any request for a token is not read to its end."""
    assert asked(office, name="x" * 70_000).status_code == 413
