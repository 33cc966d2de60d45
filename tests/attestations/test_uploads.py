"""Attestations that come with uploads: kept, refused, or left for want of a publisher."""

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.attestations.authority import Authority, Identity, github, gitlab, google
from tests.clients.harness import SOURCE, new_sandbox
from tests.distributions import Distribution, make_wheel
from tests.exporting.export_fixture import export_to
from tests.fake_store import Before, FakeStore
from tests.fake_time import Clock, fake_runtime
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.http.index_pages import JSON, versions
from tests.index_tables import toml_of
from tests.model.jobs import BUILDKITE
from tests.operations.fake_sources import FakeFiles, FakeSource, counted
from tests.operations.in_memory_index import ALICE
from tests.operations.store_copies import copy_whole
from tests.refused import refused
from wheelyard.api.health_operations import show_health
from wheelyard.api.operation import Call
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.catalog import keys
from wheelyard.errors import Forbidden, Invalid
from wheelyard.exporting.site_folder import RequestedOptions
from wheelyard.model.access import Caller, parse_pattern
from wheelyard.model.project import Status
from wheelyard.model.rule_keys import NO_KEYS, RuleKeys
from wheelyard.operations.importing.parallel_import import Importer
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.promotion import IndexSide, Promotion
from wheelyard.operations.upload_attestations import NO_PUBLISHER, NOT_ACCEPTED
from wheelyard.operations.upload_dry_run import CandidateFile, UploadDryRun
from wheelyard.operations.uploads import PublishedFile
from wheelyard.settings.sections import (
    AccessSettings,
    AttestationSettings,
    HttpSettings,
    ServerSettings,
    Settings,
)
from wheelyard.storage.base import Key, Store, Stored, Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index

