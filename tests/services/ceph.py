"""Ceph's S3 service, of Debian's packages radosgw, ceph-mon and ceph-osd: it keeps all in memory."""

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.clients.harness import program, system_program
from tests.clients.servers import free_port
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
    daemons = {name: system_program(name) for name in ("ceph-mon", "ceph-osd", "radosgw")}
    port, identity, disk = free_port(), str(uuid.uuid4()), str(uuid.uuid4())
    for name in ("mon", "osd"):
        (folder / name).mkdir()
    settings = folder / "ceph.conf"
    settings.write_text(SETTINGS.format(fsid=identity, port=free_port(), folder=folder))

    def run(command: str, *options: str | Path) -> None:
        line = [command, *options] if "tool" in command else [command, "-c", settings, *options]
        subprocess.run(line, check=True, capture_output=True, timeout=TIMEOUT_SECONDS)

    monitor = settings.read_text().partition("mon host = ")[2].partition("\n")[0]
    keys, table = folder / "keyring", folder / "monmap"
    run("ceph-authtool", keys, "--create-keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "*")
    run("monmaptool", "--create", "--addv", "a", monitor, "--fsid", identity, table)
    run("ceph-mon", "--mkfs", "-i", "a", "--monmap", table, "--keyring", keys)
    with ExitStack() as stack:

        def begin(name: str, *options: str, listening: int = 0) -> None:
            command: list[str | Path] = [daemons[name], "-c", settings, *options, "-f"]
            stack.enter_context(running(command, listening, folder / f"{name}.txt"))

        begin("ceph-mon", "-i", "a")
        run("ceph", "osd", "new", disk)
        # by itself it would do so before it knows which cluster it belongs to
        run("ceph", "osd", "crush", "add", "osd.0", "1", "root=default")
        run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        begin("ceph-osd", "-i", "0")
        account = ("--access-key", KEY, "--secret-key", SECRET)
        run("radosgw-admin", "user", "create", "--uid", "test", "--display-name", "test", *account)
        place = f"beast endpoint=127.0.0.1:{port}"
        begin("radosgw", "-n", "client.admin", "--rgw-frontends", place, listening=port)
        url = f"http://127.0.0.1:{port}"
        python = program("moto", "python")
        script: list[str | Path] = [python, "-c", MAKE_BUCKET, url, REGION, KEY, SECRET, bucket]
        subprocess.run(script, check=True, capture_output=True)
        yield url
