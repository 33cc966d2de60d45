"""What the policy shows of a page, hides and refuses."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.fake_store import FakeStore
from tests.fake_time import fake_runtime
from tests.operations.in_memory_index import IndexHarness, code_of
from tests.upstream.policy.pages import DEMO, DIGEST, NOW, OLD, listed_wheel, page
from wheelyard.archive.attestation_verifier import AttestationVerifier
from wheelyard.catalog import keys
from wheelyard.errors import Invalid, NotFound, Unavailable
from wheelyard.model.project import Status
from wheelyard.model.public_packages import Decision, ProjectDecisions, Verdict
from wheelyard.model.rule_keys import RuleKeys
from wheelyard.model.rule_reasons import Code
from wheelyard.model.rule_rows import rules_of_index, rules_of_upstream
from wheelyard.model.rules import Judged
from wheelyard.remedies import Advice, Remedy
from wheelyard.settings.sections import Settings
from wheelyard.settings.upstream_section import UpstreamSettings
from wheelyard.storage.base import Stores
from wheelyard.storage.spool import Spool
from wheelyard.upstream.decisions import Deciding
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.policy.advisories import Hit
from wheelyard.upstream.policy.facts import PageFacts
from wheelyard.upstream.policy.page_provenances import PageProvenances
from wheelyard.upstream.policy.policy import Policy
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits, cache_policy_in
from wheelyard.wiring.upstream import build_policy

DAY = timedelta(days=1)
ONE = Version("1.0")


def no_metadata(at: UpstreamPage, file: UpstreamFile) -> bytes:
    """Say that a file has no metadata."""
    raise NotFound(f"{file.filename} of {at.name}")


class NoProvenances:
    """Where no file has a provenance."""

    is_offline = False

    def read(self, page: UpstreamPage, file: UpstreamFile) -> bytes:
        """Say that a file has none."""
        return no_metadata(page, file)

    def forget(self, page: UpstreamPage, file: UpstreamFile) -> None:
        """Do nothing."""

    def build_verifiers(self) -> tuple[AttestationVerifier, ...]:
        """Return none."""
        return ()


def policy_of(
    index: Index,
    settings: UpstreamSettings,
    read_metadata: Callable[[UpstreamPage, UpstreamFile], bytes] = no_metadata,
) -> Policy:
    """Return the policy of the settings over the store of an index."""
    caching = cache_policy_in(StoreTraits(), index.settings.store)
    settings = replace(settings, url="https://index.example.com/simple/")
    store, decisions = index.files.store, index.server.decisions
    provenances = PageProvenances(NoProvenances(), index.server.runtime.monotonic)
    return build_policy(
        settings, store, decisions, read_metadata, provenances, caching, is_read_only=False
    )


def deciding(index: Index) -> Deciding:
    """Return what makes decisions in the name of Ana."""
    return Deciding(index.server.decisions, "local:ana")


def approve(index: Index, version: str = "", despite: Sequence[str] = ()) -> ProjectDecisions:
    """Approve `demo` without asking an upstream index, or the files of one version of it."""
    if version:
        digests = [DIGEST]
        return deciding(index).approve(DEMO, Version(version), "", despite, digests)
    draft = Decision(at=NOW, by="local:ana", verdict=Verdict.APPROVED, project=DEMO)
    return index.server.decisions.change(lambda _: (draft,)).after.by_project[DEMO]


def shown(policy: Policy, of: UpstreamPage, now: datetime = NOW) -> list[str]:
    """Return the versions of the files that are shown."""
    return [each.version for each in policy.view(of, now).shown]


def codes(policy: Policy, of: UpstreamPage, now: datetime = NOW) -> dict[str, list[str]]:
    """Return the codes of all reasons why files are hidden, by version."""
    found = policy.reasons(of, now)
    versions = {each.filename: each.version for each in of.files}
    return {versions[name]: [each.code for each in some] for name, some in found.items()}


def generation(policy: Policy) -> str | None:
    """Return the generation of the policy now."""
    return policy.generation


def test_nothing_is_set(harness: IndexHarness) -> None:
    """Without any rule the page is shown as it is, also files without a time of upload."""
    policy, found = policy_of(harness.index, UpstreamSettings()), page(listed_wheel("1.0", None))
    view = policy.view(found, NOW)
    assert view.shown is found.files
    assert (dict(view.hidden), view.changes_at) == ({}, None)
    assert policy.refusal_of_name(DEMO) is None
    assert policy.refusal_of_file(found, found.files[0]) is None


@pytest.mark.parametrize(
    ("settings", "name", "code"),
    [
        (UpstreamSettings(deny=("DE*",)), "demo", Code.DENIED),
        (UpstreamSettings(deny=("de?o",)), "other", None),
        (UpstreamSettings(allow=("other",)), "demo", Code.NOT_LISTED),
        (UpstreamSettings(allow=("DEMO",)), "demo", None),
        (UpstreamSettings(allow=("demo",), deny=("demo",)), "demo", Code.DENIED),
        (UpstreamSettings(approval=True), "demo", Code.NOT_APPROVED),
    ],
)
def test_a_name_is_refused_before_anybody_is_asked(
    harness: IndexHarness, settings: UpstreamSettings, name: str, code: Code | None
) -> None:
    """A name is refused before anybody is asked about it; patterns are normalised as names are."""
    found = policy_of(harness.index, settings).refusal_of_name(NormalizedName(name))
    assert (found.code if found else None) == code


def test_a_file_appears_when_the_cooldown_ends(harness: IndexHarness) -> None:
    """A file appears when it is exactly as old as the cooldown, and the view says when that is."""
    policy = policy_of(harness.index, UpstreamSettings(cooldown_days=7))
    found = page(
        listed_wheel("1.0"),
        listed_wheel("2.0", NOW - 7 * DAY),
        listed_wheel("3.0", NOW - 6 * DAY),
        listed_wheel("4.0", NOW + 2 * DAY),
        listed_wheel("5.0", None),
        listed_wheel("6.0", datetime.max.replace(tzinfo=UTC)),
    )
    assert shown(policy, found) == ["1.0", "2.0"]
    assert policy.view(found, NOW).changes_at == NOW + DAY
    assert shown(policy, found, NOW + DAY - timedelta(microseconds=1)) == ["1.0", "2.0"]
    assert shown(policy, found, NOW + DAY) == ["1.0", "2.0", "3.0"]
    assert shown(policy, found, NOW + 9 * DAY) == ["1.0", "2.0", "3.0", "4.0"]
    assert policy.view(found, NOW + 9 * DAY).changes_at is None
    assert shown(policy, found, NOW) == ["1.0", "2.0"]  # the clock was set back
    assert {each.code for each in policy.view(found, NOW).hidden.values()} == {Code.COOLDOWN}


def test_a_file_without_a_time_counts_from_when_it_was_seen(harness: IndexHarness) -> None:
    """Where the operator wants that, a file without a time counts from when it was first seen."""
    settings = UpstreamSettings(cooldown_days=7, cooldown_missing="first_seen")
    found = page(
        listed_wheel("1.0", None, first_seen=NOW - 7 * DAY),
        listed_wheel("2.0", None, first_seen=NOW),
        listed_wheel("3.0", None),
    )
    assert shown(policy_of(harness.index, settings), found) == ["1.0"]
    hiding = UpstreamSettings(cooldown_days=7)
    assert shown(policy_of(harness.index, hiding), found) == []


@pytest.mark.parametrize(
    ("exception", "versions"),
    [
        ("Demo", ["1.0", "1.0+cpu", "2.0"]),
        ("d*", ["1.0", "1.0+cpu", "2.0"]),
        ("demo==1", ["1.0", "1.0+cpu"]),
        ("demo == 2.0.0", ["2.0"]),
        ("demo2", []),
        ("other==1.0", []),
    ],
)
def test_an_exception_is_a_name_a_pattern_or_a_version(
    harness: IndexHarness, exception: str, versions: list[str]
) -> None:
    """An exception is a name, a pattern, or one version of a name, by PEP 440."""
    settings = UpstreamSettings(cooldown_days=7, cooldown_allow=(exception,))
    found = page(listed_wheel("1.0", NOW), listed_wheel("1.0+cpu", NOW), listed_wheel("2.0", NOW))
    assert sorted(shown(policy_of(harness.index, settings), found)) == versions


def test_a_snapshot_shows_what_was_there_on_a_day(harness: IndexHarness) -> None:
    """A snapshot shows what was uploaded until the end of a day, and later files never."""
    policy = policy_of(harness.index, UpstreamSettings(snapshot="2025-12-31"))
    found = page(
        listed_wheel("1.0", NOW - timedelta(microseconds=1)),
        listed_wheel("2.0", NOW),
        listed_wheel("3.0", None),
        listed_wheel("4.0", None, first_seen=OLD),
    )
    assert shown(policy, found) == ["1.0", "4.0"]
    assert policy.view(found, NOW).changes_at is None
    assert codes(policy, found) == {"2.0": [Code.SNAPSHOT], "3.0": [Code.SNAPSHOT]}


def test_a_security_fix(harness: IndexHarness) -> None:
    """One command lets a new version through, at once in every process, and no other version."""
    policy = policy_of(harness.opened(seed=5), UpstreamSettings(cooldown_days=7, deny=("other",)))
    found = page(
        listed_wheel("1.0"), listed_wheel("2.0", NOW), listed_wheel("2.0", NOW, tag="py2-none-any")
    )
    found = replace(found, files=(*found.files, listed_wheel("3.0", NOW)))
    assert shown(policy, found) == ["1.0"]
    refused = policy.refusal_of_file(found, found.by_filename["demo-2.0-py3-none-any.whl"])
    before = policy.generation
    approve(harness.index, "2.0.0")
    assert policy.generation != before
    assert shown(policy, found) == ["1.0", "2.0", "2.0"]
    assert policy.refusal_of_file(found, found.by_filename["demo-2.0-py3-none-any.whl"]) is None
    assert refused is not None
    assert refused.code == Code.COOLDOWN
    assert refused.text.endswith("ask the operator to let it through.")
    assert refused.advice == Advice(Remedy.REQUEST_PACKAGE, "demo", version="2.0")


def test_a_block_reaches_local_versions_and_an_approval_does_not(harness: IndexHarness) -> None:
    """Who blocks a version blocks its local versions; who approves it does not approve those."""
    policy, ana = policy_of(harness.index, UpstreamSettings()), deciding(harness.index)
    careful = policy_of(harness.index, UpstreamSettings(approval=True))
    found = page(
        listed_wheel("1.0"),
        listed_wheel("1.0+cpu"),
        listed_wheel("1.0+cu118"),
        listed_wheel("1.0.1"),
    )
    ana.block(DEMO, ONE, "")
    assert shown(policy, found) == ["1.0.1"]
    approve(harness.index, "1.0+cpu")
    assert shown(policy, found) == ["1.0+cpu", "1.0.1"]
    assert shown(careful, found) == ["1.0+cpu"]
    added = listed_wheel("1.0+cpu", tag="py2-none-any", sha256="1" * 64)
    assert shown(policy, page(added)) == []  # 1.0 is blocked still
    approve(harness.index, "1.0")
    assert shown(careful, found) == ["1.0+cpu", "1.0"]


def test_a_decision_on_a_bucket_is_in_force_after_freshness(harness: IndexHarness) -> None:
    """On a bucket a decision is in force everywhere after `freshness`, and read once in it."""
    remote = StoreTraits(is_local=False)
    runtime = fake_runtime(harness.clock, 3)
    other = build_index(
        Stores.of(harness.store), Spool(harness.folder), Settings(), runtime, remote
    )
    policy, found = policy_of(other, UpstreamSettings()), page(listed_wheel("1.0"))
    assert generation(policy) is None
    assert shown(policy, found) == ["1.0"]
    deciding(harness.index).block(DEMO, ONE, "")
    assert generation(policy) is not None
    assert shown(policy, found) == ["1.0"]
    harness.clock.advance(seconds=1.1)
    assert generation(policy) is None
    assert shown(policy, found) == []


def test_only_what_was_approved_is_shown(harness: IndexHarness) -> None:
    """Only what was approved is shown, and approving a project does not end the cooldown."""
    policy = policy_of(harness.index, UpstreamSettings(approval=True, cooldown_days=7))
    found = page(listed_wheel("1.0"), listed_wheel("2.0"), listed_wheel("3.0", NOW))
    approve(harness.index, "1.0")
    assert policy.refusal_of_name(DEMO) is None
    assert codes(policy, found) == {
        "2.0": [Code.NOT_APPROVED],
        "3.0": [Code.NOT_APPROVED, Code.COOLDOWN],
    }
    approve(harness.index)
    assert codes(policy, found) == {"3.0": [Code.COOLDOWN]}


def test_blocking_a_project_ends_its_approvals(harness: IndexHarness) -> None:
    """Blocking a project ends its approvals; approving it again leaves blocked versions blocked."""
    policy, ana = policy_of(harness.index, UpstreamSettings()), deciding(harness.index)
    found = page(listed_wheel("1.0"), listed_wheel("2.0"))
    ana.block(DEMO, Version("2.0"), "loses data")
    assert codes(policy, found) == {"2.0": [Code.BLOCKED]}
    approve(harness.index, "1.0")
    ana.block(DEMO, None, "taken over")
    assert shown(policy, found) == []
    refused = policy.refusal_of_name(DEMO)
    assert refused is not None
    assert "on 2026-01-01 by ana, on the command line: taken over" in refused.text
    approve(harness.index, "1.0")
    assert policy.refusal_of_name(DEMO) is None
    assert shown(policy, found) == ["1.0"]
    (why,) = policy.reasons(page(listed_wheel("3.0")), NOW).values()
    assert why[0].text.startswith(
        "demo was blocked on 2026-01-01 by ana, on the command line: taken over. Use an"
    )
    decided = approve(harness.index)
    assert shown(policy, found) == ["1.0"]
    assert [each.target for each in decided.all if each.verdict is Verdict.BLOCKED] == ["demo 2.0"]


def write_osv(at: Path, *entries: object) -> None:
    """Write an OSV database with these entries."""
    at.write_text(json.dumps(entries))


def malware(version: str) -> dict[str, object]:
    """Return an entry about a malicious version of `demo`."""
    affected = {"package": {"ecosystem": "PyPI", "name": "demo"}, "versions": [version]}
    return {"id": f"MAL-2026-{version}", "affected": [affected]}


def test_a_malicious_version_is_hidden_whatever_was_approved(
    harness: IndexHarness, tmp_path: Path
) -> None:
    """A malicious version is hidden as soon as the database says so, whatever was approved."""
    osv = tmp_path / "osv.json"
    write_osv(osv, malware("1.0"))
    policy = policy_of(harness.index, UpstreamSettings(osv=str(osv)))
    found = page(listed_wheel("1.0"), listed_wheel("2.0"))
    approve(harness.index, "1.0")
    assert codes(policy, found) == {"1.0": [Code.MALICIOUS]}
    before = policy.generation
    write_osv(osv, malware("1.0"), malware("2.0"))
    assert policy.generation == before  # nobody looks at each request
    harness.clock.advance(seconds=5)
    assert generation(policy) is None
    assert shown(policy, found) == []
    assert generation(policy) not in (None, before)
    approve(harness.index, "1.0", [Code.MALICIOUS])
    assert shown(policy, found) == ["1.0"]


def test_a_kept_file_is_refused_as_any_other(harness: IndexHarness, tmp_path: Path) -> None:
    """A file that its page does not list any more is refused for the same reasons as others."""
    osv = tmp_path / "osv.json"
    write_osv(osv, malware("1.0"))
    policy = policy_of(harness.index, UpstreamSettings(osv=str(osv), cooldown_days=7))
    found = replace(
        page(), removed=(listed_wheel("1.0"), listed_wheel("2.0", NOW), listed_wheel("3.0"))
    )
    refusals = [policy.refusal_of_file(found, each) for each in found.removed]
    assert [each.code if each else None for each in refusals] == [
        Code.MALICIOUS,
        Code.COOLDOWN,
        None,
    ]


def test_a_broken_database(
    harness: IndexHarness, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """While the database is broken or gone, what it said before stays in force; the log says so."""
    osv = tmp_path / "osv.json"
    write_osv(osv, malware("1.0"))
    policy = policy_of(harness.index, UpstreamSettings(osv=str(osv)))
    policy.load()
    good, found = osv.read_bytes(), page(listed_wheel("1.0"))
    for damage in (b"{", b"[]", b'{"id": "\xff"}', None):
        if damage is None:
            osv.unlink()
        else:
            osv.write_bytes(damage)
        for _ in range(2):
            harness.clock.advance(seconds=5)
            assert shown(policy, found) == []
    assert len(log.records) == 4
    assert all("stays in force" in each.message for each in log.records)
    osv.write_bytes(good.replace(b"MAL-2026-1.0", b"GHSA-2026-10"))
    harness.clock.advance(seconds=5)
    assert shown(policy, found) == ["1.0"]


def test_nothing_of_a_quarantined_project_is_shown(harness: IndexHarness) -> None:
    """Nothing of a project that its upstream has quarantined is shown."""
    policy, found = policy_of(harness.index, UpstreamSettings()), page(listed_wheel("1.0"))
    assert shown(policy, found) == ["1.0"]
    bad = replace(found, status=Status.QUARANTINED, reason="malware")
    assert codes(policy, bad) == {"1.0": [Code.QUARANTINED]}
    assert shown(policy, bad) == []


def test_a_blocked_licence_is_found_when_a_file_is_asked_for(harness: IndexHarness) -> None:
    """A blocked licence is found when a file is asked for; then no process's pages show it."""
    texts = {"1.0": "MIT", "2.0": "AGPL-3.0-only", "3.0": "MIT OR AGPL-3.0-only"}
    asked = list[str]()

    def read(at: UpstreamPage, file: UpstreamFile) -> bytes:
        asked.append(file.filename)
        expression = texts.get(file.version)
        if expression is None:
            raise NotFound(file.filename)
        head = f"Metadata-Version: 2.4\nName: {at.name}\nVersion: {file.version}\n"
        return f"{head}License-Expression: {expression}\n\n".encode()

    settings = UpstreamSettings(blocked_licenses=("AGPL-*",))
    policy = policy_of(harness.index, settings, read)
    other = policy_of(harness.opened(seed=7), settings, read)
    files = (listed_wheel("1.0"), listed_wheel("2.0"), listed_wheel("3.0"), listed_wheel("4.0"))
    sdist = listed_wheel("2.0", has_metadata=False, tag="py2-none-any")
    bare = listed_wheel("5.0", has_metadata=False)  # nobody can say under which licence
    found = page(*files, sdist, bare)
    assert shown(policy, found) == [each.version for each in found.files]
    assert asked == []
    refusals = [policy.refusal_of_file(found, each) for each in (*files, sdist, bare, *files)]
    assert [each.code if each else None for each in refusals] == [
        *(None, Code.LICENCE, None, None),
        *(Code.LICENCE, None),
        *(None, Code.LICENCE, None, None),
    ]
    assert asked == [each.filename for each in files]  # once each
    alone = policy_of(harness.opened(seed=8), settings, read)
    harness.store.delete(keys.UPSTREAM_LICENCES)
    refused = alone.refusal_of_file(found, sdist)
    assert refused is not None
    assert refused.code == Code.LICENCE
    assert shown(policy, found) == shown(other, found) == ["1.0", "3.0", "4.0", "5.0"]
    assert codes(policy, found) == {"2.0": [Code.LICENCE]}
    approve(harness.index, "2.0", [Code.LICENCE])
    assert shown(policy, found) == [each.version for each in found.files]
    assert policy.refusal_of_file(found, sdist) is None


