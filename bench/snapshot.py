"""Whether deciding costs the same among a million rules as among a thousand: `python -m bench.snapshot`.

Both indexes are asked in turn, in one run; what a rule takes in memory is counted by the allocator.
"""

import gc
import time
import tracemalloc
from datetime import UTC, datetime
from itertools import product

from apps.access.compile import RuleIndex
from apps.access.matching import applies
from apps.access.question import Question
from apps.access.rows import RuleRow, UserRow

QUESTIONS = 20_000
ROUNDS = 5


def rules(count):
    """Rules about users and groups, on streams by name, by beginning and by pattern."""
    kinds = (("exact", "stream-{}"), ("prefix", "lesson-{}-"), ("glob", "room-{}-*"))
    for number in range(count):
        kind, text = kinds[number % 3]
        whom = {"who": "user", "user_id": number // 10} if number % 2 else {"who": "group", "group_id": number // 100}
        about = {"actions": ("publish", "play"), "target_kind": kind, "target": text.format(number)}
        yield RuleRow(number, "allow", **whom, **about)


def index_of(count):
    """The index, and the bytes it takes a rule."""
    gc.disable()
    tracemalloc.start()
    index = RuleIndex(rules(count))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    gc.enable()
    return index, size / count


def seconds(index, count):
    """How long it takes to find the rules in force for many questions."""
    now = datetime.now(UTC)
    asked = [
        (
            UserRow(number // 10, f"user{number}", group_ids=(number // 100, 7)),
            Question("play", (f"stream-{number}",), now),
        )
        for number in (step * count // QUESTIONS for step in range(QUESTIONS))
    ]
    started = time.perf_counter()
    for user, question in asked:
        for rule in index.candidates(user, question):
            applies(rule, question)
    return time.perf_counter() - started


def main():
    counts = (1_000, 1_000_000)
    indexes = {count: index_of(count) for count in counts}
    best = dict.fromkeys(counts, float("inf"))
    for _, count in product(range(ROUNDS), counts):
        best[count] = min(best[count], seconds(indexes[count][0], count))
    for count in counts:
        print(f"{count:>9} rules: {indexes[count][1]:.0f} bytes a rule, {best[count] / best[1_000]:.2f} times the cost")


if __name__ == "__main__":
    main()
