"""deploy/cloud-run/terraform: names lead somewhere, and senseless values are refused."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.clients.conftest import desk as _desk
from tests.clients.harness import Desk, system_program
from tests.deploy.running import DEPLOY
from tests.deploy.terraform import SCHEMA, Configuration, wrong_arguments, wrong_references
from wheelyard.settings.reading import read_settings

desk = _desk

FOLDER = DEPLOY / "cloud-run" / "terraform"
MODULES = [FOLDER, FOLDER / "settings"]
NEEDED: dict[str, object] = {
    "project_id": "acme-packages",
    "image": "europe-west1-docker.pkg.dev/acme-packages/wheelyard/wheelyard:0.1.0",
}
DOMAIN = "packages.acme.dev"
SENSELESS: list[dict[str, object]] = [
    {"project_id": "Acme Packages"},
    {"image": "wheelyard"},
    {"region": "europe-west1-b"},
    {"bucket": "gs://acme"},
    {"bucket": "packages.acme.dev"},
    {"min_instances": 6},
    {"min_instances": 0.5},
    {"max_instances": 1.5},
    {"concurrency": 1001},
    {"concurrency": 1.5},
    {"cpu": "0.5"},
    {"spool_mib": 3329},
    {"spool_mib": 7425, "cpu": "2"},
    {"spool_mib": 1279, "cpu": "4"},
    {"spool_mib": 15617, "cpu": "4"},
    {"spool_mib": 1280.5},
    {"concurrent_uploads": 1.5},
    {"noncurrent_days": 1.5},
    {"soft_delete_days": 3},
    {"soft_delete_days": 7.5},
    {"grants": [{"who": ["anonymous"], "projects": ["*"], "actions": ["write"]}]},
    {"managers": [], "readers": ["allUsers"]},
    {"environment": {"PORT": "80"}},
    {"domain": "https://packages.acme.dev/"},
    {"domain": "-a.acme.dev"},
    {"domain": "a-.acme.dev"},
    {"domain": "acme"},
    {"domain": "acme.d3v"},
    {"pages_domain": "web.acme.dev"},
    {"pages_domain": "https://x/", "domain": DOMAIN},
    {"pages_domain": DOMAIN, "domain": DOMAIN},
    {"cdn": True},
    {"cdn_max_age": 1.5},
    {"settings": "page_cache = 32"},
    {"settings": "# [uploads]\npage_cache = 32"},
    {"settings": "[uploads]\n[ 'access' ] # mine"},
    {"settings": "[uploads]\r\n[http]\r\n"},
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


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Configuration]:
    """The two modules, as python-hcl2 reads them."""
    desk = Desk(tmp_path_factory.mktemp("desk"), tmp_path_factory.mktemp("home"))
    return {folder.name: Configuration.read(folder, desk) for folder in MODULES}


@pytest.mark.parametrize("name", ["terraform", "settings"])
def test_names_and_arguments(name: str, modules: dict[str, Configuration]) -> None:
    """What an expression speaks of is there; each resource has what Google's provider asks for."""
    configuration = modules[name]

    assert len(configuration.references()) > 5
    assert wrong_references(configuration) == []
    assert wrong_arguments(configuration) == []


def test_mistakes_are_found(modules: dict[str, Configuration]) -> None:
    """A misspelled variable, attribute or argument, and a missing one, are found."""
    text = json.dumps(modules["terraform"].kinds)
    for right, wrong in (
        ("var.concurrency", "var.concurency"),
        ("account.wheelyard.email", "account.wheelyard.mail"),
        ('"http_get"', '"http"'),
        ('"location": "${local.bucket_location}"', '"labels": {}'),
    ):
        assert right in text
        text = text.replace(right, wrong)
    configuration = Configuration(json.loads(text))

    references = ["google_service_account.wheelyard.mail", "var.concurency"]
    assert wrong_references(configuration) == references
    arguments = " ".join(wrong_arguments(configuration))
    assert "startup_probe.http is unknown" in arguments
    assert "google_storage_bucket.packages.location is missing" in arguments


@pytest.mark.parametrize("name", ["terraform", "settings"])
def test_variables_and_outputs(name: str, modules: dict[str, Configuration]) -> None:
    """Each variable has a type, a description and a use, and each output a description."""
    configuration = modules[name]
    variables, outputs = configuration.named("variable"), configuration.named("output")
    used = {each for kind, each, _ in configuration.references() if kind == "var"}

    assert [
        each for each, it in variables.items() if not {"type", "description"} <= it.keys()
    ] == []
    assert sorted(variables.keys() - used) == []
    assert [each for each, it in outputs.items() if "description" not in it] == []
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

    assert [word.strip('"') for word in ours["args"]] == theirs["args"]
    assert ours["ports"][0]["container_port"] == theirs["ports"][0]["containerPort"]
    for name in ("startup", "liveness"):
        (probe,), other = ours[f"{name}_probe"], theirs[f"{name}Probe"]
        assert probe["http_get"][0]["path"].strip('"') == other["httpGet"]["path"]
        assert probe["period_seconds"] == other["periodSeconds"]
    assert {each["mount_path"].strip('"') for each in ours["volume_mounts"]} == {
        each["mountPath"] for each in theirs["volumeMounts"]
    }
    assert [each["name"] for each in theirs["env"] if each["name"] not in text] == []


def test_form() -> None:
    """The files are formatted as Terraform formats them."""
    command = [system_program("terraform"), "fmt", "-check", "-diff", "-recursive", str(FOLDER)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)

    assert done.stdout == ""


def test_values(desk: Desk) -> None:
    """A value that Google or the server would refuse later is refused before anything is made."""
    template = (FOLDER / "settings" / "wheelyard.toml.tftpl").read_text()
    tables = re.findall(r"^\[([^][]+)\]$", template, re.MULTILINE)
    assert len(tables) > 4
    senseless = SENSELESS + [{"settings": f"[{each}]\n"} for each in tables]
    wrong = [_run(f"wrong_{n}", each, next(iter(each))) for n, each in enumerate(senseless)]
    right = [_run(f"right_{n}", each) for n, each in enumerate(SENSIBLE)]
    _write_variables(desk.folder)
    (desk.folder / "all.tftest.hcl").write_text("\n".join(wrong + right))

    done = desk.attempt(system_program("terraform"), "test", "-no-color", CHECKPOINT_DISABLE="1")

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


def test_settings(desk: Desk) -> None:
    """The settings that Terraform writes are ones that the server takes, whatever is in a note."""
    shutil.copytree(FOLDER / "settings", desk.folder / "settings")
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
    (desk.folder / "settings" / "terraform.tfvars.json").write_text(json.dumps(values))
    there = desk.at(desk.folder / "settings")
    terraform = system_program("terraform")
    there.run(terraform, "apply", "-auto-approve", "-no-color", CHECKPOINT_DISABLE="1")
    toml = desk.folder / "wheelyard.toml"
    toml.write_text(there.run(terraform, "output", "-raw", "toml", CHECKPOINT_DISABLE="1"))

    found = read_settings(file=toml, environ={}).settings

    assert found.access.credentials_store == "gs://acme-credentials"
    assert found.uploads.zip_sdists
    assert 'a \\"b\\" ' in toml.read_text()


def test_apis_before_terraform() -> None:
    """The page switches on what Terraform needs for the first question that it asks."""
    page = (DEPLOY.parent / "docs" / "deploy" / "cloud-run.md").read_text()
    last = page.partition("\nterraform init\n")[0].rpartition("```sh\n")[2]

    assert "cloudresourcemanager.googleapis.com" in last
    assert "serviceusage.googleapis.com" in last
