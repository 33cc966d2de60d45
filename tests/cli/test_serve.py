"""The output of `wheelyard serve`, and its end."""

import json
import os
import re
import signal
import subprocess
from fcntl import LOCK_EX, flock
from functools import partial
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.cli.conftest import WHERE, Serve, Typed
from tests.clients.harness import Sandbox
from tests.http_server import TOKEN, WHEELYARD, is_listening, workers_of
from tests.ports import free_port
from tests.upgrades.kept_stores import read_kept_store
from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard.catalog.keys import FORMAT
from wheelyard.catalog.removed import REMOVED_RULES

pytestmark = pytest.mark.integration

WORKERS = [[], ["--workers", "2"]]
needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc here")
TALKATIVE = {"WHEELYARD_SERVER_TRUSTED_PROXIES": "1"}
NOTICE = "wheelyard: stopping after the running requests; press Ctrl-C again to stop now\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("options", WORKERS)
def test_a_server_ends_in_order(serve: Serve, options: list[str], number: signal.Signals) -> None:
    """A server ends in good order by either signal, in silence, whatever is connected to it."""
    serving = serve(*options)
    idle = serving.connect(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert idle.recv(12) == b"HTTP/1.1 200"

    serving.send_signal(number)

    assert serving.process.wait(TIMEOUT_SECONDS) == 0
    assert serving.log.read_text().splitlines()[1:] == []
    idle.close()


@needs_proc
def test_ctrl_c_reaches_no_worker(serve: Serve) -> None:
    """A Ctrl-C reaches the manager alone, whose process group has no worker."""
    serving = serve("--workers", "2")

    def are_apart() -> bool:
        groups = [os.getpgid(worker) for worker in workers_of(serving.pid)]
        return len(groups) == 2 and serving.pid not in groups

    until(are_apart, process=serving.process)


@pytest.mark.parametrize("options", WORKERS)
def test_a_second_ctrl_c_ends_a_busy_server(serve: Serve, options: list[str]) -> None:
    """A server that waits for an upload says so, and a second Ctrl-C ends it."""
    serving = serve(*options)
    head = f"POST /legacy/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {serving.token}\r\n"
    form = "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 99\r\n"
    busy = serving.connect(f"{head}{form}Expect: 100-continue\r\n\r\n".encode())
    assert busy.recv(12) == b"HTTP/1.1 100"  # so it is waiting for the form now
    busy.sendall(b"--b\r\n")
    serving.send_signal(signal.SIGINT)
    until(lambda: NOTICE in serving.log.read_text(), process=serving.process)

    serving.send_signal(signal.SIGINT)

    assert serving.process.wait(TIMEOUT_SECONDS) == 1
    assert serving.log.read_text().count(NOTICE) == 1
    busy.close()


@needs_proc
def test_a_server_whose_workers_die_again_and_again_fails(serve: Serve) -> None:
    """A server that gives up, as a worker dies as soon as it starts, ends with status 1."""
    serving = serve("--workers", "2")
    seen = set[int]()

    def has_begun(count: int) -> bool:
        seen.update(workers_of(serving.pid))
        return len(seen) == count

    until(partial(has_begun, 2), process=serving.process)
    first = frozenset(seen)
    os.kill(min(first), signal.SIGKILL)
    until(partial(has_begun, 3), process=serving.process)
    os.kill((seen - first).pop(), signal.SIGKILL)

    assert serving.process.wait(TIMEOUT_SECONDS) == 1


@needs_proc
def test_a_server_runs_without_standard_error(sandbox: Sandbox) -> None:
    """A server without standard error uses its number for nothing else, and ends with 0."""
    address = ("127.0.0.1", free_port())
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *WHEELYARD, "serve", "--port", str(address[1])]
    environment = sandbox.environment() | WHERE
    with subprocess.Popen(
        command, cwd=sandbox.folder, env=environment, stdout=subprocess.DEVNULL
    ) as process:
        until(partial(is_listening, address), process=process)
        number = Path(f"/proc/{process.pid}/fd/2").readlink()
        process.terminate()
        status = process.wait(TIMEOUT_SECONDS)

    assert (str(number), status) == ("/dev/null", 0)


