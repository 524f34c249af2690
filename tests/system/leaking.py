"""Hooks with a secret in every place where one may come, and the access data that has the other secrets."""

import hmac
import json
from base64 import b64encode
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import jwt

from tests.system.canaries import Canaries

PAYLOADS = sorted((Path(__file__).parent.parent / "payloads").glob("*.json"))
NODE, SIGNING_NODE, APP, OTHER_APP = "Hw47@192.168.1.101", "signs@192.168.1.102", "defaultApp", "ticketApp"
ISSUER = "https://login.example.org/"
ACTIONS = "publish, play, call, answer, hold, transfer, dtmf, message, subscribe, xcap, receive-call, receive-message"


def access(secrets: Canaries) -> str:
    """An access file in which everything has its secret."""
    return f"""
users:
  - {{username: alice, password: "{secrets.user_password}", tokens: [{{label: t, token: "{secrets.user_token}"}}]}}
  - {{username: bob, tokens: [{{label: t, token: "{secrets.old_token}", expires: 2020-01-01T00:00:00Z}}]}}
apps:
  - {{key: {APP}, guests: true, hook_user: wcs, hook_password: "{secrets.hook_password}"}}
  - {{key: {OTHER_APP}, token_name: ticket, hook_user: wcs, hook_password: "{secrets.other_hook_password}"}}
nodes:
  - {{node_id: "{SIGNING_NODE}", secrets: ["{secrets.signing_secret}"], api_url: "http://127.0.0.1:9/rest-api",
     api_user: admin, api_password: "{secrets.api_password}"}}
sip_accounts:
  - {{user: alice, login: "10007", domain: sip.example.com, password: "{secrets.sip_password}"}}
issuers:
  - {{issuer: "{ISSUER}", algorithms: [HS256], secrets: ["{secrets.issuer_secret}"]}}
rules:
  - {{effect: allow, who: everyone, actions: [connect], target: any}}
  - {{effect: allow, who: guests, actions: [connect], target: any}}
  - {{effect: allow, who: everyone, actions: [{ACTIONS}], target: any, limits: {{per: user, at_once: 100000}}}}
  - {{effect: allow, who: everyone, actions: [imdn, data, bug-report], target: any}}
"""


def bad_access(secrets: Canaries) -> list[str]:
    """Files that are wrong, each beside its secrets."""
    wrong = f"""
apps:
  - {{key: x, hook_password: "{secrets.file_without_user}"}}
  - {{key: y, hook_password: ["{secrets.file_in_a_list}"]}}
nodes: [{{node_id: x, api_password_sealed: "{secrets.file_not_sealed}", secrets: "{secrets.file_in_text}"}}]
users: [{{username: x, password_hash: "{secrets.file_not_hashed}"}}]
issuers: [{{issuer: x, algorithms: [HS256], secrets: ["{secrets.file_twice}", "{secrets.file_twice}", 7]}}]
"""
    return [wrong, f'users: [{{username: x, password: "{secrets.file_torn}", tokens: [']