PUBLISHERS: Final = (
    {
        "id": "gh",
        "provider": "github",
        "repository": "acme/old-name",
        "repository_id": 1001,
        "owner_id": 2002,
        "workflow": "release.yml",
        "environment": "release",
        "ref": "refs/tags/*",
        "ref_type": "tag",
        "projects": ["widget"],
    },
    {
        "id": "gl",
        "provider": "gitlab",
        "project_path": "acme/tools/widget",
        "project_id": 3003,
        "namespace_id": 4004,
        "ref": "v1.*",
        "ref_type": "tag",
        "projects": ["widget"],
    },
    {
        "id": "go",
        "provider": "google",
        "email": "release@acme.iam.gserviceaccount.com",
        "sub": "1" * 21,
        "projects": ["widget"],
    },
    {
        "id": "reads",
        "provider": "gitlab",
        "project_path": "acme/reader",
        "project_id": 9,
        "namespace_id": 9,
        "projects": ["other"],
        "actions": ["read"],
    },
    {**BUILDKITE, "id": "bk", "projects": ["built"]},
    {
        "id": "in-dev",
        "provider": "gitlab",
        "project_path": "acme/dev",
        "project_id": 7,
        "namespace_id": 7,
        "projects": ["other"],
        "index": "dev",
    },
)
WIDGET_NAME: Final = NormalizedName("widget")
ONE: Final = Version("1.0")
WIDGET, OTHER, BUILT = (make_wheel(name, "1.0") for name in ("widget", "other", "built"))
PAGE: Final = "/integrity/widget/1.0/widget-1.0-py3-none-any.whl/provenance"


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The authority that the servers trust."""
    return Authority()


@pytest.fixture
def server(tmp_path: Path, authority: Authority) -> Iterator[InProcessServer]:
    """A server that takes attestations, with publishers of three providers."""
    with running(tmp_path, authority) as started:
        yield started


def running(
    tmp_path: Path,
    authority: Authority,
    store: Store | None = None,
    **attestations: Any,  # noqa: ANN401
) -> AbstractContextManager[InProcessServer]:
    """Return the context of a server that takes attestations, perhaps over another store."""
    root = tmp_path / "trusted_root.json"
    root.write_text(authority.trusted_root)
    values = {"accept": True, "trusted_root": str(root), **attestations}
    settings = Settings(
        attestations=AttestationSettings(**values),
        server=ServerSettings(public_url="https://pypi.acme.dev"),
        http=HttpSettings(public_max_age=60),
    )
    tables = toml_of(
        main={"promote_only": False},
        index=[{"name": "dev", "read": "anyone"}],
        publisher=PUBLISHERS,
    )
    return in_process(tmp_path, settings, store=store, tables=tables)


def upload(
    server: InProcessServer,
    distribution: Distribution,
    *attestations: object,
    caller: Caller = ALICE,
) -> PublishedFile:
    """Upload a distribution with attestations."""
    arrival = distribution.arrival(server.folder)
    if attestations:
        text = json.dumps(attestations)
        arrival = replace(arrival, attestations=text, has_attestations=True)
    return server.index.uploads.accept(arrival, caller)


def provenance(server: InProcessServer, *headers: tuple[str, str]) -> InProcessResponse:
    """Ask for the provenance of the widget."""
    return server.get(PAGE, *headers)


def promotion_to_dev(server: InProcessServer, rules: RuleKeys = NO_KEYS) -> Promotion:
    """Return what promotes from main to dev, as if dev had rules."""
    main, dev = (
        IndexSide(uploads=index.uploads, caller=ALICE)
        for index in (server.index, server.index.named("dev"))
    )
    definition = replace(dev.uploads.definition, rules=rules)
    ruled = replace(dev, uploads=replace(dev.uploads, definition=definition))
    return Promotion(main, ruled, server.index.server.runtime)


@pytest.mark.parametrize(
    ("identity", "publisher"),
    [
        (github(), {"kind": "GitHub", "repository": "acme/widget", "workflow": "release.yml"}),
        (gitlab(), {"kind": "GitLab", "repository": "acme/tools/widget"}),
        (google(), {"kind": "Google", "email": "release@acme.iam.gserviceaccount.com"}),
    ],
)
def test_what_a_publisher_has_signed_is_kept(
    server: InProcessServer, authority: Authority, identity: Identity, publisher: dict[str, str]
) -> None:
    """An attestation of a publisher of the project is served with what the certificate says."""
    sent = authority.attest(WIDGET.filename, WIDGET.sha256, identity)

    published = upload(server, WIDGET, sent)

    assert (published.status, published.warnings) == ("uploaded", ())
    document = json.loads(provenance(server).body)
    (bundle,) = document["attestation_bundles"]
    assert document["version"] == 1
    assert publisher.items() <= bundle["publisher"].items()
    assert bundle["attestations"] == [sent]


@pytest.mark.parametrize(
    ("identity", "difference"),
    [
        (github().with_claims(c15="6666"), "gh, the claim repository_id is '6666', and not '1001'"),
        (github().with_claims(c15="\x1b[2J"), r"repository_id is '\x1b[2J', and not '1001'"),
        (github().with_claims(c17="6666"), "repository_owner_id is '6666', and not '2002'"),
        (github().with_claims(c15=""), "repository_id is not there, and not '1001'"),
        (
            github().with_claims(c20="pull_request"),
            "is 'pull_request', and not 'create' or 'push'",
        ),
        (github(workflow="test.yml"), "and not '.github/workflows/release.yml'"),
        (github(ref="refs/heads/main"), "ref is 'refs/heads/main', and not 'refs/tags/*'"),
        (
            github().with_claims(c9="https://github.com/evil/x/.github/workflows/release.yml@a"),
            "job_workflow_ref is 'evil/x/.github/workflows/release.yml@a', and not 'acme/widget/",
        ),
        (gitlab(ref="refs/heads/v1.0"), "gl, the claim ref_type is 'branch', and not 'tag'"),
        (gitlab(ref="refs/pipelines/1"), "gl, the claim ref is not there, and not 'v1.*'"),
        (gitlab().with_claims(c15="1"), "gl, the claim project_id is '1', and not '3003'"),
        (gitlab().with_claims(c20="merge_request_event"), "and not 'api' or 'chat'"),
        (
            Identity("https://gitlab.evil", gitlab().subject, gitlab().claims),
            "iss is 'https://gitlab.evil', and not 'https://",
        ),
        (
            google("other@acme.iam.gserviceaccount.com"),
            "go, the claim email is 'other@acme.iam.gserviceaccount.com', and not '",
        ),
    ],
)
def test_another_signer_is_refused(
    server: InProcessServer, authority: Authority, identity: Identity, difference: str
) -> None:
    """Whoever signs and is no publisher is refused by name, with the claim that is another."""
    sent = authority.attest(WIDGET.filename, WIDGET.sha256, identity)

    with pytest.raises(Invalid, match="--no-attestations") as refused:
        upload(server, WIDGET, sent)

    assert refused.value.code == "invalid_attestations"
    assert identity.subject in refused.value.message
    assert difference in refused.value.message
    assert_nothing_is_stored(server)


def test_a_publisher_that_no_certificate_names(
    server: InProcessServer, authority: Authority
) -> None:
    """Where the only publisher is of a provider without certificates, a refusal says just that."""
    sent = authority.attest(BUILT.filename, BUILT.sha256, github())

    with pytest.raises(Invalid, match="bk, nothing of its provider can be verified") as refused:
        upload(server, BUILT, sent)

    assert refused.value.code == "invalid_attestations"
    assert server.get("/simple/built/", JSON).status == 404


def test_what_does_not_hold_stores_nothing(server: InProcessServer, authority: Authority) -> None:
    """A file with a forged attestation is refused as a whole."""
    sent = authority.attest(WIDGET.filename, OTHER.sha256)

    with pytest.raises(Invalid, match="another SHA-256"):
        upload(server, WIDGET, sent)

    assert_nothing_is_stored(server)


def test_an_unknown_authority_is_no_mistake_of_the_client(server: InProcessServer) -> None:
    """Who has signed by an authority that the root lacks is not told to sign the file again."""
    sent = Authority("other.invalid").attest(WIDGET.filename, WIDGET.sha256)

    with refused(Invalid, "unknown_authority", "has to upgrade") as caught:
        upload(server, WIDGET, sent)

    assert "Sign the file again" not in caught.value.message
    assert_nothing_is_stored(server)


def assert_nothing_is_stored(server: InProcessServer) -> None:
    """Assert that the widget is nowhere."""
    assert server.get("/simple/widget/", JSON).status == 404
    assert list(server.index.stores.files.list(f"{keys.FILES}widget/")) == []


@pytest.mark.parametrize("sent", ["forged", "noise"])
def test_without_a_publisher_a_first_upload_does_not_break(
    server: InProcessServer, authority: Authority, sent: str
) -> None:
    """Without a publisher of the project, a file is kept without attestations, with a warning."""
    attestation = authority.attest(OTHER.filename, WIDGET.sha256) if sent == "forged" else {}

    published = upload(server, OTHER, attestation)

    assert published.warnings == (NO_PUBLISHER,)
    assert server.index.projects.get(NormalizedName("other")).files[0].provenance == ""


def test_a_job_signs_for_itself(server: InProcessServer, authority: Authority) -> None:
    """With the token of a job, the signature of another publisher of the project is refused."""
    of_gitlab, of_github = (
        authority.attest(WIDGET.filename, WIDGET.sha256, identity)
        for identity in (gitlab(), github())
    )
    job = Caller("token:x", ALICE.scopes, frozenset({"token:x", "publisher:gl"}))

    with pytest.raises(Invalid, match="no trusted publisher"):
        upload(server, WIDGET, of_github, caller=job)
    upload(server, WIDGET, of_gitlab, caller=job)

    assert provenance(server).status == 200


def test_a_project_may_need_attestations(tmp_path: Path, authority: Authority) -> None:
    """Files of a project that needs attestations are refused without them."""
    with running(tmp_path, authority, require=("widget", "other")) as server:
        for distribution, sent, why in (
            (WIDGET, (), "was sent without any"),
            (OTHER, ({},), "no trusted publisher"),
        ):
            with pytest.raises(Forbidden, match=why) as refused:
                upload(server, distribution, *sent)
            assert refused.value.code == "attestations_required"
        dry_run = UploadDryRun(server.index.uploads, ALICE)
        unsigned = dry_run.preview(CandidateFile(WIDGET.filename, 1)).refusal
        assert unsigned is not None
        assert unsigned.code == "attestations_required"
        upload(server, WIDGET, authority.attest(WIDGET.filename, WIDGET.sha256))

        assert upload(server, make_wheel("free", "1.0")).status == "uploaded"


def test_an_import_brings_none(tmp_path: Path, authority: Authority) -> None:
    """An import is refused new files of a project that needs attestations, and fetches none."""
    files = FakeFiles()
    offered = [
        files.offer(distribution) for distribution in (WIDGET, make_wheel("widget", "2.0"), OTHER)
    ]
    with running(tmp_path, authority, require=("widget",)) as server:
        upload(server, WIDGET, authority.attest(WIDGET.filename, WIDGET.sha256))

        report = Importer(server.index.uploads).run(FakeSource(offered), ALICE)

    assert report.counts == counted(there=1, new=1, refused=1)
    (refusal,) = report.refused
    assert (refusal.code, refusal.location) == ("attestations_required", offered[1].location)
    assert "an import brings none" in refusal.why
    assert sorted(files.read) == sorted([WIDGET.filename, OTHER.filename])


def test_a_second_upload_adds_them(server: InProcessServer, authority: Authority) -> None:
    """A file that is uploaded again with attestations gets them, once, and the journal says so."""
    upload(server, WIDGET)
    assert provenance(server).status == 404
    before = server.get("/simple/widget/", JSON).headers["etag"]
    sent = authority.attest(WIDGET.filename, WIDGET.sha256)

    added = upload(server, WIDGET, sent)
    assert (added.status, added.attested) == ("there", True)
    first = provenance(server).body
    again = upload(server, WIDGET, authority.attest(WIDGET.filename, WIDGET.sha256))

    assert not again.attested
    assert provenance(server).body == first
    assert server.get("/simple/widget/", JSON).headers["etag"] != before
    project = server.index.projects.get(WIDGET_NAME)
    assert project.revision == 2
    assert project.commit is not None
    assert [event.what for event in project.commit.events] == ["attested"]
    assert server.index.server.check.run(rebuild=False).problems == []
    document = keys.project(WIDGET_NAME)
    whole = server.index.stores.documents.get(document)
    assert isinstance(whole, Stored)
    server.index.stores.documents.delete(document)
    findings = server.index.server.check.run(rebuild=True)
    assert (findings.problems, findings.notes) == ([], [])
    rebuilt = server.index.stores.documents.get(document)
    assert isinstance(rebuilt, Stored)
    assert rebuilt.body == whole.body
    assert provenance(server).body == first


def test_a_file_that_is_deleted_meanwhile_gets_none(tmp_path: Path, authority: Authority) -> None:
    """A file that is deleted while its attestations are stored stays deleted, without an error."""
    store = FakeStore(MemoryStore(Clock().seconds))
    with running(tmp_path, authority, store) as server:
        upload(server, WIDGET)
        delete = partial(
            server.index.lifecycle.change, "delete", ALICE, WIDGET_NAME, Selection(ONE), ""
        )
        store.follow(Before(delete, "put*", "files/*.provenance"))

        upload(server, WIDGET, authority.attest(WIDGET.filename, WIDGET.sha256))

        project = server.index.projects.get(WIDGET_NAME)
        assert (project.files, project.revision) == ((), 2)
        assert server.index.server.check.run(rebuild=False).problems == []


def test_a_file_that_is_attested_meanwhile_keeps_that(tmp_path: Path, authority: Authority) -> None:
    """Of two uploads that bring attestations of a listed file at once, one stays as it is."""
    store = FakeStore(MemoryStore(Clock().seconds))
    with running(tmp_path, authority, store) as server:
        upload(server, WIDGET)
        first, second = (authority.attest(WIDGET.filename, WIDGET.sha256) for _ in range(2))
        store.follow(Before(partial(upload, server, WIDGET, first), "put*", "files/*.provenance"))

        upload(server, WIDGET, second)

        (bundle,) = json.loads(provenance(server).body)["attestation_bundles"]
        assert bundle["attestations"] == [first]
        assert server.index.projects.get(WIDGET_NAME).revision == 2


def test_pages_name_the_provenance(server: InProcessServer, authority: Authority) -> None:
    """Both forms of the page name the absolute URL of the provenance, for files that have one."""
    upload(server, WIDGET, authority.attest(WIDGET.filename, WIDGET.sha256))
    upload(server, make_wheel("widget", "2.0"))
    url = f"https://pypi.acme.dev{PAGE}"

    files = json.loads(server.get("/simple/widget/", JSON).body)["files"]
    html = server.get("/simple/widget/", ("Accept", "text/html")).body.decode()

    assert [file.get("provenance") for file in files] == [url, None]
    assert html.count(f' data-provenance="{url}"') == 1


def test_the_page_of_the_release_says_who_has_signed(
    server: InProcessServer, authority: Authority
) -> None:
    """The page of a release names publisher, ref, commit and run, and the list marks the file."""
    upload(server, WIDGET, authority.attest(WIDGET.filename, WIDGET.sha256))
    html = ("Accept", "text/html")

    page = server.get("/project/widget/", html).body.decode()

    for text in ("GitHub acme/widget", "release.yml", "refs/tags/v1.0", "c" * 12):
        assert f">{text}<" in page
    assert 'href="https://github.com/acme/widget/actions/runs/1/attempts/1"' in page
    assert "came with attestations" not in page
    assert f'href="../../integrity{PAGE.removeprefix("/integrity")}"' in page
    assert ">attested<" in server.get("/project/widget/1.0/files/", html).body.decode()


def test_a_rule_asks_for_attestations(server: InProcessServer, authority: Authority) -> None:
    """An index whose rule asks for attestations shows the private files that have some."""
    upload(server, WIDGET, authority.attest(WIDGET.filename, WIDGET.sha256))
    upload(server, make_wheel("widget", "2.0"))
    administration = server.index.server.index_administration
    administration.add(
        {"name": "signed", "layers": ["main"], "attested": True, "read": "anyone"}, "local:test"
    )

    assert versions(server, "/signed/simple/widget/") == ["1.0"]


def test_the_provenance_is_negotiated(server: InProcessServer, authority: Authority) -> None:
    """The provenance comes as PyPI's media type or as JSON, with an ETag, and below each root."""
    upload(server, WIDGET, authority.attest(WIDGET.filename, WIDGET.sha256))
    integrity = "application/vnd.pypi.integrity.v1+json"
    kinds = {
        "": integrity,
        "*/*": integrity,
        integrity: integrity,
        "application/json": "application/json",
        "text/html": None,
        f"{integrity};q=0, application/json;q=0.1": "application/json",
    }

    for accept, kind in kinds.items():
        answer = provenance(server, ("Accept", accept))
        assert answer.headers["vary"].startswith("Accept")
        if kind is None:
            assert answer.status == 406
        else:
            assert (answer.status, answer.headers["content-type"]) == (200, kind)

    etag = provenance(server).headers["etag"]
    assert provenance(server, ("If-None-Match", etag)).status == 304
    for root in ("/simple", "/pypi", "/legacy"):
        assert server.get(f"{root}{PAGE}").status == 200
    assert server.get(PAGE.replace("/1.0/", "/1.0.0/")).status == 200
    for path in (PAGE.replace("/1.0/", "/1.1/"), PAGE.replace("/1.0/", "/x/"), f"/dev{PAGE}"):
        missing = server.get(path)
        assert (missing.status, json.loads(missing.body)["error"]) == (404, "not_found")


