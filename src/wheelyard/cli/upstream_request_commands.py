"""`wheelyard upstream requests` and `request`: public packages that wait for a decision."""

from collections.abc import Iterator

from click import Option

from wheelyard.api import package_request_operations
from wheelyard.api.package_request_operations import PackageAsk, WaitingRequest
from wheelyard.cli import shared_options
from wheelyard.cli.command import cli_command
from wheelyard.cli.command_context import Api, open_api
from wheelyard.cli.history import token_names
from wheelyard.cli.output import print_result
from wheelyard.cli.program import this_terminal
from wheelyard.cli.upstream_decision_commands import VERSION
from wheelyard.model.decoding import counted, escaped
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.grants import with_name


@cli_command(
    "requests",
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard upstream requests",
        "wheelyard upstream requests --json --server https://packages.acme.dev",
    ),
    page="upstream-policy.md",
)
def requests() -> None:
    """
    Print what clients and people wanted of public packages and the policy hid, and who they are.

    It has what was wanted in the last two weeks, and was neither approved nor blocked since:
    refused files, names of which nothing is shown, and what people asked for with 'request'.
    Servers write what clients wanted within a few minutes. 'approve' and 'block' decide.
    """
    api = open_api()
    waiting = api.call(package_request_operations.list_requests)
    lines = list[str]()
    for request in waiting.requests:
        lines += _request_lines(request, api)
    print_result(waiting, lines or ["nothing waits for a decision"])


def _request_lines(request: WaitingRequest, api: Api) -> Iterator[str]:
    """Yield the lines about a request: who wants the package, why, and how to approve it."""
    names_by_principal = token_names(api, request.who)
    askers = [with_name(who, names_by_principal.get(who, "")) for who in request.who]
    yield (
        f"{request.target}: {request.code}, wanted {counted(request.times, 'time')}, last on "
        f"{request.last:%Y-%m-%d %H:%M} UTC, by {', '.join(askers)}"
    )
    for ask in request.asks:
        asker = with_name(ask.by, names_by_principal.get(ask.by, ""))
        yield f"  {asker} on {ask.at:%Y-%m-%d}: {escaped(ask.reason)}"
    if not request.approvable:
        yield f"  no approval lets it through: {request.reason}"
    elif request.despite:
        words = ["upstream", "approve"]
        # the name, and perhaps the version
        words += request.target.split()
        for code in request.despite:
            words += ["--despite", code]
        yield f"  to approve it: {this_terminal().line(words)}"


@cli_command(
    "request",
    shared_options.PROJECT,
    VERSION,
    Option(["--reason"], required=True, help="Why you need it; whoever decides reads that."),
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard upstream request pyside6 6.9.0 --reason 'for the new viewer'",
        "wheelyard upstream request leftpad --reason TICKET-7 --json",
    ),
    page="upstream-policy.md",
)
def request(*, project: str, version: str | None, reason: str) -> None:
    """
    Ask for a public PROJECT, or one VERSION of it, that is hidden.

    Whoever may approve public packages sees who asks, and why. Asking again replaces the reason.
    """
    name = parse_name(project)
    version_text = str(parse_version(version)) if version else ""
    ask = PackageAsk(name, version_text, reason=reason)
    answer = open_api().call(package_request_operations.request_package, ask)
    target = f"{answer.project} {answer.version}".rstrip()
    lines = [f"asked for {target}"]
    lines += [f"  {why.text}" for why in answer.reasons]
    print_result(answer, lines)
