"""What an error says in a terminal."""

from wheelyard.errors import WheelyardError
from wheelyard.rendering.advice import Terminal


def in_terminal(error: WheelyardError) -> str:
    """Return the message of an error with the command that helps."""
    return Terminal().message(error.message, error.advice)
