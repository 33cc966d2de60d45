"""Installing from Cloud Shell and removing again, against a gcloud that remembers."""

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.bucket.server import BucketServer, running_bucket_server
from tests.clients.conftest import desk as _desk
from tests.clients.harness import REPOSITORY, Desk, system_program
from tests.clients.servers import TOKEN
from tests.deploy import build_gcloud
from tests.deploy.build_gcloud import PROJECT
from tests.trust.issuer import Answer, StandIn, stand_in

pytestmark = pytest.mark.slow

desk = _desk
FOLDER = REPOSITORY / "deploy" / "cloud-shell"
PACKAGES = f"{PROJECT}-wheelyard"
BUILDS = f"{PACKAGES}-builds"
BUCKETS = (PACKAGES, f"{PACKAGES}-credentials", BUILDS)
CLOSED = ("uniform-bucket-level-access", "public-access-prevention")
STEPS = [
    "projects describe",
    "services enable",
    "storage buckets create",
    "storage buckets update",
    "storage buckets add-iam",
    "iam service-accounts create",
    "iam service-accounts add-iam",
    "projects add-iam",
    "artifacts repositories create",
    "builds submit",
    "secrets create",
    "secrets add-iam",
    "run services replace",
]


@dataclass(frozen=True)
class Shell:
    """Somebody's Cloud Shell, with a clone, and what there is at Google."""

    desk: Desk
    google: StandIn
    buckets: BucketServer

    @property
    def state(self) -> dict[str, Any]:
        """What there is, and every line for gcloud."""
        found: dict[str, Any] = json.loads((self.desk.folder / "state.json").read_text())
        return found

    def run(
        self, script: str, *words: str, failing: str = "", **more: str
    ) -> CompletedProcess[str]:
        """Run one of the scripts."""
        self._programs(failing)
        known = {"PROJECT_ID": PROJECT, "INDEX_URL": self.google.url, "PAUSE": "0"}
        path = f"{self.desk.folder / 'bin'}{os.pathsep}{self.desk.environment()['PATH']}"
        environment = {**self.buckets.environment(), **known, "PATH": path, **more}
        return self.desk.attempt(FOLDER / script, *words, **environment)

    def gcloud(self, *words: str) -> None:
        """Type a line for gcloud."""
        self._programs("")
        self.desk.run(self.desk.folder / "bin" / "gcloud", *words)

    def make_bucket(self, name: str, *flags: str) -> None:
        """Make a bucket as somebody may have done before, with these flags and nothing more."""
        self.gcloud(
            "storage", "buckets", "create", f"gs://{name}", *(f"--{each}" for each in flags)
        )

    def _programs(self, failing: str) -> None:
        folder = self.desk.folder / "bin"
        folder.mkdir(exist_ok=True)
        state = self.desk.folder / "state.json"
        stand_in_for = f"{sys.executable} {build_gcloud.__file__} {state} '{failing}'"
        product = f"PYTHONPATH={REPOSITORY / 'src'} exec {sys.executable} -m wheelyard"
        programs = {
            "gcloud": f'exec {stand_in_for} "$@"',
            "product": f'{product} "$@"',
            # an environment into which nothing but this clone can be installed, at once
            "pip": f'echo "$@" >> {folder}/asked\ncp {folder}/product "${{0%pip}}wheelyard"',
            "python3": '[ "$2" != venv ] || mkdir -p "$4/bin"\n'
            f'[ "$2" != venv ] || exec cp {folder}/pip "$4/bin"\nexec {sys.executable} "$@"',
        }
        for name, command in programs.items():
            (folder / name).write_text(f"#!/bin/sh\n{command}\n")
            (folder / name).chmod(0o755)


@pytest.fixture
def shell(desk: Desk) -> Iterator[Shell]:
    """A project with nothing in it."""
    system_program("curl")
    names = (PACKAGES, f"{PACKAGES}-credentials")
    with stand_in() as google, running_bucket_server(*names) as buckets:
        google.answers["/ready"] = Answer(b"ready")
        yield Shell(desk, google, buckets)


