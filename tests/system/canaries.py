"""Secrets that can be recognised wherever they turn up, and the search for them in whatever spelling."""

import base64
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from urllib.parse import quote

HEAD = "CanaryOf"
"""What all of them begin with, so that where none is, none need be looked for."""

LOOKED_FOR = 20
"""Characters from the beginning: what is cut to a length is found, too."""


class Canaries:
    """One secret for each way in. Each is of its own, so that one that is found says where it got out."""

    def __init__(self) -> None:
        self.by_name: dict[str, str] = {}

    def __getattr__(self, name: str) -> str:
        """The secret of this name: letters and digits only, so that most ways of escaping leave it as it is."""
        if name.startswith("_"):
            raise AttributeError(name)
        beginning = f"{HEAD}{len(self.by_name):02}{name.replace('_', '').title()}"
        return self.by_name.setdefault(name, beginning.ljust(40, "Q"))

    def add(self, name: str, value: str) -> str:
        """One that somebody else made."""
        self.by_name[name] = value
        return value


def spellings(secret: str) -> Iterator[bytes]:
    """The ways to write it: as it is, for addresses, for JSON and HTML, and all of these in hex and base64."""
    secret = secret[:LOOKED_FOR]
    raw = secret.encode()
    plain = {
        raw,
        quote(secret, safe="").encode(),
        "".join(f"%{byte:02X}" for byte in raw).encode(),
        json.dumps(secret)[1:-1].encode(),
        "".join(f"\\u{ord(sign):04x}" for sign in secret).encode(),
        "".join(f"&#x{ord(sign):x};" for sign in secret).encode(),
    }
    yield from plain
    for text in plain:
        yield text.hex().encode()
        yield text.hex().upper().encode()
    for place in range(3):
        yield from _in_base64(raw, place)


def _in_base64(raw: bytes, place: int) -> Iterator[bytes]:
    """What of it stands in base64 whatever is before and behind it, where so many bytes too many are before it."""
    head = b"\0" * place
    whole = (place + len(raw)) // 3 * 4
    cut = (0, 2, 3)[place]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(head + raw)[cut:whole]
        yield text
        yield text.hex().encode()


def found(secrets: Mapping[str, str], places: Mapping[str, bytes]) -> set[tuple[str, str]]:
    """The names of the secrets, each with the place where it is."""
    written = {name: list(spellings(secret)) for name, secret in secrets.items()}
    begun = list(spellings(HEAD))
    others = {name for name, secret in secrets.items() if not secret.startswith(HEAD)}
    return {
        (name, place)
        for place, content in places.items()
        for name in (secrets if _is_in(content, begun) else others)
        if _is_in(content, written[name])
    }


def _is_in(content: bytes, written: list[bytes]) -> bool:
    return any(text in content for text in written)


def unzipped(content: bytes) -> bytes:
    """What the files of an archive, such as a spreadsheet, hold."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return b"\n".join(archive.read(name) for name in archive.namelist())
