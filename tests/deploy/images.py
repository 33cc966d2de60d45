"""
The container image, as it is built here: on a small base, and as a release has it.

The first one is made of files of this machine, in half a minute. The second one is built by
`tools.image`, which fetches packages of Debian and takes minutes.
"""

import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest

from tests.clients.harness import REPOSITORY
from tests.deploy import containers
from tests.deploy.containers import Buildah
from tests.once import made_once

DOCKERFILE = REPOSITORY / "deploy" / "image" / "Dockerfile"
CONTEXT = ("LICENSE", "README.md", "pyproject.toml", "docs", "requirements", "src", "deploy/image")
INPUTS = (*CONTEXT, "tools")
"""What an image of a release is made of, besides what the locks name."""
VERSION = metadata.version("wheelyard")


def copy(names: Iterable[str], clone: Path) -> None:
    """Copy files and folders of this clone, which only their owner may read then."""
    containers.copy_of_clone(names, clone)
    for path in clone.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)


def build(folder: Path) -> None:
    """Build the image from a clone made with umask 077."""
    buildah, clone, secret = Buildah(folder), folder / "clone", folder / "pip.conf"
    (base,) = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    buildah.run("commit", "--quiet", "--rm", buildah.new_base(), f"docker.io/library/{base}")
    copy(CONTEXT, clone)
    secret.write_text(containers.PIP_CONF)
    buildah.run(
        *("build", "--isolation=chroot", "--format=docker", "--pull-never", "--tag=wheelyard"),
        *(f"--build-arg=VERSION={VERSION}", "--build-arg=REVISION=abc"),
        *(f"--file={clone}/deploy/image/Dockerfile", f"--secret=id=pip.conf,src={secret}"),
        *(f"--volume={containers.wheels()}:/run/wheels:ro", clone),
    )
    buildah.run("from", "--pull-never", "--name=image", "wheelyard")
    shutil.rmtree(clone)


def build_release(clone: Path, output: Path) -> None:
    """Build the image as for a release, from a clone."""
    command = (sys.executable, "-m", "tools.image", "build", "--output", output)
    subprocess.run(command, cwd=clone, check=True)


def released() -> Path:
    """Return a folder with the image as a release has it: an archive, and two SBOMs."""
    pytest.importorskip("cyclonedx", reason="requirements/release.txt is not installed")
    git = ("git", "-C", REPOSITORY, "rev-parse", "HEAD")
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout
    inputs: list[Path | str] = [commit, *(REPOSITORY / name for name in INPUTS)]
    return made_once("release-image", inputs, lambda folder: build_release(REPOSITORY, folder))


def unpack(folder: Path, processor: str) -> None:
    """Take the image for a processor from the archive of a release, as a container engine does."""
    buildah, (archive,) = Buildah(folder), released().glob("*.tar")
    pulled = buildah.run("pull", "--quiet", f"--arch={processor}", f"oci-archive:{archive}")
    buildah.run("tag", pulled, "wheelyard")
    buildah.run("from", "--pull-never", f"--arch={processor}", "--name=image", pulled)


def of_release(processor: str) -> Buildah:
    """Return a storage with the image of a release for a processor, and a container of it."""
    containers.require_processor(processor)
    sources: list[Path | str] = [inspect.getsource(unpack), *sorted(released().glob("*.tar"))]
    return Buildah(
        made_once(f"{processor}-image", sources, lambda folder: unpack(folder, processor))
    )


def on_small_base() -> Buildah:
    """Return a storage with the image on a small base, and a container of it."""
    sources = [Path(containers.__file__), *(REPOSITORY / name for name in CONTEXT)]
    return Buildah(made_once("image", [*sources, inspect.getsource(build)], build))
