"""The image: built from its own Dockerfile by buildah, and run as a container is."""

import filecmp
import json
import re
import socket
import stat
import subprocess
import sys
import threading
import tomllib
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import bcrypt
import httpx2
import pytest
import yaml
from packaging.utils import canonicalize_name

from tests.clients.harness import REPOSITORY, new_sandbox, program
from tests.deploy import containers, images
from tests.deploy.containers import Buildah, Container
from tests.distributions import Distribution, make_wheel
from tests.http_server import TOKEN
from tests.plain_http import LOCALLY
from tests.ports import free_port
from tests.upstream.fake_upstream import running_fake_upstream
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.waiting import TIMEOUT_SECONDS
from tools import debian
from wheelyard.settings.load import load_settings
from wheelyard.settings.sections import Settings

FOLDER = REPOSITORY / "deploy" / "image"
PAGE = REPOSITORY / "docs" / "deploy" / "image.md"
NOBODY = "1234567:0"
"""A user as OpenShift makes one up: no name, and the group 0."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("", marks=pytest.mark.weekly),
        pytest.param("amd64", marks=pytest.mark.downloads),
        pytest.param("arm64", marks=pytest.mark.downloads),
    ],
    ids=lambda processor: processor or "small",
)
def buildah(request: pytest.FixtureRequest) -> Buildah:
    """The storage that has the image, and a container of it: on a small base, or as released."""
    containers.require_buildah()
    processor: str = request.param
    return images.of_release(processor) if processor else images.on_small_base()


@pytest.fixture
def container(buildah: Buildah, tmp_path: Path) -> Container:
    """The container with a new volume, that only who is known may read, as a nameless user."""
    mounts = {"/data": tmp_path / "volume", "/tmp": tmp_path / "tmp"}  # noqa: S108
    for folder in mounts.values():
        folder.mkdir()
        folder.chmod(0o1777)
    return Container(buildah, "image", NOBODY, mounts, {"WHEELYARD_ACCESS_PRIVATE": "true"})


@pytest.fixture(scope="module")
def config(buildah: Buildah) -> dict[str, Any]:
    """The configuration of the image."""
    shown = yaml.safe_load(buildah.run("inspect", "--type=image", "wheelyard"))
    found: dict[str, Any] = json.loads(shown["Config"])["config"]
    return found


def push(url: str, distribution: Distribution, token: str = "") -> int:
    """Upload a file as curl does; return the status."""
    form, fields = (
        {"content": (distribution.filename, distribution.body)},
        {":action": "file_upload"},
    )
    auth = ("__token__", token) if token else None
    with httpx2.Client(timeout=TIMEOUT_SECONDS, auth=auth, **LOCALLY) as client:
        return client.post(f"{url}/legacy/", files=form, data=fields).status_code


def test_the_dockerfile_passes_its_linter() -> None:
    """The Dockerfile has nothing that a linter of Dockerfiles minds."""
    lint = (program("deploy", "hadolint"), images.DOCKERFILE)
    done = subprocess.run(lint, check=False, capture_output=True, text=True)

    assert done.stdout + done.stderr == ""


def test_what_the_dockerfile_says() -> None:
    """The Dockerfile names a user that a cluster sees is not root, its port and its volume."""
    _, _, last = images.DOCKERFILE.read_text().rpartition("\nFROM ")
    instructions = dict(re.findall(r"^([A-Z]+) (.*)$", last, re.MULTILINE))

    assert re.fullmatch(r"[1-9]\d*:0", instructions["USER"])
    assert instructions["VOLUME"] == instructions["WORKDIR"] == "/data"
    assert (instructions["EXPOSE"], instructions["STOPSIGNAL"]) == ("8080", "SIGTERM")
    command = [*json.loads(instructions["ENTRYPOINT"]), *json.loads(instructions["CMD"])]
    assert command == ["wheelyard", "serve", "--host", "0.0.0.0"]  # noqa: S104


def test_what_the_dockerfile_copies_is_enough(tmp_path: Path) -> None:
    """The wheel is built from nothing but what the Dockerfile copies before that."""
    before, _, _ = images.DOCKERFILE.read_text().partition(" wheel --no-index ")
    copied = re.findall(r"^COPY (.*) \S+$", before, re.MULTILINE)
    images.copy(" ".join(copied).split(), tmp_path)
    build = (sys.executable, "-m", "hatchling", "build", "-t", "wheel")

    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)

    (wheel,) = tmp_path.glob("dist/*.whl")
    packed = {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
    assert packed > {"__main__.py", "tokens.md", "LICENSE", "entry_points.txt"}


def test_what_it_says(config: dict[str, Any]) -> None:
    """The image names a user that a cluster sees is not root, its port, its volume, its labels."""
    labels = {name.rpartition(".")[2]: text for name, text in config["Labels"].items()}

    assert re.fullmatch(r"[1-9]\d*:0", config["User"])
    assert config["StopSignal"] == "SIGTERM"
    assert [*config["Volumes"]] == [config["WorkingDir"]] == ["/data"]
    assert [*config["ExposedPorts"]] == ["8080/tcp"]
    assert labels["version"] == images.VERSION
    assert re.fullmatch("[0-9a-f]+", labels["revision"])


@pytest.mark.slow
def test_the_container_serves_as_any_user_id(
    container: Container, config: dict[str, Any], tmp_path: Path
) -> None:
    """As an arbitrary user id, the container serves, and writes to its volume only."""
    command = (*config["Entrypoint"], *config["Cmd"])
    kind, *health = config["Healthcheck"]["Test"]
    demo, sandbox = make_wheel(content=b"print('from the image')\n"), new_sandbox(tmp_path)
    with container.serving(tmp_path / "log.txt", *command) as url:
        port = url.rpartition(":")[2]
        assert kind == "CMD"
        assert container.call(*health, PORT=port).returncode == 0
        token = container.output("wheelyard", "token", "create", "ci", "--can", "read,upload")
        assert TOKEN.fullmatch(token.strip())
        assert httpx2.get(f"{url}/simple/", **LOCALLY).status_code == 401
        docs = httpx2.get(f"{url}/-/docs/tokens/", **LOCALLY)
        assert '<h1 id="api-tokens">' in docs.text
        assert push(url, demo) == 401
        assert push(url, demo, token.strip()) == 200
        index = url.replace("//", f"//__token__:{token.strip()}@") + "/simple/"
        python = sandbox.python()
        pip = (program("pip"), "--python", python, "install", "--no-cache-dir", "demo")
        sandbox.run(*pip, "--index-url", index)
        assert sandbox.run(python, "-c", "import demo") == "from the image\n"

    assert container.call(*health, PORT=port).returncode == 1
    assert "demo" in container.output("wheelyard", "list")
    assert [path.name for path in container.mounts["/data"].iterdir()] == ["wheelyard-data"]
    assert [path for path in container.root.rglob("*") if path.lstat().st_uid == 1234567] == []


@pytest.mark.slow
@pytest.mark.parametrize("user", ["", "1000:1000"])
def test_the_container_runs_as_any_user_and_group(container: Container, user: str) -> None:
    """The container runs as its own user, and as any other with any other group."""
    own = replace(container, user=user, variables={})

    assert TOKEN.search(
        own.output("wheelyard", "token", "create", "ci", "--store", "wheelyard-data")
    )


def test_what_is_in_it(container: Container) -> None:
    """The image has no pip and no setuid program; every module is compiled for ever."""
    place = container.root / "opt" / "wheelyard"
    below = [path for path in place.rglob("*") if not path.is_symlink()]
    modules = list(place.glob("lib/python*/site-packages/wheelyard/**/*.py"))

    assert [path for path in below if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)] == []
    assert {path.name for path in below}.isdisjoint({"pip", "hatchling", "setuptools"})
    assert [*(container.root / "data").iterdir(), *(container.root / "tmp").iterdir()] == []
    assert modules
    # the third kind of PEP 552: by hash and never compared, so that no date gets in
    compiled = [[*module.parent.glob(f"__pycache__/{module.stem}.*.pyc")] for module in modules]
    heads = {file.read_bytes()[4:8] for (file,) in compiled}
    assert heads == {(1).to_bytes(4, "little")}


@pytest.mark.downloads
@pytest.mark.slow
def test_the_same_commit_gives_the_same_image(tmp_path: Path) -> None:
    """A second build, in another folder and by another umask, gives the same files."""
    containers.require_buildah()
    first, clone, second = images.released(), tmp_path / "clone", tmp_path / "second"
    images.copy((*images.INPUTS, ".git"), clone)
    images.build_release(clone, second)

    names = [path.name for path in sorted(second.iterdir())]
    assert len(names) == 3
    assert filecmp.cmpfiles(first, second, names, shallow=False) == (names, [], [])


@pytest.mark.downloads
@pytest.mark.parametrize("buildah", ["amd64", "arm64"], indirect=True)
def test_the_sbom_has_what_is_in_the_image(buildah: Buildah) -> None:
    """The SBOM of a release's image names the packages of Debian and Python that are in it."""
    shown = yaml.safe_load(buildah.run("inspect", "--type=image", "wheelyard"))
    processor = json.loads(shown["Config"])["architecture"]
    (file,) = images.released().glob(f"*-{processor}.cdx.json")
    sbom = json.loads(file.read_text())
    root = Container(buildah, "image").root
    status = (root / "var/lib/dpkg/status").read_text()
    installed = root.glob("opt/wheelyard/lib/python*/site-packages/*.dist-info")

    purls = {component.get("purl", "") for component in sbom["components"]}
    named = {re.match(r"pkg:(\w+)/(?:debian/)?([^@]+)", purl) for purl in purls if purl}
    names = {(match[1], match[2]) for match in named if match}
    packages = re.findall(r"^Package: (.*)$", status, re.MULTILINE)
    python = {canonicalize_name(path.name.split("-")[0]) for path in installed}
    assert names == {("deb", name) for name in packages} | {("pypi", name) for name in python}
    assert {"apt", "bash", "dash", "dpkg", "perl-base"}.isdisjoint(packages)
    assert sbom["metadata"]["component"]["purl"].endswith(
        f"arch={processor}&repository_url=ghcr.io/wheelyard/wheelyard"
    )


