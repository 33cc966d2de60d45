"""
docs/openapi.json, made from the table of operations: `python -m tools.openapi` writes it.

`openapi_base.json` has what the table does not: patterns of texts, and trusted publishing.
"""

import ast
import json
import re
from inspect import cleandoc, getdoc, getsource
from pathlib import Path
from textwrap import dedent
from typing import Any, Final, get_args

import msgspec
from msgspec.structs import fields

from wheelyard.api.apply_operations import SOURCE_LIMIT_CHARS
from wheelyard.api.operation import ApiOperation, RequiredRight
from wheelyard.api.table import OPERATIONS
from wheelyard.model.grants import ACTIONS, GROUP_NAME
from wheelyard.model.index_name import DATED, MAIN, NAME_LIMIT_CHARS, RESERVED_INDEX_NAMES
from wheelyard.model.project_json import ENTRY_KINDS, SHOWN_KINDS
from wheelyard.model.rule_reasons import LIFTABLE, OF_VERSIONS
from wheelyard.model.webhook_messages import (
    AccessMessage,
    ProjectMessage,
    RequestsMessage,
    TrialMessage,
)
from wheelyard.operations.access_control import NOTE_LIMIT_CHARS
from wheelyard.operations.lifecycle import REASON_LIMIT

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "openapi.json"
BASE: Final = Path(__file__).with_name("openapi_base.json")
REF: Final = "#/components/schemas/"
_NAMES_VERSION: Final = {"required": ["version"], "properties": {"version": {"minLength": 1}}}
OF_A_VERSION: Final[dict[str, Any]] = {
    "allOf": [
        {
            "if": {"required": ["sha256"], "properties": {"sha256": {"minItems": 1}}},
            "then": _NAMES_VERSION,
        },
        {
            "if": {
                "required": ["despite"],
                "properties": {"despite": {"contains": {"enum": sorted(map(str, OF_VERSIONS))}}},
            },
            "then": _NAMES_VERSION,
        },
    ]
}
EXTRA: Final[dict[str, dict[str, Any]]] = {
    "ReleaseChange": {"oneOf": [{"required": ["version"]}, {"required": ["versions"]}]},
    "NewToken": {
        "allOf": [
            {
                "not": {
                    "required": ["days", "expires"],
                    "properties": {"days": {"type": "integer"}, "expires": {"type": "string"}},
                }
            },
            {
                "not": {
                    "required": ["can", "projects"],
                    "properties": {
                        "can": {"type": "array", "contains": {"const": "admin"}},
                        "projects": {"type": "array", "contains": {"not": {"const": "*"}}},
                    },
                }
            },
        ]
    },
    "Approval": OF_A_VERSION,
    "DecidedPackage": OF_A_VERSION,
    "IndexRemoval": {"allOf": [{"properties": {"name": {"not": {"const": MAIN}}}}]},
}
"""What no type says."""
TITLES: Final = {
    "a line of text": "Note",
    'indexes such as "dev,prod"': "RightIndexes",
    "a principal": "Principal",
    "a pattern of names": "Pattern",
    "an action": "GrantAction",
}
"""The texts that types of files are, by what messages call them."""
FREE_FORM: Final = frozenset(
    {
        "Principal",
        "Principals",
        "IndexKeys",
        "PublisherKeys",
        "WebhookKeys",
        "Tables",
        "JournalPlace",
    }
)
"""Texts and tables of which the schema does not say all."""
WRONG_IN_AN_INDEX: Final = frozenset({"NameChange", "ReleasePromotion"})
"""Bodies that are right or wrong by the index of the request."""
ONE_LINE: Final = r"[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]"
_WORDS: Final = "|".join(sorted(RESERVED_INDEX_NAMES))
_INDEX: Final = (
    rf"(?!(?:{_WORDS}|{DATED}[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})(?: *(?:,|$)))"
    rf"[a-z0-9](?:[a-z0-9-]{{0,{NAME_LIMIT_CHARS - 2}}}[a-z0-9])?"
)
_RIGHT_INDEX: Final = rf"(?:\*|{_INDEX})"
_INDEXES: Final = rf"{_RIGHT_INDEX}(?: *, *{_RIGHT_INDEX})*"
TEXTS: Final[dict[str, dict[str, Any]]] = {
    "Note": {
        "type": "string",
        "maxLength": NOTE_LIMIT_CHARS,
        "pattern": f"^{ONE_LINE}*$",
        "description": "One line of text, or nothing.",
    },
    "WrittenReason": {
        "type": "string",
        "maxLength": REASON_LIMIT,
        "pattern": rf"^{ONE_LINE}*(?!\s){ONE_LINE}{ONE_LINE}*$",
        "description": "One line of text that is not blank.",
    },
    "Source": {
        "type": "string",
        "minLength": 1,
        "maxLength": SOURCE_LIMIT_CHARS,
        "pattern": f"^{ONE_LINE}*$",
        "description": "The name of a file.",
    },
    "IndexName": {"type": "string", "pattern": f"^{_INDEX}$"},
    "OptionalIndex": {"type": "string", "pattern": f"^(?:{_INDEX})?$"},
    "RightIndexes": {
        "type": "string",
        "pattern": f"^(?:{_INDEXES})?$",
        "description": "Names of indexes with commas between them, `*`, or nothing.",
    },
    "WrittenIndexes": {"type": "string", "pattern": f"^{_INDEXES}$"},
    "OptionalName": {
        "anyOf": [{"$ref": "#/components/schemas/Name"}, {"type": "string", "maxLength": 0}]
    },
    "GroupName": {"type": "string", "pattern": f"^{GROUP_NAME.pattern}$"},
    "GrantAction": {"type": "string", "enum": list(ACTIONS)},
    "ApprovalRule": {"type": "string", "enum": list(map(str, LIFTABLE))},
    "EntryKind": {"type": "string", "enum": ["", *ENTRY_KINDS, *SHOWN_KINDS]},
    "JournalPlace": {
        "type": "string",
        "description": "What an answer has as `next`. Anything else is refused.",
    },
    "Principal": {
        "type": "string",
        "minLength": 1,
        "description": "A principal such as user:ana@acme.dev, in a form that docs/access.md has.",
    },
    "Principals": {
        "type": "string",
        "minLength": 1,
        "description": "Principals with commas between them, or token:ID.",
    },
    "IndexKeys": {
        "type": "object",
        "description": "The keys of an index, as docs/indexes.md has them.",
    },
    "PublisherKeys": {
        "type": "object",
        "description": "The keys of a publisher, as docs/trusted-publishing.md has them.",
    },
    "WebhookKeys": {
        "type": "object",
        "description": "The keys of a webhook, as docs/webhooks.md has them.",
    },
    "Tables": {
        "type": "object",
        "description": "The tables of a file, as docs/index-file.md has them.",
    },
}
"""Texts and tables whose rules are in the code."""
MESSAGES: Final[dict[str, type[msgspec.Struct]]] = {
    "project": ProjectMessage,
    "access.changed": AccessMessage,
    "package.requested": RequestsMessage,
    "webhook.test": TrialMessage,
}
"""What webhooks get, by what it is about."""
PATH_TEXTS: Final = {"name": "Name", "id": "TokenId"}
FAILURES: Final = {
    "400": "What the schema does not say of the body is wrong.",
    "4XX": "An error, with its code and message.",
    "502": "The upstream index gives no usable answer.",
    "503": "The store, or an upstream index, does not answer.",
    "507": "The store is full.",
}


