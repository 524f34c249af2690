"""What was sent: one line per answered hook for later comparison, and counts for the summary."""

import hashlib
import json
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from apps.simulator.policies import Outcome, Verdict


class Ledger:
    """A file with one JSON object per answered hook, each written before WCS acts on the answer.

    A hook without an answer is not in it: whether the backend recorded that one, nobody can know.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._file.close()

    def write(self, sequence: int, outcome: Outcome, raw: bytes) -> None:
        answer = outcome.answer
        if answer is None or answer.status is None:
            return
        body = outcome.body
        line = {
            "sequence": sequence,
            "method": outcome.method,
            "node": body.get("nodeId"),
            "session": body.get("sessionId"),
            "mediaSessionId": body.get("mediaSessionId"),
            "callId": body.get("callId"),
            "status": answer.status,
            "attempts": answer.attempts,
            "answeredAt": datetime.now(UTC).isoformat(),
            "milliseconds": round(answer.seconds * 1000, 3),
            "sha256": hashlib.sha256(raw).hexdigest(),
        }
        self.put(line)

    def put(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._file.write(json.dumps(line) + "\n")


class Tally:
    """Counts of hooks by method and by how they were answered."""

    def __init__(self) -> None:
        self.verdicts: Counter[tuple[str, Verdict]] = Counter()
        self.statuses: Counter[int | None] = Counter()
        self.repeats = 0
        self.seconds: list[float] = []
        self._lock = threading.Lock()

    def add(self, outcome: Outcome) -> int:
        """Count it, and give its number."""
        answer = outcome.answer
        with self._lock:
            self.verdicts[outcome.method, outcome.verdict] += 1
            if answer:
                self.statuses[answer.status] += 1
                self.repeats += answer.attempts - 1
                self.seconds.append(answer.seconds)
            return len(self.seconds)

    @property
    def sent(self) -> int:
        return len(self.seconds)

    def count(self, verdict: Verdict, method: str | None = None) -> int:
        return sum(
            count for (name, answered), count in self.verdicts.items() if answered is verdict and method in (None, name)
        )

    def methods(self) -> list[str]:
        return sorted({method for method, _ in self.verdicts})

    def milliseconds(self, share: float) -> float:
        """The time within which that share of the hooks was answered."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0
