"""What happens to credentials that are changed or taken away while the index runs."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.access.places import PASSWORD, Place, id_token, open_place
from tests.access.serving import ACCESS_TOKEN, SOON, allowed, basic, rotated
from tests.trust.issuer import rsa_key
from wheelyard.stores import real_ambient

pytestmark = pytest.mark.integration

PAGE = "/simple/shut-lib/"


@dataclass
class Later:
    """An index whose clock a test moves."""

    folder: Path
    seconds: float = 0.0
    place: Place = field(init=False)

    def status(self, authorization: str) -> int:
        """Return the status of a page for a credential."""
        return self.place.ask("GET", PAGE, (("authorization", authorization),)).status


@pytest.fixture
def later(tmp_path: Path) -> Iterator[Later]:
    """Yield an index that believes Google for a few seconds."""
    real, later = real_ambient(), Later(tmp_path)
    ambient = replace(real, monotonic=lambda: real.monotonic() + later.seconds)
    with open_place(tmp_path, is_open=False, adjust=_hasty, ambient=ambient) as later.place:
        yield later


def _hasty(said: dict[str, object]) -> None:
    google = said["google"]
    assert isinstance(google, dict)
    google["access_token"]["cache_seconds"] = SOON


def test_a_role_is_taken_away(later: Later) -> None:
    """Whoever loses a role at Google loses it here, as soon as Google's answer is asked anew."""
    login, google = basic("oauth2accesstoken", ACCESS_TOKEN), later.place.google
    google.bearers[ACCESS_TOKEN] = allowed("get")
    assert later.status(login) == 200

    google.bearers[ACCESS_TOKEN] = allowed()
    assert later.status(login) == 200
    later.seconds += SOON + 1
    assert later.status(login) == 404

    del google.bearers[ACCESS_TOKEN]
    later.seconds += 11  # that somebody has no rights is remembered for ten
    assert later.status(login) == 401


def test_keys_rotate(later: Later) -> None:
    """A token that is signed with a key which is new at Google is good as soon as it is there."""
    key, old = rsa_key("google-next"), id_token("reader@acme.dev")
    claims = json.loads(urlsafe_b64decode(old.split(".")[1] + "=="))
    assert later.status(f"Bearer {old}") == 200

    rotated(later.place.google, key)
    assert later.status(f"Bearer {key.token(claims)}") == 401  # Google was asked just now
    later.seconds += 61

    assert later.status(f"Bearer {key.token(claims)}") == 200
    assert later.status(f"Bearer {old}") == 200


def test_a_name_is_removed(later: Later) -> None:
    """Whoever is taken out of the htpasswd file is out within seconds, without a restart (64)."""
    login = basic("reader", PASSWORD)
    assert later.status(login) == 200

    path = later.folder / "htpasswd"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(each for each in lines if "reader" not in each))
    later.seconds += 5

    assert later.status(login) == 401
