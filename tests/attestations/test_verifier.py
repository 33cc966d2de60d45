"""Attestations of an authority in memory: which hold for a file, and which do not."""

import json
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attestations.authority import (
    CIRCLECI,
    GITHUB,
    GITLAB,
    GOOGLE,
    PUBLISH,
    SLSA,
    Authority,
    Identity,
    circleci,
    github,
    gitlab,
    google,
    provenance_of,
)
from tests.refused import refused
from wheelyard.archive.attestation_verifier import AttestationVerifier
from wheelyard.errors import INVALID_ATTESTATIONS, Invalid
from wheelyard.model.attestations import read_provenance
from wheelyard.settings.sections import AttestationSettings, Settings
from wheelyard.settings.upstream_section import UpstreamSettings
from wheelyard.wiring.attestation_building import require_attestations

NAME: Final = "widget-1.0-py3-none-any.whl"
DIGEST: Final = "ab" * 32
OTHER: Final = "cd" * 32
ENTRIES: Final = ("verification_material", "transparency_entries")
PREDICATE: Final = "https://acme.invalid/v1"


@cache
def authority() -> Authority:
    """Return the authority of all tests of this module, as its keys take time."""
    return Authority()


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> AttestationVerifier:
    """What trusts the authority."""
    root = tmp_path_factory.mktemp("root") / "trusted_root.json"
    root.write_text(authority().trusted_root)
    return AttestationVerifier(str(root))


def test_a_public_provenance_holds_by_the_shipped_root() -> None:
    """A provenance of a public file holds, until the root in the extra is too old for it."""
    # of pypi_attestations 0.0.19, as its index has it
    body = Path(__file__).with_name("public.provenance").read_bytes()
    filename = "pypi_attestations-0.0.19.tar.gz"
    digest = "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3"
    AttestationVerifier("").verify_provenance(body, filename, digest)
    with pytest.raises(Invalid, match="another SHA-256"):
        AttestationVerifier("").verify_provenance(body, filename, OTHER)


@pytest.mark.parametrize(
    ("module", "trusted_root", "use"),
    [
        ("sigstore", "", AttestationVerifier.require_usable),
        ("sigstore", "", AttestationVerifier.newest_key),
        ("sigstore_models.trustroot.v1", "trusted_root.json", AttestationVerifier.newest_key),
    ],
    ids=["at the start", "its root", "a root of one's own"],
)
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    trusted_root: str,
    use: Callable[[AttestationVerifier], object],
) -> None:
    """Without the extra, the message names it, and of a clone the file that has all extras."""
    monkeypatch.setitem(sys.modules, module, None)

    with refused(Invalid, "bad_setting", r"wheelyard\[attestations\]") as caught:
        use(AttestationVerifier(trusted_root))

    assert caught.value.message.endswith("requirements/otel.txt. This file has all extras.")


def changed(attestation: dict[str, Any], *path: str | int, value: object) -> dict[str, Any]:
    """Return an attestation with another value somewhere."""
    copy: dict[str, Any] = json.loads(json.dumps(attestation))
    inner: Any = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


@pytest.mark.parametrize("identity", [github(), gitlab(), google()])
def test_who_signs_is_read_of_the_certificate(
    verifier: AttestationVerifier, identity: Identity
) -> None:
    """An attestation that holds names its signer, with the claims of the certificate."""
    attestation = verifier.verify(authority().attest(NAME, DIGEST, identity), NAME, DIGEST)

    assert attestation.signer.subject == identity.subject
    claims = {8: identity.issuer, **identity.claims}
    assert attestation.signer.claims == {
        number: text for number, text in claims.items() if number not in {10, 16, 19, 22}
    }


def test_two_of_different_types_hold(verifier: AttestationVerifier) -> None:
    """A file may have one attestation of each type, also in another spelling of its name."""
    sent = [
        authority().attest("Widget-1.0.0-py3-none-any.whl", DIGEST),
        authority().attest(NAME, DIGEST, predicate_type=SLSA),
    ]

    held = verifier.verify_all(json.dumps(sent), NAME, DIGEST)

    assert [attestation.predicate_type.rpartition("/")[0] for attestation in held] == [
        PUBLISH.rpartition("/")[0],
        SLSA.rpartition("/")[0],
    ]
    assert [dict(attestation.canonical) for attestation in held] == sent


