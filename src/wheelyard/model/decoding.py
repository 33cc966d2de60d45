"""Conversion of parsed TOML and JSON tables to msgspec structs, with the first invalid field."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar, get_args

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import fields

from wheelyard.model.text import escaped

NAME_LIMIT: Final = 100
"""Characters of a field's name in a message."""

S = TypeVar("S", bound=Struct)


FieldFault = Literal["unknown", "missing", "wrong"]
"""Why a field is invalid: it is unknown, missing, or has a wrong type or value."""


class InvalidField(Exception):
    """
    A field of a table is unknown, missing, or has a wrong type or value.

    `path` has the names of the tables that contain the field, and its own name. `field_type` is its
    type, or for an unknown field the struct. `value` is its value, if there is one.
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
        """The keys of the struct, separated by commas; only if the field is unknown."""
        return ", ".join(self.field_type.__struct_fields__)

    @property
    def message(self) -> str:
        """The message, without a full stop: the field, and the expected type or known keys."""
        key = escaped(".".join(self.path)[:NAME_LIMIT])
        if self.why == "unknown":
            return f"{key}: there is no such key. The keys are {self.known}"
        problem = "is missing, give" if self.why == "missing" else "expected"
        return f"{key}: {problem} {_expected(self.field_type)}"


def decode_table(table: Mapping[str, object], kind: type[S], *, strict: bool = True) -> S:
    """
    Return a table as a struct of type `kind`; raise InvalidField for the first invalid field.

    `kind` must forbid unknown fields. Unless `strict`, texts are converted to numbers and booleans.
    """
    try:
        return convert(table, kind, strict=strict)
    except ValidationError as error:
        # messages of msgspec are for programmers and may change with its version
        _find_invalid_field(table, kind, (), strict=strict)
        raise InvalidField("wrong", ()) from error


def _find_invalid_field(
    table: Mapping[str, object], kind: type[Struct], above: tuple[str, ...], *, strict: bool
) -> None:
    known = {each.encode_name: each for each in fields(kind)}
    for name in table:
        if name not in known:
            raise InvalidField("unknown", (*above, name), kind)
    for name, each in known.items():
        path, field_type, value = (*above, name), each.type, table.get(name)
        if name not in table:
            if each.required:
                raise InvalidField("missing", path, field_type)
        elif (
            isinstance(value, dict)
            and isinstance(field_type, type)
            and issubclass(field_type, Struct)
        ):
            _find_invalid_field(value, field_type, path, strict=strict)
        else:
            try:
                convert(value, field_type, strict=strict)
            except ValidationError as error:
                raise InvalidField("wrong", path, field_type, value) from error


def _expected(field_type: Any) -> str:  # noqa: ANN401 - any type that a field may have
    """Return a type in words for a message: its `title`, else `true or false` or `a text`."""
    parts = get_args(field_type)
    titled = (each.title for each in parts if isinstance(each, Meta) and each.title)
    return next(titled, "") or ("true or false" if bool in (field_type, *parts) else "a text")
