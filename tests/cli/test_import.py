"""The command `wheelyard import`."""

import json
import os
import pty
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest

from tests.archive.builders import sdist_bytes
from tests.cli.conftest import Typed
from tests.clients.harness import REPOSITORY, Sandbox
from tests.distributions import make_sdist, make_wheel
from tests.in_process_network import NetworkOrPorts
from tests.sources.web.fake_server import CannedResponse, running_fake_server


@pytest.fixture
def packages(sandbox: Sandbox) -> Path:
    """A folder with two packages in it."""
    folder = sandbox.folder / "packages"
    (folder / "demo").mkdir(parents=True)
    make_wheel().write(folder)
    make_sdist().write(folder / "demo")
    return folder


def test_a_folder_is_imported_once(packages: Path, wheelyard: Typed) -> None:
    """What lies in a folder is imported, and found to be there the next time."""
    done = wheelyard("import", packages)

    assert (done.returncode, done.stdout) == (0, f"{packages}: imported 2 files\n")
    assert wheelyard("list", "demo").stdout.count("demo-1.0") == 2
    again = wheelyard("import", packages)
    assert again.stdout == f"{packages}: imported 0 files, 2 there already\n"
    assert again.stderr == "wheelyard: reading packages in a folder or a bucket\n"
    assert wheelyard("check").returncode == 0


def test_each_refusal_is_a_line(packages: Path, wheelyard: Typed) -> None:
    """Each refusal is a line of its own, and the exit status; what is skipped is named, too."""
    (packages / "bad-1.0.tar.gz").write_bytes(b"no archive")
    (packages / "odd\n-1.0.tar.gz").write_bytes(b"")
    (packages / "lost-1.0.tar.gz").symlink_to("nowhere")
    (packages / "README").touch()
    (packages / "demo-1.0.win32.exe").write_bytes(b"MZ" + bytes(99))
    (packages / "old-1.0.tgz").write_bytes(sdist_bytes(pkg_info=None, top=b"old-1.0"))

    strict = wheelyard("import", "--dry-run", packages)
    done = wheelyard("import", "--lenient", packages)

    assert (strict.returncode, done.returncode) == (1, 1)
    assert "With --lenient it may be taken." in strict.stderr
    assert done.stdout == (
        f"{packages}: imported 3 files, 1 passed over, 1 skipped, 3 refused\n"
        "excused: invalid_filename (1)\nexcused: missing_metadata (1)\n"
    )
    old = "demo-1.0.win32.exe was skipped: wheelyard takes wheels, .tar.gz and .zip."
    assert old in strict.stderr
    assert old in done.stderr
    refused = [line for line in done.stderr.splitlines() if "was not imported: " in line]
    assert [Path(line.split(" was not")[0]).name for line in sorted(refused)] == [
        "bad-1.0.tar.gz",
        "lost-1.0.tar.gz",
        "odd\\n-1.0.tar.gz",
    ]


def test_a_file_without_what_its_source_says_is_imported(packages: Path, wheelyard: Typed) -> None:
    """A file is imported, with a warning, if what the source says of it cannot be used."""
    (packages / f"{make_wheel().filename}.meta").write_text("{")

    done = wheelyard("import", "--json", "--from", "pypicloud", packages)

    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert (report["new"], report["refused"], report["refusals"]) == (2, 0, [])
    (warning,) = report["warnings"]
    assert warning["place"] == str(packages / make_wheel().filename)
    assert "its .meta cannot be used. The file is imported all the same." in done.stderr
    assert "was not imported" not in done.stderr


def test_import_prints_json(packages: Path, wheelyard: Typed) -> None:
    """`import --json` prints every number, each refusal with its code, and what was skipped."""
    (packages / "bad-1.0.tar.gz").write_bytes(b"no archive")
    (packages / "demo-1.0.egg").write_bytes(b"PK")

    report = json.loads(wheelyard("import", "--json", packages).stdout)

    assert report["refusals"][0]["error"] == "invalid_archive"
    assert report["refusals"][0]["place"] == str(packages / "bad-1.0.tar.gz")
    numbers = {name: report[name] for name in ("new", "there", "passed-over", "skipped", "refused")}
    assert numbers == {"new": 2, "there": 0, "passed-over": 0, "skipped": 1, "refused": 1}
    assert report["skips"] == [str(packages / "demo-1.0.egg")]


