"""The provenance of public files (PEP 740): passed on, and verified where a rule says so."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from packaging.utils import NormalizedName

from tests import attestations
from tests.attestations.authority import (
    CIRCLECI,
    GITHUB,
    GITLAB,
    GOOGLE,
    Authority,
    Identity,
    circleci,
    github,
    gitlab,
    google,
    provenance_of,
)
from tests.distributions import Distribution
from tests.http.in_process import InProcessServer, in_process
from tests.upstream.fake_pages import FakeFile, Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import file_of, link_of, look, page_of
from tests.upstream.settings import close, upstream_section
from wheelyard.archive import attestation_verifier
from wheelyard.settings.sections import (
    AttestationSettings,
    ServerSettings,
    Settings,
)
from wheelyard.storage.local import LocalStore
from wheelyard.wiring.warnings import index_warnings

WHEEL = "requests-2.0-py3-none-any.whl"
PATH = f"/integrity/requests/2.0/{WHEEL}/provenance"
MAIN_RULE = "[main]\nread = 'anyone'\nverified = true\n"
PUBLICLY_SIGNED = "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3"
"""The SHA-256 of the file that `public.provenance` is about."""
HTML = "application/vnd.pypi.simple.v1+html"


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Who signs."""
    return Authority()


@pytest.fixture
def package() -> Distribution:
    """A public wheel."""
    return public_wheel("requests", "2.0")


def offer(upstream: FakeUpstream, package: Distribution, provenance: bytes) -> None:
    """Publish a file with a provenance."""
    upstream.publish(replace(FakeFile.of(package), provenance=provenance))


@contextmanager
def serving(
    folder: Path,
    upstream: FakeUpstream,
    authority: Authority | None = None,
    tables: str = "",
    **rules: Any,  # noqa: ANN401
) -> Iterator[InProcessServer]:
    """Run a server behind https, which trusts an authority, over a local store."""
    attestations = AttestationSettings()
    if authority is not None:
        root = folder / "trusted_root.json"
        root.write_text(authority.trusted_root)
        attestations = AttestationSettings(trusted_root=str(root))
    settings = Settings(
        upstream=upstream_section(upstream, **rules),
        server=ServerSettings(public_url="https://index.example.com"),
        attestations=attestations,
    )
    store = LocalStore(folder / "store", Random(1))
    with in_process(folder, settings, store=store, tables=tables) as server:
        try:
            yield server
        finally:
            close(server.index)


def test_a_provenance_is_passed_on(
    tmp_path: Path, upstream: FakeUpstream, authority: Authority, package: Distribution
) -> None:
    """The page names this index as the place of a public provenance, which is fetched once."""
    provenance = provenance_of((GITHUB, authority.attest(package.filename, package.sha256)))
    offer(upstream, package, provenance)
    with serving(tmp_path, upstream) as server:
        listed = page_of(server, "requests").files[WHEEL]["provenance"]
        html = look(server, "/simple/requests/", accept=HTML).body.decode()
        answers = [look(server, PATH) for _ in range(2)]

    assert listed == f"https://index.example.com{PATH}"
    assert f'data-provenance="{listed}"' in html
    for answer in answers:
        assert (answer.status, answer.body) == (200, provenance)
        assert answer.headers["content-type"] == "application/vnd.pypi.integrity.v1+json"
        assert "no-cache" in answer.headers["cache-control"]
    assert [seen.path for seen in upstream.requests if seen.path == PATH] == [PATH]
    with serving(tmp_path, upstream, offline=True) as server:
        page_of(server, "requests")
        assert look(server, PATH).body == provenance
    with serving(tmp_path, upstream) as server:
        assert look(server, PATH).body == provenance
    assert [seen.path for seen in upstream.requests if seen.path == PATH] == [PATH]


