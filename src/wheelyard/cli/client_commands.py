"""`wheelyard print-settings` and `doctor`: settings and checks of a client's machine."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click
from click import Argument, Option
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.api.local_api import LocalApi
from wheelyard.api.project_operations import ClientProjectsQuery, client_projects
from wheelyard.api_client import TOKEN_VARIABLE
from wheelyard.cli import command_context, output, shared_options
from wheelyard.cli.command import cli_command
from wheelyard.cli.program import chosen_index, chosen_server
from wheelyard.doctor.examination import CheckOutcome, Finding, examination, without_secrets
from wheelyard.doctor.installed_clients import Machine
from wheelyard.errors import Invalid, NotFound, Unavailable, quoted
from wheelyard.model import index_name
from wheelyard.model.decoding import escaped, redact_tokens
from wheelyard.model.distribution_filename import parse_name
from wheelyard.remedies import Advice, Remedy
from wheelyard.rendering import client_settings
from wheelyard.settings.load import process_environment
from wheelyard.wiring.build import index_without_store
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import has_all_folders, system_runtime

CHECK_WIDTH: Final = 10
OUTCOME_WIDTH: Final = 7

_HOST_PATTERN: Final = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?"
_ROOT_URL: Final = re.compile(rf"https?://{_HOST_PATTERN}(?:/[A-Za-z0-9._~!&'()*+,;=:@%-]+)*")
"""A URL without a credential, a query, and characters with a meaning in the files of clients."""
_TOKEN_TEXT: Final = re.compile(r"[A-Za-z0-9._~-]+")


@cli_command(
    "doctor",
    Argument(["url"], required=False),
    Option(["--project"], metavar="NAME", default="", help="The project that does not work."),
    shared_options.JSON,
    examples=(
        "wheelyard doctor",
        "wheelyard doctor https://packages.example.com/simple/",
        "wheelyard doctor https://packages.example.com --project acme-core",
    ),
    page="troubleshooting.md",
)
def doctor_command(url: str | None, project: str) -> int:
    """
    Say why an install does not work from this machine, or what a token may publish.

    URL is the server's or its index's. Without it, the index that pip or uv asks is examined. Each
    line is one check: of settings and credentials, the network, and the server. Nothing is changed,
    and no secret is printed. Exit 1 if a check failed.
    """
    machine = Machine(process_environment(), Path.home(), Path.cwd())
    project_name = parse_name(project) if project else ""
    chosen_examination = examination(url, project_name, machine, system_runtime())
    index_url = output.printable(without_secrets(chosen_examination.url))
    output.print_line(f"index: {escaped(index_url)} (of {escaped(chosen_examination.source)})")
    findings = list[Finding]()
    # printed one by one, as a check of the network may take half a minute
    for finding in chosen_examination.run():
        # texts repeat files and answers of servers, which may have a token in them
        text = output.printable(redact_tokens(finding.text))
        advice = output.printable(finding.advice)
        printable_finding = replace(finding, text=text, advice=advice)
        findings.append(printable_finding)
        _print_finding(printable_finding)
    output.print_result({"index": index_url, "checks": findings})
    return int(any(finding.outcome is CheckOutcome.FAILED for finding in findings))


def _print_finding(finding: Finding) -> None:
    """Print the line about a check, and the advice below it."""
    outcome: str = finding.outcome
    if finding.outcome is CheckOutcome.FAILED:
        outcome = outcome.upper()
    output.print_line(
        f"{outcome:{OUTCOME_WIDTH}}  {finding.check:{CHECK_WIDTH}}  {escaped(finding.text)}"
    )
    if finding.advice:
        output.print_line(f"{'':{OUTCOME_WIDTH}}  {'':{CHECK_WIDTH}}  -> {escaped(finding.advice)}")


@cli_command(
    "print-settings",
    Argument(["client"], type=click.Choice(list(client_settings.CLIENTS))),
    Option(
        ["--url"], metavar="URL", help="The root that clients use.  [default: as the settings say]"
    ),
    Option(
        ["--project", "projects"],
        multiple=True,
        metavar="NAME",
        help="A project that comes from this index; may be given again.",
    ),
    Option(
        ["--one-url"],
        is_flag=True,
        help="The index serves public packages, too.  [default: as the settings say]",
    ),
    Option(["--with-token"], is_flag=True, help=f"Write the token of ${TOKEN_VARIABLE}, too."),
    shared_options.PACKAGES,
    examples=(
        "wheelyard print-settings uv --server https://pypi.acme.dev --project acme",
        "wheelyard print-settings pip --index prod >> ~/.config/pip/pip.conf",
        "wheelyard print-settings twine --with-token >> ~/.pypirc",
    ),
    page="private-and-public.md",
)
def print_settings_command(
    *, client: str, url: str | None, projects: tuple[str, ...], one_url: bool, with_token: bool
) -> None:
    """
    Print the configuration text of CLIENT for this index, to append to its file.

    With --project, the text names this project and all private ones that it needs, also indirectly,
    as store or server say. uv, Poetry, PDM and Pipenv take these from this index only, and all
    others from where they took them before. pip takes all from this index. With --one-url, every
    client does, since public packages come from an upstream index. Without --with-token there is no
    secret in the text. --index may be the view of a day, such as prod/as-of-2026-01-31.
    """
    token = ""
    if with_token:
        token = _parse_token(process_environment().get(TOKEN_VARIABLE, ""))

    # each project once, in the order given
    project_names = tuple(dict.fromkeys(map(parse_name, projects)))
    root = _parse_root(url) if url is not None else None
    settings = _client_settings(client, root, project_names, one_url=one_url)
    if client in client_settings.PUBLISHERS and not settings.takes_uploads:
        name = settings.index or index_name.MAIN
        raise Invalid(
            f"The index {name} takes no uploads, so {client} needs no settings for it. Name the "
            "index that the files are uploaded to, by --index."
        )
    text = client_settings.client_text(client, replace(settings, token=token))
    if with_token:
        output.warn(
            "there is a secret in this text: commit neither the file nor a lock file made from it"
        )

    # an empty line first, as the last line of a file may have no end
    click.echo(f"\n{text}", nl=False)


def _client_settings(
    client: str, root: str | None, projects: Sequence[NormalizedName], *, one_url: bool
) -> client_settings.ClientSettings:
    """Return the values of a client's text, for the index of `--index` or its view of a day."""
    name, day = _index_and_day()
    if root is not None and name != index_name.MAIN:
        root = f"{root}/{index_name.parse_index_name(name)}"
    settings = _settings_of_index(client, root, projects, name, one_url=one_url)
    if not day:
        return settings
    path = f"{index_name.index_path(name)}{day}"
    return replace(settings, root=f"{settings.root}/{day}", index=path, takes_uploads=False)


