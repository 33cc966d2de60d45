"""The text of a lock file that may be hostile: limited, decoded, and split into lines."""

import codecs
from pathlib import Path
from typing import Final

from wheelyard.errors import Invalid
from wheelyard.model.text import escaped
from wheelyard.upstream.lock_files.locked_package import BAD_LOCK_FILE, Place

MAX_BYTES: Final = 32 * 1024**2
"""The most bytes of one lock file; those of large applications have a tenth of it."""


def read_lock_text(path: Path, included_at: Place | None = None) -> str:
    """
    Return the text of a lock file, in which a newline alone ends each line.

    Raise Invalid if it cannot be read, is too large or is not UTF-8. `included_at` is the line that
    names the file.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = getattr(error, "strerror", None) or error
        message = f"{escaped(str(path))} cannot be read: {why}"
        if included_at is not None:
            raise included_at.fault(message) from error
        raise Invalid(f"{message}.", code=BAD_LOCK_FILE) from error
    if len(raw) > MAX_BYTES:
        raise Place(str(path), 1).fault(f"the file has more than {MAX_BYTES} bytes")
    # PowerShell's `>` writes UTF-16
    is_utf_16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = raw.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Place(str(path), line).fault("this is not text in UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
