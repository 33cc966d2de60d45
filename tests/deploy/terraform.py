"""
Configurations of Terraform, held against what each resource that we use takes.

Terraform itself reads only what needs no provider, which cannot be had here. The rest is read by
python-hcl2, and held against a file for each provider, `google_provider.json` and so on: its
arguments and attributes. `string!` has to be there.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.harness import REPOSITORY, Sandbox, client_lock, program, system_program
from tests.once import made_once

PROVIDERS: dict[str, dict[str, Any]] = {
    name: json.loads(Path(__file__).with_name(f"{name}_provider.json").read_text())
    for name in ("aws", "azurerm", "google")
}
META = {"count", "depends_on", "for_each", "lifecycle", "provider", "provisioner"}
PROSE = ("description", "error_message")
TYPE = f"(?:{'|'.join(PROVIDERS)})_\\w+"
REFERENCE = re.compile(
    rf"\b(?:(var|local|module)\.(\w+)|(data\.{TYPE}|{TYPE})\.(\w+))(?:\[[^]]*\])?(?:\.(\w+))?"
)


@dataclass(frozen=True)
class Configuration:
    """One module: the files of a folder, put together."""

    kinds: dict[str, list[dict[str, Any]]]
    """By the first word of each block, all blocks of that kind."""

    @classmethod
    def read(cls, folder: Path) -> "Configuration":
        """Read every file of a folder."""
        kinds: dict[str, list[dict[str, Any]]] = {}
        for line in _as_json(folder).splitlines():
            blocks_by_kind = json.loads(line)
            blocks_by_kind.pop("__file__", None)
            for kind, blocks in blocks_by_kind.items():
                kinds.setdefault(kind, []).extend(blocks)
        return cls(kinds)

    def named(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the blocks with one label, such as `variable`."""
        return {
            bare(name): block for each in self.kinds.get(kind, ()) for name, block in each.items()
        }

    def typed(self, kind: str) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the blocks with two labels: `resource` and `data`."""
        return {
            (bare(of), bare(name)): block
            for each in self.kinds.get(kind, ())
            for of, inner in each.items()
            for name, block in inner.items()
        }

    def references(self) -> set[tuple[str, str, str]]:
        """Return what expressions speak of: kind, name, and the attribute if there is one."""
        return {
            (kind or of, named or name, attribute)
            for text in _expressions(self.kinds)
            for kind, named, of, name, attribute in REFERENCE.findall(text)
        }

    def wrong_references(self) -> list[str]:
        """Return every reference to what is not there, and to an attribute that it has not."""
        references = sorted(self.references())
        return [
            ".".join(filter(None, reference))
            for reference in references
            if not self._leads(*reference)
        ]

    def wrong_arguments(self) -> list[str]:
        """Return every argument that its resource has not, and every one that is missing."""
        return [
            wrong
            for kind in ("resource", "data")
            for (of, name), block in self.typed(kind).items()
            for wrong in _compared(block, _schema(kind, of), f"{of}.{name}")
        ]

    def wrong_variables(self) -> list[str]:
        """Return every variable that nothing uses, and every one or output that nothing says."""
        used = {name for kind, name, _ in self.references() if kind == "var"}
        variables = self.named("variable")
        mute = [
            name
            for name, block in (variables | self.named("output")).items()
            if "description" not in block
        ]
        return sorted(variables.keys() - used) + mute

    def required(self) -> set[str]:
        """Return the names of the variables that have to be given."""
        return {name for name, block in self.named("variable").items() if "default" not in block}

    def _leads(self, kind: str, name: str, attribute: str) -> bool:
        if kind == "local":
            return any(name in block for block in self.kinds["locals"])
        if kind in {"var", "module"}:
            return name in self.named("variable" if kind == "var" else kind)
        place, of = ("data" if "data." in kind else "resource"), kind.removeprefix("data.")
        if (of, name) not in self.typed(place):
            return False
        schema = _schema(place, of)
        attributes = {*schema["attributes"], *schema.get("computed", ()), *schema.get("blocks", ())}
        return attribute in {*attributes, ""}


def bare(name: str) -> str:
    """Return a label or a text without its quotes."""
    return name.strip('"')


def run(name: str, values: dict[str, object], refused: str = "") -> str:
    """Return a run of `terraform test`: a plan with these values, of which one is refused."""
    assignments = "\n".join(f"{key} = {json.dumps(each)}" for key, each in values.items())
    expected = f"expect_failures = [var.{refused}]\n" if refused else ""
    return f'run "{name}" {{\ncommand = plan\nvariables {{\n{assignments}\n}}\n{expected}}}\n'


def failed_runs(runs: list[str], sandbox: Sandbox) -> str:
    """Let Terraform plan each run in a sandbox; return its output, empty if all are as expected."""
    (sandbox.folder / "all.tftest.hcl").write_text("\n".join(runs))
    done = sandbox.attempt(system_program("terraform"), "test", "-no-color", CHECKPOINT_DISABLE="1")
    passed = re.findall(r'run "(\w+)"\.\.\. pass', done.stdout)
    return "" if len(passed) == len(runs) else done.stdout + done.stderr


def wrong_form(folder: Path) -> str:
    """Return what Terraform would format otherwise."""
    command = [system_program("terraform"), "fmt", "-check", "-diff", "-recursive", str(folder)]
    return subprocess.run(command, capture_output=True, check=False, text=True).stdout


def _as_json(folder: Path) -> str:
    """Return every file of a folder as a line of JSON, which takes python-hcl2 a second."""
    name = "-".join(("hcl", *folder.relative_to(REPOSITORY).parts))

    def make(made: Path) -> None:
        read: list[str | Path] = [program("deploy", "hcl2tojson"), "--quiet", "--ndjson"]
        done = subprocess.run([*read, *folder.glob("*.tf")], check=True, capture_output=True)
        (made / "files.json").write_bytes(done.stdout)

    return (made_once(name, [folder, client_lock("deploy")], make) / "files.json").read_text()


def _schema(place: str, of: str) -> dict[str, Any]:
    schema: dict[str, Any] = PROVIDERS[of.partition("_")[0]][place][of]
    return schema


def _compared(block: dict[str, Any], schema: dict[str, Any], at: str) -> Iterator[str]:
    blocks = schema.get("blocks", {})
    arguments = {name: each for name, each in block.items() if not name.startswith("__")}
    for dynamic in arguments.pop("dynamic", ()):
        for name, inner in dynamic.items():
            arguments.setdefault(bare(name), []).extend(inner["content"])
    for name, value in arguments.items():
        if name in blocks:
            for each in value:
                yield from _compared(each, blocks[name], f"{at}.{name}")
        elif name not in schema["attributes"] and name not in META:
            yield f"{at}.{name} is unknown"
    required = {name for name, kind in schema["attributes"].items() if kind.endswith("!")}
    required |= {name for name, inner in blocks.items() if inner["required"]}
    yield from (f"{at}.{name} is missing" for name in sorted(required - arguments.keys()))


def _expressions(value: object) -> Iterator[str]:
    """Yield every string in a value, without descriptions."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _expressions(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key not in PROSE:
                yield from _expressions(each)
