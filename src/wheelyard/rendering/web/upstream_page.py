"""The page of a project of an upstream index: where it is from, and what of it is shown and why."""

from collections.abc import Iterable, Sequence
from typing import Final

from markupsafe import Markup, escape
from msgspec import Struct

from wheelyard.model.decisions import Decision, describe
from wheelyard.model.text import counted
from wheelyard.rendering.releases import ReleaseOf, latest_release
from wheelyard.rendering.shown import ShownFile, ShownProject
from wheelyard.rendering.simple_pages import timestamp
from wheelyard.rendering.web.environment import PageEnvironment, Viewer
from wheelyard.rendering.web.project_page import release_rows

ROWS_SHOWN: Final = 20
"""How many rows of a table are shown at first; the others are folded."""


class HiddenFiles(Struct, frozen=True):
    """Files of one version that are not shown, for one reason."""

    version: str
    count: int
    reason: str
    """Sentences: what was decided, and what to do next."""


class UpstreamContent(Struct, frozen=True, kw_only=True):
    """What the page of a project of an upstream index shows."""

    project: ShownProject[ShownFile]
    """With the files that are shown."""
    label: str
    """The name of the upstream index; empty if none was asked."""
    releases: Sequence[ReleaseOf[ShownFile]]
    """Newest first."""
    hidden: Sequence[HiddenFiles] = ()
    """Newest first."""
    decisions: Sequence[Decision] = ()
    refusal: str = ""
    """Why nothing of the project is shown; empty if it is."""


def upstream_page(environment: PageEnvironment, viewer: Viewer, content: UpstreamContent) -> bytes:
    """Return the bytes of the page of a project of an upstream index."""
    latest = latest_release(content.releases)
    releases = content.releases
    hidden = [_hidden_row(each) for each in content.hidden]
    return environment.render(
        "upstream_project.html",
        viewer,
        "../../",
        project=content.project,
        label=content.label,
        refusal=content.refusal,
        latest=latest.version if latest else "",
        pin=f"=={latest.version}" if latest and latest.is_yanked else "",
        releases=len(releases),
        recent_rows=release_rows(releases[:ROWS_SHOWN], have_pages=False),
        older=len(releases[ROWS_SHOWN:]),
        older_rows=release_rows(releases[ROWS_SHOWN:], have_pages=False),
        hidden=len(hidden),
        hidden_rows=_rows(hidden[:ROWS_SHOWN]),
        more_hidden=len(hidden[ROWS_SHOWN:]),
        more_hidden_rows=_rows(hidden[ROWS_SHOWN:]),
        decisions=[
            (describe(each), each.by, timestamp(each.at)[:10]) for each in content.decisions
        ],
    )


def _rows(rows: Iterable[str]) -> Markup:
    """Return rows of a table, built in Python as there may be thousands."""
    return Markup("".join(rows))  # noqa: S704 - they are escaped


def _hidden_row(hidden: HiddenFiles) -> str:
    return (
        f'<tr><td class="id">{escape(hidden.version)}</td>'
        f"<td>{counted(hidden.count, 'file')}</td>"
        f'<td class="sentence"><bdi>{escape(hidden.reason)}</bdi></td></tr>\n'
    )
