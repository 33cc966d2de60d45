"""Single changes to the code: which there are, and how one is made."""

import ast
from collections.abc import Iterator
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path

_OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
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
}
_LEAVING = ast.Raise | ast.Return | ast.Continue | ast.Break
_STATEMENTS = ("raise", "return")
"""The kinds of changes that replace a statement. Others replace an expression."""
_UNSEEN = ast.JoinedStr | ast.AnnAssign | ast.arg
"""
Whose parts are not looked at: Python 3.11 does not know where the parts of an f-string stand, and
an annotation has no effect. The value of an assignment with an annotation is looked at.
"""

Change = tuple[str, ast.expr | ast.stmt, str]
"""The kind of a change, the node that it replaces, and the new code."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change, at the place where its code is in the file now."""

    path: Path
    function: str
    """The qualified name of the function or class; empty for the module itself."""
    kind: str
    original: str
    """The code that is replaced, as `ast.unparse` writes it."""
    replacement: str
    first: tuple[int, int]
    last: tuple[int, int]
    """Line, from 1, and byte in the line, where the code begins and where it ends."""

    def __str__(self) -> str:
        place = f"{self.path.as_posix()}:{self.first[0]} {self.function}"
        return f"{place}: {self.original} -> {self.replacement}"

    def changed(self, source: str) -> str:
        """Return the source of the module with the change. Raises SyntaxError if it is none."""
        lines = source.encode().splitlines(keepends=True)
        (first, begin), (last, end) = self.first, self.last
        before = b"".join(lines[: first - 1]) + lines[first - 1][:begin]
        after = lines[last - 1][end:] + b"".join(lines[last:])
        code = self.replacement if self.kind in _STATEMENTS else f"({self.replacement})"
        changed = (before + code.encode() + after).decode()
        compile(changed, "mutant", "exec", dont_inherit=True)
        return changed


def mutants(path: Path, source: str) -> Iterator[Mutant]:
    """Yield every change to the module at `path` that can be drawn."""
    for scope, node in _scoped(ast.parse(source)):
        for kind, old, code in _changes(node):
            last = (old.end_lineno or old.lineno, old.end_col_offset or 0)
            first = (old.lineno, old.col_offset)
            mutant = Mutant(path, scope, kind, ast.unparse(old), code, first, last)
            with suppress(SyntaxError):  # some patterns take a number, and no parentheses
                mutant.changed(source)
                yield mutant


def _scoped(tree: ast.AST, scope: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield each node below a tree, with the function that it is in."""
    for node in ast.iter_child_nodes(tree):
        inner = scope
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{scope}.{node.name}".removeprefix(".")
        yield inner, node
        if not isinstance(node, _UNSEEN):
            yield from _scoped(node, inner)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            yield inner, node.value
            yield from _scoped(node.value, inner)


def _changes(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.If() | ast.IfExp():
            yield from _other_branches(node)
        case ast.Raise():
            yield "raise", node, "pass"
        case ast.Expr(value=ast.Call() | ast.Await() as called):
            yield "call", called, "None"
        case ast.Return(value=ast.Constant(value=bool(value))):
            yield "return", node, f"return {not value}"
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            yield "number", node, str(value + 1)
        case ast.Compare(ops=[operator]):
            other = copy(node)
            other.ops = [_OPPOSITES[type(operator)]()]
            yield "comparison", node, ast.unparse(other)
        case ast.BoolOp() | ast.UnaryOp(op=ast.Not()) | ast.Call(func=ast.Name(id="any" | "all")):
            yield from (("boolean", node, code) for code in _other_logic(node))


def _other_branches(node: ast.If | ast.IfExp) -> Iterator[Change]:
    """Yield a guard that never holds, or a choice that is made the other way."""
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.If(body=[ast.Raise()], orelse=[]):
            pass  # no effect, and the same as without the `raise`
        case ast.If(test=test, body=[*_, last]) if isinstance(last, _LEAVING):
            yield "guard", test, "False"
        case _:
            yield "branch", node.test, f"not ({ast.unparse(node.test)})"


def _other_logic(node: ast.BoolOp | ast.UnaryOp | ast.Call) -> Iterator[str]:
    """Yield a condition's opposites: `or` for `and`, one operand fewer, `all` for `any`."""
    match node:
        case ast.UnaryOp(operand=operand):
            yield ast.unparse(operand)
        case ast.Call(func=ast.Name(id=name)):
            other = copy(node)
            other.func = ast.Name("all" if name == "any" else "any")
            yield ast.unparse(other)
        case ast.BoolOp(op=operator, values=values):
            swapped = ast.Or() if isinstance(operator, ast.And) else ast.And()
            yield ast.unparse(ast.BoolOp(swapped, values))
            for left_out in values:
                rest = [value for value in values if value is not left_out]
                yield ast.unparse(ast.BoolOp(operator, rest) if len(rest) > 1 else rest[0])