REFUSED: Final = {
    "another digest": lambda: authority().attest(NAME, OTHER),
    "another version": lambda: authority().attest("widget-1.1-py3-none-any.whl", DIGEST),
    "an sdist": lambda: authority().attest("widget-1.0.tar.gz", DIGEST),
    "no file name": lambda: authority().attest("widget", DIGEST),
    "a wheel with a label of no form": lambda: authority().attest(
        "widget-1.0-1-py3-none-any-CUDA.whl", DIGEST
    ),
    "an unknown type": lambda: authority().attest(NAME, DIGEST, predicate_type=PREDICATE),
    "two files": lambda: authority().attest(
        NAME, DIGEST, subjects=[{"name": NAME, "digest": {"sha256": DIGEST}}] * 2
    ),
    "another kind of statement": lambda: authority().attest(
        NAME, DIGEST, changes={"_type": "https://acme.invalid/Statement/v1"}
    ),
    "no statement": lambda: authority().attest(NAME, DIGEST, changes={"predicateType": 1}),
    "no digest": lambda: authority().attest(NAME, DIGEST, subjects=[{"name": NAME}]),
    "logged too late": lambda: authority().attest(NAME, DIGEST, logged_after=timedelta(hours=1)),
    "another signature": lambda: changed(
        authority().attest(NAME, DIGEST),
        *("envelope", "signature"),
        value=authority().attest(NAME, DIGEST)["envelope"]["signature"],
    ),
    "another entry": lambda: changed(
        authority().attest(NAME, DIGEST),
        *ENTRIES,
        value=authority().attest(NAME, DIGEST)["verification_material"]["transparency_entries"],
    ),
    "no entry": lambda: changed(authority().attest(NAME, DIGEST), *ENTRIES, value=[]),
    "two entries": lambda: changed(
        authority().attest(NAME, DIGEST),
        *ENTRIES,
        value=authority().attest(NAME, DIGEST)["verification_material"]["transparency_entries"] * 2,
    ),
    "an entry of noise": lambda: changed(authority().attest(NAME, DIGEST), *ENTRIES, value=[{}]),
    "another moment": lambda: changed(
        authority().attest(NAME, DIGEST), *ENTRIES, 0, "integratedTime", value="1"
    ),
    "no promise": lambda: changed(
        authority().attest(NAME, DIGEST), *ENTRIES, 0, "inclusionPromise", value=None
    ),
    "another root": lambda: changed(
        authority().attest(NAME, DIGEST),
        *(*ENTRIES, 0, "inclusionProof", "rootHash"),
        value=b64encode(bytes(32)).decode(),
    ),
    "version 2": lambda: changed(authority().attest(NAME, DIGEST), "version", value=2),
    "no base64": lambda: changed(
        authority().attest(NAME, DIGEST), "envelope", "signature", value="?"
    ),
    "a certificate of noise": lambda: changed(
        authority().attest(NAME, DIGEST),
        *("verification_material", "certificate"),
        value=b64encode(b"noise").decode(),
    ),
    "a certificate of version 4": lambda: _with_version_4(authority().attest(NAME, DIGEST)),
    "a changed statement": lambda: _of_another_file(authority().attest(NAME, OTHER)),
}


def _with_version_4(attestation: dict[str, Any]) -> dict[str, Any]:
    certificate = b64decode(attestation["verification_material"]["certificate"])
    version = bytes.fromhex("a003020102")
    assert version in certificate
    other = certificate.replace(version, bytes.fromhex("a003020103"), 1)
    path = ("verification_material", "certificate")
    return changed(attestation, *path, value=b64encode(other).decode())


def _of_another_file(attestation: dict[str, Any]) -> dict[str, Any]:
    statement = json.loads(b64decode(attestation["envelope"]["statement"]))
    statement["subject"][0]["digest"]["sha256"] = DIGEST
    value = b64encode(json.dumps(statement).encode()).decode()
    return changed(attestation, "envelope", "statement", value=value)


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_hold_is_refused(verifier: AttestationVerifier, case: str) -> None:
    """A forged attestation, or one of another file, is refused as the sender's mistake."""
    with pytest.raises(Invalid) as refused:
        verifier.verify_all(json.dumps([REFUSED[case]()]), NAME, DIGEST)

    assert refused.value.code == INVALID_ATTESTATIONS


