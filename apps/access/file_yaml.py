"""The YAML of access files, JSON included: read as nodes, so that nothing is guessed; written so that nobody guesses.

Values are read from YAML's nodes and not from Python objects: `00` without quotes is an error and not a 0, and a date
keeps its time zone.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.cyaml import CParser, CSafeDumper
from yaml.nodes import Node, ScalarNode, SequenceNode
from yaml.resolver import Resolver

from apps.access.file_problems import AccessFileError

TAG = "tag:yaml.org,2002:"
KINDS = {
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
    "timestamp": "a date",
    "str": "text",
    "seq": "a list",
    "map": "keys with values",
}
"""What YAML takes a value for, in words."""


def kind(node: Node) -> str:
    """What YAML takes a value for: one of KINDS, or a tag that nobody knows."""
    if isinstance(node, ScalarNode):
        return node.tag.removeprefix(TAG)
    return "seq" if isinstance(node, SequenceNode) else "map"


def described(node: Node) -> str:
    return KINDS.get(kind(node), "something else")


# Reading


def parse(content: str) -> Node:
    """The one document of a file, as nodes. Raises AccessFileError."""
    try:
        root = _Loader(_joined_escapes(content)).get_single_node()
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
        hint = "Text with any of * & { } [ ] : # needs quotes."
        raise AccessFileError([f"{where}: this is not YAML: {error.problem}. {hint}"]) from None
    except yaml.YAMLError:
        raise AccessFileError(["the file: contains control characters, so it is not YAML."]) from None
    except RecursionError:
        raise AccessFileError(["the file: is nested too deeply."]) from None
    if root is None:
        raise AccessFileError(["the file: is empty."])
    return root


class _Loader(Composer, CParser, Resolver):
    """Parses as fast as yaml.CSafeLoader, makes nodes only, and no Python object whatsoever.

    Composing in Python has Python's limit of depth; the one in C crashes on a file of many opening brackets.
    """

    def __init__(self, content: str) -> None:
        CParser.__init__(self, content)
        Composer.__init__(self)
        Resolver.__init__(self)

    def compose_node(self, parent: Node | None, index: Any) -> Node:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not allowed", problem_mark=self.peek_event().start_mark
            )
        return super().compose_node(parent, index)


def _joined_escapes(content: str) -> str:
    r"""JSON is YAML but for one thing: it writes characters beyond U+FFFF as two escapes, \ud83d\ude00."""
    if not content.lstrip().startswith("{"):
        return content
    pair = r"(?<!\\)((?:\\\\)*)((?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})+)"
    return re.sub(pair, lambda match: match[1] + _characters(match[2]), content)


def _characters(escapes: str) -> str:
    units = bytes.fromhex(escapes.replace(r"\u", ""))
    return units.decode("utf-16-be")


# Writing


def write(file: Mapping[str, Any]) -> str:
    """Plain values as YAML, short lists and mappings on one line."""
    return yaml.dump(file, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


class _Dumper(CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_moment(dumper: _Dumper, at: datetime) -> ScalarNode:
    return dumper.represent_scalar(f"{TAG}timestamp", at.astimezone(UTC).isoformat().replace("+00:00", "Z"))


def _represent_text(dumper: _Dumper, value: str) -> ScalarNode:
    """Quoted where some reader of YAML might see a number: 0900 is one to some and text to others."""
    style = "'" if value[:1] in "+-.0123456789" else None
    return dumper.represent_scalar(f"{TAG}str", value, style)


_Dumper.add_representer(datetime, _represent_moment)
_Dumper.add_representer(str, _represent_text)
