"""What `wheelyard doctor` says on machines where an install or a publish does not work."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partialmethod
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from tests.clients.harness import SOURCE, Sandbox, program
from tests.clients.tls import Proxy, running_proxy
from tests.distributions import make_wheel
from tests.doctor.test_connection import RIGHTS
from tests.http.packages import publish
from tests.http.servers import RunningServer, running_server
from tests.http_server import serving
from tests.in_process_network import InProcessNetwork
from tests.sources.web.fake_server import JSON, CannedResponse, running_fake_server
from wheelyard.doctor.examination import CheckOutcome, Finding, examination, without_secrets
from wheelyard.doctor.installed_clients import ConfiguredClients, Machine
from wheelyard.errors import Invalid
from wheelyard.http_client.urls import parse_url
from wheelyard.wiring.stores import system_runtime

PASSWORD = "a-password-of-a-proxy"


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
        path.chmod(0o700)
        return str(path)

    def machine(self, **environ: str) -> Machine:
        """Return what programs see there: no other program, unless PATH is given."""
        project = self.folder / "work"
        project.mkdir(exist_ok=True)
        return Machine({"PATH": "", **environ}, self.home, project, self.folder / "etc")

    def examine(self, url: str | None = None, project: str = "", **environ: str) -> list[Finding]:
        """Examine a URL; assert that no password is in what is found."""
        running = examination(url, project, self.machine(**environ), system_runtime())
        findings = list(running.run())
        assert PASSWORD not in repr((running, findings))
        assert "wyd_" not in repr(findings)
        return findings


@pytest.fixture
def laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laptop:
    """A machine with an empty home, and without a proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    new_laptop = Laptop(tmp_path)
    new_laptop.home.mkdir()
    return new_laptop


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server where reading needs a token, with two projects."""
    with running_server(tmp_path_factory.mktemp("server"), "--private") as server:
        publish(server, make_wheel("demo"), make_wheel("acme-core"))
        yield server


@pytest.fixture(scope="module")
def proxy(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy that speaks TLS for the server, with a certificate of an own authority."""
    with running_proxy(tmp_path_factory.mktemp("tls"), server.address) as proxy:
        yield proxy


@pytest.fixture
def index_url(network: InProcessNetwork) -> Iterator[str]:
    """The URL of an index that anybody may read."""
    with running_fake_server(network) as server:
        server.serve("/api/v1/whoami", CannedResponse(RIGHTS))
        server.page("/simple/", '<a href="demo/">demo</a>')
        server.page("/simple/empty/", '{"meta": {"api-version": "1.0"}, "files": []}', JSON)
        yield f"{server.url}/simple/"


def with_token(server: RunningServer, token: str, path: str = "/simple/") -> str:
    """Return a URL of the server with a token in it."""
    return f"http://__token__:{token}@{server.address}{path}"


def finding_of(findings: list[Finding], check: str) -> Finding:
    """Return the only finding of a check."""
    (finding_of_check,) = [finding for finding in findings if finding.check == check]
    return finding_of_check


def failures(findings: list[Finding]) -> list[str]:
    """Return the names of the checks that failed."""
    return [finding.check for finding in findings if finding.outcome is CheckOutcome.FAILED]


@pytest.mark.integration
def test_each_check_is_ok_where_all_is_well(laptop: Laptop, server: RunningServer) -> None:
    """Where all is well each check is ok, and names the file that has the index."""
    path = laptop.write(
        ".config/pip/pip.conf", f"[global]\nindex-url={with_token(server, server.token)}"
    )

    findings = laptop.examine(project="demo")

    assert {finding.outcome for finding in findings} == {CheckOutcome.OK}
    checks = " ".join(finding.check for finding in findings)
    assert checks == "pip network credential rights page"
    assert path in finding_of(findings, "pip").text
    assert finding_of(findings, "credential").text == f"the URL of {path}, user __token__"
    assert "may read,upload,manage *" in finding_of(findings, "rights").text
    assert finding_of(findings, "page").text == f"{server.url}/simple/demo/ lists 1 file"


