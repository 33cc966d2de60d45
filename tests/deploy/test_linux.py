"""
Any Linux with systemd: installed by the script into a bare system, and run as the unit says.

The bare system is that of `linux_machine.py`: no systemd runs there, so the script starts nothing,
and what the unit says is done by hand as far as a namespace can do it.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
import yaml

from tests.clients.harness import REPOSITORY, system_program
from tests.clients.servers import PATIENCE, TOKEN, free_port, is_healthy, stop
from tests.deploy.gcloud import lines, tree, wrong
from tests.deploy.kitchen_walls import SYSTEM_PATH
from tests.deploy.linux_machine import Machine, bare_machine
from tests.deploy.linux_unit import Unit, identity, system_calls
from tests.operations.making import make_wheel

FOLDER = REPOSITORY / "deploy" / "linux"
UNIT = FOLDER / "wheelyard.service"
RENDER = REPOSITORY / "deploy" / "render.py"
VALUES = {
    "BUCKET": "acme-wheelyard",
    "IMAGE": "europe-west1-docker.pkg.dev/acme/wheelyard/wheelyard:1",
    "REGION": "europe-west1",
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A bare system, on which the script has been run once."""
    if os.geteuid() != 0:
        pytest.skip("a user can be made by root only")
    folder = tmp_path_factory.mktemp("machine")
    machine = bare_machine(folder)
    trap = machine.root / "trap"
    trap.mkdir()
    for name in ("compileall", "ensurepip", "pip", "sys", "venv"):
        (trap / f"{name}.py").write_text(f"open('/trap/sprung-{name}', 'w').close()\n")
    done = machine.call(
        "umask 077 && cd /trap && /clone/deploy/linux/install.sh", PYTHONPATH="/trap"
    )
    assert done.returncode == 0, done.stderr
    machine.token = done.stdout.strip()
    return machine


@pytest.mark.slow
def test_installed(machine: Machine) -> None:
    """The script makes a user, settings for it alone, and a server that goes by them."""
    port = free_port()
    with machine.service(port) as process:
        url = f"http://127.0.0.1:{port}"
        assert TOKEN.fullmatch(machine.token)
        auth = ("__token__", machine.token)
        wheel = make_wheel()
        form = {"content": (wheel.filename, wheel.body)}
        fields = {":action": "file_upload"}
        assert httpx2.get(f"{url}/simple/", trust_env=False, timeout=PATIENCE).status_code == 401
        answer = httpx2.post(
            f"{url}/legacy/", files=form, data=fields, auth=auth, trust_env=False, timeout=PATIENCE
        )
        assert answer.status_code == 200
        assert "demo" in machine.call("wheelyard list").stdout
        stop(process)

    settings = machine.root / "etc" / "wheelyard" / "wheelyard.toml"
    assert settings.stat().st_mode & 0o777 == 0o640
    user = identity(machine.root / "etc" / "passwd", "wheelyard")
    owners = {path.stat().st_uid for path in (machine.root / "var/lib/wheelyard").rglob("*")}
    assert owners == {user[0]}
    assert machine.call("wheelyard token list").stdout.count("read,upload,manage") == 1


@pytest.mark.slow
def test_where_it_is_typed(machine: Machine) -> None:
    """No file of the folder in which the script is typed is run as root."""
    assert list((machine.root / "trap").glob("sprung*")) == []


@pytest.mark.slow
def test_installed_again(machine: Machine) -> None:
    """Another run brings a new environment, keeps the one before, and touches no settings."""
    settings = machine.root / "etc" / "wheelyard" / "wheelyard.toml"
    settings.write_text(f"# mine\n{settings.read_text()}")
    first = (machine.root / "opt" / "wheelyard").readlink()
    time.sleep(1.1)  # the name of an environment is the second in which it was made

    done = machine.call("deploy/linux/install.sh")

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    second = (machine.root / "opt" / "wheelyard").readlink()
    places = {f"/opt/wheelyard.d/{each.name}" for each in machine.root.glob("opt/wheelyard.d/*")}
    assert places == {str(first), str(second)}
    assert settings.read_text().startswith("# mine\n")
    assert machine.call("wheelyard config check").returncode == 0


@pytest.mark.slow
def test_failed_installation(machine: Machine) -> None:
    """A run that fails leaves what is installed as it is, and nothing half made."""
    before = sorted(str(path) for path in machine.root.glob("opt/*"))
    environments = sorted(machine.root.glob("opt/wheelyard.d/*"))

    done = machine.call("deploy/linux/install.sh", PIP_FIND_LINKS="/nowhere")

    assert done.returncode != 0
    assert sorted(str(path) for path in machine.root.glob("opt/*")) == before
    assert sorted(machine.root.glob("opt/wheelyard.d/*")) == environments
    assert machine.call("wheelyard --version").returncode == 0


