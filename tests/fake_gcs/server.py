"""The fake GCS server, as tests use it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tests.fake_gcs.app import App
from tests.fake_gcs.faults import FaultPlan
from tests.fake_gcs.identity import PROJECT, Identity, Permissions
from tests.fake_gcs.in_process import FakeGcsState
from tests.fake_gcs.listener import Listener
from tests.fake_gcs.log import RequestLog
from tests.fake_gcs.objects import Bucket
from tests.fake_time import RunningClock


class FakeGcs:
    """
    Cloud Storage on a port of 127.0.0.1, with the services around it.

    Attributes:
        clock: The server's time, which a test may move.
        faults: What is to go wrong.
        log: What was asked.
        permissions: What the caller may do.
        identity: Who the caller is: its key, its tokens.
    """

    def __init__(self, private_key: RSAPrivateKey | None = None) -> None:
        self.clock = RunningClock()
        self.faults = FaultPlan()
        self.log = RequestLog()
        self.permissions = Permissions()
        self.identity = Identity(self.permissions, private_key)
        self._state = FakeGcsState(self.clock, self.identity, self.permissions)
        self._closing = Event()
        self._app = App(self._state, self.faults, self.log, self._closing.wait)
        self._listener = Listener(self._app.answer, self._closing)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._listener.port}"

    @property
    def url(self) -> str:
        """The root of every API, without a slash at its end."""
        return f"http://{self.address}"

    def location(self, path: str) -> str:
        """Return the location of `BUCKET` or `BUCKET/PREFIX`."""
        return f"gs://{path}"

    def bucket(self, name: str) -> Bucket:
        """Return a bucket, which is made if it is not there."""
        return self._state.make_bucket(name)

    def remove_bucket(self, name: str) -> None:
        """Take a bucket away, with all that is in it."""
        self._state.buckets.pop(name, None)

    def expire_uploads(self) -> None:
        """Forget every resumable upload that is under way."""
        self._app.uploads.expire()

    def start(self) -> None:
        """Accept connections, after a stop again on the same port."""
        self._listener.start()

    def stop(self) -> None:
        """Refuse connections, and break off those that there are; objects stay."""
        self._closing.set()
        self.faults.abandon()
        self._listener.stop()

    def forget(self) -> None:
        """
        Let go of all objects and uploads.

        The parts of a server refer to each other, and Python seldom looks for such garbage in a
        process as large as that of the tests: what a hundred tests have stored would be in memory.
        """
        self._state.buckets.clear()
        self._app.uploads.expire()

    def die(self) -> None:
        """Accept connections from now on, and answer nothing on any of them."""
        self._listener.dead.set()

    def revive(self) -> None:
        """Answer again; what was asked meanwhile is never answered."""
        self._listener.dead.clear()

    def environment(self, *, metadata: bool = False) -> dict[str, str]:
        """Return the variables that lead a client in another process here."""
        if not metadata:
            return {"STORAGE_EMULATOR_HOST": self.url, "GOOGLE_CLOUD_PROJECT": PROJECT}
        return {"GCE_METADATA_HOST": self.address, "GCE_METADATA_IP": self.address}

    def write_key_file(self, folder: Path) -> Path:
        """Write the account's key as a service account file, and return where."""
        path = folder / "service-account.json"
        path.write_text(json.dumps(self.identity.key_file(self.url)))
        return path


@contextmanager
def running_fake_gcs(*buckets: str, private_key: RSAPrivateKey | None = None) -> Iterator[FakeGcs]:
    """Yield a server that has these buckets, and stop it in the end."""
    server = FakeGcs(private_key)
    for name in buckets:
        server.bucket(name)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        server.forget()
