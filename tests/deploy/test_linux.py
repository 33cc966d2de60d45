"""Any Linux with systemd: the unit, the command, the proxies, the settings, Compute Engine."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
import yaml

from tests.clients.harness import REPOSITORY, program, system_program
from tests.deploy.running import VALUES, Unit, index_tables, without_comments
from tests.distributions import make_wheel
from tests.http_server import WHEELYARD, launch_server
from tests.plain_http import LOCALLY
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.model.index_file import IndexTables
from wheelyard.settings.load import load_settings

FOLDER = REPOSITORY / "deploy" / "linux"
UNIT = FOLDER / "wheelyard.service"
PAGE = REPOSITORY / "docs" / "deploy" / "linux.md"
ANYWHERE = "0.0.0.0"  # noqa: S104 - the image's
ENVIRONMENT = r"""# a comment
;WHEELYARD_A=not this
A=1
  WHEELYARD_STORE=gs://acme-packages
CR=2{cr}
ENDS=two  words {tab}
 SPACED = x = y
DOUBLE="it's, with  space "
SINGLE='a\b "c" '
INSIDE=a"b"'c
EMPTY=
NONE=''
HASH=#no comment
my-var=x
export NAME=5
 9=nine
no sign
=nothing
LAST=end""".format(cr="\r", tab="\t")
READ = {
    "A": "1",
    "WHEELYARD_STORE": "gs://acme-packages",
    "CR": "2",
    "ENDS": "two  words",
    "SPACED": "x = y",
    "DOUBLE": "it's, with  space ",
    "SINGLE": 'a\\b "c" ',
    "INSIDE": 'a"b"\'c',
    "EMPTY": "",
    "NONE": "",
    "HASH": "#no comment",
    "LAST": "end",
}
NO_VARIABLES = ("14", "15", "16", "17", "18")
"""The lines that hold none."""


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program, and return how it has ended."""
    environment = {"PATH": os.defpath, **variables}
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["install.sh", "wheelyard"])
def test_without_root_nothing_is_changed(name: str) -> None:
    """Without root, the script asks for sudo and changes nothing."""
    nobody = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []

    # its text: that user may not be able to read the folder of the clone
    done = run(*nobody, "/bin/sh", "-c", (FOLDER / name).read_text())

    assert (done.returncode, done.stdout) == (1, "")
    assert "type sudo before it" in done.stderr


def test_the_script_is_sound() -> None:
    """A linter of shell scripts minds nothing in both, and the files that they install exist."""
    scripts = [FOLDER / name for name in ("install.sh", "wheelyard")]

    assert run(program("workflows", "shellcheck"), *scripts).stdout == ""
    named = re.findall(r"\$(clone|here)/([\w./-]+)", scripts[0].read_text())
    assert len(named) > 8
    places = {"clone": REPOSITORY, "here": FOLDER}
    assert [name for place, name in named if not (places[place] / name).exists()] == []


def test_the_unit_limits_what_the_service_can_do(tmp_path: Path) -> None:
    """Systemd knows every setting of the unit, which lets the service do little to the machine."""
    analyze, unit = system_program("systemd-analyze"), tmp_path / UNIT.name
    # what is not installed here is no mistake of the unit's
    unit.write_text(UNIT.read_text().replace("/opt/wheelyard/bin/wheelyard", sys.executable))

    verified = run(analyze, "verify", unit)
    done = run(analyze, "security", "--offline=yes", "--threshold=20", UNIT)

    assert [line for line in verified.stderr.splitlines() if UNIT.name in line] == []
    assert done.returncode == 0, done.stdout
    assert int(Unit(UNIT.read_text()).one("TimeoutStopSec")) > 60


def _system_calls(listing: str, name: str) -> set[str]:
    """Return the system calls of a set, as `systemd-analyze syscall-filter` lists all sets."""
    sets: dict[str, list[str]] = {}
    for line in listing.splitlines():
        if line.startswith("@"):
            sets[line.strip()] = []
        elif line.startswith("    ") and not line.strip().startswith("#"):
            sets[[*sets][-1]].append(line.strip())
    calls, waiting = set[str](), [name]
    while waiting:
        inner = sets[waiting.pop()]
        calls |= {member for member in inner if not member.startswith("@")}
        waiting += [member for member in inner if member.startswith("@")]
    return calls


