"""Access as a spreadsheet: the same content as the YAML file, one sheet for each section and one row for each entry.

A sheet is read into the same nodes that YAML makes, so what may stand where is said in one place, file_format. A cell
of a list has its items between semicolons or on lines of their own; one for who or on what reads `group: teachers`;
limits and changes have a column for each key. An empty cell means: leave it as it is.
"""

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Any

from openpyxl import Workbook, load_workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font
from openpyxl.utils.exceptions import InvalidFileException
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from apps.access.file_problems import AccessFileError, Place

MAX_UNPACKED = 100 * 1024 * 1024
"""Bytes that a file may have unpacked: a small file can be a huge one in disguise."""

MOST_COLUMNS, MOST_ROWS = 50, 500_000
"""Columns of one sheet, and rows of all together, filled or not: a cell far away makes many that are empty."""

LIST_SEPARATOR = ";"
LISTS = frozenset(
    "groups networks origins streams actions media_providers apps nodes custom windows holidays prefixes secrets "
    "secrets_sealed hook_passwords_sealed algorithms".split()
)
PAIRS = frozenset({"who", "target"})
FLAGS = frozenset(
    "active staff guests rest_started whole protected enforced single_use accepts_unknown register".split()
)
NUMBERS = frozenset(
    "max_publishers max_viewers short limits.at_once limits.per_day limits.per_month limits.minutes_per_day "
    "limits.minutes_per_month changes.max_width changes.max_height changes.max_bitrate leeway port".split()
)
TAG = "tag:yaml.org,2002:"
COLUMNS = {
    "groups": ("name",),
    "users": (
        "username",
        "password_hash",
        "active",
        "staff",
        "first_name",
        "last_name",
        "email",
        "groups",
        "revoked_before",
    ),
    "tokens": (
        *("username", "label", "token_hash", "expires", "networks", "origins", "streams", "actions"),
        *("single_use", "issued", "used"),
    ),
    "apps": ("key", "guests", "token_name", "hook_user", "hook_passwords_sealed", "networks", "rest_started", "note"),
    "nodes": ("node_id", "name", "secrets_sealed", "networks", "api_url", "api_user", "api_password_sealed"),
    "sip_accounts": (
        *("user", "login", "authentication_name", "password_sealed", "domain", "outbound_proxy", "port"),
        *("visible_name", "register", "note"),
    ),
    "stream_groups": ("name", "note"),
    "streams": ("name", "owner", "source", "groups", "max_publishers", "max_viewers", "note"),
    "schedules": ("name", "time_zone", "windows", "holidays", "note"),
    "number_classes": ("name", "prefixes", "whole", "short", "protected", "note"),
    "issuers": (
        *("issuer", "active", "audience", "algorithms", "secrets_sealed", "jwks", "jwks_url", "leeway", "user_claim"),
        *("groups_claim", "streams_claim", "actions_claim", "accepts_unknown", "note"),
    ),
    "links": ("code", "label", "stream", "action", "until", "active", "issued", "made_by"),
    "revoked_before": ("moment",),
    "rules": (
        *("effect", "who", "actions", "target", "from", "until", "during", "networks", "origins", "media_providers"),
        *("apps", "nodes", "custom", "limits.per", "limits.at_once", "limits.per_day", "limits.per_month"),
        *("limits.minutes_per_day", "limits.minutes_per_month", "limits.overflow", "changes.callee"),
        *("changes.record", "changes.max_width", "changes.max_height", "changes.max_bitrate", "enforced", "note"),
    ),
}
"""The sheets that are written, each with its columns. When read, columns may come in any order, and others too."""


class SheetPlace(Place):
    """Where in a spreadsheet something stands: rows count from 1, and the first has the names of the columns."""

    def item(self, number: int) -> "SheetPlace":
        return SheetPlace(f"{self.name}, row {number + 2}", self.problems)

    def key(self, key: str) -> "SheetPlace":
        return SheetPlace(f"{self.name}, {key}" if self.name else f"sheet {key}", self.problems)


# Reading


def is_spreadsheet(content: bytes) -> bool:
    """Whether these are the bytes of a spreadsheet, which is an archive."""
    return content.startswith(b"PK")


