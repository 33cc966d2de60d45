"""
Is a document what its reader has published that it takes?

Both kinds of schemas are in the lock of `deploy`: Google's discovery documents, which name every
field of every API, and the JSON schemas that come with `check-jsonschema`.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from tests.clients.harness import Desk, program


def assert_valid(desk: Desk, schema: str, *files: Path) -> None:
    """Files are what a schema of `check-jsonschema` says, such as `vendor.cloudbuild`."""
    desk.run(program("deploy", "check-jsonschema"), "--builtin-schema", schema, *files)


def problems(desk: Desk, api: str, name: str, *values: object) -> str:
    """
    Return what is wrong with values by a schema of Google's, such as `Service` of `run.v1`.

    That is fields that are unknown or read only, and values of another type.
    """
    schemas = {each: _strict(schema) for each, schema in discovery(api)["schemas"].items()}
    whole = {"$ref": f"#/definitions/{name}", "definitions": schemas}
    (desk.folder / "schema.json").write_text(json.dumps(whole))
    files = [desk.folder / f"value-{number}.json" for number in range(len(values))]
    for file, value in zip(files, values, strict=True):
        file.write_text(json.dumps(value))
    check = (program("deploy", "check-jsonschema"), "--verbose", "--schemafile", "schema.json")
    done = desk.attempt(*check, *files)
    return done.stdout + done.stderr if done.returncode else ""


@cache
def discovery(api: str) -> dict[str, Any]:
    """Return what Google has published of an API, such as `run.v1`."""
    library = program("deploy", "python").parent.parent / "lib"
    path = f"python*/site-packages/googleapiclient/discovery_cache/documents/{api}.json"
    (file,) = library.glob(path)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Turn a schema of a discovery document into one of JSON Schema, which takes nothing else."""
    if "$ref" in schema:
        return {"$ref": f"#/definitions/{schema['$ref']}"}
    if schema.get("readOnly"):
        return {"not": {}}
    made: dict[str, Any] = {name: schema[name] for name in ("type", "enum") if name in schema}
    if "int" in schema.get("format", "") and made["type"] == "string":
        made["type"] = ["string", "integer"]  # what is too large for a number of JSON
    if "items" in schema:
        made["items"] = _strict(schema["items"])
    if made.get("type") == "object":
        parts = schema.get("properties", {})
        made["properties"] = {name: _strict(part) for name, part in parts.items()}
        others = schema.get("additionalProperties")
        made["additionalProperties"] = _strict(others) if others else False
    return {} if made.get("type") == "any" else made