def test_a_server_ends_with_its_terminal(sandbox: Sandbox) -> None:
    """A server that was started in a terminal ends in good order when that hangs up."""
    address = ("127.0.0.1", free_port())
    command = [*WHEELYARD, "serve", "--port", str(address[1])]
    environment = sandbox.environment() | WHERE
    terminal, its_input = os.openpty()
    silent = subprocess.DEVNULL
    with subprocess.Popen(
        command, cwd=sandbox.folder, env=environment, stdin=its_input, stdout=silent, stderr=silent
    ) as process:
        until(partial(is_listening, address), process=process)
        process.send_signal(signal.SIGHUP)
        try:
            status = process.wait(TIMEOUT_SECONDS)
        finally:
            process.kill()
    os.close(its_input)
    os.close(terminal)

    assert status == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_waiting_server_ends_in_order(sandbox: Sandbox, wheelyard: Typed, workers: str) -> None:
    """A server that waits for its first write ends in good order, and leaves nothing behind."""
    wheelyard("token", "create", "ci", "--store", "wheelyard-data")
    shard = blake2b(FORMAT.encode(), digest_size=1).hexdigest()
    temporary = sandbox.folder / "temporary"
    temporary.mkdir()
    environment = sandbox.environment() | WHERE | {"TMPDIR": str(temporary)}
    with (sandbox.folder / "wheelyard-data" / ".locks" / shard).open("a") as lock:
        flock(lock, LOCK_EX)
        command = [*WHEELYARD, "serve", "--port", "0", "--workers", workers]
        process = subprocess.Popen(
            command, cwd=sandbox.folder, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline()  # it has opened the store
        process.terminate()
        process.communicate(timeout=TIMEOUT_SECONDS)

    assert process.returncode == 0
    assert list(temporary.iterdir()) == []


def test_a_store_in_memory_gets_a_token(sandbox: Sandbox, serve: Serve) -> None:
    """A store in memory gets its token, no line that would make one elsewhere, and one folder."""
    serving = serve("--store", "memory:")

    assert TOKEN.search(serving.printed.read_text())
    assert "token create" not in serving.printed.read_text()
    assert serving.log.read_text() == ""
    serving.send_signal(signal.SIGTERM)
    serving.process.wait(TIMEOUT_SECONDS)
    assert [path.name for path in sandbox.home.iterdir()] == [f"wheelyard-{os.getuid()}"]


def test_what_helps_against_a_warning_of_a_start(sandbox: Sandbox, serve: Serve) -> None:
    """A warning of a server with workers names the command for the store that was given."""
    read_kept_store("removed").in_folder(sandbox.folder / "my store")

    log = serve("--store", "my store", "--workers", "2").log.read_text()

    rules = " ".join(f"{rule}=" for rule in REMOVED_RULES)
    assert f"wheelyard index change prod {rules} --store 'my store''." in log


@pytest.mark.parametrize("options", [[], ["--workers", "2", "--store", "my store"]])
def test_a_server_listens_at_a_name(serve: Serve, options: list[str]) -> None:
    """A server listens at a host name, and prints URLs with its address."""
    serving = serve(*options, host="localhost")

    printed, store = serving.printed.read_text(), options[-1] if options else "./wheelyard-data"
    assert "at http://127.0.0.1:" in printed
    where = f" --store '{store}'" if options else ""
    assert f"wheelyard token create NAME --can read,upload{where}\n" in printed
    assert f"uv pip install --index http://127.0.0.1:{serving.port}/simple/ NAME\n" in printed
    assert (
        f"pip install --index-url http://127.0.0.1:{serving.port}/simple/ NAME   # fails" in printed
    )
    assert f"wheelyard print-settings CLIENT --server http://127.0.0.1:{serving.port} " in printed
    assert "--no-deps" not in printed
    assert "poetry add" not in printed
    assert serving.log.read_text() == f"wheelyard: made a new store at {store}\n"


def test_the_json_log_is_utf8_on_any_terminal(serve: Serve) -> None:
    """The log is JSON in UTF-8, whatever the terminal speaks."""
    variables = {"WHEELYARD_LOG_FORMAT": "json", "WHEELYARD_LOG_ACCESS": "true"}
    serving = serve(PYTHONIOENCODING="ascii", **variables)
    agent = "café".encode()
    asked = b"GET /simple/ HTTP/1.1\r\nHost: a\r\nUser-Agent: " + agent + b" \xff\r\n\r\n"

    with serving.connect(asked) as connection:
        connection.recv(9)
        until(lambda: "userAgent" in serving.log.read_text(errors="replace"))

    lines = serving.log.read_bytes().splitlines()
    assert all(json.loads(line.decode("utf-8")) for line in lines)


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="/proc tells the limits")
def test_a_server_raises_its_limit_of_descriptors(serve: Serve) -> None:
    """A server raises its limit of file descriptors as far as it may, up to 65,536."""
    limits = Path(f"/proc/{serve().process.pid}/limits").read_text()
    soft, hard = re.findall(r"^Max open files +(\d+) +(\d+)", limits, re.MULTILINE)[0]

    assert int(soft) == min(int(hard), 65_536)


