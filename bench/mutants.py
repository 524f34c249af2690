"""Whether the tests notice when deciding, or proving, is changed: `python3 manage.py bench mutants [MODULE ...]`.

One place of one module at a time is changed in its syntax tree, and the pure tests about it are run, in a process that
is forked for it. A mutant dies when a test fails. Tests with drawn examples are left out, as they are slow, but the
comparison with the model is in: so what survives here may still die in a whole run, and never the other way round.
"""

import argparse
import ast
import gc
import importlib.abc
import importlib.util
import os
import re
import signal
import sys
import time
from copy import deepcopy
from pathlib import Path

import cryptography.hazmat.primitives.asymmetric.rsa  # noqa: F401 - imported once, for all that are forked
import hypothesis  # noqa: F401
import jwt  # noqa: F401
import msgspec  # noqa: F401
import pytest

from runner import ROOT

DECISIONS = 5_000
SECONDS = 60
MODEL = "deciding_properties.py::test_deciding_agrees_with_the_model"
FIRST = {  # what most mutants of a module die of; the rest of TESTS is run for those that are left
    "engine": ("engine", "conditions"),
    "matching": ("conditions", "compile", "nearest"),
    "misses": ("nearest",),
    "rewriting": ("conditions", "rewriting"),
    "networks": ("conditions", "identity"),
    "comparisons": ("conditions",),
    "compile": ("compile",),
    "facts": ("conditions",),
    "question": ("conditions",),
    "schedules": ("schedules",),
    "limiting": ("limiting",),
    "identity": ("identity", "ways_in"),
    "numbers": ("protocol/test_numbers",),
    "chain": ("audit/test_chain",),
    "ids": ("audit/test_chain", "audit/test_verifying"),
    "signing": ("audit/test_verifying",),
    "verifying": ("audit/test_verifying",),
    "evidence_file": ("audit/test_verifying",),
}
PLACES = {
    "numbers": "protocol",
    **dict.fromkeys(("chain", "ids"), "audit"),
    **dict.fromkeys(("signing", "verifying", "evidence_file"), "audit/proving"),
}
"""Where modules are that are not about access. Of those of the audit log no other tests are run than those above."""
TESTS = ("engine", "conditions", "compile", "rewriting", "limiting", MODEL, "identity", "ways_in")
SLOW = re.compile("time_is|100_000")
"""Tests by their names that take time, or measure it."""

SWAPPED = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Mod: ast.Mult,
    ast.Break: ast.Continue,
    ast.Continue: ast.Break,
}
RENAMED = {"any": "all", "all": "any", "min": "max", "max": "min", "startswith": "endswith", "endswith": "startswith"}


def mutations(node):
    """What stands for a node in its mutants."""
    match node:
        case ast.Compare(ops=[op, *more]) if type(op) in SWAPPED:
            yield replaced(node, ops=[SWAPPED[type(op)](), *more])
        case ast.BoolOp(op=op, values=values):
            yield replaced(node, op=SWAPPED[type(op)]())
            yield from (replaced(node, values=values[:at] + values[at + 1 :]) for at in range(len(values)))
        case ast.BinOp(op=op) if type(op) in SWAPPED:
            yield replaced(node, op=SWAPPED[type(op)]())
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str(value)):
            yield ast.Constant(f"{value}XX")
        case ast.If() | ast.IfExp():
            yield replaced(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.comprehension(ifs=[_, *_]):
            yield replaced(node, ifs=[])
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield ast.Return(ast.Constant(None))
        case ast.Name(id=name) if name in RENAMED:
            yield ast.Name(RENAMED[name], ast.Load())
        case ast.Attribute(attr=name) if name in RENAMED:
            yield replaced(node, attr=RENAMED[name])
        case ast.Slice(lower=ast.expr()) | ast.Slice(upper=ast.expr()):
            yield ast.Slice()
        case ast.Break() | ast.Continue():
            yield SWAPPED[type(node)]()
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Delete():
            yield ast.Pass()
        case ast.match_case():
            yield replaced(node, guard=ast.Constant(False))


def replaced(node, **changes):
    fields = {name: changes.get(name, value) for name, value in ast.iter_fields(node)}
    return type(node)(**fields)


def places(node):
    """Every place with a node of code in it: its parent, the field, and where in a list."""
    for field, value in ast.iter_fields(node):
        if field == "keywords" and isinstance(node, ast.ClassDef):
            continue
        if field in ("annotation", "returns", "type_comment", "decorator_list"):
            continue
        for at, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST) and not says_nothing(child):
                yield node, field, at if isinstance(value, list) else None
                yield from places(child)


