"""What leaves a clone when it is sent to Google to be built."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.harness import REPOSITORY, system_program
from tests.deploy.kitchen_recipe import Ignored

IMAGE = "deploy/image"
SECRETS = [
    ".env",
    ".git/config",
    "deploy/cloud-run/terraform/terraform.tfstate",
    "deploy/cloud-run/terraform/terraform.tfvars",
    "deploy/image/.env",
    "deploy/image/auth/htpasswd",
    "dist/acme.whl",
    "key.json",
    "src/.env",
    "src/key.json",
    "src/wheelyard/.env",
    "src/wheelyard/__pycache__/cli.pyc",
    "wheelyard-data/credentials/tokens/one",
    "wheelyard.toml",
]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone in which somebody works: with passwords, settings and state in it."""
    folder = tmp_path / "clone"
    folder.mkdir()
    listed = subprocess.run(
        [system_program("git"), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("this is not a clone")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (REPOSITORY / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    for name in SECRETS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("a secret")
    return folder


def as_gcloud(clone: Path) -> set[str]:
    """Ask gcloud itself, which asks nobody."""
    settings = f"CLOUDSDK_CONFIG={clone.parent / 'gcloud'}"
    told = subprocess.run(
        ["/usr/bin/env", settings, system_program("gcloud"), "meta", "list-files-for-upload"],
        cwd=clone,
        capture_output=True,
        check=True,
        text=True,
    )
    return set(told.stdout.splitlines())


def as_git(clone: Path) -> set[str]:
    """Ask git, whose rules those of gcloud are."""
    rules = (clone / ".gcloudignore").read_text()
    empty = clone.parent / "repository"
    git = [system_program("git"), f"--git-dir={empty}", f"--work-tree={clone}"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    for ignored in clone.rglob(".gitignore"):
        ignored.unlink()
    (clone.parent / "rules").write_text(rules)
    told = subprocess.run(
        [*git, "ls-files", "-z", "--others", f"--exclude-from={clone.parent / 'rules'}"],
        cwd=clone,
        capture_output=True,
        check=True,
    )
    return {name for name in told.stdout.decode().split("\0") if name}


@pytest.mark.parametrize("reader", [as_gcloud, as_git])
def test_what_is_sent(clone: Path, reader: Callable[[Path], set[str]]) -> None:
    """What is sent to be built is what the image is made of, and no secret that lies about."""
    ignored = Ignored((clone / IMAGE / "Dockerfile.dockerignore").read_text())
    files = [path for path in clone.rglob("*") if path.is_file()]
    names = {str(path.relative_to(clone)) for path in files}
    needed = {name for name in names - set(SECRETS) if name not in ignored}

    sent = reader(clone)

    assert sent & set(SECRETS) == set()
    assert sent == needed | {f"{IMAGE}/Dockerfile", f"{IMAGE}/Dockerfile.dockerignore"}
