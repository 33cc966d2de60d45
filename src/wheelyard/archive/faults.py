"""What is said of an archive that is refused: one sentence a kind of refusal."""

from wheelyard.errors import Invalid, quoted


def invalid_archive(reason: str, member: str | bytes | None = None) -> Invalid:
    """Return the refusal of an archive that programs would read in different ways."""
    return refusal("invalid_archive", reason, member)


def unsafe_archive(reason: str, member: str | bytes | None = None) -> Invalid:
    """Return the refusal of an archive that could write outside the place it is unpacked to."""
    return refusal("unsafe_archive", reason, member)


def archive_bomb(reason: str, member: str | bytes | None = None) -> Invalid:
    """Return the refusal of an archive that costs more to read than the limits allow."""
    return refusal("archive_bomb", reason, member)


def missing_metadata(reason: str, member: str | bytes | None = None) -> Invalid:
    """Return the refusal of an archive without the files that describe a distribution."""
    return refusal("missing_metadata", reason, member)


def invalid_metadata(reason: str, member: str | bytes | None = None) -> Invalid:
    """Return the refusal of an archive whose describing files cannot be read."""
    return refusal("invalid_metadata", reason, member)


def record_mismatch(reason: str, member: str | bytes | None = None) -> Invalid:
    """Return the refusal of a wheel that is not what its RECORD says."""
    return refusal("record_mismatch", reason, member)


def refusal(code: str, reason: str, member: str | bytes | None = None) -> Invalid:
    """
    Return the refusal of a distribution file.

    Args:
        code: The stable name of this kind of refusal.
        reason: What is wrong, as the rest of a sentence; no values from the archive.
        member: The name of the member at fault, as the archive has it, text or bytes.
    """
    if isinstance(member, bytes):
        member = member.decode(errors="backslashreplace")
    where = "" if member is None else f" ({quoted(member)})"
    return Invalid(
        f"The file is refused: {reason}{where}. Build it again with a current build tool.",
        code=code,
        short=f"Invalid distribution file: {reason}.",
    )