def document() -> dict[str, Any]:
    """Return the description of today."""
    base: dict[str, Any] = json.loads(BASE.read_text(encoding="utf-8"))
    texts = base["components"]["schemas"] | TEXTS
    paths: dict[str, Any] = {}
    for row in OPERATIONS:
        described = paths.setdefault(f"/api/v1/{row.path}", {})
        described[row.method.lower()] = _operation(row, texts)
    bodies = [row.body_type for row in OPERATIONS if row.body_type and row.method != "GET"]
    answers = [kind for row in OPERATIONS for kind in _answers(row)]
    schemas = _schemas([*bodies, *answers, *MESSAGES.values()], texts)
    return base | {
        "paths": paths | base["paths"],
        "webhooks": {name: _message(kind) for name, kind in MESSAGES.items()},
        "components": base["components"] | {"schemas": texts | schemas},
    }


def text() -> str:
    """Return the file of today."""
    return json.dumps(document(), indent=2) + "\n"


def _schemas(types: list[Any], texts: dict[str, Any]) -> dict[str, Any]:
    """Return the schemas of structs, and of all that they are made of, by name."""
    _, made = msgspec.json.schema_components(types, ref_template=f"{REF}{{name}}")
    classes = {kind.__name__: kind for kind in _structs(types)}
    for name, schema in made.items():
        described = _attributes(classes[name]) if name in classes else {}
        for field, about in described.items():
            schema["properties"][field] = {**schema["properties"][field], "description": about}
    return {name: _named(schema, texts) | EXTRA.get(name, {}) for name, schema in made.items()}


def _structs(kinds: list[Any]) -> set[type[msgspec.Struct]]:
    """Return all structs that are in types."""
    found, left = set[type[msgspec.Struct]](), list(kinds)
    while left:
        kind = left.pop()
        left += get_args(kind)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in found:
            found.add(kind)
            left += [each.type for each in fields(kind)]
    return found


