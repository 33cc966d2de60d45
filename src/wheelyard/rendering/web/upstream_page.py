"""The page of a project of an upstream index: where it is from, and what of it is shown and why."""

from collections.abc import Iterable
from typing import Final

from markupsafe import Markup, escape

from wheelyard.model.decisions import describe
from wheelyard.model.text import counted
from wheelyard.rendering.listing import HiddenFiles, Listing
from wheelyard.rendering.releases import latest_release, releases_of
from wheelyard.rendering.simple_pages import timestamp
from wheelyard.rendering.web.environment import PageEnvironment, Viewer
from wheelyard.rendering.web.project_page import release_rows

ROWS_SHOWN: Final = 20
"""How many rows of a table are shown at first; the others are folded."""


def upstream_page(environment: PageEnvironment, viewer: Viewer, listing: Listing) -> bytes:
    """Return the bytes of the page of a project of an upstream index."""
    origin, releases = listing.origin, releases_of(listing)
    latest, hidden = latest_release(releases), [_hidden_row(each) for each in origin.hidden()]
    return environment.render(
        "upstream_project.html",
        viewer,
        "../../",
        project=listing,
        label=origin.label,
        refusal=origin.refusal,
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
            (describe(each), each.by, timestamp(each.at)[:10]) for each in origin.decisions()
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
