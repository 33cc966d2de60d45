"""A field of a form for the keys of a table."""

from typing import Literal

from msgspec import Struct

Control = Literal["text", "lines", "tick", "radio", "list", "index"]
"""How a value is chosen. `index` is a list of indexes."""


class FormField(Struct, frozen=True):
    """A field of a form, for a key of a table."""

    key: str
    label: str
    hint: str = ""
    control: Control = "text"
    choices: tuple[tuple[str, str], ...] = ()
    """The values of a radio or a list, each with its words. The first is the default."""
    is_required: bool = False
    is_rare: bool = False
    """Whether most people leave it as it is, so that it is folded."""
    limit: int | None = None
    """The most characters of a text."""
