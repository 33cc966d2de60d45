"""Requirements of a promoted release that the target shows as public packages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.distributions import make_requiring
from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.settings import close, upstream_section
from wheelyard.api.local_api import LocalApi
from wheelyard.api.promotion_operations import ReleasePromotion, promote
from wheelyard.model.distribution_filename import parse_name
from wheelyard.settings.sections import Settings


@contextmanager
def shadowing(folder: Path, upstream: FakeUpstream, name: str) -> Iterator[InProcessServer]:
    """Yield a server with dev and prod, which show public packages; dev may have this name, too."""
    section = upstream_section(upstream, shadow=(name,))
    keys = {"layers": ["dev", "upstream"], "read": "anyone"}
    dev, prod = {"name": "dev", **keys}, {"name": "prod", **keys, "layers": ["prod", "upstream"]}
    settings, tables = Settings(upstream=section), toml_of(index=(dev, prod))
    with in_process(folder, settings, tables=tables) as server:
        try:
            yield server
        finally:
            close(server.index)


def warnings_of(server: InProcessServer) -> list[str]:
    """Return how the warnings of a promotion of `acme-core` from dev to prod begin."""
    api = LocalApi(index=server.index.named("dev"), caller=ALICE, caller_elsewhere=lambda _: ALICE)
    release = ReleasePromotion("1.2", "prod", dry_run=True)
    warnings = api.call(promote, parse_name("acme-core"), release).warnings
    return [warning.partition(":")[0] for warning in warnings]


def test_a_public_package_fits(tmp_path: Path, upstream: FakeUpstream) -> None:
    """A requirement is met by a public package as long as no namespace hides the package."""
    upstream.publish(public_wheel("requests", "2.32.5"))
    with shadowing(tmp_path, upstream, "requests") as server:
        core = make_requiring("acme-core", "1.2", "requests>=2", "requests>=3")
        # a page shows that the index is one, so that names can be uploaded
        assert server.get("/prod/simple/requests/").status == 200
        server.publish_to("dev", make_requiring("requests", "3.0"), core)
        assert server.get("/prod/simple/requests/").status == 200

        shown = warnings_of(server)
        namespace = {"name": "requests", "owners": ["user:ana@acme.dev"]}
        server.index.server.namespaces.add(namespace, "local:bo", even_if_public=True)
        hidden = warnings_of(server)

        assert shown == ["acme-core 1.2 requires requests>=3, which prod does not show"]
        assert hidden == [
            "acme-core 1.2 requires requests>=2, which prod does not show",
            "acme-core 1.2 requires requests>=3, which prod does not show",
        ]


def test_a_public_package_that_nobody_has_asked_for(tmp_path: Path, upstream: FakeUpstream) -> None:
    """A requirement is met by no public package whose page has never been asked for."""
    with shadowing(tmp_path, upstream, "rich") as server:
        core = make_requiring("acme-core", "1.2", "rich>=2")
        server.publish_to("dev", make_requiring("rich", "3.0"), core)

        assert warnings_of(server) == ["acme-core 1.2 requires rich>=2, which prod does not show"]
