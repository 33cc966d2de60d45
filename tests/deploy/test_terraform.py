"""deploy/cloud-run/terraform: every name leads somewhere, and the plan is what the page says."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.bucket_clients.yard import SOURCE
from tests.clients.conftest import desk as _desk
from tests.clients.harness import Desk, system_program
from tests.deploy.running import DEPLOY, PRODUCT
from tests.deploy.terraform import SCHEMA, Configuration, wrong_arguments, wrong_references
from tests.deploy.terraform_runs import EVERYTHING, FOLDER, NEEDED, Terraform
from tests.deploy.terraform_runs import provider as _provider
from tests.deploy.terraform_runs import terraform as _terraform

desk, provider, terraform = _desk, _provider, _terraform

BUCKETS = ("google_storage_bucket.packages", "google_storage_bucket.credentials")
MODULES = [FOLDER, FOLDER / "settings"]


def _module(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("folder", MODULES, ids=_module)
def test_references(folder: Path, desk: Desk) -> None:
    """Whatever an expression speaks of is there."""
    configuration = Configuration.read(folder, desk)

    assert len(configuration.references()) > 5
    assert wrong_references(configuration) == []


@pytest.mark.parametrize("folder", MODULES, ids=_module)
def test_arguments(folder: Path, desk: Desk) -> None:
    """Each resource has the arguments that Google's provider knows, and those that it demands."""
    assert wrong_arguments(Configuration.read(folder, desk)) == []


def test_mistakes_are_found(desk: Desk) -> None:
    """A misspelled variable, attribute or argument, and a missing one, are found."""
    folder = desk.folder / "terraform"
    shutil.copytree(FOLDER, folder)
    for name, right, wrong in (
        ("service.tf", "var.concurrency", "var.concurency"),
        (
            "service.tf",
            "google_service_account.wheelyard.email",
            "google_service_account.wheelyard.mail",
        ),
        ("service.tf", "http_get {", "http {"),
        ("buckets.tf", "location                    = local.bucket_location", ""),
    ):
        text = (folder / name).read_text()
        assert right in text
        (folder / name).write_text(text.replace(right, wrong))
    configuration = Configuration.read(folder, desk)

    assert wrong_references(configuration) == [
        "google_service_account.wheelyard.mail",
        "var.concurency",
    ]
    arguments = " ".join(wrong_arguments(configuration))
    assert "startup_probe.http is unknown" in arguments
    assert "google_storage_bucket.packages.location is missing" in arguments


@pytest.mark.parametrize("folder", MODULES, ids=_module)
def test_variables_and_outputs(folder: Path, desk: Desk) -> None:
    """Each variable has a type, a description and a use, and each output a description."""
    configuration = Configuration.read(folder, desk)
    variables, outputs = configuration.named("variable"), configuration.named("output")
    used = {name for kind, name, _ in configuration.references() if kind == "var"}

    assert [
        name for name, it in variables.items() if not {"type", "description"} <= it.keys()
    ] == []
    assert sorted(variables.keys() - used) == []
    assert [name for name, it in outputs.items() if "description" not in it] == []
    if folder != FOLDER:  # a module is given every value by name
        (call,) = Configuration.read(FOLDER, desk).named("module").values()
        assert variables.keys() == {name for name in call if name[0] != "_"} - {"source"}


def test_example_of_variables(desk: Desk) -> None:
    """The example sets all that has to be set, and everything in it is a variable, and needed."""
    text = (FOLDER / "terraform.tfvars.example").read_text()
    variables = Configuration.read(FOLDER, desk).named("variable")
    required = {name for name, it in variables.items() if "default" not in it}

    assert set(re.findall(r"^(\w+)\s+=", text, re.MULTILINE)) == required == set(NEEDED)
    assert set(re.findall(r"^(?:# )?(\w+)\s+=", text, re.MULTILINE)) <= variables.keys()


def test_provider_is_the_one_we_know(desk: Desk) -> None:
    """The provider that is asked for is the one whose arguments the tests know."""
    (block,) = Configuration.read(FOLDER, desk).kinds["terraform"]
    wanted = json.dumps(block["required_providers"])

    major, minor, _ = SCHEMA["version"].split(".")
    assert SCHEMA["provider"] in wanted
    assert f"~> {major}.{minor}" in wanted


def test_form() -> None:
    """The files are formatted as Terraform formats them."""
    command = [system_program("terraform"), "fmt", "-check", "-diff", "-recursive", str(FOLDER)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)

    assert done.stdout == ""


