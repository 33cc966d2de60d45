"""Errors for rejected distribution files: a function for any code, and one for each usual code."""

from functools import partial

from wheelyard.errors import Invalid, quoted


def invalid_file(code: str, reason: str, member: str | bytes | None = None) -> Invalid:
    """
    Return the Invalid error for a rejected distribution file.

    Args:
        code: The error code.
        reason: What is wrong, as the rest of a sentence; without values from the archive.
        member: The name of the member at fault, as the archive spells it.
    """
    if isinstance(member, bytes):
        member = member.decode(errors="backslashreplace")
    where = "" if member is None else f" ({quoted(member)})"
    return Invalid(
        f"The file is refused: {reason}{where}. Build it again with a current build tool.",
        code=code,
        short=f"Invalid distribution file: {reason}.",
    )


invalid_archive = partial(invalid_file, "invalid_archive")
"""Programs would read the archive in different ways."""
unsafe_archive = partial(invalid_file, "unsafe_archive")
"""The archive could write outside the folder that it is unpacked to."""
archive_bomb = partial(invalid_file, "archive_bomb")
"""The archive costs more to read than the limits allow."""
missing_metadata = partial(invalid_file, "missing_metadata")
"""The archive lacks the files that describe a distribution."""
invalid_metadata = partial(invalid_file, "invalid_metadata")
"""The files that describe the distribution are malformed."""
record_mismatch = partial(invalid_file, "record_mismatch")
"""The files of the wheel differ from its RECORD."""
