"""What `wheelyard doctor` says of a server, without a port."""

from pathlib import Path
from socket import gaierror
from typing import NoReturn

import pytest

from tests.in_process_network import InProcessNetwork
from tests.sources.web.fake_server import CannedResponse, running_fake_server
from wheelyard.doctor.examination import examination
from wheelyard.doctor.installed_clients import Machine
from wheelyard.wiring.stores import system_runtime

RIGHTS = b'{"principal": "ana", "rights": [{"can": ["read"], "projects": ["acme-*"]}]}'


def findings_of(url: str, folder: Path) -> dict[str, str]:
    """Return what is found at a URL on a machine without clients, by the kind of check."""
    machine = Machine({"PATH": ""}, folder, folder, folder)
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
    ("login", "source"),
    [("", "no credential"), ("__token__:secret@", "the URL of the command line")],
)
def test_rights_are_those_of_a_credential(
    tmp_path: Path, network: InProcessNetwork, login: str, source: str
) -> None:
    """What may be done is said with the credential that it is about, or that there is none."""
    with running_fake_server(network) as server:
        server.serve("/api/v1/whoami", CannedResponse(RIGHTS))
        server.serve("/simple/", CannedResponse())
        url = server.url.replace("//", f"//{login}")

        findings = findings_of(f"{url}/simple/", tmp_path)

    assert findings["rights"] == f"{source}: ana may read acme-*"
