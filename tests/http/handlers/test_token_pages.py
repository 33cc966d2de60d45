"""The pages on which people make, list and revoke API tokens, behind Identity-Aware Proxy."""

import re
from html import unescape

import pytest

from tests.http.google_users import GoogleUsersServer
from tests.http.servers import Answer

pytestmark = pytest.mark.integration

ANA, ROOT, STRANGER = "ana@acme.dev", "root@acme.dev", "stranger@acme.dev"
OWN, ALL = "/-/account/tokens/", "/-/admin/tokens/"
WANTED = {
    "action": "create",
    "name": "my laptop",
    "can": "read",
    "projects": "acme-*, tools",
    "days": "7",
}


def asked(
    users: GoogleUsersServer, email: str, path: str, *, cookie: str = "", **fields: str
) -> Answer:
    """Open a page, or send a form with these fields, as a person behind the proxy."""
    headers = {
        "X-Goog-IAP-JWT-Assertion": users.assertion(email),
        "Accept": "text/html",
        "Cookie": cookie,
    }
    if not fields:
        return users.server.client.get(path, headers=headers)
    headers["Origin"] = users.server.url
    return users.server.client.post(path, headers=headers, data=fields)


def secret(users: GoogleUsersServer, email: str) -> str:
    """Return the anti-forgery token for the forms of a person."""
    page = asked(users, email, OWN).text
    match = re.search('name="csrf_token" value="([^"]*)"', page)
    assert match is not None, page
    return unescape(match[1])


def sent(users: GoogleUsersServer, email: str, path: str, **fields: str) -> Answer:
    """Send a form with its anti-forgery token."""
    return asked(users, email, path, csrf_token=secret(users, email), **fields)


def make_token(users: GoogleUsersServer, email: str, path: str = OWN, **changes: str) -> str:
    """Make a token, and return it."""
    answer = sent(users, email, path, **{**WANTED, **changes})
    assert answer.status_code == 303, answer.text
    # the index is an https one, whose cookies the client sends over https alone
    cookie = answer.headers["set-cookie"].partition(";")[0]
    page = asked(users, email, answer.headers["location"], cookie=cookie)
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store"), page.text
    match = re.search("wyd_[0-9A-Za-z]{48}", page.text)
    assert match is not None
    return match[0]


def test_person_makes_and_revokes_a_token(users: GoogleUsersServer) -> None:
    """A person makes a token, which is shown once, sees it in the list, and revokes it."""
    token = make_token(users, ANA)
    assert users.ask("GET", "whoami", token).json()["principal"] == f"token:{token[4:14]}"
    page = asked(users, ANA, OWN)
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    assert token[4:14] in page.text
    assert "read acme-*, tools" in page.text
    assert token not in page.text
    question = asked(users, ANA, f"{OWN}?revoke={token[4:14]}")
    assert "This cannot be undone" in question.text

    answer = sent(users, ANA, OWN, action="revoke", id=token[4:14])

    assert answer.headers["location"] == f"{OWN}?revoked={token[4:14]}"
    assert "is revoked" in asked(users, ANA, answer.headers["location"]).text
    record = users.index.tokens.records.get_for_update(token[4:14]).value
    assert record is not None
    assert record.revoked_by == f"user:{ANA}"


@pytest.mark.parametrize(
    ("changes", "status", "field", "words"),
    [
        ({"name": " "}, 400, "name", "A token needs a name"),
        ({"days": "366"}, 400, "days", "from 1 to 365"),
        ({"days": "x"}, 400, "days", "from 1 to 365"),
        ({"projects": ""}, 400, "projects", "Name the projects"),
        ({"projects": "acme-*-x"}, 400, "projects", "not a project pattern"),
        ({"can": ""}, 400, "can", "Choose what the token may do"),
        ({"projects": "*"}, 403, "", "may do no more than its owner"),
        ({"can": "manage"}, 403, "", "may do no more than its owner"),
        ({"action": ""}, 400, "", "does not say what to do"),
        ({"csrf_token": ""}, 403, "", "This form is too old"),
    ],
)
def test_what_was_typed_is_kept(
    users: GoogleUsersServer, changes: dict[str, str], status: int, field: str, words: str
) -> None:
    """A wish that is refused comes again with the reason beside its field, and makes no token."""
    before = len(users.index.tokens.all())

    wanted = {"csrf_token": secret(users, ANA), **WANTED, "name": "kept", **changes}
    answer = asked(users, ANA, OWN, **wanted)

    assert answer.status_code == status
    assert words in unescape(answer.text)
    assert f'value="{wanted["name"].strip()}"' in answer.text
    assert (f'id="{field}-error"' in answer.text) == (field != "")
    assert len(users.index.tokens.all()) == before


def test_administrator_manages_all_tokens(users: GoogleUsersServer) -> None:
    """Behind the proxy an administrator sees everybody's tokens, makes some for others, revokes."""
    token = make_token(users, ANA)
    assert asked(users, ANA, ALL).status_code == 403
    assert sent(users, ANA, ALL, **WANTED).status_code == 403
    assert sent(users, STRANGER, OWN, action="revoke", id=token[4:14]).status_code == 404
    assert token[4:14] not in asked(users, ROOT, OWN).text
    assert token[4:14] in asked(users, ROOT, ALL).text

    other = make_token(
        users, ROOT, ALL, kind="user", who=STRANGER, can="admin", projects="*", index="*"
    )
    nobodys = make_token(users, ROOT, ALL, kind="", index="main")
    assert sent(users, ROOT, ALL, action="revoke", id=token[4:14]).status_code == 303

    records = {each.id: each for each in users.index.tokens.all()}
    assert records[token[4:14]].revoked_by == f"user:{ROOT}"
    assert records[other[4:14]].owner == f"user:{STRANGER}"
    assert records[nobodys[4:14]].owner == ""


@pytest.mark.parametrize("header", ["Bearer rubbish", "Basic x", "Bearer a.e30.c", "Digest a.b"])
def test_unverified_header_says_nothing(users: GoogleUsersServer, header: str) -> None:
    """An unverified Authorization header says nothing of a person whom the proxy has signed in."""
    headers = {
        "X-Goog-IAP-JWT-Assertion": users.assertion(ANA),
        "Accept": "text/html",
        "Authorization": header,
        "Origin": users.server.url,
    }
    client, fields = users.server.client, {"csrf_token": secret(users, ANA), **WANTED}

    page = client.get(OWN, headers=headers)

    assert page.status_code == 200
    assert "more than an hour ago" not in page.text
    assert client.post(OWN, headers=headers, data=fields).status_code == 303
    assert client.get("/-/account/", headers=headers).text == client.get(
        "/-/account/", headers={**headers, "Authorization": ""}
    ).text  # fmt: skip


def test_unverified_id_token_asks_for_no_new_sign_in(users: GoogleUsersServer) -> None:
    """An old ID token beside the word of the proxy makes nobody sign in again."""
    headers = {
        "X-Goog-IAP-JWT-Assertion": users.assertion(ANA),
        "Authorization": f"Bearer {users.id_token(ROOT, age=7000)}",
        "Accept": "text/html",
    }

    assert "more than an hour ago" not in users.server.client.get(OWN, headers=headers).text
