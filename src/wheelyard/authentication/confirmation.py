"""
The exception for a session that waits for a confirmation by its provider.

`sign_in/` raises the exception, and `sessions.py` names it, but loads nothing of `sign_in/` without
providers. So the exception has a module of its own.
"""

from collections.abc import Callable


class ConfirmationNeeded(Exception):
    """Raised for a session that counts only once its provider has confirmed the person anew."""

    def __init__(self, provider: str, title: str, confirm: Callable[[], None]) -> None:
        super().__init__()
        self.provider = provider
        self.title = title
        """The name of the provider for people."""
        self.confirm = confirm
        """
        Asks the provider for the confirmation, which may take seconds, and returns nothing.

        It asks nothing if the provider has not confirmed the person a moment ago.
        """