def test_it_is_valid(terraform: Terraform) -> None:
    """Terraform itself finds nothing wrong, types of values included."""
    assert "Success" in terraform.run("validate", "-no-color")


def test_plain_plan(terraform: Terraform) -> None:
    """Without options there are two closed buckets, the service and its account, and no more."""
    plan = terraform.planned(**NEEDED)
    kinds = {address.split(".")[0] for address in plan}
    buckets = [
        each for address, each in plan.items() if address.startswith("google_storage_bucket.")
    ]
    service = plan["google_cloud_run_v2_service.wheelyard"]

    assert not any(kind.startswith(("google_compute", "google_iap")) for kind in kinds)
    assert [each["name"] for each in buckets] == [
        "acme-packages-wheelyard-credentials",
        "acme-packages-wheelyard",
    ]
    for each in buckets:
        assert each["uniform_bucket_level_access"] is True
        assert each["public_access_prevention"] == "enforced"
        assert each["versioning"] == [{"enabled": True}]
        assert each["soft_delete_policy"] == [{"retention_duration_seconds": 604800}]
        assert each["lifecycle_rule"]
    assert service["invoker_iam_disabled"] is True
    assert service["deletion_protection"] is True
    assert service["ingress"] == "INGRESS_TRAFFIC_ALL"


def test_rights_of_the_server(terraform: Terraform) -> None:
    """The server may use its buckets, read its settings and sign as itself, and nothing else."""
    plan = terraform.planned(**NEEDED)
    roles = {address: each.get("role") for address, each in plan.items() if "iam_member" in address}

    assert roles == {
        "google_secret_manager_secret_iam_member.settings": "roles/secretmanager.secretAccessor",
        "google_service_account_iam_member.signs_as_itself": None,  # known when it is made
        "google_storage_bucket_iam_member.credentials": "roles/storage.objectUser",
        "google_storage_bucket_iam_member.packages": "roles/storage.objectUser",
    }
    signer = plan["google_project_iam_custom_role.signer"]
    assert signer["permissions"] == ["iam.serviceAccounts.signBlob"]


def test_same_service_as_by_gcloud(terraform: Terraform) -> None:
    """Terraform's service is service.yaml's: limits, probes, variables, volumes."""
    written = yaml.safe_load((DEPLOY / "cloud-run" / "service.yaml").read_text())
    revision = written["spec"]["template"]["spec"]
    (theirs,) = revision["containers"]
    (made,) = terraform.planned(**NEEDED)["google_cloud_run_v2_service.wheelyard"]["template"]
    (ours,) = made["containers"]

    assert made["max_instance_request_concurrency"] == revision["containerConcurrency"]
    assert made["timeout"] == f"{revision['timeoutSeconds']}s"
    assert ours["args"] == theirs["args"]
    assert [(each["name"], each["container_port"]) for each in ours["ports"]] == [
        (each["name"], each["containerPort"]) for each in theirs["ports"]
    ]
    assert {each["name"] for each in ours["env"]} == {each["name"] for each in theirs["env"]}
    assert ours["resources"][0]["limits"] == {"cpu": "1", "memory": "2048Mi"}
    assert theirs["resources"]["limits"] == {"cpu": "1", "memory": "2Gi"}
    assert {each["name"]: each["mount_path"] for each in ours["volume_mounts"]} == {
        each["name"]: each["mountPath"] for each in theirs["volumeMounts"]
    }
    for name in ("startup", "liveness"):
        (probe,), other = ours[f"{name}_probe"], theirs[f"{name}Probe"]
        assert probe["http_get"][0]["path"] == other["httpGet"]["path"]
        assert probe["period_seconds"] == other["periodSeconds"]


def test_everything_at_once(terraform: Terraform, desk: Desk) -> None:
    """With every option on there is a plan, and the settings that come out are right."""
    terraform.set(**EVERYTHING)
    terraform.run("apply", "-auto-approve", "-input=false", "-no-color")
    outputs = {
        name: each["value"] for name, each in json.loads(terraform.run("output", "-json")).items()
    }
    (desk.folder / "wheelyard.toml").write_text(outputs["settings"])
    environment = {
        "WHEELYARD_CONFIG": "wheelyard.toml",
        "WHEELYARD_PUBLIC_URL": outputs["index_url"],
        "WHEELYARD_STORE": outputs["store"],
        "WHEELYARD_TRUSTED_PROXIES": "2",
    }

    printed = desk.run(*PRODUCT, "config", "check", **SOURCE, **environment)
    said = desk.run(
        *(*PRODUCT, "access", "explain", "domain:acme.dev", "acme-core", "read"),
        **SOURCE,
        **environment,
    )

    assert outputs["index_url"] == "https://packages.acme.dev"
    assert outputs["address"] == "192.0.2.1"
    assert outputs["store"] in printed
    assert 'a \\"note\\" ' in outputs["settings"]
    assert said


