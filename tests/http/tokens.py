"""People who make tokens for themselves, and lists of what they have."""

from collections.abc import Mapping

from tests.http.people import Office
from tests.http.servers import Answer

ANA = "ana@acme.dev"
EVE = "eve@acme.dev"
ROOT = "root@acme.dev"
STRANGER = "stranger@example.org"
ROBOT = "ci@p.iam.gserviceaccount.com"
WANTED = {"name": "my laptop", "projects": ["acme-core"]}


def make(office: Office, email: str, changes: Mapping[str, object]) -> Answer:
    """Have somebody make a token for themselves."""
    return office.ask("POST", "tokens", office.id_token(email), {**WANTED, **changes})


def asked(office: Office, **changes: object) -> Answer:
    """Have Ana make one."""
    return make(office, ANA, changes)


def made(office: Office, email: str = ANA, **changes: object) -> str:
    """Return a token that somebody has made for themselves."""
    answer = make(office, email, changes)
    assert answer.status_code == 201, answer.text
    text: str = answer.json()["token"]
    return text


def listed(office: Office, email: str) -> list[dict[str, object]]:
    """Return the tokens that somebody sees."""
    answer = office.ask("GET", "tokens", office.id_token(email))
    assert answer.status_code == 200
    found: list[dict[str, object]] = answer.json()["tokens"]
    return found
