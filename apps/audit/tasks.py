"""The workers' tasks. Nudges only: whatever is lost of them, the next one makes up for."""

from celery import shared_task

from apps.audit.mover import BATCH, move_batch


@shared_task(name="audit.move_records")
def move_records(*, batch: int = BATCH, batches: int = 200, **_: object) -> int:
    """Empty the outbox, up to a bound, and say how many records were moved. Safe to run twice, and at once."""
    moved = 0
    for _number in range(batches):
        in_batch = move_batch(batch)
        moved += in_batch
        if in_batch < batch:
            break
    return moved