def test_what_memory_does_not_have_is_read_first(harness: IndexHarness) -> None:
    """Of a remote store, memory does not say what is shown before hidden licences are read."""
    index = harness.opened(seed=7, is_local=False)
    policy = policy_of(index, UpstreamSettings(blocked_licenses=("AGPL-*",)))
    index.server.decisions.get("current")

    assert generation(policy) is None
    assert shown(policy, page(listed_wheel("1.0"))) == ["1.0"]
    assert generation(policy) is not None


def test_a_release_without_a_known_licence_may_be_hidden(harness: IndexHarness) -> None:
    """Releases without metadata are hidden if the operator wants a known licence of each."""
    policy = policy_of(harness.index, UpstreamSettings(blocked_licenses=("unknown",)))
    found = page(listed_wheel("1.0"), listed_wheel("2.0", has_metadata=False))
    assert codes(policy, found) == {"2.0": [Code.LICENCE]}
    refused = policy.refusal_of_file(found, found.files[0])
    assert refused is not None
    assert refused.code == Code.LICENCE


@pytest.mark.parametrize(
    ("hits", "versions"), [({}, ("1.0",)), (None, ())], ids=["database", "no-database"]
)
def test_a_version_without_files_needs_a_database_too(
    hits: dict[str, Hit] | None, versions: tuple[str, ...]
) -> None:
    """With min_cvss, an index lists a version without files only if advisories can be read."""
    rules = rules_of_index(RuleKeys(min_cvss=7), "stable")
    facts = PageFacts(page=page(), hits=hits)

    assert rules.shown_versions([facts.of_version("1.0")], NOW) == versions


