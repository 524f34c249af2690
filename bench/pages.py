"""How long the database takes for each page of staff: `python3 manage.py bench pages`.

Clusters of their own, with the settings of `up`, get a made-up past of 100,000 and of 10,000,000 events (`fill_audit`).
Each page is asked for after Postgres was started anew and none of its files was in memory (cold), and then some times
more (warm: the best, as what else the machine does only adds to it). What counts is the time of all its queries, seen
from here, also as a ratio to looking up one event by its id, as `pgbench -S` does. Beside it stand the blocks that were
read cold, and the CPU time of Postgres warm, which say more where the machine is busy. With --folder the clusters stay
there, and are not filled again.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from bench.processes import cpu_ns, tree
from runner import ROOT
from runner.data import new_secrets
from runner.places import remove_folder, scratch_folder
from runner.servers import Postgres

COLD, WARM, TIMES = 300, 50, 3
"""At most so many milliseconds, and so many times as long among the most events as among the fewest."""

FIRST_PIECE = 100_000
"""Bytes of a file that are waited for."""

REPEATS, LOOKED_UP = 5, 1_000

COUNTED = (
    *("audit_hourcount", "audit_daycount", "audit_dayanswer", "audit_usercount", "audit_nametime"),
    *("audit_runninghour", "audit_runningday"),
)
"""What is counted ahead, for statistics."""


def main():
    arguments = _arguments()
    if arguments.one:
        Measuring(arguments.folder, arguments.events[0], arguments.only, arguments.explain).run()
        return
    folder = arguments.folder or scratch_folder("wcsgate-pages-")
    try:
        for events in arguments.events:
            own = [*(["--only", *arguments.only] if arguments.only else []), *(["--explain"] * arguments.explain)]
            one = ["--one", "--folder", str(folder / str(events)), "--events", str(events), *own]
            subprocess.run([sys.executable, "-m", "bench.pages", *one], cwd=ROOT, check=True)
        if not arguments.explain:
            _print({events: json.loads(_results(folder / str(events)).read_text()) for events in arguments.events})
    finally:
        if not arguments.folder:
            remove_folder(folder)


def _arguments():
    parser = argparse.ArgumentParser(prog="bench pages", description=__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[100_000, 10_000_000])
    parser.add_argument("--folder", type=Path, help="where the clusters are, and stay; 25 GB for 10 million events")
    parser.add_argument("--only", nargs="*", metavar="TEXT", help="only pages whose names have one of these")
    parser.add_argument("--explain", action="store_true", help="print the plans of the queries instead")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _results(folder):
    return folder / "measured.json"


class Measuring:
    """One log, in a process of its own."""

    def __init__(self, folder, events, only, explain):
        self._folder, self._events, self._only, self._explain = folder, events, only, explain
        self._postgres = Postgres(folder / "postgres", password="bench")

    def run(self):
        with self._postgres:
            start_django(self._postgres)
            fill(self._events)
            from bench.page_list import pages

            found = pages()
            chosen = {name: url for name, url in found.items() if not self._only or any(t in name for t in self._only)}
            browser = _staff()
            if self._explain:
                for name, url in chosen.items():
                    _explain(name, url, browser)
                return
            unit = _look_ups()
            measured = {name: self._measure(url, browser) for name, url in chosen.items()}
            unit = min(unit, _look_ups())
            _results(self._folder).write_text(json.dumps({"unit": unit, "pages": measured}))

    def _measure(self, url, browser):
        """Milliseconds cold and warm, and the number of queries; None where there is no such page."""
        self._forget_all()
        before = _blocks_read()
        cold = asked(browser, url)
        if cold is None:
            return None
        read = _blocks_read() - before
        warm, cpu = [], []
        for _ in range(REPEATS):
            used = sum(cpu_ns(tree(self._postgres.pid)).values())
            warm.append(asked(browser, url).ms)
            cpu.append((sum(cpu_ns(tree(self._postgres.pid)).values()) - used) / 1e6)
        result = {"cold": cold.ms, "warm": min(warm), "cpu": min(cpu), "read": read, "queries": cold.queries}
        print(f"{self._events:>9} {url} {result}", file=sys.stderr, flush=True)
        return result

    def _forget_all(self):
        """Start Postgres anew, with none of its files in memory."""
        from django.db import connection

        connection.close()
        self._postgres.stop()
        for path in self._postgres.home.rglob("*"):
            if path.is_file():
                file = os.open(path, os.O_RDONLY)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(file)
        self._postgres.start()
        self._postgres.wait_until_ready()
        connection.ensure_connection()


class Asked:
    """Adds up the time of the queries of one page, also of those on a connection of its own, as the past has one."""

    def __init__(self):
        self.ms, self.queries, self.statements = 0.0, 0, []

    @contextmanager
    def counting(self):
        import psycopg

        execute = psycopg.Cursor.execute

        def counted(cursor, query, params=None, **options):
            started = time.perf_counter()
            try:
                return execute(cursor, query, params, **options)
            finally:
                self.ms += (time.perf_counter() - started) * 1000
                self.queries += 1
                self.statements.append((query, params, (time.perf_counter() - started) * 1000))

        psycopg.Cursor.execute = counted
        try:
            yield
        finally:
            psycopg.Cursor.execute = execute


def asked(browser, url):
    """What a page asked the database; of a file, what its first piece asked. None: there is no such page."""
    found = Asked()
    with found.counting():
        response = browser.get(url)
        if response.status_code == 404:
            return None
        assert response.status_code == 200, (url, response.status_code)
        if response.streaming:
            size = 0
            for piece in response.streaming_content:
                size += len(piece)
                if size > FIRST_PIECE:
                    break
            response.close()
    return found


def _blocks_read():
    """How many blocks Postgres has asked the system for."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT blks_read FROM pg_stat_database WHERE datname = current_database()")
        return cursor.fetchone()[0]


