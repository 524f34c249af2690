"""What moving a record into the audit log costs: `python3 manage.py bench mover`.

A Postgres of its own gets an outbox of realistic records: sessions that connect, publish, are kept alive, are refused
and end. Workers empty it by the task that the real ones run; beside that, Postgres alone inserts the same records as
events, by one bare `INSERT ... SELECT`: the least that keeping them can cost, with all indexes. Rounds are interleaved
and the cheapest of each counts. The cost is CPU time, of the workers and of Postgres; compare it within a run only.

`--against FOLDER` also measures the movers of another checkout, which must have the same tables.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.contenders import message_for, prepare
from bench.processes import cpu_ns, tree
from runner import ROOT
from runner.data import new_secrets
from runner.places import scratch_folder
from runner.servers import Postgres

WORKER = """
import sys, time
import django; django.setup()
from apps.audit.models import HookRecord
from apps.audit.tasks import move_records
print("ready", flush=True)
for _line in sys.stdin:
    while HookRecord.objects.exists():
        move_records() or time.sleep(0.02)
    print("done", flush=True)
"""
EMPTIED = """audit_hookrecord, audit_auditevent, audit_batch, audit_badrecord, audit_changerecord, audit_counted,
    audit_hourcount, audit_daycount, audit_dayanswer, audit_usercount, access_triedout, live_lease"""
FILL = "INSERT INTO audit_hookrecord SELECT * FROM bench_record"
BARE = """WITH taken AS (SELECT id, received_at, method, node_id, app_key, session_id, media_session_id, call_id,
        status, action, target, client_address, username, effect, reason, rule_ids, logged_rule_ids, told, revision,
        while_away, body, user_id FROM audit_hookrecord)
    INSERT INTO audit_auditevent (id, received_at, method, node_id, app_key, session_id, media_session_id, call_id,
        status, action, target, client_address, username, effect, reason, rule_ids, logged_rule_ids, told, revision,
        while_away, body, user_id, rules, number, repeats, last_received_at, repeat_ids, digest, batch)
    SELECT taken.*, '{}', '', 0, received_at, '{}', uuid_send(id), 1 FROM taken"""
MOVED = "SELECT sum(1 + repeats) FROM audit_auditevent WHERE reason <> 'staff-action'"
COLUMNS = """id received_at method node_id app_key session_id media_session_id call_id status action target
    client_address username effect reason rule_ids logged_rule_ids revision body user_id""".split()

STORY = (  # of a session: method, members, action, target, status, effect, reason
    ("connect", {}, "connect", "", "", "allow", "allowed-by-rule"),
    ("ConnectionStatusEvent", {"status": "ESTABLISHED"}, "notify", "", "ESTABLISHED", "allow", "not-refusable"),
    ("publishStream", {"name": "{name}"}, "publish", "{name}", "PENDING", "allow", "allowed-by-rule"),
    ("StreamStatusEvent", {"name": "{name}", "status": "PUBLISHING"}, "notify", "{name}", "PUBLISHING", "allow", ""),
    ("StreamKeepAliveEvent", {"name": "{name}"}, "publish", "{name}", "", "allow", "allowed-by-rule"),
    ("playStream", {"name": "secret"}, "play", "secret", "PENDING", "deny", "no-rule"),
    ("sendMessage", {"to": "+4930{number}"}, "message", "+4930{number}", "", "allow", "allowed-by-rule"),
    ("StreamKeepAliveEvent", {"name": "{name}"}, "publish", "{name}", "", "allow", "allowed-by-rule"),
    ("StreamStatusEvent", {"name": "{name}", "status": "UNPUBLISHED"}, "notify", "{name}", "UNPUBLISHED", "allow", ""),
    ("ConnectionStatusEvent", {"status": "DISCONNECTED"}, "notify", "", "DISCONNECTED", "allow", "not-refusable"),
)


def main():
    arguments = _arguments()
    folder = scratch_folder("wcsgate-bench-")
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres(folder / "postgres", password="bench", durable=True))
        os.environ |= new_secrets() | {"WCSGATE_ENV": "demo", "DATABASE_URL": postgres.url}
        os.environ |= {"DJANGO_SETTINGS_MODULE": "wcsgate.settings", "WCSGATE_NO_BOOTSTRAP": "1"}
        prepare()
        import django
        import psycopg

        django.setup()
        connection = stack.enter_context(closing(psycopg.connect(postgres.url, autocommit=True)))
        _write_records(connection, arguments.records)
        movers = {"now": ROOT} | ({"before": Path(arguments.against).resolve()} if arguments.against else {})
        started = {
            (name, count): [_start(stack, checkout) for _ in range(count)]
            for name, checkout in movers.items()
            for count in arguments.workers
        }
        _print(_measure(connection, postgres, started, arguments), arguments)


def _arguments():
    parser = argparse.ArgumentParser(prog="bench mover", description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 3], help="how many at once")
    parser.add_argument("--against", metavar="FOLDER", help="another checkout")
    return parser.parse_args()


def _write_records(connection, count):
    connection.execute("CREATE TABLE bench_record (LIKE audit_hookrecord INCLUDING DEFAULTS)")
    with connection.cursor() as cursor, cursor.copy(f"COPY bench_record ({', '.join(COLUMNS)}) FROM STDIN") as copy:
        for number in range(count):
            copy.write_row(_record(number, count))


def _record(number, count):
    """The number-th record: a hundred sessions at a time go through the story, a millisecond a hook."""
    from apps.audit.ids import numbered_id

    block, within = divmod(number, 100 * len(STORY))
    step, session = divmod(within, 100)
    session += block * 100
    method, members, action, target, status, effect, reason = STORY[step]
    names = {"name": f"stream-{session % 1000}", "number": session}
    request = message_for(method, {key: value.format(**names) for key, value in members.items()})
    told = json.loads(request.partition(b"\r\n\r\n")[2]) | {
        "sessionId": f"/127.0.0.1:{session}/127.0.0.1:8443",
        "mediaSessionId": f"media-{session}",
    }
    at = datetime.now(UTC) - timedelta(minutes=10) + timedelta(milliseconds=number)
    return [
        *(numbered_id(at, 1 + session % 8, 1 + number), at, method, told["nodeId"], told["appKey"], told["sessionId"]),
        *("" if step in (0, 1, 9) else told["mediaSessionId"], "", status, action, target.format(**names)),
        *(f"192.0.2.{session % 250}", f"user-{session % 500}", effect, reason or "not-refusable"),
        *([1] if reason == "allowed-by-rule" else [], [], 7, json.dumps(told).encode(), session % 500),
    ]


def _start(stack, checkout):
    worker = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    stack.callback(worker.stdin.close)
    assert worker.stdout.readline() == "ready\n"
    return worker


def _measure(connection, postgres, started, arguments):
    """Seconds of CPU of workers and of Postgres, and seconds by the clock, of each round of each contender."""
    results = {name: [] for name in ("bare", *started)}
    for _ in range(arguments.rounds):
        for name in results:
            connection.execute(f"TRUNCATE {EMPTIED} CASCADE")
            connection.execute(FILL)
            results[name].append(_round(connection, postgres, started.get(name, ())))
            moved = connection.execute(MOVED).fetchone()[0]
            assert moved == arguments.records, (name, moved)
    return results


def _round(connection, postgres, workers):
    pids = [worker.pid for worker in workers]
    before, began = (_used(pids), _used(tree(postgres.pid))), time.monotonic()
    if not workers:
        connection.execute(BARE)
    for worker in workers:
        print("go", file=worker.stdin, flush=True)
    for worker in workers:
        assert worker.stdout.readline() == "done\n"
    seconds = time.monotonic() - began
    return _used(pids) - before[0], _used(tree(postgres.pid)) - before[1], seconds


def _used(pids):
    return sum(cpu_ns(pids).values()) / 1e9


def _print(results, arguments):
    best = {name: min(rows, key=lambda row: row[0] + row[1]) for name, rows in results.items()}
    bare = sum(best["bare"][:2])
    print(f"{'':26}{'us a record: Python':>20}{'Postgres':>10}{'together':>10}{'bare = 1':>10}{'records/s':>11}")
    for name, (python, database, seconds) in best.items():
        title = name if name == "bare" else f"{name[0]}, {name[1]} worker{'s' * (name[1] > 1)}"
        costs = [f"{1e6 * cost / arguments.records:.0f}" for cost in (python, database, python + database)]
        ratio, rate = f"{(python + database) / bare:.2f}", f"{arguments.records / seconds:.0f}"
        print(f"{title:26}{costs[0]:>20}{costs[1]:>10}{costs[2]:>10}{ratio:>10}{rate:>11}")
    print(f"CPU time; the best of {arguments.rounds} rounds of {arguments.records} records")


if __name__ == "__main__":
    main()
