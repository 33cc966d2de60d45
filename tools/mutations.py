"""
Single changes to the code: which there are, and how one is made.

A change is found again by its module, its function, the code that it replaces, and which of the
equal pieces of code in that function it is. It survives code that moves; if its own code is
rewritten, it is gone.
"""

import ast
from collections.abc import Iterator
from contextlib import suppress
from copy import copy
from dataclasses import dataclass

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
_UNSEEN = ast.JoinedStr | ast.AnnAssign | ast.arg
"""
Whose parts are not looked at: Python 3.11 does not know where the parts of an f-string stand, and
an annotation has no effect. The value of an assignment with an annotation is looked at.
"""

Change = tuple[str, ast.expr | ast.stmt, str]
"""The kind of a change, the node that it replaces, and the new code."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change."""

    module: str
    function: str
    """The qualified name of the function or class; empty for the module itself."""
    kind: str
    original: str
    """The code that is replaced, as `ast.unparse` writes it."""
    replacement: str
    occurrence: int = 1
    """Which one it is of the equal pieces of code in the function, from 1."""
    gap: str = ""
    """The gap that this mutant was written for; empty if it is from the sample."""
    equivalent: str = ""
    """Why no test can notice it, or need not; such a mutant does not count."""
    elsewhere: str = ""
    """The test that notices it, where only tests that start processes do."""

    def __str__(self) -> str:
        place = f"{self.module}:{self.function}:{self.occurrence}"
        return f"{place}: {self.original} -> {self.replacement}"


def find(mutant: Mutant, source: str) -> ast.expr | ast.stmt | None:
    """Return what a mutant replaces in the source of its module; None if it is gone."""
    wanted = ast.parse(mutant.original).body[0]
    dumped = ast.dump(wanted.value if isinstance(wanted, ast.Expr) else wanted)
    found = [
        node
        for scope, node in _scoped(ast.parse(source))
        if scope == mutant.function and isinstance(node, ast.expr | ast.stmt)
        if ast.dump(node) == dumped
    ]
    return found[mutant.occurrence - 1] if len(found) >= mutant.occurrence else None


def replaced(source: str, node: ast.expr | ast.stmt, replacement: str) -> str:
    """Return a module's source with other code in the place of `node`."""
    lines = source.encode().splitlines(keepends=True)
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    before = b"".join(lines[:first]) + lines[first][: node.col_offset]
    after = lines[last][node.end_col_offset :] + b"".join(lines[last + 1 :])
    code = f"({replacement})" if isinstance(node, ast.expr) else replacement
    changed = (before + code.encode() + after).decode()
    compile(changed, "mutant", "exec", dont_inherit=True)
    return changed


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Yield every change to a module that can be drawn."""
    seen = dict[tuple[str, str], list[int]]()
    nodes = list(_scoped(ast.parse(source)))
    for scope, node in nodes:
        seen.setdefault((scope, ast.dump(node)), []).append(id(node))
    for scope, node in nodes:
        for kind, old, code in _changes(node):
            occurrence = seen[scope, ast.dump(old)].index(id(old)) + 1
            mutant = Mutant(module, scope, kind, ast.unparse(old), code, occurrence)
            with suppress(SyntaxError):  # some patterns take a number, and no parentheses
                replaced(source, old, code)
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
            for each in values:
                rest = [value for value in values if value is not each]
                yield ast.unparse(ast.BoolOp(operator, rest) if len(rest) > 1 else rest[0])