@pytest.mark.integration
@pytest.mark.parametrize(
    "path", ["", "/", "/simple", "/legacy/", "/simple/demo/", "/project/demo/", "/pypi/simple/"]
)
def test_every_url_leads_there(laptop: Laptop, server: RunningServer, path: str) -> None:
    """The server's root, its index and the URL for uploads lead to the same index."""
    findings = laptop.examine(with_token(server, server.token, path))

    assert failures(findings) == []
    assert finding_of(findings, "page").text.endswith(" lists 2 projects")


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["wrong", "expired", "alone"])
def test_refused_token_has_a_place(laptop: Laptop, server: RunningServer, kind: str) -> None:
    """A token that is wrong or expired is a failure, with its place and what to do."""
    token = "wyd_" + "a" * 48
    if kind == "expired":
        token = server.make_token(lifetime=timedelta(microseconds=1))
    login = token if kind == "alone" else f"__token__:{token}"

    findings = laptop.examine(f"http://{login}@{server.address}/simple/")

    assert failures(findings) == ["rights", "page"]
    rights = finding_of(findings, "rights")
    assert rights.text.startswith("the URL of the command line is refused: status 401, ")
    assert "wrong, expired or revoked" in rights.advice


@pytest.mark.integration
def test_order_of_credentials(laptop: Laptop, server: RunningServer) -> None:
    """The URL beats netrc, and netrc beats the keyring; those that are not used are named."""
    netrc = laptop.write(".netrc", f"machine 127.0.0.1 login a password {server.token}\n")
    keyring = Path(laptop.write("bin/keyring", f"#!/bin/sh\necho {PASSWORD}\n"))

    of_netrc = laptop.examine(server.url, PATH=str(keyring.parent))
    of_url = laptop.examine(with_token(server, "wyd_" + "a" * 48), NETRC=netrc)

    assert failures(of_netrc) == []
    text = f"{netrc}, user a; not used: the keyring ({keyring})"
    assert finding_of(of_netrc, "credential").text == text
    text = f"the URL of the command line, user __token__; not used: {netrc}"
    assert finding_of(of_url, "credential").text == text


@pytest.mark.integration
def test_a_missing_credential_is_reported(laptop: Laptop, server: RunningServer) -> None:
    """A missing credential is named, and then the status that the server sends."""
    laptop.write(".netrc", f"machine elsewhere.example login a password {PASSWORD}\n")

    findings = laptop.examine(server.url)

    assert finding_of(findings, "credential").text.startswith("there is none for this server")
    assert failures(findings) == ["page"]
    assert "status 401" in findings[-1].text


@pytest.mark.integration
def test_a_missing_project_is_reported(laptop: Laptop, server: RunningServer) -> None:
    """A project that is not there is a failure with its URL and status."""
    findings = laptop.examine(with_token(server, server.token), "demmo")

    assert failures(findings) == ["page"]
    assert "/simple/demmo/: status 404" in findings[-1].text


def test_a_project_without_a_file_is_reported(laptop: Laptop, index_url: str) -> None:
    """A project that is there and has no file is a failure, as nothing can be installed."""
    findings = laptop.examine(index_url, "empty")

    assert failures(findings) == ["page"]
    assert findings[-1].text == f"{index_url}empty/ lists 0 files"


@pytest.mark.integration
def test_unknown_authority_is_reported(laptop: Laptop, proxy: Proxy, server: RunningServer) -> None:
    """An authority that is not trusted is told; a list of authorities with it is enough."""
    url = proxy.url.replace("https://", f"https://__token__:{server.token}@")

    unknown = laptop.examine(url)
    assert failures(unknown) == ["network"]
    assert unknown[-1].text.endswith(": its certificate is not trusted")
    assert "docs/tls.md" in unknown[-1].advice
    missing = laptop.examine(url, PIP_CERT="/nowhere.pem")
    assert failures(missing) == ["network"]
    assert "/nowhere.pem ($PIP_CERT) cannot be read: No such file" in missing[-1].text
    without = laptop.examine(url, PIP_CERT=os.devnull)
    assert f"{os.devnull} ($PIP_CERT) cannot be read: there is no certificate in it" in (
        without[-1].text
    )
    assert failures(laptop.examine(url, SSL_CERT_FILE=str(proxy.authority))) == []


