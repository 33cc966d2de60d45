"""Logging in when many come at once: who is looked at, who waits and who is turned away."""

import asyncio
import logging
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from threading import Event

import pytest
from msgspec.structs import replace

from tests import waiting
from tests.authentication.verifiers.password_fixture import KEY, BlockingHasher
from tests.authentication.verifiers.test_password_hashes import SHA
from tests.fake_time import Clock
from tests.http.servers import memory_index
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.authentication.authenticator import MAX_PASSWORD_CHECKS
from wheelyard.authentication.recent_callers import REMEMBERED_SECONDS
from wheelyard.authentication.verifiers.htpasswd import CACHE_SECONDS, HtpasswdVerifier
from wheelyard.errors import WheelyardError
from wheelyard.http.context_building import build_context
from wheelyard.http.messages import Message, Request
from wheelyard.http.request_authentication import UNAUTHENTICATED, RequestAuthenticator
from wheelyard.http.routing import run_blocking
from wheelyard.http.work_limits import MAX_WAITING_PASSWORDS
from wheelyard.model.access import Credential, Identity
from wheelyard.model.api_token import new_token
from wheelyard.operations.check_store import always_writable
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.wiring.stores import system_runtime

HERE = "192.0.2.7"
STATIC = "a-static-token-of-many-characters"
GOOGLE = "ya29.an-access-token-of-somebody"


@dataclass
class BlockingVerifier:
    """A verifier of access tokens that answers when a test says so, and caches nothing."""

    asked: int = 0
    go_on: Event = field(default_factory=Event)

    def cached_identity(self, _: Credential) -> Identity | None:
        """Return nothing."""
        return None

    def verify(self, _: Credential) -> Identity:
        """Return who sends any token."""
        self.asked += 1
        assert self.go_on.wait(TIMEOUT_SECONDS)
        return Identity("google:somebody", frozenset())


async def no_body() -> Message:
    """Receive nothing."""
    return {"type": "http.disconnect"}


class LoginHarness:
    """The request authentication of a server with two htpasswd users."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.hashing, self.google = Clock(), BlockingHasher(), BlockingVerifier()
        path = folder / "htpasswd"
        path.write_text(f"ana:{SHA}\nbo:{SHA}\n")
        runtime = replace(system_runtime(), monotonic=self.clock.seconds)
        access = AccessSettings(
            private=True, static_token=STATIC, failed_login_per_minute=1_000_000
        )
        index = memory_index(folder, Settings(access=access), runtime)
        outdated = index.catalog.outdated_lines
        passwords = HtpasswdVerifier(path, KEY, self.clock.seconds, outdated, self.hashing)
        authenticator = replace(index.authenticator, htpasswd=passwords, access_tokens=self.google)
        self.context = build_context(replace(index, authenticator=authenticator), always_writable)
        self.authenticator = RequestAuthenticator(self.context)

    async def log_in(self, name: str, secret: str, address: str = HERE) -> str:
        """Log in; return the principal, or the code of the error."""
        header = b"Basic " + b64encode(f"{name}:{secret}".encode())
        try:
            request = self._request(header, address)
            authenticate = partial(
                self.authenticator.authenticate, request, accepts_iap=False, accepts_session=False
            )
            pools = self.context.process.pools
            await run_blocking(pools, pools.reads, request, authenticate)
        except WheelyardError as fault:
            return fault.code
        return request.caller.principal

    def _request(self, header: bytes, address: str) -> Request:
        headers = {b"authorization": header}
        return Request({"type": "http"}, no_body, headers, UNAUTHENTICATED, address)

    async def guesses(self, count: int, address: str = HERE) -> list[asyncio.Task[str]]:
        """Try wrong passwords concurrently; hashing waits for the test."""
        self.hashing.holds_back = b"guess"
        self.hashing.go_on.clear()
        guesses = [
            asyncio.create_task(self.log_in("ana", f"guess-{number}", address))
            for number in range(count)
        ]
        await until(lambda: bool(self.hashing.at_once))
        return guesses


@pytest.fixture
def harness(tmp_path: Path) -> LoginHarness:
    """Return a harness."""
    return LoginHarness(tmp_path)


def play(harness: LoginHarness, story: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine with a harness, and close the harness."""

    async def run_story() -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await story()

    try:
        asyncio.run(run_story())
    finally:
        harness.hashing.go_on.set()
        harness.google.go_on.set()
        harness.context.process.pools.close()


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    await asyncio.to_thread(waiting.until, is_so)


def test_credential_is_cached_for_a_second(harness: LoginHarness) -> None:
    """An authenticated header is cached for a second, and then verified again."""
    tokens = harness.context.index.tokens
    token, record = tokens.create(TokenRequest(name="ci"), by="local:test")

    async def story() -> None:
        assert await harness.log_in("", token.text) == f"token:{record.id}"
        tokens.revoke(record.id, by="local:test")
        harness.clock.advance(seconds=REMEMBERED_SECONDS - 0.01)
        assert await harness.log_in("", token.text) == f"token:{record.id}"
        assert await harness.log_in("", token.text, "198.51.100.7") == "token_revoked"
        harness.clock.advance(seconds=0.01)
        assert await harness.log_in("", token.text) == "token_revoked"

    play(harness, story)


