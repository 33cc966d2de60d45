"""What `wheelyard doctor` says on machines where an install or a publish does not work."""

import json
import re
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partialmethod
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from msgspec import structs

from tests.clients.harness import SOURCE, Sandbox, program
from tests.clients.tls import Proxy, running_proxy
from tests.http.packages import publish, wheel
from tests.http.servers import RunningServer, running_server
from tests.http_server import serving
from wheelyard.doctor.client_settings import pip_settings, uv_settings
from wheelyard.doctor.examination import examination
from wheelyard.doctor.findings import CheckOutcome, Finding, Machine
from wheelyard.errors import Invalid
from wheelyard.wiring.stores import system_runtime

PASSWORD = "a-password-of-a-proxy"

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Laptop:
    """A machine with an empty home."""

    folder: Path

    @property
    def home(self) -> Path:
        """The home of its user."""
        return self.folder / "laptop"

    def write(self, name: str, text: str) -> str:
        """Write a file below the home, for its owner only; return its path."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    def machine(self, **environ: str) -> Machine:
        """Return what programs see there."""
        project = self.folder / "work"
        project.mkdir(exist_ok=True)
        found = Machine(environ, self.home, project, system_runtime())
        return replace(found, etc=self.folder / "etc")

    def examine(self, url: str | None = None, project: str = "", **environ: str) -> list[Finding]:
        """Examine a URL; assert that no password is in what is found."""
        findings = list(examination(url, project, self.machine(**environ)).run())
        assert PASSWORD not in repr(findings)
        assert "wyd_" not in repr(findings)
        return findings


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    """A machine with an empty home."""
    found = Laptop(tmp_path)
    found.home.mkdir()
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server where reading needs a token, with one project."""
    with running_server(tmp_path_factory.mktemp("server"), "--private") as server:
        publish(server, wheel("demo"), wheel("acme-core"))
        yield server


