"""The line of time of a project on the page of retention has what goes, and what stays."""

import re
from collections import Counter
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.model.retention_report import DatedRelease, ThinnedProject
from wheelyard.rendering.web.admin.retention_lines import PLACES, draw_releases

TODAY = date(2026, 11, 27)
DOT = re.compile('<svg class="([^"]*)" x="[^"]*" y="[^"]*"><title>([^<]*)</title>')
FATES = st.tuples(st.integers(0, 900), st.booleans(), st.booleans())


def project_of(*fates: tuple[int, bool, bool]) -> ThinnedProject:
    """Return a project with a release for each: its age in days, whether it goes, is yanked."""
    oldest = sorted(fates, key=lambda fate: -fate[0])
    releases = [
        DatedRelease(
            version=f"{number}.0",
            day=TODAY - timedelta(days=age),
            is_yanked=is_yanked,
            is_deleted=is_deleted,
        )
        for number, (age, is_deleted, is_yanked) in enumerate(oldest)
    ]
    name = NormalizedName("acme-core")
    return ThinnedProject(index="main", name=name, bytes=0, releases=tuple(releases))


def counts_of(project: ThinnedProject) -> Counter[bool]:
    """Return of how many releases the dots are that go, and of how many those that stay."""
    counts = Counter[bool]()
    for kinds, label in DOT.findall(draw_releases(project)):
        shared = re.match("([0-9]+) releases, ", label)
        is_deleted = kinds == "deleted"
        lines = [line for line in label.split("\n") if line[0].isdigit() and "releases" not in line]
        assert {line.endswith(", goes") for line in lines} == {is_deleted}
        counts[is_deleted] += int(shared[1]) if shared else 1
    return counts


@given(st.lists(FATES, min_size=2, max_size=200).filter(lambda fates: fates[0][1]))
def test_the_dots_in_red_are_what_goes(fates: list[tuple[int, bool, bool]]) -> None:
    """The red crosses of a line stand for as many releases as go, and its dots for the rest."""
    project = project_of(*fates)
    if len({release.day for release in project.releases}) == 1:
        assert draw_releases(project) == ""
        return

    counts = counts_of(project)

    assert counts[True] == project.deleted
    assert counts[False] == len(fates) - project.deleted
    said = f"{project.deleted} of {len(fates)} releases of acme-core would be deleted"
    assert said in draw_releases(project)


def test_a_line_of_nightly_releases_stays_light() -> None:
    """Releases of the same days share a dot, so that a line of thousands has some forty."""
    project = project_of(*((age, age > 6, False) for age in range(2000)))

    assert len(DOT.findall(draw_releases(project))) <= PLACES + 1
    assert counts_of(project) == {True: 1993, False: 7}
    assert draw_releases(project).count(f">{TODAY}</span>") == 1


def test_the_dot_of_a_prerelease_differs() -> None:
    """The dot of a prerelease that stays has another class than that of a release."""
    project = project_of((90, True, False), (30, False, True), (0, False, False))
    gone, yanked, newest = project.releases
    releases = (
        replace(gone, version="1.0rc1"),
        replace(yanked, version="2.0rc1"),
        replace(newest, version="3.0rc1"),
    )

    line = draw_releases(replace(project, releases=releases))

    assert Counter(kinds for kinds, _ in DOT.findall(line)) == Counter(
        ["deleted", "prerelease yanked", "prerelease"]
    )


def test_a_dot_says_which_release_it_is() -> None:
    """A dot of one release has its version, its day and what is special about it."""
    line = draw_releases(project_of((90, True, False), (30, False, True), (0, False, False)))

    assert {label for _, label in DOT.findall(line)} == {
        "1.0, 2026-10-28, yanked",
        "2.0, 2026-11-27",
        "0.0, 2026-08-29, goes",
    }
    assert "would be deleted, 2026-08-29. The list below has them." in line
