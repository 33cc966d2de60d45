"""
The image: built without Docker from its own Dockerfile, and run as a container is.

Nothing here needs a Docker engine: `kitchen.py` carries out the file, step by step, in rooms that
hold nothing but a system, a Python and what the steps put there.
"""

import base64
import hashlib
import importlib.util
import json
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import pytest
import yaml

from tests.clients.harness import REPOSITORY, Desk, new_desk, program
from tests.clients.servers import PATIENCE, TOKEN, free_port, stop
from tests.deploy.kitchen import Image, Kitchen
from tests.deploy.kitchen_guest import Guest, new_volume
from tests.deploy.kitchen_recipe import Ignored, Stage, read_recipe
from tests.operations.making import Made, make_wheel
from wheelyard.settings.reading import read_settings

FOLDER = REPOSITORY / "deploy" / "image"
DOCKERFILE = FOLDER / "Dockerfile"
PAGE = REPOSITORY / "docs" / "deploy" / "image.md"
PASSWORD = "correct horse"


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This clone as it is now, whatever somebody changes in it while the tests run."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("src", "requirements", "deploy/image"):
        shutil.copytree(REPOSITORY / name, folder / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(REPOSITORY / name, folder)
    return folder


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, clone: Path) -> Image:
    """The image, built once."""
    return Kitchen(tmp_path_factory.mktemp("kitchen") / "rooms", clone).cook()


@pytest.fixture
def guest(image: Image, tmp_path: Path) -> Guest:
    """A container with a new volume, that only who is known may read."""
    volume = new_volume(tmp_path / "volume", image)
    return Guest(image, volume, variables={"WHEELYARD_PRIVATE": "true"})


@pytest.fixture
def last_stage() -> Stage:
    """What the Dockerfile says of the image itself."""
    return read_recipe(DOCKERFILE.read_text())[-1]


def password_file(folder: Path) -> Path:
    """Write a file with one name, whose password a container may read and nobody write."""
    digest = hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()
    file = folder / "htpasswd"
    file.write_text(f"ana:{{SHA}}{base64.b64encode(digest).decode()}\n")
    file.chmod(0o444)
    return file


def push(guest: Guest, made: Made, name: str = "", password: str = "") -> int:
    """Upload a file as curl does; returns the status."""
    auth = (name, password) if name else None
    form = {"content": (made.filename, made.body)}
    url = f"{guest.url}/legacy/"
    fields = {":action": "file_upload"}
    return httpx2.post(
        url, files=form, data=fields, auth=auth, trust_env=False, timeout=PATIENCE
    ).status_code


def get(guest: Guest, path: str, token: str = "") -> httpx2.Response:
    """Ask for a page."""
    auth = ("__token__", token) if token else None
    return httpx2.get(f"{guest.url}{path}", auth=auth, trust_env=False, timeout=PATIENCE)


def new_token(guest: Guest) -> str:
    """Make a token beside the server, as a person does with `docker exec`."""
    done = guest.run("wheelyard", "token", "create", "ci", "--can", "read,upload")
    assert done.returncode == 0, done.stderr
    assert TOKEN.fullmatch(done.stdout.strip())
    return done.stdout.strip()


def install(guest: Guest, folder: Path, name: str, password: str, package: str) -> str:
    """Install a package from the container with pip; returns what the module says."""
    desk = new_desk(folder)
    python = desk.python()
    index = guest.url.replace("//", f"//{name}:{password.replace(' ', '%20')}@") + "/simple/"
    desk.run(
        *(program("pip"), "--python", python, "install", "--index-url", index, package),
        PIP_NO_CACHE_DIR="1",
    )
    return desk.run(python, "-c", f"import {package}")


def test_linted() -> None:
    """The Dockerfile has nothing that a linter of Dockerfiles minds."""
    done = subprocess.run(
        [program("deploy", "hadolint"), DOCKERFILE], check=False, capture_output=True, text=True
    )

    assert done.stdout + done.stderr == ""