def test_what_is_not_passed_on(
    tmp_path: Path, upstream: FakeUpstream, authority: Authority, package: Distribution
) -> None:
    """A provenance that is about other bytes, or about none, is refused and not kept."""
    good = authority.attest(package.filename, package.sha256)
    for wrong in (
        provenance_of((GITHUB, authority.attest(package.filename, "0" * 64))),
        provenance_of(),
        provenance_of((GITHUB, authority.attest(package.filename, package.sha256))).replace(
            b'"version": 1,', b'"version": 2,', 1
        ),
        json.dumps(
            {
                "version": 1,
                "attestation_bundles": [
                    {"publisher": GITHUB, "attestations": [good]},
                    {"publisher": {**GITHUB, "repository": "acme/evil"}, "attestations": []},
                ],
            }
        ).encode(),
        b"no JSON",
        b"[" * 100_000,
    ):
        offer(upstream, package, wrong)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        with serving(folder, upstream) as server:
            answer = look(server, PATH)
            assert answer.status == 502
            assert "not about the file" in answer.body.decode()
            assert not list(folder.rglob("*.provenance"))


def test_unknown_provenance(tmp_path: Path, upstream: FakeUpstream, package: Distribution) -> None:
    """A file without a provenance, of another version, or that is unknown has none: 404."""
    upstream.publish(FakeFile.of(package))
    with serving(tmp_path, upstream) as server:
        assert "provenance" not in page_of(server, "requests").files[WHEEL]
        assert look(server, PATH).status == 404
        assert look(server, PATH.replace("/2.0/", "/2.1/")).status == 404
        assert look(server, PATH.replace("requests-2.0", "requests-2.1")).status == 404


@pytest.mark.parametrize(
    ("publisher", "identity"),
    [(GITHUB, github()), (GITLAB, gitlab()), (GOOGLE, google()), (CIRCLECI, circleci("p1", "d1"))],
    ids=["github", "gitlab", "google", "circleci"],
)
def test_what_holds_is_sent(
    tmp_path: Path,
    upstream: FakeUpstream,
    authority: Authority,
    package: Distribution,
    publisher: Mapping[str, Any],
    identity: Identity,
) -> None:
    """With the rule `verified`, a file is sent whose attestations hold for the publisher named."""
    attestation = authority.attest(package.filename, package.sha256, identity)
    offer(upstream, package, provenance_of((publisher, attestation)))
    with serving(tmp_path, upstream, authority, verified=True) as server:
        assert file_of(server, "requests", WHEEL).body == package.body
        assert file_of(server, "requests", WHEEL, ".metadata").body == package.metadata