def _attributes(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Return the sentences that stand under the fields of a struct, by name in JSON."""
    found = dict[str, str]()
    names = {field.name: field.encode_name for field in fields(kind)}
    for each in reversed(kind.__mro__):
        if each is msgspec.Struct or not issubclass(each, msgspec.Struct):
            continue
        (node,) = ast.parse(dedent(getsource(each))).body
        assert isinstance(node, ast.ClassDef)  # noqa: S101 - it is the source of a class
        for before, after in zip(node.body, node.body[1:], strict=False):
            match before, after:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(about))),
                ):
                    found[names[name]] = " ".join(cleandoc(about).split())
    return found


def _named(schema: Any, texts: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    """Return a schema whose texts are those of the base; titles and defaults are left out."""
    if isinstance(schema, list):
        return [_named(each, texts) for each in schema]
    if not isinstance(schema, dict):
        return schema
    title = TITLES.get(schema.get("title", ""), schema.get("title"))
    if title in texts:
        about = {name: schema[name] for name in ("description",) if name in schema}
        return {"$ref": f"{REF}{title}", **about}
    return {
        name: {key: _named(each, texts) for key, each in value.items()}
        if name == "properties"
        else _named(value, texts)
        for name, value in schema.items()
        if name not in ("title", "default")
    }


def _operation(row: ApiOperation, texts: dict[str, Any]) -> dict[str, Any]:
    lines = (getdoc(row.run) or "").partition("\n\n")[0]
    described: dict[str, Any] = {"summary": " ".join(lines.split()).rstrip(".")}
    if row.right in (RequiredRight.ADMIN, RequiredRight.OWN_ADMIN):
        described["description"] = "For administrators."
    if row.right is not RequiredRight.READER or row.method != "GET":
        described["security"] = [{"basic": []}, {"bearer": []}]
    parameters = [*_path_parameters(row), *_query_parameters(row, texts)]
    if parameters:
        described["parameters"] = parameters
    if row.body_type and row.method != "GET":
        content = {"schema": {"$ref": f"{REF}{row.body_type.__name__}"}}
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    is_free = row.body_type is not None and (
        row.body_type.__name__ in WRONG_IN_AN_INDEX or bool(_titles([row.body_type]) & FREE_FORM)
    )
    described["responses"] = _responses(row, is_free=is_free)
    return described


def _message(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return what is sent to a webhook, as a request to it."""
    content = {"schema": {"$ref": f"{REF}{kind.__name__}"}}
    return {
        "post": {
            "summary": (getdoc(kind) or "").partition("\n\n")[0].rstrip("."),
            "description": "Signed as Standard Webhooks says.",
            "requestBody": {"required": True, "content": {"application/json": content}},
            "responses": {
                "2XX": {"description": "The receiver has the message."},
                "default": {"description": "The index sends the message again later."},
            },
        }
    }


def _titles(types: list[Any]) -> set[str]:
    """Return the titles of all texts and tables in types."""
    _, made = msgspec.json.schema_components(types, ref_template=f"{REF}{{name}}")
    titles = re.findall(r'"title": "([^"]+)"', json.dumps(made))
    return {TITLES.get(title, title) for title in titles}


def _path_parameters(row: ApiOperation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"$ref": f"{REF}{text}"}}
        for name, text in PATH_TEXTS.items()
        if f"{{{name}}}" in row.path
    ]


def _query_parameters(row: ApiOperation, texts: dict[str, Any]) -> list[dict[str, Any]]:
    if row.body_type is None or row.method != "GET":
        return []
    schema = _schemas([row.body_type], texts)[row.body_type.__name__]
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            **({"description": about} if (about := each.pop("description", "")) else {}),
            # a query has no null: the field is left out
            "schema": next(iter(each.get("anyOf", ())), each),
        }
        for name, each in schema["properties"].items()
    ]


def _responses(row: ApiOperation, *, is_free: bool) -> dict[str, Any]:
    statuses = ["4XX", "503"]
    statuses += ["400"] if is_free else []
    statuses += ["507"] if row.method != "GET" else []
    statuses += ["502"] if row.asks_upstream else []
    refused = {"application/json": {"schema": {"$ref": f"{REF}Refusal"}}}
    failures = {each: {"description": FAILURES[each], "content": refused} for each in statuses}
    done = dict[str, Any]()
    for kind in _answers(row):
        answer = {"application/json": {"schema": {"$ref": f"{REF}{kind.__name__}"}}}
        done[str(row.status)] = {"description": getdoc(kind) or "", "content": answer}
    if isinstance(None, row.answer_type):
        done["204"] = {"description": "The operation is done."}
    return {**done, **failures}


def _answers(row: ApiOperation) -> list[type[Any]]:
    """Return the type of what an operation answers with, or nothing if it is 204 alone."""
    kinds = get_args(row.answer_type) or (row.answer_type,)
    return [kind for kind in kinds if kind is not type(None)]


def main() -> None:
    """Write docs/openapi.json."""
    PAGE.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