@pytest.mark.slow
def test_a_server_makes_no_call_that_the_unit_refuses(tmp_path: Path) -> None:
    """A server that is asked and written to does nothing that the unit would refuse."""
    strace, analyze = system_program("strace"), system_program("systemd-analyze")
    trace = tmp_path / "trace.txt"
    environment = {"PATH": os.defpath, "PYTHONPATH": str(REPOSITORY / "src")}
    wheel = make_wheel()
    form, fields = {"content": (wheel.filename, wheel.body)}, {":action": "file_upload"}
    server = launch_server(
        *("--workers", "2", "-P", ".", "-a", "."),
        folder=tmp_path,
        environment=environment,
        log=tmp_path / "log.txt",
        program=(strace, "-f", "-qq", "-o", str(trace), *WHEELYARD),
    )
    try:
        server.wait_until_healthy()
        url = f"http://127.0.0.1:{server.port}/"
        with httpx2.Client(base_url=url, timeout=TIMEOUT_SECONDS, **LOCALLY) as client:
            assert client.post("/", files=form, data=fields).status_code == 200
            assert client.get("/simple/demo/").status_code == 200
    finally:
        server.send_signal(signal.SIGTERM)
        server.process.wait(TIMEOUT_SECONDS)
    calls = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE))
    filtered = Unit(UNIT.read_text()).one("SystemCallFilter")

    assert {"accept4", "linkat", "fsync"} & calls
    assert calls - _system_calls(run(analyze, "syscall-filter").stdout, filtered) == set()


def _variables(folder: Path, text: str) -> tuple[dict[str, str], str, int]:
    """Return the variables that the command passes on, its messages, and its exit status."""
    if os.geteuid() != 0:
        pytest.skip("the command is for root")
    (folder / "environment").write_text(text, newline="")
    (folder / "setpriv").write_text("#!/bin/sh\nexec env\n")
    (folder / "setpriv").chmod(0o755)
    script = (FOLDER / "wheelyard").read_text()
    script = script.replace("/etc/wheelyard/environment", f"{folder}/environment")
    done = run("/bin/sh", "-c", script, "wheelyard", "list", PATH=f"{folder}:{os.defpath}")
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name: value for name, _, value in pairs}, done.stderr, done.returncode


def test_the_file_of_variables_is_the_same_for_command_and_service(tmp_path: Path) -> None:
    """The file of variables says to the command what it says to the service, or is told of."""
    found, output, code = _variables(tmp_path, ENVIRONMENT)

    assert code == 0, output
    assert {name: found.get(name) for name in READ} == READ
    start = f"wheelyard: {tmp_path}/environment, line "
    numbers = [line.removeprefix(start).partition(":")[0] for line in output.splitlines()]
    assert numbers == [*NO_VARIABLES]
    assert not {"NAME", "my-var", "9", ""} & set(found)
    assert found["WHEELYARD_CONFIG"] == "/etc/wheelyard/wheelyard.toml"
    other = _variables(tmp_path, "WHEELYARD_CONFIG=/etc/wheelyard/other.toml\n")[0]
    assert other["WHEELYARD_CONFIG"] == "/etc/wheelyard/other.toml"


@pytest.mark.parametrize(
    "value", [r"a\b", r'"a\"', r'"a\b"', '"a', "'a", "'a'b", "'a'b'", '"a" "b"', "a\\\nB=more"]
)
def test_variable_that_systemd_reads_otherwise(tmp_path: Path, value: str) -> None:
    """A value that the service would get otherwise stops the command, with file and line."""
    found, output, code = _variables(tmp_path, f"A=1\nB={value}\n")

    assert (found, code) == ({}, 1)
    assert output.startswith(f"wheelyard: {tmp_path}/environment, line 2: ")