def test_a_second_log_entry_is_the_reason(verifier: AttestationVerifier) -> None:
    """An attestation with a second log entry, which nobody would verify, is refused for that."""
    sent = json.dumps([REFUSED["two entries"]()])
    with refused(Invalid, INVALID_ATTESTATIONS, match="more than one log entry"):
        verifier.verify_all(sent, NAME, DIGEST)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "there are 0, and 1 to 2"),
        ("{}", "no list"),
        ("null", "no list"),
        ("[1]", "no object"),
        ("[{}, {}, {}]", "there are 3"),
        (f"[{','.join(['{}'] * 170_000)}]", "there are 170000"),
        ("[{}]", "no attestation"),
    ],
)
def test_what_is_no_list_of_attestations_is_refused(
    verifier: AttestationVerifier, text: str, why: str
) -> None:
    """A text that is no list of one or two attestations is refused, with what is wrong."""
    with pytest.raises(Invalid, match=why):
        verifier.verify_all(text, NAME, DIGEST)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>", "they are no provenance."),
        (b"[" * 100_000, "they are no provenance."),
        (provenance_of(), "there are 0, and 1 to 20 are verified."),
        (provenance_of(*[(GITHUB, {})] * 21), "there are 21, and 1 to 20 are verified."),
    ],
    ids=["a page", "a deep list", "none", "too many"],
)
def test_what_is_no_provenance_is_refused(
    verifier: AttestationVerifier, body: bytes, why: str
) -> None:
    """A document that is no provenance, or has none or too many attestations, is refused."""
    with refused(Invalid, INVALID_ATTESTATIONS, why):
        verifier.verify_provenance(body, NAME, DIGEST)


def test_two_of_one_type_are_refused(verifier: AttestationVerifier) -> None:
    """Two attestations of one type are refused, although each holds."""
    sent = [authority().attest(NAME, DIGEST), authority().attest(NAME, DIGEST)]

    with pytest.raises(Invalid, match="one predicate type"):
        verifier.verify_all(json.dumps(sent), NAME, DIGEST)


def test_an_unknown_authority_may_mean_an_old_root(verifier: AttestationVerifier) -> None:
    """For an unknown authority the message says how old the root is, and blames no file."""
    sent = Authority("other.invalid").attest(NAME, DIGEST)

    with pytest.raises(Invalid, match="whose newest key is of 2024-01-01") as refused:
        verifier.verify(sent, NAME, DIGEST)

    assert "the operator of this index has to upgrade" in refused.value.message


NO_KEYS: Final[dict[str, list[object]]] = {"tlogs": [], "ctlogs": [], "certificateAuthorities": []}


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "{}", "[]", '{"mediaType": 1}'),
        json.dumps(json.loads(Authority().trusted_root) | NO_KEYS),
        # a certificate that is none
        authority().trusted_root.replace('"rawBytes": "MII', '"rawBytes": "AAA'),
    ],
)
def test_a_root_that_is_none_is_a_mistake_of_the_settings(tmp_path: Path, text: str | None) -> None:
    """A trusted root that is missing, or is none, is a wrong setting."""
    path = tmp_path / "trusted_root.json"
    if text is not None:
        path.write_text(text)

    with pytest.raises(Invalid, match="trusted_root") as refused:
        AttestationVerifier(str(path)).require_usable()

    assert refused.value.code == "bad_setting"


@pytest.mark.parametrize(
    ("accept", "upstream", "outcome"),
    [
        (True, UpstreamSettings(), refused(Invalid, "bad_setting", "trusted_root")),
        (
            False,
            UpstreamSettings(enabled=True, verified=True),
            refused(Invalid, "bad_setting", "trusted_root"),
        ),
        (False, UpstreamSettings(enabled=True), nullcontext()),
    ],
    ids=["of uploads", "of public files", "of none"],
)
def test_no_server_starts_with_a_root_that_is_missing(
    tmp_path: Path,
    *,
    accept: bool,
    upstream: UpstreamSettings,
    outcome: AbstractContextManager[object],
) -> None:
    """Before a server starts, the trusted root is read of the attestations that are verified."""
    attestations = AttestationSettings(accept=accept, trusted_root=str(tmp_path / "missing"))

    with outcome:
        require_attestations(Settings(attestations=attestations, upstream=upstream))


