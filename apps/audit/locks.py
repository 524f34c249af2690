"""Advisory locks of the audit log, each a number of its own: who has one is the only one at that work."""

from enum import IntEnum


class AdvisoryLock(IntEnum):
    """Held until the end of a transaction. The numbers begin with “WCSG”."""

    BATCHES = 0x5743_5347
    PARTITIONS = 0x5743_5348
    MEASURING = 0x5743_5349
    GAPS = 0x5743_534A