def members(secrets: Canaries) -> dict[str, Any]:
    """What is put into a hook beside what is there."""
    return {
        "token": secrets.top_token,
        "password": secrets.top_password,
        "sipPassword": secrets.top_sip_password,
        "authToken": secrets.auth_token,
        "accessToken": secrets.unknown_member,
        "name": f"rtsp://camera:{secrets.rtsp_login}@10.0.0.9/live?token={secrets.address_query}#key={secrets.fragment}",
        "callee": f"sip:10009:{secrets.sip_address}@pbx.example.com",
        "to": f"sip:10009:{secrets.sip_address}@pbx.example.com",
        "origin": f"https://example.org/?session={secrets.origin_query}",
        "info": f"Failed: https://u:{secrets.told_in_info}@example.org/",
        "rtmpUrl": f"rtmp://live.example.org/app/{secrets.stream_key}",
        "sdp": f"v=0\r\na=ice-pwd:{secrets.in_sdp}\r\n",
        "sipSDP": [f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{secrets.in_sip_sdp}"],
        "logs": secrets.in_logs,
        "sipHeaders": [f"X-Auth-Token: {secrets.header_token}", f"Cookie: sid={secrets.header_cookie}"],
        "inviteParameters": {"a": [{"secret": secrets.invite_parameter}]},
        "payload": {"text": json.dumps([{"password": secrets.json_in_text}])},
        "details": {"signature": secrets.in_details},
        "sipMessageRaw": f"REGISTER sip:pbx SIP/2.0\r\nAuthorization: Digest username=a,\r\n "
        f'response="{secrets.sip_digest}"\r\nProxy-Authorization: Basic {secrets.sip_basic}\r\n\r\n'
        f"a=crypto:1 AES inline:{secrets.media_key}\r\n",
    }


class Wcs:
    """A node that sends hooks and keeps what was answered."""

    def __init__(self, port: int, secrets: Canaries) -> None:
        self._secrets = secrets
        self._connection = HTTPConnection("127.0.0.1", port, timeout=20)
        self.answers = b""
        self.statuses: dict[str, set[int]] = {}

    def send(self, method: str, body: bytes, authorization: str, kind: str) -> int:
        headers = {"Content-Type": "application/json", "Authorization": authorization}
        path = f"/hooks/{method}?token={self._secrets.hook_address}"
        self._connection.request("POST", path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:  # what came is mirrored where it is allowed
            self.answers += content
        if kind == "too large":
            self._connection.close()  # the service did, without reading all of it
        self.statuses.setdefault(kind, set()).add(answer.status)
        return answer.status

    def close(self) -> None:
        self._connection.close()

    def put_through(self, only: str = "", every: int = 1) -> int:
        """The payloads in all ways, or in one of so many by turns; gives how many hooks that were."""
        secrets, sent, turn = self._secrets, 0, 0
        for path in PAYLOADS:
            if not path.name.startswith(only):
                continue
            method, body = path.name.split(".")[0], json.loads(path.read_bytes())
            for kind, content, login in self._ways(method, {**body, **members(secrets)}):
                turn += 1
                if turn % every == 0:
                    self.send(method, content, login, kind)
                    sent += 1
        return sent

    def _ways(self, method: str, body: dict[str, Any]) -> list[tuple[str, bytes, str]]:
        secrets = self._secrets
        login, other = basic(secrets.hook_password), basic(secrets.other_hook_password)
        custom = {"x": [{"y": {"password": secrets.deep}}], "key": secrets.custom_key, "jwt": secrets.custom_jwt}

        def text(came: str, app: str = APP, session: str = "", **more: Any) -> bytes:
            session = session or f"/192.0.2.7:1/{came}"
            return json.dumps({**body, "appKey": app, "nodeId": NODE, "sessionId": session, **more}).encode()

        by_token = text("token", custom={**custom, "token": secrets.user_token}, token=None)
        signed = text("signed", custom=custom, nodeId=SIGNING_NODE)
        name_and_password = {"login": "alice", "password": secrets.user_password}
        whole = text("long", custom=custom)
        return [
            ("by token", by_token, login),
            ("by password", text("password", custom={**custom, **name_and_password}, token=None), login),
            ("signed token", text("jwt", custom={**custom, "token": secrets.signed_token}, token=None), login),
            ("own name", text("own", OTHER_APP, ticket=secrets.own_name, custom={"ticket": secrets.own_name}), other),
            ("refused", text("bad", custom={**custom, "token": secrets.old_token}), login),
            ("other session", text("none", session="unknown", custom=custom), login),
            ("signed", signed, f"WCS {hmac.new(secrets.signing_secret.encode(), signed, 'md5').hexdigest()}"),
            ("wrong signature", signed, f"WCS {secrets.wrong_signature}"),
            ("wrong login", whole, basic(secrets.wrong_hook_password)),
            ("unknown app", text("nowhere", "nobodys", custom=custom), login),
            ("malformed", whole[:-1], login),
            ("not stored", whole[:-1] + b',"more":"' + b"x" * 70_000 + b'"}', login),
            ("too large", whole[:-1] + b',"more":"' + b"x" * 270_000 + b'"}', login),
        ]


def basic(password: str) -> str:
    return "Basic " + b64encode(f"wcs:{password}".encode()).decode()


def signed_token(secret: str) -> str:
    """One that lets alice in."""
    now = int(datetime.now(UTC).timestamp())
    return jwt.encode({"iss": ISSUER, "sub": "alice", "iat": now, "exp": now + 3600}, secret, "HS256")
