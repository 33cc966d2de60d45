"""
`deploy/linux/install.sh`: a bare Debian on which it is run, and what becomes of it later.

It is run for real once. In later runs what stands for Python makes environments at once, whose
wheelyard is the one that was installed first; what stands for systemd says what a file says.
"""

import inspect
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CompletedProcess

import httpx2
import pytest

from tests.clients.harness import REPOSITORY
from tests.deploy import containers
from tests.deploy.containers import Buildah, Container
from tests.deploy.running import Unit
from tests.distributions import make_wheel
from tests.http_server import TOKEN
from tests.once import made_once
from tests.plain_http import LOCALLY
from tests.waiting import TIMEOUT_SECONDS

pytestmark = pytest.mark.weekly

PAGE = REPOSITORY / "docs" / "deploy" / "linux.md"
SCRIPT = "/clone/deploy/linux/install.sh"
RHEL = "Defaults    secure_path = /sbin:/bin:/usr/sbin:/usr/bin\n"
DEBIAN = 'Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"\n'
NO_EXECUTABLE_DATA = """\
import ctypes, os, sys
refused = ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0)
if refused and ctypes.get_errno() != 22:  # a kernel before 6.3 does not know it
    sys.exit("this memory cannot be guarded")
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""A program that does what `MemoryDenyWriteExecute=` asks for, and becomes the one it is given."""
TRAPS = ("compileall", "ensurepip", "pip", "sys", "venv")
"""Modules of Python that the folder has in which the script is typed."""
GRANT_TO_NO_GROUP = '[[grant]]\nwho = ["group:none"]\nprojects = ["*"]\nactions = ["read"]\n'
REFUSED = (
    ("wheelyard.toml", "[store]\nplace = 1\n", ("place", "these settings stop what would be")),
    ("wheelyard.toml", '[[grant]]\nwho = ["domain:acme.dev"]\n', ("tables that describe",)),
    ("index.toml", "[indexes]\n", ("no table 'indexes'", "this file stops what would be")),
    ("index.toml", GRANT_TO_NO_GROUP, ("group 'none'", "this file stops what would be")),
)
"""Files that an update refuses: which, what it says, and messages of the refusal."""
STAND_INS = {
    "python": """\
[ "$1 $2 $3" != "-Im pip --quiet" ] || exit "${PIP_FAILS:-0}"
for folder; do :; done
case "$*" in *"-m venv"*) mkdir -p "$folder/bin" && cp "$0" "$folder/bin/python" ;; *) exit ;; esac
echo '#!/bin/sh' >"$folder/bin/wheelyard"
echo 'exec /srv/first/bin/python -Im wheelyard "$@"' >>"$folder/bin/wheelyard"
chmod 755 "$folder/bin/wheelyard"
""",
    "date": "exec /usr/bin/date -u +%Y%m%dT%H%M%S%N\n",  # no two environments have the same name
    "sleep": "",
    "sudo": 'exec "$@"\n',
    "systemctl": 'echo "$@" >>/srv/asked\ncase $1 in is-active) exit "$(cat /srv/state)" ;; esac\n',
}


@dataclass(frozen=True)
class DebianMachine:
    """A bare Debian with a clone of this repository, on which the script has been run."""

    container: Container
    root: Path
    token: str
    """The token that the script printed."""

    def call(self, line: str, **variables: str) -> CompletedProcess[str]:
        """Run a command line as root, with the fake programs."""
        path = "/srv/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        merged = {"PATH": path, "PYTHON": "/srv/bin/python", **variables}
        return self.container.call("sh", "-c", f"cd /clone && {line}", **merged)

    def user(self) -> int:
        """Return the number of the user of the service."""
        rows = (line.split(":") for line in (self.root / "etc/passwd").read_text().splitlines())
        (number,) = [int(row[2]) for row in rows if row[0] == "wheelyard"]
        return number

    def environments(self) -> tuple[str, list[str]]:
        """Return which environment is in use, and all that there are."""
        places = (self.root / "opt/wheelyard.d").iterdir()
        link = (self.root / "opt/wheelyard").readlink().name
        return link, sorted(place.name for place in places)

    @contextmanager
    def file(self, name: str, text: str) -> Iterator[None]:
        """Let it have another file of settings, or of the index."""
        file = self.root / "etc/wheelyard" / name
        before = file.read_text()
        file.write_text(text)
        try:
            yield
        finally:
            file.write_text(before)

    @contextmanager
    def systemd(self, state: int) -> Iterator[Path]:
        """Let systemd run, to which the service is active (0) or not; yield what it was asked."""
        (self.root / "run/systemd/system").mkdir(parents=True)
        (self.root / "srv/state").write_text(str(state))
        (self.root / "srv/asked").write_text("")
        try:
            yield self.root / "srv/asked"
        finally:
            shutil.rmtree(self.root / "run/systemd")


