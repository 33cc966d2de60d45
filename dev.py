"""
Sets wheelyard up from a fresh clone, then runs it or tests it.

    python3 dev.py serve [options of `wheelyard serve`]
    python3 dev.py test [options of pytest]

It needs Python 3.11 or newer and nothing else. All that is installed goes into `.venv` beside this
file, from the locks in `requirements/`, each file checked against its hash. A stamp remembers which
lock is installed, so a second start takes no time.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  # old Pythons get this sentence, not a traceback
    sys.exit("dev.py: Python 3.11 or newer is needed; this is " + sys.version.split()[0])

import ctypes
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SYSTEM_PACKAGES = {
    "bsdtar": ("libarchive-tools", "archive"),
    "caddy": ("caddy", "deploy"),
    "chromium": ("chromium", "browser"),
    "curl": ("curl", "access bucket_clients clients deploy http"),
    "htpasswd": ("apache2-utils", "authentication"),
    "jq": ("jq", "clients deploy"),
    "libatomic.so.1": ("libatomic1", "browser"),
    "nginx": ("nginx-light", "browser clients deploy exporting http"),
    "rsync": ("rsync", "deploy"),
    "strace": ("strace", "deploy http storage"),
    "systemd-analyze": ("systemd", "deploy"),
}
"""Programs and libraries that tests need: Debian's packages of them, and these tests' folders."""
START_POLICY = Path("/usr/sbin/policy-rc.d")
"""The script that Debian runs before it starts the service of a new package."""
NO_SERVICES = "#!/bin/sh\n# made by wheelyard's dev.py while it installs\nexit 101\n"

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of its own is made there
"""A file system in memory, where there is one. It saves the fast tests each wait for a disk."""
MEMORY_BYTES = 2 << 30
"""How much has to be free there. The fast tests write half a gigabyte."""
PASSED, FAILED, NO_TESTS = 0, 1, 5
"""Exit statuses of pytest with which it has run all the tests that there are."""
LOCKS = {
    "serve": ("run", "build"),
    "bucket": ("gcs", "build"),
    "objects": ("objects", "build"),
    "test": ("dev",),
}
"""The lock files of each purpose. `dev` includes those of all other purposes."""


def main(arguments: list[str]) -> int:
    """Run the command that was asked for."""
    # No `match` here: an old Python could not even read the file to tell what is wrong.
    if arguments[:1] == ["serve"]:
        return serve(arguments[1:])
    if arguments[:1] == ["test"]:
        return test(arguments[1:])
    print("usage: python3 dev.py serve [OPTION...] | test [OPTION...]", file=sys.stderr)
    return 0 if arguments in (["-h"], ["--help"]) else 2


def serve(arguments: list[str]) -> int:
    """Become `wheelyard serve`: signals and the exit status are then its own."""
    places = [*arguments, os.environ.get("WHEELYARD_STORE", ""), read(Path("wheelyard.toml"))]
    schemes = {"gs://": "bucket", "s3://": "objects", "az://": "objects"}
    needed = {name for scheme, name in schemes.items() if any(scheme in it for it in places)}
    prepare("test" if len(needed) > 1 else min(needed, default="serve"))
    command = str(BIN / "wheelyard")
    os.execv(command, [command, "serve", *arguments])  # noqa: S606  # no shell is wanted


def test(arguments: list[str]) -> int:
    """Run the static checks, then the tests, whose summary is the last line printed."""
    # a run that is ended from outside still takes back what it has changed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    installing = threading.Thread(target=install_system_packages, args=(arguments,))
    if "--fast" not in arguments:
        installing.start()
    prepare("test")
    make_hosts_file()
    os.chdir(ROOT)
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # each process would compile everything anew
    pytest = [str(BIN / "python"), "-m", "pytest", "--numprocesses=auto", "--durations=20"]
    pytest.extend(arguments)
    fast = [*pytest, "-p", "randomly"] if "CI" in environment else pytest
    nox = [str(BIN / "nox"), "--no-venv", "--sessions", "style", "types", "map"]
    # compiles the tests beside the checks; else all workers would do so at the same time
    compiling = [*pytest, "--numprocesses=0", "--collect-only"]
    silent = subprocess.DEVNULL
    with subprocess.Popen(compiling, env=environment, stdout=silent, stderr=silent):
        checks = subprocess.run(nox, env=environment, check=False).returncode
    if checks:
        say("the static checks failed, see above; now the tests")
    if "--fast" in arguments:
        return run_fast_tests(fast, environment) or checks
    with tempfile.TemporaryDirectory() as folder:
        results = f"--results={folder}/results.json"
        say("the fast tests")
        first = run_fast_tests([*fast, "--fast", results], environment)
        if first not in (PASSED, FAILED, NO_TESTS):
            return first
        installing.join()
        say("all other tests")
        rest = subprocess.run([*pytest, "--rest", results], env=environment, check=False).returncode
    if NO_TESTS in (first, rest):  # all that were asked for are of one kind
        return min(first, rest) or checks
    return first or rest or checks


def run_fast_tests(command: list[str], environment: dict[str, str]) -> int:
    """Run the fast tests, with their folders in memory if there is room; return the exit status."""
    parent = None
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES:
        parent = MEMORY
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        return subprocess.run(command, env=environment | {"TMPDIR": folder}, check=False).returncode


def prepare(command: str) -> None:
    """See to it that `.venv` holds what a purpose needs, and wheelyard itself in place."""
    with one_at_a_time():
        make_environment()
        enough = {
            "serve": ("serve", "bucket", "objects", "test"),
            "bucket": ("bucket", "test"),
            "objects": ("objects", "test"),
        }
        if any(read(stamp(name)) == digest(name) for name in enough.get(command, ("test",))):
            return
        files = [f"requirements/{lock}.txt" for lock in LOCKS[command]]
        say(f"installing {' and '.join(files)} into .venv, once")
        for name in LOCKS:  # what was installed before is not whole any more
            stamp(name).unlink(missing_ok=True)
        locked = ["--require-hashes", *(f"--requirement={ROOT / file}" for file in files)]
        ours = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
        if command != "test" or not uv(locked, ours):
            pip(*locked)
            pip(*ours)
        stamp(command).write_text(digest(command))


def make_environment() -> None:
    """Make `.venv` if it is missing, half made, moved, or another Python's."""
    whose = f"{ROOT}\n{sys.base_prefix}\n{sys.version_info[:2]}\n"
    if read(VENV / "made.stamp") == whose and (BIN / "python").exists():
        return
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            fail(f"this Python has no {module}; install python3-venv (apt install python3-venv)")
    say("making .venv")
    done = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(VENV)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        fail("could not make .venv: " + " ".join((done.stderr + done.stdout).split()))
    (VENV / "made.stamp").write_text(whose)


