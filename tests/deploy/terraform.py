"""A Terraform configuration as python-hcl2 reads it, without Terraform itself."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.harness import Desk, program

SCHEMA: dict[str, Any] = json.loads(Path(__file__).with_name("google_provider.json").read_text())
"""Google's provider: what each resource that we use takes. `name!` has to be there."""
META = {"count", "depends_on", "for_each", "lifecycle", "provider", "provisioner"}
PROSE = ("description", "error_message")
REFERENCE = re.compile(
    r"\b(?:(var|local|module)\.(\w+)|(data\.google_\w+|google_\w+)\.(\w+))(?:\[[^]]*\])?(?:\.(\w+))?"
)


@dataclass(frozen=True)
class Configuration:
    """One module: the files of a folder, put together."""

    kinds: dict[str, list[dict[str, Any]]]
    """By the first word of each block, all blocks of that kind."""

    @classmethod
    def read(cls, folder: Path, desk: Desk) -> "Configuration":
        """Read every file of a folder."""
        kinds: dict[str, list[dict[str, Any]]] = {}
        told = desk.run(
            program("deploy", "hcl2tojson"), "--quiet", "--ndjson", *folder.glob("*.tf")
        )
        for line in told.splitlines():
            found = json.loads(line)
            found.pop("__file__", None)
            for kind, blocks in found.items():
                kinds.setdefault(kind, []).extend(blocks)
        return cls(kinds)

    def named(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the blocks with one label, such as `variable`."""
        return {
            _bare(name): block for each in self.kinds.get(kind, ()) for name, block in each.items()
        }

    def typed(self, kind: str) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the blocks with two labels: `resource` and `data`."""
        return {
            (_bare(of), _bare(name)): block
            for each in self.kinds.get(kind, ())
            for of, inner in each.items()
            for name, block in inner.items()
        }

    @property
    def locals(self) -> set[str]:
        """Every name of a local value."""
        return {name for block in self.kinds.get("locals", ()) for name in block}

    def references(self) -> set[tuple[str, str, str]]:
        """Return what expressions speak of: kind, name, and the attribute if there is one."""
        return {
            (kind or of, named or name, attribute)
            for text in _expressions(self.kinds)
            for kind, named, of, name, attribute in REFERENCE.findall(text)
        }


def wrong_references(configuration: Configuration) -> list[str]:
    """Return every reference to what is not there, and to an attribute that it has not."""
    return [
        ".".join(filter(None, reference))
        for reference in sorted(configuration.references())
        if not _leads_somewhere(configuration, *reference)
    ]


def wrong_arguments(configuration: Configuration) -> list[str]:
    """Return every argument that its resource has not, and every one that is missing."""
    found: list[str] = []
    for kind, place in (("resource", "resources"), ("data", "data")):
        for (of, name), block in configuration.typed(kind).items():
            found += _compared(block, SCHEMA[place][of], f"{of}.{name}")
    return found


def _leads_somewhere(configuration: Configuration, kind: str, name: str, attribute: str) -> bool:
    places = {
        "var": set(configuration.named("variable")),
        "local": configuration.locals,
        "module": set(configuration.named("module")),
    }
    if kind in places:
        return name in places[kind]
    data = kind.startswith("data.")
    of = kind.removeprefix("data.")
    known = SCHEMA["data" if data else "resources"].get(of, {"attributes": {}})
    attributes = {*known["attributes"], *known.get("computed", ()), *known.get("blocks", ()), ""}
    return (of, name) in configuration.typed("data" if data else "resource") and (
        attribute in attributes
    )


def _compared(block: dict[str, Any], schema: dict[str, Any], at: str) -> Iterator[str]:
    blocks = schema.get("blocks", {})
    given = {name: each for name, each in block.items() if not name.startswith("__")}
    for dynamic in given.pop("dynamic", ()):
        for name, inner in dynamic.items():
            given.setdefault(_bare(name), []).extend(inner["content"])
    for name, value in given.items():
        if name in blocks:
            for each in value:
                yield from _compared(each, blocks[name], f"{at}.{name}")
        elif name not in schema["attributes"] and name not in META:
            yield f"{at}.{name} is unknown"
    required = {name for name, kind in schema["attributes"].items() if kind.endswith("!")}
    required |= {name for name, inner in blocks.items() if inner["required"]}
    yield from (f"{at}.{name} is missing" for name in sorted(required - given.keys()))


def _expressions(value: object) -> Iterator[str]:
    """Yield every text in a value that is not for people."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _expressions(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key not in PROSE:
                yield from _expressions(each)


def _bare(name: str) -> str:
    return name.strip('"')