def _environment(service: dict[str, Any], **changes: str) -> dict[str, str]:
    """Return the variables of a service, as Compose makes them of what `.env` gives."""

    def value(match: re.Match[str]) -> str:
        name, operator, word = match.groups()
        if operator == ":+":
            return word if changes.get(name) else ""
        return changes.get(name) or word

    variable = re.compile(r"\$\{(\w+)(:[-+])(.*?)\}")
    return {name: variable.sub(value, str(text)) for name, text in service["environment"].items()}


def _service() -> dict[str, Any]:
    service: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"][
        "wheelyard"
    ]
    return service


def _composed(**more: str) -> Settings:
    return load_settings(environ=_environment(_service()) | more).settings


@pytest.mark.slow
def test_composed_with_public_packages(container: Container, tmp_path: Path) -> None:
    """With compose.yaml and the page's `.env`, one URL has private and public packages."""
    (block,) = re.findall(r"/\.env <<'END'\n(.*?)END\n", PAGE.read_text(), re.DOTALL)
    dotenv = dict(line.split("=", 1) for line in block.splitlines())
    (tmp_path / "auth").mkdir()
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    (tmp_path / "auth" / "htpasswd").write_text(f"ana:{hashed}\n")
    sandbox, service = new_sandbox(tmp_path / "client"), _service()
    with running_fake_upstream() as upstream:
        upstream.publish(public_wheel("requests", "2.34.2"), public_wheel("acme-core", "9.9"))
        dotenv |= {"WHEELYARD_UPSTREAM_URL": upstream.url}
        dotenv |= {"WHEELYARD_UPSTREAM_FILE_HOSTS": upstream.file_host}
        variables = _environment(service, **dotenv)
        composed = replace(
            container,
            mounts={**container.mounts, "/etc/wheelyard": tmp_path / "auth"},
            # which only the upstream of a test needs
            variables=variables | {"WHEELYARD_UPSTREAM_ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8"},
        )
        command = ("wheelyard", *service["command"])
        with composed.serving(tmp_path / "log.txt", *command) as url:
            package = private_wheel("acme-core", "1.0", "Requires-Dist: requests")
            form = {"content": (package.filename, package.body)}
            with httpx2.Client(timeout=TIMEOUT_SECONDS, auth=("ana", "secret"), **LOCALLY) as ana:
                assert ana.post(f"{url}/legacy/", files=form).status_code == 200
            python, index = sandbox.python(), url.replace("//", "//ana:secret@") + "/simple/"
            pip = (program("pip"), "--python", python, "install", "--no-cache-dir", "acme-core")
            sandbox.run(*pip, "--index-url", index)
        names = ("import acme_core, requests", "print(acme_core.WHO, requests.WHO)")
        assert sandbox.run(python, "-c", "; ".join(names)) == "private upstream\n"
        assert upstream.asked("acme-core") == []