@pytest.mark.integration
def test_a_dead_proxy_is_named_without_its_password(
    laptop: Laptop, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that does not answer is named, without its password; no_proxy is obeyed."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("http_proxy", f"http://user:{PASSWORD}@{place}")
        url = with_token(server, server.token)

        refused = laptop.examine(url)
        assert failures(refused) == ["network"]
        assert f"through the proxy {place}: it cannot be reached" in refused[-1].text

        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert failures(laptop.examine(url)) == []


@pytest.mark.integration
def test_an_unknown_host_ends_the_examination(laptop: Laptop) -> None:
    """A name that cannot be resolved ends the examination."""
    findings = laptop.examine(f"https://user:{PASSWORD}@packages.invalid/")

    assert failures(findings) == ["network"]
    assert findings[-1].text == "packages.invalid: its name is not known"


def test_another_kind_of_server_is_examined_by_the_simple_api(
    laptop: Laptop, network: InProcessNetwork
) -> None:
    """A server that is no wheelyard is examined as far as the Simple API goes."""
    folder = laptop.folder / "site" / "simple"
    (folder / "demo").mkdir(parents=True)
    (folder / "index.html").write_text('<a href="demo/">demo</a>')
    (folder / "demo" / "index.html").write_text('<a href="demo-1.0.tar.gz">demo-1.0.tar.gz</a>')
    opened = partialmethod(SimpleHTTPRequestHandler.__init__, directory=str(folder.parent))
    with serving(type("Site", (SimpleHTTPRequestHandler,), {"__init__": opened}), network) as url:
        findings = laptop.examine(url, "demo")

    rights = finding_of(findings, "rights")
    assert rights.outcome is CheckOutcome.WARNING
    assert rights.text.startswith("not known: status 404")
    assert finding_of(findings, "page").text.endswith("/simple/demo/ lists 1 file")
    assert failures(findings) == []


def test_log_in_page(laptop: Laptop, network: InProcessNetwork) -> None:
    """A page for people, such as a hotel's at each URL, is not taken for an index."""
    with serving(Portal, network) as url:
        findings = laptop.examine(f"{url}/simple/")

    assert failures(findings) == ["page"]
    assert "log-in page" in findings[-1].advice
    assert "leads to http://localhost:" in finding_of(findings, "network").text


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"<html><form>Log in</form></html>", CheckOutcome.FAILED),
        (b'<a href="/register">Register</a>', CheckOutcome.FAILED),
        (b'{"a": 1}', CheckOutcome.FAILED),
        (b"", CheckOutcome.FAILED),
        (b"<title>Simple index</title>", CheckOutcome.WARNING),
        (b'<meta name="pypi:repository-version" content="1.0">', CheckOutcome.WARNING),
        (b'<a href="demo/">demo</a>', CheckOutcome.OK),
        (b'{"meta": {"api-version": "1.0"}, "projects": []}', CheckOutcome.OK),
    ],
)
def test_no_index_at_the_url(
    laptop: Laptop, network: InProcessNetwork, body: bytes, outcome: CheckOutcome
) -> None:
    """A page that is no index fails; one without projects is a warning, unless it is JSON."""
    with serving(type("Answering", (Fixed,), {"body": body}), network) as url:
        findings = laptop.examine(url)

    assert finding_of(findings, "page").outcome is outcome


def test_a_server_that_fails_is_reported(laptop: Laptop, network: InProcessNetwork) -> None:
    """A server or proxy that answers each request with 502 is no network that is well."""
    with serving(type("Failing", (Fixed,), {"otherwise": 502}), network) as url:
        finding = finding_of(laptop.examine(url), "network")

    assert finding.outcome is CheckOutcome.WARNING
    assert "answers with status 502" in finding.text


@pytest.mark.integration
def test_redirect_to_unknown_name(laptop: Laptop) -> None:
    """A redirect to a name that is not known is told from a server whose name is not known."""
    with serving(type("Leading", (Portal,), {"host": "login.invalid"})) as url:
        findings = laptop.examine(url)

    text = f"{url.removeprefix('http://')} leads to http://login.invalid"
    assert findings[-1].text.startswith(text)
    assert findings[-1].text.endswith("/welcome: its name is not known")


