"""What verifying the record costs: `python3 manage.py bench verify --folder FOLDER`.

Of a log that `bench pages --folder FOLDER` left there, the first batches are verified as `verify_audit` does, each
number of them in a process of its own. Printed are the microseconds of CPU time an event, Postgres included, how
many times as much that is as only to select the same rows, and the most memory that the process had.
"""

import argparse
import os
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from bench.pages import start_django
from bench.processes import cpu_ns, most_memory, tree
from runner.servers import Postgres


def main():
    arguments = _arguments()
    with Postgres(arguments.folder / str(arguments.events) / "postgres", password="bench") as postgres:
        for batches in arguments.batches:
            process = get_context("fork").Process(target=_verify, args=(postgres, batches))
            process.start()
            process.join()


def _arguments():
    parser = argparse.ArgumentParser(prog="bench verify", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--events", type=int, default=10_000_000, help="which of the logs there")
    parser.add_argument("--batches", type=int, nargs="+", default=[200, 2_000], help="how many, of 500 events mostly")
    return parser.parse_args()


def _verify(postgres, batches):
    start_django(postgres)
    from apps.audit.proving.evidence import pieces
    from apps.audit.proving.verifying import Verifier

    selected, bare = _cpu(postgres, lambda: _select(batches))
    verified, cost = _cpu(postgres, lambda: Verifier().look_at(islice(pieces(), batches)))
    assert (verified.problems, verified.events) == ([], selected), verified.problems
    print(
        f"{batches} batches with {selected} events: {cost / selected / 1000:.0f} us an event, {cost / bare:.1f} times "
        f"as much as to select them; {most_memory() / 1e6:.0f} MB at most",
        flush=True,
    )


def _select(batches):
    """All columns of the same events, of which nothing is made; gives how many there are."""
    from django.db import connection

    from apps.audit.models import AuditEvent

    count, events = 0, AuditEvent.objects.filter(batch__range=(1, batches)).order_by("batch", "id")
    with connection.chunked_cursor() as cursor:
        cursor.execute(*events.query.sql_with_params())
        while rows := cursor.fetchmany(2_000):
            count += len(rows)
    return count


def _cpu(postgres, work):
    """What it gives, and the nanoseconds of CPU time of this process and Postgres."""
    from django.db import connection

    connection.ensure_connection()
    both = [os.getpid(), *tree(postgres.pid)]
    before = sum(cpu_ns(both).values())
    return work(), sum(cpu_ns(both).values()) - before


if __name__ == "__main__":
    main()
