"""Which releases the rules delete: of documents alone, without a store."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.downloads.reading import LastDownloads
from wheelyard.model.project import File, Project, Status
from wheelyard.model.retention_rules import parse_rules
from wheelyard.retention.judgements import Choice, RuleInForce, judge

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DEMO = NormalizedName("demo")


def wheel_file(version: str, days: float = 100, **more: Any) -> File:  # noqa: ANN401 - fields of File
    """Return a wheel that came so many days ago."""
    name = f"demo-{version}-{more.pop('tag', 'py3')}-none-any.whl"
    at = NOW - timedelta(days=days)
    fields: dict[str, Any] = {
        "version": version,
        "sha256": "0" * 64,
        "size": 1,
        "uploaded_by": "local:a",
    }
    return File(filename=name, uploaded_at=at, **fields, **more)


def project_of(*files: File | str) -> Project:
    """Return a project with these files."""
    listed = [wheel_file(file) if isinstance(file, str) else file for file in files]
    return Project(name=DEMO, files=tuple(sorted(listed, key=lambda file: file.filename)))


def deleted(
    project: Project,
    *tables: dict[str, Any],
    downloads: LastDownloads | None = None,
    now: datetime = NOW,
) -> list[str]:
    """Return the versions that rules delete, newest first."""
    rules = [RuleInForce(rule, downloads) for rule in parse_rules(tables)]
    return [judgement.version for judgement in judge(project, rules, now) if judgement.is_deleted]


def test_the_last_releases_are_kept() -> None:
    """The last N releases are those with the highest versions, not those that came last."""
    project = project_of("1.9", wheel_file("1.10", 200), "1.2", wheel_file("1.0", 1))

    assert deleted(project, {"keep_last": 2}) == ["1.2", "1.0"]
    assert deleted(project, {"keep_last": 4}) == []


def test_neither_pre_releases_nor_yanked_ones_push_out_others() -> None:
    """A final release counts only final ones after it, and no release counts yanked ones."""
    project = project_of("1.0", "2.0", "3.0", "4.0rc1", wheel_file("5.0", yanked=""), "4.0.dev1")

    assert deleted(project, {"keep_last": 2}) == ["1.0"]
    assert deleted(project, {"keep_last": 1, "only": "prereleases"}) == ["4.0.dev1"]


def test_one_kind_of_releases() -> None:
    """A rule may be about pre-releases or dev releases only, and counts these alone."""
    project = project_of("1.0.dev1", "1.0.dev2", "1.0a1", "1.0rc1", "1.0", "2.0.post1.dev1", "2.0")

    assert deleted(project, {"keep_last": 1, "only": "dev"}) == ["1.0.dev2", "1.0.dev1"]
    old = {"older_than_days": 100, "only": "prereleases"}
    pre_releases = ["2.0.post1.dev1", "1.0rc1", "1.0a1", "1.0.dev2", "1.0.dev1"]
    assert deleted(project, old) == pre_releases


def test_a_release_is_as_old_as_its_last_file() -> None:
    """A release that got another file lately is not old, nor one that was imported lately."""
    project = project_of(
        wheel_file("1.0", 40),
        wheel_file("1.0", 5, tag="py2"),
        wheel_file("2.0", 40),
        wheel_file("3.0", 400, imported_at=NOW - timedelta(days=2)),
        "4.0",
    )

    assert deleted(project, {"older_than_days": 30}) == ["2.0"]
    assert deleted(project, {"older_than_days": 5}) == ["2.0", "1.0"]


def test_all_conditions_of_a_rule_and_one_of_the_rules() -> None:
    """A release goes if it meets all conditions of any rule."""
    project = project_of(
        wheel_file("1.0", 10), wheel_file("2.0", 50), wheel_file("3.0.dev1", 50), "4.0"
    )

    assert deleted(project, {"keep_last": 1, "older_than_days": 30}) == ["3.0.dev1", "2.0"]
    both = ({"keep_last": 2}, {"only": "dev", "older_than_days": 30})
    assert deleted(project, *both) == ["3.0.dev1", "1.0"]


def test_what_another_rule_deletes_is_not_counted() -> None:
    """A newer release that goes by any rule in the same run is none of the last N."""
    old = [wheel_file(version, 40) for version in ("1.0a1", "1.0a3", "1.0a4", "1.0a5")]
    project = project_of(*old, wheel_file("1.0a2", 1), wheel_file("1.0a6", 1))

    both = ({"keep_last": 3}, {"older_than_days": 20})
    assert deleted(project, *both) == ["1.0a5", "1.0a4", "1.0a3", "1.0a1"]


def test_what_was_downloaded_stays() -> None:
    """A release stays while it was downloaded lately, or it is new itself."""
    project = project_of("1.0", wheel_file("1.0", tag="py2"), "2.0", wheel_file("3.0", 5), "4.0")
    day = date(2026, 5, 20)
    downloads = LastDownloads(is_complete=True, versions={(DEMO, "1.0"): day}, projects={})
    rule = {"not_downloaded_days": 30}

    assert deleted(project, rule, downloads=downloads) == ["2.0"]
    assert deleted(project, rule, downloads=replace(downloads, projects={DEMO: day})) == []


def test_what_is_protected_stays() -> None:
    """What is pinned or promoted stays whatever rules say, and so does the latest release."""
    project = project_of(
        wheel_file("1.0", pinned="runs at a customer"),
        wheel_file("1.0", tag="py2"),
        wheel_file("2.0", promoted_to=("prod",)),
        wheel_file("3.0", promoted_at=NOW - timedelta(days=50)),
        "4.0",
        wheel_file("5.0", yanked="broken"),
        "6.0rc1",
    )
    rules = [RuleInForce(rule) for rule in parse_rules([{"older_than_days": 1}])]

    kept = {judgement.version: judgement.why_kept for judgement in judge(project, rules, NOW)}

    assert kept == {
        "1.0": ("pinned: runs at a customer",),
        "2.0": ("promoted to another index",),
        "3.0": ("promoted from another index",),
        "4.0": ("the latest release",),
        "5.0": (),
        "6.0rc1": (),
    }


def test_a_project_never_becomes_empty() -> None:
    """Of a project without final releases, and of one with yanked ones only, the last stays."""
    rule = {"older_than_days": 1}

    assert deleted(project_of("1.0.dev1", "1.0.dev2"), rule) == ["1.0.dev1"]
    yanked = (wheel_file("1.0", yanked=""), wheel_file("2.0", yanked=""))
    assert deleted(project_of(*yanked), rule) == ["1.0"]


def test_a_project_in_quarantine_is_left_alone() -> None:
    """Nothing is deleted from a project in quarantine, which somebody examines."""
    project = replace(project_of("1.0", "2.0"), status=Status.QUARANTINED)

    assert deleted(project, {"keep_last": 1}) == []


VERSIONS = ["1.0.dev1", "1.0a1", "1.0", "1.0.1", "1.1rc1", "2.0.dev3", "2.0"]


@given(
    files=st.lists(
        st.builds(
            wheel_file,
            st.sampled_from(VERSIONS),
            st.integers(0, 60),
            yanked=st.sampled_from([None, "broken"]),
            pinned=st.sampled_from([None, None, "why"]),
        ),
        unique_by=lambda file: file.version,
        min_size=1,
    ),
    tables=st.lists(
        st.fixed_dictionaries(
            {"keep_last": st.integers(1, 5)},
            optional={
                "older_than_days": st.integers(1, 60),
                "only": st.sampled_from(["dev", "prereleases"]),
            },
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_whatever_rules_say(files: list[File], tables: list[dict[str, Any]]) -> None:
    """Rules delete nothing at a second look, more as time passes, and never pins or the latest."""
    project = project_of(*files)
    gone = deleted(project, *tables)
    rest = [file for file in files if file.version not in gone]

    assert rest
    assert not any(file.pinned is not None for file in files if file.version in gone)
    assert deleted(project_of(*rest), *tables) == []
    if len(tables) == 1:  # what another rule deletes later is not counted any more
        assert set(gone) <= set(deleted(project, *tables, now=NOW + timedelta(days=10)))
    final = [file.version for file in files if file.yanked is None and "." in file.version]
    stable = [version for version in final if not Version(version).is_prerelease]
    if stable:
        assert max(stable, key=Version) not in gone
    rules = [RuleInForce(rule) for rule in parse_rules(tables)]
    chosen = Choice(rules, NOW)(project)
    assert {file.version for group in chosen.values() for file in group} == set(gone)
