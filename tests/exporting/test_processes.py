"""An index so large that several processes export it, to their end or not."""

import os
import signal
import subprocess
import sys
import time

import pytest
from msgspec.structs import replace

from tests.durability.serving import environment
from tests.exporting.export_fixture import ExportHarness
from tests.exporting.sites import BASE, HEEDING, MANIFEST, broken, pages_of, reader, tree
from tests.operations.distributions import make_wheel
from tests.operations.fake_sources import FakeFiles, FakeSource
from tests.operations.in_memory_index import ALICE
from wheelyard.operations.importing.parallel_import import Importer
from wheelyard.wiring.site_export import MIN_PROJECTS_FOR_PROCESSES

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> ExportHarness:
    """An index with so many projects that several processes export them."""
    harness, files = ExportHarness(tmp_path_factory.mktemp("large")), FakeFiles()
    offers = [
        files.offer(make_wheel(f"demo{number}"))
        for number in range(MIN_PROJECTS_FOR_PROCESSES + 50)
    ]
    index = harness.index
    report = Importer(index.uploads).run(FakeSource(offers), ALICE)
    assert report.refused == []
    return harness


@pytest.mark.slow
def test_ctrl_c(large: ExportHarness) -> None:
    """Ctrl-C ends the processes at once, with one line, and what they have written works."""
    site = large.folder / "begun"
    line = ("export", str(site), "--store", str(large.store), "--base-url", BASE)
    with subprocess.Popen(
        [sys.executable, "-c", HEEDING, *line],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while not site.joinpath("project").exists():
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (130, "\nwheelyard: interrupted\n")
    assert len(list(site.joinpath("project").iterdir())) < MIN_PROJECTS_FOR_PROCESSES
    assert not site.joinpath(MANIFEST).exists()
    assert broken(reader(site), pages_of(site), is_begun=True) == []


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_export(large: ExportHarness, end: signal.Signals) -> None:
    """A killed export leaves no process running, and no broken link in its site."""
    site = large.folder / f"killed-{end.name}"
    line = ("export", str(site), "--store", str(large.store), "--base-url", BASE)
    with subprocess.Popen(
        [sys.executable, "-m", "wheelyard", *line],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        while not site.joinpath("project").exists():
            time.sleep(0.001)
        process.send_signal(end)
        process.communicate(timeout=60)  # a process that is left would keep the pipes open

    assert process.returncode == -end
    assert broken(reader(site), pages_of(site), is_begun=True) == []


@pytest.mark.slow
def test_many_projects(large: ExportHarness) -> None:
    """A large index is exported by several processes, and no byte differs."""
    harness = large
    several = replace(harness.exports(), processors=2)
    far = list[tuple[int, int]]()

    work = several.open()
    done = work.run(lambda one, of: far.append((one, of)))

    assert (done.projects, done.total) == (
        MIN_PROJECTS_FOR_PROCESSES + 50,
        MIN_PROJECTS_FOR_PROCESSES + 50,
    )
    assert far[-1] == (MIN_PROJECTS_FOR_PROCESSES + 50, MIN_PROJECTS_FOR_PROCESSES + 50)
    alone = harness.export(harness.folder / "fresh")
    assert work.writer.written == alone.written
    assert tree(harness.site) == tree(harness.folder / "fresh")
