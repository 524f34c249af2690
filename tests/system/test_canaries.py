"""Fifty secrets and more are put through every way in; none of them is found where it has no business."""

import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode, urlsafe_b64encode
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import redis

from runner import ROOT
from runner.places import free_port, postgres_binaries, scratch_folder, server_account
from runner.processes import Process
from runner.servers import Broker, Postgres
from runner.services import Web, environment, wait_until
from runner.up import BEAT, ROOT_IS_FINE, WEB, WORKER
from tests.system.browser import Browser
from tests.system.canaries import Canaries, found, unzipped
from tests.system.leaking import Wcs, access, bad_access, basic, members, signed_token

FEED = "/api/v1/audit"
WRITTEN = "WhatPeopleWriteInMessages"
"""Said in a message: what people write is stored, so it must be found wherever the record is."""


class Service:
    """Everything with secrets of its own; `places` is all that it left, by where."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.secrets, self.places = folder, Canaries(), dict[str, bytes]()
        self._stack = stack
        self.spool = folder / "spool"
        self.postgres = Postgres(folder / "postgres", password=self.secrets.database_password)
        self.broker = Broker(folder / "broker", password=self.secrets.broker_password)
        self.port = free_port()
        for name in ("encryption_key", "seal_key"):
            self.secrets.add(name, urlsafe_b64encode(os.urandom(32)).decode())
        self.environment = environment(
            DATABASE_URL=self.postgres.url,
            BROKER_URL=self.broker.url,
            WCSGATE_SECRET_KEY=self.secrets.secret_key * 2,
            WCSGATE_ENCRYPTION_KEYS=self.secrets.encryption_key,
            WCSGATE_SEAL_KEYS=self.secrets.seal_key,
            WCSGATE_DATA=str(folder / "data"),
            WCSGATE_SPOOL=str(self.spool),
            WCSGATE_STATIC_ROOT=str(folder),
            DJANGO_SUPERUSER_PASSWORD=self.secrets.admin_password,
            PYTHONWARNINGS=ROOT_IS_FINE,
        )

    def start(self) -> None:
        for server in (self.postgres, self.broker):
            self._stack.enter_context(server)
        self.manage("migrate", "--noinput")
        self.manage("createsuperuser", "--noinput", "--username", "root", "--email", "root@example.org")
        self.manage("import_access", "-", text=bad_access(self.secrets)[0], fails=True)
        self.manage("import_access", "-", text=access(self.secrets))
        web = [*WEB, "--host", "127.0.0.1", "--port", str(self.port), "wcsgate.wsgi:application"]
        beat = [*BEAT, "-s", str(self.folder / "schedule"), "--pidfile", ""]
        kinds = ("web", web, Web), ("worker", WORKER, Process), ("beat", beat, Process)
        self.processes = [
            kind(name, [sys.executable, "-m", *line], log=self.folder / f"{name}.log", env=self.environment, cwd=ROOT)
            for name, line, kind in kinds
        ]
        for process in self.processes:
            self._stack.enter_context(process)

    def manage(self, *words: str, text: str = "", fails: bool = False) -> str:
        line = [sys.executable, "manage.py", *words]
        done = subprocess.run(line, cwd=ROOT, env=self.environment, input=text, capture_output=True, text=True)
        said = done.stdout + done.stderr
        assert bool(done.returncode) is fails, said
        self.leave(f"command {words[0]}", said.encode())
        return said

    def keep(self, wcs: Wcs) -> Wcs:
        return self._stack.enter_context(closing(wcs))

    def leave(self, place: str, content: bytes) -> None:
        self.places[place] = self.places.get(place, b"") + content

    def rows(self, sql: str) -> list[tuple]:
        with psycopg.connect(self.postgres.url) as connection:
            answer = connection.execute(sql)
            return answer.fetchall() if answer.description else []

    def settled(self) -> bool:
        return not list(self.spool.glob("*.spool")) and self.rows("SELECT count(*) FROM audit_hookrecord") == [(0,)]


@pytest.fixture(scope="module")
def service():
    folder = scratch_folder("wcsgate-canaries-")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        service = Service(folder, stack)
        stack.callback(service.postgres.remove)
        service.start()
        yield service


@pytest.fixture(scope="module")
def put_through(service):
    """All secrets, through everything; then everything is stopped and what it left is gathered."""
    browser, program = Browser(service.port), Browser(service.port)
    staff_fill_in_forms(service, browser)
    staff_use_files(service, browser)
    hooks_come(service)
    postgres_is_away(service, browser, program)
    a_record_is_bad(service)
    wait_until(service.settled, "the mover")
    everything_is_read(service, browser)
    a_program_reads_the_feed(service, program)
    keys_are_revoked(service, browser, program)
    for process in reversed(service.processes):
        process.stop()
    gather(service, browser, program)
    return service


# The ways in


def staff_fill_in_forms(service, browser):
    """Every object that has a secret is made and changed, each wrongly first."""
    secrets, add, send = service.secrets, "/admin/{}/add/".format, browser.send
    login = f"/admin/login/?token={secrets.login_address}"
    send(login, username="root", password=secrets.wrong_admin_password)
    send(login, username="root", password=secrets.admin_password, expect="Log out")
    Browser(service.port).send(login, username="nobody", password=secrets.wrong_admin_password)
    user = {"username": "carol", "password1": secrets.new_user_password}
    send(add("accounts/user"), **user, password2=secrets.mistyped_password)
    send(add("accounts/user"), **user, password2=secrets.new_user_password, expect="was added")
    ((carol,),) = service.rows("SELECT id FROM accounts_user WHERE username = 'carol'")
    changed = {"password1": secrets.changed_password, "password2": secrets.changed_password}
    send(f"/admin/accounts/user/{carol}/password/", **changed)
    app = {"key": "formApp", "hook_user": "wcs"}
    send(add("connections/app"), **{**app, "hook_user": "a:b"}, new_secret=secrets.form_hook_password)
    send(add("connections/app"), **app, new_secret=secrets.form_hook_password, expect="was added")
    node = {"node_id": "form@node", "api_url": "http://127.0.0.1:9/rest-api", "api_user": "admin"}
    node |= {"new_secret": secrets.form_signing_secret, "new_api_password": secrets.form_api_password}
    send(add("connections/node"), **{**node, "api_user": ""})
    send(add("connections/node"), **node, expect="was added")
    sip = {"user": str(carol), "login": "10008", "domain": "sip.example.com", "new_password": secrets.form_sip_password}
    send(add("connections/sipaccount"), **{**sip, "port": "0"})
    send(add("connections/sipaccount"), **sip, port="5060", expect="was added")
    issuer = {"issuer": "https://form.example.org/", "new_secret": secrets.form_issuer_secret}
    send(add("connections/tokenissuer"), **issuer, leeway="1000", algorithms="HS256")
    send(add("connections/tokenissuer"), **issuer, leeway="30", algorithms="HS256", expect="was added")
    stream = {"name": "door", "source": f"rtsp://camera:{secrets.source_login}@10.0.0.9/live"}
    send(add("streams/stream"), **stream, expect="was added")
    keep_shown_once(service, browser, "issued_token", "accounts/token", user=str(carol), label="phone")
    link = {"label": "press", "stream": "door", "ends_at_0": "2030-01-01", "ends_at_1": "00:00:00"}
    keep_shown_once(service, browser, "link_token", "streams/streamlink", **link)
    service.rows("UPDATE accounts_user SET is_staff = true, is_superuser = true WHERE username = 'carol'")
    keys = {"api_key": "root", "deleted_api_key": "root", "revoked_api_key": "carol"}
    for name, user in keys.items():
        ((owner,),) = service.rows(f"SELECT id FROM accounts_user WHERE username = '{user}'")
        keep_shown_once(service, browser, name, "accounts/apikey", user=str(owner), label=name)


def keep_shown_once(service, browser, name, model, **fields):
    """What is shown once, in the page that shows it and nowhere else."""
    before = dict(browser.pages)
    page = browser.send(f"/admin/{model}/add/", **fields, expect="only time")
    browser.pages = before
    service.secrets.add(name, re.search(r'<code class="wcsgate-secret"[^>]*>([^<]{20,})<', page)[1])


def staff_use_files(service, browser):
    for content in [*bad_access(service.secrets), access(service.secrets)]:
        browser.send("/admin/access/file/", do="look", files={"file": content.encode()})
    browser.send("/admin/access/file/", do="export-yaml", keep="access file")
    browser.send("/admin/access/file/", do="export-sheet", keep="spreadsheet")
    service.leave("access file", unzipped(browser.pages.pop("spreadsheet")))
    service.leave("access file", service.manage("export_access", "-").encode())


def hooks_come(service):
    secrets = service.secrets
    secrets.add("signed_token", signed_token(secrets.issuer_secret))
    service.wcs = wcs = service.keep(Wcs(service.port, secrets))
    service.hooks = wcs.put_through(every=4)
    said = {"nodeId": "n@1", "appKey": "defaultApp", "sessionId": "/192.0.2.7:1/token", "id": "said", "body": WRITTEN}
    wcs.send("MessageStatusEvent", json.dumps(said).encode(), basic(secrets.hook_password), "written")
    wait_until(service.settled, "the mover")


def postgres_is_away(service, browser, program):
    """What comes then is in the spool, of which something is torn as well."""
    service.postgres.kill()
    service.hooks += service.wcs.put_through(every=8)
    browser.get(f"/admin/?token={service.secrets.page_address}")
    browser.get(f"/readyz?token={service.secrets.page_address}")
    assert "database-away" in program.get(FEED, Authorization=f"Bearer {service.secrets.api_key}")
    for file in service.spool.iterdir():
        service.leave(f"spool: {file.suffix}", file.read_bytes())
        if file.suffix == ".spool":
            whole = file.read_bytes()
            (service.spool / f"19990101T000000-1-{file.stem[-8:]}.spool").write_bytes(whole[:-40] + b"x" * 40)
    service.postgres.start()
    service.postgres.wait_until_ready()
    wait_until(lambda: list(service.spool.glob("*.aside")), "what is torn to be put aside")
    wait_until(service.settled, "the spool")


def a_record_is_bad(service):
    service.rows(
        "ALTER TABLE audit_auditevent ADD CONSTRAINT picky CHECK (method <> 'SessionDebugStatusEvent') NOT VALID"
    )
    service.hooks += service.wcs.put_through("SessionDebugStatusEvent")
    wait_until(lambda: service.rows("SELECT 1 FROM audit_badrecord LIMIT 1"), "a bad record")


def a_program_reads_the_feed(service, program):
    """With a key, and with what is none; a key that is good comes also where it does not belong."""
    secrets, good = service.secrets, service.secrets.api_key

    def answered(authorization, query=""):
        return program.get(f"{FEED}{query}", Authorization=authorization)

    page = json.loads(answered(f"Bearer {good}"))
    while page["more"]:
        page = json.loads(answered(f"Bearer {good}", f"?after={page['next']}"))
    assert '"bad-key"' in answered(f"Bearer wcsgate_{secrets.wrong_api_key}")
    for authorization in (f"Token {good}", f"Basic {b64encode(f'x:{good}'.encode()).decode()}", good):
        assert '"not-authenticated"' in answered(authorization)
    for name, error in ("after", "bad-cursor"), ("since", "bad-since"), ("from", "bad-from"), ("limit", "bad-limit"):
        assert f'"{error}"' in answered(f"Bearer {good}", f"?{name}={good}")
    assert '"unknown-parameter"' in answered(f"Bearer {good}", f"?key={good}")
    hook = {"nodeId": "n@1", "appKey": "defaultApp", "sessionId": "/192.0.2.7:1/key"}
    service.wcs.send("connect", json.dumps(hook).encode(), f"Bearer {good}", "with an API key")


def keys_are_revoked(service, browser, program):
    """One by itself, and one with all that its user had."""
    ((deleted,),) = service.rows("SELECT id FROM accounts_apikey WHERE label = 'deleted_api_key'")
    browser.send(f"/admin/accounts/apikey/{deleted}/delete/", expect="was deleted", post="yes")
    ((carol,),) = service.rows("SELECT id FROM accounts_user WHERE username = 'carol'")
    browser.send(
        "/admin/accounts/user/", expect="Logged out everywhere: 1", action="log_out", _selected_action=str(carol)
    )
    for name, error in ("deleted_api_key", "bad-key"), ("revoked_api_key", "revoked-key"):
        assert f'"{error}"' in program.get(FEED, Authorization=f"Bearer {service.secrets.by_name[name]}")
    browser.get("/admin/accounts/apikey/")
    for (key,) in service.rows("SELECT id FROM accounts_apikey"):
        browser.get(f"/admin/accounts/apikey/{key}/change/")
    wait_until(lambda: service.rows("SELECT count(*) FROM audit_changerecord") == [(0,)], "the mover of changes")


# What is left


def everything_is_read(service, browser):
    secrets, log = service.secrets, "/admin/audit/auditevent/"
    browser.get(log)
    browser.send(log, to="/admin/audit/export/ask/?format=jsonl")
    for kind in ("csv", "jsonl"):
        service.leave(f"export {kind}", browser.get(f"{log}export/?format={kind}").encode())
    wait_until(lambda: service.rows("SELECT 1 FROM audit_export WHERE state = 'ready'"), "the export")
    ((export,),) = service.rows("SELECT id FROM audit_export")
    service.leave("export in the background", browser.get(f"/admin/audit/export/{export}/file/").encode())
    session, node = quote("/192.0.2.7:1/token", safe=""), quote("Hw47@192.168.1.101", safe="")
    for story in (
        f"session/?node={node}&session={session}",
        "stream/?name=door",
        "user/?name=alice",
        "call/?call=said",
    ):
        browser.get(f"/admin/stories/{story}")
    for (event,) in service.rows("SELECT DISTINCT ON (reason) id FROM audit_auditevent"):
        browser.get(f"{log}{event}/change/")
    for (bad,) in service.rows("SELECT id FROM audit_badrecord LIMIT 3"):
        browser.get(f"/admin/audit/badrecord/{bad}/change/")
    browser.get(FEED)
    for page in ("", "live/lease/", "connections/session/", "audit/auditevent/timeline/", "audit/missing/", "ask/"):
        browser.get(f"/admin/{page}")
    for page in (
        "/metrics",
        "/readyz",
        "/healthz",
        f"/nowhere/?token={secrets.page_address}",
        f"/admin/x/?q={secrets.page_address}",
    ):
        browser.get(page)
    service.manage("export_evidence", str(service.folder / "evidence"))
    service.leave("evidence", (service.folder / "evidence").read_bytes())
    body = {"nodeId": "n@1", "appKey": "defaultApp", "sessionId": "s", **members(secrets)}
    service.manage("explain", "publishStream", "-", "--json", text=json.dumps(body))


def gather(service, browser, program):
    service.secrets.add("session_cookie", browser.cookie("sessionid"))
    service.secrets.add("csrf_cookie", browser.cookie("csrftoken"))
    with redis.Redis.from_url(service.broker.url) as broker:
        for key in broker.scan_iter():
            service.leave("broker", key + (broker.dump(key) or b""))
    for file in (service.broker.folder / "appendonlydir").iterdir():
        service.leave("broker", file.read_bytes())
    for file in service.spool.iterdir():
        service.leave(f"spool: {file.suffix}", file.read_bytes())
    for log in service.folder.glob("*.log"):
        service.leave(f"log of {log.stem}", log.read_bytes())
    dump = [postgres_binaries(server_account()) / "pg_dump", service.postgres.url]
    service.leave("dump", subprocess.run(dump, capture_output=True, check=True).stdout)
    service.leave("refusals", service.wcs.answers)
    for name, content in [*browser.pages.items(), *program.pages.items()]:
        service.leave(name, content)


# What must be so

KEPT = {
    "source_login": {"dump", "access file", "command export_access"},
    "login_address": {"/admin/login/", "POST /admin/login/"},
}
"""Secrets that are kept where they are needed in clear, as docs/threat-model.md says; and that of an address, which is
in the form that it leads to."""

RECORDED = {"dump", "export jsonl", "export in the background", "evidence", FEED}
"""Where the body of a hook is."""


ANSWERED = {
    "by token": 200, "by password": 200, "signed token": 200, "own name": 200, "refused": 200, "other session": 200,
    "signed": 200, "wrong signature": 401, "wrong login": 401, "unknown app": 200, "malformed": 400, "not stored": 200,
    "too large": 413, "written": 200, "with an API key": 401,
}  # fmt: skip
"""The best answer that anything of each kind got; of what is refused, events are still noted."""


def test_no_secret_is_anywhere(put_through):
    assert len(put_through.secrets.by_name) >= 50
    leaks = found(put_through.secrets.by_name, put_through.places)
    for name, kept_in in KEPT.items():
        assert {place for found_name, place in leaks if found_name == name} >= kept_in, (
            "The search finds what is there."
        )
    assert [leak for leak in leaks if leak[1] not in KEPT.get(leak[0], ())] == []


def test_they_came_in_every_way_and_were_answered_as_they_should(put_through):
    statuses = put_through.wcs.statuses
    assert {kind: min(answers) for kind, answers in statuses.items()} == ANSWERED
    assert {403, 503} <= set.union(*statuses.values()), "refused, and while Postgres was away not decided"


def test_what_people_write_is_found_wherever_the_record_is(put_through):
    """The search would find a secret, too."""
    places = {place for _, place in found({"written": WRITTEN}, put_through.places)}
    assert places >= RECORDED


def base64_behind(text):
    return lambda secret: b64encode(f"{text}{secret} and more".encode())


def in_hex(secret):
    return secret.encode().hex()


@pytest.mark.parametrize("write", [str.encode, quote, json.dumps, base64_behind("a"), base64_behind("bc"), in_hex])
def test_the_search_finds_every_spelling(write):
    secret = "CanaryOf00Something else"
    text = write(secret)
    content = b"before " + (text if isinstance(text, bytes) else text.encode()) + b" behind"
    assert found({"it": secret}, {"here": content}) == {("it", "here")}
    assert found({"it": secret}, {"here": content[::-1]}) == set()