def test_a_settings_file_replaces_the_passwords_of_compose(tmp_path: Path) -> None:
    """compose.yaml wants names and passwords; the page's override lets a settings file decide."""
    (block,) = re.findall(r"```yaml\n(services:\n.*?)```", PAGE.read_text(), re.DOTALL)
    override = yaml.safe_load(block)["services"]["wheelyard"]["environment"]
    (tmp_path / "wheelyard.toml").write_text("[server]\ntrusted_proxies = 1\n")

    usual = _composed()
    other = _composed(**override | {"WHEELYARD_CONFIG": str(tmp_path / "wheelyard.toml")})

    assert (usual.access.private, usual.server.trusted_proxies) == (True, 0)
    assert usual.access.htpasswd_file == "/etc/wheelyard/htpasswd"
    assert (other.access.private, other.server.trusted_proxies) == (False, 1)
    assert not other.access.htpasswd_file


def test_an_index_file_is_added_to_compose() -> None:
    """The page's command for Compose applies a file of the folder that is mounted."""
    (block,) = re.findall(r"```yaml\n( *command: .*?)```", PAGE.read_text(), re.DOTALL)
    *usual, option, file = yaml.safe_load(block)["command"]
    service = _service()
    (folder,) = [each for each in service["volumes"] if isinstance(each, dict)]

    assert (usual, option) == (service["command"], "--apply")
    assert str(Path(file).parent) == folder["target"]