def test_a_dry_run_makes_nothing(packages: Path, sandbox: Sandbox, wheelyard: Typed) -> None:
    """A dry run says what would become of everything, and makes not even a store."""
    (packages / "bad-1.0.tar.gz").write_bytes(b"no archive")

    done = wheelyard("import", "--dry-run", packages)

    assert done.returncode == 1
    assert done.stdout == f"{packages}: would import 2 files, 1 refused\n"
    assert "bad-1.0.tar.gz was not imported" in done.stderr
    assert not (sandbox.folder / "wheelyard-data").exists()
    wheelyard("import", packages)
    assert "would import 0 files, 2 there" in wheelyard("import", "--dry-run", packages).stdout


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["nowhere"], 1, "cannot be read: No such file"),
        (["--from", "fairyland", "packages"], 2, "fairyland"),
        (
            ["--mirrors", "packages"],
            1,
            "--mirrors is for an export of devpi-server, and SOURCE is packages",
        ),
        (["--from", "files", "--meta", "m", "packages"], 1, "or say --from backupni."),
        (["--from", "files", "--allow-private", "packages"], 1, "--allow-private is for a URL"),
        ([], 2, "SOURCE"),
    ],
)
def test_a_wrong_source_makes_no_store(
    packages: Path,
    sandbox: Sandbox,
    wheelyard: Typed,
    arguments: list[str],
    status: int,
    words: str,
) -> None:
    """A wrong source or option is refused with the reason, and makes no store."""
    del packages
    done = wheelyard("import", *arguments)

    assert done.returncode == status
    assert words in done.stderr
    assert not (sandbox.folder / "wheelyard-data").exists()


@pytest.mark.integration
def test_a_terminal_shows_progress(packages: Path, sandbox: Sandbox) -> None:
    """On a terminal a line says how many files there are; a refusal stays to be read."""
    (packages / "bad-1.0.tar.gz").write_bytes(b"no archive")
    near_end, far_end = pty.openpty()
    command = [sys.executable, "-m", "wheelyard", "import", str(packages)]
    environ = sandbox.environment() | {
        "PYTHONPATH": str(REPOSITORY / "src"),
        "TERM": "xterm",
        "COLUMNS": "200",
    }
    with subprocess.Popen(
        command, cwd=sandbox.folder, env=environ, stdout=subprocess.PIPE, stderr=far_end
    ) as process:
        os.close(far_end)
        shown = b""
        try:
            while piece := os.read(near_end, 65536):
                shown += piece
        except OSError:  # what Linux says where the other end is closed
            pass
        process.communicate()
    os.close(near_end)

    assert process.returncode == 1
    assert b"import: 0 of 3" in shown
    assert shown.count(b"bad-1.0.tar.gz was not imported: ") == 1


