"""What an error and a warning say in a terminal."""

from collections.abc import Iterable

from wheelyard.errors import WheelyardError
from wheelyard.remedies import Caution
from wheelyard.rendering.advice import Terminal


def in_terminal(error: WheelyardError) -> str:
    """Return the message of an error with the command that helps."""
    return Terminal().message(error.message, error.advice)


def texts_of(cautions: Iterable[Caution]) -> list[str]:
    """Return the text of each warning with the command that helps."""
    return [Terminal().message(caution.message, caution.advice) for caution in cautions]
