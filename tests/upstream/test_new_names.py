"""New names beside an upstream index: every way in, by real commands and requests."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from packaging.utils import NormalizedName

from tests.advice import texts_of
from tests.cli.conftest import Done, Typed, wheelyard  # noqa: F401 - a fixture
from tests.clients.harness import Sandbox
from tests.distributions import Distribution, make_sdist
from tests.fake_gcs.server import running_fake_gcs
from tests.http.forms import BOUNDARY, file, form
from tests.http.in_process import InProcessServer
from tests.operations.in_memory_index import ALICE
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.upstream.reading import SOURCE, page_of
from tests.upstream.settings import front, upstream_section, upstream_settings
from tests.waiting import until
from wheelyard.errors import Forbidden, Unavailable
from wheelyard.http.upload_form import FormReader
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.storage.local import LocalStore
from wheelyard.upstream.indexes import UpstreamIndex
from wheelyard.wiring.build import open_index
from wheelyard.wiring.warnings import server_warnings

MIB = 2**20
OURS = NormalizedName("ours")


@pytest.fixture
def public(upstream: FakeUpstream) -> FakeUpstream:
    """An upstream that has one project, and a stranger's project under a name of ours."""
    for name in ("requests", "ours"):
        upstream.publish(public_wheel(name, "99.0"))
    return upstream


@pytest.fixture
def server(sandbox: Sandbox, public: FakeUpstream, tmp_path: Path) -> Iterator[InProcessServer]:
    """A server before the upstream, on the store that commands write to."""
    store = LocalStore(sandbox.folder / "store", Random(1))
    with front(tmp_path, public, store=store) as running:
        yield running


@pytest.fixture
def type_command(wheelyard: Typed, sandbox: Sandbox, public: FakeUpstream) -> Typed:  # noqa: F811
    """Type a command, with the settings of the server."""
    config = sandbox.folder / "wheelyard.toml"
    config.write_text(f'[store]\nlocation = "store"\n{upstream_settings(public)}')
    return wheelyard


def written(folder: Path, *packages: Distribution) -> list[Path]:
    """Write distributions into a folder, and return their paths."""
    folder.mkdir(exist_ok=True)
    for each in packages:
        (folder / each.filename).write_bytes(each.body)
    return [folder / each.filename for each in packages]


def test_the_upload_command_refuses_a_public_name(
    server: InProcessServer,
    type_command: Typed,
    public: FakeUpstream,
    sandbox: Sandbox,
) -> None:
    """`wheelyard upload` refuses a public name, and takes all other files."""
    packages = [private_wheel(name, "1.0") for name in ("requests", "fresh", "team-core")]

    done = type_command("upload", *written(sandbox.folder / "dist", *packages))

    assert done.returncode == 1
    assert "requests-1.0-py3-none-any.whl: 'requests' is the name of a public" in done.stderr
    assert page_of(server, "requests").headers[SOURCE] == "upstream"
    assert [page_of(server, each).headers[SOURCE] for each in ("fresh", "team-core")] == [
        "private",
        "private",
    ]
    assert public.asked("team-core") == []
    public.stop()
    more = written(sandbox.folder / "more", make_sdist("fresh"), make_sdist("unsure"))
    done = type_command("upload", *more)
    assert (done.returncode, done.stdout.count("uploaded")) == (1, 1)
    assert "Nobody can say now whether 'unsure'" in done.stderr
    assert "The upstream index public does not say what it has of unsure: it " in done.stderr
    assert done.stderr.count("Try again in") == 1


def test_the_refresh_command_says_where_the_reason_is(
    type_command: Typed, server: InProcessServer
) -> None:
    """`wheelyard upstream refresh` says where the reason is if it takes nothing."""
    assert page_of(server, "requests").status == 200
    done = type_command("upstream", "refresh", "nothing")

    assert (done.returncode, done.stderr) == (1, "")
    assert "'wheelyard upstream why nothing' says which" in done.stdout


def test_the_import_command_reports_public_names(
    server: InProcessServer, type_command: Typed, sandbox: Sandbox
) -> None:
    """`wheelyard import` reports files of public names, and imports all others."""
    packages = [private_wheel(name, "1.0") for name in ("requests", "fresh", "team-core")]
    folder = sandbox.folder / "packages"
    written(folder, *packages)

    done = type_command("import", folder, "--json")

    assert done.returncode == 1
    assert '"error":"public_name"' in done.stdout.replace(" ", "")
    assert '"new":2' in done.stdout.replace(" ", "")
    assert page_of(server, "requests").headers[SOURCE] == "upstream"
    assert page_of(server, "fresh").headers[SOURCE] == "private"


def test_import_without_the_settings(
    server: InProcessServer,
    wheelyard: Typed,  # noqa: F811
    sandbox: Sandbox,
) -> None:
    """A command or a server that lacks the upstream indexes of the store's servers warns of it."""
    folder = sandbox.folder / "packages"
    written(folder, private_wheel("fresh", "1.0"))
    store = ("--store", sandbox.folder / "store")
    assert "no [upstream]" not in wheelyard("import", folder, *store).stderr
    assert page_of(server, "requests").headers[SOURCE] == "upstream"
    until(lambda: list((sandbox.folder / "store" / "upstream").glob("*/pages/*")) != [])

    assert "these settings have no [upstream]" in wheelyard("import", folder, *store).stderr
    without = open_index(Settings(store=StoreSettings(location=str(store[1]))))
    assert "these settings have no [upstream]" in " ".join(texts_of(server_warnings(without)))
    assert "no [upstream]" not in " ".join(texts_of(server_warnings(server.index)))


