"""
Is a document what its reader has published that it takes?

Two kinds of readers' words are at hand without a network, both in the lock of `deploy`: Google's
discovery documents, which name every field of every API, and the JSON schemas that come with
`check-jsonschema`.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.clients.harness import Desk, program

TYPES: dict[str, type | tuple[type, ...]] = {
    "any": object,
    "array": list,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "object": dict,
    "string": str,
}


def problems(value: object, api: str, name: str) -> list[str]:
    """
    Compare a value with a schema of one of Google's APIs.

    Args:
        value: What a YAML or JSON file holds.
        api: With its version, such as `run.v1`.
        name: Of the schema, such as `Service`.

    Returns:
        What is wrong with it, each with its place: fields that are unknown or read only, values
        of another type, texts that are none of those that are allowed.
    """
    schemas = discovery(api)["schemas"]
    return list(_problems(value, schemas[name], schemas, name))


@cache
def discovery(api: str) -> dict[str, Any]:
    """Return what Google has published of an API, such as `run.v1`."""
    library = program("deploy", "python").parent.parent / "lib"
    path = f"python*/site-packages/googleapiclient/discovery_cache/documents/{api}.json"
    (file,) = library.glob(path)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def assert_valid(desk: Desk, schema: str, *files: Path) -> None:
    """Files are what a schema of `check-jsonschema` says, such as `vendor.cloudbuild`."""
    desk.run(program("deploy", "check-jsonschema"), "--builtin-schema", schema, *files)


def _problems(
    value: object, schema: dict[str, Any], schemas: dict[str, Any], at: str
) -> Iterator[str]:
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    if not _is_of(value, schema):
        yield f"{at}: {value!r} is no {schema['type']}"
    elif schema.get("readOnly"):
        yield f"{at}: is not for us to say"
    elif value not in schema.get("enum", [value]):
        yield f"{at}: {value!r} is none of {schema['enum']}"
    else:
        for place, each, found in _parts(value, schema):
            if found is None:
                yield f"{at}{place}: is unknown"
            else:
                yield from _problems(each, found, schemas, at + place)


def _parts(
    value: object, schema: dict[str, Any]
) -> Iterator[tuple[str, object, dict[str, Any] | None]]:
    """Yield all that is in a value: where, what, and the schema for it if there is one."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield f"[{number}]", each, schema["items"]
    elif isinstance(value, dict) and schema.get("type") != "any":
        fields, others = schema.get("properties", {}), schema.get("additionalProperties")
        for key, each in value.items():
            yield f".{key}", each, fields.get(key, others)


def _is_of(value: object, schema: dict[str, Any]) -> bool:
    """Return whether a value has the type, as JSON knows types: true is no number."""
    wanted = schema.get("type", "any")
    if isinstance(value, bool):
        return wanted in {"boolean", "any"}
    if wanted == "string" and "int" in schema.get("format", ""):
        return isinstance(value, int | str)  # what is too large for a number of JSON may be a text
    return isinstance(value, TYPES[wanted])
