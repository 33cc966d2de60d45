"""What `wheelyard doctor` says of a server, without a port."""

from pathlib import Path
from socket import gaierror
from typing import NoReturn

import pytest

from tests.in_process_network import InProcessNetwork
from tests.sources.web.fake_server import CannedResponse, running_fake_server
from wheelyard.doctor.examination import examination
from wheelyard.doctor.installed_clients import Machine
from wheelyard.http_client.urls import UserPassword
from wheelyard.wiring.stores import system_runtime

RIGHTS = b'{"principal": "ana", "rights": [{"can": ["read"], "projects": ["acme-*"]}]}'


def findings_of(url: str, folder: Path, **environ: str) -> dict[str, str]:
    """Return what is found at a URL on a machine with these variables, by the kind of check."""
    machine = Machine({"PATH": "", **environ}, folder, folder, folder)
    findings = examination(url, "", machine, system_runtime()).run()
    return {finding.check: finding.text for finding in findings}


def test_a_server_without_an_address_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose name is not known is named once, and not as one that leads elsewhere."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise gaierror

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("wheelyard.http_client.hosts.getaddrinfo", fail)

    findings = findings_of("http://packages.invalid/simple/", tmp_path)

    assert list(findings)[-1] == "network"
    assert findings["network"] == "packages.invalid: its name is not known"


@pytest.mark.parametrize(
    ("login", "answer", "said"),
    [
        ("", CannedResponse(RIGHTS), "no credential: ana may read acme-*"),
        (
            "__token__:secret@",
            CannedResponse(RIGHTS),
            "the URL of the command line: ana may read acme-*",
        ),
        ("", CannedResponse(status=401), "not known: status 401, no message"),
        (
            "__token__:secret@",
            CannedResponse(status=401),
            "the URL of the command line is refused: status 401, no message",
        ),
    ],
    ids=["nobody", "token", "nobody-is-refused", "token-is-refused"],
)
def test_rights_are_those_of_a_credential(
    tmp_path: Path, network: InProcessNetwork, login: str, answer: CannedResponse, said: str
) -> None:
    """What may be done is said with the credential that it is about, or that there is none."""
    with running_fake_server(network) as server:
        server.serve("/api/v1/whoami", answer)
        server.serve("/simple/", CannedResponse())
        url = server.url.replace("//", f"//{login}")

        findings = findings_of(f"{url}/simple/", tmp_path)

    assert findings["rights"] == said


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (
            "packages.example",
            "answers without TLS: pip refuses it, and others can read tokens",
        ),
        ("localhost", "answers"),
    ],
)
def test_a_server_elsewhere_needs_tls(
    tmp_path: Path,
    network: InProcessNetwork,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    said: str,
) -> None:
    """Plain HTTP to another machine is told, as pip refuses it and others can read tokens."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with running_fake_server(network) as server:
        server.page("/simple/", '<a href="demo/">demo</a>')
        monkeypatch.setenv("http_proxy", server.url)

        findings = findings_of(f"http://{host}/simple/", tmp_path)

    place = f"{host} through the proxy {server.url.removeprefix('http://')}"
    assert findings["network"] == f"{place} {said}"


def test_a_missing_page_has_its_status(tmp_path: Path, network: InProcessNetwork) -> None:
    """A page that the server does not have is told with its status, whatever the answer lists."""
    with running_fake_server(network) as server:
        answer = CannedResponse(b'<a href="demo/">demo</a>', 404, {"Content-Type": "text/html"})
        server.serve("/simple/", answer)

        findings = findings_of(f"{server.url}/simple/", tmp_path)

    assert findings["page"].startswith(f"{server.url}/simple/: status 404")


@pytest.mark.parametrize(
    ("path", "simple"),
    [
        *(("", "/simple/"), ("/simple/demo/", "/simple/"), ("/legacy/", "/simple/")),
        ("/team/project/demo/", "/team/simple/"),
        ("/legacy/team/simple/demo/", "/legacy/team/simple/"),
    ],
)
def test_any_url_of_a_server_leads_to_its_index(
    tmp_path: Path, network: InProcessNetwork, path: str, simple: str
) -> None:
    """The URL of a page or for uploads leads to the index, also below a path of another name."""
    with running_fake_server(network) as server:
        server.page(simple, '<a href="demo/">demo</a>')

        findings = findings_of(f"{server.url}{path}", tmp_path)

    assert findings["page"] == f"{server.url}{simple} lists 1 project"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'<a href="/simple/demo/">demo</a>', " lists 1 project"),
        (b'<base href="/files/"><a href="/files/demo/">demo</a>', " lists 1 project"),
        (b"<title>Simple index</title>", " lists 0 projects"),
        (b"Sign in", " is no page of an index: status 200, Sign in"),
    ],
)
def test_a_page_is_told_from_one_of_no_index(
    tmp_path: Path, network: InProcessNetwork, body: bytes, found: str
) -> None:
    """The projects of a page are counted, and a page such as one to log in is no index."""
    with running_fake_server(network) as server:
        server.serve("/simple/", CannedResponse(body, headers={"Content-Type": "text/html"}))

        findings = findings_of(f"{server.url}/simple/", tmp_path)

    assert findings["page"].removeprefix(f"{server.url}/simple/") == found


def test_no_other_server_gets_the_credential(tmp_path: Path, network: InProcessNetwork) -> None:
    """The server of the URL gets the credential in it, and one that it redirects to does not."""
    login = UserPassword("ana", "secret").authorization
    with running_fake_server(network) as server, running_fake_server(network) as other:
        location = {"Location": f"{other.url}/simple/"}
        server.serve("/api/v1/whoami", CannedResponse(RIGHTS))
        server.serve("/simple/", CannedResponse(status=302, headers=location))
        other.page("/simple/", '<a href="demo/">demo</a>')

        findings_of(f"{server.url.replace('//', '//ana:secret@')}/simple/", tmp_path)

    assert server.logins("/api/v1/whoami") == [login]
    assert login in server.logins("/simple/")
    assert other.seen != []
    assert set(other.logins("/simple/")) == {None}


@pytest.mark.parametrize(
    ("answer", "alone", "unused"),
    [
        (None, "there is none for this server; requests are anonymous", "{netrc}"),
        (
            UserPassword("of-keyring", "secret"),
            "the keyring ({keyring}), user of-keyring",
            "{netrc}, the keyring ({keyring})",
        ),
    ],
)
def test_credentials_have_an_order(
    tmp_path: Path,
    network: InProcessNetwork,
    monkeypatch: pytest.MonkeyPatch,
    answer: UserPassword | None,
    alone: str,
    unused: str,
) -> None:
    """Settings for the server come before netrc and the keyring, and no others count."""
    places = {"netrc": tmp_path / ".netrc", "keyring": tmp_path / "keyring"}
    places["keyring"].touch(0o700)
    monkeypatch.setattr("wheelyard.doctor.examination.ask_keyring", lambda *_: answer)
    with running_fake_server(network) as server:
        index = f"{server.url}/simple/"
        indexes = {
            "PIP_INDEX_URL": index.replace("//", "//of-pip:secret@"),
            "UV_DEFAULT_INDEX": "http://of-uv:secret@elsewhere.example/simple/",
        }

        def credential(**environ: str) -> str:
            return findings_of(index, tmp_path, PATH=str(tmp_path), **environ)["credential"]

        without_settings = credential()
        places["netrc"].write_text("machine 127.0.0.1 login of-netrc password secret\n")
        with_settings = credential(**indexes)

    assert without_settings == alone.format(**places)
    assert with_settings == f"$PIP_INDEX_URL, user of-pip; not used: {unused.format(**places)}"
