"""The core metadata of a file of an upstream index, as pages for people and PyPI's JSON need it."""

from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.model.lenient_metadata import parse_any
from wheelyard.model.metadata import CoreMetadata


def parse_core_metadata(raw: bytes | None, name: NormalizedName, version: str) -> CoreMetadata:
    """Return core metadata; a minimum if there is none, or if it is that of another project."""
    core = parse_any(raw, name, version)
    return core if canonicalize_name(core.name) == name else parse_any(None, name, version)