def install(folder: Path) -> None:
    """Make the machine, and run the script for the first time."""
    buildah = Buildah(folder)
    name = buildah.new_base()
    mounts = {"/run/wheels": containers.wheels()}
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/run/wheels", "PYTHONPATH": "/trap"}
    container = Container(buildah, name, mounts=mounts, variables=pip)
    root = container.root
    files = {f"trap/{trap}.py": f"open('/trap/sprung-{trap}', 'w')\n" for trap in TRAPS}
    files |= {f"srv/bin/{each}": f"#!/bin/sh\n{text}" for each, text in STAND_INS.items()}
    files |= {f"etc/{text}": "" for text in ("shadow", "gshadow", "login.defs")}
    files |= {"etc/sudoers": RHEL, "etc/systemd/system/other.service": ""}
    containers.write_files(root, files)
    containers.copy_of_clone(containers.LINUX_CONTEXT, root / "clone")
    (root / "clone").chmod(0o700)  # as it is in the home of whoever has cloned it
    output = container.output("sh", "-c", f"umask 077 && cd /trap && {SCRIPT}")
    (folder / "first.json").write_text(json.dumps(output))
    place = root / str((root / "opt/wheelyard").readlink()).lstrip("/")
    place.rename(root / "srv/first")  # later runs of the script remove old environments
    container.output("/srv/bin/python", "-m", "venv", f"/{place.relative_to(root)}")
    (folder / "name").write_text(name)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianMachine]:
    """The machine, whose state goes on from test to test."""
    containers.require_buildah()
    sources = [Path(containers.__file__), *(REPOSITORY / each for each in containers.LINUX_CONTEXT)]
    texts = [inspect.getsource(install), *STAND_INS.values()]
    folder = made_once("machine", [*sources, *texts], install)
    spool = tmp_path_factory.mktemp("spool")
    spool.chmod(0o1777)
    with Container.copied(Buildah(folder), (folder / "name").read_text()) as container:
        there = replace(container, mounts={"/tmp": spool})  # noqa: S108
        yield DebianMachine(
            there, there.root, json.loads((folder / "first.json").read_text()).strip()
        )


def test_the_script_installs_a_running_service(machine: DebianMachine, tmp_path: Path) -> None:
    """The script makes a user, settings for it alone, and a server that goes by its unit."""
    unit = Unit((machine.root / "etc/systemd/system/wheelyard.service").read_text())
    service = replace(machine.container, user=unit.one("User"), variables=unit.environment())
    guarded = ("python3", "-c", NO_EXECUTABLE_DATA, *unit.one("ExecStart").split())
    wheel, auth = make_wheel(), ("__token__", machine.token)
    form, fields = {"content": (wheel.filename, wheel.body)}, {":action": "file_upload"}

    assert TOKEN.fullmatch(machine.token)
    with (
        service.serving(tmp_path / "log.txt", *guarded, variable="WHEELYARD_SERVER_PORT") as url,
        httpx2.Client(base_url=url, timeout=TIMEOUT_SECONDS, **LOCALLY) as client,
    ):
        assert client.get("/simple/").status_code == 401
        assert client.post("/legacy/", files=form, data=fields, auth=auth).status_code == 200
        assert "demo" in machine.call("wheelyard list").stdout
    kept = [path for path in (machine.root / "var/lib/wheelyard").rglob("*") if path.is_file()]
    assert {path.stat().st_uid for path in kept} == {machine.user()}
    for name in ("wheelyard.toml", "index.toml"):
        assert (machine.root / "etc/wheelyard" / name).stat().st_mode & 0o777 == 0o640
    assert (machine.root / "usr/bin/wheelyard").readlink() == Path("/usr/local/bin/wheelyard")
    # no file of the folder in which the script is typed was run as root
    assert list((machine.root / "trap").glob("sprung*")) == []