def start_django(postgres):
    os.environ |= new_secrets() | {"WCSGATE_ENV": "demo", "DATABASE_URL": postgres.url}
    os.environ["DJANGO_SETTINGS_MODULE"] = "wcsgate.settings"
    import django
    from django.conf import settings
    from django.core.management import call_command

    django.setup()
    settings.ALLOWED_HOSTS = ["testserver"]
    call_command("migrate", verbosity=0)


def fill(events):
    """So many events, and statistics where there are any, unless all that is there."""
    from django.core.management import call_command
    from django.db import connection

    from apps.audit.models import AuditEvent
    from apps.audit.moving.changes import move_changes

    if not AuditEvent.objects.exists():
        call_command("fill_audit", events, people=True)
    while move_changes():
        pass
    call_command("count_audit", verbosity=0)
    with connection.cursor() as cursor:  # what Postgres does by itself within a minute or so
        cursor.execute(f"VACUUM (ANALYZE) {', '.join(COUNTED)}")


def _staff():
    from django.test import Client

    from apps.accounts.models import User

    user, _ = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
    browser = Client()
    browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return browser


def _look_ups():
    """Milliseconds to look up one event by its id: the median of many."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM audit_auditevent TABLESAMPLE SYSTEM (%s) LIMIT %s", [0.5, LOOKED_UP])
        ids, taken = [id_ for (id_,) in cursor.fetchall()], []
        for id_ in ids * 2:
            started = time.perf_counter()
            cursor.execute("SELECT username FROM audit_auditevent WHERE id = %s", [id_])
            cursor.fetchone()
            taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken[len(ids) :])


def _explain(name, url, browser):
    from django.db import connection

    found = asked(browser, url)
    print(f"\n=== {name}: {url}: {found.ms:.1f} ms")
    for sql, params, taken in found.statements:
        if not isinstance(sql, str):
            print(f"--- {taken:.1f} ms on a connection of its own: {str(sql)[:300]}")
        elif sql.lstrip().startswith(("SELECT", "WITH")) and "audit" in sql:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {sql}", params)
                print(f"--- {sql[:1500]}\n    {str(params)[:300]}", *(row[0] for row in cursor.fetchall()), sep="\n")


def _print(results):
    few, many = min(results), max(results)
    print(
        f"{'':52}{'queries':>8}{'blocks':>8}{'cold ms':>9}{'warm ms':>9}{'CPU ms':>8}{'cold':>8}{'warm':>8}"
        f"{f'{few:,} = 1':>14}"
    )
    for name, page in results[many]["pages"].items():
        if page is None:
            continue
        unit, fewer = results[many]["unit"], results[few]["pages"].get(name) or page
        times = page["warm"] / fewer["warm"]
        missed = [
            words
            for words, is_missed in {
                f"over {COLD} ms cold": page["cold"] > COLD,
                f"over {WARM} ms warm": page["warm"] > WARM,
                f"over {TIMES} times": times > TIMES,
            }.items()
            if is_missed
        ]
        print(
            f"{name:52}{page['queries']:>8}{page['read']:>8}{page['cold']:>9.0f}{page['warm']:>9.1f}{page['cpu']:>8.1f}"
            f"{page['cold'] / unit:>8.0f}"
            f"{page['warm'] / unit:>8.0f}{times:>14.1f}  {', '.join(missed)}"
        )
    units = ", ".join(f"{result['unit']:.2f} ms among {events:,}" for events, result in results.items())
    print(f"cold and warm: looking up one event by its id is 1; that took {units}")


if __name__ == "__main__":
    main()
