"""Small real projects, built by each common build backend."""

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.clients.harness import Sandbox, client_lock, program, site_packages
from tests.once import made_once

BUILD_SYSTEMS = {
    "flit-core": ("flit_core.buildapi", '[tool.flit.module]\nname = "{module}"\n'),
    "hatchling": (
        "hatchling.build",
        '[tool.hatch.build.targets.wheel]\npackages = ["src/{module}"]\n',
    ),
    "pdm-backend": ("pdm.backend", '[tool.pdm.build]\nincludes = ["src/{module}"]\n'),
    "poetry-core": (
        "poetry.core.masonry.api",
        '[tool.poetry]\npackages = [{{include = "{module}", from = "src"}}]\n',
    ),
    "setuptools": ("setuptools.build_meta", '[tool.setuptools.package-data]\n"*" = ["*.txt"]\n'),
    "uv_build": ("uv_build", '[tool.uv.build-backend]\nmodule-name = "{module}"\n'),
}
"""By distribution name: the backend's entry point, and its configuration of the code's folder."""

BACKENDS = sorted(BUILD_SYSTEMS)

PYPROJECT = """\
[build-system]
requires = ["{backend}"]
build-backend = "{entry}"

[project]
name = "{name}"
version = "{version}"
description = "A small project that says who it is."
readme = "README.md"
requires-python = ">=3.9"
dependencies = {dependencies}
keywords = ["small", "real"]
classifiers = ["Programming Language :: Python :: 3"]

[project.urls]
Homepage = "https://example.com/{module}"

[project.scripts]
{module} = "{module}:main"

"""

MODULE = '''\
"""A small project that says who it is."""


def main():
    """Say it."""
    print("{name} {version}")
'''


BUILD = """\
import importlib, os, sys, tarfile

backend = importlib.import_module(sys.argv[1])
dist = sys.argv[2]
sdist = backend.build_sdist(dist)
os.chdir(os.environ["HOME"])
with tarfile.open(os.path.join(dist, sdist)) as archive:
    archive.extraction_filter = getattr(tarfile, "data_filter", None)  # since Python 3.11.4
    archive.extractall()
os.chdir(sdist.removesuffix(".tar.gz"))
backend.build_wheel(dist)
"""
"""A minimal build frontend: calls a backend (PEP 517) twice in one process."""


@dataclass(frozen=True)
class Built:
    """A project and what its backend made of it."""

    folder: Path  # the source tree; what was built is in its `dist`
    name: str
    version: str
    wheel: Path
    sdist: Path

    @property
    def module(self) -> str:
        """The name of the module and of the console script."""
        return module_of(self.name)

    @property
    def requirement(self) -> str:
        """This very version, as a requirement."""
        return f"{self.name}=={self.version}"

    def assert_installed(self, python: Path) -> None:
        """Every file of the wheel is in that environment byte for byte, and the program runs."""
        site = site_packages(python)
        with zipfile.ZipFile(self.wheel) as wheel:
            packed = {name: wheel.read(name) for name in wheel.namelist() if name[-1] != "/"}
        record = next(name for name in packed if name.endswith(".dist-info/RECORD"))
        del packed[record]  # installers write their own

        assert {name: (site / name).read_bytes() for name in packed} == packed
        output = subprocess.run([python.parent / self.module], capture_output=True, check=True)
        assert output.stdout.decode().split() == [self.name, self.version]


Builder = Callable[..., Built]
"""The type of the fixture `build`: `build(backend, name, version, *dependencies)`."""


def module_of(name: str) -> str:
    """Say what a project of that name has to be imported as."""
    return name.lower().replace("-", "_").replace(".", "_")


@cache
def build_project(backend: str, name: str, version: str = "1.0", *dependencies: str) -> Built:
    """
    Write a project, and build its sdist, and from that its wheel: once for all tests and runs.

    Copy the result before changing it.
    """
    arguments = (backend, name, version, *dependencies)
    made_from: list[Path | str] = [Path(__file__), client_lock("build"), sys.version]
    folder = made_once("-".join(("built", *arguments)), made_from, partial(_build, *arguments))
    project = folder / "project"
    (wheel,) = project.glob("dist/*.whl")
    (sdist,) = project.glob("dist/*.tar.gz")
    return Built(project, name, version, wheel, sdist)


def _build(backend: str, name: str, version: str, *rest: str | Path) -> None:
    *dependencies, folder = rest
    project = Path(folder) / "project"
    write_project(project, backend, name, version, [str(each) for each in dependencies])
    run_backend(project, backend)


def run_backend(project: Path, backend: str) -> None:
    """Build the sdist of a source tree, and from that the wheel, into its `dist`."""
    python = program("build", "python")
    (project / "dist").mkdir()  # which uv_build does not make
    entry, _ = BUILD_SYSTEMS[backend]
    with TemporaryDirectory() as home:
        Sandbox(project, Path(home)).run(
            *(python, "-c", BUILD, entry, project / "dist"),
            PATH=os.pathsep.join((str(python.parent), os.defpath)),  # uv_build calls a program
        )


def write_project(
    folder: Path, backend: str, name: str, version: str, dependencies: Sequence[str] = ()
) -> None:
    """Write the source tree of a project into a new folder."""
    module = module_of(name)
    entry, settings = BUILD_SYSTEMS[backend]
    package = folder / "src" / module
    package.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        PYPROJECT.format(
            backend=backend,
            entry=entry,
            name=name,
            version=version,
            module=module,
            dependencies=list(dependencies),
        )
        + settings.format(module=module)
    )
    (folder / "README.md").write_text(f"# {name}\n\nKlein, aber echt: größer muß es nicht sein.\n")
    (package / "__init__.py").write_text(MODULE.format(name=name, version=version))
    (package / "data.txt").write_text("".join(f"line {number}\n" for number in range(5000)))


def sha256(path: Path) -> str:
    """Digest a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