def test_programs_ask_for_the_provenance_of_a_file(
    server: InProcessServer, authority: Authority
) -> None:
    """The API has the provenance of a file by its name, and none while nobody gets the file."""
    upload(server, WIDGET, authority.attest(WIDGET.filename, WIDGET.sha256))

    def told(filename: str) -> tuple[int, str]:
        answer = server.get(f"/api/v1/projects/widget/provenance?filename={filename}")
        body = json.loads(answer.body)
        return answer.status, body.get("sha256") or body["message"].partition(" This is")[0]

    assert told(WIDGET.filename) == (200, WIDGET.sha256)
    assert told("x.whl") == (404, "There is no file 'x.whl'. Check the spelling.")
    server.index.lifecycle.set_status(ALICE, WIDGET_NAME, Status.QUARANTINED, "")
    absent = f"There is no file {WIDGET.filename!r}. Check the spelling."
    assert told(WIDGET.filename) == (404, absent)


def test_the_provenance_has_the_rights_of_the_project(tmp_path: Path, authority: Authority) -> None:
    """Who may not read a project is answered as if the project and provenance did not exist."""
    root = tmp_path / "trusted_root.json"
    root.write_text(authority.trusted_root)
    settings = Settings(
        attestations=AttestationSettings(accept=True, trusted_root=str(root)),
        access=AccessSettings(private=True),
    )
    with in_process(tmp_path, settings, tables=toml_of(publisher=PUBLISHERS[:3])) as server:
        upload(server, WIDGET, authority.attest(WIDGET.filename, WIDGET.sha256))
        tokens = [
            server.index.tokens.create(
                TokenRequest(name=name, projects=(parse_pattern(name),)), "local:test"
            )[0]
            for name in ("widget", "other")
        ]
        reader, stranger = (("Authorization", f"Bearer {token.text}") for token in tokens)

        assert provenance(server).status == 401
        assert provenance(server, reader).status == 200
        assert provenance(server, reader).headers["cache-control"].startswith("private")
        refused, missing = (
            server.get(path, stranger) for path in (PAGE, PAGE.replace("widget", "nothing"))
        )
        assert refused.status == missing.status == 404


