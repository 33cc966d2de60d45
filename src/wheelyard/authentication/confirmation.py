"""
The confirmation by a provider for which a session waits.

`sessions.py` verifies sessions, and without providers loads nothing of `sign_in/`, which raises
this. So it is in a module of its own.
"""

from collections.abc import Callable


class ConfirmationNeeded(Exception):
    """A session counts only once its provider has confirmed the person, which may take long."""

    def __init__(self, provider: str, title: str, confirm: Callable[[], None]) -> None:
        super().__init__()
        self.provider = provider
        self.title = title
        """The name of the provider for people."""
        self.confirm = confirm
        """Asks the provider, unless it has just not answered, and returns, whatever it says."""
