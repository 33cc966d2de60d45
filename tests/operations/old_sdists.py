"""Sdists as old build tools named them, with a version that has a hyphen."""

from packaging.version import Version

from tests.distributions import Distribution, zipped_tar

BACKEND = """\
import zipfile

NAME, VERSION = {name!r}, {version!r}


def build_wheel(directory, config_settings=None, metadata_directory=None):
    module, folder = NAME.replace("-", "_"), f"{{NAME.replace('-', '_')}}-{{VERSION}}.dist-info"
    filename = f"{{module}}-{{VERSION}}-py3-none-any.whl"
    with zipfile.ZipFile(f"{{directory}}/{{filename}}", "w") as wheel:
        wheel.writestr(f"{{module}}.py", "")
        metadata = f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n"
        wheel.writestr(f"{{folder}}/METADATA", metadata)
        wheel.writestr(f"{{folder}}/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(f"{{folder}}/RECORD", "")
    return filename
"""
PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
REAL = {
    "leo-6.7.8-9.tar.gz": ("leo", "6.7.8.post9"),
    "x-1.0.0-alpha.1.tar.gz": ("x", "1.0.0a1"),
    "elementtree-1.2.6-20050316.tar.gz": ("elementtree", "1.2.6.post20050316"),
    "other-1.0-rc1.tar.gz": ("other", "1.0rc1"),
    "demo-1.0-1.tar.gz": ("demo", "1.0.post1"),
}
"""Real filenames, with project and normalised version."""


def old_sdist(name: str, version: str, project: str = "") -> Distribution:
    """
    Return an sdist `name-version.tar.gz` that installs without any build tool.

    Its PKG-INFO has the name `project`, which is `name` unless it is given.
    """
    project = project or name
    stem = f"{name}-{version}"
    real = str(Version(stem.removeprefix(f"{project}-")))
    files = {
        "PKG-INFO": f"Metadata-Version: 1.1\nName: {project}\nVersion: {real}\n",
        "pyproject.toml": PROJECT,
        "backend.py": BACKEND.format(name=project, version=real),
    }
    members = {f"{stem}/{path}": text.encode() for path, text in files.items()}
    return Distribution(f"{stem}.tar.gz", zipped_tar(members))


def sdist_without_metadata(filename: str) -> Distribution:
    """Return an sdist that has no PKG-INFO."""
    stem = filename.removesuffix(".tar.gz")
    return Distribution(filename, zipped_tar({f"{stem}/setup.py": b""}))
