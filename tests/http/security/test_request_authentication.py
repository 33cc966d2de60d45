"""Credentials in every header and form that may hold one, valid and invalid."""

from base64 import b64encode
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from bcrypt import gensalt, hashpw

from tests.distributions import make_wheel
from tests.fake_time import Clock
from tests.http.in_process import InProcessServer, in_process
from tests.http.packages import post
from tests.http.raw_client import basic, raw_answer
from tests.http.servers import RunningServer, running_server, token_of
from tests.waiting import until
from wheelyard.authentication.authenticator import MAX_PASSWORD_CHECKS
from wheelyard.model.api_token import new_token
from wheelyard.settings.sections import AccessSettings, Settings

V1_JSON = "application/vnd.pypi.simple.v1+json"
CHALLENGE = 'Basic realm="wheelyard", charset="UTF-8"'
WELL_FORMED = new_token(Random(0)).text
"""In every respect like a token, but of no index."""
PLACES = {
    "password": "Basic {:__token__:TOKEN}",
    "password-of-nobody": "Basic {::TOKEN}",
    "password-of-somebody-foreign": "Basic {:größe:TOKEN}",
    "user-with-empty-password": "Basic {:TOKEN:}",
    "user-with-nopass": "basic {:TOKEN:NOPASS}",
    "bearer": "Bearer TOKEN",
    "lower-case-bearer": "bearer TOKEN",
}
BAD = {
    "unknown-token": f"Bearer {WELL_FORMED}",
    "unknown-token-as-password": f"Basic {{:u:{WELL_FORMED}}}",
    "password": "Basic {:ann:secret}",
    "empty-password": "Basic {:ann:}",
    "both-empty": "Basic {::}",
    "no-colon": "Basic {:TOKEN}",
    "not-base64": "Basic ????",
    "nothing": "Basic",
    "not-utf8": "Basic //79",
    "control-character": "Basic {:u\n:TOKEN}",
    "cut-token": "Bearer CUT",
    "token-with-more": "Bearer TOKENx",
    "token-in-other-case": "Bearer SWAPPED",
    "unknown-scheme": "Digest username=ann",
    "unknown-scheme-with-a-token": "Digest {:u:TOKEN}",
    "bare-token": "TOKEN",
    "empty": "",
}
PATHS = ("/", "/simple/", "/simple/demo/", "/simple/nothing/", "/project/demo/", "/pypi/demo/json")
FILES = ("/packages/demo-1.0-py3-none-any.whl", "/packages/demo-1.0-py3-none-any.whl.metadata")
EVERY_PATH = (*PATHS, *FILES, "/api/v1/projects", "/api/v1/projects/demo", "/nowhere/at/all")
LIMIT = 5
AT_ONCE = 24
NAMES = [f"user-{number}" for number in range(AT_ONCE)]


def header(template: str, token: str) -> str:
    """Fill a token into a header, and encode the part between braces."""
    text = template.replace("SWAPPED", token.swapcase()).replace("CUT", token[:-1])
    start, opened, rest = text.replace("TOKEN", token).partition("{:")
    if opened:
        return f"{start}{b64encode(rest.removesuffix('}').encode()).decode()}"
    return start


@pytest.mark.parametrize("place", PLACES)
def test_token_is_good_in_each_place(private_app: InProcessServer, place: str) -> None:
    """A token is good as either half of a Basic pair, and as a Bearer."""
    line = f"Authorization: {header(PLACES[place], token_of(private_app.index, can='read'))}"
    for path in (*PATHS[:3], *FILES):
        assert private_app.raw(f"GET {path}", line).status == 200


@pytest.mark.parametrize("case", BAD)
def test_bad_credential_is_challenged(
    stocked_app: InProcessServer, private_app: InProcessServer, case: str
) -> None:
    """An invalid credential is 401 with one challenge and advice, on public paths, too."""
    for app in (stocked_app, private_app):
        line = f"Authorization: {header(BAD[case], token_of(app.index, can='read,upload'))}"
        for path in EVERY_PATH:
            answer = app.raw(f"GET {path}", line)
            assert answer.status == 401, path
            assert answer.header("www-authenticate") == CHALLENGE
            assert "Send a token of this index as the password" in answer.text
        upload = app.raw("POST /legacy/", line, body=b"x")
        assert (upload.status, upload.header("content-type")) == (401, "application/json")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("value", "status"), [("Bearer \xff\xfe", 400), ("Bearer " + "x" * 17_000, 431)]
)
def test_unreadable_credential_is_refused(
    stocked_server: RunningServer, value: str, status: int
) -> None:
    """A header that is too long or not printable is refused for what it is."""
    for _ in range(2):
        answer = raw_answer(stocked_server, "GET /simple/demo/ HTTP/1.1", f"Authorization: {value}")
        assert answer.status == status