@pytest.mark.parametrize(
    ("variables", "sent"),
    [
        ({}, None),
        ({"NETRC": "secrets"}, "ana:in-netrc"),
        ({"NETRC": "nowhere"}, None),
        (
            {"WHEELYARD_IMPORT_USERNAME": "__token__", "WHEELYARD_IMPORT_PASSWORD": "a"},
            "__token__:a",
        ),
        ({"WHEELYARD_IMPORT_PASSWORD": "a"}, ":a"),
        ({"WHEELYARD_IMPORT_USERNAME": "a"}, "a:"),
    ],
    ids=["nothing", "netrc", "no netrc", "both", "password alone", "name alone"],
)
def test_credentials_have_two_sources(
    sandbox: Sandbox,
    wheelyard: Typed,
    network: NetworkOrPorts,
    variables: dict[str, str],
    sent: str | None,
) -> None:
    """The credentials of another index come from the netrc file of $NETRC, or from variables."""
    secrets = sandbox.folder / "secrets"
    secrets.write_text("machine 127.0.0.1 login ana password in-netrc\n")
    secrets.chmod(0o600)
    with running_fake_server(network) as server:
        server.page("/simple/", "")

        done = wheelyard("import", "--dry-run", f"{server.url}/simple/", **variables)

        logins = set(server.logins("/simple/"))
    assert (done.returncode, "warning" in done.stderr) == (0, False), done.stderr
    assert logins == {sent and f"Basic {b64encode(sent.encode()).decode()}"}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("option", "words"), [("--dry-run", "2 refused"), ("--json", '"refused":2')]
)
def test_a_credential_is_never_printed(wheelyard: Typed, option: str, words: str) -> None:
    """Nothing that is printed has the credential that was typed, or a query."""
    with running_fake_server() as server:
        login = server.url.replace("//", "//bob:s3cret@")
        server.page("/simple/", '<a href="a/">a</a>')
        link = f"{login}/a-1.zip?token=s3cret"
        server.page("/simple/a/", f'<a href="{link}">a</a><a href="{link}#sha256=0">b</a>')
        places = ["/simple/?token=s3cret", "/nowhere/?token=s3cret", "/packages.json?token=s3cret"]
        results = [wheelyard("import", option, login + place) for place in places]
    for place in ("ftp://bob:s3cret@host/", "http://bob:s3cret@ho st/", "http:/bob:s3cret@host/"):
        results.append(wheelyard("import", option, place))
        results.append(wheelyard("import", option, "--packages-url", place, "list.json"))
        results.append(wheelyard("import", option, "--meta", place, "gs://x-packages"))

    assert words in results[0].stdout
    assert [result.returncode for result in results] == [1] * len(results)
    assert [result for result in results if "s3cret" in result.stdout + result.stderr] == []


@pytest.mark.parametrize(
    ("options", "words"), [((), "2 files, 1 refused"), (("--json",), '"new":2')]
)
def test_odd_files_stop_nothing(
    packages: Path, wheelyard: Typed, options: tuple[str, ...], words: str
) -> None:
    """A name that is no text, or an impossible date, keeps no other file from the import."""
    Path(os.fsdecode(bytes(packages) + b"/\xff-1.0.tar.gz")).touch()
    os.utime(packages / make_wheel().filename, (0, 2**39))

    done = wheelyard("import", *options, packages)

    assert done.returncode == 1
    assert words in done.stdout
    assert "udcff-1.0.tar.gz was not imported" in done.stderr


@pytest.mark.parametrize("options", [(), ("--allow-private",)])
def test_private_addresses_need_an_option(
    wheelyard: Typed, network: NetworkOrPorts, options: tuple[str, ...]
) -> None:
    """Links and redirects to private addresses of other hosts are followed only if allowed."""
    own, linked, moved = (make_wheel("demo", version) for version in ("1.0", "2.0", "3.0"))
    with running_fake_server(network) as server, running_fake_server(network) as proxy:
        hidden = f"http://localhost:{server.port}/hidden"
        links = [f"/{own.filename}", f"{hidden}/{linked.filename}", f"/{moved.filename}"]
        server.page("/simple/", '<a href="demo/">demo</a>')
        server.page("/simple/demo/", "".join(f'<a href="{link}">x</a>' for link in links))
        server.file(f"/{own.filename}", own.body)
        server.file(f"/hidden/{linked.filename}", linked.body)
        server.serve(
            f"/{moved.filename}",
            CannedResponse(status=302, headers={"Location": f"{hidden}/3.whl"}),
        )
        server.file("/hidden/3.whl", moved.body)
        # a proxy would hide which address is reached, so none is asked
        proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), proxy.url)
        done = wheelyard("import", *options, f"{server.url}/simple/", **proxies)

    count = "imported 3 files\n" if options else "imported 1 file, 2 refused\n"
    assert done.stdout == f"{server.url}/simple/: {count}"
    assert done.stderr.count("a private address; give --allow-private") == (0 if options else 2)
    assert any(request.path.startswith("/hidden/") for request in server.seen) == bool(options)
    assert proxy.seen == []