def succeeded(done: CompletedProcess[str]) -> str:
    """Return what a script has printed, which has to have succeeded."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_everything_is_installed(shell: Shell) -> None:
    """One line makes buckets, accounts, image, settings and service, and prints a first token."""
    said = succeeded(shell.run("install.sh"))

    things = shell.state["things"]
    assert {each.partition(":")[0] for each in things} == {
        *("account", "bucket", "image", "repository", "role", "secret", "service"),
    }
    bucket = json.loads(things[f"bucket:{PACKAGES}"])
    assert bucket["versioning_enabled"]
    assert bucket["lifecycle"]["rule"]
    (rule,) = json.loads(things[f"bucket:{BUILDS}"])["lifecycle"]["rule"]
    assert rule["condition"] == {"age": 7, "matchesPrefix": ["source/"]}
    cleanup = json.loads(things["repository:wheelyard"])["cleanup"]
    assert [each["action"]["type"] for each in cleanup] == ["Keep", "Delete"]
    service = json.loads(things["service:wheelyard"])
    variables = service["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "WHEELYARD_STORE", "value": f"gs://{PACKAGES}"} in variables
    assert f"gs://{PACKAGES}-credentials" in things["secret:wheelyard-toml"]
    assert len(TOKEN.findall(said)) == 1
    kept = shell.buckets.bucket(f"{PACKAGES}-credentials").names()
    assert any(name.startswith("credentials/tokens/") for name in kept)


def test_again_after_removal(shell: Shell) -> None:
    """What was removed can be installed again at once, though a deleted role keeps its name."""
    succeeded(shell.run("install.sh"))
    succeeded(shell.run("remove.sh"))

    succeeded(shell.run("install.sh"))

    assert "role:wheelyardSigner" in shell.state["things"]


def test_again(shell: Shell) -> None:
    """A second run makes nothing new, leaves the settings alone, and prints no token."""
    succeeded(shell.run("install.sh"))
    before = shell.state

    said = succeeded(shell.run("install.sh"))

    after = shell.state
    assert after["things"] == before["things"]
    assert after["bindings"] == before["bindings"]
    new = after["lines"][len(before["lines"]) :]
    assert [line for line in new if re.search(r"\bcreate\b|\bsubmit\b", line)] == []
    assert not TOKEN.search(said)


def test_the_last_lines(shell: Shell) -> None:
    """What is printed at the end makes another token in a shell that knows nothing."""
    succeeded(shell.run("install.sh"))
    said = succeeded(shell.run("install.sh"))

    lines = "\n".join(said.splitlines()[-2:]).replace(" NAME ", " another ")
    assert lines.lstrip().startswith("export WHEELYARD_STORE=")
    bash = (system_program("bash"), "-ec", lines)
    made = succeeded(shell.desk.attempt(*bash, **shell.buckets.environment()))
    assert TOKEN.search(made)


def test_a_newer_clone(shell: Shell) -> None:
    """The command line is that of the clone, and is installed again only for another commit."""
    programs = shell.desk.folder / "bin"
    programs.mkdir()
    for name, says in (("git", 'echo "$COMMIT"'), ("wheelyard", "exit 1  # of somebody else")):
        (programs / name).write_text(f"#!/bin/sh\n{says}\n")
        (programs / name).chmod(0o755)

    for commit in ("a", "a", "b"):
        succeeded(shell.run("install.sh", COMMIT=commit, CDPATH=f".:{shell.desk.folder}"))
    of_clone = f"install --quiet {REPOSITORY}[gcs]"
    assert (programs / "asked").read_text().splitlines() == [of_clone] * 2

    (shell.desk.home / ".wheelyard" / "bin" / "wheelyard").write_text("#!/of/another/python\n")
    succeeded(shell.run("install.sh", COMMIT="b"))
    assert (programs / "asked").read_text().splitlines() == [of_clone] * 3


def test_settings_that_cannot_be_filled_in(shell: Shell) -> None:
    """No empty secret is left behind where the settings could not be written."""
    python = shell.desk.folder / "python"
    python.mkdir()
    (python / "python3").write_text("#!/bin/sh\nexit 1\n")
    (python / "python3").chmod(0o755)
    path = f"{python}{os.pathsep}{shell.desk.folder / 'bin'}{os.pathsep}"

    done = shell.run("install.sh", PATH=path + shell.desk.environment()["PATH"])

    assert done.returncode == 1
    assert "secret:wheelyard-toml" not in shell.state["things"]


def test_a_role_whose_name_is_taken(shell: Shell) -> None:
    """A role that can neither be made nor brought back is told of, and another name does."""
    taken = "iam roles (undelete|create) wheelyardSigner "

    broken = shell.run("install.sh", failing=taken)

    assert broken.returncode == 1
    line = broken.stderr.strip().splitlines()[-1]
    assert line == "export SIGNER_ROLE_ID=wheelyardSigner2"
    other = {"SIGNER_ROLE_ID": "wheelyardSigner2"}
    succeeded(shell.run("install.sh", failing=taken, **other))
    assert "role:wheelyardSigner2" in shell.state["things"]
    succeeded(shell.run("remove.sh", "--with-packages", **other))
    assert shell.state["things"] == {}


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_in_the_middle(shell: Shell, step: str) -> None:
    """Wherever an installation breaks off, it says so, and the next run finishes it."""
    broken = shell.run("install.sh", failing=step)

    assert broken.returncode != 0
    assert "the network is gone" in broken.stderr
    assert len(TOKEN.findall(succeeded(shell.run("install.sh")))) == 1


def test_who_reads_what_was_sent(shell: Shell) -> None:
    """What publishes packages does not read the source that the image is built from."""
    succeeded(shell.run("install.sh"))

    readers = [who for what, who, _ in shell.state["bindings"] if what == f"bucket:{BUILDS}"]
    assert readers == [f"serviceAccount:wheelyard-builder@{PROJECT}.iam.gserviceaccount.com"]


@pytest.mark.parametrize("bucket", BUCKETS)
@pytest.mark.parametrize("lacking", ["uniform-bucket-level-access", "public-access-prevention"])
def test_an_open_bucket(shell: Shell, bucket: str, lacking: str) -> None:
    """A bucket that was there and can be opened to the public is refused, with the line to type."""
    shell.make_bucket(bucket, *(set(CLOSED) - {lacking}))

    done = shell.run("install.sh")

    assert done.returncode == 1
    assert f"update gs://{bucket} --uniform-bucket-level-access --public" in done.stderr
    assert not any(name.startswith("service:") for name in shell.state["things"])


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_bucket_of_somebody_else(shell: Shell, bucket: str) -> None:
    """A bucket that was there is used, keeps its rules, and is never removed."""
    shell.make_bucket(bucket, *CLOSED)
    before = shell.state["things"]

    assert f"gs://{bucket} was not made here" in succeeded(shell.run("install.sh"))
    said = succeeded(shell.run("remove.sh", "--with-packages"))

    assert f"gs://{bucket} stays: install.sh has not made it" in said
    assert shell.state["things"] == before


def test_a_bucket_without_its_mark(shell: Shell) -> None:
    """A bucket that could be made and not marked is told of, with the line that marks it."""
    broken = shell.run("install.sh", failing="storage buckets update")

    line = broken.stderr.strip().rpartition("gcloud storage ")[2]
    assert line.startswith(f"buckets update gs://{PACKAGES} --update-labels=made-by=wheelyard")
    shell.gcloud("storage", *line.split())
    succeeded(shell.run("install.sh"))
    succeeded(shell.run("remove.sh", "--with-packages"))
    assert shell.state["things"] == {}


def test_a_service_that_does_not_start(shell: Shell) -> None:
    """An index that does not answer is not called installed: the line that shows its log is."""
    shell.google.answers["/ready"] = Answer(status=503)

    done = shell.run("install.sh")

    assert done.returncode == 1
    assert "gcloud run services logs read wheelyard" in done.stderr
    assert not TOKEN.search(done.stdout)


@pytest.mark.parametrize("script", ["install.sh", "remove.sh"])
def test_no_project(shell: Shell, script: str) -> None:
    """Without a project nothing is done, in no project that happens to be the current one."""
    done = shell.run(script, PROJECT_ID="")

    assert done.returncode != 0
    assert "export PROJECT_ID=" in done.stderr
    assert not (shell.desk.folder / "state.json").exists()


def test_removal_keeps_the_packages(shell: Shell) -> None:
    """Removing takes everything away but packages and tokens, and says where those are."""
    succeeded(shell.run("install.sh"))

    said = succeeded(shell.run("remove.sh"))

    assert set(shell.state["things"]) == {f"bucket:{PACKAGES}", f"bucket:{PACKAGES}-credentials"}
    assert f"gs://{PACKAGES} stays, and is paid for" in said


def test_removal_of_everything(shell: Shell) -> None:
    """Removing with the packages leaves nothing that costs money, and can be said twice."""
    succeeded(shell.run("install.sh"))

    succeeded(shell.run("remove.sh", "--with-packages"))
    succeeded(shell.run("remove.sh", "--with-packages"))

    assert shell.state["things"] == {}
    assert shell.state["bindings"] == []
    cleared = [line for line in shell.state["lines"] if "--clear-soft-delete" in line]
    assert len(cleared) == 2


@pytest.mark.parametrize(
    "step", ["run services list", "secrets list", "storage rm", "iam .* delete"]
)
def test_a_removal_that_breaks_off(shell: Shell, step: str) -> None:
    """What cannot be looked at is not taken for gone; the next run removes the rest."""
    succeeded(shell.run("install.sh"))

    broken = shell.run("remove.sh", "--with-packages", failing=step)

    assert broken.returncode != 0
    assert "the network is gone" in broken.stderr
    succeeded(shell.run("remove.sh", "--with-packages"))
    assert shell.state["things"] == {}


def test_a_word_too_many(shell: Shell) -> None:
    """A mistyped option removes nothing."""
    assert shell.run("remove.sh", "--with-package").returncode == 2
    assert not (shell.desk.folder / "state.json").exists()