def test_the_provenance_goes_and_comes_with_the_file(
    server: InProcessServer, authority: Authority
) -> None:
    """A deleted file has no provenance, and a restored one has it again, as has a promoted one."""
    upload(server, WIDGET, authority.attest(WIDGET.filename, WIDGET.sha256))
    kept = provenance(server).body
    lifecycle = server.index.lifecycle
    promotion_to_dev(server).promote(WIDGET_NAME, ONE)
    assert server.get(f"/dev{PAGE}").body == kept
    lifecycle.change("delete", ALICE, WIDGET_NAME, Selection(ONE), "gone")
    assert provenance(server).status == 404
    assert server.get(f"/dev{PAGE}").body == kept
    lifecycle.change("restore", ALICE, WIDGET_NAME, Selection(ONE), "back")
    assert provenance(server).body == kept
    assert server.index.server.check.run(rebuild=False, sweep=True).problems == []
    assert provenance(server).body == kept


@pytest.mark.parametrize("is_promoted", [True, False])
def test_another_promotion_brings_later_attestations(
    server: InProcessServer, authority: Authority, *, is_promoted: bool
) -> None:
    """Promoting a file again brings attestations that came later to the other index."""
    promotion = promotion_to_dev(server, RuleKeys(attested=True))
    upload(server, WIDGET)
    if is_promoted:
        promotion.promote(WIDGET_NAME, ONE)
    else:
        promotion.target.uploads.accept(WIDGET.arrival(server.folder), ALICE)
    upload(server, WIDGET, authority.attest(WIDGET.filename, WIDGET.sha256))
    assert server.get(f"/dev{PAGE}").status == 404

    trial = promotion.promote(WIDGET_NAME, ONE, dry_run=True)
    promoted = promotion.promote(WIDGET_NAME, ONE)

    assert (len(promoted.new), len(promoted.present)) == (0, 1)
    assert trial.attested == promoted.attested == (WIDGET.filename,)
    assert trial.warnings == promoted.warnings == ()
    assert promotion.promote(WIDGET_NAME, ONE).attested == ()
    assert server.get(f"/dev{PAGE}").body == provenance(server).body
    assert server.index.projects.get(WIDGET_NAME).files[0].promoted_to == ("dev",)
    assert promotion.promote(WIDGET_NAME, ONE).project.revision == promoted.project.revision
    assert server.index.server.check.run(rebuild=False).problems == []


