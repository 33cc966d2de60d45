"""Packages that say who published them: the public index, or the owner of the private name."""

import io
import zipfile

from tests.distributions import Distribution, make_wheel

PUBLIC = b'WHO = "upstream"\n'
PRIVATE = b'WHO = "private"\n'


def public_wheel(name: str, version: str, *lines: str, content: bytes = b"") -> Distribution:
    """
    Return a wheel whose module says `WHO = "upstream"`.

    Args:
        name: The project.
        version: The version.
        lines: Further ones of its metadata.
        content: Follows in the module, to make it large.
    """
    return make_wheel(name, version, *lines, content=PUBLIC + content)


def private_wheel(name: str, version: str, *lines: str) -> Distribution:
    """Return a wheel whose module says `WHO = "private"`."""
    return make_wheel(name, version, *lines, content=PRIVATE)


def metadata_in(body: bytes) -> bytes:
    """Return the METADATA of a wheel."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        (name,) = (
            each
            for each in archive.namelist()
            if each.endswith(".dist-info/METADATA") and each.count("/") == 1
        )
        return archive.read(name)