@pytest.mark.parametrize(
    "settings",
    [
        UpstreamSettings(blocked_licenses=("APGL-3.0",)),
        UpstreamSettings(osv="/does/not/exist"),
        UpstreamSettings(deny=("!",)),
    ],
)
def test_a_setting_that_would_block_nothing_stops_the_start(
    harness: IndexHarness, settings: UpstreamSettings
) -> None:
    """What would silently block nothing stops the start."""
    with pytest.raises(Invalid) as caught:
        policy_of(harness.index, settings).load()
    assert code_of(caught.value) == ("Invalid", "bad_setting")


def test_nothing_is_served_while_decisions_are_lost(harness: IndexHarness) -> None:
    """If the decisions are lost or damaged, nothing is served rather than what was blocked."""
    policy, found = policy_of(harness.index, UpstreamSettings()), page(listed_wheel("1.0"))
    deciding(harness.index).block(DEMO, ONE, "")
    body = harness.bytes_at(keys.DECISIONS)
    harness.store.delete(keys.DECISIONS)
    with pytest.raises(Unavailable):
        policy_of(harness.opened(seed=9), UpstreamSettings()).refusal_of_name(DEMO)
    for _ in range(2):
        with pytest.raises(Unavailable):
            policy.refusal_of_name(DEMO)
        harness.store.put(keys.DECISIONS, b"{", None)
    with pytest.raises(Unavailable):
        policy.view(found, NOW)
    harness.store.put(keys.DECISIONS, body, None)
    assert shown(policy, found) == []