def test_a_site_and_a_copy_have_it(
    server: InProcessServer, authority: Authority, tmp_path: Path
) -> None:
    """A static site has the provenance as the server serves it, and so has a copy."""
    upload(server, WIDGET, authority.attest(WIDGET.filename, WIDGET.sha256))
    kept, site = provenance(server).body, tmp_path / "site"
    requested = RequestedOptions(base_url="https://wheels.acme.dev")

    export_to(server.index, site, requested)

    assert (site / PAGE[1:]).read_bytes() == kept
    page = json.loads((site / "simple/widget/index.json").read_bytes())
    assert page["files"][0]["provenance"] == f"https://wheels.acme.dev{PAGE}"
    target = build_index(
        Stores.of(MemoryStore(lambda: 0.0)), Spool(tmp_path), Settings(), fake_runtime(Clock(), 9)
    )
    copy_whole(server.index, target)
    listed = target.projects.get(WIDGET_NAME).files[0]
    assert target.files.provenance(WIDGET_NAME, listed) == kept
    assert target.server.check.run(rebuild=False).problems == []
    server.index.lifecycle.change("delete", ALICE, WIDGET_NAME, Selection(ONE), "gone")
    export_to(server.index, site, requested)
    assert not (site / PAGE[1:]).exists()


def lose_provenance(server: InProcessServer) -> Key:
    """Change the stored provenance of the widget, and return its key."""
    (entry,) = (
        entry
        for entry in server.index.stores.files.list(f"{keys.FILES}widget/")
        if entry.key.endswith(".provenance")
    )
    body = b"".join(server.index.stores.files.read(entry.key))
    assert sha256(body).hexdigest() in entry.key
    server.index.stores.files.put(entry.key, b"{}", None)
    return entry.key


