"""Files with attestations beside a distribution."""

import json
from pathlib import Path

import pytest

from wheelyard.errors import INVALID_ATTESTATIONS, Invalid
from wheelyard.operations.attestation_files import read_attestations, without_attestation_files


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A file without attestations, beside those of another one."""
    (tmp_path / "widget-1.0.tar.gz.publish.attestation").write_text('{"of": "another"}')
    (tmp_path / "widget-1.0-py3-none-any.whl..attestation").mkdir()
    return tmp_path / "widget-1.0-py3-none-any.whl"


def test_each_kind_beside_a_file_is_read(wheel: Path) -> None:
    """All attestations of a file are sent, whatever their kind, and none of another file."""
    (wheel.parent / f"{wheel.name}.slsa.provenance.attestation").write_text('{"b": "\\u00e9"}\n')
    (wheel.parent / f"{wheel.name}.publish.attestation").write_text('{"a": 1}')

    assert json.loads(read_attestations(wheel)) == [{"a": 1}, {"b": "\u00e9"}]


def test_without_any_nothing_is_sent(wheel: Path) -> None:
    """A file without attestations is sent without the field."""
    assert read_attestations(wheel) == ""


@pytest.mark.parametrize("text", ["", "[]", '"text"', "{", "[" * 5000, "\udcff"])
def test_a_file_that_is_none_is_named(wheel: Path, text: str) -> None:
    """A file beside the wheel that only has the name of an attestation is refused."""
    beside = wheel.parent / f"{wheel.name}.publish.attestation"
    beside.write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(Invalid, match="is no attestation") as refused:
        read_attestations(wheel)

    assert refused.value.code == INVALID_ATTESTATIONS


def test_a_folder_is_no_attestation(wheel: Path) -> None:
    """A folder with the name of an attestation is refused."""
    (wheel.parent / f"{wheel.name}.publish.attestation").mkdir()

    with pytest.raises(Invalid, match="cannot be read: Is a directory"):
        read_attestations(wheel)


def test_a_pattern_may_match_attestations(wheel: Path) -> None:
    """Of `dist/*`, attestations of a file that is there are no files to upload."""
    kinds = [Path(f"{wheel}.{kind}.attestation") for kind in ("publish", "slsa.v1")]
    alone = Path(f"{wheel.parent}/other-1.0.tar.gz.publish.attestation")
    others = [Path("x.attestation"), Path(".attestation"), Path(f"{wheel}.attestation")]

    left = without_attestation_files([*kinds, wheel, alone, *others, wheel])

    assert left == [wheel, alone, *others, wheel]
