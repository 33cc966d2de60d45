"""An upload with attestations that dies at any step, and the same upload again."""

import json
from itertools import count
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.attestations.authority import Authority
from tests.attestations.test_uploads import PUBLISHERS, WIDGET, WIDGET_NAME
from tests.fake_store import FakeStore, Fault, FaultKind, ProcessCrash
from tests.fake_time import Clock, fake_runtime
from tests.index_tables import put_tables, toml_of
from tests.operations.in_memory_index import ALICE
from wheelyard.operations.spooled_upload import SpooledUpload
from wheelyard.settings.sections import AttestationSettings, Settings
from wheelyard.storage.base import Store, Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index


class Uploading:
    """Uploads the widget with an attestation, each time by a new process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        authority = Authority()
        root = folder / "trusted_root.json"
        root.write_text(authority.trusted_root)
        attestations = AttestationSettings(accept=True, trusted_root=str(root))
        self._settings = Settings(attestations=attestations)
        self._sent = json.dumps([authority.attest(WIDGET.filename, WIDGET.sha256)])
        self._seeds = count(1)

    def index(self, store: Store) -> Index:
        """Return the index of a new process."""
        runtime = fake_runtime(Clock(), next(self._seeds))
        return build_index(Stores.of(store), Spool(self._folder), self._settings, runtime)

    def upload(self, store: Store, *, is_attested: bool = True) -> None:
        """Upload the widget."""
        arrival: SpooledUpload = WIDGET.arrival(self._folder)
        if is_attested:
            arrival = replace(arrival, attestations=self._sent)
        self.index(store).uploads.accept(arrival, ALICE)

    def assert_whole(self, store: Store) -> None:
        """Assert that the widget is there with its provenance, and that nothing is damaged."""
        index = self.index(store)
        (file,) = index.projects.get(WIDGET_NAME).files
        assert b"attestation_bundles" in index.files.provenance(WIDGET_NAME, file)
        assert index.server.check.run(rebuild=False).problems == []


@pytest.mark.slow
@pytest.mark.parametrize("is_new", [True, False])
def test_the_same_upload_again_ends_as_if_once(tmp_path: Path, *, is_new: bool) -> None:
    """Whenever an upload with attestations dies, another try of the file completes it."""
    uploading = Uploading(tmp_path)
    for nth in count(1):
        whole = MemoryStore(lambda: 0.0)
        put_tables(uploading.index(whole), toml_of(publisher=PUBLISHERS[:1]))
        if not is_new:
            uploading.upload(whole, is_attested=False)
        faulty = FakeStore(whole, Fault(FaultKind.CRASH_AFTER, nth=nth))
        try:
            uploading.upload(faulty)
        except ProcessCrash:
            assert uploading.index(whole).server.check.run(rebuild=False).problems == []
            uploading.upload(whole)
            uploading.assert_whole(whole)
        else:
            uploading.assert_whole(whole)
            assert nth > 8
            break