def test_two_credentials_are_refused(private_app: InProcessServer) -> None:
    """Two Authorization headers are refused, even if each of them opens a page in memory."""
    good = basic("u", token_of(private_app.index, can="read"))
    answers = [private_app.raw("GET /simple/", good) for _ in range(2)]
    assert [(answer.status, answer.was_quick) for answer in answers] == [(200, False), (200, True)]
    assert private_app.raw("GET /simple/", good, good).status == 400


class Guesser(Random):
    """Chooses the characters of a token: this id, and a secret that nobody has."""

    def __init__(self, token_id: str) -> None:
        super().__init__(0)
        self.characters = iter(token_id + WELL_FORMED)

    def choice(self, seq: object) -> str:  # type: ignore[override]
        """Return the next of them."""
        del seq
        return next(self.characters).replace("_", "0")


def test_missing_and_bad_credentials_look_alike(private_app: InProcessServer) -> None:
    """Without its secret, a refusal does not say whether a token exists, was revoked, or not."""
    revoked = token_of(private_app.index, can="read")
    private_app.index.tokens.revoke(revoked[4:14], by="local:test")
    forged = new_token(Guesser(revoked[4:14])).text
    bodies = {
        private_app.raw("GET /simple/", *([basic("__token__", token)] if token else [])).body
        for token in (
            "",
            WELL_FORMED,
            "nonsense",
            forged,
            revoked[:-1],
        )
    }
    assert len(bodies) == 1


@pytest.mark.integration
def test_revoked_token_opens_nothing(private: RunningServer) -> None:
    """A token opens nothing any more soon after it is revoked, though it was used just before."""
    token = private.make_token()
    assert private.get("/simple/demo/", token).status_code == 200
    private.index.tokens.revoke(token[4:14], by="local:test")
    until(lambda: private.get("/simple/demo/", token).status_code == 401)

    for path in EVERY_PATH:
        answer = private.get(path, token)
        assert answer.status_code == 401
        if path not in FILES and answer.headers["content-type"] == "application/json":
            assert answer.json()["message"].startswith(
                f"The token test ({token[4:14]}) was revoked"
            )
    assert post(private, make_wheel("late"), token=token).status_code == 401


def test_expired_token_opens_nothing(tmp_path: Path) -> None:
    """A token opens nothing any more once its time is over."""
    clock, settings = Clock(), Settings(access=AccessSettings(private=True))
    with in_process(tmp_path, settings, clock=clock) as app:
        app.publish(make_wheel("demo"))
        token = app.bearer()  # good for 30 days
        for path in ("/simple/demo/", FILES[0]):
            assert app.get(path, token).status == 200
        clock.advance(days=30)
        for path in EVERY_PATH:
            assert app.get(path, token).status == 401


@pytest.mark.integration
def test_token_is_nowhere_in_the_store(private: RunningServer) -> None:
    """What is stored of a token is its digest, and the log has nothing of it at all."""
    token = private.make_token()
    private.get("/simple/", token)
    private.get("/simple/", f"{token}x")
    private.get(f"/{token}/{token}/?{token}", token)
    for path in private.store.rglob("*"):
        if path.is_file():
            assert token[14:].encode() not in path.read_bytes()
    assert token not in private.log


def log_in(server: RunningServer, logins: list[tuple[str, str]]) -> Counter[int]:
    """Log in over as many connections at the same moment; return how often each status came."""

    def status(login: tuple[str, str]) -> int:
        return raw_answer(server, "GET /simple/ HTTP/1.1", basic(*login)).status

    with ThreadPoolExecutor(len(logins)) as pool:
        return Counter(pool.map(status, logins))


@pytest.mark.integration
def test_many_people_of_one_network_log_in_at_once(tmp_path: Path) -> None:
    """Two dozen users of one network can log in at once, also while it sends wrong passwords."""
    hashed, file = hashpw(b"right", gensalt(8)).decode(), tmp_path / "htpasswd"
    file.write_text("".join(f"{name}:{hashed}\n" for name in NAMES))
    config = f"""
        [access]
        private = true
        htpasswd_file = "{file}"
        failed_login_per_minute = {LIMIT}
    """
    people = [(name, "right") for name in NAMES]
    with running_server(tmp_path, config=config) as server:
        assert log_in(server, people) == {200: AT_ONCE}
        guesses = [(name, f"wrong-{number}") for number, name in enumerate(NAMES)]
        statuses = log_in(server, people + guesses)
    assert statuses[200] == AT_ONCE
    assert LIMIT <= statuses[401] < LIMIT + MAX_PASSWORD_CHECKS
    assert statuses[429] == AT_ONCE - statuses[401]
