"""What commands say of attestations that a file gets after it was there."""

import json

import pytest

from tests.attestations.authority import github
from tests.cli.conftest import Typed
from tests.cli.test_verify import signed_wheel
from tests.clients.harness import Sandbox

pytestmark = pytest.mark.integration


def test_later_attestations_are_said(wheelyard: Typed, sandbox: Sandbox) -> None:
    """An upload and a promotion of a file that is there say that its attestations were added."""
    wheel = signed_wheel(sandbox.folder, github())
    promote = ("promote", "widget", "1.0", "--to", "dev")
    upload = ("upload", wheel)
    assert wheelyard(*upload, "--no-attestations").returncode == 0
    assert wheelyard(*promote).returncode == 0

    added = wheelyard(*upload)
    same = json.loads(wheelyard(*upload, "--json").stdout)
    trial = wheelyard(*promote, "--dry-run").stdout.splitlines()
    promoted = json.loads(wheelyard(*promote, "--json").stdout)
    again = json.loads(wheelyard(*promote, "--json").stdout)

    assert added.stdout.endswith("  already there, its attestations were added\n")
    assert "attested" not in same["files"][0]
    assert trial == [
        f"widget 1.0: already in dev  {wheel.name}",
        f"widget 1.0: its attestations would be added in dev  {wheel.name}",
    ]
    assert promoted["attested"] == [wheel.name]
    assert "attested" not in again
