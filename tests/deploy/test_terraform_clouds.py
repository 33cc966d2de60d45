"""
Terraform for each cloud: names lead somewhere, senseless values are refused, rights are few.

What the server is given is evaluated by Terraform, with one name in place of what only a provider
knows.
"""

import json
import os
import re
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.clients.harness import SOURCE, Sandbox, system_program, wheelyard
from tests.deploy.running import BUCKET, DEPLOY, rendered
from tests.deploy.terraform import PROVIDERS, Configuration, bare, failed_runs, run, wrong_form
from tests.http_server import is_healthy, running_program
from tests.ports import free_port
from wheelyard.model.index_file import read_tables
from wheelyard.settings.load import load_settings, unknown_variables

DOMAIN = "packages.acme.dev"
IMAGE = "registry.acme.dev:5000/wheelyard@sha256:0"
NEEDED: dict[str, dict[str, object]] = {
    "aws": {
        "image": IMAGE,
        "domain": "packages.acme.dev",
        "certificate_arn": "arn:aws:acm:eu-central-1:123456789012:certificate/0",
        "vpc_id": "vpc-0a1b2c3d",
        "public_subnet_ids": ["subnet-0a1b2c3d", "subnet-4e5f6a7b"],
    },
    "azure": {
        "subscription_id": "00000000-0000-0000-0000-000000000000",
        "image": IMAGE,
        "account": "acmepackages",
    },
    "google": {
        "project_id": "acme-packages",
        "image": "europe-west1-docker.pkg.dev/acme-packages/wheelyard/wheelyard:0.1.0",
    },
}
OF_THE_INDEX: list[object] = [
    '[uploads]\nzip_sdists = true\n[[grant]]\nwho = ["anonymous"]',
    *("[main]", '[ "index" ]', "[[index]]", "[groups]", " [[ publisher ]]", "[[retention]]"),
]
"""Settings that have a table which describes the index."""
OF_THE_PROCESS: list[object] = ["[access]\nprivate = true", "[[index]]\n[[upstream.index]]\n"]
"""Index files that have a section of the settings."""
USUAL_COMMAND = ["wheelyard", "serve", "--host", "0.0.0.0"]  # noqa: S104 - of the image
"""The entry point and the arguments of a container without an index file."""
INDEX = """# who may do what
[groups]
team = ["user:ana@acme.dev"]
[[grant]]
who = [
  "group:team",
]
projects = ["*"]
actions = ["upload"]
note = "Zoë's"
"""
SENSELESS: dict[str, dict[str, list[object]]] = {
    "aws": {
        "image": ["wheelyard", "acme/wheelyard"],
        "domain": ["https://packages.acme.dev", "acme"],
        "certificate_arn": ["packages.acme.dev"],
        "vpc_id": ["default"],
        "public_subnet_ids": [["subnet-0a1b2c3d"], ["a", "b"]],
        "region": ["eu-central-1a"],
        "bucket": ["s3://acme", "packages.acme.dev", "Acme"],
        "private_subnet_ids": [["default"]],
        "allowed_networks": [[], ["192.0.2.1"], ["everybody"]],
        "instances": [0, 1.5],
        "cpu": [500],
        "memory": [1000, 512, 8192],
        "noncurrent_days": [0, 1.5],
        "log_days": [2],
        "environment": [{"PORT": "80"}, {"WHEELYARD_STORE": "x"}],
        "settings": OF_THE_INDEX,
        "index_file": OF_THE_PROCESS,
        "secrets": [{"WHEELYARD_ACCESS_METRICS_TOKEN": "hunter2"}],
    },
    "azure": {
        "subscription_id": ["acme"],
        "image": ["wheelyard"],
        "account": ["acme-packages", "az://acme", "Acme", "ab"],
        "location": ["West Europe"],
        "resource_group": ["a/b"],
        "registry_id": ["acme.azurecr.io"],
        "domain": ["https://packages.acme.dev"],
        "replication": ["RAGRS"],
        "min_instances": [6, 0.5],
        "max_instances": [1.5, 1001],
        "cpu": [0.6, 4],
        "noncurrent_days": [0],
        "soft_delete_days": [0, 366],
        "environment": [{"WHEELYARD_SERVER_PUBLIC_URL": "x"}],
        "settings": OF_THE_INDEX,
        "index_file": OF_THE_PROCESS,
    },
    "google": {
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
            *OF_THE_INDEX,
        ],
        "index_file": ["name = 1", *OF_THE_PROCESS],
    },
}
UPSTREAM = '[upstream]\nenabled = true\n[[upstream.index]]\nlabel = "pypi"\n'
SENSIBLE: dict[str, list[dict[str, object]]] = {
    "aws": [
        {},
        {"cpu": 256, "memory": 512},
        {"cpu": 4096, "memory": 16384},
        {"bucket": "a1-b"},
        {"settings": UPSTREAM, "index_file": INDEX},
    ],
    "azure": [
        {},
        {"cpu": 2, "min_instances": 0},
        {"location": "eastus2", "replication": "LRS"},
        {"settings": UPSTREAM, "index_file": INDEX},
    ],
    "google": [
        {},
        {"cpu": "4", "spool_mib": 1280},
        {"cpu": "2", "spool_mib": 256},
        {"domain": "xn--80ak6aa92e.xn--p1ai", "pages_domain": "web-1.xn--p1ai"},
        {"domain": "1.acme.dev"},
        {"soft_delete_days": 90},
        {"settings": "# all of it\n\n  [uploads]\nzip_sdists = true"},
        {"settings": f'[limits]\nx = ["a"]\n{UPSTREAM}'},
        {"index_file": INDEX},
        {"settings": "[uploads]\n# [access] is not here\n[http.other]\n"},
    ],
}
GOOGLE_TOGETHER: list[dict[str, object]] = [
    {"spool_mib": 7425, "cpu": "2"},
    {"spool_mib": 1279, "cpu": "4"},
    {"spool_mib": 15617, "cpu": "4"},
    {"managers": [], "readers": ["allUsers"]},
    {"pages_domain": "https://x/", "domain": DOMAIN},
    {"pages_domain": DOMAIN, "domain": DOMAIN},
]
"""Values that Google refuses together; the first variable of each is the one that is refused."""
RESOURCE = re.compile(r"\b(?:data\.)?(?:aws|azurerm)_\w+\.\w+(?:\[[^]]*\])?\.\w+")
LOCALS = re.compile(r"^locals \{\n.*?^\}$", re.DOTALL | re.MULTILINE)
CONTAINERS = re.compile(
    r"container_definitions = (jsonencode\(\[.*?^  \}\]\))", re.DOTALL | re.MULTILINE
)


