"""The files that are sent to a builder of the image, here or at Google."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.harness import REPOSITORY, system_program
from tests.deploy.containers import Buildah, require_buildah

IMAGE = "deploy/image"
INSIDE = (
    "LICENSE",
    "docs/README.md",
    "requirements/otel.txt",
    "src/wheelyard/wiring/build.py",
    f"{IMAGE}/health.py",
)
SECRETS = [
    ".env",
    ".git/config",
    "deploy/cloud-run/terraform/terraform.tfstate",
    "deploy/cloud-run/terraform/terraform.tfvars",
    "deploy/image/.env",
    "deploy/image/auth/htpasswd",
    "dist/acme.whl",
    "key.json",
    "requirements/dev.txt",
    "src/wheelyard/__pycache__/cli.pyc",
    "src/wheelyard/__pycache__/left.over",
    "tests/__init__.py",
    "wheelyard-data/credentials/tokens/one",
    "wheelyard.toml",
]
"""A developer's secrets, settings and state, and files that no builder needs."""
ONLY_GOOGLE = ["src/.env", "src/key.json", "src/wheelyard/.env"]
"""Files that only the rules for Google leave out."""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with untracked and local files."""
    folder = tmp_path / "clone"
    for name in ("docs", "src", "requirements", IMAGE):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    for name in ("LICENSE", "README.md", "pyproject.toml", ".gcloudignore"):
        shutil.copy2(REPOSITORY / name, folder)
    for name in (*SECRETS, *ONLY_GOOGLE):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("a secret")
    return folder


def _as_git(clone: Path) -> set[str]:
    """Return what is sent to Google by git's rules, which are those of gcloud."""
    git = [system_program("git"), f"--git-dir={clone.parent / 'empty'}", f"--work-tree={clone}"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    for ignored in clone.rglob(".gitignore"):
        ignored.unlink()
    options = ("-z", "--others", f"--exclude-from={clone / '.gcloudignore'}")
    output = subprocess.run(
        [*git, "ls-files", *options], cwd=clone, check=True, capture_output=True, text=True
    )
    return {name for name in output.stdout.split("\0") if name}


def _as_buildah(clone: Path) -> set[str]:
    """Build an image that has nothing but the whole context in it, and look at it."""
    require_buildah()
    buildah = Buildah(clone.parent / "storage")
    dockerfile = clone.parent / "Dockerfile"
    dockerfile.write_text("FROM scratch\nCOPY . /\n")
    ignored = f"--ignorefile={clone / IMAGE / 'Dockerfile.dockerignore'}"
    buildah.run("build", "--isolation=chroot", "--tag=all", f"--file={dockerfile}", ignored, clone)
    root = Path(buildah.run("mount", buildah.run("from", "--pull-never", "all")))
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_what_is_sent_to_google(clone: Path) -> None:
    """Google's builder gets what the image is made of, and no secret."""
    sent = _as_git(clone)

    assert sent >= set(INSIDE)
    assert sent & set(SECRETS) == set()


@pytest.mark.weekly
def test_what_is_sent(clone: Path) -> None:
    """A builder gets what the image is made of; Google gets the Dockerfile, too; no secret."""
    here = _as_buildah(clone)
    there = _as_git(clone)

    assert here >= set(INSIDE)
    assert here & set(SECRETS) == set()
    assert there - here == {f"{IMAGE}/Dockerfile", f"{IMAGE}/Dockerfile.dockerignore"}
    assert here - there == set(ONLY_GOOGLE)
    assert there & set(SECRETS) == set()
