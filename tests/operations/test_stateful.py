"""An index driven at random, compared with a model of its state."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from packaging.utils import NormalizedName

from tests.catalog.invariants import WriteIntent, violations
from tests.distributions import Distribution, make_sdist, make_wheel
from tests.operations.in_memory_index import ALICE, IndexHarness, code_of, remove_now
from wheelyard.errors import WheelyardError
from wheelyard.model.distribution_filename import parse_filename, parse_version
from wheelyard.model.project import Status
from wheelyard.operations.lifecycle import KEPT_FOR, Selection

DEMO = NormalizedName("demo")
VERSIONS = st.sampled_from(["1.0", "2.0", "3.0"])
KINDS = st.sampled_from([make_wheel, make_sdist])
CONTENTS = st.sampled_from([b"", b"other"])
REASONS = st.sampled_from(["", "broken"])


class IndexMachine(RuleBasedStateMachine):
    """A model of an index: listed and deleted files, and the status, compared after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.harness = IndexHarness(Path(self.folder.name))
        self.listed: dict[str, tuple[str, str, str | None]] = {}
        """By filename: version, digest and mark."""
        self.uploaded: set[str] = set()
        """The digests of everything that was ever listed."""
        self.gone: set[str] = set()
        self.kept: dict[str, tuple[tuple[str, str, str | None], datetime]] = {}
        """Those of them whose bytes are kept: what was listed, and until when."""
        self.status = Status.ACTIVE
        self.begun = False

    @rule(kind=KINDS, version=VERSIONS, content=CONTENTS)
    def upload(self, kind: Callable[..., Distribution], version: str, content: bytes) -> None:
        """Upload something, new or not."""
        made = kind("demo", version, content=content)
        held = self.listed.get(made.filename)
        if not self.status.takes_uploads:
            expected = "Forbidden forbidden"
        elif held is not None:
            expected = "ok" if held[1] == made.sha256 else "Conflict file_exists"
        else:
            expected = "Invalid file_exists" if made.filename in self.gone else "ok"

        assert self._answer(lambda: self.harness.upload(made)) == expected
        if expected == "ok":
            self.listed.setdefault(made.filename, (version, made.sha256, None))
            self.uploaded.add(made.sha256)
            self.begun = True

    @rule(version=VERSIONS, reason=REASONS)
    def yank(self, version: str, reason: str) -> None:
        """Yank a release."""
        life = self.harness.index.lifecycle
        self._change(version, lambda s: life.change("yank", ALICE, DEMO, s, reason))
        self._mark(version, reason)

    @rule(version=VERSIONS)
    def unyank(self, version: str) -> None:
        """Take the mark of a release back."""
        life = self.harness.index.lifecycle
        self._change(version, lambda s: life.change("unyank", ALICE, DEMO, s, ""))
        self._mark(version, None)

    @rule(version=VERSIONS)
    def delete(self, version: str) -> None:
        """Delete a release."""
        life = self.harness.index.lifecycle
        gone = any(parse_filename(each).version == parse_version(version) for each in self.gone)
        self._change(version, lambda s: life.change("delete", ALICE, DEMO, s, ""), is_done=gone)
        until = self.harness.clock.now + KEPT_FOR
        for filename in self._of(version):
            self.kept[filename] = self.listed.pop(filename), until
            self.gone.add(filename)

    @rule(version=VERSIONS)
    def restore(self, version: str) -> None:
        """Restore a release, or what of it can be restored."""
        life, now = self.harness.index.lifecycle, self.harness.clock.now
        kept = {
            name: held
            for name, (held, until) in self.kept.items()
            if held[0] == version and until > now
        }
        gone = any(parse_filename(each).version == parse_version(version) for each in self.gone)
        expected = "ok" if kept or self._of(version) else "NotFound not_found"
        expected = "NotFound not_kept" if gone and not kept else expected

        selection = Selection(parse_version(version))
        change = partial(life.change, "restore", ALICE, DEMO, selection, "")
        assert self._answer(change) == expected
        for filename, held in kept.items():
            self.listed[filename] = held
            self.gone.remove(filename)
            del self.kept[filename]

    @rule(kind=KINDS, version=VERSIONS, content=CONTENTS)
    def remove(self, kind: Callable[..., Distribution], version: str, content: bytes) -> None:
        """Remove a file for good by its digest."""
        made = kind("demo", version, content=content)
        expected = "ok" if made.sha256 in self.uploaded else "NotFound not_found"
        assert self._answer(lambda: remove_now(self.harness.index, made.sha256)) == expected
        if self.listed.get(made.filename, ("", ""))[1] == made.sha256:
            del self.listed[made.filename]
            self.gone.add(made.filename)
        if made.filename in self.kept and self.kept[made.filename][0][1] == made.sha256:
            del self.kept[made.filename]

    @precondition(lambda self: self.begun)
    @rule(status=st.sampled_from(list(Status)), reason=REASONS)
    def set_status(self, status: Status, reason: str) -> None:
        """Set the status."""
        self.harness.index.lifecycle.set_status(ALICE, DEMO, status, reason)
        self.status = status

    @rule()
    def other_process(self) -> None:
        """Go on in a process that remembers nothing."""
        self.harness.index = self.harness.opened(seed=len(self.gone) + 10)

    @rule(hours=st.sampled_from([1, 30, 700]), rebuild=st.booleans(), sweep=st.booleans())
    def check(self, hours: int, rebuild: bool, sweep: bool) -> None:  # noqa: FBT001
        """Let time pass, and check."""
        self.harness.clock.advance(hours=hours)
        before = self.harness.snapshot()

        findings = self.harness.check(rebuild=rebuild, sweep=sweep)

        assert (findings.problems, findings.repaired) == ([], [])
        assert {*before} - {*self.harness.snapshot()} == set() or sweep

    @invariant()
    def it_is_what_the_dictionary_says(self) -> None:
        """Files, marks, deleted filenames and status are as expected, and no promise is broken."""
        project = self.harness.index.projects.get_for_update(DEMO)

        listed = {f.filename: (f.version, f.sha256, f.yanked) for f in project.files}
        assert listed == self.listed
        assert set(project.deleted_filenames) == self.gone
        assert project.status is self.status
        nothing: dict[str, WriteIntent] = {}
        assert list(violations(self.harness.store, nothing, {}, self.harness.clock.now)) == []
        kept = {file.filename for file in project.kept_files(self.harness.clock.now)}
        assert kept == {name for name, (_, u) in self.kept.items() if u > self.harness.clock.now}

    def teardown(self) -> None:
        """Remove the scratch folder."""
        self.folder.cleanup()

    def _of(self, version: str) -> list[str]:
        return [filename for filename, held in self.listed.items() if held[0] == version]

    def _mark(self, version: str, mark: str | None) -> None:
        for filename in self._of(version):
            one, digest, before = self.listed[filename]
            # a yank without a reason keeps the one that there is
            self.listed[filename] = (one, digest, before if mark == "" and before else mark)

    def _change(
        self, version: str, change: Callable[[Selection], object], *, is_done: bool = False
    ) -> None:
        selection = Selection(parse_version(version))
        expected = "ok" if is_done or self._of(version) else "NotFound not_found"
        assert self._answer(lambda: change(selection)) == expected

    def _answer(self, call: Callable[[], object]) -> str:
        try:
            call()
        except WheelyardError as fault:
            return " ".join(code_of(fault))
        return "ok"


IndexMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestIndex = pytest.mark.slow(IndexMachine.TestCase)
