"""What a fault run came to, for people."""

from collections import Counter
from dataclasses import dataclass, field

from chaos.record import Comparison

SHOWN = 10


@dataclass
class Result:
    """Of one run: what was done, and what was found."""

    seconds: float
    seed: int
    without: str = ""
    faults: Counter = field(default_factory=Counter)
    ended: list[str] = field(default_factory=list)
    empty_after: float | None = None
    waiting: tuple[int, int] = (0, 0)
    while_away: int = 0
    not_moved: int = 0
    aside: int = 0
    compared: Comparison | None = None

    @property
    def lost_or_doubled(self):
        return bool(self.compared.missing or self.compared.doubled)

    @property
    def wrong(self):
        return self.compared.wrong or self.empty_after is None or bool(self.not_moved or self.aside)


def text(result):
    parts = _heading(result), _hooks(result.compared, result.while_away), _found(result), _verdict(result)
    return "\n".join(["", *(line for part in parts for line in part)])


def _heading(result):
    without = f" WITHOUT {result.without}" if result.without else ""
    yield f"Fault run{without}: {result.seconds:g} seconds, --seed {result.seed}"
    for what, count in sorted(result.faults.items()):
        yield f"  {count:>5}  {what}"
    if result.ended:
        names = ", ".join(sorted(set(result.ended)))
        yield f"  {len(result.ended):>5}  times that something ended by itself and was started again: {names}"


def _hooks(compared, while_away):
    statuses = compared.statuses
    undecided = sum(count for status, count in statuses.items() if status not in (200, 403, None))
    yield "Hooks"
    yield f"  {compared.sent:>5}  sent, {compared.sendings} times in all"
    yield f"  {statuses[200]:>5}  answered 200"
    yield f"  {statuses[403]:>5}  answered 403"
    yield f"  {while_away:>5}  answered while Postgres was away, and recorded afterwards"
    yield f"  {undecided:>5}  answered that they could not be decided (503)"
    yield f"  {statuses[None]:>5}  without an answer"


def _found(result):
    compared = result.compared
    yield "The ledger against the record"
    for numbers, what in (
        (compared.missing, "answered hooks missing"),
        (compared.doubled, "hooks doubled"),
        (compared.wrongly_allowed, "refused subjects allowed"),
    ):
        yield f"  {len(numbers):>5}  {what}" + (f": {_some(numbers)}" if numbers else "")
    yield f"  {result.not_moved:>5}  records that could not be moved"
    yield f"  {result.aside:>5}  files with what could not be recorded"
    if result.empty_after is None:
        records, files = result.waiting
        yield f"         spool and outbox did not become empty: {records} records and {files} files are still there"
    else:
        yield f"         spool and outbox were empty {result.empty_after:.1f} s after the last hook"


def _verdict(result):
    if result.wrong:
        yield "Wrong: see above."
    else:
        yield "Nothing was lost, nothing doubled, nobody wrongly allowed."


def _some(numbers):
    return ", ".join(map(str, sorted(numbers)[:SHOWN])) + (" ..." if len(numbers) > SHOWN else "")
