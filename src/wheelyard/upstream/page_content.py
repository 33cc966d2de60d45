"""What pages for people and PyPI's JSON show of a project of an upstream index."""

from collections.abc import Iterator
from itertools import groupby

from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.model.lenient_metadata import parse_any
from wheelyard.model.metadata import CoreMetadata
from wheelyard.rendering.releases import releases_of
from wheelyard.rendering.simple_pages import listed_version
from wheelyard.rendering.web.upstream_page import HiddenFiles, UpstreamContent
from wheelyard.upstream.index import PageOnShow, ServedPage, UpstreamIndex
from wheelyard.upstream.page import UpstreamPage


def content_for_people(
    upstream: UpstreamIndex, found: ServedPage, shown: UpstreamPage
) -> UpstreamContent:
    """Return what the page for people shows; `shown` has the files that are on it."""
    content = found.content
    return UpstreamContent(
        project=shown,
        label=upstream.config.label_of(content.page.upstream),
        releases=releases_of(shown),
        hidden=tuple(_hidden(content)),
        decisions=upstream.policy.decisions_of(shown.name).all,
        refusal=found.refusal.for_people if found.refusal else "",
    )


def parse_core_metadata(raw: bytes | None, name: NormalizedName, version: str) -> CoreMetadata:
    """Return core metadata; a minimum if there is none, or if it is that of another project."""
    core = parse_any(raw, name, version)
    return core if canonicalize_name(core.name) == name else parse_any(None, name, version)


def _hidden(content: PageOnShow) -> Iterator[HiddenFiles]:
    """Yield what is not shown, the newest version first, files with one reason together."""
    hidden, by_name = content.view.hidden, content.page.by_filename
    files = [(by_name[each].version, reason.for_people) for each, reason in hidden.items()]
    files.sort(key=lambda each: (listed_version(each[0]), each[1]), reverse=True)
    for (version, text), some in groupby(files):
        yield HiddenFiles(version, len(list(some)), text)
