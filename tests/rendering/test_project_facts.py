"""What pages about several projects know of each."""

from datetime import timedelta

import pytest
from hypothesis import given
from msgspec import msgpack
from msgspec.structs import replace

from tests.rendering.examples import NOON, PROJECTS, file, project
from wheelyard.model.project import Commit, Event, EventKind, Project, Status
from wheelyard.model.project_changes import with_commit
from wheelyard.rendering.project_facts import (
    CLASSIFIERS_LIMIT,
    IMPORTS_LIMIT,
    Description,
    ProjectFacts,
    fold,
    latest_release,
    name_facts,
    private_facts_of,
    releases_of,
    required_name,
)


def facts(made: Project, keywords: str = "", *requirements: str) -> ProjectFacts:
    """Return the facts of a project."""
    description = Description("", keywords, requirements)
    return private_facts_of(made, latest_release(releases_of(made)), description)


def test_facts_are_those_of_the_latest_release() -> None:
    """A project is shown with its latest release, summary, keywords and requirements."""
    made = replace(project(file("1.0"), file("1.1", yanked="")), summary="What.It is")

    found = facts(made, "web,Acme", "Zope_Interface[x]>=2; extra == 'z'", "demo[all]", "a>1")

    assert (found.version, found.summary, found.keywords) == ("1.0", "What.It is", "web,Acme")
    assert found.required_names == ("a", "zope-interface")
    assert found.text == "demo what-it is web,acme"
    assert (found.uploaded_by, found.day) == (file().uploaded_by, "2026-11-20")


def test_import_names_can_be_searched() -> None:
    """Import names of the latest release are words of a search, as many as fit, in any case."""
    made = project(file())
    described = Description(imports=("PIL", "acme.core", "acme.*", "pil"))

    found = private_facts_of(made, latest_release(releases_of(made)), described)
    assert (found.imports, found.text) == (" pil acme.core acme.* ", "demo   pil acme-core acme-*")

    many = Description(imports=[f"name{number}" for number in range(1000)])
    kept = private_facts_of(made, latest_release(releases_of(made)), many).imports.split()
    assert kept == [*many.imports[: len(kept)]]
    assert IMPORTS_LIMIT - 8 < len(" ".join(kept)) <= IMPORTS_LIMIT


def test_lists_can_be_filtered_by_classifiers() -> None:
    """Classifiers of the latest release are kept, as many as fit, but none that is no line."""
    made = project(file())
    texts = ("Framework :: Django :: 5.1", "a\nb", "", "x" * 200, "Framework :: Django :: 5.1")

    found = private_facts_of(
        made, latest_release(releases_of(made)), Description(classifiers=texts)
    )
    assert found.classifiers == "\nFramework :: Django :: 5.1\n"
    for classifier in ("Framework", "framework :: django", texts[0]):
        assert found.has_classifier(classifier)
    for other in ("Frame", "Django", "Framework :: Django :: 5", "5.1"):
        assert not found.has_classifier(other)

    many = Description(classifiers=[f"Topic :: {number}" for number in range(1000)])
    kept = private_facts_of(made, latest_release(releases_of(made)), many).classifiers
    assert CLASSIFIERS_LIMIT - 15 < len(kept.strip()) <= CLASSIFIERS_LIMIT
    assert kept.endswith("\n")


def test_what_declares_nothing_has_no_text_for_it() -> None:
    """Without import names and classifiers, a project is shown and searched by its name alone."""
    made = project(file())

    found = private_facts_of(made, latest_release(releases_of(made)), Description())

    assert (found.imports, found.classifiers, found.text) == ("", "", "demo  ")


def test_summary_is_that_of_the_latest_release() -> None:
    """The summary is that of the latest release, not of the last upload, as on its page."""
    made = replace(project(file("1.0"), file("1.1rc1")), summary="the candidate")

    found = private_facts_of(made, latest_release(releases_of(made)), Description("the release"))

    assert (found.version, found.summary, found.text) == ("1.0", "the release", "demo the release ")


def test_a_name_alone_has_no_day() -> None:
    """A project of which only the name is known is shown without a day of its latest upload."""
    assert name_facts(project().name).day == ""


def test_latest_upload_is_the_newest_file() -> None:
    """The latest upload is the newest file, whatever its version, also if it is yanked."""
    later = replace(file("0.9"), uploaded_at=NOON + timedelta(days=1), uploaded_by="user:bob@x")
    yanked = replace(file("2.0", yanked=""), uploaded_at=NOON + timedelta(days=2))

    assert facts(project(file("1.0"), later)).uploaded_by == "user:bob@x"
    for made in (project(later, yanked), project(yanked, status=Status.QUARANTINED)):
        assert facts(made).day == "2026-11-22"


def test_project_without_files_has_no_version() -> None:
    """A project without files, or in quarantine, has no version, but a name and a mark."""
    for made, mark in (
        (project(), "no files"),
        (project(file(), status=Status.QUARANTINED), "quarantined"),
    ):
        found = facts(replace(made, summary="what its page hides"))
        assert (found.name, found.version, found.summary, found.state) == ("demo", "", "", mark)
    assert facts(project(file())).state == name_facts(made.name).state == ""


@pytest.mark.parametrize(
    ("made", "status"),
    [
        (project(file(), file("1.1", yanked="")), ""),
        (project(file(yanked="wrong"), file("1.1", yanked="")), "yanked"),
        (project(file(yanked=""), status=Status.DEPRECATED), "deprecated"),
        (project(file(), status=Status.ARCHIVED), "archived"),
        (project(file(), status=Status.QUARANTINED), "quarantined"),
        (project(), ""),
    ],
)
def test_status_tells_what_is_not_active(made: Project, status: str) -> None:
    """What is not active, or wholly yanked, can be told from the others."""
    assert facts(made).status == status


def test_last_change_is_the_last_commit() -> None:
    """The time of a project's last change is that of its last commit."""
    moment = NOON + timedelta(hours=3)
    event = Event(what=EventKind.YANKED, at=moment, by="local:ann", files=("a",))
    commit = Commit(number=2, id="0" * 16, previous="", events=(event,))

    assert facts(with_commit(project(file()), commit)).changed == moment.timestamp() * 1000


def test_requirement_has_a_normalised_name() -> None:
    """A requirement is known by its normalised name; what is none has no name."""
    assert required_name(" Acme.Core ~=1.0") == "acme-core"
    assert required_name("a @ https://example.com/a.whl") == "a"
    assert required_name("???") == ""
    assert fold("Ac-_.Me ÄÖ_") == "ac-me äö-"


@given(PROJECTS)
def test_facts_of_any_project_can_be_stored(made: Project) -> None:
    """The facts of any project can be stored and read again."""
    found = replace(facts(replace(made, summary="\udc80")), document="7")

    assert msgpack.decode(msgpack.encode(found), type=ProjectFacts) == found
