"""Why there is no answer that can be used."""

from dataclasses import dataclass


@dataclass(eq=False)
class WebFault(Exception):
    """
    There is no answer that can be used.

    Args:
        why: In a few words, without URL, header or body.
        status: What the server said; 0 if it did not.
        is_passing: Whether another try may help.
        is_away: Whether nobody answers there at all.
        wait: Seconds that the server asks for.
    """

    why: str
    status: int = 0
    is_passing: bool = False
    is_away: bool = False
    wait: float = 0.0
