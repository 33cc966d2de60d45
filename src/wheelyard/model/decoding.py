"""From a table that somebody has written to a value, or to the first field of it that is wrong."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Final, TypeGuard, TypeVar, get_args

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
        path: tuple[str, ...],
        field_type: Any = None,  # noqa: ANN401 - any type that a field may have
        value: object = None,
    ) -> None:
        super().__init__(why, path)
        self.why, self.path, self.field_type, self.value = why, path, field_type, value

    @property
    def known(self) -> str:
        """The keys that there are, in the place of an unknown one."""
        return ", ".join(self.field_type.__struct_fields__)

    @property
    def message(self) -> str:
        """What is wrong, in a message about the table: the field, and what it may hold."""
        key = escaped(".".join(self.path)[:NAME_LIMIT])
        if self.why is FieldFault.UNKNOWN:
            return f"{key}: there is no such key. The keys are {self.known}"
        problem = "is missing, give" if self.why is FieldFault.MISSING else "expected"
        return f"{key}: {problem} {_expected(self.field_type)}"


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
        path, field_type, value = (*above, name), each.type, table.get(name)
        if name not in table:
            if each.required:
                raise InvalidField(FieldFault.MISSING, path, field_type)
        elif _is_struct(field_type) and isinstance(value, dict):
            _check(value, field_type, path, strict=strict)
        else:
            try:
                convert(value, field_type, strict=strict)
            except ValidationError as error:
                raise InvalidField(FieldFault.WRONG, path, field_type, value) from error


def _is_struct(field_type: object) -> TypeGuard[type[Struct]]:
    return isinstance(field_type, type) and issubclass(field_type, Struct)


def _expected(field_type: Any) -> str:  # noqa: ANN401 - any type that a field may have
    """Return what a field may hold: the title of its type, or of what that is made of."""
    parts = get_args(field_type)
    titled = (each.title for each in parts if isinstance(each, Meta) and each.title)
    return next(titled, "") or ("true or false" if bool in (field_type, *parts) else "a text")
