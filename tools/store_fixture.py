"""
Makes the store of this version that the tests of later versions open.

It has something of everything that a store can keep. Its clock and its random numbers are fixed, so
a second run writes the same. A release runs it, and commits what it writes: see
`maintaining/releasing.md`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from msgspec.json import encode
from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.distributions import Distribution, make_sdist, make_wheel
from tests.download_counts.processes import Process
from tests.exporting.export_fixture import delete, publish, set_status, yank
from tests.fake_time import START
from tests.index_tables import toml_of
from tests.operations.fake_sources import LONG_AGO
from tests.operations.in_memory_index import ALICE, IndexHarness, objects, remove_now
from tests.operations.old_files import EGG, list_old_file
from tests.upgrades.kept_stores import (
    SETTINGS,
    SIMPLE_JSON,
    KeptAnswers,
    KeptStore,
    answers_of_this_version,
)
from tests.variants.wheels import make_variant
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.catalog import changes, keys
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.journaled_documents import DECISIONS
from wheelyard.catalog.licence_finder import LICENCES
from wheelyard.catalog.stored_tokens import LastUse
from wheelyard.catalog.used_id_tokens import UsedIdTokens
from wheelyard.downloads.folding import fold
from wheelyard.http_client.urls import parse_url
from wheelyard.model.access import Action, parse_actions, parse_pattern
from wheelyard.model.api_token import TokenOwner, new_token
from wheelyard.model.grants import GrantFields
from wheelyard.model.index_name import EVERY_INDEX
from wheelyard.model.person import Person
from wheelyard.model.project import Status
from wheelyard.model.public_packages import Decision, Verdict
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.promotion import IndexSide, Promotion
from wheelyard.sources.simple_page import FetchedPage
from wheelyard.storage.base import ABSENT
from wheelyard.upstream.chain import ALL
from wheelyard.upstream.decisions import Deciding
from wheelyard.upstream.file_cache import FileCache, FileUses, Pin
from wheelyard.upstream.owners import Ownership, StoredOwners
from wheelyard.upstream.page import UpstreamPage, continue_page
from wheelyard.upstream.page_lookup import StoredPages
from wheelyard.upstream.parsing import parse_page
from wheelyard.upstream.policy.advisories import Advisory
from wheelyard.upstream.policy.first_uses import FIRST_USES
from wheelyard.upstream.policy.osv_source import AcceptedOsv, AcceptedOsvRecord
from wheelyard.upstream.settings import UpstreamServer
from wheelyard.wiring.upstream import upstream_config

IDNA, TAKEN = NormalizedName("idna"), NormalizedName("taken-over")
PUBLIC_WHEELS: Final = [make_wheel("idna", version) for version in ("3.8", "3.9", "3.10")]
SITE_PATHS: Final = (
    "/simple/",
    "/api/v1/projects",
    "/api/v1/names",
    "/api/v1/changes?since=0",
    "/api/v1/tokens",
    "/api/v1/access",
    "/api/v1/access/history",
    "/api/v1/publishers",
    "/api/v1/publishers/history",
    "/api/v1/namespaces",
    "/api/v1/namespaces/history",
    "/api/v1/webhooks",
    "/api/v1/webhooks/history",
    "/api/v1/indexes",
    "/api/v1/indexes/history",
    "/dev/simple/",
    "/api/v1/upstream/decisions",
    "/api/v1/upstream/decisions/history",
    "/simple/idna/",
)
VARIANTS: Final = (make_variant("v2", "varied"), make_variant("v3", "varied"))
PROJECTS: Final = (
    *("demo", "half-gone", "gone", "kept-in", "old", "older", "worn", "reserved", "varied"),
)
"""The projects; what is kept of each is asked about."""
SHOWN: Final = ("demo", "half-gone", "gone", "old", "older", "worn", "varied")
"""Those with a page: the others have no file, or are in quarantine."""


def make_store() -> KeptStore:
    """Return the store of this version, and what this version answers about it."""
    with (
        TemporaryDirectory() as scratch,
        pytest.MonkeyPatch.context() as patched,
    ):
        # so that a small store has a part of the list of changes that is sealed
        patched.setattr(changes, "MOST_ENTRIES", 6)
        patched.setattr(changes, "SEALED_ENTRIES", 3)
        harness = IndexHarness(Path(scratch))
        harness.clock.now = START - timedelta(days=40)
        _add_projects(harness)
        _add_names(harness)
        tokens = _add_credentials(harness)
        _add_decisions(harness)
        _add_indexes(harness)
        files = _add_public_packages(harness)
        _add_downloads(harness)
        harness.index.search.start = lambda work: work()
        harness.index.search.table()  # writes derived/
        harness.clock.now = START - timedelta(days=1)
        # the last change of all: it has no serial yet
        publish(harness.index, harness.folder, make_wheel("worn", "2.0"))
        kept = dict(objects(harness.store))
        files |= {
            f"/files/{name}/{file.filename}": file.sha256
            for name in SHOWN
            for file in harness.index.projects.get(NormalizedName(name)).files
        }
        unanswered = KeptAnswers(tokens=tokens, answers=dict.fromkeys(_paths()), files=files)
        store = KeptStore(version("wheelyard"), kept, unanswered)
        seen = answers_of_this_version(Path(scratch), store.in_memory(), unanswered)
        if seen.files != files:
            raise SystemExit("a file has other bytes than its project says")
        return KeptStore(store.version, kept, seen)


def _paths() -> list[str]:
    """Return the paths that are asked."""
    return [
        *SITE_PATHS,
        *(f"/api/v1/projects/{name}" for name in PROJECTS),
        *(f"/api/v1/projects/{name}/journal" for name in PROJECTS),
        "/api/v1/projects/worn/downloads?days=40",
        *(f"/simple/{name}/" for name in SHOWN),
    ]


def _add_downloads(harness: IndexHarness) -> None:
    """Leave counts of downloads, some of them added up."""
    for seed in (1, 2):
        process = Process(harness.store, harness.clock, seed)
        process.note(f"1.{seed}", name="worn")
        process.counter.close()
        fold(harness.store, harness.clock.seconds())
        harness.clock.advance(hours=2)


def _add_projects(harness: IndexHarness) -> None:
    """Publish projects of each status and kind, and give the changes serials after each."""
    index, folder, days = harness.index, harness.folder, timedelta(days=1)
    dependency = "Requires-Dist: half-gone>=1; extra == 'more'"
    readme = ("Description-Content-Type: text/markdown", "", "# Demo", "", "*What* it does.")
    steps: tuple[Callable[[], object], ...] = (
        lambda: publish(
            index,
            folder,
            make_wheel(
                "demo", "1.0", "Summary: A demo", "Requires-Python: >=3.9", dependency, *readme
            ),
            make_sdist("demo", "1.0", "Requires-Python: >=3.9"),
            make_wheel(
                "demo",
                "1!2.0+cu121.x",
                "Import-Name: demo",
                tag="cp311-cp311-manylinux_2_17_x86_64",
            ),
            make_wheel("demo", "3.0rc1", "Summary: Größer"),
        ),
        lambda: yank(index, "demo", "3.0rc1", 'breaks on "Mondays"'),
        lambda: publish(index, folder, *(make_wheel("worn", f"1.{number}") for number in range(3))),
        lambda: yank(index, "worn", "1.1"),
        lambda: index.lifecycle.change(
            "unyank", ALICE, NormalizedName("worn"), Selection(Version("1.1")), "mended"
        ),
        lambda: _promote(harness, NormalizedName("worn"), Version("1.0")),
        lambda: publish(
            index, folder, make_wheel("half-gone", "1.0"), make_wheel("half-gone", "2.0")
        ),
        lambda: delete(index, "half-gone", "2.0"),
        lambda: publish(index, folder, make_wheel("back", "1.0"), make_wheel("back", "2.0")),
        lambda: delete(index, "back", "1.0"),
        lambda: delete(index, "back", "2.0"),
        lambda: index.lifecycle.change(
            "restore", ALICE, NormalizedName("back"), Selection(Version("1.0")), "needed"
        ),
        lambda: remove_now(index, sha256(make_wheel("back", "2.0").body).hexdigest(), "back"),
        lambda: publish(index, folder, make_wheel("gone")),
        lambda: delete(index, "gone", "1.0"),
        lambda: publish(index, folder, make_wheel("varied"), *VARIANTS),
        lambda: publish(
            index, folder, make_wheel("kept-in"), make_wheel("old"), make_wheel("older")
        ),
        lambda: set_status(index, "kept-in", Status.QUARANTINED, "malware?"),
        lambda: set_status(index, "old", Status.ARCHIVED, "use demo"),
        lambda: set_status(index, "older", Status.DEPRECATED, "use demo"),
        # as imports of versions before this one have listed some
        lambda: list_old_file(index.uploads, EGG, folder, LONG_AGO),
    )
    for step in steps:
        step()
        harness.clock.now += days / 2
        index.changes.newest()


def _promote(harness: IndexHarness, name: NormalizedName, version: Version) -> None:
    """Promote a release of main to the index `lts`."""
    index = harness.opened(2, tables=toml_of(index=({"name": "lts"},)))
    source, target = (
        IndexSide(uploads=side.uploads, caller=replace(ALICE, principal="local:bo"))
        for side in (index, index.named("lts"))
    )
    Promotion(source, target, index.server.runtime).promote(name, version)


def _add_names(harness: IndexHarness) -> None:
    """Reserve names, and give one of them up."""
    for name in ("reserved", "given-up"):
        harness.index.names.reserve(ALICE, NormalizedName(name), "for the team")
    harness.index.names.release(ALICE, NormalizedName("given-up"), "")


def _add_credentials(harness: IndexHarness) -> dict[str, str]:
    """Make tokens in each state, grants, groups and a session, and return the valid tokens."""
    index, by, month = harness.index, "local:alice", timedelta(days=60)
    may_upload, team = parse_actions(["upload"]), (parse_pattern("demo"),)
    requests = (
        TokenRequest(
            name="admin",
            actions=Action.ADMIN.with_implied,
            indexes=(EVERY_INDEX,),
            lifetime=month,
        ),
        TokenRequest(name="ci", actions=may_upload, projects=team, lifetime=month),
        TokenRequest(name="of-ana", lifetime=month, owner=TokenOwner("user:ana@acme.dev")),
        TokenRequest(
            name="of-bo",
            lifetime=month,
            owner=TokenOwner("htpasswd:bo", line=sha256(b"").hexdigest()),
        ),
        TokenRequest(name="rotated", lifetime=month),
        TokenRequest(name="revoked", lifetime=month),
        TokenRequest(name="expired", lifetime=timedelta(days=1)),
    )
    made = {request.name: index.tokens.create(request, by=by) for request in requests}
    rotated = index.tokens.rotate(made["rotated"][1], timedelta(days=50), by=by)
    index.tokens.revoke(made["revoked"][1].id, by=by)
    # of a job of trusted publishing
    token = new_token(index.server.runtime.random)
    job = replace(
        made["expired"][1], id=token.id, sha256=token.digest, name="job 7", publishers=("github-1",)
    )
    index.tokens.store(token, job)
    used = UsedIdTokens(harness.store)
    used.consume("https://issuer.example", "7", START + month, token.id)
    records = index.sessions.records
    records.require_key()
    records.end(f"{7:032x}", START + month)
    person = Person(
        provider="acme",
        subject="ana-of-acme",
        name="ana@acme.dev",
        groups=("platform",),
        confirmed_at=harness.clock.now,
        refused_at=harness.clock.now,
        endings=1,
        refresh_token="c2VhbGVk",  # noqa: S106 - of nobody
        renewing_until=harness.clock.now,
    )
    index.catalog.person_names.claim("acme", person.name, person.id)
    index.server.people.save(person, index.server.people.get_current("acme", person.id))

    for name, members in (("team", ["user:ana@acme.dev", "user:bob@acme.dev"]), ("left", [])):
        index.server.access.edit_group("set", name, members, by)
    index.server.access.edit_group("delete", "left", [], by)
    fields = GrantFields(who=("group:team",), projects=("demo", "team-*"), actions=("upload",))
    index.server.access.grant(fields, by)
    other = index.server.access.grant(
        replace(fields, who=("domain:acme.dev",), note="for a while"), by
    )
    index.server.access.revoke(other, by, "no longer")
    for who in ("htpasswd:left", "user:back@acme.dev"):
        index.server.access.end_person(who, by, "has left us")
    index.server.access.admit_person("user:back@acme.dev", by)
    of_jobs = {"provider": "buildkite", "organization": "acme", "pipeline": "release"}
    for name in ("bk-demo", "bk-gone"):
        keys_of_job = {"id": name, **of_jobs, "build_branch": "main", "projects": ["demo"]}
        index.server.publishers.add(keys_of_job, by)
    index.server.publishers.change(
        "bk-demo", {"build_branch": None, "build_tag": "v*"}, by, "by tag"
    )
    index.server.publishers.remove("bk-gone", by)
    for name in ("acme", "gone"):
        index.server.namespaces.add({"name": name, "owners": ["group:team"]}, by)
    index.server.namespaces.change("acme", {"owners": ["htpasswd:ana"]}, by, "hers now")
    index.server.namespaces.remove("gone", by)
    for name in ("builds", "gone-hook"):
        index.server.webhooks.add({"name": name, "url": "https://ci.example/hook"}, by)
    index.server.webhooks.change("builds", {"events": ["released", "imported"]}, by, "less")
    index.server.webhooks.remove("gone-hook", by)
    valid = [made[name][0] for name in ("admin", "ci", "of-ana", "rotated")] + [rotated.token]
    for token in valid:
        # on the day on which they are used to ask, so that this changes nothing
        day = Codec(LastUse).encode(LastUse(START.date()))
        harness.store.put(keys.last_use(token.id), day, ABSENT)
    names = ("admin", "ci", "of-ana", "rotated", "successor")
    return {name: token.text for name, token in zip(names, valid, strict=True)}


def _add_decisions(harness: IndexHarness) -> None:
    """Approve and block public packages, two of them by one commit."""
    records = harness.index.server.decisions
    deciding = Deciding(records, "user:ana@acme.dev", harness.index.projects.names)
    digests = [package.sha256 for package in PUBLIC_WHEELS[2:]]
    deciding.approve(IDNA, Version("3.10"), "looked at", ["licence"], digests)
    deciding.block(IDNA, Version("3.9"), "slow")
    deciding.block(TAKEN, None, "taken over")
    document = records.get("current").value or DECISIONS.empty
    made = [
        Decision(at=harness.clock.now, by="local:alice", verdict=Verdict.BLOCKED, project=name)
        for name in (NormalizedName("bad-one"), NormalizedName("bad-two"))
    ]
    number, previous = document.revision + 1, DECISIONS.digest(document)
    commit = DECISIONS.new_commit(number, harness.index.server.runtime.new_id(), previous, made)
    records.commits.add(DECISIONS, [commit])


def _add_indexes(harness: IndexHarness) -> None:
    """Make an index with a package, change it, and make and remove another one."""
    administration, by = harness.index.server.index_administration, "local:carol"
    administration.add({"name": "dev"}, by, "TEAM-3")
    administration.change("dev", {"layers": ["dev", ""]}, by)
    administration.add({"name": "lab"}, by)
    administration.remove("lab", by)
    publish(harness.index.named("dev"), harness.folder, make_wheel("of-dev", "1.0"))


def _add_public_packages(harness: IndexHarness) -> dict[str, str]:
    """Keep pages, files and notes of an upstream index; return the digests of files by path."""
    (server,) = upstream_config(SETTINGS).servers
    store, now, runtime = harness.store, harness.clock.now, harness.index.server.runtime
    uses = FileUses(runtime, lambda work: work())
    cache = FileCache(server.id, store, harness.index.server.retries, uses)
    first, _, third = PUBLIC_WHEELS
    # the index lists the second one no longer, and never says a digest of the first one
    before = _public_page(server, PUBLIC_WHEELS, now - timedelta(days=1))
    page = continue_page(_public_page(server, (first, third), now), before, now).page
    StoredPages(store).save(page, ABSENT)
    pin = Pin(first.sha256, len(first.body))
    cache.digests.pin(IDNA, first.filename, pin)
    cache.digests.list_on_page(IDNA, first.filename, pin)
    listed = cache.digests.complete(page).by_filename
    for package in (first, third):
        file = listed[package.filename]
        path = harness.folder / "public"
        path.write_bytes(package.body)
        cache.put(IDNA, file, path, len(package.body))
        cache.store.put_file(
            keys.core_metadata(IDNA, package.sha256, package.filename), package.metadata
        )
        note = keys.upstream_use(IDNA, package.sha256, package.filename)
        cache.store.put(note, b"", None)
    owners = StoredOwners(store, ALL)
    owners.save(IDNA, Ownership(owner=server.id, asked_at=now), ABSENT)
    notes = {"projects": {IDNA: {"3.10": now}}}
    store.put(keys.UPSTREAM_FIRST_USES, FIRST_USES.encode(notes), ABSENT)
    licences = {"releases": {IDNA: {"3.8": "GPL-3.0-only"}}}
    store.put(keys.UPSTREAM_LICENCES, LICENCES.encode(licences), ABSENT)
    advisory = Advisory("PYSEC-1", is_malicious=False, score=7.5, versions="3.8")
    accepted = AcceptedOsv(entries=1, modified_at=now.timestamp(), advisories={IDNA: (advisory,)})
    AcceptedOsvRecord(store).save(accepted)
    return {f"/files/idna/{each.sha256}/{each.filename}": each.sha256 for each in (first, third)}


def _public_page(
    server: UpstreamServer, packages: Sequence[Distribution], now: datetime
) -> UpstreamPage:
    """Return a page of the public project, as its index sends it."""
    entries = [
        {
            "filename": package.filename,
            "url": f"https://files.example/{package.filename}",
            "hashes": {} if package is PUBLIC_WHEELS[0] else {"sha256": package.sha256},
            "core-metadata": {"sha256": sha256(package.metadata).hexdigest()},
            "upload-time": "2025-01-02T03:04:05Z",
        }
        for package in packages
    ]
    body = encode({"meta": {"api-version": "1.1"}, "name": IDNA, "files": entries})
    url = parse_url(f"https://public.example/simple/{IDNA}/")
    fetched = FetchedPage(url, SIMPLE_JSON, bytearray(body), etag='"1"')
    return parse_page(fetched, IDNA, server, now)


if __name__ == "__main__":
    print(make_store().save())  # noqa: T201 - the result of a tool
