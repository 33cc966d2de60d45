"""Tokens that come to their end: who may revoke which, and what is no token to revoke."""

from base64 import b64encode
from functools import partial

import pytest

from tests.http.people import ACCESS_TOKEN, STATIC, Office
from tests.http.tokens import ANA, EVE, ROOT, listed, made
from tests.waiting import until
from wheelyard.model.access import parse_actions, parse_pattern
from wheelyard.operations.tokens import TokenRequest

pytestmark = pytest.mark.integration


def test_other_tokens_are_as_good_as_none(office: Office) -> None:
    """Nobody can tell somebody else's token from one that is not there."""
    ana = made(office)[4:14]
    ids = ["0123456789", ana, office.site.token[4:14], "self", "x", "x" * 300, office.site.token]
    for secret in (office.id_token(EVE), office.site.token, STATIC, ACCESS_TOKEN):
        others = [each for each in ids if secret[4:14] not in each]
        answers = [office.ask("DELETE", f"tokens/{each}", secret) for each in others]

        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.content for answer in answers}) == 1
    (left,) = [each for each in listed(office, ANA) if each["id"] == ana]
    assert left["state"] == "active"


def is_out(office: Office, token: str) -> bool:
    """Return whether a token opens nothing any more."""
    return office.ask("GET", "whoami", token).status_code == 401


def test_who_may_revoke(office: Office) -> None:
    """Besides the owner, an administrator revokes a token, and so does the token itself."""
    first, second, third = made(office), made(office), made(office)

    assert office.ask("DELETE", f"tokens/{first[4:14]}", office.id_token(ROOT)).status_code == 204
    assert office.ask("DELETE", f"tokens/{second[4:14]}", second).status_code == 204
    assert office.ask("POST", "tokens/self/revoke", third).status_code == 204
    for token in (first, second, third):
        until(partial(is_out, office, token))
        assert office.ask("POST", "tokens/self/revoke", token).status_code == 401


def test_whoever_finds_a_token_can_end_it(office: Office) -> None:
    """A token that somebody finds is revoked with nothing but itself, in either half."""
    minted = office.ci.token()
    request = TokenRequest(
        name="lost", actions=parse_actions(["read"]), projects=(parse_pattern("demo"),)
    )
    lost = office.index.tokens.create(request, by="local:test")[0].text

    assert office.ask("POST", "tokens/self/revoke", minted).status_code == 204
    pair = b64encode(f"{lost}:".encode()).decode()
    headers = {"Authorization": f"Basic {pair}"}
    answer = office.site.client.post("/api/v1/tokens/self/revoke", headers=headers)
    assert answer.status_code == 204
    for token in (minted, lost):
        until(partial(is_out, office, token))


@pytest.mark.parametrize("secret", [STATIC, ACCESS_TOKEN])
def test_what_cannot_be_revoked(office: Office, secret: str) -> None:
    """What is no API token is not revoked here, and its bearer is told so."""
    assert office.ask("POST", "tokens/self/revoke", secret).status_code == 403
    assert office.ask("POST", "tokens/self/revoke", office.id_token(ANA)).status_code == 403
