"""deploy/cloud-run/terraform: values that somebody writes, changes and takes out again."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import desk as _desk
from tests.clients.harness import REPOSITORY, system_program
from tests.deploy.terraform_runs import EVERYTHING, FOLDER, NEEDED, Terraform
from tests.deploy.terraform_runs import provider as _provider
from tests.deploy.terraform_runs import terraform as _terraform

desk, provider, terraform = _desk, _provider, _terraform

PAGE = REPOSITORY / "docs" / "deploy" / "cloud-run.md"
APPLY = ("apply", "-auto-approve", "-input=false", "-no-color")
DOMAIN = "packages.acme.dev"
PAGES_BACKEND = "google_compute_backend_service.pages[0]"
SERVICE = "google_cloud_run_v2_service.wheelyard"


def test_member_in_two_lists(terraform: Terraform) -> None:
    """Who is in several lists, or in one twice, has each right once."""
    plan = terraform.planned(
        **NEEDED,
        readers=["user:ana@acme.dev", "user:ana@acme.dev"],
        uploaders=["user:ana@acme.dev", "user:ben@acme.dev", "user:ben@acme.dev"],
        managers=["user:ben@acme.dev", "user:ben@acme.dev"],
    )

    assert sorted(
        (each["member"], each["role"])
        for address, each in plan.items()
        if address.startswith("google_storage_bucket_iam_member.authorised")
    ) == [
        ("user:ana@acme.dev", "roles/storage.objectCreator"),
        ("user:ana@acme.dev", "roles/storage.objectViewer"),
        ("user:ben@acme.dev", "roles/storage.objectCreator"),
        ("user:ben@acme.dev", "roles/storage.objectUser"),
        ("user:ben@acme.dev", "roles/storage.objectViewer"),
    ]


def test_pages_taken_away(terraform: Terraform) -> None:
    """Without `pages_domain` again, its backend goes when the URL map names it no longer."""
    terraform.set(**EVERYTHING)
    terraform.run(*APPLY)

    terraform.set(**EVERYTHING | {"pages_domain": None, "pages_members": []})
    said = terraform.run(*APPLY)
    terraform.set(**NEEDED)
    terraform.run(*APPLY)

    changed = said.index("google_compute_url_map.wheelyard[0]: Modifications complete")
    assert changed < said.index(f"{PAGES_BACKEND}: Destroying")
    assert "google_compute" not in terraform.run("state", "list")


def test_traffic_comes_back(terraform: Terraform) -> None:
    """After traffic was given to an older revision by hand, an apply gives it to the newest."""
    terraform.set(**NEEDED)
    terraform.run(*APPLY)
    state = terraform.desk.folder / "terraform.tfstate"
    held = json.loads(state.read_text())
    (service,) = (each for each in held["resources"] if f"{each['type']}.{each['name']}" == SERVICE)
    by_hand = {
        "percent": 100,
        "revision": "wheelyard-00001-abc",
        "tag": None,
        "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION",
    }
    service["instances"][0]["attributes"]["traffic"] = [by_hand]
    state.write_text(json.dumps(held))

    terraform.run(*APPLY)

    (held_now,) = (
        each["instances"][0]["attributes"]["traffic"]
        for each in json.loads(state.read_text())["resources"]
        if f"{each['type']}.{each['name']}" == SERVICE
    )
    (traffic,) = held_now
    assert traffic["type"] == "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
    assert (traffic["percent"], traffic["revision"]) == (100, None)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cpu": "4", "spool_mib": 1279}, "1280 to 15616 with four"),
        ({"spool_mib": 1280.5}, "spool_mib is a whole number"),
        ({"min_instances": 0.5}, "min_instances is a whole number"),
        ({"max_instances": 1.5}, "max_instances is a whole number"),
        ({"concurrency": 1.5}, "concurrency is a whole number"),
        ({"concurrent_uploads": 1.5}, "concurrent_uploads is a whole number"),
        ({"noncurrent_days": 1.5}, "noncurrent_days is a whole number"),
        ({"soft_delete_days": 7.5}, "and a whole number"),
        ({"cdn_max_age": 1.5}, "cdn_max_age is a whole number"),
        ({"bucket": "packages.acme.dev"}, "With a dot it would be a domain"),
        ({"domain": "-a.acme.dev"}, "domain is a host name"),
        ({"domain": "a-.acme.dev"}, "domain is a host name"),
        ({"domain": "acme"}, "domain is a host name"),
        ({"domain": "acme.d3v"}, "domain is a host name"),
        ({"domain": DOMAIN, "pages_domain": "https://x/"}, "pages_domain is a host name"),
        ({"domain": DOMAIN, "pages_domain": "-a.acme.dev"}, "pages_domain is a host name"),
        ({"settings": "page_cache = 32"}, "settings begins with the name of a table"),
        ({"settings": "# [uploads]\npage_cache = 32"}, "settings begins with the name of a table"),
        ({"settings": "[uploads]\n[ 'access' ] # mine"}, "WHEELYARD_HTTP_PAGE_CACHE"),
        ({"settings": "[uploads]\r\n[http]\r\n"}, "settings repeats a table"),
    ],
    ids=str,
)
def test_senseless_values(values: dict[str, object], words: str, terraform: Terraform) -> None:
    """A value that Google or the server would refuse later is refused before anything is made."""
    assert words in _refusal(terraform, **values)


@pytest.mark.parametrize(
    "values",
    [
        {"cpu": "4", "spool_mib": 1280},
        {"cpu": "2", "spool_mib": 256},
        {"domain": "xn--80ak6aa92e.xn--p1ai", "pages_domain": "web-1.xn--p1ai"},
        {"domain": "1.acme.dev"},
        {"soft_delete_days": 90},
        {"settings": ""},
        {"settings": "# all of it\n\n  [uploads]\nzip_sdists = true"},
        {"settings": '[trusted_publishing]\naudience = ["a"]\n[[grant]]\nwho = ["anonymous"]'},
        {"settings": "[uploads]\n# [access] is not here\n[http.other]\n"},
    ],
    ids=str,
)
def test_sensible_values(values: dict[str, object], terraform: Terraform) -> None:
    """What Google and the server take is planned."""
    terraform.set(**NEEDED | values)

    assert "Plan:" in terraform.run("plan", "-input=false", "-no-color")


def test_tables_that_are_written(terraform: Terraform) -> None:
    """Whatever table the configuration writes, `settings` is not let write a second time."""
    template = (FOLDER / "settings" / "wheelyard.toml.tftpl").read_text()
    written = re.findall(r"^\[([^][]+)\]$", template, re.MULTILINE)

    assert len(written) > 4
    for table in written:
        refusal = _refusal(terraform, **EVERYTHING | {"settings": f"[{table}]\n"})
        assert f"[{table}]" in refusal
        assert "settings repeats a table" in refusal


def test_apis_before_terraform() -> None:
    """The page switches on what Terraform needs for the first question that it asks."""
    before, _ = PAGE.read_text().split("\nterraform init\n")
    last = before.split("```sh\n")[-1]

    assert "cloudresourcemanager.googleapis.com" in last
    assert "serviceusage.googleapis.com" in last


@pytest.mark.parametrize(
    ("account", "member"),
    [
        ("ana@acme.dev", "user:ana@acme.dev"),
        (
            "ops@acme-packages.iam.gserviceaccount.com",
            "serviceAccount:ops@acme-packages.iam.gserviceaccount.com",
        ),
    ],
)
def test_who_makes_the_first_token(account: str, member: str, tmp_path: Path) -> None:
    """The lines before the first token give rights to whoever types them, person or account."""
    (lines,) = re.findall(r"^ME=.*?^done$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    script = f'gcloud() {{ case $1 in config) echo {account} ;; *) echo "$@" ;; esac; }}\n{lines}'

    done = subprocess.run(
        [system_program("bash"), "-euc", script],
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env={"BUCKET": "acme-wheelyard"},
        text=True,
    )

    assert done.stdout.count(f"--member={member} ") == 2


def _refusal(terraform: Terraform, **values: object) -> str:
    """Return what a plan that does not come about says, on one line."""
    terraform.set(**NEEDED | values)
    done = terraform.attempt("plan", "-input=false", "-no-color")
    assert done.returncode == 1, done.stdout
    return re.sub(r"\s*[│╷╵]?\s*\n[│╷╵]?\s*", " ", done.stderr)
