"""What `wheelyard doctor` says of a server whose answers are written down."""

from contextlib import ExitStack
from pathlib import Path

import httpcore2
import pytest

from wheelyard.doctor.examination import examination
from wheelyard.doctor.installed_clients import Machine
from wheelyard.http_client.client import ClientResponse, Requester
from wheelyard.http_client.urls import Url
from wheelyard.wiring.stores import system_runtime

RIGHTS = b'{"principal": "ana", "rights": [{"can": ["read"], "projects": ["acme-*"]}]}'


@pytest.mark.parametrize(
    ("login", "source"),
    [("", "no credential"), ("__token__:secret@", "the URL of the command line")],
)
def test_rights_are_those_of_a_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: str, source: str
) -> None:
    """What may be done is said with the credential that it is about, or that there is none."""

    def answer(_: Requester, __: str, url: Url, ___: object) -> ClientResponse:
        response = httpcore2.Response(200, content=RIGHTS if url.filename == "whoami" else b"")
        return ClientResponse(url, 200, {}, response, ExitStack())

    monkeypatch.setattr(Requester, "follow", answer)
    machine = Machine({"PATH": ""}, tmp_path, tmp_path, tmp_path)
    url = f"https://{login}packages.acme.dev/simple/"

    findings = list(examination(url, "", machine, system_runtime()).run())

    (rights,) = [finding.text for finding in findings if finding.check == "rights"]
    assert rights == f"{source}: ana may read acme-*"