def test_what_the_public_sigstore_has_signed_holds_beside_a_root_of_ones_own(
    tmp_path: Path, upstream: FakeUpstream, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the rule `verified` and a trusted root of one's own, public attestations hold, too."""
    provenance = Path(attestations.__file__).with_name("public.provenance").read_bytes()
    signed = FakeFile(
        filename="pypi_attestations-0.0.19.tar.gz", body=b"signed", provenance=provenance
    )
    monkeypatch.setattr(FakeFile, "sha256", PUBLICLY_SIGNED)
    upstream.publish(signed)
    with serving(tmp_path, upstream, authority, verified=True) as server:
        assert [*page_of(server, "pypi-attestations").files] == [signed.filename]
        assert look(server, signed.provenance_path).body == provenance


@pytest.mark.slow
def test_what_does_not_hold_is_refused(
    tmp_path: Path, upstream: FakeUpstream, authority: Authority, package: Distribution
) -> None:
    """With the rule `verified`, nobody gets a file whose signer is another one, or unknown."""
    of_file = package.filename, package.sha256
    good = authority.attest(*of_file)
    wrong = {
        "signed by": provenance_of(({**GITHUB, "repository": "acme/other"}, good)),
        "acme/widget": provenance_of(({**GITHUB, "workflow": "test.yml"}, good)),
        "'CircleCI": provenance_of((CIRCLECI, good)),
        "'Other'": provenance_of(({"kind": "Other"}, good)),
        "confirmed by": provenance_of((GITLAB, good)),
        "another authority": provenance_of((GITHUB, Authority().attest(*of_file))),
        "1 to 20": provenance_of(*[(GITHUB, good)] * 21),
        "is about": provenance_of((GITHUB, authority.attest("other-2.0.tar.gz", package.sha256))),
    }
    for why, provenance in wrong.items():
        offer(upstream, package, provenance)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        with serving(folder, upstream, authority, verified=True) as server:
            link = link_of(server, "requests", WHEEL)
            answer = look(server, link)
            assert (answer.status, why in answer.body.decode()) == (403, True), answer.body
            assert b"not_verified" in answer.body
            assert look(server, f"{link}.metadata").status == 403
            assert look(server, PATH).status == 403


def forged(authority: Authority, package: Distribution) -> bytes:
    """Return a provenance that names another publisher than has signed."""
    attestation = authority.attest(package.filename, package.sha256)
    return provenance_of(({**GITHUB, "repository": "acme/other"}, attestation))


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"verified": True}, 403),
        ({"tables": MAIN_RULE}, 404),
    ],
    ids=["of the upstream", "of the index"],
)
def test_what_was_refused_is_hidden(
    tmp_path: Path,
    upstream: FakeUpstream,
    authority: Authority,
    package: Distribution,
    settings: dict[str, Any],
    status: int,
) -> None:
    """A file that was refused is on no page any more, until the project is refreshed."""
    old = public_wheel("requests", "1.0")
    offer(upstream, old, provenance_of((GITHUB, authority.attest(old.filename, old.sha256))))
    offer(upstream, package, forged(authority, package))
    with serving(tmp_path, upstream, authority, **settings) as server:
        assert [*page_of(server, "requests").files] == [old.filename, WHEEL]
        answer = file_of(server, "requests", WHEEL)
        assert (answer.status, b"signed by" in answer.body) == (status, True), answer.body
        server.clock.advance(seconds=60)

        assert [*page_of(server, "requests").files] == [old.filename]
        assert not list((tmp_path / "store").rglob(f"{WHEEL}.provenance"))
        good = provenance_of((GITHUB, authority.attest(package.filename, package.sha256)))
        offer(upstream, package, good)
        upstream_index = server.index.upstream
        assert upstream_index is not None
        upstream_index.refresh(NormalizedName("requests"), may_read=True)
        server.clock.advance(seconds=60)
        assert file_of(server, "requests", WHEEL).body == package.body


def test_offline_pages_have_what_holds(
    tmp_path: Path, upstream: FakeUpstream, authority: Authority, package: Distribution
) -> None:
    """While offline, an index with the rule lists the kept files whose attestations hold."""
    old = public_wheel("requests", "1.0")
    offer(upstream, old, provenance_of((GITHUB, authority.attest(old.filename, old.sha256))))
    offer(upstream, package, forged(authority, package))
    with serving(tmp_path, upstream) as server:
        for made in (old, package):
            assert file_of(server, "requests", made.filename).body == made.body
            assert look(server, PATH.replace("2.0", made.filename.split("-")[1])).status == 200
    with serving(tmp_path, upstream, authority, MAIN_RULE, offline=True) as server:
        assert [*page_of(server, "requests").files] == [old.filename]


def test_a_file_without_attestations_is_hidden(
    tmp_path: Path, upstream: FakeUpstream, authority: Authority, package: Distribution
) -> None:
    """With the rule `verified`, no page lists a file that names no provenance."""
    upstream.publish(FakeFile.of(package))
    with serving(tmp_path, upstream, authority, verified=True) as server:
        assert page_of(server, "requests").page["files"] == []


def test_a_provenance_that_cannot_be_had(
    tmp_path: Path, upstream: FakeUpstream, authority: Authority, package: Distribution
) -> None:
    """With the rule `verified`, a file whose index has lost its provenance is refused."""
    attestation = authority.attest(package.filename, package.sha256)
    offer(upstream, package, provenance_of((GITHUB, attestation)))
    with serving(tmp_path, upstream, authority, verified=True) as server:
        page_of(server, "requests")
        (project,) = upstream.projects.values()
        project.files[:] = [FakeFile.of(package)]
        answer = file_of(server, "requests", WHEEL)
        assert (answer.status, b"has no provenance" in answer.body) == (403, True)