def test_who_runs(last_stage: Stage) -> None:
    """The image names a user by number, so that a cluster sees that it is not root."""
    assert re.fullmatch(r"[1-9]\d*:0", last_stage.last("USER").text)
    assert last_stage.last("STOPSIGNAL").text == "SIGTERM"
    assert last_stage.last("VOLUME").text == last_stage.last("WORKDIR").text == "/data"
    assert last_stage.last("EXPOSE").text == "8080"


def test_context() -> None:
    """Of a clone nothing reaches the builder but what the image is made of."""
    ignored = Ignored((FOLDER / "Dockerfile.dockerignore").read_text())
    inside = (
        "src/wheelyard/index.py",
        "LICENSE",
        "requirements/otel.txt",
        "deploy/image/health.py",
    )
    outside = (
        *(".git/config", ".venv/bin/python", "wheelyard.toml", "requirements/dev.txt", ".env"),
        *("src/wheelyard/__pycache__/index.cpython-313.pyc", "deploy/image/auth/htpasswd"),
        *("wheelyard-data/credentials/x", "dist/x.whl", "tests/__init__.py"),
    )

    assert [path for path in inside if path in ignored] == []
    assert [path for path in outside if path not in ignored] == []


@pytest.mark.slow
def test_serving(guest: Guest, tmp_path: Path) -> None:
    """On a root that nobody can write, as a user that nobody has named, it takes and gives."""
    demo = make_wheel("demo", "1.0", content=b"print('from the image')\n")
    assert guest.health() == 1
    with guest.running() as process:
        assert guest.health() == 0
        token = new_token(guest)
        assert get(guest, "/simple/").status_code == 401
        assert push(guest, demo) == 401
        assert push(guest, demo, "__token__", token) == 200
        assert install(guest, tmp_path, "__token__", token, "demo") == "from the image\n"
        stop(process)

    with guest.running():  # what was kept is in the volume, and nowhere else
        assert get(guest, "/simple/demo/", token).status_code == 200
    assert [each.name for each in guest.volume.iterdir()] == ["wheelyard-data"]


@pytest.mark.slow
def test_own_user(image: Image, tmp_path: Path) -> None:
    """It runs as its own user, and as any other with any other group."""
    for user in ((65532, 0), (1000, 1000)):
        guest = Guest(image, new_volume(tmp_path / str(user[0]), image), user=user)
        with guest.running():
            assert push(guest, make_wheel(), "__token__", new_token(guest)) == 200


@pytest.mark.slow
def test_workers(guest: Guest) -> None:
    """Several processes share the volume, and end as one does."""
    with guest.running("serve", "--host", "0.0.0.0", "--workers", "2") as process:  # noqa: S104
        assert guest.health() == 0
        assert push(guest, make_wheel(), "__token__", new_token(guest)) == 200
        stop(process)


@pytest.mark.slow
def test_in_place_of_pypiserver(image: Image, tmp_path: Path) -> None:
    """The command line, the passwords and the packages of pypiserver go on as they were."""
    packages = tmp_path / "packages"
    packages.mkdir()
    packages.chmod(0o777)
    make_wheel("demo", "1.0", content=b"print('from the folder')\n").write(packages)
    mounts = {"/data/.htpasswd": password_file(tmp_path), "/data/packages": packages}
    guest = Guest(image, _volume_with(tmp_path / "volume", image, mounts), mounts=mounts)

    arguments = ("run", "-P", "/data/.htpasswd", "-a", "update,download,list", "/data/packages")
    with guest.running(*arguments):
        assert guest.health() == 0
        assert get(guest, "/simple/demo/").status_code == 401
        assert install(guest, tmp_path, "ana", PASSWORD, "demo") == "from the folder\n"
        assert push(guest, make_wheel("demo", "2.0"), "ana", PASSWORD) == 200
    with guest.running("run", "-P", ".htpasswd", "packages"):
        page = get(guest, "/simple/demo/").text
        assert "demo-2.0" in page

    assert (packages / ".wheelyard" / "projects").is_dir()
    assert not (guest.volume / "wheelyard-data").exists()


