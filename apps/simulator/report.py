"""What each client experienced, and how the backend answered: in plain words, or as JSON."""

import json
from collections.abc import Iterator
from typing import Any

from apps.simulator.client import Client
from apps.simulator.ledger import Tally
from apps.simulator.policies import Verdict
from apps.simulator.run import Played

_QUIET = ("waited",)
_COLUMNS = (Verdict.ALLOWED, Verdict.REFUSED, Verdict.FAILED)


def text(played: Played) -> str:
    parts = [*_heading(played)]
    if played.scenario.report == "clients":
        parts += [*map(_client, played.clients), ""]
    parts += [*_table(played.node.tally), "", *_summary(played), *_differences(played)]
    return "\n".join(parts)


def as_json(played: Played) -> str:
    tally = played.node.tally
    report = {
        "scenario": played.scenario.title,
        "url": played.url,
        "node": played.node.node_id,
        "seconds": round(played.seconds, 3),
        "hooks": _counts(tally, None) | {"sent": tally.sent, "repeats": tally.repeats},
        "hooksPerSecond": round(_rate(played), 1),
        "milliseconds": {"p50": tally.milliseconds(0.5), "p99": tally.milliseconds(0.99)},
        "methods": {method: _counts(tally, method) for method in tally.methods()},
        "clients": [_as_data(client) for client in played.clients],
        "asExpected": played.as_expected,
    }
    return json.dumps(report, indent=2, ensure_ascii=False)


def _heading(played: Played) -> Iterator[str]:
    yield played.scenario.title
    yield f"WCS node {played.node.node_id}, hooks sent to {played.url}"
    yield ""


def _client(client: Client) -> str:
    told = [experience.words for experience in client.experiences if not experience.words.startswith(_QUIET)]
    return f"{client.name}: {'; '.join(told) or 'did nothing'}."


def _table(tally: Tally) -> Iterator[str]:
    yield f"{'hook':<26}{'sent':>8}{'allowed':>9}{'refused':>9}{'failed':>8}"
    for method in tally.methods():
        yield _row(method, [tally.count(verdict, method) for verdict in _COLUMNS])
    yield _row("all", [tally.count(verdict) for verdict in _COLUMNS])


def _row(name: str, counts: list[int]) -> str:
    allowed, refused, failed = counts
    return f"{name:<26}{sum(counts):>8}{allowed:>9}{refused:>9}{failed:>8}"


def _summary(played: Played) -> Iterator[str]:
    tally = played.node.tally
    yield (
        f"{len(played.clients)} clients, {tally.sent} hooks in {played.seconds:.1f} s "
        f"({_rate(played):.0f} a second; half within {tally.milliseconds(0.5):.1f} ms, "
        f"99 in 100 within {tally.milliseconds(0.99):.1f} ms), {tally.repeats} sent again."
    )
    skipped = tally.count(Verdict.UNASKED)
    if skipped:
        yield f"{skipped} hooks were not sent, as restClientConfig says DISABLE."
    if tally.statuses[401]:
        yield f"{tally.statuses[401]} hooks were answered 401: the node's user, password or secret is wrong."


def _differences(played: Played) -> Iterator[str]:
    different = [(client, item) for client in played.clients for item in client.differences]
    if different:
        yield ""
        yield f"Not as expected ({len(different)}):"
    for client, item in different[:50]:
        yield f"  {client.name} {item.words} (expected: {item.expected})"
    if len(different) > 50:
        yield f"  and {len(different) - 50} more"


def _as_data(client: Client) -> dict[str, Any]:
    return {
        "name": client.name,
        "experiences": [
            {
                "words": item.words,
                "experience": item.experience,
                "method": item.method,
                "status": item.status,
                "expected": item.expected,
                "differs": item.differs,
            }
            for item in client.experiences
        ],
        "told": client.told,
    }


def _counts(tally: Tally, method: str | None) -> dict[str, int]:
    return {verdict.value: tally.count(verdict, method) for verdict in Verdict}


def _rate(played: Played) -> float:
    return played.node.tally.sent / played.seconds if played.seconds else 0.0