@pytest.mark.parametrize("logs", ["tlogs", "ctlogs"])
def test_a_root_with_a_damaged_log_key_is_a_mistake_of_the_settings(
    tmp_path: Path, logs: str
) -> None:
    """A trusted root in which the key of one of several logs is damaged is a wrong setting."""
    root = json.loads(authority().trusted_root)
    (log,) = root[logs]
    key = {**log["publicKey"], "rawBytes": b64encode(b"noise").decode()}
    root[logs] = [log, {**log, "baseUrl": "https://new.invalid", "publicKey": key}]
    path = tmp_path / "trusted_root.json"
    path.write_text(json.dumps(root))

    with pytest.raises(Invalid, match="the key of the log") as refused:
        AttestationVerifier(str(path)).require_usable()

    assert refused.value.code == "bad_setting"
    assert refused.value.message.startswith("attestations.trusted_root: ")
    assert "'https://new.invalid' is damaged" in refused.value.message


def test_the_public_root_is_shipped() -> None:
    """Without a trusted root in the settings, the one of the public Sigstore is used."""
    assert AttestationVerifier("").newest_key().year >= 2025


@given(st.data())
def test_a_changed_attestation_is_refused_or_equal(data: st.DataObject) -> None:
    """An attestation that was changed is refused, or what is kept of it is the original."""
    good = _good()
    text = json.dumps([good])
    at = data.draw(st.integers(0, len(text) - 1))
    piece = data.draw(st.sampled_from(["", "A", "0", "x", '"', "1", "[", "{}", "null", "\\u0000"]))
    mutated = text[:at] + piece + text[at + data.draw(st.integers(0, 3)) :]

    with suppress(Invalid):
        (held,) = _verifier().verify_all(mutated, NAME, DIGEST)
        assert signed_part(held.canonical) == signed_part(good)


def signed_part(attestation: Mapping[str, Any]) -> dict[str, Any]:
    """Return an attestation without the checkpoint, which names its log in a word of its own."""
    copy: dict[str, Any] = json.loads(json.dumps(attestation))
    (entry,) = copy["verification_material"]["transparency_entries"]
    del entry["inclusionProof"]["checkpoint"]
    return copy


@cache
def _good() -> dict[str, Any]:
    return authority().attest(NAME, DIGEST)


@cache
def _verifier() -> AttestationVerifier:
    verifier = AttestationVerifier("trusted_root.json")
    vars(verifier)["root_file"] = _Text(authority().trusted_root)
    return verifier


class _Text:
    """A file that is a text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read_bytes(self) -> bytes:
        """Return it."""
        return self._text.encode()


EVIL: Final = "https://issuer.evil"


@pytest.mark.parametrize(
    ("identity", "publisher"),
    [
        (github(), {**GITHUB, "repository": "acme/other"}),
        (github(), {**GITHUB, "workflow": "test.yml"}),
        (gitlab(), {**GITLAB, "repository": "acme/x"}),
        (google("other@acme.iam.gserviceaccount.com"), GOOGLE),
        (Identity(EVIL, google().subject), GOOGLE),
        (circleci("p1", "d2"), CIRCLECI),
        (Identity(EVIL, circleci("p1", "d1").subject), CIRCLECI),
        (github(), {"kind": "Other"}),
    ],
    ids=[
        "another repository",
        "another workflow",
        "another repository at GitLab",
        "another account",
        "another issuer of an account",
        "another pipeline",
        "another issuer of a pipeline",
        "an unknown kind",
    ],
)
def test_a_publisher_who_has_not_signed_is_refused(
    verifier: AttestationVerifier, identity: Identity, publisher: dict[str, str]
) -> None:
    """A provenance that names another publisher than the signer, or one of no kind, is refused."""
    body = provenance_of((publisher, authority().attest(NAME, DIGEST, identity)))

    with refused(Invalid, INVALID_ATTESTATIONS, "one is said to be of .*, and was signed by"):
        verifier.verify_provenance(body, NAME, DIGEST)


def test_no_provenance_is_read_of_noise() -> None:
    """A document that is no provenance is an error for whoever reads it."""
    with pytest.raises(ValueError, match="Object missing required field"):
        read_provenance(b"{}")
