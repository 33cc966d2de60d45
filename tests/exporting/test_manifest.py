"""The manifest: what a site shows already, as several exports write it down."""

from packaging.utils import NormalizedName

from wheelyard.operations.exporting.manifest import Line, Manifest, Options, made_by
from wheelyard.rendering.releases import Found
from wheelyard.storage.base import ABSENT


def line(revision: int) -> Line:
    """Return what is known of pages of a revision."""
    found = Found(NormalizedName("demo"), f"{revision}", "")
    return Line(revision, f"version-{revision}", found, (ABSENT,))


def never(_name: str, _line: Line) -> bool:
    """Say that a line is not of what the store has now."""
    return False


def test_a_line_never_goes_back() -> None:
    """An export that was slow does not take back what a later one has written down."""
    manifest = Manifest(Options(), made_by()).merged({"demo": line(7)}, never)

    assert manifest.merged({"demo": line(6)}, never) == manifest
    assert manifest.merged({"demo": line(8)}, never).projects["demo"] == line(8)


def test_a_line_goes_back_with_the_store() -> None:
    """What is of the document that the store has now counts, though its revision is lower."""
    manifest = Manifest(Options(), made_by()).merged({"demo": line(7), "other": line(1)}, never)

    restored = manifest.merged({"demo": line(6)}, lambda name, of: (name, of) == ("demo", line(6)))

    assert restored.projects == {"demo": line(6), "other": line(1)}
    assert restored.without({"demo": line(7)}) == restored
    assert restored.without({"demo": line(6)}).projects == {"other": line(1)}