def test_another_protocol_is_told_from_silence(laptop: Laptop, network: InProcessNetwork) -> None:
    """An answer that is not HTTP is told from none at all, each with its advice."""
    with serving(Ssh, network) as url:
        finding = finding_of(laptop.examine(url), "network")
    refused = finding_of(laptop.examine(url), "network")

    assert finding.text.endswith("its answer is no HTTP, or breaks off")
    assert "https://" in finding.advice
    assert "Is the server running" in refused.advice


@pytest.mark.integration
def test_taken_pip_conf_is_named(laptop: Laptop, server: RunningServer, sandbox: Sandbox) -> None:
    """Of two pip.conf that conflict the one that pip itself takes is named."""
    used = laptop.write(".config/pip/pip.conf", f"[global]\nindex-url={server.url}/simple/\n")
    laptop.write(".pip/pip.conf", "[global]\nindex_url=http://old.example/simple/\n")

    assert finding_of(laptop.examine(), "pip").text == f"asks {server.url}/simple/ ({used})"
    sandbox = replace(sandbox, home=laptop.home)
    listed = sandbox.run("env", "-u", "PIP_CONFIG_FILE", program("pip"), "config", "list")
    assert f"global.index-url='{server.url}/simple/'" in listed


def test_clients_of_other_indexes(laptop: Laptop, index_url: str) -> None:
    """A client that asks another server, or one more, is named with the setting that says so."""
    environ = {"UV_DEFAULT_INDEX": "https://old.example/simple/"}
    environ |= {"PIP_EXTRA_INDEX_URL": index_url}

    findings = laptop.examine(index_url.replace("//", f"//__token__:{PASSWORD}@"), **environ)

    warned = [finding for finding in findings if finding.outcome is CheckOutcome.WARNING]
    assert [finding.text for finding in warned] == [
        f"asks {index_url} ($PIP_EXTRA_INDEX_URL)",
        "asks https://old.example/simple/ ($UV_DEFAULT_INDEX)",
    ]
    assert "highest version" in warned[0].advice
    assert "Correct that file or variable" in warned[1].advice


@pytest.mark.parametrize(
    ("text", "environ", "index"),
    [
        ("[global]\nindex-url=http://a/\n[install]\nindex-url=http://b/", {}, "b"),
        ("[global]\nindex-url=http://a/", {"PIP_INDEX_URL": "http://c/"}, "c"),
        ("[global]\nindex-url=http://a/", {"PIP_CONFIG_FILE": "/dev/null"}, ""),
        ("no section", {}, ""),
    ],
)
def test_pip_sections_and_variables_have_an_order(
    laptop: Laptop, text: str, environ: dict[str, str], index: str
) -> None:
    """The section of install beats the global one, and a variable beats the files."""
    laptop.write(".config/pip/pip.conf", text)

    settings = ConfiguredClients(laptop.machine(**environ))

    assert [found.url.host for found in settings.indexes if found.url] == [*filter(None, [index])]
    assert bool(settings.problems) is (text == "no section")


def test_uv_variables_and_files_have_an_order(laptop: Laptop) -> None:
    """Variables of uv come before files of the project and the user; one default comes last."""

    def asked(**environ: str) -> list[str]:
        indexes = ConfiguredClients(laptop.machine(**environ)).indexes
        return [index.url.host for index in indexes if index.url]

    laptop.write(".config/uv/uv.toml", 'index-url = "http://user/"')
    assert asked() == ["user"]
    project = laptop.folder / "work" / "pyproject.toml"
    tables = '[[tool.uv.index]]\nurl = "http://project/"\ndefault = true\n'
    project.write_text(f'{tables}[[tool.uv.index]]\nurl = "http://first/"\nname = "ac-me"\n')
    assert asked() == ["first", "project"]
    variable = "acme=http://variable/?a=b"
    assert asked(UV_DEFAULT_INDEX=variable, UV_INDEX="http://one/ http://two/") == [
        *("one", "two", "first", "variable")
    ]
    project.write_text("[tool]\nuv = 3\n")
    assert ConfiguredClients(laptop.machine()).problems == [f"{project} is malformed"]


