"""The store of a team in a folder, with an upstream, as commands use it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from tests.distributions import Distribution
from tests.exporting.export_fixture import export_to, publish
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.settings import upstream_section
from wheelyard.exporting.export import ExportResult
from wheelyard.exporting.site_folder import RequestedOptions
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.settings.upstream_section import UpstreamSettings
from wheelyard.upstream.sidecars import core_metadata_of
from wheelyard.wiring.build import open_index
from wheelyard.wiring.index import Index


@dataclass(frozen=True)
class Team:
    """A store in a folder, and an upstream."""

    folder: Path
    upstream: FakeUpstream
    location: str = ""
    """Where the store is; empty: the folder `store`."""

    @property
    def store(self) -> Path:
        """The folder of the store."""
        return self.folder / "store"

    @property
    def site(self) -> Path:
        """The folder of its static site."""
        return self.folder / "site"

    @contextmanager
    def index(self, **more: Any) -> Iterator[Index]:  # noqa: ANN401 - values of [upstream]
        """Open the index, as another process would; `enabled=False` is without an upstream."""
        section = upstream_section(self.upstream, **more)
        section = section if section.is_on else UpstreamSettings()
        store = StoreSettings(location=self.location or str(self.store))
        index = open_index(Settings(store=store, upstream=section))
        try:
            yield index
        finally:
            if index.upstream is not None:
                index.upstream.close()

    def publish(self, *packages: Distribution) -> None:
        """Publish private packages, without a question to the upstream."""
        with self.index(check_upload=False) as index:
            publish(index, self.folder, *packages)

    def keep(self, *packages: Distribution, **more: Any) -> None:  # noqa: ANN401
        """Bring public packages into the store, as a server does that a client has asked."""
        with self.index(**more) as index:
            upstream = index.upstream
            assert upstream is not None
            for package in packages:
                name = canonicalize_name(package.filename.split("-")[0])
                found = upstream.pages.ask_if_due(name)
                assert found is not None
                file = found.page.by_filename[package.filename]
                upstream.files.bring(found.page, file)
                if file.serves_metadata:
                    upstream.files.bring_sidecar(core_metadata_of(found.page, file))

    def stored(self) -> set[str]:
        """Return the names of all files of upstream indexes in the store."""
        return {each.name for each in self.store.glob("upstream/*/files/*/*/*")}

    def export(
        self,
        requested: RequestedOptions | None = None,
        dest: str = "",
        **more: Any,  # noqa: ANN401
    ) -> ExportResult:
        """Export everything, as the command does, to `dest` or the folder `site`."""
        with self.index(**more) as index:
            return export_to(index, dest or self.site, requested or RequestedOptions())

    def public_paths(self) -> set[str]:
        """Return what the site has of projects, but for lists and `acme-core`."""
        tops = ("simple", "pypi", "project", "files")
        found = (each for top in tops for each in (self.site / top).rglob("*"))
        paths = {str(each.relative_to(self.site)) for each in found if each.is_file()}
        return {each for each in paths if each.split("/")[1] != "acme-core" and each.count("/") > 1}
