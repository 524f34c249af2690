"""The service with a protection taken out: what the fault run must notice.

Nothing in the service knows of this: pieces are replaced from outside, in processes that start from `twin_web` and
`twin_worker`. That there is no spool is a matter of settings, so it needs none of this.
"""

import os
import queue
import threading
import time
from contextlib import suppress

ON_ITS_WAY = 1.0
"""Seconds that a record is on its way, where it is written only after the answer."""

IN_BETWEEN = 2.0
"""Seconds between the two commits of a mover as it must not be, so that a kill hits them soon."""


def change():
    """Take out what CHAOS_WITHOUT names; Django must be set up."""
    {"outbox": answer_before_the_record, "exactly-once": move_in_two_commits}[os.environ["CHAOS_WITHOUT"]]()


def answer_before_the_record():
    """The record of what happened is handed on, as to a broker, and written when its hook has been answered."""
    from apps.audit.recording.recorder import Recorder
    from apps.protocol.methods import EVENT

    commit = Recorder.commit
    handed_on = queue.SimpleQueue()

    def hand_on(self, record_id, call, body, facts, decision, session, **options):
        if call.method is None or call.method.kind is not EVENT:
            return commit(self, record_id, call, body, facts, decision, session, **options)
        options["deadline"] += ON_ITS_WAY
        handed_on.put((time.monotonic() + ON_ITS_WAY, (self, record_id, call, body, facts, decision, session), options))
        return decision

    def write():
        while True:
            due, record, options = handed_on.get()
            time.sleep(max(0.0, due - time.monotonic()))
            with suppress(Exception):
                commit(*record, **options)

    threading.Thread(target=write, daemon=True).start()
    Recorder.commit = hand_on


def move_in_two_commits():
    """The outbox is emptied in one transaction, and what was in it is put where it belongs in a second one."""
    from django.db import transaction

    from apps.audit import tasks
    from apps.audit.models import HookRecord

    move_batch = tasks.move_batch

    def take_out_first(limit=500):
        records = list(HookRecord.objects.order_by("id")[:limit])
        if not records:
            return 0
        HookRecord.objects.filter(id__in=[record.id for record in records]).delete()
        time.sleep(IN_BETWEEN)
        with transaction.atomic():
            HookRecord.objects.bulk_create(records)
            return move_batch(limit)

    tasks.move_batch = take_out_first
