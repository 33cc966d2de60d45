"""What every verifier of a secret can do; by itself it imports none of them."""

from typing import Protocol

from wheelyard.model.identity import Identity


class Verifier(Protocol):
    """Recognises who sends a secret of one kind; safe to share between threads."""

    def known(self, token: str) -> Identity | None:
        """Return who sends it if that needs no waiting, else None."""
        ...

    def identity(self, token: str) -> Identity:
        """
        Return who sends it; this may wait.

        Raises:
            Unauthenticated: It does not hold; always the same text.
            Unavailable: That cannot be told just now.
        """
        ...