def test_a_lost_provenance_is_said(server: InProcessServer, authority: Authority) -> None:
    """A provenance that the store has lost or changed is 503, and check names it."""
    upload(server, WIDGET, authority.attest(WIDGET.filename, WIDGET.sha256))
    key = lose_provenance(server)

    answer = provenance(server)

    assert answer.status == 503
    assert f"lost the provenance of {WIDGET.filename}. Upload the file" in answer.body.decode()
    (problem,) = server.index.server.check.run(rebuild=False).problems
    assert key in problem
    assert f"upload {WIDGET.filename} again with its attestations, or restore" in problem


@pytest.mark.parametrize(("is_same", "revision"), [(True, 1), (False, 2)])
def test_the_same_upload_brings_a_lost_provenance_back(
    server: InProcessServer, authority: Authority, *, is_same: bool, revision: int
) -> None:
    """A file that is uploaded again with attestations, old or new, repairs a lost provenance."""
    first, second = (authority.attest(WIDGET.filename, WIDGET.sha256) for _ in range(2))
    upload(server, WIDGET, first)
    lose_provenance(server)
    sent = first if is_same else second

    published = upload(server, WIDGET, sent)

    assert published.status == "there"
    (bundle,) = json.loads(provenance(server).body)["attestation_bundles"]
    assert bundle["attestations"] == [sent]
    assert server.index.projects.get(WIDGET_NAME).revision == revision
    assert server.index.server.check.run(rebuild=False).problems == []


