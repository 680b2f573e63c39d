"""Small mistakes to make in a source file, one at a time: operators, indices, axes, signs.

General mutation tools (cosmic-ray, mutmut) change operators and numbers, but not what goes wrong in code on
tables: the wrong axis, ``[..., :, None]`` for ``[..., None, :]``, two results unpacked the wrong way round.
And they start Python, and with it torch, anew for each mutant. Hence this one.

Left alone: docstrings, texts of messages, annotations, type aliases, imports.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

SWAPS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    Attributes:
        file: path of the source file relative to the checkout.
        function: where it is; of a mistake with tests of its own, what it is.
        line: its line number.
        before: the source line or expression as it is.
        after: as it becomes.
        occurrence: 1, or more where the same change is possible again further on.
        source: makes the whole mutated file.
        tests: those that must notice it; empty where any test may.
    """

    file: str
    function: str
    line: int
    before: str
    after: str
    occurrence: int
    source: Callable[[], str] = field(compare=False)
    tests: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A name that does not change when lines move."""
        if self.tests:
            return f"{self.file}: {self.function}"
        again = f" ({self.occurrence})" if self.occurrence > 1 else ""
        return f"{self.file}, {self.function}: `{self.before}` -> `{self.after}`{again}"


def mutants(file: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a source file, in its order."""
    tree = ast.parse(source)
    seen = Counter[tuple[str, str, str]]()
    for function, statement, path in _places(tree):
        node = _at(tree, path)
        for changed in _changes(node):
            before, after = _difference(node, changed, statement)
            seen[function, before, after] += 1
            yield Mutant(
                file=file,
                function=function,
                line=getattr(node, "lineno", statement.lineno),
                before=before,
                after=after,
                occurrence=seen[function, before, after],
                source=partial(_mutated, tree, path, changed),
            )


def _mutated(tree: ast.Module, path: Path, changed: ast.AST) -> str:
    mutated = copy.deepcopy(tree)
    _replace(mutated, path, changed)
    return ast.unparse(ast.fix_missing_locations(mutated))


Path = tuple[tuple[str, int | None], ...]


def _places(tree: ast.Module) -> Iterator[tuple[str, ast.stmt, Path]]:
    """Every expression that may be changed: its function, its statement and the path to it."""

    def walk(node: ast.AST, path: Path, function: str, statement: ast.stmt) -> Iterator[tuple[str, ast.stmt, Path]]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = node.name
        if isinstance(node, ast.stmt):
            statement = node
        yield function, statement, path
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns", "docstring"}:
                continue
            if isinstance(node, ast.UnaryOp) and isinstance(value, ast.Constant):
                continue  # -1 as a whole, not its 1
            children = value if isinstance(value, list) else [value]
            for index, child in enumerate(children):
                if isinstance(child, ast.AST) and not _left_alone(child):
                    step = (name, index if isinstance(value, list) else None)
                    yield from walk(child, (*path, step), function, statement)

    yield from walk(tree, (), "module", tree.body[0])


def _left_alone(node: ast.AST) -> bool:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    is_alias = isinstance(node, ast.Assign) and node.col_offset == 0 and isinstance(node.value, ast.BinOp)
    return is_text or is_alias or isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Raise)


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """What may become of one node."""
    if isinstance(node, ast.BinOp | ast.BoolOp):
        for swap in SWAPS.get(type(node.op), ()):
            yield _with(node, op=swap())
    elif isinstance(node, ast.Compare):
        for swap in SWAPS.get(type(node.ops[0]), ()):
            yield _with(node, ops=[swap(), *node.ops[1:]])
    elif isinstance(node, ast.UnaryOp):
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):  # -1 <-> -2: axes
            yield _with(node, operand=ast.Constant(3 - node.operand.value if node.operand.value in (1, 2) else 0))
        else:
            yield node.operand
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield ast.Constant(not node.value)
        elif isinstance(node.value, int | float):
            yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load):
        yield from _transposed(node)
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple) and len(node.targets[0].elts) == 2:
        yield _with(node, targets=[ast.Tuple(node.targets[0].elts[::-1], ast.Store())])


def _transposed(node: ast.Tuple) -> Iterator[ast.AST]:
    """``..., :, None`` <-> ``..., None, :``."""
    kinds = [isinstance(entry, ast.Slice) for entry in node.elts[-2:]]
    if len(node.elts) >= 2 and kinds.count(True) == 1:
        yield _with(node, elts=[*node.elts[:-2], node.elts[-1], node.elts[-2]])


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.deepcopy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _at(tree: ast.AST, path: Path) -> ast.AST:
    node: ast.AST = tree
    for name, index in path:
        value = getattr(node, name)
        node = value if index is None else value[index]
    return node


def _replace(tree: ast.AST, path: Path, new: ast.AST) -> None:
    *way, (name, index) = path
    parent = _at(tree, tuple(way))
    if index is None:
        setattr(parent, name, new)
    else:
        getattr(parent, name)[index] = new


def _difference(node: ast.AST, changed: ast.AST, statement: ast.stmt) -> tuple[str, str]:
    """The changed expression before and after; of a bare constant or tuple, the statement's first line says more."""
    before, after = ast.unparse(node), ast.unparse(changed)
    if isinstance(node, ast.Constant | ast.Tuple | ast.UnaryOp) and not isinstance(statement, ast.FunctionDef):
        whole = ast.unparse(statement).splitlines()[0]
        return f"{before}` in `{whole[:90]}", after
    return before, after