def _index_and_day() -> tuple[str, str]:
    """
    Return the name of the index of `--index`, and the last segment if it is the view of a day.

    The segment is empty if it is not. Raises NotFound if there is no such day.
    """
    name = chosen_index()
    index_part, _, last_segment = name.rpartition("/")
    if not index_name.is_dated_view(last_segment):
        return name, ""
    index_name.day_of_view(last_segment)
    return index_name.read_index_name(index_part), last_segment


def _settings_of_index(
    client: str, root: str | None, projects: Sequence[NormalizedName], name: str, *, one_url: bool
) -> client_settings.ClientSettings:
    """
    Return the values of a client's text for the index of this name.

    The index is asked only if the text needs its answer, as it may not exist yet.
    """
    is_remote = chosen_server() is not None
    needs_projects = client in client_settings.INSTALLERS and not one_url
    if is_remote:
        is_asked = needs_projects or name != index_name.MAIN
    else:
        # without the text for pip, which names no project
        is_asked = needs_projects and bool(projects) and client != "pip"
    if is_asked:
        return _settings_by_answer(root, projects, name, one_url=one_url)
    if is_remote:
        root = root or command_context.open_api(name).url
        path = index_name.bare_index_path(name)
        return client_settings.ClientSettings(root=root, index=path, serves_public=one_url)
    return _settings_by_store(root, name, one_url=one_url)


