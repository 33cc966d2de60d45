"""From a table that somebody has written to a value, or to the first field of it that is wrong."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Final, TypeVar, get_args

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import fields

from wheelyard.model.text import escaped

NAME_LIMIT: Final = 100
"""Characters of a field's name that a message repeats."""

S = TypeVar("S", bound=Struct)


class FieldFault(Enum):
    """What is wrong with a field."""

    UNKNOWN = auto()
    MISSING = auto()
    WRONG = auto()


class InvalidField(Exception):
    """
    A table is no value of the type that it was to be.

    `place` is the field at fault, after the fields that it is in. `hint` is its type, or the type
    that has no such field, and `value` what it holds, if it holds anything.
    """

    def __init__(
        self,
        why: FieldFault,
        place: tuple[str, ...],
        hint: Any = None,  # noqa: ANN401 - any type that a field may have
        value: object = None,
    ) -> None:
        super().__init__(why, place)
        self.why, self.place, self.hint, self.value = why, place, hint, value

    @property
    def known(self) -> str:
        """The keys that there are, in the place of an unknown one."""
        return ", ".join(self.hint.__struct_fields__)

    @property
    def words(self) -> str:
        """What is wrong, in a message about the table: the field, and what it may hold."""
        key = escaped(".".join(self.place)[:NAME_LIMIT])
        if self.why is FieldFault.UNKNOWN:
            return f"{key}: there is no such key. The keys are {self.known}"
        is_missing = self.why is FieldFault.MISSING
        return f"{key}: {'is missing, give' if is_missing else 'expected'} {_expected(self.hint)}"


def decode_table(table: Mapping[str, object], kind: type[S], *, strict: bool = True) -> S:
    """
    Return the value that a table describes; its type `kind` forbids unknown fields.

    Unless `strict`, a text that reads like a number or a switch is one.

    Raises:
        WrongField: There is no such value; names the first field that is wrong.
    """
    try:
        return convert(table, kind, strict=strict)
    except ValidationError as error:
        # what msgspec says is for programmers, and may be put differently by its next version
        _check(table, kind, (), strict=strict)
        raise InvalidField(FieldFault.WRONG, ()) from error


def _check(
    table: Mapping[str, object], kind: type[Struct], above: tuple[str, ...], *, strict: bool
) -> None:
    known = {each.name: each for each in fields(kind)}
    for name in table:
        if name not in known:
            raise InvalidField(FieldFault.UNKNOWN, (*above, name), kind)
    for name, each in known.items():
        place, hint, value = (*above, name), each.type, table.get(name)
        if name not in table:
            if each.required:
                raise InvalidField(FieldFault.MISSING, place, hint)
        elif isinstance(hint, type) and issubclass(hint, Struct) and isinstance(value, dict):
            _check(value, hint, place, strict=strict)
        else:
            try:
                convert(value, hint, strict=strict)
            except ValidationError as error:
                raise InvalidField(FieldFault.WRONG, place, hint, value) from error


def _expected(hint: Any) -> str:  # noqa: ANN401 - any type that a field may have
    """Return what a field may hold: the title of its type, or of what that is made of."""
    parts = get_args(hint)
    titled = (each.title for each in parts if isinstance(each, Meta) and each.title)
    return next(titled, "") or ("true or false" if bool in (hint, *parts) else "a text")
