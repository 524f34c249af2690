"""What the hooks' tests share: other processes, and what was recorded."""

import json
from datetime import UTC, datetime
from functools import partial

from django.conf import settings

from apps.access.snapshot import SnapshotKeeper
from apps.audit.models import HookRecord
from apps.audit.moving.spool_emptying import Emptying
from apps.audit.recording.counting import Counts
from apps.audit.recording.recorder import Recorder
from apps.audit.recording.spool import Spool
from apps.connections.sessions import Sessions
from apps.database.connection import Database, conninfo_of
from apps.hooks.answer import Gate
from apps.hooks.away import Away
from apps.hooks.counts import is_known
from apps.live.calls import Calls


def conninfo():
    """The connection string of the test database."""
    return conninfo_of(settings.DATABASES["default"])


class Process:
    """A Gate as another process has it: with a snapshot, a memory of sessions and a connection of its own."""

    def __init__(self, wcs, *, database=None, keeper=None, recorder=Recorder, spool=None):
        self._wcs = wcs
        self.keeper = keeper or SnapshotKeeper(conninfo())
        self.database = Database(database or conninfo())
        sessions = Sessions(self.database)
        self.spool = spool or Spool("", 10_000_000)
        self.emptying = Emptying(database or conninfo(), self.spool)
        self.away = Away(self.keeper, sessions, self.spool, self.emptying)
        self.counts = Counts(str(self.spool.folder or ""), partial(is_known, keeper=self.keeper))
        recorder = recorder(self.database, sessions)
        self.gate = Gate(self.keeper, sessions, Calls(self.database), recorder, self.away, self.counts)

    def hook(self, method, **members):
        """Send a hook with the common members and these; gives the Answer."""
        body = json.dumps({**self._wcs.common, **members}).encode()
        return self.gate.answer(method, self._wcs.environ, body, now=datetime.now(UTC))

    def reason(self, method, **members):
        """Send a hook and give the reason of its refusal, or "" where it is allowed."""
        result = self.hook(method, **members)
        return "" if result.status == 200 else json.loads(result.body)["error"]

    def stop(self):
        self.emptying.stop()
        self.counts.stop()
        self.keeper.stop()
        self.database.close()


def recorded(**conditions):
    """What the records that meet these conditions say, oldest first."""
    return list(HookRecord.objects.filter(**conditions).order_by("id"))


def the_record(**conditions):
    """The only such record."""
    (record,) = recorded(**conditions)
    return record
