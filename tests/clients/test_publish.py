"""Publishing with the tool that one already uses, and getting the same files back."""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.harness import Desk, program, system_program, wheelyard
from tests.clients.projects import BACKENDS, Builder, Built, sha256, write_project
from tests.clients.reading import assert_published, fetch, listed, post
from tests.clients.servers import Server

pytestmark = pytest.mark.clients

ATTESTATION = {
    "version": 1,
    "verification_material": {"certificate": "MA==", "transparency_entries": [{}]},
    "envelope": {"statement": "e30=", "signature": "MA=="},
}
DISTUTILS_BOUNDARY = b"--------------GHSKFJDLGDS7543FJKLFHRE75642756743254"


@pytest.mark.parametrize("backend", BACKENDS)
def test_twine_from_every_backend(index: Server, desk: Desk, build: Builder, backend: str) -> None:
    """What any backend builds, twine publishes, and it installs as it was built."""
    project = build(backend, f"Yard.{backend}")

    twine(desk, index, project.wheel, project.sdist)

    assert_published(index, desk, project)


def test_twine_again(index: Server, desk: Desk, build: Builder) -> None:
    """A job that publishes the same files a second time succeeds, and changes nothing."""
    project = build("hatchling", "yard-again")
    twine(desk, index, project.wheel, project.sdist)
    before = listed(index, project.name)

    twine(desk, index, project.wheel, project.sdist)

    assert listed(index, project.name) == before


def test_twine_other_bytes(index: Server, desk: Desk, build: Builder) -> None:
    """A published version cannot be replaced: twine says so, and the first files stay."""
    first = build("hatchling", "yard-frozen")
    other = build("hatchling", "yard-frozen", "1.0", "packaging")
    twine(desk, index, first.wheel)

    done = desk.attempt(*twine_command(index, other.wheel), **twine_login(index.token))

    assert done.returncode == 1
    assert "409" in done.stdout + done.stderr
    assert listed(index, first.name) == {first.wheel.name: sha256(first.wheel)}


def test_twine_wrong_token(index: Server, desk: Desk, build: Builder) -> None:
    """Without a valid token nothing is published, and twine names the reason."""
    project = build("hatchling", "yard-locked")

    done = desk.attempt(*twine_command(index, project.wheel), **twine_login("wyd_" + "x" * 48))

    assert done.returncode == 1
    assert "401" in done.stdout + done.stderr
    assert listed(index, project.name) == {}


def test_uv_publish(index: Server, desk: Desk, build: Builder) -> None:
    """`uv publish` with a token."""
    project = build("uv_build", "yard-uv")

    desk.run(
        program("uv"),
        "publish",
        *("--publish-url", index.upload_url, "--token", index.token),
        *(project.wheel, project.sdist),
    )

    assert_published(index, desk, project)


@pytest.mark.parametrize("client", ["twine", "uv"])
def test_attestations(index: Server, desk: Desk, build: Builder, client: str) -> None:
    """The file is kept, and its attestations are not: the log says so, and twine shows it."""
    project = build("hatchling", f"yard-attested-{client}")
    wheel = desk.folder / project.wheel.name
    wheel.write_bytes(project.wheel.read_bytes())
    attestation = desk.folder / f"{wheel.name}.publish.attestation"
    attestation.write_text(json.dumps(ATTESTATION))

    if client == "twine":
        command = [*twine_command(index, wheel, attestation), "--attestations", "--verbose"]
        printed = desk.run(*command, **twine_login(index.token))
        assert "attestations were not kept" in " ".join(printed.split())
    else:
        command = [program("uv"), "publish", "--publish-url", index.upload_url]
        desk.run(*command, "--token", index.token, wheel, attestation)

    assert listed(index, project.name) == {project.wheel.name: sha256(project.wheel)}
    assert f"sent with {wheel.name} were not kept" in index.log


def test_uv_publish_check_url(index: Server, desk: Desk, build: Builder) -> None:
    """`uv publish --check-url` finds what is there already, and does not send it again."""
    project = build("uv_build", "yard-uv-check")
    command = (
        *(program("uv"), "publish", "--publish-url", index.upload_url, "--token", index.token),
        *("--check-url", index.index_url, project.wheel),
    )
    desk.run(*command)

    assert "already exists" in desk.run(*command)


def test_poetry_publish(index: Server, desk: Desk, build: Builder) -> None:
    """`poetry publish` from the project's folder."""
    project = build("poetry-core", "yard-poetry")

    desk.at(copied(project, desk)).run(
        program("poetry"),
        *("publish", "--no-interaction", "--repository", "yard"),
        POETRY_REPOSITORIES_YARD_URL=index.upload_url,
        POETRY_HTTP_BASIC_YARD_USERNAME="__token__",
        POETRY_HTTP_BASIC_YARD_PASSWORD=index.token,
    )

    assert_published(index, desk, project)


def test_pdm_publish(index: Server, desk: Desk, build: Builder) -> None:
    """`pdm publish` from the project's folder."""
    project = build("pdm-backend", "yard-pdm")

    desk.at(copied(project, desk)).run(
        program("pdm"),
        *("publish", "--no-build", "--repository", index.upload_url),
        PDM_PUBLISH_USERNAME="__token__",
        PDM_PUBLISH_PASSWORD=index.token,
        PDM_CHECK_UPDATE="false",
    )

    assert_published(index, desk, project)