@pytest.mark.slow
def test_variables(machine: Machine) -> None:
    """What is in the file of variables holds for the commands of a person, too."""
    file = machine.root / "etc" / "wheelyard" / "environment"
    file.write_text("# a secret\nWHEELYARD_STORE=/var/lib/wheelyard/other place\n")
    try:
        done = machine.call("wheelyard token create other")
        assert done.returncode == 0, done.stderr
        assert (machine.root / "var/lib/wheelyard/other place/wheelyard.json").exists()
    finally:
        file.unlink()


def test_without_rights() -> None:
    """Whoever is not root is told to type sudo, and nothing is done."""
    for command in (FOLDER / "install.sh", FOLDER / "wheelyard"):
        text = command.read_text()
        assert re.search(r'\[ "\$\(id -u\)" !?= 0 \]', text)
        assert "type sudo before it" in text
        done = subprocess.run(["/bin/sh", "-n", command], check=False, capture_output=True)
        assert done.stderr == b""


def test_unit() -> None:
    """In the eyes of systemd the unit leaves the service little to do to the machine."""
    analyze = system_program("systemd-analyze")
    done = subprocess.run(
        [analyze, "security", "--offline=yes", "--threshold=20", UNIT],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout
    assert int(Unit(UNIT.read_text()).one("TimeoutStopSec")) > 60


def test_unit_verified(tmp_path: Path) -> None:
    """Every setting of the unit is one that systemd knows."""
    analyze = system_program("systemd-analyze")
    unit = tmp_path / UNIT.name
    # what is not installed here is no mistake of the unit's
    unit.write_text(UNIT.read_text().replace("/opt/wheelyard/bin/wheelyard", sys.executable))

    done = subprocess.run([analyze, "verify", unit], check=False, capture_output=True, text=True)

    assert [line for line in done.stderr.splitlines() if UNIT.name in line] == []


@pytest.mark.slow
def test_system_calls(tmp_path: Path) -> None:
    """A server that is asked and written to does nothing that the unit would refuse."""
    strace, analyze = system_program("strace"), system_program("systemd-analyze")
    trace, port = tmp_path / "trace.txt", free_port()
    options = ("serve", "--workers", "2", "--port", str(port), "-P", ".", "-a", ".")
    command = (strace, "-f", "-qq", "-o", trace, sys.executable, "-m", "wheelyard", *options)
    environment = {"PATH": SYSTEM_PATH, "PYTHONPATH": str(REPOSITORY / "src")}
    with (tmp_path / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    end = time.monotonic() + 3 * PATIENCE
    while not is_healthy(f"127.0.0.1:{port}") and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.2)
    wheel = make_wheel()
    form = {"content": (wheel.filename, wheel.body)}
    url = f"http://127.0.0.1:{port}/"
    answer = httpx2.post(
        url, files=form, data={":action": "file_upload"}, trust_env=False, timeout=PATIENCE
    )
    page = httpx2.get(f"{url}simple/demo/", trust_env=False, timeout=PATIENCE)
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(PATIENCE)
    listing = subprocess.run(
        [analyze, "syscall-filter"], check=True, capture_output=True, text=True
    )
    made = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE))

    assert (answer.status_code, page.status_code) == (200, 200)
    assert {"accept4", "linkat", "fsync"} & made
    assert (
        made - system_calls(listing.stdout, Unit(UNIT.read_text()).one("SystemCallFilter")) == set()
    )


@pytest.mark.parametrize("page", ["image", "linux"])
def test_gcloud_lines(page: str) -> None:
    """Every line for gcloud on these pages names a command and flags that gcloud has."""
    tree()
    found = lines(REPOSITORY / "docs" / "deploy" / f"{page}.md")

    assert len(found) > 5
    assert [each for line in found for each in wrong(line)] == []


def test_named_files() -> None:
    """Every file of deploy/ that the page names is there, and every one there is named."""
    page = (REPOSITORY / "docs" / "deploy" / "linux.md").read_text()
    named = set(re.findall(r"deploy/linux/([\w.-]+\w)", page))
    installed = {"wheelyard", "wheelyard.service", "wheelyard.toml"}  # by the script

    assert named | installed == {file.name for file in FOLDER.iterdir()}


