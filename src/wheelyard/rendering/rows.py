"""
The releases on a project's page, and a row for each file.

A collection has as many of them as it has files, so they are put together here, which takes a
fraction of the time that a template does. Whatever somebody has chosen is escaped.
"""

from collections.abc import Callable
from html import escape

from wheelyard.model.project import File
from wheelyard.rendering.releases import Release

KIB = 1024
UNITS = ("bytes", "KiB", "MiB", "GiB")


_HEAD = "<thead><tr><th>File</th><th>Size</th><th>Uploaded</th></tr></thead>\n<tbody>\n"


def release_section(release: Release, url_of: Callable[[File], str]) -> str:
    """Return a release and its files as HTML; `url_of` says where a file is."""
    version, mark = escape(release.version), ""
    is_yanked = release.is_yanked
    if is_yanked:
        mark = _yanked(release.yanked_reason)
    rows = [file_row(file, url_of(file), tells_yank=not is_yanked) for file in release.files]
    return (
        f'<h3 id="v{version}">{version}\n{mark}</h3>\n<table>\n{_HEAD}'
        f"{''.join(rows)}</tbody>\n</table>\n"
    )


def file_row(file: File, url: str, *, tells_yank: bool) -> str:
    """
    Return a file's row as HTML.

    Args:
        file: Which file.
        url: Where it is.
        tells_yank: Whether it is said here that it is yanked, and not of the whole release.
    """
    moment = file.uploaded_at
    return (
        f'<tr>\n<td class="name"><a href="{escape(url)}">{escape(file.filename)}</a>\n'
        f"{_marks(file, tells_yank=tells_yank)}"
        f'<div class="digest">sha256 {file.sha256}</div></td>\n'
        f"<td>{readable_size(file.size)}</td>\n"
        f'<td><time datetime="{moment.isoformat()}">{moment.isoformat(" ", "minutes")[:16]} UTC'
        f"</time><br>by {escape(file.uploaded_by)}</td>\n</tr>\n"
    )


def readable_size(size: int) -> str:
    """Return a size in bytes as people read it."""
    amount = float(size)
    for unit in UNITS:
        if amount < KIB or unit == UNITS[-1]:
            return f"{amount:.0f} {unit}" if unit == UNITS[0] else f"{amount:.1f} {unit}"
        amount /= KIB
    raise AssertionError(size)


def _marks(file: File, *, tells_yank: bool) -> str:
    marks = ""
    if file.yanked is not None and tells_yank:
        marks += f"{_yanked(file.yanked)}\n"
    if file.excused:
        rules = escape(", ".join(file.excused))
        marks += f'<span class="mark">imported as it is: {rules}</span>\n'
    return marks


def _yanked(reason: str) -> str:
    why = f": <bdi>{escape(reason)}</bdi>" if reason else ""
    return f'<span class="mark">yanked{why}</span>'
