"""A member of staff at the pages of the real service: no script, but cookies, forms, and all that was answered kept."""

import http.cookiejar
import urllib.error
import urllib.parse
import urllib.request
from html.parser import HTMLParser
from uuid import uuid4

SKIPPED = ("submit", "button", "reset", "file", "image")


class _Form(HTMLParser):
    """The values that the forms of a page that are sent with POST would send unchanged."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.values: list[tuple[str, str]] = []
        self._inside = False
        self._select = self._area = ""
        self._chosen: list[str] = []
        self._first: str | None = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        name, value = attributes.get("name") or "", attributes.get("value") or ""
        match tag:
            case "form":
                self._inside = (attributes.get("method") or "get").lower() == "post" and "logout" not in (
                    attributes.get("action") or ""
                )
            case "input" if self._inside and name and attributes.get("type") not in SKIPPED:
                if attributes.get("type") not in ("checkbox", "radio") or "checked" in attributes:
                    self.values.append((name, value or ("on" if attributes.get("type") == "checkbox" else "")))
            case "select" if self._inside:
                self._select, self._chosen, self._first = name, [], None if "multiple" not in attributes else ""
            case "option" if self._select:
                if "selected" in attributes:
                    self._chosen.append(value)
                self._first = value if self._first is None else self._first
            case "textarea" if self._inside:
                self._area = name
                self.values.append((name, ""))

    def handle_data(self, data):
        if self._area:
            self.values[-1] = (self._area, self.values[-1][1] + data.lstrip("\n"))

    def handle_endtag(self, tag):
        if tag == "form":
            self._inside = False
        elif tag == "textarea":
            self._area = ""
        elif tag == "select" and self._select:
            chosen = self._chosen or [self._first or ""]
            self.values += [(self._select, value) for value in chosen if value]
            self._select = ""


class Browser:
    """`pages` has everything that was answered, by what was asked for."""

    def __init__(self, port: int) -> None:
        self._site = f"http://127.0.0.1:{port}"
        self.jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        self.pages: dict[str, bytes] = {}

    def cookie(self, name: str) -> str:
        return next(cookie.value or "" for cookie in self.jar if cookie.name == name)

    def get(self, path: str, **headers: str) -> str:
        return self._open(urllib.request.Request(self._site + path, headers=headers), path)

    def send(
        self,
        path: str,
        *,
        to: str = "",
        expect: str = "",
        keep: str = "",
        files: dict[str, bytes] | None = None,
        **fields: str,
    ) -> str:
        """Fill in the form of a page and send it; gives the page that comes then, which must say as expected."""
        to = to or path
        form = [(name, value) for name, value in _Form(self.get(path)).values if name not in fields]
        form += [(name, value) for name, value in fields.items() if value]
        body, content_type = _multipart(form, files) if files else (urllib.parse.urlencode(form).encode(), "")
        request = urllib.request.Request(self._site + to, body, {"Referer": self._site + path})
        if content_type:
            request.add_header("Content-Type", content_type)
        page = self._open(request, keep or f"POST {to}")
        assert expect in page, f"{to} does not say “{expect}”: {_errors(page)}"
        return page

    def _open(self, request: urllib.request.Request, name: str) -> str:
        try:
            with self._opener.open(request, timeout=30) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                content = error.read()
        name = name.partition("?")[0]
        self.pages[name] = self.pages.get(name, b"") + content
        return content.decode(errors="replace")


def _multipart(form: list[tuple[str, str]], files: dict[str, bytes]) -> tuple[bytes, str]:
    boundary = uuid4().hex
    parts = [(f'name="{name}"', value.encode()) for name, value in form]
    parts += [(f'name="{name}"; filename="access.yaml"', content) for name, content in files.items()]
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + value + b"\r\n"
        for head, value in parts
    )
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _errors(page: str) -> str:
    at = page.find("rror")
    return page[max(0, at - 500) : at + 3000]