def test_old_tls(desk: Desk) -> None:
    """The load balancer goes by a policy of its own for TLS, and not by Google's default."""
    proxies = Configuration.read(FOLDER, desk).typed("resource")
    proxy = proxies["google_compute_target_https_proxy", "wheelyard"]

    assert proxy["ssl_policy"] == "${google_compute_ssl_policy.wheelyard[0].id}"


def test_way_round_the_load_balancer(terraform: Terraform) -> None:
    """With a domain the service is reached by the load balancer alone, and counts both proxies."""
    plan = terraform.planned(**EVERYTHING)
    service = plan["google_cloud_run_v2_service.wheelyard"]
    (container,) = service["template"][0]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}

    assert service["ingress"] == "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
    assert environment["WHEELYARD_TRUSTED_PROXIES"] == "2"
    assert environment["WHEELYARD_STORE_FRESHNESS"] == "5"
    policy = plan["google_compute_ssl_policy.wheelyard[0]"]
    assert (policy["profile"], policy["min_tls_version"]) == ("MODERN", "TLS_1_2")
    assert plan["google_compute_backend_service.index[0]"]["iap"] == []
    assert plan["google_compute_backend_service.pages[0]"]["iap"][0]["enabled"] is True
    assert plan["google_compute_backend_service.pages[0]"]["enable_cdn"] is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("project_id", "Acme Packages", "project_id is the id of a project"),
        ("image", "wheelyard", "image is a full reference"),
        ("region", "europe-west1-b", "not of a zone"),
        ("bucket", "gs://acme", "no gs://"),
        ("min_instances", 6, "not more than max_instances"),
        ("concurrency", 1001, "1 to 1000"),
        ("cpu", "0.5", "cpu is 1, 2 or 4"),
        ("spool_mib", 3329, "256 to 3328 with one CPU"),
        ("soft_delete_days", 3, "0, or 7 to 90"),
        (
            "grants",
            [{"who": ["anonymous"], "projects": ["*"], "actions": ["write"]}],
            "read, upload",
        ),
        ("readers", ["allUsers"], "never allUsers"),
        ("environment", {"PORT": "80"}, "given by Cloud Run"),
        ("domain", "https://packages.acme.dev/", "without https://"),
        ("pages_domain", "web.acme.dev", "another host name than domain"),
        ("cdn", True, "cdn wants a domain"),
    ],
)
def test_senseless_values(name: str, value: object, words: str, terraform: Terraform) -> None:
    """A value that makes no sense is refused before anything is made, and the message says why."""
    terraform.set(**NEEDED | {name: value})

    done = terraform.attempt("plan", "-input=false", "-no-color")

    assert done.returncode == 1
    assert words in re.sub(r"\s*[│╷╵]?\s*\n[│╷╵]?\s*", " ", done.stderr)


@pytest.mark.parametrize(("cpu", "most"), [("1", 3328), ("2", 7424), ("4", 15616)])
def test_memory_for_uploads(cpu: str, most: int, terraform: Terraform) -> None:
    """An instance gets the memory that Cloud Run has for its CPUs, and no more is asked for."""
    plan = terraform.planned(**NEEDED, cpu=cpu, spool_mib=most)
    (container,) = plan["google_cloud_run_v2_service.wheelyard"]["template"][0]["containers"]
    assert container["resources"][0]["limits"]["memory"] == f"{int(cpu) * 4096}Mi"

    terraform.set(**NEEDED, cpu=cpu, spool_mib=most + 1)
    done = terraform.attempt("plan", "-input=false", "-no-color")
    assert done.returncode == 1
    assert "spool_mib is 256 to 3328" in done.stderr


def test_buckets_stay(terraform: Terraform) -> None:
    """`terraform destroy` takes neither packages nor tokens along, and then all but those."""
    terraform.set(**NEEDED)
    terraform.run("apply", "-auto-approve", "-input=false", "-no-color")

    done = terraform.attempt("destroy", "-auto-approve", "-input=false", "-no-color")

    assert done.returncode == 1
    assert all(each in done.stderr for each in BUCKETS)

    terraform.run("state", "rm", *BUCKETS)
    terraform.run("destroy", "-auto-approve", "-input=false", "-no-color")
    assert terraform.run("state", "list") == ""
