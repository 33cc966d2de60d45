"""
A stand-in for Google's provider of Terraform: the same schema, and nothing behind it.

    python -m tests.deploy.provider

It prints what TF_REATTACH_PROVIDERS has to be, and serves until it is ended. Terraform then
compares a configuration with the schema, and plans and applies it, without a network: whatever the
cloud would make up is made up here. It runs in the environment of the lock `deploy`, whose
libraries the tests themselves have not, so they are imported by name.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.deploy.packing import UNKNOWN, Unknown, Unpacker, pack

SCHEMA = Path(__file__).with_name("google_provider.json")
NAME = "registry.terraform.io/hashicorp/google"
TYPES = {
    "bool": b'"bool"',
    "list": b'["list","string"]',
    "map": b'["map","string"]',
    "number": b'"number"',
    "string": b'"string"',
}
ALSO_COMPUTED = ("address", "id", "location", "project", "region")
"""Arguments that Google fills in where nobody has."""
MADE_UP = {
    "address": "192.0.2.1",
    "email": "wheelyard@acme-packages.iam.gserviceaccount.com",
    "generated_id": "2345678901234567890",
    "number": "123456789012",
    "unique_id": "104857600123456789012",
    "version": "1",
}


class Provider:
    """
    The calls.

    Args:
        messages: The protocol's, as the compiler has made them.
    """

    def __init__(self, messages: Any) -> None:  # noqa: ANN401 - made at run time
        self._messages = messages
        schema = json.loads(SCHEMA.read_text())
        self._resources = {name: self._block(it) for name, it in schema["resources"].items()}
        self._data = {name: self._block(it) for name, it in schema["data"].items()}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a call with nothing to say
        """Answer whatever has no answer of its own: it is right as it is."""
        return lambda *_: self._messages.Nothing()

    def GetProviderSchema(self, *_: object) -> object:  # noqa: N802 - the protocol's name
        """Tell every resource's arguments."""
        made = self._messages
        own = self._block({"attributes": {"project": "string", "region": "string"}})
        return made.Schemas(
            provider=made.Schema(block=own),
            resources={name: made.Schema(block=it) for name, it in self._resources.items()},
            data={name: made.Schema(block=it) for name, it in self._data.items()},
        )

    def UpgradeResourceState(self, asked: Any, _: object) -> object:  # noqa: ANN401, N802
        """Take a stored state as it is."""
        return self._messages.State(state=self._messages.Value(json=asked.raw.json))

    def ReadResource(self, asked: Any, _: object) -> object:  # noqa: ANN401, N802
        """Find everything as it was left."""
        return self._messages.State(state=asked.before)

    def PlanResourceChange(self, asked: Any, _: object) -> object:  # noqa: ANN401, N802
        """Say what will only be known afterwards."""
        wanted = Unpacker(asked.after.packed).value()
        if wanted is not None:
            for each in self._resources[asked.type_name].attributes:
                if each.computed and wanted.get(each.name) is None:
                    wanted[each.name] = UNKNOWN
        return self._state(wanted)

    def ApplyResourceChange(self, asked: Any, _: object) -> object:  # noqa: ANN401, N802
        """Make up what was not known."""
        made = Unpacker(asked.after.packed).value()
        if made is not None:
            made = {
                name: MADE_UP.get(name, name) if isinstance(value, Unknown) else value
                for name, value in made.items()
            }
        return self._state(made)

    def ReadDataSource(self, asked: Any, _: object) -> object:  # noqa: ANN401, N802
        """Make up what is asked for."""
        found = Unpacker(asked.before.packed).value()
        return self._state(
            {k: MADE_UP.get(k, k) if value is None else value for k, value in found.items()}
        )

    def _state(self, value: object) -> object:
        return self._messages.State(state=self._messages.Value(packed=pack(value)))

    def _block(self, found: dict[str, Any]) -> Any:  # noqa: ANN401 - made at run time
        """Write a block as the protocol has it."""
        attributes = [
            self._messages.Attribute(
                name=name,
                type=TYPES[kind.rstrip("!")],
                required=kind.endswith("!"),
                optional=not kind.endswith("!"),
                computed=name in ALSO_COMPUTED and not kind.endswith("!"),
            )
            for name, kind in found["attributes"].items()
        ]
        attributes += [
            self._messages.Attribute(name=name, type=TYPES["string"], computed=True)
            for name in found.get("computed", [])
        ]
        blocks = [
            self._messages.Nested(
                name=name,
                block=self._block(inner),
                nesting=2,
                least=int(inner["required"]),
                most=0 if inner["many"] else 1,
            )
            for name, inner in found.get("blocks", {}).items()
        ]
        return self._messages.Block(attributes=attributes, blocks=blocks)


def main() -> None:
    """Serve until somebody ends this process."""
    grpc = import_module("grpc")
    sys.path.insert(0, str(SCHEMA.parent))  # where the compiler looks
    messages, services = grpc.protos_and_services("provider.proto")
    server = grpc.server(ThreadPoolExecutor(8))
    services.add_ProviderServicer_to_server(Provider(messages), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    place = {
        "Protocol": "grpc",
        "ProtocolVersion": 6,
        "Pid": os.getpid(),
        "Test": True,
        "Addr": {"Network": "tcp", "String": f"127.0.0.1:{port}"},
    }
    print(json.dumps({NAME: place}), flush=True)  # noqa: T201 - to whoever has started it
    server.wait_for_termination()


if __name__ == "__main__":
    main()