@pytest.fixture(scope="module")
def proxy(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The same server over TLS, with a certificate of an own authority."""
    with running_proxy(tmp_path_factory.mktemp("tls"), server.address) as proxy:
        yield proxy


def with_token(server: RunningServer, token: str, path: str = "/simple/") -> str:
    """Return a URL of the server with a token in it."""
    return f"http://__token__:{token}@{server.address}{path}"


def one(findings: list[Finding], check: str) -> Finding:
    """Return the only finding of a check."""
    (found,) = [each for each in findings if each.check == check]
    return found


def failures(findings: list[Finding]) -> list[str]:
    """Return the names of the checks that failed."""
    return [each.check for each in findings if each.outcome is CheckOutcome.FAILED]


def test_healthy(laptop: Laptop, server: RunningServer) -> None:
    """Where all is well each check is ok, and names the file that has the index."""
    path = laptop.write(
        ".config/pip/pip.conf", f"[global]\nindex-url={with_token(server, server.token)}"
    )

    findings = laptop.examine(project="demo")

    assert {each.outcome for each in findings} == {CheckOutcome.OK}
    checks = " ".join(each.check for each in findings)
    network, asked = "pip proxy name connection", "server clock credential rights index"
    assert checks == f"{network} {asked} project caching range file"
    assert path in one(findings, "pip").text
    assert one(findings, "credential").text == f"the URL of {path}, user __token__"
    assert "may read, upload, manage *" in one(findings, "rights").text


@pytest.mark.parametrize("path", ["", "/", "/simple", "/legacy/", "/simple/demo/", "/pypi/simple/"])
def test_any_url(laptop: Laptop, server: RunningServer, path: str) -> None:
    """The server's root, its index and the URL for uploads lead to the same index."""
    findings = laptop.examine(with_token(server, server.token, path))

    assert failures(findings) == []
    assert one(findings, "index").text == "lists 2 projects"


@pytest.mark.parametrize("kind", ["wrong", "expired", "alone"])
def test_refused_token(laptop: Laptop, server: RunningServer, kind: str) -> None:
    """A token that is wrong or expired is the one failure, with its place and what to do."""
    token = "wyd_" + "a" * 48
    if kind == "expired":
        token = server.make_token(lifetime=timedelta(microseconds=1))
    login = token if kind == "alone" else f"__token__:{token}"

    findings = laptop.examine(f"http://{login}@{server.address}/simple/")

    assert failures(findings) == ["rights"]
    assert "the credential of the URL of the command line (status 401)" in findings[-1].text
    assert "wrong, expired or revoked" in findings[-1].advice


def test_no_credential(laptop: Laptop, server: RunningServer) -> None:
    """A netrc of another machine is named, and then what the server says without a credential."""
    path = laptop.write(".netrc", f"machine elsewhere.example login a password {PASSWORD}\n")

    findings = laptop.examine(server.url)

    notes = [each.text for each in findings if each.check == "credential"]
    assert notes[0] == f"{path} is for elsewhere.example, and not for 127.0.0.1"
    assert failures(findings) == ["index"]
    assert "status 401" in findings[-1].text


def test_order_of_credentials(laptop: Laptop, server: RunningServer) -> None:
    """The URL beats netrc, and netrc beats the keyring; those that are not used are named."""
    netrc = laptop.write(".netrc", f"machine 127.0.0.1 login a password {server.token}\n")
    keyring = Path(laptop.write("bin/keyring", f"#!/bin/sh\necho {PASSWORD}\n"))
    keyring.chmod(0o700)

    findings = laptop.examine(server.url, PATH=str(keyring.parent), WHEELYARD_TOKEN=PASSWORD)

    assert failures(findings) == []
    text = one(findings, "credential").text
    places = [text.index(each) for each in (netrc, str(keyring), "$WHEELYARD_TOKEN")]
    assert places == sorted(places)
    assert text.startswith(f"{netrc}, user a; asked later, so not used: ")


@pytest.mark.parametrize(("can", "fails"), [("read", ["publish"]), ("read,upload", [])])
def test_publish(laptop: Laptop, server: RunningServer, can: str, fails: list[str]) -> None:
    """A token of .pypirc that may only read is why a publish does not work."""
    token = server.make_token("acme-*", can=can)
    entry = f"repository={server.url}/legacy/\nusername=__token__\npassword={token}"
    path = laptop.write(".pypirc", f"[distutils]\nindex-servers=acme\n[acme]\n{entry}\n")
    url = with_token(server, server.token)

    findings = laptop.examine(url, "acme-core")

    assert failures(findings) == fails
    assert f"[acme] in {path}" in findings[-1].text
    elsewhere = laptop.examine(url, "demo")
    assert failures(elsewhere) == ["publish"]


def test_project(laptop: Laptop, server: RunningServer) -> None:
    """A name that is not there is told from an index that is not there."""
    findings = laptop.examine(with_token(server, server.token), "demmo")

    assert failures(findings) == ["project"]
    assert "demmo: status 404" in findings[-1].text


def test_authority(laptop: Laptop, proxy: Proxy, server: RunningServer) -> None:
    """An unknown authority is named with the list that lacks it; a right list is enough."""
    url = proxy.url.replace("https://", f"https://__token__:{server.token}@")

    unknown = laptop.examine(url)
    assert failures(unknown) == ["TLS"]
    assert "by 'Tests of wheelyard', which this machine's list does not have" in unknown[-1].text

    missing = laptop.examine(url, PIP_CERT="/nowhere.pem")
    assert failures(missing) == ["TLS"]
    assert "/nowhere.pem ($PIP_CERT): No such file" in missing[-1].text

    other_name = laptop.examine(
        url.replace("127.0.0.1", "localhost"), PIP_CERT=str(proxy.authority)
    )
    assert other_name[-1].text == "its certificate is for 127.0.0.1, and not for localhost"

    assert failures(laptop.examine(url, SSL_CERT_FILE=str(proxy.authority))) == []


def test_proxy(laptop: Laptop, server: RunningServer) -> None:
    """A proxy that refuses is named by its variable, without its password; no_proxy is obeyed."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{closed.getsockname()[1]}"
        environ = {"http_proxy": f"http://user:{PASSWORD}@{place}"}
        url = with_token(server, server.token)

        refused = laptop.examine(url, **environ)
        assert failures(refused) == ["connection"]
        assert f"through {place}: Connection refused" in refused[-1].text
        assert "http_proxy" in refused[-1].advice

        around = laptop.examine(url, no_proxy="127.0.0.0,127.0.0.1", **environ)
        assert failures(around) == []
        assert "no_proxy names 127.0.0.1" in one(around, "proxy").text


def test_name(laptop: Laptop) -> None:
    """A name that cannot be resolved ends the examination."""
    findings = laptop.examine(f"https://user:{PASSWORD}@packages.invalid/")

    assert failures(findings) == ["name"]
    assert findings[-1].text.startswith("packages.invalid cannot be resolved: ")


def test_clock(laptop: Laptop, server: RunningServer) -> None:
    """A clock that is an hour off is a warning."""
    machine, runtime = laptop.machine(), system_runtime()
    late = replace(
        machine, runtime=structs.replace(runtime, now=lambda: runtime.now() + timedelta(hours=1))
    )

    findings = list(examination(with_token(server, server.token), "", late).run())

    clock = one(findings, "clock")
    assert clock.outcome is CheckOutcome.WARNING
    assert "differs by 3" in clock.text
    # either of them may be the wrong one
    assert re.search(r"[0-9]{2}:[0-9]{2} UTC here, .*[0-9]{2}:[0-9]{2} UTC there", clock.text)
    assert "tell the server's operator" in clock.advice


@pytest.mark.parametrize(("content", "fails"), [(b"other bytes", ["file"]), (None, [])])
def test_other_server(laptop: Laptop, content: bytes | None, fails: list[str]) -> None:
    """A server that is no wheelyard is examined as the Simple API allows; bad bytes are found."""
    folder = laptop.folder / "site" / "simple"
    (folder / "demo").mkdir(parents=True)
    (folder / "index.html").write_text('<a href="demo/">demo</a>')
    digest = f"#sha256={sha256(content).hexdigest()}" if content else ""
    file = "demo-1.0-py3-none-any.whl"
    (folder / "demo" / "index.html").write_text(f'<a href="{file}{digest}">{file}</a>')
    (folder / "demo" / file).write_bytes(b"these bytes")
    opened = partialmethod(SimpleHTTPRequestHandler.__init__, directory=str(folder.parent))
    with serving(type("Site", (SimpleHTTPRequestHandler,), {"__init__": opened})) as url:
        findings = laptop.examine(url)

    assert one(findings, "server").text.startswith("not a wheelyard (SimpleHTTP")
    assert one(findings, "range").outcome is CheckOutcome.WARNING
    assert failures(findings) == fails


def test_log_in_page(laptop: Laptop) -> None:
    """A page for people, such as a hotel's at each URL, is not taken for an index."""
    with serving(Portal) as url:
        findings = laptop.examine(f"{url}/simple/")

    assert failures(findings) == ["project"]
    assert "log-in page" in findings[-1].advice
    assert "leads to http://localhost:" in findings[-3].text


def test_other_protocol(laptop: Laptop) -> None:
    """A port where something else than HTTP is spoken is told from one that does not answer."""
    with serving(Ssh) as url:
        finding = one(laptop.examine(url), "server")

    assert finding.text.endswith("its answer is no HTTP, or breaks off")
    assert finding.advice.endswith("Or write https://.")


def test_pip_files(laptop: Laptop, server: RunningServer, sandbox: Sandbox) -> None:
    """Of two pip.conf that conflict the one that pip itself takes is named, and the other one."""
    used = laptop.write(".config/pip/pip.conf", f"[global]\nindex-url={server.url}/simple/\n")
    legacy = laptop.write(".pip/pip.conf", "[global]\nindex_url=http://old.example/simple/\n")

    finding = one(laptop.examine(server.url), "pip")

    assert finding.outcome is CheckOutcome.WARNING
    assert finding.text == f"asks {server.url}/simple/ ({used})"
    assert finding.advice == f"Other values have no effect: http://old.example/simple/ ({legacy})."
    sandbox = replace(sandbox, home=laptop.home)
    listed = sandbox.run("env", "-u", "PIP_CONFIG_FILE", program("pip"), "config", "list")
    assert f"global.index-url='{server.url}/simple/'" in listed


@pytest.mark.parametrize(
    ("text", "environ", "index"),
    [
        ("[global]\nindex-url=http://a/\n[install]\nindex-url=http://b/", {}, "http://b/"),
        ("[global]\nindex-url=http://a/", {"PIP_INDEX_URL": "http://c/"}, "http://c/"),
        ("[global]\nindex-url=http://a/", {"PIP_CONFIG_FILE": "/dev/null"}, ""),
        ("no section", {}, ""),
    ],
)
def test_pip_order(laptop: Laptop, text: str, environ: dict[str, str], index: str) -> None:
    """The section of install beats the global one, and a variable beats the files."""
    laptop.write(".config/pip/pip.conf", text)

    settings = pip_settings(laptop.machine(**environ))

    assert settings.text("index-url") == index
    assert bool(settings.problems) is (text == "no section")


def test_uv_order(laptop: Laptop) -> None:
    """A variable beats the project's file, which beats the user's."""
    laptop.write(".config/uv/uv.toml", 'index-url = "http://user/"')
    machine = laptop.machine()
    assert uv_settings(machine).text("default-index") == "http://user/"

    project = machine.folder / "pyproject.toml"
    project.write_text('[[tool.uv.index]]\nurl = "http://project/"\ndefault = true\n')
    assert uv_settings(machine).text("default-index") == "http://project/"

    with_variable = laptop.machine(UV_DEFAULT_INDEX="acme=http://variable/?a=b")
    assert uv_settings(with_variable).text("default-index") == "http://variable/?a=b"


def test_uv_indexes(laptop: Laptop, server: RunningServer) -> None:
    """Of several indexes of uv, which asks all of them, the examined one is looked for."""
    first = '[[index]]\nname = "other"\nurl = "https://other.example/simple/"\nexplicit = true\n'
    second = f'[[index]]\nname = "acme"\nurl = "{server.url}/simple/"\n'
    path = laptop.write(".config/uv/uv.toml", first + second)

    finding = one(laptop.examine(server.url), "uv")

    assert finding.outcome is CheckOutcome.OK
    assert finding.text == f"asks {server.url}/simple/ ({path})"


def test_uv_password(laptop: Laptop, server: RunningServer) -> None:
    """The password of an index of uv may be in a variable with the name of the index."""
    laptop.write(".config/uv/uv.toml", f'[[index]]\nname = "ac-me"\nurl = "{server.url}/simple/"')

    findings = laptop.examine(UV_INDEX_AC_ME_USERNAME="x", UV_INDEX_AC_ME_PASSWORD=server.token)

    assert failures(findings) == []
    assert "uv.toml, $UV_INDEX_AC_ME_PASSWORD, user x" in one(findings, "credential").text


def test_no_index(laptop: Laptop) -> None:
    """Without a URL, and without an index in the settings, the command says to give one."""
    path = laptop.write(".config/pip/pip.conf", "index-url=https://packages.example/")

    with pytest.raises(Invalid, match=f"{path} is malformed. Give the URL of yours"):
        laptop.examine()


def test_command(laptop: Laptop, server: RunningServer, sandbox: Sandbox) -> None:
    """The command prints a line for each check, escaped, or JSON, and exits 1 if one failed."""
    command = (sys.executable, "-m", "wheelyard", "doctor")
    sandbox = replace(sandbox, home=laptop.home)

    told = sandbox.run(*command, with_token(server, server.token), "--json", **SOURCE)
    with serving(Hostile) as url:
        failed = sandbox.attempt(*command, url.replace("//", "//ana:p%40ssword@"), **SOURCE)

    checks = {each["check"]: each["outcome"] for each in json.loads(told)["checks"]}
    assert checks["file"] == "ok"
    assert server.token not in told
    assert failed.returncode == 1
    assert (
        "\nFAILED   index       this index: status 404, \\x1b[2J\\u202e Basic ***" in failed.stdout
    )
    assert failed.stdout.replace("\n", "").isprintable()


class Hostile(BaseHTTPRequestHandler):
    """Answers with characters that control a terminal, and with the credential that it got."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(404)
        self.end_headers()
        message = f"\x1b[2J\u202e {self.headers.get('Authorization', 'no credential')}"
        self.wfile.write(json.dumps({"message": message}).encode())


class Portal(BaseHTTPRequestHandler):
    """Leads each request to a page for people at another name."""

    def do_GET(self) -> None:
        """Answer."""
        is_there = self.path == "/welcome"
        self.send_response(200 if is_there else 302)
        self.send_header("Location", f"http://localhost:{self.connection.getsockname()[1]}/welcome")
        self.end_headers()
        self.wfile.write(b'<a href="/accept">I accept the rules of this hotel</a>')


class Ssh(BaseHTTPRequestHandler):
    """Answers as a server for SSH."""

    def handle(self) -> None:
        """Answer."""
        self.wfile.write(b"SSH-2.0-OpenSSH\r\n")