def test_a_second_counts_from_the_question(harness: LoginHarness) -> None:
    """The cache time of an authentication counts from its beginning, for all waiting requests."""

    async def story() -> None:
        logins = [asyncio.create_task(harness.log_in("oauth2accesstoken", GOOGLE))]
        await until(lambda: harness.google.asked == 1)
        harness.clock.advance(seconds=REMEMBERED_SECONDS / 2)
        logins.append(asyncio.create_task(harness.log_in("oauth2accesstoken", GOOGLE)))
        await asyncio.sleep(0)
        harness.clock.advance(seconds=REMEMBERED_SECONDS / 2)
        harness.google.go_on.set()
        assert await asyncio.gather(*logins) == ["google:somebody"] * 2
        assert await harness.log_in("oauth2accesstoken", GOOGLE) == "google:somebody"
        assert harness.google.asked == 2

    play(harness, story)


def test_parallel_requests_ask_google_once(harness: LoginHarness) -> None:
    """An installer's many requests at once cost one question to Google."""

    async def story() -> None:
        many = [asyncio.create_task(harness.log_in("oauth2accesstoken", GOOGLE)) for _ in range(50)]
        await until(lambda: harness.google.asked == 1)
        harness.google.go_on.set()
        assert set(await asyncio.gather(*many)) == {"google:somebody"}
        assert harness.google.asked == 1

    play(harness, story)


@pytest.mark.parametrize(
    ("secret", "expected"), [("s3cret", "htpasswd:ana"), ("no", "unauthenticated")]
)
def test_those_who_come_together_are_hashed_once(
    harness: LoginHarness, secret: str, expected: str
) -> None:
    """A client that opens a hundred connections with one password costs one hash."""

    async def story() -> None:
        logins = [harness.log_in("ana", secret) for _ in range(100)]
        assert set(await asyncio.gather(*logins)) == {expected}
        assert len(harness.hashing.done) == 1

    play(harness, story)


def test_a_wrong_credential_is_refused_once(
    harness: LoginHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong password or token is one line of the log, also where its request had to wait."""
    caplog.set_level(logging.INFO)

    async def story() -> None:
        for user, secret in (("ana", "no"), ("", new_token(Random(1)).text), ("", "no-token")):
            assert await harness.log_in(user, secret) == "unauthenticated"
            assert caplog.text.count("a credential was refused") == 1
            caplog.clear()

    play(harness, story)


def test_too_many_guesses_are_turned_away(harness: LoginHarness) -> None:
    """A few are hashed, 64 of a network wait, the next is told to come back; known ones go on."""

    async def story() -> None:
        assert await harness.log_in("ana", "s3cret") == "htpasswd:ana"
        guesses = await harness.guesses(MAX_PASSWORD_CHECKS + MAX_WAITING_PASSWORDS + 10)

        def turned_away() -> int:
            return sum(guess.done() for guess in guesses)

        await until(lambda: turned_away() == MAX_PASSWORD_CHECKS + 10 - harness.hashing.at_once)
        refused = turned_away()
        harness.clock.advance(seconds=REMEMBERED_SECONDS)
        assert await harness.log_in("ana", "s3cret") == "htpasswd:ana"
        harness.hashing.go_on.set()
        codes = Counter(await asyncio.gather(*guesses))
        assert codes["overloaded"] == refused
        assert codes["unauthenticated"] == len(guesses) - refused
        assert harness.hashing.most_at_once < MAX_PASSWORD_CHECKS

    play(harness, story)


def test_strangers_keep_nobody_out_who_was_right(harness: LoginHarness) -> None:
    """While strangers fill the hashing queue, recent users and tokens of all kinds still get in."""

    async def story() -> None:
        assert await harness.log_in("ana", "s3cret") == "htpasswd:ana"
        harness.clock.advance(seconds=CACHE_SECONDS)
        guesses = [
            *await harness.guesses(MAX_WAITING_PASSWORDS + 20),
            *await harness.guesses(20, "198.51.100.7"),
        ]
        harness.clock.advance(seconds=5)  # so that the file is to be looked at, too
        assert await harness.log_in("ana", "s3cret") == "htpasswd:ana"
        assert await harness.log_in("", STATIC) == "static:environment"
        harness.google.go_on.set()
        assert await harness.log_in("oauth2accesstoken", GOOGLE) == "google:somebody"
        harness.hashing.go_on.set()
        assert set(await asyncio.gather(*guesses)) == {"unauthenticated", "overloaded"}

    play(harness, story)


def test_those_who_were_right_hash_beside_each_other(harness: LoginHarness) -> None:
    """Where no stranger hashes, those who were right today use every turn that there is."""

    async def story() -> None:
        for name in ("ana", "bo"):
            await harness.log_in(name, "s3cret")
        harness.clock.advance(seconds=CACHE_SECONDS)
        harness.hashing.go_on.clear()
        logins = [asyncio.create_task(harness.log_in(name, "s3cret")) for name in ("ana", "bo")]
        await until(harness.hashing.two_at_once.is_set)
        harness.hashing.go_on.set()
        assert await asyncio.gather(*logins) == ["htpasswd:ana", "htpasswd:bo"]

    play(harness, story)