def test_reserve_and_release(
    server: InProcessServer, type_command: Typed, public: FakeUpstream
) -> None:
    """A reserved name shows a page without files, and after its release the public one."""
    assert page_of(server, "ours").headers[SOURCE] == "upstream"
    asked = len(public.asked("ours"))

    assert type_command("names", "reserve", "Ours", "--reason", "starts in spring").returncode == 0
    page = page_of(server, "ours")
    assert (page.page["files"], page.headers[SOURCE]) == ([], "private")
    assert len(public.asked("ours")) == asked

    assert type_command("names", "release", "ours", "--yes").returncode == 0
    assert page_of(server, "ours").headers[SOURCE] == "upstream"
    assert type_command("names", "list").stdout == ""


def test_a_deleted_project_is_released(
    server: InProcessServer,
    type_command: Typed,
    public: FakeUpstream,
    sandbox: Sandbox,
) -> None:
    """A name stays private after all of its files are deleted, until it is released."""
    (path,) = written(sandbox.folder / "dist", private_wheel("fresh", "1.0"))
    assert type_command("upload", path).returncode == 0
    public.publish(public_wheel("fresh", "99.0"))
    asked = len(public.asked("fresh"))
    assert type_command("names", "release", "fresh", "--yes").returncode == 1
    assert type_command("delete", "fresh", "1.0", "--yes").returncode == 0

    assert page_of(server, "fresh").page["files"] == []
    assert type_command("names", "list").stdout.startswith("fresh\tall files deleted\t")
    assert len(public.asked("fresh")) == asked
    assert type_command("names", "release", "fresh", "--yes").returncode == 0
    server.clock.advance(seconds=120)  # for which it is known that no public package had the name
    assert list(page_of(server, "fresh").files) == ["fresh-99.0-py3-none-any.whl"]


@pytest.mark.integration
def test_what_is_put_into_a_bucket_is_private(
    public: FakeUpstream,
    wheelyard: Typed,  # noqa: F811
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a command without an upstream index puts into a bucket is private; no bucket is 503."""
    with running_fake_gcs("acme") as cloud:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)
        settings = Settings(
            store=StoreSettings(location="gs://acme"), upstream=upstream_section(public)
        )
        names = open_upstream(settings).names
        assert not names.is_private(OURS)

        def upload(name: str, *arguments: str) -> Done:
            (path,) = written(sandbox.folder, private_wheel(name, "1.0"))
            options = ("--store", "gs://acme", *arguments)
            return wheelyard("upload", path, *options, STORAGE_EMULATOR_HOST=cloud.url)

        assert upload("ours").returncode == 0
        assert names.is_private(OURS)
        assert open_upstream(settings).names.is_private(OURS)
        config = sandbox.folder / "wheelyard.toml"
        config.write_text(upstream_settings(public))
        assert upload("requests", "--config", str(config)).returncode == 1
        assert public.asked("ours") == []
        cloud.remove_bucket("acme")
        with pytest.raises(Unavailable):
            names.is_private(NormalizedName("nothing"))


def open_upstream(settings: Settings) -> UpstreamIndex:
    """Return the upstream indexes of an index, with empty caches."""
    upstream = open_index(settings, create=True).upstream
    assert upstream is not None
    return upstream


def test_a_public_name_is_refused_by_its_filename(
    server: InProcessServer, public: FakeUpstream
) -> None:
    """The upload of a public name is refused as soon as its filename has arrived."""
    package = private_wheel("requests", "1.0")
    whole = form(file(filename=package.filename, data=bytes(MIB)))
    reader = FormReader(BOUNDARY, server.index.uploads, ALICE)

    with pytest.raises(Forbidden) as caught:
        reader.feed(whole[: whole.index(b"\r\n\r\n") + 5])

    reader.close()
    assert caught.value.code == "public_name"
    assert [*server.index.server.spool.folder.glob("upload-*")] == []
    assert len(public.asked("requests")) == 1


def test_reading_claims_nothing(public: FakeUpstream, tmp_path: Path) -> None:
    """Reading pages of private, public and unknown names changes no private name."""
    store = LocalStore(tmp_path / "store", Random(1))
    with front(tmp_path, public, store=store, enabled=False) as early:
        early.publish(private_wheel("ours", "1.0"))
    before = {entry.key for entry in store.list("")}

    with front(tmp_path, public, store=store) as server:
        assert page_of(server, "ours").headers[SOURCE] == "private"
        assert page_of(server, "requests").headers[SOURCE] == "upstream"
        assert page_of(server, "nothing").status == 404

    added = {entry.key.partition("/")[0] for entry in store.list("")} - {
        key.partition("/")[0] for key in before
    }
    assert added <= {"upstream"}
    assert public.asked("ours") == []