def test_cloud_init() -> None:
    """The machine of Compute Engine runs the image as strictly as compose.yaml, without a hole."""
    done = subprocess.run(
        [sys.executable, RENDER, FOLDER / "cloud-init.yaml"],
        env=VALUES,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("#cloud-config\n")
    told = yaml.safe_load(done.stdout)
    settings, file = told["write_files"]
    unit = Unit(file["content"])
    command = unit.one("ExecStart").split()

    assert file["path"] == "/etc/systemd/system/wheelyard.service"
    assert {"--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"} <= set(command)
    assert "--env=WHEELYARD_PRIVATE=true" in command
    assert "--env=WHEELYARD_STORE=gs://acme-wheelyard" in command
    assert "--env=WHEELYARD_CREDENTIALS_STORE=gs://acme-wheelyard-credentials" in command
    assert f"--env=WHEELYARD_CONFIG={settings['path']}" in command
    assert "--volume=/etc/wheelyard:/etc/wheelyard:ro" in command
    assert settings["permissions"] == "0644"  # the container runs as a user of its own
    assert command[-1] == VALUES["IMAGE"]
    assert told["runcmd"][-1] == "systemctl start wheelyard.service"
    waits = re.search(r"-t (\d+)", unit.one("ExecStop"))
    assert waits is not None
    assert 60 < int(waits[1]) < int(unit.one("TimeoutStopSec"))


def test_settings(tmp_path: Path) -> None:
    """The settings that are installed, and those that the page has, are ones the server takes."""
    file = FOLDER / "wheelyard.toml"
    assert "private = true" in file.read_text()
    assert refusal(file) == ""

    cloud = FOLDER / "cloud-init.yaml"
    (theirs, _) = yaml.safe_load(cloud.read_text())["write_files"]
    page = (REPOSITORY / "docs" / "deploy" / "linux.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    lines_there = cloud.read_text().splitlines()
    for text in (theirs["content"], yaml.safe_load(block)["content"]):
        (tmp_path / "wheelyard.toml").write_text(text)
        assert refusal(tmp_path / "wheelyard.toml") == ""
    assert block.splitlines()[0] in lines_there  # as far to the right as there


def refusal(file: Path) -> str:
    """Return what the server has against settings."""
    command = (sys.executable, "-m", "wheelyard", "config", "check", "--config", file)
    environment = {"PATH": SYSTEM_PATH, "PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def test_both_kinds_of_addresses() -> None:
    """The file for nginx listens by IPv6 wherever it listens by IPv4."""
    listening = re.findall(r"listen (\S+?)( .*)?;", (FOLDER / "nginx.conf").read_text())

    by_4 = {(f"[::]:{port}", rest) for port, rest in listening if port.isdigit()}
    assert by_4 == {(port, rest) for port, rest in listening if not port.isdigit()} != set()


def test_nginx(tmp_path: Path) -> None:
    """The file for nginx is one that it takes, once there is a certificate."""
    nginx = system_program("nginx")
    openssl = system_program("openssl")
    key, certificate = tmp_path / "privkey.pem", tmp_path / "fullchain.pem"
    subject = ("-subj", "/CN=packages.example.com", "-days", "1")
    made = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    site = (FOLDER / "nginx.conf").read_text()
    site = site.replace("/etc/letsencrypt/live/packages.example.com", str(tmp_path))
    whole = tmp_path / "nginx.conf"
    kinds = ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")
    scratch = "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in kinds)
    places = f"pid {tmp_path}/pid;\nerror_log {tmp_path}/error.log;\n"
    whole.write_text(f"{places}events {{}}\nhttp {{\naccess_log off;\n{scratch}{site}}}\n")

    done = subprocess.run([nginx, "-t", "-c", whole], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_caddy() -> None:
    """Caddy takes its file."""
    caddy = system_program("caddy")
    command = (caddy, "adapt", "--adapter", "caddyfile", "--config", FOLDER / "Caddyfile")
    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_caddy_beside_others(tmp_path: Path) -> None:
    """The lines for Caddy leave the sites that are there, however often they are typed."""
    page = (REPOSITORY / "docs" / "deploy" / "linux.md").read_text()
    (block,) = [
        each for each in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "tee -a" in each
    ]
    lines_typed = block.replace("/etc/caddy", str(tmp_path)).splitlines()[:2]
    before = ":81 {\n\trespond hello\n}\n"
    (tmp_path / "Caddyfile").write_text(before)
    for _ in range(2):
        script = "\n".join(('set -e\nsudo() { "$@"; }', *lines_typed))
        subprocess.run(["/bin/sh", "-c", script], cwd=REPOSITORY, check=True, capture_output=True)

    assert (tmp_path / "Caddyfile").read_text() == f"{before}import wheelyard.caddy\n"
    caddy = system_program("caddy")
    command = (caddy, "adapt", "--adapter", "caddyfile", "--config", tmp_path / "Caddyfile")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "packages.example.com" in done.stdout
    assert "hello" in done.stdout