def test_hatch_publish(index: Server, desk: Desk, build: Builder) -> None:
    """`hatch publish` from the project's folder, and once more: it sees that nothing is new."""
    project = build("hatchling", "yard-hatch")
    command = (program("hatch"), "publish", "--no-prompt", "--repo", index.upload_url)
    login = {"HATCH_INDEX_USER": "__token__", "HATCH_INDEX_AUTH": index.token}
    there = desk.at(copied(project, desk))
    there.run(*command, **login)

    assert_published(index, desk, project)
    assert "already exists" in there.run(*command, **login)


def test_flit_publish(index: Server, desk: Desk) -> None:
    """`flit publish`, which builds what it sends."""
    folder = desk.folder / "project"
    write_project(folder, "flit-core", "yard-flit", "1.0")

    desk.at(folder).run(
        program("flit"),
        *("publish", "--no-use-vcs"),
        FLIT_INDEX_URL=index.upload_url,
        FLIT_USERNAME="__token__",
        FLIT_PASSWORD=index.token,
    )

    (wheel,) = folder.glob("dist/*.whl")
    (sdist,) = folder.glob("dist/*.tar.gz")
    assert_published(index, desk, Built(folder, "yard-flit", "1.0", wheel, sdist))


def test_curl(index: Server, desk: Desk, build: Builder) -> None:
    """`curl -F package=@FILE https://TOKEN@host/USER/`, as Gemfury's customers push."""
    project = build("setuptools", "yard-curl")
    curl = system_program("curl")

    for file in (project.wheel, project.sdist):
        desk.run(
            curl,
            *("--silent", "--show-error", "--fail", "--form", f"package=@{file}"),
            f"http://{index.token}@{index.address}/acme/",
        )

    assert_published(index, desk, project)


def test_distutils_form(index: Server, desk: Desk, build: Builder) -> None:
    """`setup.py upload`, as it was for twenty years, to the root of the host."""
    project = build("setuptools", "yard-distutils")

    for file in (project.wheel, project.sdist):
        fetch(
            f"{index.trusted_url}/",
            distutils_form(project, file),
            f"multipart/form-data; boundary={DISTUTILS_BOUNDARY.decode()}",
        )

    assert_published(index, desk, project)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="distutils ended with Python 3.11")
def test_distutils(index: Server, desk: Desk) -> None:
    """`setup.py sdist upload`, by distutils itself."""
    (desk.home / ".pypirc").write_text(
        "[distutils]\nindex-servers = yard\n\n"
        f"[yard]\nrepository = {index.url}/legacy\nusername = __token__\npassword = {index.token}\n"
    )
    (desk.folder / "veteran.py").touch()
    (desk.folder / "setup.py").write_text(
        "from distutils.core import setup\n\n"
        "setup(name='yard-veteran', version='1.0', py_modules=['veteran'])\n"
    )

    desk.run(desk.python(), "setup.py", "--quiet", "sdist", "upload", "--repository", "yard")

    sdist = desk.folder / "dist" / "yard-veteran-1.0.tar.gz"
    assert listed(index, "yard-veteran") == {sdist.name: sha256(sdist)}


def test_answer(index: Server, build: Builder) -> None:
    """A program that publishes is told in JSON what was stored."""
    project = build("setuptools", "yard-answer")

    answer = json.loads(post(index, project.wheel))

    assert answer["filename"] == project.wheel.name
    assert answer["sha256"] == sha256(project.wheel)


def test_upload_without_a_server(desk: Desk, build: Builder, server: Server) -> None:
    """`wheelyard upload FILE...` puts files into a store, and a server on it shows them at once."""
    project = build("flit-core", "yard-direct")

    wheelyard(desk, "upload", "--store", server.store, project.wheel, project.sdist)

    assert_published(server, desk, project)


def copied(project: Built, desk: Desk) -> Path:
    """Copy a source tree, and what was built of it, to where a client may write."""
    return shutil.copytree(project.folder, desk.folder / "project")


def twine(desk: Desk, server: Server, *files: Path) -> None:
    """Publish with twine."""
    desk.run(*twine_command(server, *files), **twine_login(server.token))


def twine_command(server: Server, *files: Path) -> list[str | Path]:
    """The command line for publishing files with twine."""
    return [
        program("twine"),
        *("upload", "--non-interactive", "--disable-progress-bar"),
        *("--repository-url", server.upload_url),
        *files,
    ]


def twine_login(token: str) -> Mapping[str, str]:
    """What twine takes from its environment."""
    return {"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": token}


def distutils_form(project: Built, file: Path) -> bytes:
    """
    Lay out a form as distutils did: no type for any part, a bare name, one fixed boundary.

    The Python of today no longer has distutils, but build machines still run it.
    """
    fields = {
        ":action": b"file_upload",
        "protocol_version": b"1",
        "name": project.name.encode(),
        "version": project.version.encode(),
        "filetype": b"bdist_wheel" if file.suffix == ".whl" else b"sdist",
        "pyversion": b"py3" if file.suffix == ".whl" else b"",
        "metadata_version": b"1.0",
        "summary": b"A small project that says who it is.",
        "home_page": b"UNKNOWN",
        "license": b"UNKNOWN",
        "comment": b"",
    }
    parts = [
        b'\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s' % (name.encode(), value)
        for name, value in fields.items()
    ]
    parts.append(
        b'\r\nContent-Disposition: form-data; name="content"; filename="%s"\r\n\r\n%s'
        % (file.name.encode(), file.read_bytes())
    )
    line = b"\r\n--" + DISTUTILS_BOUNDARY
    return line + line.join(parts) + line + b"--\r\n"
