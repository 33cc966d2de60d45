"""Terraform on a copy of deploy/cloud-run/terraform, with the stand-in for Google's provider."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.clients.harness import REPOSITORY, Desk, program, system_program
from tests.deploy.running import DEPLOY

FOLDER = DEPLOY / "cloud-run" / "terraform"
NEEDED: dict[str, object] = {
    "project_id": "acme-packages",
    "image": "europe-west1-docker.pkg.dev/acme-packages/wheelyard/wheelyard:0.1.0",
}
EVERYTHING = NEEDED | {
    "allowed_domains": ["acme.dev"],
    "cdn": True,
    "domain": "packages.acme.dev",
    "environment": {"WHEELYARD_STORE_FRESHNESS": "5"},
    "grants": [
        {"who": ["anonymous"], "projects": ["open-*"], "actions": ["read"], "note": 'a "note" <&>'},
        {"who": ["domain:acme.dev"], "projects": ["*"], "actions": ["read"]},
    ],
    "managers": ["user:ana@acme.dev"],
    "pages_domain": "packages-web.acme.dev",
    "pages_members": ["domain:acme.dev"],
    "private": False,
    "private_names": ["acme-*"],
    "publisher_impersonators": ["user:ana@acme.dev"],
    "publisher_projects": ["acme-*"],
    "publishing_audience": ["packages.acme.dev"],
    "readers": ["domain:acme.dev"],
    "settings": "[uploads]\nzip_sdists = true",
    "uploaders": ["group:releasers@acme.dev"],
}


@dataclass(frozen=True)
class Terraform:
    """
    Terraform in a copy of the folder, with a stand-in for Google's provider.

    Args:
        desk: Whose working directory is the copy.
        provider: Where the stand-in is.
    """

    desk: Desk
    provider: str

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command that may fail."""
        return self.desk.attempt(
            *(system_program("terraform"), *arguments),
            CHECKPOINT_DISABLE="1",
            TF_CLI_CONFIG_FILE="/dev/null",
            TF_IN_AUTOMATION="1",
            TF_REATTACH_PROVIDERS=self.provider,
        )

    def run(self, *arguments: str) -> str:
        """Run a command that has to succeed."""
        done = self.attempt(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def set(self, **variables: object) -> None:
        """Give the variables their values."""
        (self.desk.folder / "terraform.tfvars.json").write_text(json.dumps(variables))

    def planned(self, **variables: object) -> dict[str, dict[str, Any]]:
        """Return what a plan would make, by address."""
        self.set(**variables)
        self.run("plan", "-input=false", "-no-color", "-out=plan")
        plan = json.loads(self.run("show", "-json", "plan"))
        return {
            each["address"]: each["change"]["after"]
            for each in plan["resource_changes"]
            if each["change"]["actions"] == ["create"]
        }


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """Yield where the stand-in for Google's provider is."""
    system_program("terraform")
    command = [str(program("deploy", "python")), "-m", "tests.deploy.provider"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline()
        process.terminate()


@pytest.fixture
def terraform(provider: str, desk: Desk) -> Terraform:
    """Return Terraform, ready in a copy of the folder."""
    copy = desk.folder / "terraform"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns(".terraform*", "*.tfvars"))
    made = Terraform(desk.at(copy), provider)
    made.run("init", "-input=false")
    return made
