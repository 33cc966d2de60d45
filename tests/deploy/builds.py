"""
Cloud Build on this machine: carries out a cloudbuild.yaml, step by step, as the service does.

Substitutions, variables, secrets, the order of steps, volumes and the end at the first failure are
the service's; an image is an environment with a new Python and the programs that the image has.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from tests.clients.harness import REPOSITORY
from tests.deploy.build_rules import BuildRefusedError, Filled, filled, secrets_of
from wheelyard.settings.reading import process_environment

PROJECT: Final = "acme-packages"
ACCOUNT: Final = f"wheelyard-publisher@{PROJECT}.iam.gserviceaccount.com"
TIMEOUT: Final = 600
"""Seconds after which a step is given up; a loaded machine may need some."""
SLIM: Final = frozenset(
    {"cc", "curl", "docker", "g++", "gcc", "gcloud", "git", "gsutil", "jq", "make", "uv", "wget"},
)
"""What the slim images of Python do not have."""
FULL: Final = frozenset({"docker", "gcloud", "gsutil", "jq", "uv"})
"""What the large image of Python does not have."""
LOCKS: Final = ("dev.txt", "clients/build.txt", "clients/twine.txt")
CLOUD: Final = "gcr.io/google.com/cloudsdktool/cloud-sdk:slim"


@dataclass(frozen=True)
class Outcome:
    """
    What became of a build.

    Args:
        succeeded: Whether every step has.
        log: What every step has printed.
        done: The ids of the steps that were begun.
        workspace: What `/workspace` was.
        volumes: Where the volumes were.
    """

    succeeded: bool
    log: str
    done: tuple[str, ...]
    workspace: Path
    volumes: Path

    def holds(self, secret: str) -> bool:
        """Whether a secret was printed, or lies in a file of the workspace."""
        files = [path for path in self.workspace.rglob("*") if path.is_file()]
        return secret in self.log or any(secret.encode() in path.read_bytes() for path in files)


@dataclass
class CloudBuild:
    """
    The service.

    Args:
        folder: New; where it works.
        stocked: What every image has besides, which saves installing it each time.
        network: Variables that lead a step to the stand-ins of Google's services.
        secrets: By version in Secret Manager or by ciphertext, what it is.
        gcloud: What is called `gcloud` in the image that has it.
        has_empty: Whether a substitution that is empty is a variable all the same.
    """

    folder: Path
    python: Path
    network: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    gcloud: str = ""
    has_empty: bool = True
    _count: int = 0

    def submit(
        self, config: Path, source: Path, *, after: str = "", **substitutions: str
    ) -> Outcome:
        """
        Send a folder, and wait for the end.

        Args:
            config: The cloudbuild.yaml.
            source: The folder.
            after: The id of the last step that has been done there already.
            **substitutions: What a command line gives.

        Raises:
            BuildRefusedError: The service does not begin such a build.
        """
        build = filled(yaml.safe_load(config.read_text()), substitutions, PROJECT)
        self._count += 1
        place = self.folder / f"build-{self._count}"
        workspace, volumes = place / "workspace", place / "volumes"
        (place / "home").mkdir(parents=True)
        shutil.copytree(source, workspace, symlinks=True)
        secrets, log, done = secrets_of(build, self.secrets), [], []
        succeeded = True
        names = [step.get("id") for step in build.steps]
        for number, step in enumerate(build.steps):
            if after and number <= names.index(after):
                continue
            done.append(str(step.get("id", number)))
            ended = self._run(place, number, step, build, secrets)
            log.append(ended.stdout)
            if ended.returncode:
                succeeded = False
                break
        return Outcome(succeeded, "\n".join(log), tuple(done), workspace, volumes)

    def _run(
        self,
        place: Path,
        number: int,
        step: Mapping[str, Any],
        build: Filled,
        secrets: Mapping[str, str],
    ) -> subprocess.CompletedProcess[str]:
        # always the same one, as in an image, and each step finds it empty
        scratch = self.folder / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        paths = {"/workspace": str(place / "workspace"), "/tmp": str(scratch)}  # noqa: S108
        for volume in step.get("volumes", ()):
            paths[volume["path"]] = str(place / "volumes" / volume["name"])
            Path(paths[volume["path"]]).mkdir(parents=True, exist_ok=True)
        image = _Image(place / f"image-{number}", str(step["name"]), self.python, self.gcloud)
        environment = {
            **{name: each for name, each in process_environment().items() if "PIP_" in name},
            **image.environment(place / "home"),
            **(self._mapped(build) if build.is_automapped else {}),
            **dict(each.split("=", 1) for each in (*build.environment, *step.get("env", ()))),
            **{name: secrets[name] for name in step.get("secretEnv", ())},
            **self.network,
        }
        return subprocess.run(
            _command(step, place / f"script-{number}", paths),
            cwd=place / "workspace" / step.get("dir", ""),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
            timeout=TIMEOUT,
        )

    def _mapped(self, build: Filled) -> dict[str, str]:
        """Return the substitutions as variables; nothing says what becomes of empty ones."""
        return {name: text for name, text in build.substitutions.items() if text or self.has_empty}


def _command(step: Mapping[str, Any], script: Path, paths: Mapping[str, str]) -> list[str]:
    """Return what a step runs, with the folders of the build in the place of the image's."""
    if "script" not in step:
        if "entrypoint" not in step:
            raise BuildRefusedError(f"nobody knows here what {step['name']} begins with")
        return [_led(word, paths) for word in (step["entrypoint"], *step.get("args", ()))]
    text = str(step["script"])
    script.write_text(_led(text if text.startswith("#!") else f"#!/bin/sh\n{text}", paths))
    script.chmod(0o755)
    return [str(script)]


