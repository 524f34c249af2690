"""manage.py explain METHOD BODY.json [--as USER] [--at MOMENT] [--json]"""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.access.explain import Explanation, NoSuchUser, explain, looked_up
from apps.access.snapshot import load
from apps.access.then import NotRecorded
from apps.audit.asking.past import ask_then
from apps.database.commands import moment
from apps.database.connection import Unavailable, conninfo_of
from apps.protocol.messages import HookCall, HookTooLarge, MalformedHook
from apps.protocol.methods import find


class Command(BaseCommand):
    help = "Say how a hook would be decided, now or then, and why. Nothing is recorded or changed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("method", help="as in the hook's address, for example publishStream")
        parser.add_argument("body", help="a file with the hook's body as JSON; - for standard input")
        parser.add_argument("--as", dest="user", metavar="USER", help="decide as if this user had been recognised")
        parser.add_argument(
            "--at",
            type=moment,
            metavar="MOMENT",
            help="decide under the users and rules of then: 2026-03-03T14:00. Sessions, credentials and numbers of "
            "calls are looked up as they are today, and limits are not counted",
        )
        parser.add_argument("--json", action="store_true", help="print JSON instead of sentences")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            call = HookCall.from_payload(options["method"], find(options["method"]), _read(options["body"]))
            explanation = _explain(call, options["user"] or "", options["at"])
        except (HookTooLarge, MalformedHook, NoSuchUser, NotRecorded) as error:
            raise CommandError(str(error)) from None
        except (psycopg.OperationalError, Unavailable) as error:
            raise CommandError(f"The database does not answer: {error}") from None
        text = json.dumps(explanation.as_dict(), ensure_ascii=False, indent=2) if options["json"] else str(explanation)
        self.stdout.write(text)


def _explain(call: HookCall, user: str, at: datetime | None) -> Explanation:
    if at is not None and at <= timezone.now():
        return ask_then(
            at,
            lambda then: explain(*looked_up(call, then.snapshot), now=at, as_user=user, rules_then=then.rules),
        )
    with psycopg.connect(conninfo_of(settings.DATABASES["default"]), autocommit=True) as connection:
        snapshot = load(connection)
    return explain(*looked_up(call, snapshot), now=at or timezone.now(), as_user=user)


def _read(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"The file {name} cannot be read: {error.strerror}.") from None
