"""A worker that is killed in the middle of a batch. Killed at random, with all else: `tests/system/test_chaos.py`."""

import pytest
from django.db import transaction

from apps.audit.models import AuditEvent, HookRecord
from apps.audit.moving.mover import move_batch


@transaction.atomic
def move_and_die():
    move_batch()
    raise KeyboardInterrupt


def test_what_a_killed_worker_had_begun_is_done_by_the_next(wcs, school):
    wcs.hook("connect", custom={"token": "tok-alice"})
    with pytest.raises(KeyboardInterrupt):
        move_and_die()
    assert (HookRecord.objects.count(), AuditEvent.objects.count()) == (1, 0)
    move_batch()
    assert (HookRecord.objects.count(), AuditEvent.objects.count()) == (0, 1)
