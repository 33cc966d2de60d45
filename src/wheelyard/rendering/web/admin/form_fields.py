"""The fields of the forms for tables of settings, each of which is for one key of a table."""

from typing import Literal

from msgspec import Struct

Control = Literal["text", "lines", "tick", "radio", "list", "index"]
"""The element of the form with which people choose a value. `index` is a list of indexes."""


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
    """Whether most people leave the field as it is, so that the form folds it."""
    limit: int | None = None
    """The most characters of a text."""