def test_the_machine_runs_the_image_as_strictly_as_compose(tmp_path: Path) -> None:
    """The machine of Compute Engine runs the image as strictly as compose.yaml does."""
    render = (sys.executable, REPOSITORY / "deploy/render.py", FOLDER / "cloud-init.yaml")
    rendered = run(*render, **VALUES).stdout
    settings, index, file = yaml.safe_load(rendered)["write_files"]
    unit = Unit(file["content"])
    command = unit.one("ExecStart").split()
    words = (word.removeprefix("--env=").partition("=") for word in command if "--env=" in word)
    (tmp_path / "wheelyard.toml").write_text(settings["content"])
    environ = {name: text for name, _, text in words}
    environ["WHEELYARD_CONFIG"] = str(tmp_path / Path(environ["WHEELYARD_CONFIG"]).name)
    loaded = load_settings(environ=environ).settings
    waits = re.search(r"-t (\d+)", unit.one("ExecStop"))

    assert rendered.startswith("#cloud-config\n")
    assert {"--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"} <= set(command)
    assert loaded.access.private
    assert loaded.store.location == f"gs://{VALUES['BUCKET']}"
    assert loaded.access.credentials_store == f"gs://{VALUES['BUCKET']}-credentials"
    assert f"--volume={Path(settings['path']).parent}:/etc/wheelyard:ro" in command
    # the container runs as a user of its own
    assert settings["permissions"] == index["permissions"] == "0644"
    assert Path(index["path"]).parent == Path(settings["path"]).parent
    assert index_tables(index["content"], settings["content"]) == IndexTables()
    start = command.index(VALUES["IMAGE"])
    assert command[start + 1 :] == ["serve", "--host", ANYWHERE, "--apply", index["path"]]
    assert waits is not None
    assert 60 < int(waits[1]) < int(unit.one("TimeoutStopSec"))


def test_the_installed_files_are_taken_by_the_server(tmp_path: Path) -> None:
    """The files that are installed, and those that the page has, are ones the server takes."""
    installed = load_settings(file=FOLDER / "wheelyard.toml", environ={}).settings
    texts = [(FOLDER / name).read_text() for name in ("index.toml", "wheelyard.toml")]
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    settings, index = (yaml.safe_load(block)["content"] for block in blocks)
    (tmp_path / "wheelyard.toml").write_text(settings)

    assert installed.access.private
    assert index_tables(*texts) == IndexTables()
    assert index_tables(without_comments(texts[0]), texts[1]).grant
    load_settings(file=tmp_path / "wheelyard.toml", environ={})
    assert index_tables(index, settings).grant
    # as far to the right as there
    lines = (FOLDER / "cloud-init.yaml").read_text().splitlines()
    assert [block for block in blocks if block.splitlines()[0] not in lines] == []


def test_the_unit_names_the_installed_files() -> None:
    """The service starts with the settings and the index file that the script installs."""
    unit, script = Unit(UNIT.read_text()), (FOLDER / "install.sh").read_text()
    _, _, file = unit.one("ExecStart").partition(" serve --apply ")

    for name in (file, unit.environment()["WHEELYARD_CONFIG"]):
        assert f'"$here/{Path(name).name}" {name}\n' in script


def test_the_nginx_file_is_valid(tmp_path: Path) -> None:
    """The file for nginx is one that it takes with a certificate, and listens by IPv6, too."""
    nginx, openssl = system_program("nginx"), system_program("openssl")
    key, certificate = tmp_path / "privkey.pem", tmp_path / "fullchain.pem"
    command = (openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1")
    run(*command, "-subj", "/CN=packages.example.com", "-keyout", key, "-out", certificate)
    site = (FOLDER / "nginx.conf").read_text()
    listening = re.findall(r"listen (\S+?)( .*)?;", site)
    site = site.replace("/etc/letsencrypt/live/packages.example.com", str(tmp_path))
    kinds = ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")
    scratch = "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in kinds)
    places = f"pid {tmp_path}/pid;\nerror_log {tmp_path}/error.log;\n"
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"{places}events {{}}\nhttp {{\naccess_log off;\n{scratch}{site}}}\n")

    done = run(nginx, "-t", "-c", whole)

    assert done.returncode == 0, done.stderr
    by_4 = {(f"[::]:{port}", rest) for port, rest in listening if port.isdigit()}
    assert by_4 == {(port, rest) for port, rest in listening if not port.isdigit()} != set()


def test_caddy_beside_others(tmp_path: Path) -> None:
    """The lines for Caddy leave the sites that are there, however often they are typed."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (block,) = [block for block in blocks if "tee -a" in block]
    lines = block.replace("/etc/caddy", str(tmp_path)).splitlines()[:2]
    before = ":81 {\n\trespond hello\n}\n"
    (tmp_path / "Caddyfile").write_text(before)
    for _ in range(2):
        script = "\n".join((f"set -e; cd {REPOSITORY}", 'sudo() { "$@"; }', *lines))
        assert run("/bin/sh", "-c", script).returncode == 0
    assert (tmp_path / "Caddyfile").read_text() == f"{before}import wheelyard.caddy\n"

    caddy = system_program("caddy")
    done = run(caddy, "adapt", "--adapter", "caddyfile", "--config", tmp_path / "Caddyfile")

    assert done.returncode == 0, done.stderr
    assert "packages.example.com" in done.stdout
    assert "hello" in done.stdout
