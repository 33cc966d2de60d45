"""deploy/cloud-run/terraform: names lead somewhere, and senseless values are refused."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.clients.harness import Sandbox, system_program
from tests.deploy.running import DEPLOY
from tests.deploy.terraform import PROVIDERS, Configuration, bare, failed_runs, run, wrong_form
from wheelyard.settings.load import load_settings

FOLDER = DEPLOY / "cloud-run" / "terraform"
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

    assert len(configuration.references()) > 5
    assert configuration.wrong_references() == []
    assert configuration.wrong_arguments() == []
    assert configuration.wrong_variables() == []
    if name == "settings":  # a module is given every value by name
        (call,) = modules["terraform"].named("module").values()
        given = {each for each in call if each[0] != "_"} - {"source"}
        assert configuration.named("variable").keys() == given


def test_example_of_variables(modules: dict[str, Configuration]) -> None:
    """The example sets all that has to be set, and everything in it is a variable, and needed."""
    text = (FOLDER / "terraform.tfvars.example").read_text()
    variables = modules["terraform"].named("variable")
    required = modules["terraform"].required()

    assert set(re.findall(r"^(\w+)\s+=", text, re.MULTILINE)) == required == set(NEEDED)
    assert set(re.findall(r"^(?:# )?(\w+)\s+=", text, re.MULTILINE)) <= variables.keys()


def test_provider_is_the_one_we_know(modules: dict[str, Configuration]) -> None:
    """The provider that is asked for is the one whose arguments the tests know."""
    (block,) = modules["terraform"].kinds["terraform"]
    wanted = json.dumps(block["required_providers"])

    google = PROVIDERS["google"]

    major, minor, _ = google["version"].split(".")
    assert google["provider"] in wanted
    assert f"~> {major}.{minor}" in wanted


def test_same_service_as_by_gcloud(modules: dict[str, Configuration]) -> None:
    """Terraform's service has arguments, port, probes, variables and volumes of service.yaml."""
    written = yaml.safe_load((DEPLOY / "cloud-run" / "service.yaml").read_text())
    (theirs,) = written["spec"]["template"]["spec"]["containers"]
    service = modules["terraform"].typed("resource")["google_cloud_run_v2_service", "wheelyard"]
    (ours,) = service["template"][0]["containers"]
    text = (FOLDER / "service.tf").read_text()

    assert [bare(word) for word in ours["args"]] == theirs["args"]
    assert ours["ports"][0]["container_port"] == theirs["ports"][0]["containerPort"]
    for name in ("startup", "liveness"):
        (probe,), other = ours[f"{name}_probe"], theirs[f"{name}Probe"]
        assert bare(probe["http_get"][0]["path"]) == other["httpGet"]["path"]
        assert probe["period_seconds"] == other["periodSeconds"]
    places = {volumemount["mountPath"] for volumemount in theirs["volumeMounts"]}
    assert {bare(volume_mount["mount_path"]) for volume_mount in ours["volume_mounts"]} == places
    assert [each["name"] for each in theirs["env"] if each["name"] not in text] == []


def test_the_files_are_formatted() -> None:
    """The files are formatted as Terraform formats them."""
    assert wrong_form(FOLDER) == ""


def test_a_bad_value_is_refused_before_anything_is_made(sandbox: Sandbox) -> None:
    """A value that Google or the server would refuse later is refused before anything is made."""
    template = (FOLDER / "settings" / "wheelyard.toml.tftpl").read_text()
    tables = re.findall(r"^\[([^][]+)\]$", template, re.MULTILINE)
    assert len(tables) > 4
    senseless = [{name: value} for name, values in SENSELESS.items() for value in values]
    senseless += SENSELESS_TOGETHER + [{"settings": f"[{table}]\n"} for table in tables]
    wrong = [_run(f"wrong_{n}", each, next(iter(each))) for n, each in enumerate(senseless)]
    right = [_run(f"right_{n}", each) for n, each in enumerate(SENSIBLE)]
    _write_variables(sandbox.folder)

    assert failed_runs(wrong + right, sandbox) == ""


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
    usual: dict[str, object] = {"publishing_audience": ["a"]} if refused == "settings" else {}
    return run(name, NEEDED | usual | values, refused)


def test_the_server_takes_the_written_settings(sandbox: Sandbox) -> None:
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
