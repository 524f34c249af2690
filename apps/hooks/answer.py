"""The flow of one hook: read it, check the caller, decide, record, answer. Knows no web framework."""

import logging
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from http import HTTPStatus

from django.conf import settings

from apps.access.callers import caller_address
from apps.access.compile import Snapshot
from apps.access.engine import decide
from apps.access.facts import Facts
from apps.access.snapshot import SnapshotKeeper, facts_for, session_of, snapshot_keeper
from apps.audit.recording.counting import Counts, Ticket
from apps.audit.recording.recorder import Recorder
from apps.audit.recording.token_uses import uses_token
from apps.connections.sessions import Sessions
from apps.database.connection import StatementFailed, Unavailable
from apps.database.hook_path import hook_database
from apps.hooks.authentication import CallerRefused, authenticate
from apps.hooks.away import Away, emptying, spool
from apps.hooks.counts import counts, publishing
from apps.hooks.replies import Answer, log_in, problem, reply
from apps.live.calls import Calls
from apps.protocol.messages import MAX_BYTES, HookCall, HookTooLarge, MalformedHook
from apps.protocol.methods import find

logger = logging.getLogger(__name__)

_METHOD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,99}")


class AccessKeepsChanging(Exception):
    """Rules or sessions changed under every attempt to decide, until the time was up."""


Read = Callable[[int], bytes]
"""Gives so many bytes of a request's body, or what there is."""


def answer(wire_name: str, environ: Mapping[str, str], read: Read, *, now: datetime) -> Answer:
    """Answer one hook.

    Takes the method as in the address, the request's headers as CGI variables, and what reads the raw body. Whatever
    fails, the answer is not 200: nobody is let in by a fault.
    """
    if early := _answer_unread(wire_name, environ):
        return early
    body = _read_body(read, environ)
    try:
        return _gate().answer(wire_name, environ, body, now=now)
    except HookTooLarge as error:
        return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", str(error))
    except MalformedHook as error:
        return problem(HTTPStatus.BAD_REQUEST, "malformed", str(error))
    except CallerRefused as error:
        logger.warning("A hook %r from %r was refused: %s", wire_name[:50], caller_address(environ), error)
        return log_in() if error.login_wanted else problem(HTTPStatus.FORBIDDEN, "caller-refused", str(error))
    except (Unavailable, StatementFailed, AccessKeepsChanging) as error:
        logger.error("A hook %r could not be decided: %s", wire_name[:50], error)
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE, "could-not-decide", "The hook could not be decided and recorded in time."
        )
    except Exception:
        logger.exception("A hook %r met a fault in WCS Gate", wire_name[:50])
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "fault", "WCS Gate met a fault of its own.")


def _answer_unread(wire_name: str, environ: Mapping[str, str]) -> Answer | None:
    """The answer to what need not be read to be refused; None for what may be a hook."""
    if environ["REQUEST_METHOD"] != "POST":
        return problem(HTTPStatus.METHOD_NOT_ALLOWED, "not-post", "Hooks are sent with POST.", ("Allow", "POST"))
    if not is_json(environ.get("CONTENT_TYPE", "")):
        return problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not-json", "A hook has the content type application/json, in UTF-8."
        )
    if not _METHOD_NAME.fullmatch(wire_name):  # mirroring it would let in whatever a mistyped address sends
        return problem(HTTPStatus.BAD_REQUEST, "not-a-method", "The address does not end with the name of a method.")
    if _declared_length(environ) > MAX_BYTES:
        return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", f"A body may have at most {MAX_BYTES} bytes.")
    return None