@pytest.mark.slow
def test_composed(image: Image, tmp_path: Path) -> None:
    """What compose.yaml starts wants a name and a password for everything."""
    service = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["wheelyard"]
    variables = {name: _default(value) for name, value in service["environment"].items()}
    folder = tmp_path / "auth"
    folder.mkdir()
    password_file(folder)
    (image.root / "etc" / "wheelyard").mkdir(exist_ok=True)  # Docker makes what is mounted on
    volume = new_volume(tmp_path / "volume", image)
    mounts = {"/etc/wheelyard": folder}
    guest = Guest(image, volume, mounts, variables, user=(65532, 0))

    with guest.running(*service["command"]):
        assert get(guest, "/simple/").status_code == 401
        assert push(guest, make_wheel(content=b"print(1)"), "ana", PASSWORD) == 200
        assert install(guest, tmp_path, "ana", PASSWORD, "demo") == "1\n"


def test_compose_file() -> None:
    """compose.yaml is what Compose takes, and gives the container nothing that it does not need."""
    file = FOLDER / "compose.yaml"
    check = program("deploy", "check-jsonschema")
    subprocess.run([check, "--builtin-schema", "vendor.compose-spec", file], check=True)
    service = yaml.safe_load(file.read_text())["services"]["wheelyard"]

    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [_default(port) for port in service["ports"]] == ["127.0.0.1:8080:8080"]
    assert int(service["stop_grace_period"].removesuffix("s")) > 60
    context = (FOLDER / service["build"]["context"]).resolve()
    assert context / service["build"]["dockerfile"] == DOCKERFILE


def test_cloud_build_file() -> None:
    """cloudbuild.yaml is what Cloud Build takes, and fills in what the Dockerfile asks for."""
    file = FOLDER / "cloudbuild.yaml"
    check = program("deploy", "check-jsonschema")
    subprocess.run([check, "--builtin-schema", "vendor.cloudbuild", file], check=True)
    build = yaml.safe_load(file.read_text())
    used = set(re.findall(r"\$(_[A-Z]+)", json.dumps([build["steps"], build["images"]])))
    first = read_recipe(DOCKERFILE.read_text())[0]
    declared = re.findall(r"^ARG (\w+)", DOCKERFILE.read_text(), re.MULTILINE)
    (step,) = build["steps"]

    assert used == set(build["substitutions"])
    assert "--file=deploy/image/Dockerfile" in step["args"]
    assert build["substitutions"]["_PYTHON"] == first.base
    given = re.findall(r"--build-arg=(\w+)", " ".join(step["args"]))
    assert sorted(given) == sorted(declared)


@pytest.mark.slow
def test_nothing_left_behind(image: Image) -> None:
    """The image has no pip, no cache, no source tree, and no program that runs as somebody else."""
    below = [path for path in image.root.rglob("*") if not path.is_symlink()]
    names = {path.name for path in below}

    assert [path for path in below if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)] == []
    assert names.isdisjoint({"pip", "hatchling", "setuptools", ".cache", "pyproject.toml"})
    assert {path.name for path in (image.root / "data").parent.iterdir()} >= {"data", "opt"}
    assert list((image.root / "data").iterdir()) == []
    assert list((image.root / "tmp").iterdir()) == []


@pytest.mark.slow
def test_compiled(image: Image) -> None:
    """Every module is compiled, and in a way that does not depend on when that was done."""
    site = image.root / "opt" / "wheelyard" / "lib"
    for module in site.glob("python*/site-packages/wheelyard/**/*.py"):
        head = Path(importlib.util.cache_from_source(str(module))).read_bytes()[4:8]
        assert int.from_bytes(head, "little") == 1  # unchecked-hash, as PEP 552 numbers them


