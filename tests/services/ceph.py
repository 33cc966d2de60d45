"""Ceph's S3 service, from Debian's packages radosgw, ceph-mon and ceph-osd; all is in memory."""

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from tests.clients.harness import program, system_program
from tests.ports import free_port
from tests.services.emulators import running
from tests.services.s3 import KEY, REGION, SECRET
from tests.waiting import TIMEOUT_SECONDS

SETTINGS = """
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{port}
ms bind msgr2 = false
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd class update on start = false
osd crush update on start = false
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
osd objectstore = memstore
mon data = {folder}/mon
osd data = {folder}/osd
keyring = {folder}/keyring
run dir = {folder}
log file = {folder}/$name.log
admin socket = {folder}/$name.asok
pid file = {folder}/$name.pid
"""
MAKE_BUCKET = """
import sys, boto3
client = boto3.client("s3", endpoint_url=sys.argv[1], region_name=sys.argv[2],
    aws_access_key_id=sys.argv[3], aws_secret_access_key=sys.argv[4])
client.create_bucket(Bucket=sys.argv[5])
"""


@contextmanager
def running_ceph(folder: Path, bucket: str) -> Iterator[str]:
    """Yield the URL of a service that has a bucket; skip the test where Ceph is not installed."""
    for name in ("ceph-mon", "ceph-osd", "radosgw"):
        system_program(name)
    port, disk, ceph = free_port(), str(uuid.uuid4()), _Ceph(folder)
    ceph.make()
    with ExitStack() as stack:
        stack.enter_context(ceph.daemon("ceph-mon", "-i", "a"))
        ceph.run("ceph", "osd", "new", disk)
        # by itself it would do so before it knows which cluster it belongs to
        ceph.run("ceph", "osd", "crush", "add", "osd.0", "1", "root=default")
        ceph.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        stack.enter_context(ceph.daemon("ceph-osd", "-i", "0"))
        user = ("--uid", "test", "--display-name", "test")
        keys = ("--access-key", KEY, "--secret-key", SECRET)
        ceph.run("radosgw-admin", "user", "create", *user, *keys)
        place = ("-n", "client.admin", "--rgw-frontends", f"beast endpoint=127.0.0.1:{port}")
        stack.enter_context(ceph.daemon("radosgw", *place, port=port))
        url = f"http://127.0.0.1:{port}"
        python = program("moto", "python")
        script: list[str | Path] = [python, "-c", MAKE_BUCKET, url, REGION, KEY, SECRET, bucket]
        subprocess.run(script, check=True, capture_output=True)
        yield url


class _Ceph:
    """A cluster of one monitor and one disk, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._settings = folder / "ceph.conf"

    def make(self) -> None:
        """Write its settings, and make its monitor."""
        for name in ("mon", "osd"):
            (self._folder / name).mkdir()
        port, identity = free_port(), str(uuid.uuid4())
        self._settings.write_text(SETTINGS.format(fsid=identity, port=port, folder=self._folder))
        keys, table = str(self._folder / "keyring"), str(self._folder / "monmap")
        monitor = f"v1:127.0.0.1:{port}"
        for command in (
            ["ceph-authtool", keys, "--create-keyring", "--gen-key", "-n", "mon."],
            ["monmaptool", "--create", "--addv", "a", monitor, "--fsid", identity, table],
        ):
            subprocess.run(command, check=True, capture_output=True)
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", table, "--keyring", keys)

    def run(self, command: str, *options: str) -> None:
        """Run a command to its end."""
        line: list[str | Path] = [command, "-c", self._settings, *options]
        subprocess.run(line, check=True, capture_output=True, timeout=TIMEOUT_SECONDS)

    def daemon(self, name: str, *options: str, port: int = 0) -> AbstractContextManager[None]:
        """Return what runs a daemon, which answers on a port unless that is 0."""
        command: list[str | Path] = [system_program(name), "-c", self._settings, *options, "-f"]
        return running(command, port, self._folder / f"{name}.txt")
