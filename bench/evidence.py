"""Whether any tampering with evidence is found: `python3 manage.py bench evidence`.

A cluster of its own gets a made-up past of 100,000 events (`fill_audit`), which is sealed and exported as evidence. The
file is tampered with in random places, each time in one: a bit is changed, a line removed, doubled, or exchanged with
one of another batch, a forged line is put before a true one, something is written behind a line, a value is put into
another event, or the end is cut off. Each time the file is verified until something is found. It goes on until the time
is up, says how often each was tried, and stops at what was not found.
"""

import argparse
import os
import time
from base64 import urlsafe_b64encode
from bisect import bisect
from collections import Counter
from copy import copy, deepcopy
from hashlib import sha256
from itertools import cycle
from random import Random

from bench.pages import start_django
from runner.places import remove_folder, scratch_folder
from runner.servers import Postgres

STEP = 5
"""After how many batches verifying can be gone on with."""


def main():
    arguments = _arguments()
    folder = scratch_folder("wcsgate-evidence-")
    os.environ["WCSGATE_SEAL_KEYS"] = urlsafe_b64encode(os.urandom(32)).decode()
    postgres = Postgres(folder / "postgres", password="bench")
    try:
        with postgres:
            start_django(postgres)
            _try_all(_file(arguments.events), Random(arguments.seed), arguments.seconds)
    finally:
        remove_folder(folder)


def _arguments():
    parser = argparse.ArgumentParser(prog="bench evidence", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=300, help="for how long it tries")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _file(events):
    from django.core.management import call_command
    from django.utils import timezone

    from apps.audit.proving.evidence import pieces
    from apps.audit.proving.evidence_file import lines
    from apps.audit.proving.seals import private_keys

    call_command("fill_audit", events)
    call_command("seal_audit", "--accept")  # a year of which nobody knows anything is not sealed by itself
    written = list(lines(pieces(), private_keys()[0], timezone.now()))
    assert any(line.startswith(b"seal") for line in written), "nothing is sealed"
    return written


def _try_all(lines, dice, seconds):
    tried, until = Counter(), time.monotonic() + seconds
    starts = [number for number, line in enumerate(lines) if line.startswith(b"batch")]
    detector = Detector(lines, starts)
    for tamper in cycle(TAMPERINGS):
        if time.monotonic() > until:
            break
        tampered = tamper(list(lines), dice, lambda number: bisect(starts, number))
        assert detector.finds(tampered), f"not found: {tamper.__name__}, after {tried.total()} tries"
        tried[tamper.__name__.strip("_").replace("_", " ")] += 1
    print(f"{len(lines)} lines, {sum(map(len, lines)) / 1e6:.0f} MB; each of {tried.total()} tamperings was found:")
    for name, count in tried.items():
        print(f"{count:>6} times: {name}")


class Detector:
    """Whether verifying says that a file is not whole, or does not end as it was written.

    What comes before the first line that differs was verified once, and is not again: from the batch that is nearest
    before it, verifying goes on as it was there.
    """

    def __init__(self, lines, starts):
        from apps.audit.proving.seals import trusted_keys
        from apps.audit.proving.verifying import Verifier

        self._lines, self._known = lines, [(0, Verifier(trusted_keys()), sha256())]
        for start in [*starts[STEP::STEP], len(lines)]:
            before, verifier, hashed = self._known[-1]
            going_on, hashed = _copied(verifier), hashed.copy()
            assert not self._problems(going_on, lines[before:start], hashed), "nothing was done to it yet"
            self._known.append((start, going_on, hashed))
        assert self._known[-1][1].found.ended_at

    def finds(self, lines):
        """Whether it is found in these."""
        pairs = enumerate(zip(lines, self._lines, strict=False))
        differs = next((number for number, (one, other) in pairs if one != other), min(len(lines), len(self._lines)))
        start, verifier, hashed = [known for known in self._known if known[0] <= differs][-1]
        going_on = _copied(verifier)
        problems = self._problems(going_on, lines[start:], hashed.copy())
        return bool(problems) or not going_on.found.ended_at

    def _problems(self, verifier, lines, hashed):
        """The first ones."""
        from apps.audit.proving.evidence_file import pieces_of

        def until_one_is_found():
            for piece in pieces_of(lines, hashed):
                yield piece
                if verifier.found.problems:
                    return

        try:
            return verifier.look_at(until_one_is_found()).problems
        except ValueError as error:
            return [str(error)]


def _copied(verifier):
    again = copy(verifier)
    for name, value in vars(verifier).items():
        if name != "_keys":
            setattr(again, name, deepcopy(value))
    return again


# What may be done. Each gets a copy of the lines, and what says of which batch a line is.


def _one_bit_changed(lines, dice, batch_of):
    number = dice.randrange(len(lines))
    line = bytearray(lines[number])
    line[dice.randrange(len(line) - 1)] ^= 1 << dice.randrange(7)
    lines[number] = bytes(line)
    return lines


def _a_line_removed(lines, dice, batch_of):
    del lines[dice.randrange(len(lines))]
    return lines


def _a_line_doubled_elsewhere(lines, dice, batch_of):
    first, second = _of_two_batches(lines, dice, batch_of)
    lines.insert(second, lines[first])
    return lines


def _something_written_behind_a_line(lines, dice, batch_of):
    number = dice.randrange(len(lines))
    lines[number] = lines[number][:-1] + b"\tforged\n"
    return lines


def _a_forged_line_before_the_true_one(lines, dice, batch_of):
    number = dice.choice([number for number, line in enumerate(lines[:2_000]) if line.startswith(b"event")])
    lines.insert(number, lines[number].replace(b'"effect":"', b'"effect":"not ', 1))
    return lines


def _two_lines_exchanged(lines, dice, batch_of):
    first, second = _of_two_batches(lines, dice, batch_of)
    lines[first], lines[second] = lines[second], lines[first]
    return lines


def _names_of_two_events_exchanged(lines, dice, batch_of):
    """Who it was, where everything else stays."""
    events = [_of_two_batches(lines, dice, batch_of)[0] for _ in range(500)]
    names = {number: _name(lines[number]) for number in events if lines[number].startswith(b"event")}
    first = next(number for number, name in names.items() if name)
    second = next(number for number, name in names.items() if name and name != names[first])
    for one, other in ((first, second), (second, first)):
        lines[one] = lines[one].replace(b'"username":"%b"' % names[one], b'"username":"%b"' % names[other])
    return lines


def _the_end_cut_off(lines, dice, batch_of):
    number = dice.randrange(1, len(lines))
    return [*lines[:number], lines[number][: dice.randrange(len(lines[number]))]]


def _a_batch_removed_with_its_events(lines, dice, batch_of):
    batch = batch_of(dice.randrange(len(lines) - 1))
    return [line for number, line in enumerate(lines) if batch_of(number) != batch]


TAMPERINGS = (
    _one_bit_changed,
    _a_line_removed,
    _two_lines_exchanged,
    _the_end_cut_off,
    _a_line_doubled_elsewhere,
    _a_forged_line_before_the_true_one,
    _something_written_behind_a_line,
    _names_of_two_events_exchanged,
    _a_batch_removed_with_its_events,
)


def _of_two_batches(lines, dice, batch_of):
    first = dice.randrange(len(lines))
    second = dice.randrange(len(lines))
    return (first, second) if batch_of(first) != batch_of(second) else _of_two_batches(lines, dice, batch_of)


def _name(line):
    return line.partition(b'"username":"')[2].partition(b'"')[0]


if __name__ == "__main__":
    main()
