"""
A bare system on which wheelyard is installed by `deploy/linux/install.sh`.

It is a room of `kitchen_walls.py`: of this machine it has `/usr`, and the wheels that pip asks for.
"""

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.clients.harness import REPOSITORY
from tests.clients.servers import stop, until_healthy
from tests.deploy.kitchen import wheels
from tests.deploy.kitchen_walls import SYSTEM_PATH, Stay, enter, make_room, python_prefix
from tests.deploy.linux_unit import NO_EXECUTABLE_DATA, Unit, identity

CONTEXT = ("pyproject.toml", "README.md", "LICENSE", "src", "requirements", "deploy/linux")


@dataclass
class Machine:
    """
    A bare system with a clone of this repository in `/clone`.

    Args:
        root: Its root folder.
        programs: Its `/usr/local/bin`.
        token: What the script has printed.
        mounts: More of this machine, by where it is in there.
    """

    root: Path
    programs: Path
    token: str = ""
    mounts: dict[str, Path] = field(default_factory=dict)

    def call(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a line as root."""
        mounts = {"/usr/local/bin": self.programs, "/run/wheels": wheels(), **self.mounts}
        line = enter(self.root, Stay(mounts=mounts), "/clone", ["sh", "-c", command])
        known = {"PATH": SYSTEM_PATH, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/run/wheels"}
        return subprocess.run(
            line, env=known | environment, check=False, capture_output=True, text=True
        )

    @contextmanager
    def service(self, port: int) -> Iterator[subprocess.Popen[bytes]]:
        """Do what systemd does with the unit, and wait until it answers."""
        unit = Unit((self.root / "etc/systemd/system/wheelyard.service").read_text())
        state = f"/var/lib/{unit.one('StateDirectory')}"
        user = identity(self.root / "etc" / "passwd", unit.one("User"))
        mounts = {"/usr/local/bin": self.programs, state: self.root / state[1:]}
        stay = Stay(user=user, is_fixed=True, has_network=True, mounts=mounts)
        guarded = ["/usr/bin/env", "python3", "-c", NO_EXECUTABLE_DATA]
        command = [*guarded, *shlex.split(unit.one("ExecStart"))]
        environment = {"PATH": SYSTEM_PATH} | unit.environment() | {"WHEELYARD_PORT": str(port)}
        log = self.root.with_name("log.txt")
        with log.open("w") as output:
            process = subprocess.Popen(
                enter(self.root, stay, unit.one("WorkingDirectory"), command),
                env=environment,
                stdout=output,
                stderr=output,
            )
        try:
            until_healthy(process, f"127.0.0.1:{port}", log)
            yield process
        finally:
            if process.poll() is None:
                stop(process)


def bare_machine(folder: Path) -> Machine:
    """Make a system with nothing but a Python, the tools that make users, and a clone."""
    root, programs = folder / "root", folder / "programs"
    root.mkdir()
    make_room(root)
    for name in ("opt", "clone", "run/wheels", "var/lib", "etc/systemd/system"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("group", "shadow", "gshadow", "login.defs"):
        (root / "etc" / name).write_text("root:x:0:\n" if name == "group" else "")
    programs.mkdir()
    for program in (python_prefix(folder) / "bin").glob("python*"):
        if "-" not in program.name:
            shutil.copy2(program, programs, follow_symlinks=False)
    for name in CONTEXT:
        source, target = REPOSITORY / name, root / "clone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    (root / "clone").chmod(0o700)  # as it is in the home of whoever has cloned it
    return Machine(root, programs)
