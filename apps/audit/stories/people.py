"""Who is meant by the beginning of a name: users, and whoever else stands in the audit log."""

from functools import reduce
from operator import or_

from django.db.models import Q

from apps.accounts.models import User
from apps.audit.browsing.names import MOST, names_in_log


def people(begins: str, *, users: bool, log: bool) -> list[str]:
    """Names that begin so, in any usual letter case; of users, and of whoever is in the log, as far as these may be
    told. Each is a look into an index.
    """
    spelled = {begins, begins.lower(), begins.upper(), begins.capitalize()}
    found: set[str] = set()
    if users:
        fitting = reduce(or_, (Q(username__startswith=one) for one in sorted(spelled)))
        found |= set(User.objects.filter(fitting).order_by("username").values_list("username", flat=True)[:MOST])
    if log:
        found |= {name for one in sorted(spelled) for name in names_in_log("user", one)}
    return sorted(found)[:MOST]
