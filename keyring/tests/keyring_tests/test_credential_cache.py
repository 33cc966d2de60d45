"""The lifetime of cached credentials, and unexpected errors."""

from collections.abc import Callable

from keyring_tests.harness import INDEX_TOKEN
from wheelyard_keyring.credential_cache import CACHE_SECONDS, CredentialCache
from wheelyard_keyring.hosts import AllowedHost
from wheelyard_keyring.runtime import Runtime
from wheelyard_keyring.settings import Settings

LISTED = Settings(hosts=frozenset({AllowedHost("pypi.acme.dev", None)}), token=INDEX_TOKEN)


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.seconds


def asking(settings: Settings, clock: Callable[[], float]) -> tuple[CredentialCache, list[str]]:
    """Return cache that come from these settings, and what they say."""
    said: list[str] = []
    return CredentialCache(lambda: settings, Runtime(said.append, lambda _: None, clock)), said


def test_repeated() -> None:
    """A long process gets the same answer for some minutes, and then a new one."""
    clock = Clock()
    cache, _ = asking(LISTED, clock)

    first = cache.get("https://pypi.acme.dev", None)
    clock.seconds = CACHE_SECONDS - 1
    again = cache.get("https://pypi.acme.dev/simple/", "oidc")
    clock.seconds = CACHE_SECONDS
    later = cache.get("https://pypi.acme.dev", None)

    assert first is again
    assert later == first
    assert later is not first


def test_no_secret_shown() -> None:
    """An answer, printed, does not show its password."""
    cache, said = asking(LISTED, Clock())

    answer = cache.get("https://pypi.acme.dev", None)

    assert answer is not None
    assert answer.password == INDEX_TOKEN
    assert INDEX_TOKEN not in repr(answer)
    assert said == []