def _settings_by_answer(
    root: str | None, projects: Sequence[NormalizedName], name: str, *, one_url: bool
) -> client_settings.ClientSettings:
    """Return the values for projects and their requirements, which the index is asked about."""
    api: command_context.Api | None = command_context.remote_api(name)
    if api is None:
        api = command_context.local_api(_index_or_advice(name))
    answer = api.call(client_projects, ClientProjectsQuery(",".join(projects)))
    if answer.other_indexes and not shared_options.given_option("index"):
        names = ", ".join(answer.other_indexes)
        output.warn(f"main has no project; --index chooses another index: {names}")
    if root is None and isinstance(api, LocalApi):
        root = api.index.settings.base_url
    return client_settings.ClientSettings(
        root=root or api.url,
        index=index_name.bare_index_path(name),
        projects=answer.projects,
        needs_credential=answer.needs_credential,
        serves_public=one_url or answer.serves_public,
        takes_uploads=answer.takes_uploads,
    )


def _settings_by_store(
    root: str | None, name: str, *, one_url: bool
) -> client_settings.ClientSettings:
    """Return the values by the settings, and by the definition of the index, if there is one."""
    settings = command_context.loaded_settings().settings
    path = index_name.bare_index_path(name)
    if name == index_name.MAIN and not has_all_folders(settings):
        # the settings of a server may be tried before its store is made
        return client_settings.ClientSettings(
            root=root or settings.base_url,
            index=path,
            serves_public=one_url or settings.upstream.is_on,
            takes_uploads=not settings.server.read_only,
        )
    if root is None or has_all_folders(settings):
        index = _index_or_advice(name)
    else:
        try:
            index = index_without_store(settings).named(name)
        except (NotFound, Unavailable):
            # the URL may be that of a server with other indexes
            return client_settings.ClientSettings(root=root, index=path, serves_public=one_url)
    return client_settings.ClientSettings(
        root=root or index.settings.base_url,
        index=path,
        needs_credential=not index.read_policy.is_public(),
        serves_public=one_url or index.upstream is not None,
        takes_uploads=index.takes_uploads,
    )


def _index_or_advice(name: str) -> Index:
    """Return the index of a store, or raise Invalid with the advice to ask a server."""
    try:
        return command_context.existing_index(name)
    except Invalid as fault:
        message = f"{fault.message} Or ask a server what the projects need, with --server URL."
        raise Invalid(message, code=fault.code) from fault


def _parse_root(text: str) -> str:
    """
    Return the root of a server for any of its URLs that people copy.

    Raises Invalid (code `bad_setting`) for any other text.
    """
    root = text.rstrip("/").removesuffix("/simple").removesuffix("/legacy")
    # ValueError: a port above 65535, or a malformed IPv6 address
    with suppress(ValueError):
        if _ROOT_URL.fullmatch(root) and urlsplit(root).port != 0:
            return root
    # the message must not have a URL that may have a password in it
    text_in_message = "" if "@" in text else f" {quoted(text)}"
    raise Invalid(
        f"--url{text_in_message} is not the URL of a server. Write its root, such as "
        "https://pypi.acme.dev, without a credential.",
        code="bad_setting",
    )


def _parse_token(text: str) -> str:
    """Return a token without blanks around it, or raise Invalid if the text is none."""
    if not _TOKEN_TEXT.fullmatch(text.strip()):
        raise Invalid(
            f"--with-token: ${TOKEN_VARIABLE} has no token of this index.",
            code="bad_setting",
            advice=Advice(Remedy.CREATE_TOKEN),
        )
    return text.strip()
