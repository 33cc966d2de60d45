"""How long an answer is repeated, and what is done when the unexpected happens."""

from collections.abc import Callable

from keyring_tests.stage import INDEX_TOKEN
from wheelyard_keyring.answers import FRESH, Answers
from wheelyard_keyring.hosts import Listed
from wheelyard_keyring.settings import Settings
from wheelyard_keyring.world import World

LISTED = Settings(hosts=frozenset({Listed("pypi.acme.dev", None)}), token=INDEX_TOKEN)


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.seconds


def asking(settings: Settings, clock: Callable[[], float]) -> tuple[Answers, list[str]]:
    """Return answers that come from these settings, and what they say."""
    said: list[str] = []
    return Answers(lambda: settings, World(said.append, lambda _: None, clock)), said


def test_repeated() -> None:
    """A long process gets the same answer for some minutes, and then a new one."""
    clock = Clock()
    answers, _ = asking(LISTED, clock)

    first = answers.get("https://pypi.acme.dev", None)
    clock.seconds = FRESH - 1
    again = answers.get("https://pypi.acme.dev/simple/", "oidc")
    clock.seconds = FRESH
    later = answers.get("https://pypi.acme.dev", None)

    assert first is again
    assert later == first
    assert later is not first


def test_no_secret_shown() -> None:
    """An answer, printed, does not show its password."""
    answers, said = asking(LISTED, Clock())

    answer = answers.get("https://pypi.acme.dev", None)

    assert answer is not None
    assert answer.password == INDEX_TOKEN
    assert INDEX_TOKEN not in repr(answer)
    assert said == []