@pytest.mark.parametrize("is_source_lost", [False, True])
def test_another_promotion_replaces_a_lost_provenance(
    server: InProcessServer, authority: Authority, *, is_source_lost: bool
) -> None:
    """Promoting a file again replaces a lost provenance by the one that was uploaded since."""
    first, second = (authority.attest(WIDGET.filename, WIDGET.sha256) for _ in range(2))
    promotion = promotion_to_dev(server)
    upload(server, WIDGET, first)
    promotion.promote(WIDGET_NAME, ONE)
    lost = lose_provenance(server)
    upload(server, WIDGET, second)
    assert server.get(f"/dev{PAGE}").status == 503
    (problem,) = server.index.server.check.run(rebuild=False).problems
    assert "again with its attestations to main, and promote it again, or restore" in problem
    server.index.stores.files.delete(lost)
    if is_source_lost:
        lose_provenance(server)

    again = promotion.promote(WIDGET_NAME, ONE)

    assert (len(again.new), len(again.present)) == (0, 1)
    assert promotion.promote(WIDGET_NAME, ONE).project.revision == again.project.revision
    if is_source_lost:
        assert again.project.revision == 1
        return
    assert server.get(f"/dev{PAGE}").body == provenance(server).body
    assert server.index.server.check.run(rebuild=False).problems == []


