"""The store of a team in a folder, with an upstream, as commands use it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.exporting.export_fixture import export_to, publish
from tests.http.packages import Package
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.settings import upstream_section
from wheelyard.exporting.export import ExportResult
from wheelyard.exporting.site_folder import RequestedOptions
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.settings.upstream_section import UpstreamSettings
from wheelyard.upstream.lock_files import read_lock_files
from wheelyard.upstream.prefetch import Prefetch, PrefetchReport
from wheelyard.wiring.build import open_index
from wheelyard.wiring.index import Index


def locked(*packages: Package) -> str:
    """Return lines of a requirements file."""
    lines = list[str]()
    for each in packages:
        name, version = each.filename.removesuffix(".tar.gz").split("-")[:2]
        lines.append(f"{name}=={version} --hash=sha256:{each.sha256}\n")
    return "".join(lines)


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

    def publish(self, *packages: Package) -> None:
        """Publish private packages, without a question to the upstream."""
        with self.index(check_upload=False) as index:
            publish(index, self.folder, *packages)

    def prefetch(
        self,
        text: str,
        *,
        dry_run: bool = False,
        received: Callable[[int], None] = lambda _: None,
        **more: Any,  # noqa: ANN401
    ) -> PrefetchReport:
        """Prefetch what a lock file lists."""
        path = self.folder / "requirements.txt"
        path.write_text(text)
        with self.index(**more) as index:
            assert index.upstream is not None
            work = Prefetch(index=index.upstream, jobs=2, received=received)
            return work.run(read_lock_files([path]), dry_run=dry_run)

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
