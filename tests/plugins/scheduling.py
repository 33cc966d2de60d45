"""
With `-n auto`, spreads the tests over several workers (pytest-xdist).

The tests of one module run on one worker, so that they share its servers. Modules whose tests wait
for programs come first: they take longest, and the others fill the gaps.
"""

from collections.abc import Iterable
from contextlib import suppress

import pytest
from xdist.plugin import pytest_xdist_auto_num_workers as processors
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

FIRST = (
    "tests/clients/",
    "tests/deploy/",
    "tests/catalog/test_exploration.py",
    "tests/instances/",
    "tests/access/test_clients.py",
    "tests/migration/",
    "keyring/",
    "tests/browser/",
    "tests/bucket_clients/",
    "tests/durability/",
    "tests/exporting/",
    "tests/cli/",
    "tests/http/",
    "tests/access/",
    "tests/storage/",
)
"""Prefixes of the slow modules, the slowest first."""
ALONE = (
    "tests/catalog/test_exploration.py",
    "tests/catalog/test_faults.py",
    "tests/clients/test_docs.py",
    "tests/clients/test_install.py",
    "tests/clients/test_publish.py",
    "tests/clients/test_pypiserver_move.py",
    "tests/examples/test_examples.py",
    "tests/services/test_faults.py",
)
"""The modules whose tests share nothing, or only what each worker has, so each may run anywhere."""


class ByModule(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a worker a whole module, or one test of those that share nothing."""

    def remove_node(self, node: WorkerController) -> str | None:
        """
        Reassign the tests of a crashed worker; return the test that crashed it.

        That one is not run again: it would end every worker, one after the other.
        """
        units: Iterable[dict[str, bool]] = self.assigned_work[node].values()
        left = ((test, unit) for unit in units for test, is_done in unit.items() if not is_done)
        ended_in = next(left, None)
        if ended_in is None:
            super().remove_node(node)
            return None
        test, unit = ended_in
        unit[test] = True
        super().remove_node(node)
        return test

    def _reschedule(self, node: WorkerController) -> None:
        """
        Give a worker more to do; tell it if nothing is left.

        It keeps its last test until it knows what comes next. xdist forgets both for a worker that
        has taken over what a crashed one has left, which may be modules with one test, or none.
        """
        super()._reschedule(node)
        if node.shutting_down:
            return
        while self.workqueue and self._pending_of(self.assigned_work[node]) < 2:
            self._assign_work_unit(node)
        if not self.workqueue:
            node.shutdown()

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Send a worker a unit; if it has crashed, another one gets that when this is noticed."""
        with suppress(OSError):
            super()._assign_work_unit(node)

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(ALONE) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByModule:
    """Use that order."""
    config.option.loadscopereorder = False  # ours is better than by the number of tests
    return ByModule(config, log)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return a worker for each processor that is ours, and more where tests wait for programs."""
    share = 1.0 if config.getoption("fast") else 2.5
    return int(processors(config) * share)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow modules first."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    ranks = (number for number, start in enumerate(FIRST) if item.nodeid.startswith(start))
    return next(ranks, len(FIRST))