def test_a_second_run_keeps_the_settings(machine: DebianMachine) -> None:
    """Another run makes a new environment, keeps the one before, and no setting is changed."""
    first, _ = machine.environments()
    files = [machine.root / "etc/wheelyard" / name for name in ("wheelyard.toml", "index.toml")]
    for file in files:
        file.write_text(f"# mine\n{file.read_text()}")

    done = machine.call(SCRIPT)

    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    second, both = machine.environments()
    assert first != second
    assert both == sorted((first, second))
    assert [file for file in files if not file.read_text().startswith("# mine\n")] == []


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ('[store]\nlocation = "./packages"', "packages"),
        ("[access]\nprivate = true", "wheelyard-data"),
        ('[store]\nlocation = "/srv"\n[access]\ncredentials_store = "tokens"', "tokens"),
    ],
)
def test_a_relative_place_is_refused(machine: DebianMachine, setting: str, place: str) -> None:
    """A relative place is refused on the command line, with the one that the service has."""
    with machine.file("wheelyard.toml", setting):
        done = machine.call("cd /tmp && wheelyard token create ci")

    assert done.stdout == ""
    assert f"/var/lib/wheelyard/{place}; " in done.stderr


def test_update_that_fails(machine: DebianMachine) -> None:
    """An update that cannot be made, or would not take a file, leaves all as it is."""
    before = machine.environments()
    assert machine.call(SCRIPT, PIP_FAILS="1").returncode == 1
    assert machine.environments() == before
    for name, text, messages in REFUSED:
        with machine.file(name, text), machine.systemd(0) as asked:
            done = machine.call(SCRIPT)
            assert asked.read_text() == ""

        assert done.returncode == 1
        assert [message for message in messages if message not in done.stderr] == []
        assert machine.environments() == before


def test_service_that_does_not_stay(machine: DebianMachine) -> None:
    """An update whose service does not stay fails; the environment of before is kept."""
    before, _ = machine.environments()
    with machine.systemd(3) as asked:
        done = machine.call(SCRIPT)
        assert "restart wheelyard" in asked.read_text()

    assert done.returncode == 1
    assert f"ln -sfn /opt/wheelyard.d/{before} /opt/wheelyard" in done.stderr
    assert "journalctl --unit wheelyard" in done.stderr
    assert before in machine.environments()[1]


def test_removed_and_back(machine: DebianMachine) -> None:
    """An index that was removed as the page says comes back with its tokens."""
    page = PAGE.read_text()
    removing = page[page.index("### Removing\n") : page.index("## Compute Engine\n")]
    away, _, _, back, _ = re.findall(r"```sh\n(.*?)```", removing, re.DOTALL)
    before = machine.user()
    (machine.root / "etc/sudoers").write_text(DEBIAN)
    with machine.systemd(0) as asked:
        gone = machine.call(f"set -e; {away}")
        assert gone.returncode == 0, gone.stderr
        assert "disable --now wheelyard" in asked.read_text()
        assert list((machine.root / "opt").iterdir()) == []
        machine.call("userdel wheelyard; groupdel wheelyard; useradd --system --user-group other")
        done = machine.call(back)

    assert done.returncode == 0, done.stderr
    assert "cannot be read: Permission denied" in done.stderr  # by the first of the two runs
    assert "done; it runs" in done.stderr
    assert done.stderr.count("chown -R") == 1
    assert machine.user() != before
    kept = machine.root / "var/lib/wheelyard/wheelyard.json"
    assert kept.stat().st_uid == machine.user()
    assert TOKEN.search(done.stdout)
    assert machine.call("wheelyard token list").stdout.count("read,upload,manage") == 2
    assert not (machine.root / "usr/bin/wheelyard").is_symlink()
