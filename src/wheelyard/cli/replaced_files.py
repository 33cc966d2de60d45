"""Files of people that a command replaces as a whole."""

import os
from errno import ENOENT
from pathlib import Path
from tempfile import NamedTemporaryFile


def replace_file(path: Path, content: bytes, mode: int, *, keeps_mode: bool) -> None:
    """
    Replace a file, or the one that a symbolic link leads to, as a whole, and keep its owner.

    It gets `mode`, unless it is there and `keeps_mode`. A crash leaves the old or the new content.
    Raises OSError if that is not possible.
    """
    path = path.resolve()
    if not path.parent.is_dir():
        raise FileNotFoundError(ENOENT, "There is no such folder", str(path.parent))
    # in the same folder, as a rename is atomic only within a file system
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as written:
        scratch = Path(written.name)
        try:
            written.write(content)
            written.flush()
            # before the rename: after a power cut the name must not lead to an empty file
            os.fsync(written.fileno())
            # Windows renames no open file
            written.close()
            _take_over(path, scratch, mode, keeps_mode=keeps_mode)
            scratch.replace(path)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise


def _take_over(path: Path, scratch: Path, mode: int, *, keeps_mode: bool) -> None:
    """Give a new file its mode, and the owner of an old one, if there is one."""
    try:
        old = path.stat()
    except FileNotFoundError:
        scratch.chmod(mode)
        return
    new = scratch.stat()
    # only where it differs: the owner of a file may not change its owner, root may
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.chown(scratch, old.st_uid, old.st_gid)
    # after the change of the owner, which takes set-user-id bits away
    if keeps_mode:
        mode = old.st_mode & 0o7777
    scratch.chmod(mode)
