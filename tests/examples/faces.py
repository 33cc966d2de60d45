"""The faces of an operation: its function, the API, a command on a store or a server, a form."""

import asyncio
import base64
import json
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from html import unescape
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode

from msgspec import UNSET, to_builtins
from msgspec.structs import replace

from tests.cli.conftest import called
from tests.examples.example import Command, Example, Json, Refusal, Request, Role, Words
from tests.examples.world import PASSWORD, TOKEN, World
from tests.fake_time import Clock
from tests.http.browser import Browser
from tests.http.in_process import InProcessResponse, InProcessServer
from tests.http_server import serving_app
from tests.operations.in_memory_index import ALICE
from wheelyard.api.operation import Call, convert_fields
from wheelyard.errors import WheelyardError
from wheelyard.http.app import App
from wheelyard.wiring.build import open_index
from wheelyard.wiring.index import Index

OWN_TO_A_CALL: Final = re.compile(
    r"wyd_\w+|whsec_\S+|\b\w{10}\b(?=\t|,)|\bg[0-9a-f]{8}\b|\d{4}-\d\d-\d\d[ T][\d:.]+Z?"
    r"|\b\w{10}(?= replaces)|(?<=rotate )\w{10}\b"
    r"|local:\w+|static:root|command line|static token|(?: --(?:server|store|config) [^ ']+)+"
)
"""Secrets, ids, times, callers and places, in which two calls differ."""


@dataclass(frozen=True)
class Outcome:
    """What came of a call."""

    is_done: bool
    text: str = ""
    """What a person reads: the message of an error, the output of a command, or a page."""
    code: str | None = None
    """The code of the error, or None where a face does not tell it."""
    answer: Any = UNSET
    """The JSON of the answer, or UNSET where a face does not tell it."""
    warnings: str = ""
    """What a command that has done its work says on its standard error."""


class Face(ABC):
    """A way to call the operations on the index of a world."""

    name: ClassVar[str]
    opens_socket: ClassVar[bool] = False
    """Whether a call opens a socket."""

    def __init__(self, world: World, stack: ExitStack) -> None:
        self.world = world
        self.stack = stack
        """Closes what calls have opened when the test ends."""

    @abstractmethod
    def call(self, example: Example) -> Outcome:
        """Call the operation of an example as administrators do."""

    def again(self, example: Example) -> Json | Refusal | None:
        """Return what a second call answers, or None for the same as the first."""
        return example.again

    @classmethod
    def has(cls, _: Example) -> bool:
        """Return whether an example can be called in this way."""
        return True

    def words(self, _: Example) -> Words:
        """Return what a person reads, which is nothing for a program."""
        return Words()

    def trial_of(self, example: Example) -> Example | None:
        """Return the example as its dry run, or None if there is none."""
        if example.trial is None:
            return None
        return example.as_trial

    def refused(self, example: Example, refusal: Refusal) -> Example | None:
        """Return the example as the call that is refused, or None if it cannot be made so."""
        arguments = {**example.request.arguments, **refusal.arguments}
        body = {**example.request.body, **refusal.body}
        return replace(example, request=replace(example.request, arguments=arguments, body=body))


def call_function(index: Index, request: Request) -> Outcome:
    """Call the function of an operation as somebody with all rights."""
    index = index.named(request.index or "main")
    call = Call(index=index, caller=ALICE, caller_elsewhere=lambda _: ALICE)
    row = request.row
    try:
        body = None
        if row.body_type is not None:
            body = convert_fields(request.body, row.body_type, strict=row.method != "GET")
        answer = row.answer_to(call, request.arguments, body)
    except WheelyardError as error:
        return Outcome(is_done=False, text=error.message, code=error.code)
    return Outcome(is_done=True, answer=to_builtins(answer))


class FunctionFace(Face):
    """The function of the table of operations, called on the index of a store."""

    name = "function"

    def call(self, example: Example) -> Outcome:
        """Call the operation of an example as somebody with all rights."""
        return call_function(open_index(self.world.settings), example.request)


def send(server: InProcessServer, request: Request, role: Role) -> InProcessResponse:
    """Send the request of the API for an operation."""
    row = request.row
    arguments = {name: quote(text, safe="") for name, text in request.arguments.items()}
    prefix = f"/{request.index}" if request.index else ""
    path = f"{prefix}/api/v1/{row.path.format_map(arguments)}"
    headers = list[tuple[str, str]]()
    if role is not Role.ANONYMOUS:
        pair = base64.b64encode(f"{role.value}:{PASSWORD}".encode()).decode()
        headers.append(("authorization", f"Basic {pair}"))
    if row.method == "GET":
        return server.get(f"{path}?{urlencode(request.body)}", *headers)
    headers.append(("content-type", "application/json"))
    body = [json.dumps(dict(request.body)).encode()] if row.body_type is not None else []
    return server.get(path, *headers, method=row.method, body=body)


@contextmanager
def opened(world: World) -> Iterator[InProcessServer]:
    """Yield an application over the store of a world."""
    index = open_index(world.settings, is_server=True)
    with asyncio.Runner() as runner:
        server = InProcessServer(App(index), index, world.folder, Clock(), runner)
        yield server
        server.tell("lifespan", "lifespan.shutdown")


class ApiFace(Face):
    """A request to the API, with the password of an administrator."""

    name = "API"

    @cached_property
    def server(self) -> InProcessServer:
        """The application, which the first call opens."""
        return self.stack.enter_context(opened(self.world))

    def call(self, example: Example) -> Outcome:
        """Send the request of an example."""
        response = send(self.server, example.request, Role.ADMIN)
        answer = json.loads(response.body or b"null")
        if response.status == (204 if answer is None else example.request.row.status):
            return Outcome(is_done=True, answer=answer)
        return Outcome(is_done=False, text=answer["message"], code=answer["error"])


