"""Whether a person can be asked, by the standard streams of a command."""

from typing import Final

import pytest

from wheelyard.cli.standard_streams import is_interactive


class Stream:
    """A standard stream, which is a terminal or not."""

    def __init__(self, *, is_terminal: bool) -> None:
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._is_terminal


TERMINAL: Final = Stream(is_terminal=True)
PIPE: Final = Stream(is_terminal=False)


@pytest.mark.parametrize(
    ("stdin", "stderr", "can_ask"),
    [
        (TERMINAL, TERMINAL, True),
        (PIPE, TERMINAL, False),
        (TERMINAL, PIPE, False),
        (None, TERMINAL, False),
        (TERMINAL, None, False),
    ],
)
def test_a_person_is_asked_at_a_terminal(
    monkeypatch: pytest.MonkeyPatch, stdin: Stream | None, stderr: Stream | None, *, can_ask: bool
) -> None:
    """A command asks a person if its input and its messages are a terminal, and not closed."""
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr("sys.stderr", stderr)

    assert is_interactive() == can_ask
