"""A credential as a request carries it: taken apart, and not believed yet."""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credential:
    """
    What an Authorization header says.

    Args:
        user: The first half of a Basic pair; empty for Bearer.
        secret: The second half, or what follows Bearer.
        is_bearer: Whether it was Bearer, which has no user.
        origin: From where it comes: a password that was right from elsewhere is to be tried anew,
            or who guesses would be told sooner than the limit on guesses allows.
        is_unicode: Whether a pair was UTF-8; old clients send Latin-1, which only passwords may be.
    """

    user: str = field(repr=False)  # people put tokens there
    secret: str = field(repr=False)
    is_bearer: bool = False
    is_unicode: bool = True
    origin: str = ""

    @property
    def halves(self) -> Iterator[str]:
        """Where a token may stand: as the password, or as the user."""
        yield self.secret
        if not self.is_bearer:
            yield self.user