class CommandFace(Face):
    """A command, typed on the machine of the store."""

    name = "--store"

    @classmethod
    def has(cls, example: Example) -> bool:
        """Return whether there is a command for it."""
        return example.command is not None

    def words(self, example: Example) -> Words:
        """Return what the command prints."""
        assert example.command is not None
        return example.command.prints

    def trial_of(self, example: Example) -> Example | None:
        """Return the example with the command of its dry run, or None if there is none."""
        if example.command is None or not example.command.trial:
            return None
        return replace(example, command=Command(line=example.command.trial))

    def refused(self, example: Example, refusal: Refusal) -> Example | None:
        """Return the example with a refused command line, or None if none says it."""
        if not refusal.command:
            return None
        return replace(example, command=Command(line=refusal.command))

    def call(self, example: Example) -> Outcome:
        """Type the command of an example."""
        place = ("--store", str(self.world.store), "--config", str(self.world.config))
        return self.type(example, *place)

    def type(self, example: Example, *options: str, **environment: str) -> Outcome:
        """Type the command of an example with these options, in a folder of its own."""
        home = self.world.home
        variables = {"HOME": str(home), "TMPDIR": str(home), **environment}
        assert example.command is not None
        done = called(home, variables, *shlex.split(example.command.line), *options)
        printed, errors = (text.replace("\n", " ") for text in (done.stdout, done.stderr))
        if done.returncode == 0:
            return Outcome(is_done=True, text=printed, warnings=errors)
        return Outcome(is_done=False, text=errors)


class RemoteCommandFace(CommandFace):
    """
    The same command, typed on another machine, with a token of an administrator.

    Each one is typed with `--store` for a copy of the world, too, and has to print the same.
    """

    name = "--server"
    opens_socket = True

    def __init__(self, world: World, stack: ExitStack) -> None:
        super().__init__(world, stack)
        self.local = CommandFace(world.copy_to(world.folder.with_name("twin")), stack)

    @cached_property
    def url(self) -> str:
        """The URL of a server, which the first call starts."""
        index = open_index(self.world.settings, is_server=True)
        settings = self.stack.enter_context(serving_app(App(index)))
        return f"http://127.0.0.1:{settings.port}"

    def call(self, example: Example) -> Outcome:
        """Type the command of an example while a server runs."""
        remote = self.type(example, "--server", self.url, WHEELYARD_TOKEN=TOKEN)
        local = self.local.call(example)
        assert remote.is_done == local.is_done, (remote, local)
        assert example.command is not None
        if not example.command.is_about_the_process:
            texts = [
                OWN_TO_A_CALL.sub("*", f"{outcome.text} {outcome.warnings}")
                for outcome in (remote, local)
            ]
            assert texts[0] == texts[1], texts
        return remote


class FormFace(Face):
    """A form of a page, sent by an administrator who has signed in."""

    name = "form"

    @classmethod
    def has(cls, example: Example) -> bool:
        """Return whether a page has a form for it."""
        return example.form is not None

    def words(self, example: Example) -> Words:
        """Return what the page that follows says."""
        assert example.form is not None
        return example.form.shows

    def again(self, example: Example) -> Json | Refusal | None:
        """Return what a form that is sent twice is answered."""
        assert example.form is not None
        return example.form.again or example.again

    def trial_of(self, _: Example) -> None:
        """Return None: a form has no dry run, as its page says what would happen."""

    def refused(self, example: Example, refusal: Refusal) -> Example | None:
        """Return the example with refused fields of the form, or None if none say it."""
        if example.form is None or not refusal.fields:
            return None
        fields = {**example.form.fields, **refusal.fields}
        return replace(example, form=replace(example.form, fields=fields))

    @cached_property
    def browser(self) -> Browser:
        """The browser of the administrator, who signs in before the first form."""
        browser = Browser(self.stack.enter_context(opened(self.world)))
        assert browser.sign_in("admin", PASSWORD).status == 303
        return browser

    def call(self, example: Example) -> Outcome:
        """Send the form of an example."""
        form = example.form
        assert form is not None
        hidden = _hidden_fields(self.browser.open(form.shown_on))
        response = self.browser.send(form.page, {**hidden, **form.fields})
        is_done = response.status in (200, 201, 303)
        if response.status == 303:
            response = self.browser.follow(response)
        return Outcome(is_done=is_done, text=_words_of(response))


def _hidden_fields(page: InProcessResponse) -> dict[str, str]:
    """Return the hidden fields of the forms of a page."""
    pattern = r'<input type="hidden" name="([^"]+)" value="([^"]*)"'
    return {name: unescape(value) for name, value in re.findall(pattern, page.body.decode())}


def _words_of(response: InProcessResponse) -> str:
    """Return the words of a page, without its tags."""
    return " ".join(unescape(re.sub("<[^>]*>", " ", response.body.decode())).split())


FACES: Final[tuple[type[Face], ...]] = (
    FunctionFace,
    ApiFace,
    CommandFace,
    RemoteCommandFace,
    FormFace,
)


def includes(told: Any, expected: Any) -> bool:  # noqa: ANN401 - any JSON
    """
    Return whether an answer has what is expected: all of these fields, or these members.

    A field that is expected to be None is one that the answer must not have.
    """
    if isinstance(expected, Mapping):
        return isinstance(told, Mapping) and all(
            name not in told if value is None else name in told and includes(told[name], value)
            for name, value in expected.items()
        )
    if isinstance(expected, list | tuple):
        return len(told) == len(expected) and all(map(includes, told, expected))
    return bool(told == expected)
