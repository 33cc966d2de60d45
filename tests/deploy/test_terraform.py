"""deploy/cloud-run/terraform: the service of gcloud, and files that the server takes."""

import json
import shutil
from typing import Any

import pytest
import yaml

from tests.clients.harness import Sandbox, system_program
from tests.deploy.running import DEPLOY, index_tables
from tests.deploy.terraform import Configuration, bare
from wheelyard.model.grants import scope_of
from wheelyard.settings.load import load_settings

FOLDER = DEPLOY / "cloud-run" / "terraform"
DOMAIN = "packages.acme.dev"
INDEX = """# more of it
[groups]
team = ["user:ana@acme.dev"]

[[grant]]
who = ["group:team"]
projects = ["*"]
actions = ["upload"]"""


@pytest.fixture(scope="module")
def modules() -> dict[str, Configuration]:
    """The two modules, as python-hcl2 reads them."""
    return {folder.name: Configuration.read(folder) for folder in (FOLDER, FOLDER / "settings")}


def test_names_and_arguments_of_the_settings(modules: dict[str, Configuration]) -> None:
    """The settings module refers to what exists, and the configuration sets its variables."""
    settings = modules["settings"]

    assert len(settings.references()) > 5
    assert settings.wrong_references() == []
    assert settings.wrong_arguments() == []
    assert settings.wrong_variables() == []
    (call,) = modules["terraform"].named("module").values()
    arguments = {name for name in call if name[0] != "_"} - {"source"}
    assert settings.named("variable").keys() == arguments


def test_same_service_as_by_gcloud(modules: dict[str, Configuration]) -> None:
    """Terraform's service has arguments, port, probes, variables and volumes of service.yaml."""
    written = yaml.safe_load((DEPLOY / "cloud-run" / "service.yaml").read_text())
    (of_gcloud,) = written["spec"]["template"]["spec"]["containers"]
    service = modules["terraform"].typed("resource")["google_cloud_run_v2_service", "wheelyard"]
    (of_terraform,) = service["template"][0]["containers"]
    text = (FOLDER / "service.tf").read_text()

    assert [bare(word) for word in of_terraform["args"]] == of_gcloud["args"]
    assert of_terraform["ports"][0]["container_port"] == of_gcloud["ports"][0]["containerPort"]
    for name in ("startup", "liveness"):
        (probe,), other = of_terraform[f"{name}_probe"], of_gcloud[f"{name}Probe"]
        assert bare(probe["http_get"][0]["path"]) == other["httpGet"]["path"]
        assert probe["period_seconds"] == other["periodSeconds"]
    secrets = [volume["secret"] for volume in written["spec"]["template"]["spec"]["volumes"][:2]]
    mounted = [volume["secret"][0] for volume in service["template"][0]["volumes"][:2]]
    assert [bare(secret["items"][0]["path"]) for secret in mounted] == [
        secret["items"][0]["path"] for secret in secrets
    ]
    secret_ids = {bare(block["secret_id"]) for block in _secrets(modules["terraform"])}
    assert secret_ids == {secret["secretName"] for secret in secrets}
    places = {mount["mountPath"] for mount in of_gcloud["volumeMounts"]}
    assert {
        bare(volume_mount["mount_path"]) for volume_mount in of_terraform["volume_mounts"]
    } == places
    assert [each["name"] for each in of_gcloud["env"] if each["name"] not in text] == []


def _secrets(configuration: Configuration) -> list[dict[str, Any]]:
    resources = configuration.typed("resource").items()
    return [block for (of, _), block in resources if of == "google_secret_manager_secret"]


def test_the_server_takes_the_written_files(sandbox: Sandbox) -> None:
    """The files that Terraform writes are ones that the server takes, whatever is in a note."""
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
            {
                "who": ["allAuthenticated"],
                "projects": ["open-*"],
                "actions": ["read"],
                "note": 'a "b" <&>',
            },
            {"who": ["domain:acme.dev"], "projects": ["*"], "actions": ["read"], "index": "dev"},
        ],
        "extra": "[uploads]\nzip_sdists = true",
        "extra_index": INDEX,
    }
    (sandbox.folder / "settings" / "terraform.tfvars.json").write_text(json.dumps(values))
    there = sandbox.at(sandbox.folder / "settings")
    terraform = system_program("terraform")
    there.run(terraform, "apply", "-auto-approve", "-no-color", CHECKPOINT_DISABLE="1")
    toml, index = (
        there.run(terraform, "output", "-raw", name, CHECKPOINT_DISABLE="1")
        for name in ("toml", "index_toml")
    )
    file = sandbox.folder / "wheelyard.toml"
    file.write_text(toml)

    loaded = load_settings(file=file, environ={}).settings
    tables = index_tables(index, toml)

    assert loaded.access.credentials_store == "gs://acme-credentials"
    assert loaded.uploads.zip_sdists
    assert [scope_of(grant).indexes for grant in tables.grant] == [("main",), ("dev",), ("main",)]
    assert [grant.note for grant in tables.grant] == ['a "b" <&>', "", ""]
    assert tables.groups == {"team": ("user:ana@acme.dev",)}


def test_apis_before_terraform() -> None:
    """The page switches on what Terraform needs for the first question that it asks."""
    page = (DEPLOY.parent / "docs" / "deploy" / "cloud-run.md").read_text()
    last = page.partition("\nterraform init\n")[0].rpartition("```sh\n")[2]

    assert "cloudresourcemanager.googleapis.com" in last
    assert "serviceusage.googleapis.com" in last
