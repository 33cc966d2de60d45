"""
An OCI archive of one image for several processors, made of images in Docker's format.

buildah writes Docker's format: it has a health check, which buildah leaves out of OCI's, though all
programs read it there. Equal images give equal bytes.
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any, Final

TYPE: Final = "application/vnd.oci.image"
INDEX: Final = {"schemaVersion": 2, "mediaType": f"{TYPE}.index.v1+json"}
KEPT: Final = ("architecture", "config", "created", "history", "os", "rootfs")
"""Fields of a configuration of Docker; the others have random names of containers."""


class Archive:
    """The blobs of an archive, by their digests."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._manifests: list[dict[str, Any]] = []
        self._labels: dict[str, str] = {}

    def add_image(self, folder: Path, processor: str) -> str:
        """Add what `buildah push` has written to a folder; return the digest of the manifest."""
        manifest = json.loads((folder / "manifest.json").read_bytes())
        made = json.loads(_blob(folder, manifest["config"]))
        configuration = {name: made[name] for name in KEPT}
        del configuration["config"]["Hostname"]
        self._labels = configuration["config"]["Labels"]
        described = self._add(
            "manifest.v1+json",
            {
                "schemaVersion": 2,
                "mediaType": f"{TYPE}.manifest.v1+json",
                "config": self._add("config.v1+json", configuration),
                "layers": [
                    self._add("layer.v1.tar+gzip", _blob(folder, layer))
                    for layer in manifest["layers"]
                ],
            },
        )
        platform = {"architecture": processor, "os": made["os"]}
        self._manifests.append(described | {"platform": platform})
        return str(described["digest"])

    def write(self, file: Path, tag: str) -> str:
        """Write the archive; return the digest of the index of all its images."""
        index = INDEX | {"manifests": self._manifests, "annotations": self._labels}
        described = self._add("index.v1+json", index)
        tagged = described | {"annotations": {"org.opencontainers.image.ref.name": tag}}
        contents = {f"blobs/sha256/{digest}": blob for digest, blob in self._blobs.items()}
        contents["index.json"] = _json(INDEX | {"manifests": [tagged]})
        contents["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
        with tarfile.open(file, "w") as archive:
            for name, content in sorted(contents.items()):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        return str(described["digest"])

    def _add(self, media_type: str, content: bytes | dict[str, Any]) -> dict[str, Any]:
        """Add a blob; return its descriptor."""
        blob = content if isinstance(content, bytes) else _json(content)
        digest = hashlib.sha256(blob).hexdigest()
        self._blobs[digest] = blob
        described = {"digest": f"sha256:{digest}", "size": len(blob)}
        return described | {"mediaType": f"{TYPE}.{media_type}"}


def _blob(folder: Path, described: dict[str, Any]) -> bytes:
    name = str(described["digest"]).removeprefix("sha256:")
    return (folder / name).read_bytes()


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode()