def test_another_promotion_leaves_an_intact_provenance(
    server: InProcessServer, authority: Authority
) -> None:
    """Promoting a file again replaces no provenance of the target that was restored meanwhile."""
    first, second = (authority.attest(WIDGET.filename, WIDGET.sha256) for _ in range(2))
    promotion = promotion_to_dev(server)
    upload(server, WIDGET, first)
    promotion.promote(WIDGET_NAME, ONE)
    body = provenance(server).body
    lost = lose_provenance(server)
    upload(server, WIDGET, second)
    server.index.stores.files.put(lost, body, None)

    again = promotion.promote(WIDGET_NAME, ONE)

    assert (again.attested, again.project.revision) == ((), 1)
    assert server.get(f"/dev{PAGE}").body == body != provenance(server).body


def test_while_it_is_off_nothing_is_verified(tmp_path: Path) -> None:
    """An index that takes no attestations keeps the file alone, and says so on each page."""
    with in_process(tmp_path) as server:
        assert upload(server, WIDGET, {"version": 1}).warnings == (NOT_ACCEPTED,)
        wheel = tmp_path / WIDGET.filename
        wheel.write_bytes(WIDGET.body)
        for text, warnings in (("", ()), ("[{}]", (NOT_ACCEPTED,))):
            sent = server.index.uploads.accept_path(wheel, ALICE, lambda _: None, text)
            assert sent.warnings == warnings
        assert provenance(server).status == 404
        for path, text in (
            ("/project/widget/", "1 file came with attestations that this index has not kept."),
            ("/project/widget/files/", "attestations not kept"),
        ):
            assert text in server.get(path, ("Accept", "text/html")).body.decode()
        server.index.search.table()
        parts = show_health(Call(index=server.index, caller=ALICE)).parts
        (part,) = (part for part in parts if part.name == "attestations")
        assert part.text.startswith("1 file came with attestations that were not kept.")


@pytest.mark.integration
def test_nothing_is_imported_before_the_first_attestation(tmp_path: Path) -> None:
    """An upload without attestations loads none of the libraries that verify them."""
    sandbox = new_sandbox(tmp_path / "sandbox")
    (sandbox.folder / WIDGET.filename).write_bytes(WIDGET.body)

    done = sandbox.attempt(
        *(sys.executable, "-X", "importtime", "-m", "wheelyard"),
        *("upload", WIDGET.filename, "--store", "store"),
        WHEELYARD_ATTESTATIONS_ACCEPT="true",
        **SOURCE,
    )

    assert (done.returncode, "wheelyard.operations.uploads" in done.stderr) == (0, True)
    assert not [
        name for name in ("sigstore", "pydantic", "pypi_attestations") if name in done.stderr
    ]
