"""
The keys of a trusted publisher as texts, as a form or a command has them, and back.

A list is a text with commas or line breaks between its elements. `match` has a line for each claim,
`CLAIM = VALUE`, where true and false are booleans unless they are in quotes.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import inspect
from msgspec.inspect import type_info
from msgspec.structs import fields

from wheelyard.errors import Invalid, quoted
from wheelyard.model.publisher import PROVIDERS
from wheelyard.model.stored_publishers import PublisherKeys

PROVIDER: Final = "provider"
_BOOLEANS: Final = {"true": True, "false": False}
_NUMBER: Final = re.compile("[1-9][0-9]{0,17}", re.ASCII)
_ELEMENTS: Final = re.compile(r"[,\n]")


def keys_of_texts(provider: str, texts: Mapping[str, str]) -> PublisherKeys:
    """
    Return the keys of a publisher with these texts, which are not checked further.

    An empty text leaves its key out. Raises Invalid (code `invalid_field`), with the key, if
    `match` has a line without `=`, or a claim twice, and if the provider or a key is unknown.
    """
    kind = PROVIDERS.get(provider)
    if kind is None:
        message = f"There is no provider {quoted(provider)}. Write {', '.join(PROVIDERS)}."
        raise _invalid(PROVIDER, message)
    types = {field.encode_name: type_info(field.type) for field in fields(kind)}
    keys: PublisherKeys = {"id": texts.get("id", ""), PROVIDER: provider}
    for key, text in texts.items():
        if key not in types:
            names = ", ".join(types)
            raise _invalid(key, f"{quoted(key)} is no key of {provider}. The keys are {names}.")
        if text.strip():
            keys[key] = _value(types[key], key, text.strip())
    return keys


def texts_of_keys(keys: PublisherKeys) -> dict[str, str]:
    """Return the keys of a publisher but the provider as texts, for `keys_of_texts`."""
    return {key: _text(value) for key, value in keys.items() if key != PROVIDER}


def _value(kind: inspect.Type, key: str, text: str) -> Any:  # noqa: ANN401 - of any type
    if isinstance(kind, inspect.Metadata):
        return _value(kind.type, key, text)
    if isinstance(kind, inspect.VarTupleType):
        return [element for part in _ELEMENTS.split(text) if (element := part.strip())]
    if isinstance(kind, inspect.DictType):
        return _claims(key, text)
    types = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    if any(isinstance(member, inspect.BoolType) for member in types):
        return _BOOLEANS.get(text.lower(), text)
    is_number = any(isinstance(member, inspect.IntType) for member in types)
    # any other text is for the checks of the table to refuse
    return int(text) if is_number and _NUMBER.fullmatch(text) else text


def _claims(key: str, text: str) -> dict[str, str | bool]:
    claims = dict[str, str | bool]()
    for line in filter(str.strip, text.splitlines()):
        claim, value = _claim(key, line)
        if claim in claims:
            raise _invalid(key, f"The claim {quoted(claim)} is there twice. Leave one out.")
        claims[claim] = value
    return claims


def _claim(key: str, line: str) -> tuple[str, str | bool]:
    claim, equals, value = (part.strip() for part in line.partition("="))
    if not equals or not claim:
        raise _invalid(key, f"Write each claim on a line, as CLAIM = VALUE: {quoted(line)}.")
    is_quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return claim, value[1:-1] if is_quoted else _BOOLEANS.get(value, value)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "\n".join(f"{claim} = {_claim_text(inner)}" for claim, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _claim_text(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) and value in _BOOLEANS else _text(value)


def _invalid(key: str, message: str) -> Invalid:
    fault = Invalid(message, code="invalid_field")
    fault.field = key
    return fault
