"""What one hook asks, as rules look at it. Pure.

A thing may be known by several texts: a number by each way of writing it, a stream's source by the stream's public
names. Rules may use any of them, so a ban on one is a ban on the thing.
"""

from datetime import datetime
from typing import Any

import msgspec

from apps.protocol.messages import ABSENT
from apps.protocol.numbers import NumberClassRow

_decode_custom = msgspec.json.Decoder(dict[str, Any]).decode


class Question(msgspec.Struct, frozen=True, gc=False):
    """Who asks for what, and under which circumstances.

    `targets` are the texts that rules may know the target by, the first as it came; `number` is the number in its one
    canonical form, "" for what is none; `username` is None for a guest. `media_providers` and `custom` are read only if
    a rule compares them.
    """

    action: str
    targets: tuple[str, ...]
    now: datetime
    username: str | None = None
    user_id: int | None = None
    group_ids: tuple[int, ...] = ()
    number: str = ""
    number_class: NumberClassRow | None = None
    stream_groups: tuple[int, ...] = ()
    address: str = ""
    origin: str = ""
    media_providers: str | msgspec.Raw = ABSENT
    app_key: str = ""
    node_id: str = ""
    custom: msgspec.Raw = ABSENT


def custom_of(question: Question) -> dict[str, Any]:
    """The members of `custom`; none where it is absent or null. Raises ValueError for what is no object."""
    if question.custom in (ABSENT, msgspec.Raw(b"null")):
        return {}
    try:
        return _decode_custom(question.custom)
    except msgspec.DecodeError:
        raise ValueError("What came as “custom” is no object.") from None