def _led(text: str, paths: Mapping[str, str]) -> str:
    return re.sub("|".join(rf"{re.escape(path)}\b" for path in paths), lambda m: paths[m[0]], text)


@dataclass(frozen=True)
class _Image:
    """What a step runs in: a Python of its own, and the programs that the image has."""

    folder: Path
    name: str
    python: Path
    gcloud: str

    def environment(self, home: Path) -> dict[str, str]:
        """Make it; returns what its programs find in their environment."""
        self._programs()
        path = [str(self.folder / "programs")]
        if self.name.startswith("python:"):
            copy_of(self.python, self.folder / "python")
            path.insert(0, str(self.folder / "python" / "bin"))
        return {"HOME": str(home), "LANG": "C.UTF-8", "PATH": ":".join(path)}

    def _programs(self) -> None:
        missing = {"python:3.13-slim": SLIM, "python:3.13": FULL, CLOUD: frozenset[str]()}
        if self.name not in missing:
            raise BuildRefusedError(f"nobody has the image {self.name} here")
        folder = self.folder / "programs"
        folder.mkdir(parents=True)
        for each in Path("/usr/bin").iterdir():
            if each.name not in missing[self.name] | {"gcloud"}:
                (folder / each.name).symlink_to(each)
        if self.name == CLOUD:
            (folder / "gcloud").write_text(self.gcloud)
            (folder / "gcloud").chmod(0o755)


def new_python(folder: Path, *requirements: str, **environment: str) -> Path:
    """
    Make an environment that images are copied from, with some distributions in it.

    What the project has locked is of the locked version, so that a release made elsewhere does not
    change what a test meets.
    """
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
    if requirements:
        python, constraints = str(folder / "bin" / "python"), folder / "constraints.txt"
        constraints.write_text(locked())
        command = [python, "-m", "pip", "install", "--quiet", "-c", str(constraints), *requirements]
        there = {**process_environment(), **environment}
        done = subprocess.run(command, env=there, capture_output=True, check=False, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def locked() -> str:
    """Return the versions that the project has locked, without their hashes, as constraints."""
    found = dict[str, str]()
    for lock in LOCKS:
        for line in (REPOSITORY / "requirements" / lock).read_text().splitlines():
            name, is_pinned, version = line.partition("==")
            if is_pinned and not name.startswith((" ", "#")):
                name = name.partition("[")[0]  # pip takes no extras here
                found.setdefault(name, version.removesuffix("\\"))
    return "\n".join(f"{name}=={version}" for name, version in found.items())


def copy_of(python: Path, folder: Path) -> None:
    """Copy an environment to another place, where it works as it did; no file is changed."""
    shutil.copytree(python, folder, symlinks=True, copy_function=os.link)
    for path in (folder / "bin").iterdir():
        if not path.is_symlink():
            text = path.read_text(errors="surrogateescape")
            path.unlink()  # it is the other one's, too
            path.write_text(text.replace(str(python), str(folder)), errors="surrogateescape")
            path.chmod(0o755)
