"""Wheels with a label, and their `variant.json`."""

import json
from typing import Any, Final

from tests.distributions import Distribution, make_wheel

SCHEMA: Final = "https://variants-schema.example.com/v0.1.1.json"


def variant_json(label: str, **changes: object) -> dict[str, Any]:
    """Return the `variant.json` of a label, with other members by their names."""
    properties = {} if label == "null" else {"x86_64": {"level": [label]}}
    document = {
        "$schema": SCHEMA,
        "default-priorities": {"namespace": ["x86_64"]},
        "variants": {label: properties},
    }
    return document | changes


def make_variant(
    label: str,
    name: str = "demo",
    version: str = "1.0",
    *,
    tag: str = "py3-none-any",
    content: bytes = b"",
    **changes: object,
) -> Distribution:
    """Return a wheel with a label, and with changes of its `variant.json`."""
    raw = json.dumps(variant_json(label, **changes)).encode()
    content = content or label.encode()
    return make_wheel(name, version, tag=tag, content=content, label=label, variant=raw)
