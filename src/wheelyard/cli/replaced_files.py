"""Files of people, such as netrc, that a command replaces as a whole."""

import os
from errno import ENOENT
from pathlib import Path
from tempfile import NamedTemporaryFile


def replace_file(path: Path, content: bytes, mode: int, *, keeps_mode: bool) -> None:
    """
    Replace a file, or the target of a symbolic link, as a whole, and keep its owner.

    The file gets `mode`, but with `keeps_mode` an existing file keeps its own. A crash leaves the
    old or the new content. Raises OSError if the file cannot be replaced.
    """
    path = path.resolve()
    if not path.parent.is_dir():
        raise FileNotFoundError(ENOENT, "There is no such folder", str(path.parent))
    # in the same folder, as a rename is atomic only within a file system
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as scratch_file:
        scratch_path = Path(scratch_file.name)
        try:
            scratch_file.write(content)
            scratch_file.flush()
            # before the rename: after a power cut the name must not lead to an empty file
            os.fsync(scratch_file.fileno())
            # Windows renames no open file
            scratch_file.close()
            _set_mode_and_owner(path, scratch_path, mode, keeps_mode=keeps_mode)
            scratch_path.replace(path)
        except BaseException:
            scratch_path.unlink(missing_ok=True)
            raise


def _set_mode_and_owner(path: Path, scratch_path: Path, mode: int, *, keeps_mode: bool) -> None:
    """Give a new file its mode and, if there is an old file at `path`, the owner of that file."""
    try:
        old_status = path.stat()
    except FileNotFoundError:
        scratch_path.chmod(mode)
        return
    new_status = scratch_path.stat()
    # only if the owner differs: only root may change the owner of a file
    if (old_status.st_uid, old_status.st_gid) != (new_status.st_uid, new_status.st_gid):
        os.chown(scratch_path, old_status.st_uid, old_status.st_gid)
    # after the change of the owner, which takes set-user-id bits away
    if keeps_mode:
        mode = old_status.st_mode & 0o7777
    scratch_path.chmod(mode)