@pytest.mark.integration
def test_a_password_of_uv_may_be_in_a_variable(laptop: Laptop, server: RunningServer) -> None:
    """The password of an index of uv may be in a variable with the name of the index."""
    path = laptop.write(
        ".config/uv/uv.toml", f'[[index]]\nname = "ac-me"\nurl = "{server.url}/simple/"'
    )

    findings = laptop.examine(UV_INDEX_AC_ME_USERNAME="x", UV_INDEX_AC_ME_PASSWORD=server.token)

    assert failures(findings) == []
    assert finding_of(findings, "credential").text == f"{path}, user x"


def test_folder_beside_index(laptop: Laptop, index_url: str) -> None:
    """A folder that pip looks into, too, is told with its danger, and is no index to examine."""
    folder = {"PIP_EXTRA_INDEX_URL": "file:///opt/pypi/simple"}
    index = {"UV_DEFAULT_INDEX": index_url}

    findings = laptop.examine(**folder, **index)

    extra = finding_of(findings, "pip, extra")
    assert extra.text == "asks a folder of this machine ($PIP_EXTRA_INDEX_URL)"
    assert "highest version" in extra.advice
    assert failures(findings) == []
    with pytest.raises(Invalid, match="No index with a URL of http or https is set here"):
        laptop.examine(**folder)


def test_without_a_url_the_command_asks_for_one(laptop: Laptop) -> None:
    """Without a URL, and without an index in the settings, the command says to give one."""
    path = laptop.write(".config/pip/pip.conf", "index-url=https://packages.example/")

    with pytest.raises(Invalid, match=f"{path} is malformed. Give the URL of yours"):
        laptop.examine()


def test_a_url_that_cannot_be_used_has_a_place(laptop: Laptop) -> None:
    """A URL that is none of http or https is refused, with the file or variable that has it."""
    with pytest.raises(Invalid, match="The URL of the command line cannot be used"):
        laptop.examine("ftp://packages.example/")
    with pytest.raises(Invalid, match=r"The URL of \$PIP_INDEX_URL cannot be used"):
        laptop.examine(PIP_INDEX_URL="packages.example/simple/")


def test_a_word_that_may_be_a_secret_is_not_printed() -> None:
    """A part of a path that may be a token is masked, and the view of a day is not."""
    url = parse_url("https://packages.example/dev/as-of-2026-01-31/b34tQ8vLmXk2Zp0A/simple/")

    assert without_secrets(url) == "https://packages.example/dev/as-of-2026-01-31/***/simple/"


@pytest.mark.integration
def test_command_prints_json(laptop: Laptop, server: RunningServer, sandbox: Sandbox) -> None:
    """The command prints a line for each check, escaped, or JSON, and exits 1 if one failed."""
    command = (sys.executable, "-m", "wheelyard", "doctor")
    sandbox = replace(sandbox, home=laptop.home)

    printed = sandbox.run(*command, with_token(server, server.token), "--json", **SOURCE)
    with serving(Hostile) as url:
        failed = sandbox.attempt(*command, url.replace("//", "//ana:p%40ssword@"), **SOURCE)

    checks = {check["check"]: check["outcome"] for check in json.loads(printed)["checks"]}
    assert checks["page"] == "ok"
    assert server.token not in printed
    assert failed.returncode == 1
    assert "\nFAILED   page        http" in failed.stdout
    assert "/simple/: status 404, \\x1b[2J\\u202e Basic ***" in failed.stdout
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

    host = "localhost"

    def do_GET(self) -> None:
        """Answer."""
        is_there = self.path == "/welcome"
        self.send_response(200 if is_there else 302)
        self.send_header(
            "Location", f"http://{self.host}:{self.headers['Host'].rpartition(':')[2]}/welcome"
        )
        self.end_headers()
        self.wfile.write(b'<a href="/accept">I accept the rules of this hotel</a>')


class Fixed(BaseHTTPRequestHandler):
    """Has one body at its index, and nothing else."""

    body = b""
    otherwise = 404

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200 if self.path == "/simple/" else self.otherwise)
        self.end_headers()
        self.wfile.write(self.body)


class Ssh(BaseHTTPRequestHandler):
    """Answers as a server for SSH."""

    def handle(self) -> None:
        """Answer."""
        self.wfile.write(b"SSH-2.0-OpenSSH\r\n")
        self.rfile.readline()  # a client that has not written yet must not find it closed