def test_a_view_is_kept(harness: IndexHarness) -> None:
    """A page is judged once, until its files, a decision or the time changes that."""
    policy = policy_of(harness.index, UpstreamSettings(cooldown_days=7))
    found = page(listed_wheel("1.0"), listed_wheel("2.0", NOW - DAY))
    view = policy.view(found, NOW)
    again = replace(found, fetched_at=NOW + DAY, files=tuple(found.files))
    assert policy.view(again, NOW + 5 * DAY) is view
    more = replace(found, files=(*found.files, listed_wheel("3.0")))
    assert shown(policy, more, NOW + 5 * DAY) == ["1.0", "3.0"]
    assert policy.view(found, NOW + 6 * DAY) is not view
    deciding(harness.index).block(NormalizedName("other"), None, "")
    assert policy.view(found, NOW).generation == policy.generation != view.generation


def test_a_file_that_is_shown_needs_no_further_look_at_the_store(harness: IndexHarness) -> None:
    """A file that a view shows is sent without a call to the store if no rule needs sidecars."""
    store = FakeStore(harness.store)
    policy = policy_of(harness.opened(seed=2, store=store, is_local=False), UpstreamSettings())
    found = page(listed_wheel("1.0"))
    view = policy.view(found, NOW)
    harness.clock.advance(seconds=60)
    store.calls.clear()

    assert policy.refusal_of_file(found, found.files[0], view) is None
    assert store.calls == []


