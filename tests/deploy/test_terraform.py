"""
deploy/cloud-run/terraform: names lead somewhere, and senseless values are refused.

Terraform itself reads only what needs no provider, which cannot be had here. The rest is read by
python-hcl2, and held against `google_provider.json`: what each resource that we use takes. `name!`
has to be there.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clients.harness import Sandbox, program, system_program
from tests.deploy.running import DEPLOY
from wheelyard.settings.load import load_settings

FOLDER = DEPLOY / "cloud-run" / "terraform"
SCHEMA: dict[str, Any] = json.loads(Path(__file__).with_name("google_provider.json").read_text())
META = {"count", "depends_on", "for_each", "lifecycle", "provider", "provisioner"}
PROSE = ("description", "error_message")
REFERENCE = re.compile(
    r"\b(?:(var|local|module)\.(\w+)|(data\.google_\w+|google_\w+)\.(\w+))(?:\[[^]]*\])?(?:\.(\w+))?"
)
NEEDED: dict[str, object] = {
    "project_id": "acme-packages",
    "image": "europe-west1-docker.pkg.dev/acme-packages/wheelyard/wheelyard:0.1.0",
}
DOMAIN = "packages.acme.dev"
SENSELESS: dict[str, list[object]] = {
    "project_id": ["Acme Packages"],
    "image": ["wheelyard"],
    "region": ["europe-west1-b"],
    "bucket": ["gs://acme", "packages.acme.dev"],
    "min_instances": [6, 0.5],
    "max_instances": [1.5],
    "concurrency": [1001, 1.5],
    "cpu": ["0.5"],
    "spool_mib": [3329, 1280.5],
    "concurrent_uploads": [1.5],
    "noncurrent_days": [1.5],
    "soft_delete_days": [3, 7.5],
    "grants": [[{"who": ["anonymous"], "projects": ["*"], "actions": ["write"]}]],
    "environment": [{"PORT": "80"}],
    "domain": ["https://packages.acme.dev/", "-a.acme.dev", "a-.acme.dev", "acme", "acme.d3v"],
    "pages_domain": ["web.acme.dev"],
    "cdn": [True],
    "cdn_max_age": [1.5],
    "settings": [
        *("page_cache = 32", "# [uploads]\npage_cache = 32"),
        *("[uploads]\n[ 'access' ] # mine", "[uploads]\r\n[http]\r\n"),
    ],
}
SENSELESS_TOGETHER: list[dict[str, object]] = [
    {"spool_mib": 7425, "cpu": "2"},
    {"spool_mib": 1279, "cpu": "4"},
    {"spool_mib": 15617, "cpu": "4"},
    {"managers": [], "readers": ["allUsers"]},
    {"pages_domain": "https://x/", "domain": DOMAIN},
    {"pages_domain": DOMAIN, "domain": DOMAIN},
]
"""The first variable of each is the one that is refused."""
SENSIBLE: list[dict[str, object]] = [
    {},
    {"cpu": "4", "spool_mib": 1280},
    {"cpu": "2", "spool_mib": 256},
    {"domain": "xn--80ak6aa92e.xn--p1ai", "pages_domain": "web-1.xn--p1ai"},
    {"domain": "1.acme.dev"},
    {"soft_delete_days": 90},
    {"settings": "# all of it\n\n  [uploads]\nzip_sdists = true"},
    {"settings": '[limits]\nx = ["a"]\n[[grant]]\nwho = ["anonymous"]'},
    {"settings": "[uploads]\n# [access] is not here\n[http.other]\n"},
]


@dataclass(frozen=True)
class Configuration:
    """One module: the files of a folder, put together."""

    kinds: dict[str, list[dict[str, Any]]]
    """By the first word of each block, all blocks of that kind."""

    @classmethod
    def read(cls, folder: Path, sandbox: Sandbox) -> "Configuration":
        """Read every file of a folder."""
        kinds: dict[str, list[dict[str, Any]]] = {}
        output = sandbox.run(
            program("deploy", "hcl2tojson"), "--quiet", "--ndjson", *folder.glob("*.tf")
        )
        for line in output.splitlines():
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
        return [".".join(filter(None, each)) for each in references if not self._leads(*each)]

    def wrong_arguments(self) -> list[str]:
        """Return every argument that its resource has not, and every one that is missing."""
        return [
            found
            for kind in ("resource", "data")
            for (of, name), block in self.typed(kind).items()
            for found in _compared(block, SCHEMA[kind][of], f"{of}.{name}")
        ]

    def _leads(self, kind: str, name: str, attribute: str) -> bool:
        if kind == "local":
            return any(name in block for block in self.kinds["locals"])
        if kind in {"var", "module"}:
            return name in self.named("variable" if kind == "var" else kind)
        place, of = ("data" if "data." in kind else "resource"), kind.removeprefix("data.")
        known = SCHEMA[place].get(of, {"attributes": {}})
        attributes = {*known["attributes"], *known.get("computed", ()), *known.get("blocks", ())}
        return (of, name) in self.typed(place) and attribute in {*attributes, ""}


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


def _bare(name: str) -> str:
    return name.strip('"')


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Configuration]:
    """The two modules, as python-hcl2 reads them."""
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox"), tmp_path_factory.mktemp("home"))
    return {
        folder.name: Configuration.read(folder, sandbox) for folder in (FOLDER, FOLDER / "settings")
    }


@pytest.mark.parametrize("name", ["terraform", "settings"])
def test_names_and_arguments(name: str, modules: dict[str, Configuration]) -> None:
    """What an expression speaks of is there and used; resources have what the provider asks for."""
    configuration = modules[name]
    variables = configuration.named("variable")
    used = {each for kind, each, _ in configuration.references() if kind == "var"}

    assert len(configuration.references()) > 5
    assert configuration.wrong_references() == []
    assert configuration.wrong_arguments() == []
    assert sorted(variables.keys() - used) == []
    for each in (*variables.values(), *configuration.named("output").values()):
        assert "description" in each
    if name == "settings":  # a module is given every value by name
        (call,) = modules["terraform"].named("module").values()
        assert variables.keys() == {each for each in call if each[0] != "_"} - {"source"}


def test_example_of_variables(modules: dict[str, Configuration]) -> None:
    """The example sets all that has to be set, and everything in it is a variable, and needed."""
    text = (FOLDER / "terraform.tfvars.example").read_text()
    variables = modules["terraform"].named("variable")
    required = {name for name, it in variables.items() if "default" not in it}

    assert set(re.findall(r"^(\w+)\s+=", text, re.MULTILINE)) == required == set(NEEDED)
    assert set(re.findall(r"^(?:# )?(\w+)\s+=", text, re.MULTILINE)) <= variables.keys()


def test_provider_is_the_one_we_know(modules: dict[str, Configuration]) -> None:
    """The provider that is asked for is the one whose arguments the tests know."""
    (block,) = modules["terraform"].kinds["terraform"]
    wanted = json.dumps(block["required_providers"])

    major, minor, _ = SCHEMA["version"].split(".")
    assert SCHEMA["provider"] in wanted
    assert f"~> {major}.{minor}" in wanted


def test_same_service_as_by_gcloud(modules: dict[str, Configuration]) -> None:
    """Terraform's service has arguments, port, probes, variables and volumes of service.yaml."""
    written = yaml.safe_load((DEPLOY / "cloud-run" / "service.yaml").read_text())
    (theirs,) = written["spec"]["template"]["spec"]["containers"]
    service = modules["terraform"].typed("resource")["google_cloud_run_v2_service", "wheelyard"]
    (ours,) = service["template"][0]["containers"]
    text = (FOLDER / "service.tf").read_text()

    assert [_bare(word) for word in ours["args"]] == theirs["args"]
    assert ours["ports"][0]["container_port"] == theirs["ports"][0]["containerPort"]
    for name in ("startup", "liveness"):
        (probe,), other = ours[f"{name}_probe"], theirs[f"{name}Probe"]
        assert _bare(probe["http_get"][0]["path"]) == other["httpGet"]["path"]
        assert probe["period_seconds"] == other["periodSeconds"]
    places = {each["mountPath"] for each in theirs["volumeMounts"]}
    assert {_bare(each["mount_path"]) for each in ours["volume_mounts"]} == places
    assert [each["name"] for each in theirs["env"] if each["name"] not in text] == []


