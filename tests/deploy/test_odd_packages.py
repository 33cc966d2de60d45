"""Packages that the files of deploy/cloud-build do not expect, and publish all the same."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.bucket.server import BucketServer
from tests.clients.harness import Desk, system_program
from tests.deploy import build_town
from tests.deploy.build_town import FILES, Town, commit, succeeded

pytestmark = [pytest.mark.clients, pytest.mark.slow]

bare_python, stocked_python = build_town.bare_python, build_town.stocked_python
cache, product, built = build_town.cache, build_town.product, build_town.built
buckets, town = build_town.buckets, build_town.town

PYPROJECT = """\
[build-system]
requires = ["setuptools", "setuptools-scm"]
build-backend = "setuptools.build_meta"

[project]
name = "acme-core"
dynamic = ["version"]

[tool.setuptools]
packages = ["acme_core"]
ext-modules = [{ name = "acme_core.fast", sources = ["fast.c"] }]

[tool.setuptools_scm]
root = "../.."
tag_regex = "^core-v(?P<version>.*)$"
"""
STRANGE = {
    "pyproject.toml": PYPROJECT,
    "fast.c": "int PyInit_fast(void) { return 0; }\n",
    "acme_core/__init__.py": "",
    "build.py": "raise SystemExit('this is the build of somebody else')\n",
    "packaging/__init__.py": "",
    "dist/acme_core-0.1.tar.gz": "of long ago",
}


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A repository with a package somewhere in it, which has a compiler and no README."""
    repository = tmp_path / "acme"
    for name, text in STRANGE.items():
        path = repository / "packages" / "core" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    commit(repository)
    Desk(repository, tmp_path).run(system_program("git"), "tag", "core-v1.0")
    return repository


def test_a_strange_package(town: Town, strange: Path) -> None:
    """It is published, and again; its folder, tag, programs and old files are its own affair."""
    system_program("gcc")
    there = {"_FOLDER": "packages/core", "_TAG_PREFIX": "core-v", "_TEST": "true"}

    assert succeeded(town.submit("cloudbuild", strange, TAG_NAME="core-v1.0", **there))

    found = set(town.files())
    assert len(found) == 2
    assert all(name.startswith("acme_core-1.0") for name in found)
    assert succeeded(town.submit("cloudbuild", strange, TAG_NAME="core-v1.0", **there))
    assert set(town.files()) == found


def test_tags_that_are_versions(town: Town, built: Path) -> None:
    """A tag without a prefix, and a build without tests, may be asked for by empty words."""
    cloud = replace(town.cloud, has_empty=False)

    outcome = cloud.submit(
        FILES / "cloudbuild.yaml", built, TAG_NAME="1.0", _TAG_PREFIX="", _TEST=""
    )

    assert outcome.done == ("build", "test", "unchanged", "publish"), outcome.log
    assert "_INDEX_URL: is not set: give the build the substitution" in outcome.log


@pytest.mark.parametrize("name", ["bucket", "folder"])
def test_without_empty_words(
    buckets: tuple[Town, BucketServer, Desk], built: Path, product: str, name: str
) -> None:
    """What is left empty says what it is for, or is not needed, also where it does not arrive."""
    town, server, _ = buckets
    cloud = replace(town.cloud, has_empty=False)
    source, after = (built, "unchanged") if name == "bucket" else (built / "dist", "")
    store = {"_STORE": "gs://acme-packages-wheelyard"}

    for given, words in (
        ({}, "_WHEELYARD: give the build this substitution"),
        ({"_WHEELYARD": product}, "the first build there takes _NEW_STORE=yes"),
    ):
        outcome = cloud.submit(FILES / f"{name}.yaml", source, after=after, **store, **given)
        assert not outcome.succeeded
        assert words in outcome.log
    assert server.bucket("acme-packages-wheelyard").names() == []


def test_a_wheel_that_is_not_there(
    buckets: tuple[Town, BucketServer, Desk], built: Path, product: str
) -> None:
    """A name of which there is no wheel begins no store."""
    town, server, _ = buckets
    asked = {"_STORE": "gs://pypi-packages", "_NEW_STORE": "yes", "_WHEELYARD": product}

    outcome = town.cloud.submit(FILES / "folder.yaml", built / "dist", _WHL_NAME="a-1", **asked)

    assert not outcome.succeeded
    assert "There is no a-1.whl in the folder that was sent" in outcome.log
    assert server.bucket("pypi-packages").names() == []