@pytest.mark.parametrize(
    ("version", "despite"), [(ONE, "denied"), (None, Code.MALICIOUS), (None, Code.VULNERABLE)]
)
def test_what_cannot_be_lifted(
    harness: IndexHarness, version: Version | None, despite: str
) -> None:
    """A denied name stays denied, and malware is never approved for versions to come."""
    with pytest.raises(Invalid) as caught:
        deciding(harness.index).approve(DEMO, version, "", [despite])
    assert code_of(caught.value) == ("Invalid", "invalid_field")
    assert not list(harness.store.list(keys.DECISIONS))


def test_decisions_are_checked_and_journaled(harness: IndexHarness) -> None:
    """Each decision is in the journal, with who, when and why; the check mends a lost document."""
    ana = deciding(harness.index)
    ana.block(DEMO, ONE, "first")
    ana.approve(DEMO, ONE, "second", ["snapshot"], [DIGEST])
    events = [each.event for each in harness.index.server.decisions.history()]
    assert [(each.verdict, each.reason, each.by) for each in events] == [
        ("blocked", "first", "local:ana"),
        ("approved", "second", "local:ana"),
    ]
    assert harness.check().problems == []
    body = harness.bytes_at(keys.DECISIONS)
    harness.store.put(keys.DECISIONS, b"{", None)
    assert "servers may refuse packages" in " ".join(harness.check().problems)
    assert harness.check(rebuild=True).rebuilt == 1
    assert harness.bytes_at(keys.DECISIONS) == body