def test_composed_with_s3() -> None:
    """compose-s3.yaml runs the image as compose.yaml does, on a bucket of the service beside it."""
    services = yaml.safe_load((FOLDER / "compose-s3.yaml").read_text())["services"]
    usual = _service()
    ours, making, service = (services[name] for name in ("wheelyard", "bucket", "s3"))
    environment = _environment(ours)
    settings = load_settings(environ=environment).settings

    same = ("image", "build", "command", "ports", "read_only", "cap_drop", "stop_grace_period")
    assert {name: ours[name] for name in same} == {name: usual[name] for name in same}
    assert settings.access.private
    assert settings.store.downloads == "proxy"
    (script,) = making["command"]
    assert f"aws s3 mb {environment['WHEELYARD_STORE']};" in script
    assert environment.items() >= making["environment"].items()
    assert environment["AWS_ACCESS_KEY_ID"] == service["environment"]["MINIO_ROOT_USER"]
    assert ours["depends_on"] == {"bucket": {"condition": "service_completed_successfully"}}


def test_the_image_has_the_libraries_of_all_buckets() -> None:
    """The lock of the image has what each extra names: the libraries of all buckets."""
    (lock,) = set(re.findall(r"-r (requirements/(?!build)\S+)", images.DOCKERFILE.read_text()))
    locked = re.findall(r"^([\w-]+)==", (REPOSITORY / lock).read_text(), re.MULTILINE)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    named = [each for extra in project["optional-dependencies"].values() for each in extra]

    assert "obstore" in locked
    assert {re.split(r"[>=<\[]", each)[0] for each in named} <= set(locked)


def test_cloud_build_asks_for_the_same() -> None:
    """cloudbuild.yaml builds on the Dockerfile's own base, and gives the arguments of the page."""
    build = yaml.safe_load((FOLDER / "cloudbuild.yaml").read_text())
    declared = dict(re.findall(r"^ARG (\w+)=(\S+)", images.DOCKERFILE.read_text(), re.MULTILINE))
    arguments = re.findall(r"--build-arg=(\w+)", " ".join(build["steps"][0]["args"]))

    assert sorted(arguments) == sorted(declared.keys() - {"BUILDER"})
    assert build["substitutions"]["_PYTHON"] == declared["PYTHON"]


def test_the_locks_of_debian_name_the_same_packages() -> None:
    """The released image has the same packages of Debian for all processors, as the page says."""
    first, second = (
        [(package.use, package.name) for package in debian.read_lock(processor)]
        for processor in ("amd64", "arm64")
    )
    (count,) = re.findall(r"the (\d+) packages of Debian", PAGE.read_text())

    assert first == second
    assert int(count) == len([use for use, _ in first if use == "image"])


def _checked(**ports: str) -> "subprocess.CompletedProcess[str]":
    command = (sys.executable, "-IS", FOLDER / "health.py")
    return subprocess.run(command, env=ports, check=False, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("variable", "answer", "status"),
    [
        ("WHEELYARD_SERVER_PORT", b"HTTP/1.1 200 OK\r\n\r\n", 0),
        ("PORT", b"HTTP/1.1 200 OK\r\n\r\n", 0),
        ("PYPISERVER_PORT", b"HTTP/1.1 503 Service Unavailable\r\n\r\n", 1),
        ("PORT", b"", 1),
    ],
)
def test_health_check_asks_port_of_the_server(variable: str, answer: bytes, status: int) -> None:
    """The health check asks at the port that the server was told of, and goes by the answer."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1024)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT_SECONDS)  # where nobody comes
        thread = threading.Thread(target=serve)
        thread.start()
        service = {
            "WHEELYARD_SERVER_PORT": "tcp://10.0.0.1:80"
        }  # as beside a Service of Kubernetes
        done = _checked(**service | {"PORT": "", variable: str(listener.getsockname()[1])})
        thread.join()

    assert (done.returncode, bool(done.stdout)) == (status, bool(status))


def test_health_of_two_ports() -> None:
    """Where a platform names another port, the health check takes the one that the server does."""
    ports = {"PORT": "3", "WHEELYARD_SERVER_PORT": str(free_port())}
    done = _checked(**ports)

    settings = load_settings(environ=ports).settings
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(f"nothing answers on port {settings.server.port}:")