class Gate:
    """What answering needs in this process: the snapshot, the sessions, the calls, the recorder and the counts."""

    def __init__(
        self, keeper: SnapshotKeeper, sessions: Sessions, calls: Calls, recorder: Recorder, away: Away, counts: Counts
    ) -> None:
        self._keeper = keeper
        self._sessions = sessions
        self._calls = calls
        self._recorder = recorder
        self._away = away
        self._counts = counts

    def answer(self, wire_name: str, environ: Mapping[str, str], body: bytes, *, now: datetime) -> Answer:
        """Read, check the caller, decide and record; once, unless access changes under us. Where Postgres is away, what
        may be is recorded in the spool, under the id that it may have been written under after all."""
        call = HookCall.from_payload(wire_name, find(wire_name), body)
        deadline = time.monotonic() + settings.HOOK_TIME_LIMIT
        ticket = self._counts.take(call.node_id, now)
        try:
            snapshot = self._keeper.current(deadline)
            while time.monotonic() < deadline:
                revision = snapshot.revision  # read before anything else of it: see Snapshot
                answered = self._attempt(ticket, call, snapshot, revision, environ, body, now, deadline)
                if answered is not None:
                    ticket.recorded()
                    return answered
                if self._recorder.revision(deadline) != revision:
                    snapshot = self._keeper.other_than(revision, deadline)
                ticket.unused()
                ticket = self._counts.take(call.node_id, now)
            raise AccessKeepsChanging("Access kept changing.")
        except CallerRefused:
            ticket.unused()
            raise
        except (Unavailable, StatementFailed) as error:
            decision = self._away.decision(ticket, call, environ, body, now) if error.in_trouble else None
            if decision is None:
                raise
            ticket.recorded()
            return reply(call, body, decision)
        finally:
            ticket.failed()  # unless it has ended otherwise

    def _attempt(
        self,
        ticket: Ticket,
        call: HookCall,
        snapshot: Snapshot,
        revision: int,
        environ: Mapping[str, str],
        body: bytes,
        now: datetime,
        deadline: float,
    ) -> Answer | None:
        """The answer as of this revision; None where there is another one by now."""
        app = snapshot.apps.by_name.get(call.app_key)
        node = snapshot.nodes.by_name.get(call.node_id)
        try:
            authenticate(app, node, snapshot, environ, body)
        except CallerRefused:  # a login or network set a moment ago may not have reached this process yet
            if self._recorder.revision(deadline) == revision:
                raise
            return None
        session = session_of(call, snapshot, self._sessions, deadline)
        call = self._calls.with_number(call, deadline)
        facts = facts_for(call, snapshot, session, app, now)
        decision = decide(call, facts)
        time_up = time.monotonic() + settings.HOOK_TIME_LIMIT
        self._recorder.expect_an_answer()
        ticket.sent = True
        recorded = self._recorder.commit(
            ticket.id, call, body, facts, decision, session, revision=revision, deadline=time_up
        )
        if uses_token(facts, decision) and (recorded is None or recorded.allowed):
            self._note_use(call, facts, snapshot, deadline, recorded=recorded is not None)
        if recorded is None:
            return None
        if recorded.failed_rule_ids:
            logger.error("Rules %s raised an error while deciding", recorded.failed_rule_ids)
        return reply(call, body, recorded)

    def _note_use(self, call: HookCall, facts: Facts, snapshot: Snapshot, deadline: float, *, recorded: bool) -> None:
        """Keep in memory who has used a token for single use, which only recording finds out for sure."""
        token = facts.identity.token
        used_by = (call.node_id, call.session_id) if recorded else self._recorder.use_of(token, deadline)
        if used_by is not None:
            snapshot.note_use(token, used_by)


@lru_cache(maxsize=1)
def _gate() -> Gate:
    database = hook_database()
    sessions = Sessions(database)
    return Gate(
        snapshot_keeper(),
        sessions,
        Calls(database),
        Recorder(database, sessions),
        Away(snapshot_keeper(), sessions, spool(), emptying()),
        counts(),
    )


def start() -> None:
    """What a process does when it begins: take over what others that died have left, and tell what it counts."""
    emptying().look()
    publishing().start()


def _read_body(read: Read, environ: Mapping[str, str]) -> bytes:
    """The body of a request, or one byte more than is allowed where it is longer."""
    length = _declared_length(environ) if environ.get("CONTENT_LENGTH") else MAX_BYTES + 1
    return read(max(0, min(length, MAX_BYTES + 1)))


def _declared_length(environ: Mapping[str, str]) -> int:
    """What the request says its body has in bytes; 0 where it says nothing, or nonsense."""
    try:
        return int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


@lru_cache(maxsize=64)
def is_json(content_type: str) -> bool:
    """Whether a content type says JSON in UTF-8; it need not name the charset."""
    media_type, _, parameters = content_type.lower().partition(";")
    return media_type.strip() == "application/json" and parameters.replace(" ", "") in (
        "",
        "charset=utf-8",
        'charset="utf-8"',
    )