TIMES = st.none() | st.integers(-20, 10).map(lambda days: NOW + days * DAY)
FILES = st.lists(st.tuples(st.sampled_from(["1.0", "2.0", "3.0"]), TIMES, TIMES), max_size=6)


@given(
    FILES,
    st.integers(0, 8),
    st.booleans(),
    st.none() | st.integers(-10, 5).map(lambda days: NOW + days * DAY),
)
def test_each_file_is_shown_or_hidden_for_a_reason(
    made: list[tuple[str, datetime | None, datetime | None]],
    days: int,
    uses_first_seen: bool,  # noqa: FBT001 - Hypothesis fills it in
    snapshot: datetime | None,
) -> None:
    """Each file is shown or hidden, hidden ones have a reason, and time alone only adds files."""
    files = [
        listed_wheel(version, at, first_seen=seen, tag=f"py3-none-linux_{number}")
        for number, (version, at, seen) in enumerate(made)
    ]
    found = page(*files)
    keys = RuleKeys(
        cooldown_days=days,
        cooldown_missing="first_seen" if uses_first_seen else "hide",
        snapshot=snapshot.isoformat() if snapshot else "",
    )
    rules = rules_of_upstream(keys)

    def view_at(now: datetime) -> list[str]:
        view = judged_at(now)
        names = [each.filename for each in view.shown]
        assert {*names} | {*view.hidden} == {*found.by_filename}
        assert {*names} & {*view.hidden} == set()
        assert names == sorted(names)
        for file in view.shown:
            at = file.uploaded_at or (file.first_seen if uses_first_seen else None)
            assert not days or (at is not None and now - at >= days * DAY)
            known = file.uploaded_at or file.first_seen
            assert snapshot is None or (known is not None and known <= snapshot)
        if view.changes_at is not None:
            just_before = judged_at(view.changes_at - timedelta(microseconds=1))
            assert view.changes_at > now
            assert [each.filename for each in just_before.shown] == names
        return names

    def judged_at(now: datetime) -> Judged[UpstreamFile]:
        facts = PageFacts(page=found)
        return rules.judge(found.files, map(facts.of, found.files), now)

    seen = list[str]()
    for hours in range(0, 24 * 12, 36):
        now_seen = view_at(NOW + timedelta(hours=hours))
        assert {*seen} <= {*now_seen}
        seen = now_seen