def test_form() -> None:
    """The files are formatted as Terraform formats them."""
    command = [system_program("terraform"), "fmt", "-check", "-diff", "-recursive", str(FOLDER)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)

    assert done.stdout == ""


def test_values(sandbox: Sandbox) -> None:
    """A value that Google or the server would refuse later is refused before anything is made."""
    template = (FOLDER / "settings" / "wheelyard.toml.tftpl").read_text()
    tables = re.findall(r"^\[([^][]+)\]$", template, re.MULTILINE)
    assert len(tables) > 4
    senseless = [{name: value} for name, values in SENSELESS.items() for value in values]
    senseless += SENSELESS_TOGETHER + [{"settings": f"[{each}]\n"} for each in tables]
    wrong = [_run(f"wrong_{n}", each, next(iter(each))) for n, each in enumerate(senseless)]
    right = [_run(f"right_{n}", each) for n, each in enumerate(SENSIBLE)]
    _write_variables(sandbox.folder)
    (sandbox.folder / "all.tftest.hcl").write_text("\n".join(wrong + right))

    done = sandbox.attempt(system_program("terraform"), "test", "-no-color", CHECKPOINT_DISABLE="1")

    passed = re.findall(r'run "(\w+)"\.\.\. pass', done.stdout)
    assert len(passed) == len(wrong + right), done.stdout + done.stderr


