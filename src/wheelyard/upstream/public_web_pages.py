"""The pages for people of a public project in a static site."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from msgspec import Struct

from wheelyard.catalog.journals import DecisionRecords
from wheelyard.model.metadata import CoreMetadata
from wheelyard.operations.decision_history import decision_history
from wheelyard.operations.descriptions.descriptions import RenderedDescription
from wheelyard.operations.exporting.page_writer import INDEX, SitePage
from wheelyard.operations.exporting.site_pages import HTML
from wheelyard.rendering.releases import ReleaseOf, latest_release
from wheelyard.rendering.web.environment import ANYONE, PageEnvironment
from wheelyard.rendering.web.file_list import file_list, file_pages
from wheelyard.rendering.web.history_page import decisions_page
from wheelyard.rendering.web.project_page import ProjectContent, project_page
from wheelyard.rendering.web.public_package import PublicPackage
from wheelyard.rendering.web.release_page import ReleaseContent, files_page, release_page
from wheelyard.upstream.files import UpstreamFiles
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.page_content import parse_core_metadata

PublicRelease = ReleaseOf[UpstreamFile]


class PublicWebPages(Struct, frozen=True, kw_only=True):
    """Makes the pages of public projects: of each release, its files, the project, its history."""

    environment: PageEnvironment
    files: UpstreamFiles
    describe: Callable[[CoreMetadata], RenderedDescription]
    decisions: DecisionRecords
    is_local: bool
    """Whether the decisions are in a folder of this machine."""

    def pages(
        self,
        page: UpstreamPage,
        releases: Sequence[PublicRelease],
        public: PublicPackage | None,
    ) -> Iterator[SitePage]:
        """Yield all pages of a project with these releases, newest first."""
        environment, folder = self.environment, f"project/{page.name}"
        latest = latest_release(releases)

        def content_of(release: PublicRelease, said: PublicPackage | None) -> ReleaseContent:
            core = self.core_metadata(page, release)
            return ReleaseContent(
                project=page,
                release=release,
                latest=latest.version if latest else "",
                core=core,
                description=self.describe(core).html,
                public=said,
            )

        for release in releases:
            content = content_of(release, public and public.of_release(release.version))
            render = partial(release_page, environment, ANYONE, content)
            yield SitePage(f"{folder}/{release.version}/{INDEX}", HTML, render)
            yield from self._files_pages(page, release)
        shown = content_of(latest, public) if latest is not None else None
        whole = ProjectContent(project=page, releases=releases, latest=shown, public=public)
        render = partial(project_page, environment, ANYONE, whole)
        yield SitePage(f"{folder}/{INDEX}", HTML, render)
        past = decision_history(self.decisions, page.name, is_local=self.is_local)
        told = partial(decisions_page, environment, ANYONE, page.name, past.decisions)
        yield SitePage(f"{folder}/history/{INDEX}", HTML, partial(told, is_whole=past.is_whole))

    def core_metadata(self, page: UpstreamPage, release: PublicRelease) -> CoreMetadata:
        """Return the core metadata of a release; a minimum if the store has none."""
        file = release.metadata_file
        raw = self.files.find_metadata(page, file) if file.serves_metadata else None
        return parse_core_metadata(raw, page.name, release.version)

    def _files_pages(self, page: UpstreamPage, release: PublicRelease) -> Iterator[SitePage]:
        for each in file_pages(release):
            files = file_list(release, each.facet.path if each.facet else "", each.number)
            assert files is not None  # noqa: S101 - `file_pages` says that there is such a page
            render = partial(files_page, self.environment, ANYONE, page, release, files)
            path = f"project/{page.name}/{release.version}/{each.path}{INDEX}"
            yield SitePage(path, HTML, render)