@pytest.fixture(scope="module", params=sorted(NEEDED))
def cloud(request: pytest.FixtureRequest) -> str:
    """The cloud whose files are looked at."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def folder(cloud: str) -> Path:
    """The configuration of the cloud."""
    return DEPLOY / ("cloud-run" if cloud == "google" else cloud) / "terraform"


@pytest.fixture(scope="module")
def configuration(folder: Path) -> Configuration:
    """The configuration, as python-hcl2 reads it."""
    return Configuration.read(folder)


def test_names_and_arguments(configuration: Configuration) -> None:
    """Expressions refer to what exists, and resources have the arguments of the provider."""
    assert len(configuration.references()) > 30
    assert configuration.wrong_references() == []
    assert configuration.wrong_arguments() == []
    assert configuration.wrong_variables() == []


def test_provider_is_the_one_we_know(configuration: Configuration) -> None:
    """The provider that is asked for is the one whose arguments the tests know."""
    (block,) = configuration.kinds["terraform"]
    ((name, wanted),) = (
        (bare(name), wanted)
        for required_provider in block["required_providers"]
        for name, wanted in required_provider.items()
        if not name.startswith("__")
    )

    major, minor, _ = PROVIDERS[name]["version"].split(".")
    assert PROVIDERS[name]["provider"] in json.dumps(wanted)
    assert f"~> {major}.{minor}" in json.dumps(wanted)


def test_example_of_variables(cloud: str, folder: Path, configuration: Configuration) -> None:
    """The example sets the required variables alone, and names no unknown one."""
    text = (folder / "terraform.tfvars.example").read_text()
    assigned = set(re.findall(r"^(\w+)\s+=", text, re.MULTILINE))

    assert assigned == configuration.required() == set(NEEDED[cloud])
    named = set(re.findall(r"^(?:# )?(\w+)\s+=", text, re.MULTILINE))
    assert named <= configuration.named("variable").keys()


def test_the_files_are_formatted(folder: Path) -> None:
    """The files are formatted as Terraform formats them."""
    assert wrong_form(folder) == ""


def test_bad_values_are_refused(cloud: str, folder: Path, sandbox: Sandbox) -> None:
    """A value that the cloud or the server would refuse is refused before anything is made."""
    senseless = [{name: value} for name, values in SENSELESS[cloud].items() for value in values]
    text = (folder / "variables.tf").read_text()
    if cloud == "google":
        tables = google_tables(folder)
        senseless += GOOGLE_TOGETHER + [{"settings": f"[{table}]\n"} for table in tables]
        text += google_locals(folder)
    (sandbox.folder / "variables.tf").write_text(text)
    wrong = [
        planned(cloud, f"wrong_{n}", values, next(iter(values)))
        for n, values in enumerate(senseless)
    ]
    right = [planned(cloud, f"right_{n}", values) for n, values in enumerate(SENSIBLE[cloud])]

    assert failed_runs(wrong + right, sandbox) == ""


def planned(cloud: str, name: str, values: dict[str, object], refused: str = "") -> str:
    """Return a run with these values beside those that are needed."""
    usual: dict[str, object] = {"publishing_audience": ["a"]} if refused == "settings" else {}
    return run(name, NEEDED[cloud] | usual | values, refused)


def google_tables(folder: Path) -> list[str]:
    """Return the tables of settings that the files for Google write themselves."""
    template = (folder / "settings" / "wheelyard.toml.tftpl").read_text()
    tables = re.findall(r"^\[([^][]+)\]$", template, re.MULTILINE)
    assert len(tables) > 4
    return tables


def google_locals(folder: Path) -> str:
    """Return the local values that the variables for Google ask for."""
    text = "\n".join(path.read_text() for path in sorted(folder.glob("*.tf")))
    (written,) = re.findall(
        r"^  written_tables = concat\(.*?^  \)$", text, re.MULTILINE | re.DOTALL
    )
    flags = "  with_access_tokens = true\n  with_iap = true\n"
    return f"locals {{\n{written}\n{flags}}}\n"


def _evaluated(cloud: str, sandbox: Sandbox, **values: object) -> dict[str, Any]:
    """Return the environment and the command of the server, and on AWS its container."""
    folder = DEPLOY / cloud / "terraform"
    text = "\n".join(
        path.read_text() for path in sorted(folder.glob("*.tf")) if path.name != "variables.tf"
    )
    containers = "".join(CONTAINERS.findall(text)) or "null"
    written = "\n".join(LOCALS.findall(text)) + (
        f'\noutput "all" {{\nvalue = {{\n'
        f"environment = local.environment\ncontainers = {containers}\n"
        "command = concat(local.entry_point, local.arguments)\n}\n}\n"
    )
    (sandbox.folder / "main.tf").write_text(RESOURCE.sub(f'"{BUCKET}"', written))
    (sandbox.folder / "variables.tf").write_text((folder / "variables.tf").read_text())
    (sandbox.folder / "terraform.tfvars.json").write_text(json.dumps(NEEDED[cloud] | values))
    terraform = system_program("terraform")
    sandbox.run(terraform, "apply", "-auto-approve", "-no-color", CHECKPOINT_DISABLE="1")
    state = json.loads((sandbox.folder / "terraform.tfstate").read_text())
    result: dict[str, Any] = state["outputs"]["all"]["value"]
    return result


@pytest.mark.parametrize("cloud", ["aws", "azure"], indirect=True)
def test_the_server_gets_settings_that_exist(cloud: str, sandbox: Sandbox) -> None:
    """The server gets settings that exist, and those of the variables."""
    toml = "[uploads]\nzip_sdists = true\n"
    environment = _evaluated(
        cloud,
        sandbox,
        settings=toml,
        private=False,
        environment={"WHEELYARD_SERVER_READ_ONLY": "true"},
    )["environment"]
    store = {"aws": "s3", "azure": "az"}[cloud] + f"://{BUCKET}"
    settings = load_settings(environ=environment).settings

    assert settings.store.location == store
    assert unknown_variables(environment) == []
    assert (settings.access.private, settings.server.read_only) == (False, True)
    assert settings.uploads.zip_sdists
    assert settings.server.trusted_proxies == 1
    assert settings.server.public_url.startswith("https://")


@pytest.mark.parametrize("cloud", ["aws", "azure"], indirect=True)
def test_the_server_starts_with_its_index_file(cloud: str, sandbox: Sandbox) -> None:
    """The command of the container writes the index file, and becomes a server that applies it."""
    evaluated = _evaluated(cloud, sandbox, index_file=INDEX)
    place = Path(evaluated["command"][-1]).parent
    program, *arguments = (
        word.replace(str(place), str(sandbox.folder)) for word in evaluated["command"]
    )
    for name, words in (("python", ""), ("wheelyard", "-m wheelyard")):
        (sandbox.folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (sandbox.folder / name).chmod(0o755)
    port, store = free_port(), sandbox.folder / "store"
    environment = {
        **SOURCE,
        "INDEX_TOML": evaluated["environment"]["INDEX_TOML"],
        "PATH": f"{sandbox.folder}{os.pathsep}{os.defpath}",
        "PORT": str(port),
        "WHEELYARD_STORE": str(store),
    }
    command = (sandbox.folder / program, *arguments)
    is_ready = partial(is_healthy, f"127.0.0.1:{port}", "/ready")
    with running_program(sandbox, command, sandbox.folder / "log.txt", is_ready, environment):
        shown = wheelyard(sandbox, "show", "--toml", "--store", store)

    assert read_tables(tomllib.loads(shown), ()) == read_tables(tomllib.loads(INDEX), ())


def test_container_of_azure(sandbox: Sandbox) -> None:
    """The container gets its command, and writes its index file where it may write."""
    configuration = Configuration.read(DEPLOY / "azure" / "terraform")
    (template,) = configuration.typed("resource")["azurerm_container_app", "wheelyard"]["template"]
    (container,) = template["container"]
    usual = _evaluated("azure", sandbox)
    evaluated = _evaluated("azure", sandbox, index_file=INDEX)
    (volume_mount,) = container["volume_mounts"]

    assert (container["command"], container["args"]) == (
        "${local.entry_point}",
        "${local.arguments}",
    )
    assert usual["command"] == USUAL_COMMAND
    assert str(Path(evaluated["command"][-1]).parent) == bare(volume_mount["path"])


def test_container_of_aws(sandbox: Sandbox) -> None:
    """The task writes to its spool only, is asked for /health, and gets secrets by their names."""
    arn = "arn:aws:ssm:eu-central-1:123456789012:parameter/metrics"
    usual = _evaluated("aws", sandbox)
    secrets = {"WHEELYARD_ACCESS_METRICS_TOKEN": arn}
    evaluated = _evaluated("aws", sandbox, secrets=secrets, index_file=INDEX)
    (container,) = json.loads(evaluated["containers"])
    (volume,) = container["mountPoints"]
    image = (DEPLOY / "image" / "Dockerfile").read_text()
    (health,) = re.findall(r"HEALTHCHECK.*\n    CMD (\[.*\])", image)

    environment = {each["name"]: each["value"] for each in container["environment"]}
    assert container["image"] == IMAGE
    assert container["readonlyRootFilesystem"]
    assert environment["TMPDIR"] == volume["containerPath"]
    assert f"VOLUME {volume['containerPath']}\n" in image
    assert container["healthCheck"]["command"] == ["CMD", *json.loads(health)]
    assert container["secrets"] == [{"name": "WHEELYARD_ACCESS_METRICS_TOKEN", "valueFrom": arn}]
    assert environment == evaluated["environment"]
    assert [*container["entryPoint"], *container["command"]] == evaluated["command"]
    assert str(Path(evaluated["command"][-1]).parent) == volume["containerPath"]
    assert usual["command"] == USUAL_COMMAND


@pytest.mark.parametrize("cloud", ["aws", "azure"], indirect=True)
def test_probes_ask_for_health_never_for_ready(cloud: str, configuration: Configuration) -> None:
    """Probes ask for /health, so that an outage of the bucket restarts no server."""
    resources = configuration.typed("resource")
    if cloud == "aws":
        probes = resources["aws_lb_target_group", "wheelyard"]["health_check"]
    else:
        (template,) = resources["azurerm_container_app", "wheelyard"]["template"]
        (container,) = template["container"]
        probes = container["startup_probe"] + container["liveness_probe"]

    assert {bare(probe["path"]) for probe in probes} == {"/health"}


def test_rights_on_aws(sandbox: Sandbox) -> None:
    """The server may do what the page says with one bucket, and a reader may only read."""
    allowed = {
        name: {
            (action, statement["Resource"])
            for statement in json.loads(rendered(f"aws/{name}.json", sandbox))["Statement"]
            for action in _listed(statement["Action"])
        }
        for name in ("policy", "reader")
    }
    bucket = f"arn:aws:s3:::{BUCKET}"
    objects = f"{bucket}/*"

    assert allowed["reader"] == {("s3:GetObject", objects), ("s3:ListBucket", bucket)}
    writing = {"s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"}
    assert allowed["policy"] == allowed["reader"] | {(action, objects) for action in writing}


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_rules_of_the_bucket_on_aws() -> None:
    """The bucket has the same rules by Terraform and by the page's commands."""
    configuration = Configuration.read(DEPLOY / "aws" / "terraform")
    resource = configuration.typed("resource")["aws_s3_bucket_lifecycle_configuration", "store"]
    rules = json.loads((DEPLOY / "aws" / "lifecycle.json").read_text())["Rules"]
    days = configuration.named("variable")["noncurrent_days"]["default"]

    assert [bare(rule["id"]) for rule in resource["rule"]] == [rule["ID"] for rule in rules]
    days_of_terraform = resource["rule"][0]["abort_incomplete_multipart_upload"][0][
        "days_after_initiation"
    ]
    assert rules[0]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": days_of_terraform}
    assert rules[1]["NoncurrentVersionExpiration"] == {"NoncurrentDays": days}


def test_rights_on_azure() -> None:
    """The server may write to its container alone, and no key opens the account."""
    configuration = Configuration.read(DEPLOY / "azure" / "terraform")
    resources = configuration.typed("resource")
    (features,) = configuration.named("provider")["azurerm"]["features"]
    roles = {
        bare(block["role_definition_name"]): block["scope"]
        for (of, _), block in resources.items()
        if of == "azurerm_role_assignment"
    }

    assert {name: scope.strip("${}") for name, scope in roles.items()} == {
        "Storage Blob Data Contributor": "azurerm_storage_container.store.id",
        "Storage Blob Delegator": "azurerm_storage_account.store.id",
        "AcrPull": "var.registry_id",
    }
    account = resources["azurerm_storage_account", "store"]
    assert account["shared_access_key_enabled"] is False
    assert features["storage"][0]["data_plane_available"] is False