def _write_variables(folder: Path) -> None:
    """Write the variables with the local values that they ask for, and without any provider."""
    text = "\n".join(path.read_text() for path in sorted(FOLDER.glob("*.tf")))
    (written,) = re.findall(
        r"^  written_tables = concat\(.*?^  \)$", text, re.MULTILINE | re.DOTALL
    )
    given = "  with_access_tokens = true\n  with_iap = true\n"
    local_values = f"locals {{\n{written}\n{given}}}\n"
    (folder / "variables.tf").write_text((FOLDER / "variables.tf").read_text() + local_values)


def _run(name: str, values: dict[str, object], refused: str = "") -> str:
    """Return a run of `terraform test`: a plan with these values, of which one is refused."""
    usual: dict[str, object] = {"publishing_audience": ["a"]} if refused == "settings" else {}
    given = "\n".join(
        f"{key} = {json.dumps(each)}" for key, each in (NEEDED | usual | values).items()
    )
    expected = f"expect_failures = [var.{refused}]\n" if refused else ""
    return f'run "{name}" {{\ncommand = plan\nvariables {{\n{given}\n}}\n{expected}}}\n'


def test_settings(sandbox: Sandbox) -> None:
    """The settings that Terraform writes are ones that the server takes, whatever is in a note."""
    shutil.copytree(FOLDER / "settings", sandbox.folder / "settings")
    values = {
        "credentials_bucket": "acme-credentials",
        "private": True,
        "private_names": ["acme-*"],
        "id_token_audience": ["https://packages.acme.dev"],
        "allowed_domains": ["acme.dev"],
        "authorisation_bucket": "acme-authorised",
        "publishing_audience": [DOMAIN],
        "iap_audience": ["/projects/1/global/backendServices/2"],
        "public_max_age": 60,
        "grants": [
            {"who": ["anonymous"], "projects": ["open-*"], "actions": ["read"], "note": 'a "b" <&>'}
        ],
        "extra": "[uploads]\nzip_sdists = true",
    }
    (sandbox.folder / "settings" / "terraform.tfvars.json").write_text(json.dumps(values))
    there = sandbox.at(sandbox.folder / "settings")
    terraform = system_program("terraform")
    there.run(terraform, "apply", "-auto-approve", "-no-color", CHECKPOINT_DISABLE="1")
    toml = sandbox.folder / "wheelyard.toml"
    toml.write_text(there.run(terraform, "output", "-raw", "toml", CHECKPOINT_DISABLE="1"))

    found = load_settings(file=toml, environ={}).settings

    assert found.access.credentials_store == "gs://acme-credentials"
    assert found.uploads.zip_sdists
    assert 'a \\"b\\" ' in toml.read_text()


def test_apis_before_terraform() -> None:
    """The page switches on what Terraform needs for the first question that it asks."""
    page = (DEPLOY.parent / "docs" / "deploy" / "cloud-run.md").read_text()
    last = page.partition("\nterraform init\n")[0].rpartition("```sh\n")[2]

    assert "cloudresourcemanager.googleapis.com" in last
    assert "serviceusage.googleapis.com" in last
