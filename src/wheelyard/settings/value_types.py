"""Types of settings: what a value may be, and its name in docs/settings.md."""

from typing import Annotated, Final

from msgspec import Meta

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[int, Meta(ge=0, title="seconds")]
Days = Annotated[int, Meta(ge=0, le=36_500, title="days")]
Mebibytes = Annotated[int, Meta(ge=1, title="MiB")]

Url = Annotated[str, Meta(title="URL")]
FILE: Final = Meta(title="file")
FileName = Annotated[str, FILE]
Ascii = Annotated[str, Meta(title="ASCII without spaces")]
Domains = Annotated[tuple[str, ...], Meta(title="list of domains")]
Hosts = Annotated[tuple[str, ...], Meta(title="list of hosts")]
NameList = Annotated[tuple[str, ...], Meta(title="list of patterns")]
