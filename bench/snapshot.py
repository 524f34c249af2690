"""What a million rules cost: `python3 manage.py bench snapshot`.

A Postgres of its own gets 100,000 users, 10,000 streams and 1,000 rules, then 1,000,000, of which the first 1,000 are
the same. Both are loaded as a process loads them, and asked in turn, in one run. The same people ask about the same
streams in both, so that only the size of the index differs. Asked by everybody about everything, a million rules do not
fit into the processor's cache, which no index can help; that is measured, too.
"""

import gc
import json
import os
import statistics
import time
from contextlib import closing
from datetime import UTC, datetime
from itertools import product
from random import Random

from bench.processes import cpu_ns, memory, most_memory, tree
from runner.data import new_secrets
from runner.places import scratch_folder
from runner.servers import Postgres

USERS, STREAMS, COUNTS = 100_000, 10_000, (1_000, 1_000_000)
QUESTIONS, ROUNDS, CHANGES = 10_000, 9, 100
USER = {"id": "n", "username": "'user-' || n"}
MEMBER = {"id": "n", "user_id": "n", "group_id": "1 + n / 100"}
STREAM = {"id": "n", "name": "'stream-' || n"}
RULE = {  # nine of a user's own to one of his group's; a tenth as many users and groups as rules
    "id": "n",
    "effect": "CASE WHEN n % 20 = 7 THEN 'deny' ELSE 'allow' END",
    "who": "CASE WHEN n % 10 = 0 THEN 'group' ELSE 'user' END",
    "user_id": f"CASE WHEN n % 10 > 0 THEN 1 + n / 10 % {USERS} END",
    "group_id": "CASE WHEN n % 10 = 0 THEN 1 + n / 1000 % 1000 END",
    "actions": "CASE WHEN n % 3 = 0 THEN ARRAY['publish', 'play'] ELSE ARRAY['play'] END",
    "target_kind": "(ARRAY['stream', 'exact', 'prefix', 'glob'])[n % 4 + 1]",
    "stream_id": f"CASE WHEN n % 4 = 0 THEN 1 + n * 7919 % {STREAMS} END",
    "target": f"(ARRAY['', 'stream-', 'lesson-', 'room-'])[n % 4 + 1] || "
    f"CASE n % 4 WHEN 0 THEN '' ELSE (1 + n * 7919 % {STREAMS})::text END || (ARRAY['', '', '-', '-*'])[n % 4 + 1]",
}


def main():
    folder = scratch_folder("wcsgate-bench-")
    with Postgres(folder / "postgres", password="bench", durable=False) as postgres:
        os.environ |= new_secrets() | {"WCSGATE_ENV": "demo", "DATABASE_URL": postgres.url}
        os.environ["DJANGO_SETTINGS_MODULE"] = "wcsgate.settings"
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        with closing(_connect()) as connection:
            _measure(connection, postgres)


def _connect():
    import psycopg
    from django.conf import settings

    from apps.database.connection import conninfo_of

    return psycopg.connect(conninfo_of(settings.DATABASES["default"]), autocommit=True)


def _measure(connection, postgres):
    from apps.access.snapshot import load

    _fill_people()
    snapshots, before = {}, 0
    for count in COUNTS:
        _fill_rules(before + 1, count)
        bare = _seconds(lambda: _copy(connection))
        gc.collect()
        had, both = memory(), [os.getpid(), *tree(postgres.pid)]
        cpu, started = sum(cpu_ns(both).values()), time.perf_counter()
        snapshots[count] = load(connection)
        seconds, cpu = time.perf_counter() - started, (sum(cpu_ns(both).values()) - cpu) / 1e9
        before = count
        print(
            f"{count:>9} rules: loaded in {seconds:.1f} s, with {cpu:.1f} s of CPU time of this process and Postgres; "
            f"{seconds / bare:.1f} times as long as only to copy the same rows out of Postgres; "
            f"{(memory() - had) / 1e6:.0f} MB with all users and streams, at most {most_memory() / 1e6:.0f} MB",
            flush=True,
        )
        _print_refresh(snapshots[count], connection)
    _print_sizes(snapshots)
    _print_decisions(snapshots)


# What is in the database


def _fill_people():
    from django.contrib.auth.models import Group

    from apps.accounts.models import User
    from apps.connections.models import App
    from apps.streams.models import Stream

    App(key="bench").save()
    Group.objects.bulk_create(Group(id=number, name=f"group-{number}") for number in range(1, 1002))
    _multiply(User(id=0, username="template"), 1, USERS, USER)
    _multiply(User.groups.through(id=0, user_id=1, group_id=1001), 1, USERS, MEMBER)
    _multiply(Stream(id=0, name="template"), 1, STREAMS, STREAM)