@pytest.mark.parametrize(
    ("place", "faults", "why"),
    [
        ("https://elsewhere.example.com", (), "is on a host that this index may not ask"),
        ("", (Fault.NO_HASH,), "of its index does not say its SHA-256"),
    ],
    ids=["another host", "no digest"],
)
@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize(
    ("tables", "status"), [("", 403), (MAIN_RULE, 404)], ids=["upstream", "main"]
)
def test_a_provenance_that_nobody_can_verify(
    tmp_path: Path,
    upstream: FakeUpstream,
    authority: Authority,
    package: Distribution,
    monkeypatch: pytest.MonkeyPatch,
    *,
    place: str,
    faults: tuple[Fault, ...],
    why: str,
    offline: bool,
    tables: str,
    status: int,
) -> None:
    """With the rule `verified`, a file is hidden, with the reason, that nobody can verify."""
    monkeypatch.setattr(FakeFile, "provenance_path", place + PATH)
    attestation = authority.attest(package.filename, package.sha256)
    offer(upstream, package, provenance_of((GITHUB, attestation)))
    upstream.behave("requests", *faults)
    with serving(tmp_path, upstream, authority) as server:
        link = link_of(server, "requests", WHEEL)
    rules = {"verified": not tables, "offline": offline}
    with serving(tmp_path, upstream, authority, tables, **rules) as server:
        assert page_of(server, "requests").page["files"] == []
        answer = look(server, link)
        assert (answer.status, why in answer.body.decode()) == (status, True), answer.body
    assert [seen for seen in upstream.requests if seen.path == PATH] == []


def test_an_explanation_while_the_index_is_away(
    tmp_path: Path, upstream: FakeUpstream, authority: Authority, package: Distribution
) -> None:
    """While nobody can fetch a provenance, `why` does not say that a file is sent."""
    attestation = authority.attest(package.filename, package.sha256)
    offer(upstream, package, provenance_of((GITHUB, attestation)))
    with serving(tmp_path, upstream, authority, verified=True) as server:
        page_of(server, "requests")
        upstream.stop()
        answer = look(server, "/api/v1/upstream/why?project=requests&version=2.0")
    assert (answer.status, b"cannot be reached" in answer.body) == (503, True), answer.body


def test_a_rule_without_the_extra(
    tmp_path: Path, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start warns of an index whose rule nobody can apply, as the extra is missing."""
    with serving(tmp_path, upstream, None, MAIN_RULE) as server:
        warned = [str(caution) for caution in index_warnings(server.index)]
        assert not [text for text in warned if "verified" in text]
        monkeypatch.setattr(attestation_verifier, "is_installed", lambda: False)
        warned = [str(caution) for caution in index_warnings(server.index)]
        said = "the index main has the rule verified, and no public file can be verified"
        assert [text for text in warned if said in text]


def test_an_index_may_ask_for_signatures(
    tmp_path: Path, upstream: FakeUpstream, authority: Authority, package: Distribution
) -> None:
    """The rule of an index is that of `[upstream]`: what holds is sent, all else is 404."""
    good = provenance_of((GITHUB, authority.attest(package.filename, package.sha256)))
    offer(upstream, package, good)
    other = public_wheel("requests", "3.0")
    bad = provenance_of((GITHUB, Authority().attest(other.filename, other.sha256)))
    offer(upstream, other, bad)
    with serving(tmp_path, upstream, authority, MAIN_RULE) as server:
        assert file_of(server, "requests", WHEEL).body == package.body
        refused = file_of(server, "requests", other.filename)
        assert (refused.status, b"another authority" in refused.body) == (404, True)
