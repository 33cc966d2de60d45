"""
What CI runs, one session a question; a developer runs the same.

`nox` alone asks them all. Each session installs a lock from `requirements/` into an environment of
its own; `nox --no-venv`, which is how `dev.py test` calls it, uses the environment it runs in.
"""

import nox

nox.needs_version = ">=2026.4"
nox.options.sessions = ["style", "types", "map", "tests"]
nox.options.error_on_missing_interpreters = False  # a developer may have but one Python

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
COOLDOWN = "1 week"
"""A release younger than this stays out of the locks: the bad ones are withdrawn by then."""

EXTRAS = tuple(
    word for name in ("attestations", "azure", "gcs", "otel", "s3") for word in ("--extra", name)
)
ALL = ("--constraint", "requirements/otel.txt")
"""The lock with every extra; the others have the same versions."""

CLIENTS = sorted(
    group.removeprefix("client-")
    for group in PROJECT["dependency-groups"]
    if group.startswith("client-")
)


def install(session: nox.Session, lock: str = "dev") -> None:
    """Install what a lock names, every file checked against its hash."""
    if session.venv_backend != "none":
        session.install("--require-hashes", "-r", f"requirements/{lock}.txt")


def install_project(session: nox.Session) -> None:
    """Install the development lock, and wheelyard itself in place."""
    install(session)
    if session.venv_backend != "none":
        session.install("--no-deps", "--no-build-isolation", "--editable", ".")


@nox.session
def style(session: nox.Session) -> None:
    """Is the code formatted, and does it keep the rules?"""
    install(session)
    session.run("ruff", "format", "--check", *session.posargs)
    session.run("ruff", "check", *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """Do the types hold?"""
    install(session)
    session.run("mypy", *session.posargs)


@nox.session(name="map")
def map_(session: nox.Session) -> None:
    """Do imports point downwards?"""
    install_project(session)
    session.run("lint-imports", *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Do the tests pass, on each Python there is? Real clients are asked once, by `clients`."""
    install_project(session)
    chosen = "not clients and not downloads and not services and not weekly"
    session.run("pytest", "-m", chosen, *session.posargs)


@nox.session
def clients(session: nox.Session) -> None:
    """Do today's clients publish, install, lock and download?"""
    install_project(session)
    session.run("pytest", "-m", "clients and not weekly", *session.posargs)


@nox.session
def downloads(session: nox.Session) -> None:
    """Do archives that real projects have published pass through unharmed?"""
    install_project(session)
    session.run("pytest", "-m", "downloads", *session.posargs)


@nox.session
def services(session: nox.Session) -> None:
    """Do S3, Azure and Ceph keep what is written, whatever is lost, late, refused or killed?"""
    install_project(session)
    session.run("pytest", "--numprocesses=auto", "-m", "services", *session.posargs)


@nox.session
def weekly(session: nox.Session) -> None:
    """Do whole machines, other servers and old clients get along with what is here today?"""
    install_project(session)
    session.run("pytest", "--numprocesses=auto", "-m", "weekly", *session.posargs)
    # the properties, with many examples
    many = ("--hypothesis-profile=weekly", "-m", "hypothesis")
    session.run("pytest", "--fast", "--numprocesses=auto", *many, *session.posargs)


@nox.session
def image(session: nox.Session) -> None:
    """Is the container image of a release the same again, and does it run, for each processor?"""
    install_project(session)
    install(session, "release")
    patient = ("-o", "faulthandler_timeout=1800")  # a build takes minutes
    session.run(
        "pytest", "-m", "downloads", *patient, "tests/deploy/test_image.py", *session.posargs
    )


@nox.session
def settings(session: nox.Session) -> None:
    """Write the table of docs/settings.md again, from the settings' code."""
    install_project(session)
    session.run("python", "-m", "tools.settings_table")


@nox.session
def commands(session: nox.Session) -> None:
    """Write the commands of docs/commands.md again, from their help texts."""
    install_project(session)
    session.run("python", "-m", "tools.command_reference")


@nox.session
def errors(session: nox.Session) -> None:
    """Write the tables of docs/errors.md again, from the list of error codes."""
    install_project(session)
    session.run("python", "-m", "tools.error_codes")


@nox.session
def openapi(session: nox.Session) -> None:
    """Write docs/openapi.json again, from the table of operations."""
    install_project(session)
    session.run("python", "-m", "tools.openapi")


@nox.session
def release(session: nox.Session) -> None:
    """Build a release twice and compare: `-- VERSION --dry-run`; without that, commit and tag."""
    install(session, "release")
    session.run("python", "-m", "tools.release", *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """Does a lock name a version with a known vulnerability? If nobody can be asked, it fails."""
    install(session, "release")
    session.run("python", "-m", "tools.audit", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site of docs/ into site/, strictly; `-- --releases` builds each release's pages."""
    install(session, "docs")
    session.run("python", "-m", "tools.docs_site", "site", *session.posargs)


@nox.session
def dependencies(session: nox.Session) -> None:
    """Write the tables of docs/dependencies.md again, from what is installed."""
    install_project(session)
    session.run("python", "-m", "tools.dependencies")


@nox.session
def lock(session: nox.Session) -> None:
    """Compile the locks again; `-- --upgrade` takes the newest of everything."""
    if session.venv_backend != "none":
        session.install("uv")
    compile_lock(session, "otel", "pyproject.toml", *EXTRAS)
    compile_lock(session, "gcs", "pyproject.toml", "--extra", "gcs", *ALL)
    compile_lock(session, "objects", "pyproject.toml", "--extra", "s3", "--extra", "azure", *ALL)
    compile_lock(session, "run", "pyproject.toml", *ALL)
    compile_lock(session, "dev", "pyproject.toml", *EXTRAS, "--group", "dev", *ALL)
    compile_lock(session, "build", "--group", "build", "--constraint", "requirements/dev.txt")
    compile_lock(session, "release", "--group", "release", "--constraint", "requirements/dev.txt")
    compile_lock(session, "docs", "--group", "docs")
    for client in CLIENTS:
        compile_lock(session, f"clients/{client}", "--group", f"client-{client}")


def compile_lock(session: nox.Session, name: str, *inputs: str) -> None:
    """
    Write one lock, for every Python and system that we support.

    No setting of this machine gets in (`--no-config`, and the environment's indexes are emptied),
    and no host name comes out: which index serves the files is for those who install them.
    """
    session.run(
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--no-config",
        "--universal",
        "--python-version=3.11",
        "--generate-hashes",
        f"--exclude-newer={COOLDOWN}",
        "--no-annotate",
        "--no-header",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--no-strip-extras",  # pip wants to see them, where every hash is required
        f"--output-file=requirements/{name}.txt",
        *inputs,
        *session.posargs,
        env=dict.fromkeys(("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_FIND_LINKS")),
    )


if __name__ == "__main__":
    nox.main()