def _fill_rules(first, last):
    from apps.access.models import Rule

    template = Rule(id=0, effect="allow", who="everyone", actions=["connect"], target_kind="any")
    _multiply(template, first, last, RULE)


def _multiply(template, first, last, values):
    """Rows like the template but for these values, which are SQL over n."""
    from django.db import connection

    table, fields = template._meta.db_table, template._meta.local_concrete_fields
    chosen = [values.get(field.column, f"t.{field.column}") for field in fields]
    template.save()
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(field.column for field in fields)}) "
            f"SELECT {', '.join(chosen)} FROM {table} t, generate_series({first}::bigint, {last}) n WHERE t.id = 0"
        )
        cursor.execute(f"DELETE FROM {table} WHERE id = 0")
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        cursor.execute(f"ANALYZE {table}")


# What is measured


def _copy(connection):
    """The rows' bytes out of Postgres, of which nothing is made."""
    for table in ("accounts_user", "streams_stream", "access_rule"):
        with connection.cursor().copy(f"COPY {table} TO STDOUT") as copy:
            for _ in copy:
                pass


def _seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _print_refresh(snapshot, connection):
    """How long it takes until one changed rule is known, once this process was told."""
    from apps.access.snapshot import refresh

    taken = []
    for number in range(CHANGES):
        connection.execute("UPDATE access_rule SET enforced = NOT enforced WHERE id = %s", [1 + number % 500])
        taken.append(_seconds(lambda: refresh(snapshot, connection)))
    print(f"{'':>15}  one rule changed: known after {statistics.median(taken) * 1000:.1f} ms (median of {CHANGES})")


def _print_sizes(snapshots):
    """What the rules and their index take, counted object by object."""
    for count, snapshot in snapshots.items():
        seen = set()
        size = sum(_sizes(snapshot.rules.__dict__, seen))
        print(f"{count:>9} rules: {size / count:.0f} bytes a rule, index included")


def _sizes(value, seen):
    import sys

    if id(value) in seen:
        return
    seen.add(id(value))
    yield sys.getsizeof(value)
    if isinstance(value, dict):
        for pair in value.items():
            yield from _sizes(pair[0], seen)
            yield from _sizes(pair[1], seen)
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _sizes(one, seen)
    else:
        for name in getattr(value, "__slots__", ()) or getattr(value, "__struct_fields__", ()):
            yield from _sizes(getattr(value, name), seen)


def _print_decisions(snapshots):
    few, many = COUNTS
    own = [(1 + number // 10 % 100, 1 + number * 7919 % STREAMS) for number in range(1, few)]
    same = {count: _questions(snapshots[count], own) for count in COUNTS}
    best = _best(snapshots, same)
    print(f"the same people and streams: a decision costs {best[many] / best[few]:.2f} times as much among {many:,}")
    random = Random(1)
    anybody = [(random.randint(1, USERS), random.randint(1, STREAMS)) for _ in range(QUESTIONS)]
    best = _best(snapshots, {few: same[few], many: _questions(snapshots[many], anybody)})
    print(f"anybody and any stream: {best[many] / best[few]:.2f} times, with the cache missed")


def _questions(snapshot, asked):
    """Hooks with what is known about them, ready to be decided."""
    from apps.access.facts import Facts, Identity
    from apps.protocol.messages import HookCall
    from apps.protocol.methods import find

    app, now, method, questions = snapshot.apps.by_name["bench"], datetime.now(UTC), find("playStream"), []
    for user_id, stream in asked:
        body = {"nodeId": "n", "appKey": "bench", "sessionId": "s", "name": f"stream-{stream}"}
        call = HookCall.from_payload("playStream", method, json.dumps(body).encode())
        identity = Identity(user=snapshot.users.by_id[user_id], entered_by="token")
        questions.append((call, Facts(now=now, app=app, identity=identity, snapshot=snapshot)))
    return questions


def _best(snapshots, questions):
    """The least CPU time of a decision, of interleaved rounds."""
    from apps.access.engine import decide

    best = dict.fromkeys(COUNTS, float("inf"))
    for _, count in product(range(ROUNDS), COUNTS):
        asked = questions[count]
        repeats = max(1, QUESTIONS // len(asked))
        started = time.thread_time()
        for _ in range(repeats):
            for call, facts in asked:
                decide(call, facts)
        best[count] = min(best[count], (time.thread_time() - started) / (repeats * len(asked)))
    return best


if __name__ == "__main__":
    main()