@pytest.mark.parametrize("command", ["serve", "run"])
def test_start_messages_are_in_the_json_log(serve: Serve, command: str) -> None:
    """With a log in JSON, what a server says as it starts is in it, each with its severity."""
    folders = (".", "--lenient") if command == "run" else ()
    variables = {"WHEELYARD_LOG_FORMAT": "json", **TALKATIVE}

    serving = serve(*folders, "-a", "list", command=command, **variables)

    entries = [json.loads(line) for line in serving.log.read_text().splitlines()]
    output = [(entry["severity"], entry["message"]) for entry in entries]
    assert [line for line in output if line[0] == "WARNING" and "both of them need" in line[1]]
    assert [line for line in output if line[0] == "INFO" and "made a new store at" in line[1]]
    assert not [message for _, message in output if message.startswith("wheelyard")]
    assert len(output) == len(set(output))


@pytest.mark.parametrize("wrong", [{"PORT": "x"}, {"WHEELYARD_SERVER_HOST": "192.0.2.1"}])
def test_a_failed_start_is_one_line(wheelyard: Typed, wrong: dict[str, str]) -> None:
    """A wrong port or address ends a start with one plain line, also with a JSON log."""
    done = wheelyard("serve", WHEELYARD_LOG_FORMAT="json", **TALKATIVE | wrong)

    assert (done.returncode, done.stdout) == (1, "")
    (last,) = done.stderr.splitlines()
    assert last.startswith(("wheelyard: server.port: ", "wheelyard: Cannot listen on "))


def test_an_unusable_store_is_the_last_json_entry(wheelyard: Typed, sandbox: Sandbox) -> None:
    """Where the log is JSON, what keeps a server from starting is its last entry."""
    (sandbox.folder / "a-file").touch()

    done = wheelyard("serve", "--store", "a-file", WHEELYARD_LOG_FORMAT="json")

    assert (done.returncode, done.stdout) == (1, "")
    last = json.loads(done.stderr.splitlines()[-1])
    assert last["severity"] == "CRITICAL"
    assert "cannot be a store" in last["message"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_the_group_of_a_store_reads_no_credentials(start: Typed, wheelyard: Typed) -> None:
    """A server closes the credentials of an older store to its group, which may read packages."""
    nobody = 65534
    with TemporaryDirectory(dir="/tmp") as folder:  # the sandbox is for root alone
        store = Path(folder, "store")
        key = store / "credentials/sessions/key.json"
        assert wheelyard("token", "create", "ci", "--can", "read", "--store", store).returncode == 0
        key.parent.mkdir()
        key.write_text("secret")
        (store / "files").mkdir()
        (store / "files/package").write_text("public")
        for path in (Path(folder), *Path(folder).rglob("*")):
            path.chmod(0o750 if path.is_dir() else 0o640)
            os.chown(path, -1, nobody)

        def read(path: Path) -> subprocess.CompletedProcess[bytes]:
            return subprocess.run(
                ["/bin/cat", path], check=False, capture_output=True, user=nobody, group=nobody
            )

        assert read(key).stdout == b"secret"

        log = start("serve", "--store", store).stderr

        assert read(key).stderr.endswith(b"Permission denied\n")
        assert read(store / "files/package").stdout == b"public"
        assert "other users" not in log
