"""Who is compared, the world they answer in, and the hooks they are sent."""

import json
import os
import socket
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

from bench.load import request, send
from runner import ROOT

PASSWORD = "bench-password"
LOGIN = {"login": "bench", "password": PASSWORD}
AUTHORIZATION = "Basic " + b64encode(f"wcs:{PASSWORD}".encode()).decode()
COMMON = {
    "nodeId": "Bench47@127.0.0.1",
    "appKey": "bench",
    "sessionId": "/127.0.0.1:64604/127.0.0.1:8443",
}
CONTENDERS = {  # name: (WSGI application, settings, method, members, expected status)
    "echo": ("bench.echo:application", "wcsgate.settings", "publishStream", {"name": "lobby"}, 200),
    "floor": ("bench.floor:application", "wcsgate.settings", "publishStream", {"name": "lobby"}, 200),
    "fast door, allowed": ("bench.wsgi:fast_door", "wcsgate.settings", "publishStream", {"name": "lobby"}, 200),
    "fast door, refused": ("bench.wsgi:fast_door", "wcsgate.settings", "playStream", {"name": "secret"}, 403),
    "fast door, event": (
        "bench.wsgi:fast_door",
        "wcsgate.settings",
        "StreamStatusEvent",
        {"name": "lobby", "status": "PUBLISHING"},
        200,
    ),
    "shared commit": (
        "bench.shared_commit:application",
        "wcsgate.settings",
        "publishStream",
        {"name": "lobby"},
        200,
    ),
    "DRF door, allowed": ("bench.wsgi:django_alone", "wcsgate.settings", "publishStream", {"name": "lobby"}, 200),
    "ordinary view": ("bench.wsgi:django_alone", "bench.ordinary_settings", "publishStream", {"name": "lobby"}, 200),
}
REMEMBERING = ("bench.wsgi:fast_door", "bench.shared_commit:application")


def prepare():
    """The tables, an app, a user, and a thousand rules of which two matter."""
    subprocess.run([sys.executable, "-m", "django", "migrate", "-v0"], cwd=ROOT, env=environment(), check=True)
    code = """
import django; django.setup()
from apps.access.models import Rule; from apps.accounts.models import User; from apps.connections.models import App
user = User.objects.create_user("bench", password="bench-password")
app = App(key="bench", hook_user="wcs"); app.set_hook_password("bench-password"); app.save()
Rule.objects.create(effect="allow", who="everyone", actions=["connect"], target_kind="any")
Rule.objects.create(effect="allow", who="user", user=user, actions=["publish"], target_kind="exact", target="lobby")
Rule.objects.bulk_create(
    Rule(effect="allow", who="everyone", actions=["publish"], target_kind="exact", target=f"stream-{n}")
    for n in range(1000))
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), check=True)


def server(application, port, threads):
    """The command of a web server with one worker, else set up as by `manage.py up`."""
    return [
        *(str(Path(sys.executable).with_name("granian")), "--interface", "wsgi", "--host", "127.0.0.1"),
        *("--http", "1", "--no-ws"),
        *("--port", str(port), "--workers", "1", "--blocking-threads", str(threads)),
        *("--no-access-log", "--log-level", "warning", application),
    ]


def wait_for(port):
    """Wait until a server listens; in valgrind that takes a while."""
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.5)
    raise TimeoutError("The web server does not start.")


def connect(application, port):
    """Open the session that the hooks belong to, where the application remembers sessions."""
    if application in REMEMBERING:
        message = request("/hooks/connect", json.dumps({**COMMON, "custom": LOGIN}).encode(), AUTHORIZATION)
        _, statuses = send(port, message, 1, 1)
        assert set(statuses) == {200}, statuses


def message_for(method, members):
    """A stream hook as WCS sends it under our policy, which asks it to leave the SDP out."""
    body = {**COMMON, "mediaSessionId": "56141d10-fddc-11e6-ac3a-4d67d5b3360d", **members}
    body |= {"published": True, "hasVideo": True, "hasAudio": True, "record": False, "width": 0, "height": 0}
    body |= {"bitrate": 0, "minBitrate": 0, "maxBitrate": 0, "quality": 0, "gop": 0, "fps": 0, "audioBitrate": 0}
    body |= {"mediaProvider": "WebRTC", "custom": {}, "createDate": 1664260776957, "timeShift": -1, "history": False}
    body |= {"audioState": {"muted": False}, "videoState": {"muted": False}, "codecImpl": "", "transport": "UDP"}
    body |= {"constraints": {"audio": True, "video": {"width": 1280, "height": 720, "frameRate": 30}}}
    devices = [{"id": f"{number:064x}", "label": f"Microphone {number}", "type": "mic"} for number in range(5)]
    body |= {"localMediaInfo": {"devices": {"audio": devices}}}
    return request(f"/hooks/{method}", json.dumps(body).encode(), AUTHORIZATION)


def environment(**more):
    return {**os.environ, "DJANGO_SETTINGS_MODULE": "wcsgate.settings", "PYTHONPATH": str(ROOT), **more}
