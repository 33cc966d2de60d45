"""
Runs what a kitchen has made, as Docker would: a container, told by nobody who it is.

Its root cannot be written, its user has no name and no home, and only `/tmp` and the volumes keep
anything.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.clients.servers import free_port, stop, until_healthy
from tests.deploy.kitchen import Image
from tests.deploy.kitchen_walls import Stay, enter

NOBODY = (1_234_567, 0)
"""A user as OpenShift makes one up: no name, and the group 0."""


@dataclass(frozen=True)
class Guest:
    """
    How a container of an image runs.

    Args:
        volume: What is mounted at `/data`.
        mounts: What else is mounted, by where.
        variables: What `docker run --env` would say, besides the port.
        port: Where it listens.
    """

    image: Image
    volume: Path
    mounts: Mapping[str, Path] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    user: tuple[int, int] = NOBODY
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside the server, as `docker exec` does."""
        return subprocess.run(
            self._entered(command),
            env=self._environment(),
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def health(self) -> int:
        """Return the exit status of the health check, as it stands in the image."""
        return self.run(*self.image.health_command).returncode

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start it, wait until it answers, and end it: with these arguments in CMD's place."""
        usual = self.image.command
        command = [*self.image.stage.last("ENTRYPOINT").words(), *arguments] if arguments else usual
        log = self.volume.with_name(f"{self.volume.name}-log.txt")
        with log.open("w") as output:
            process = subprocess.Popen(
                self._entered(command), env=self._environment(), stdout=output, stderr=output
            )
        try:
            until_healthy(process, f"127.0.0.1:{self.port}", log)
            yield process
        finally:
            if process.poll() is None:
                stop(process)

    def _entered(self, command: Sequence[str]) -> list[str]:
        mounts = {"/data": self.volume, **self.mounts}
        stay = Stay(user=self.user, is_fixed=True, has_network=True, mounts=mounts)
        return enter(self.image.root, stay, self.image.folder, command)

    def _environment(self) -> dict[str, str]:
        return self.image.environment | {"PORT": str(self.port)} | dict(self.variables)


def new_volume(folder: Path, image: Image) -> Path:
    """Make a volume as Docker makes one: with the owner and the mode of what the image has."""
    folder.mkdir(parents=True)
    found = (image.root / "data").stat()
    folder.chmod(found.st_mode & 0o7777)
    if os.geteuid() == 0:
        os.chown(folder, found.st_uid, found.st_gid)
    return folder
