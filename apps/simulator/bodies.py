"""The members of hook bodies, as in protocol.md 4. Pure; the session adds nodeId, appKey and sessionId."""

import random
import uuid
from typing import Any

Body = dict[str, Any]

BROWSER = "5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0"

_random = random.Random()  # noqa: S311  (nothing here is a secret)

_AUDIO = "111 opus/48000/2|63 red/48000/2|9 G722/8000|0 PCMU/8000|8 PCMA/8000|110 telephone-event/48000"
_VIDEO = "96 VP8/90000|97 rtx/90000|102 H264/90000|103 rtx/90000"
_FEEDBACK = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")


def new_id() -> str:
    return str(uuid.uuid4())


def connection(*, origin: str | None, custom: Body, sip: Body) -> Body:
    """What a page with the Web SDK tells when it connects; a mobile client has no origin."""
    body: Body = {
        "mediaProviders": ["WebRTC", "MSE", "WSPlayer"],
        "clientVersion": "2.0",
        "clientOSVersion": BROWSER,
        "clientBrowserVersion": f"Mozilla/{BROWSER}",
        "keepAlive": False,
        "custom": custom,
        "useWsTunnel": False,
        "useWsTunnelPacketization2": False,
        "useBase64BinaryEncoding": False,
        "msePacketizationVersion": 2,
    }
    return body | ({"origin": origin} if origin else {}) | sip


def stream(name: str, *, published: bool, custom: Body, media_session_id: str) -> Body:
    return {
        "mediaSessionId": media_session_id,
        "name": name,
        "published": published,
        "hasVideo": True,
        "hasAudio": True,
        "status": "PENDING",
        "sdp": sdp("sendonly" if published else "recvonly", video=True),
        "record": False,
        "width": 0,
        "height": 0,
        "bitrate": 0,
        "minBitrate": 0,
        "maxBitrate": 0,
        "quality": 0,
        "mediaProvider": "WebRTC",
        "custom": custom,
    }


def running(body: Body) -> Body:
    """The stream once its media flows."""
    return body | {
        "width": body["width"] or 640,
        "height": body["height"] or 480,
        "audioCodec": "opus",
        "videoCodec": "H264",
        "mediaType": "publish" if body["published"] else "play",
    }


def call(caller: str, callee: str, *, incoming: bool, custom: Body, video: bool = False) -> Body:
    return {
        "callId": new_id(),
        "parentCallId": None,
        "incoming": incoming,
        "status": "PENDING",
        "sipStatus": None,
        "caller": caller,
        "callee": callee,
        "visibleName": caller,
        "hasAudio": True,
        "hasVideo": video,
        "mediaProvider": "WebRTC",
        "sdp": None if incoming else sdp("sendrecv", video=video),
        "isMsrp": False,
        "holdForTransfer": False,
        "inviteParameters": None,
        "custom": custom,
    }


def message(sender: str, recipient: str, text: str) -> Body:
    return {
        "id": new_id(),
        "from": sender,
        "to": recipient,
        "visibleName": sender,
        "body": text,
        "contentType": "text/plain",
        "isImdnRequired": True,
    }


def sip_response(status: int, reason: str, call_body: Body) -> str:
    """The whole SIP message behind a call's status."""
    lines = (
        f"SIP/2.0 {status} {reason}",
        "Via: SIP/2.0/UDP 127.0.0.1:30000;branch=z9hG4bK4f1a;rport=30000",
        f"Call-ID: {call_body['callId']}",
        "CSeq: 2 INVITE",
        f"From: <sip:{call_body['caller']}@sip.example.com>;tag=5f2c",
        f"To: <sip:{call_body['callee']}@sip.example.com>;tag=as3b1d",
        "Content-Length: 0",
    )
    return "\r\n".join((*lines, "", ""))


def sdp(direction: str, *, video: bool) -> str:
    """An offer of a browser: about 1.5 kB of audio, 2.5 kB with video."""
    port, ufrag, password = _random.randint(20000, 60000), _letters(4), _letters(24)
    fingerprint = ":".join(f"{_random.randrange(256):02X}" for _ in range(32))
    transport = [
        f"a=candidate:2157334355 1 udp 2122260223 192.168.1.38 {port} typ host generation 0 network-id 1",
        "a=candidate:1001905163 1 tcp 1518280447 192.168.1.38 9 typ host tcptype active generation 0",
        f"a=ice-ufrag:{ufrag}",
        f"a=ice-pwd:{password}",
        "a=ice-options:trickle",
        f"a=fingerprint:sha-256 {fingerprint}",
        "a=setup:actpass",
        f"a={direction}",
        "a=rtcp-mux",
    ]
    lines = [
        "v=0",
        f"o=- {_random.getrandbits(62)} 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1" if video else "a=group:BUNDLE 0",
        "a=extmap-allow-mixed",
        f"a=msid-semantic: WMS {_letters(12)}",
        *_section("audio", port, _AUDIO, transport, 0),
        *(_section("video", port, _VIDEO, transport, 1) if video else ()),
    ]
    return "\r\n".join((*lines, ""))


def _section(kind: str, port: int, codecs: str, transport: list[str], mid: int) -> list[str]:
    offered = [codec.split(" ", 1) for codec in codecs.split("|")]
    numbers = " ".join(number for number, _ in offered)
    source = _random.getrandbits(32)
    return [
        f"m={kind} {port} UDP/TLS/RTP/SAVPF {numbers}",
        "c=IN IP4 192.168.1.38",
        "a=rtcp:9 IN IP4 0.0.0.0",
        *transport,
        f"a=mid:{mid}",
        *(f"a=rtpmap:{number} {codec}" for number, codec in offered),
        *(f"a=rtcp-fb:{offered[0][0]} {feedback}" for feedback in _FEEDBACK),
        f"a=ssrc:{source} cname:{_letters(16)}",
        f"a=ssrc:{source} msid:{_letters(12)} {uuid.uuid4()}",
    ]


def _letters(count: int) -> str:
    return "".join(_random.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", k=count))
