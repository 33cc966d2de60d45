"""Files in formats that only older versions have taken, as a store still has them."""

from datetime import datetime
from pathlib import Path

from tests.archive.builders import METADATA, Entry, zip_bytes
from tests.distributions import Distribution
from wheelyard.catalog.files import FileContent
from wheelyard.model.distribution_filename import parse_known_filename
from wheelyard.model.project import Event, File
from wheelyard.operations.uploads import Uploads

EGG = Distribution(
    "demo-1.0-py2.7.egg",
    zip_bytes([Entry(b"demo.py", b""), Entry(b"EGG-INFO/PKG-INFO", METADATA)]),
)
INSTALLER = Distribution("demo-1.0.win32-py2.7.exe", b"MZ" + bytes(99))


def list_old_file(uploads: Uploads, made: Distribution, folder: Path, at: datetime) -> None:
    """Store and list a file without metadata, as a lenient import of an older version did."""
    distribution = parse_known_filename(made.filename)
    file = File(
        filename=made.filename,
        version=str(distribution.version),
        sha256=made.sha256,
        size=len(made.body),
        uploaded_at=at,
        uploaded_by="<ann>",
        imported_at=at,
        waived_rules=("invalid_filename", "missing_metadata"),
    )
    uploads.files.put(distribution.project, [FileContent(file, made.write(folder), None)])
    event = Event.uploaded(file, "", at=at, by="local:alice", by_name="")
    uploads.projects.change(distribution.project, lambda _: (event,))