def uv(*installations: list[str]) -> bool:
    """
    Install with the uv of the development lock, in seconds; return whether that was possible.

    It reads no settings of pip: whoever has set an index or a proxy there gets pip.
    """
    pip_settings = subprocess.run(
        [str(BIN / "python"), "-Im", "pip", "config", "list"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    lock = read(ROOT / "requirements" / "dev.txt")
    locked = re.search(r"^uv==.*(?:\n .*)*", lock, re.MULTILINE)
    if locked is None or re.search(r"\.(index-url|no-index|proxy|client-cert)=", pip_settings):
        return False
    (VENV / "uv.txt").write_text(locked[0])
    pip("--no-deps", "--require-hashes", f"--requirement={VENV / 'uv.txt'}")
    install = [str(BIN / "uv"), "pip", "install", "--quiet", f"--python={BIN / 'python'}"]
    return all(
        subprocess.run([*install, *each], stdout=sys.stderr, check=False).returncode == 0
        for each in installations
    )


def pip(*arguments: str) -> None:
    """Install with the environment's own pip, which obeys the user's indexes and proxies."""
    done = subprocess.run(
        [str(BIN / "python"), "-Im", "pip", "install", "-qq", *arguments],
        # A `user = true` among the user's own settings would make pip refuse.
        env=os.environ | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode:
        fail("pip could not install what is needed, see above")


def install_system_packages(arguments: list[str]) -> None:
    """Install what these tests use beyond Python, where we may; elsewhere those tests skip."""
    places = [Path(each).parts[1:2] for each in arguments if each.startswith("tests/")]
    chosen = {name for parts in places for name in parts}
    missing = [
        name
        for name, (_, folders) in SYSTEM_PACKAGES.items()
        if (not places or chosen.intersection(folders.split())) and not is_installed(name)
    ]
    if not missing or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    say("installing " + ", ".join(missing))
    packages = [SYSTEM_PACKAGES[name][0] for name in missing]
    with no_services():
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            apt(*command)


def is_installed(name: str) -> bool:
    """Return whether this machine has a program, or a library that has such a file name."""
    if ".so." not in name:
        return shutil.which(name) is not None
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def apt(*command: str) -> None:
    """Run apt-get; what it cannot do shows as skipped tests."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(
            ["apt-get", "--quiet", *command],
            env=environment,
            check=True,
            capture_output=True,
            timeout=300,
        )
    except (OSError, subprocess.SubprocessError) as error:
        say(f"apt-get {command[0]}: {error}")


@contextmanager
def no_services() -> Iterator[None]:
    """Let no package that is installed meanwhile start a service (nginx would)."""
    folder = os.open(START_POLICY.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # another clone may be at the same
        if read(START_POLICY) == "":
            START_POLICY.write_text(NO_SERVICES)
            START_POLICY.chmod(0o755)
        yield
    finally:
        if read(START_POLICY) == NO_SERVICES:
            START_POLICY.unlink()
        os.close(folder)


def make_hosts_file() -> None:
    """Make `localhost` a name that resolves where no /etc/hosts exists: debootstrap makes none."""
    with suppress(OSError):  # the file exists already, or only root may make it
        with Path("/etc/hosts").open("x") as file:
            file.write("127.0.0.1 localhost\n")
        say("made /etc/hosts")


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let two calls in the same clone install one after the other."""
    folder = ROOT / ".cache"
    folder.mkdir(exist_ok=True)
    with (folder / "dev.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def stamp(command: str) -> Path:
    """Say where it is kept what is installed for a command."""
    return VENV / f"{command}.stamp"


def digest(command: str) -> str:
    """Name what is to be installed for a command: the contents of its locks and of the project."""
    files = [*(f"requirements/{lock}.txt" for lock in LOCKS[command]), "pyproject.toml"]
    return hashlib.sha256(b"\0".join((ROOT / file).read_bytes() for file in files)).hexdigest()


def read(path: Path) -> str:
    """Read a small file; one that is not there is an empty one."""
    return path.read_text() if path.exists() else ""


def say(message: str) -> None:
    """Print progress on standard error; standard output is for the program that is run."""
    print(f"dev.py: {message}", file=sys.stderr, flush=True)


def fail(message: str) -> None:
    """Exit with a one-line error message."""
    sys.exit(f"dev.py: {message}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
