"""What `wheelyard doctor` says of a server that it cannot reach, without any network."""

from pathlib import Path
from socket import gaierror
from typing import NoReturn

import pytest

from wheelyard.doctor.examination import examination
from wheelyard.doctor.installed_clients import Machine
from wheelyard.wiring.stores import system_runtime


def test_a_server_without_an_address_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose name is not known is named once, and not as one that leads elsewhere."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise gaierror

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("wheelyard.http_client.hosts.getaddrinfo", fail)
    machine = Machine({"PATH": ""}, tmp_path, tmp_path, tmp_path)
    url = "http://packages.invalid/simple/"

    *_, finding = examination(url, "", machine, system_runtime()).run()

    assert (finding.check, finding.text) == (
        "network",
        "packages.invalid: its name is not known",
    )