@pytest.mark.slow
def test_same_again(image: Image, clone: Path, tmp_path: Path) -> None:
    """Two builds of one clone have the same files with the same bytes."""
    again = Kitchen(tmp_path / "rooms", clone).cook()

    first, second = (dict(each.files("/opt")) for each in (image, again))
    assert {path for path in first | second if first.get(path) != second.get(path)} == set()


@pytest.mark.slow
def test_without_rooms(clone: Path, tmp_path: Path) -> None:
    """Where no namespace may be opened, the same steps make a program that works."""
    image = Kitchen(tmp_path / "flat", clone, has_walls=False).cook()
    python = image.root / "opt" / "wheelyard" / "bin" / "python"
    desk = Desk(tmp_path, tmp_path / "home")
    store = ("--store", tmp_path / "store")

    desk.run(python, "-Im", "wheelyard", "upload", *store, make_wheel().write(tmp_path))
    assert "demo" in desk.run(python, "-Im", "wheelyard", "list", *store)
    assert stat.S_IMODE((image.root / "data").stat().st_mode) == 0o1777


@pytest.mark.slow
def test_size(image: Image) -> None:
    """The page says how large the image is on top of its base, to a tenth."""
    found = re.search(r"adds (\d+) MB", PAGE.read_text())
    assert found is not None
    files = (image.root / "opt").rglob("*")
    size = sum(path.lstat().st_size for path in files if path.is_file()) / 1e6

    assert size == pytest.approx(int(found[1]), rel=0.1)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 0),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", 1),
        (b"", 1),
    ],
)
@pytest.mark.parametrize(
    "variable", ["WHEELYARD_PORT", "WHEELYARD_SERVER_PORT", "PORT", "PYPISERVER_PORT"]
)
def test_health(answer: bytes, status: int, variable: str) -> None:
    """The health check asks at the port that the server was told of, and goes by the answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)  # where nobody comes
        thread = threading.Thread(target=_answer, args=(listener, answer))
        thread.start()
        port = str(listener.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-IS", FOLDER / "health.py"],
            env={"PORT": "", variable: port},
            check=False,
            capture_output=True,
        )
        thread.join()

    assert done.returncode == status
    assert bool(done.stdout) == bool(status)


@pytest.mark.parametrize("name", ["WHEELYARD_PORT", "WHEELYARD_SERVER_PORT"])
def test_health_of_two_ports(name: str) -> None:
    """Where a platform names another port, the health check takes the one that the server does."""
    ports = {"PORT": "3", name: "2"}
    command = f"{sys.executable} -IS {FOLDER / 'health.py'}"
    done = subprocess.run(command.split(), env=ports, check=False, capture_output=True, text=True)
    settings = read_settings(file=None, overrides={}, environ=ports)
    assert f"on port {settings.server.port}:" in done.stdout


def test_health_of_nobody() -> None:
    """Where nothing listens, the health check says so in one line."""
    done = subprocess.run(
        [sys.executable, "-IS", FOLDER / "health.py"],
        env={"PORT": str(free_port())},
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert done.stdout.startswith("nothing answers on port")
    assert done.stderr == ""


def _answer(listener: socket.socket, answer: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(1024)
        connection.sendall(answer)


def _default(text: str) -> str:
    """Fill in what Compose takes where nothing is said."""
    return re.sub(r"\$\{\w+:-(.*?)\}", r"\1", str(text))


def _volume_with(folder: Path, image: Image, mounts: dict[str, Path]) -> Path:
    """Make a volume with the places in it that something is mounted on, as Docker does."""
    volume = new_volume(folder, image)
    for target, source in mounts.items():
        place = volume / Path(target).relative_to("/data")
        place.mkdir() if source.is_dir() else place.touch()
    return volume
