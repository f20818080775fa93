"""The small changes: one place of a module's syntax tree at a time, each a mistake that somebody could make."""

import ast
import copy
from collections.abc import Iterator
from typing import Final, NamedTuple

_COMPARED: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_COMPUTED: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_SHOWN: Final = ("__repr__", "__str__")
"""Methods for people: what they say is no decision."""


class Mutant(NamedTuple):
    """One changed module."""

    place: str
    """Function and line, as they are: `Clock.advance: return self.now`."""
    change: str
    """The line as it has become."""
    line: int
    source: str

    @property
    def name(self) -> str:
        """What it is known by, wherever its line moves to."""
        return f"{self.place} => {self.change}"


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module, each once."""
    tree = ast.parse(source)
    seen = set()
    for path, node in _places(tree, ()):
        for changed in _changes(node):
            made = _with(tree, path, changed)
            text = ast.unparse(ast.fix_missing_locations(made))
            if text not in seen:
                seen.add(text)
                yield _named(tree, path, text, node)


Path = tuple[tuple[str, int | None], ...]
"""The way from the module to a node: names of fields, and places in those that are lists."""


def _places(node: ast.AST, path: Path) -> Iterator[tuple[Path, ast.AST]]:
    """Yield every node that may be changed, and the way to it: code, but neither annotations nor texts."""
    yield path, node
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "type_params", "bases"}:
            continue
        if isinstance(value, ast.AST):
            yield from _places(value, (*path, (name, None)))
        elif isinstance(value, list):
            for number, each in enumerate(value):
                if isinstance(each, ast.AST) and not _is_text(each) and getattr(each, "name", "") not in _SHOWN:
                    yield from _places(each, (*path, (name, number)))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    for kind in (_comparisons, _logic, _numbers, _statements, _calls):
        yield from kind(node)


def _comparisons(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for number, each in enumerate(node.ops):
            for other in _COMPARED[type(each)]:
                yield ast.Compare(node.left, [*node.ops[:number], other(), *node.ops[number + 1 :]], node.comparators)


def _logic(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
            for number in range(len(node.values)):
                rest = node.values[:number] + node.values[number + 1 :]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.If() | ast.While() | ast.IfExp():
            yield _replaced(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.comprehension(ifs=[_, *_]):
            yield _replaced(node, ifs=[])


def _numbers(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.UnaryOp(op=ast.USub()):
            yield node.operand
        case ast.BinOp() if type(node.op) in _COMPUTED:
            yield ast.BinOp(node.left, _COMPUTED[type(node.op)](), node.right)
        case ast.AugAssign() if type(node.op) in _COMPUTED:
            yield ast.AugAssign(node.target, _COMPUTED[type(node.op)](), node.value)
        case ast.Constant(value=int()) if not isinstance(node.value, bool):
            yield ast.Constant(node.value + 1)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Return(value=ast.expr()) if not isinstance(node.value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.Delete() | ast.AugAssign() | ast.Continue():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Break():
            yield ast.Continue()


def _calls(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Call(func=ast.Name(id="min" | "max" as name)):
            yield _replaced(node, func=ast.Name("max" if name == "min" else "min"))
        case ast.Call(func=ast.Name(id="any" | "all" as name)):
            yield _replaced(node, func=ast.Name("all" if name == "any" else "any"))
        case ast.Call(func=ast.Name(id="sorted")):
            yield _replaced(node, func=ast.Name("list"), keywords=[])


def _replaced(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _with(tree: ast.Module, path: Path, changed: ast.AST) -> ast.Module:
    """Return a copy of a tree in which one node is another."""
    made = copy.deepcopy(tree)
    *way, (name, number) = path
    node: ast.AST = made
    for step, place in way:
        value = getattr(node, step)
        node = value if place is None else value[place]
    if number is None:
        setattr(node, name, copy.deepcopy(changed))
    else:
        getattr(node, name)[number] = copy.deepcopy(changed)
    return made


def _named(tree: ast.Module, path: Path, text: str, node: ast.AST) -> Mutant:
    before, after = ast.unparse(tree).splitlines(), text.splitlines()
    first = next((n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), len(after) - 1)
    names, at = [], tree
    for step, place in path:
        value = getattr(at, step)
        at = value if place is None else value[place]
        if isinstance(at, ast.FunctionDef | ast.ClassDef):
            names.append(at.name)
    where = ".".join(names) or "module"
    return Mutant(f"{where}: {before[first].strip()}", after[first].strip(), getattr(node, "lineno", 0), text)