def says_nothing(node):
    """Docstrings, types, and what is said to people."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.AnnAssign(value=None) | ast.Raise() | ast.Assert() | ast.JoinedStr():
            return True
        case ast.FunctionDef(name=name):
            return name in ("__repr__", "__str__")
        case ast.Assign(targets=[ast.Name(id="EXPECTED" | "Key" | "Place" | "Check" | "Row")]):
            return True
        case ast.ImportFrom() | ast.Import():
            return True
    return False


def mutants(source):
    """Line, what it was and is, and the code of each mutant."""
    tree = ast.parse(source)
    for number, (node, field, at) in enumerate(list(places(tree))):
        old = getattr(node, field) if at is None else getattr(node, field)[at]
        for new in mutations(old):
            changed = deepcopy(tree)
            parent, field, at = list(places(changed))[number]
            put = ast.copy_location(deepcopy(new), old) if hasattr(old, "lineno") else deepcopy(new)
            if at is None:
                setattr(parent, field, put)
            else:
                getattr(parent, field)[at] = put
            was, now = said(old), said(new)
            line = getattr(old, "lineno", getattr(node, "lineno", 0))
            yield line, was, now, ast.fix_missing_locations(changed)


def said(node):
    return " ".join(ast.unparse(node).split())[:90]


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the mutant where its module is imported."""

    def __init__(self, path, tree):
        self.name, self.path, self.tree = path.removesuffix(".py").replace("/", "."), path, tree

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self) if name == self.name else None

    def exec_module(self, module):
        exec(compile(self.tree, self.path, "exec"), module.__dict__)


class Plugin:
    """What conftest.py does, as far as pure tests need it."""

    def pytest_addoption(self, parser):
        parser.addoption("--decisions", type=int, default=DECISIONS)

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if not (hasattr(item.obj, "hypothesis") or SLOW.search(item.name))]


def survives(name, tree):
    """Whether all tests pass with this mutant."""
    gc.freeze()
    child = os.fork()
    if not child:
        gc.disable()
        signal.alarm(SECONDS)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        sys.meta_path.insert(0, Finder(path_of(name), tree))
        more = [] if path_of(name).startswith("apps/audit") else [test for test in TESTS if test not in FIRST[name]]
        os._exit(run(FIRST[name]) or (run(more) if more else 0))
    _, status = os.waitpid(child, 0)
    return status == 0


def run(tests):
    options = [
        "-x",
        "-q",
        "--tb=no",
        "--assert=plain",
        "--noconftest",
        "--import-mode=importlib",
        "-c",
        os.devnull,
        "--rootdir",
        str(ROOT),
    ]
    files = [f"tests/{test if '/' in test else f'access/test_{test}'}" for test in tests]
    files = [file if "::" in file else f"{file}.py" for file in files]
    return pytest.main([*options, "-p", "no:cacheprovider", *files], plugins=[Plugin()])


def prepare(source):
    """Import what a module imports, and nothing that imports the module: once, for all that are forked."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "apps"]:
        del sys.modules[name]
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom):
            importlib.import_module(node.module)


def path_of(name):
    return f"apps/{PLACES.get(name, 'access')}/{name}.py"


def main():
    parser = argparse.ArgumentParser(prog="bench mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", help="all of them unless named", metavar="MODULE")
    os.chdir(ROOT)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    total = dead = 0
    for name in parser.parse_args().modules or FIRST:
        source, started, alive, count = Path(path_of(name)).read_text(), time.monotonic(), 0, 0
        prepare(source)
        if not survives(name, ast.parse(source)):
            sys.exit(f"The tests of {name} fail without any change.")
        for line, was, now, tree in mutants(source):
            count += 1
            if survives(name, tree):
                alive += 1
                print(f"{name}:{line}: survives: {was}  ->  {now}", flush=True)
        total, dead = total + count, dead + count - alive
        print(f"{name}: {count - alive} of {count} killed in {time.monotonic() - started:.0f} s", flush=True)
    print(f"{dead} of {total} killed: {dead / total:.0%}")


if __name__ == "__main__":
    main()