def read_sheets(content: bytes) -> MappingNode:
    """The nodes of a spreadsheet, as of a YAML file that says the same. Raises AccessFileError."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_UNPACKED:
                raise AccessFileError(["the file: is too large."])
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        sheets = _tables(book)
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, TypeError, SyntaxError):
        raise AccessFileError(["the file: is not a spreadsheet in the format .xlsx."]) from None
    tokens = sheets.pop("tokens", None)
    if tokens:
        users = sheets.setdefault("users", _Sheet(("username",), []))
        _put_tokens(users, tokens)
    if "revoked_before" in sheets and not any(sheets["revoked_before"].rows):
        del sheets["revoked_before"]
    return MappingNode(f"{TAG}map", [(_text(name), _section(name, sheet)) for name, sheet in sheets.items()])


@dataclass(slots=True)
class _Sheet:
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]


def _tables(book: Workbook) -> dict[str, _Sheet]:
    """The sheets by name. How large they are is counted, whatever the file says of it. Raises AccessFileError."""
    if unknown := sorted({sheet.title for sheet in book.worksheets} - COLUMNS.keys()):
        raise AccessFileError([f"sheet {name}: unknown; known are {', '.join(COLUMNS)}" for name in unknown])
    sheets, left = {}, MOST_ROWS
    for sheet in book.worksheets:
        sheet.reset_dimensions()
        columns = _columns(sheet)
        rows = islice(sheet.iter_rows(min_row=2, max_col=len(columns) or 1, values_only=True), left + 1)
        filled = (
            {name: cell for name, cell in zip(columns, row, strict=False) if cell not in (None, "")} for row in rows
        )
        sheets[sheet.title] = _Sheet(columns, list(filled))
        left -= len(sheets[sheet.title].rows)
        if left < 0:
            raise AccessFileError([f"sheet {sheet.title}: at most {MOST_ROWS:,} rows can be read from one file."])
    return sheets


def _columns(sheet: Any) -> tuple[str, ...]:
    """What the first row says, as far as it is filled. Raises AccessFileError."""
    first = next(sheet.iter_rows(max_row=1, values_only=True), ())
    columns = [str(cell).strip() if cell is not None else "" for cell in first]
    while columns and not columns[-1]:
        columns.pop()
    if len(columns) > MOST_COLUMNS:
        raise AccessFileError([f"sheet {sheet.title}: has more than {MOST_COLUMNS} columns."])
    return tuple(columns)


def _put_tokens(users: _Sheet, tokens: _Sheet) -> None:
    """Put each token to its user; one of a user that has no row gets a row."""
    by_name = {str(row.get("username", "")): row for row in users.rows}
    for token in tokens.rows:
        name = str(token.pop("username", ""))
        if token and name not in by_name:
            by_name[name] = {"username": name}
            users.rows.append(by_name[name])
        if token:
            by_name[name].setdefault("tokens", []).append(token)


def _section(name: str, sheet: _Sheet) -> Node:
    """The entries of a sheet. A row without any value is none, and yet counts, so that problems name the right row."""
    last = max((number for number, row in enumerate(sheet.rows) if row), default=-1)
    rows = sheet.rows[: last + 1]
    if name == "revoked_before":
        return _text(_as_text(rows[0].get("moment", "")))
    if name == "groups":
        return SequenceNode(f"{TAG}seq", [_text(row.get("name", "")) for row in rows])
    return SequenceNode(f"{TAG}seq", [_entry(row) for row in rows])


def _entry(row: Mapping[str, Any]) -> MappingNode:
    nested: dict[str, list[tuple[Node, Node]]] = {}
    members: list[tuple[Node, Node]] = []
    for name, value in row.items():
        outer, _, inner = name.partition(".")
        if inner and outer not in nested:
            nested[outer] = []
            members.append((_text(outer), MappingNode(f"{TAG}map", nested[outer])))
        (nested[outer] if inner else members).append((_text(inner or outer), _value(name, value)))
    return MappingNode(f"{TAG}map", members)


def _value(name: str, value: Any) -> Node:
    if name == "tokens":
        return SequenceNode(f"{TAG}seq", [_entry(token) for token in value])
    text = _as_text(value)
    if name in LISTS:
        items = (item.strip() for line in text.splitlines() for item in line.split(LIST_SEPARATOR))
        return SequenceNode(f"{TAG}seq", [_text(item) for item in items if item])
    kind, colon, rest = (part.strip() for part in text.partition(":"))
    if name in PAIRS and colon:
        return MappingNode(f"{TAG}map", [(_text(kind), _text(rest))])
    if name in FLAGS:
        return ScalarNode(f"{TAG}bool", text.lower())
    if name in NUMBERS:
        return ScalarNode(f"{TAG}int" if text.isdecimal() else f"{TAG}str", text)
    return _text(text)


def _as_text(value: Any) -> str:
    """A cell as text. A number is as it was typed; a moment needs a time zone, which a spreadsheet cannot say."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and not (value.hour or value.minute or value.second):
        return value.date().isoformat()
    return value.isoformat() if isinstance(value, date) else str(value).strip()


def _text(value: Any) -> ScalarNode:
    return ScalarNode(f"{TAG}str", str(value))


# Writing


def write_sheets(file: Mapping[str, Any]) -> bytes:
    """The content of an access file as a spreadsheet."""
    book = Workbook(write_only=True)
    for name, columns in COLUMNS.items():
        sheet = book.create_sheet(name)
        sheet.freeze_panes = "A2"
        sheet.append([_cell(sheet, column, bold=True) for column in columns])
        for entry in _entries(file, name):
            sheet.append([_cell(sheet, _shown(_find(entry, column))) for column in columns])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def _entries(file: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    if name == "tokens":
        for user in file["users"]:
            yield from ({"username": user["username"], **token} for token in user["tokens"])
    elif name == "revoked_before":
        yield from ({"moment": moment} for moment in [file[name]] if moment)
    else:
        for entry in file[name]:
            yield {"name": entry} if name == "groups" else entry


def _find(entry: Mapping[str, Any], column: str) -> Any:
    outer, _, inner = column.partition(".")
    value = entry.get(outer)
    return (value or {}).get(inner) if inner else value


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return "; ".join(f"{kind}: {text}" for kind, text in value.items())
    if isinstance(value, list | tuple):
        return f"{LIST_SEPARATOR} ".join(map(_shown, value))
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, date) else value


def _cell(sheet: Any, value: Any, *, bold: bool = False) -> WriteOnlyCell:
    """A cell. Text is marked as text: what begins with = is not to be calculated when somebody opens the file."""
    cell = WriteOnlyCell(sheet, value if value != "" else None)
    if isinstance(value, str):
        cell.data_type = "s"
    if bold:
        cell.font = Font(bold=True)
    return cell
