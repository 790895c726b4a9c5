"""A small evaluator for the expressions of launchers (doc/configuration.md).

An expression may contain literals, f-strings, names, attributes, subscripts, slices, calls, boolean operators,
comparisons, conditional expressions and arithmetic. It may not contain lambdas, comprehensions, unpacking, assignments
or attributes that start with ``__``. It is parsed and checked when it is defined, so that the traceback of a mistake
shows the definition.
"""

from __future__ import annotations

import ast
import operator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Expression", "get_attribute", "has_attribute"]

MAX_EXPRESSION_LENGTH = 4096  # characters; limits the depth of the recursion below

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
    ast.In: lambda item, container: item in container, ast.NotIn: lambda item, container: item not in container,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_, ast.USub: operator.neg, ast.UAdd: operator.pos,
}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.BitAnd: operator.and_, ast.BitOr: operator.or_,
}
_LITERALS: dict[type[ast.expr], Callable[[list[Any]], Any]] = {ast.Tuple: tuple, ast.List: list, ast.Set: set}
_CONVERSIONS: dict[int, Callable[[Any], Any]] = {
    -1: lambda value: value, ord("s"): str, ord("r"): repr, ord("a"): ascii,
}


def _is_reachable(attribute: str) -> bool:
    return not attribute.startswith("__")


def get_attribute(owner: Any, attribute: str, *default: Any) -> Any:
    """``getattr`` for the scope of an expression.

    :raises ValueError: if the name of the attribute starts with ``__``.
    """
    if isinstance(attribute, str) and not _is_reachable(attribute):
        raise ValueError(f"the attribute {attribute!r} is not allowed in an expression: pass a function instead")
    return getattr(owner, attribute, *default)


def has_attribute(owner: Any, attribute: str) -> bool:
    """``hasattr`` for the scope of an expression.

    :raises ValueError: if the name of the attribute starts with ``__``.
    """
    try:
        get_attribute(owner, attribute)
    except AttributeError:
        return False
    return True


class Expression:
    """A checked expression.

    :param source: its text.
    :raises ValueError: if it is not an expression, or contains something that is not allowed.
    """

    __slots__ = ("_tree", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        if len(source) > MAX_EXPRESSION_LENGTH:
            raise ValueError(f"an expression may have up to {MAX_EXPRESSION_LENGTH} characters, not {len(source)}")
        try:
            self._tree = ast.parse(source.strip(), mode="eval").body
        except SyntaxError as e:
            raise ValueError(f"{source!r} is not an expression: {e.msg}") from e
        for node in ast.walk(self._tree):
            self._check(node)

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"

    def _check(self, node: ast.AST) -> None:
        if isinstance(node, (ast.UnaryOp, ast.BinOp)):
            allowed = type(node.op) in _UNARY or type(node.op) in _BINARY
        elif isinstance(node, ast.Dict):
            allowed = None not in node.keys
        elif isinstance(node, ast.Attribute):
            allowed = _is_reachable(node.attr)
        else:
            allowed = isinstance(node, (
                ast.Constant, ast.Name, ast.Subscript, ast.Call, ast.keyword, ast.BoolOp, ast.Compare, ast.IfExp,
                ast.Tuple, ast.List, ast.Set, ast.Slice, ast.JoinedStr, ast.FormattedValue,
                ast.expr_context, ast.boolop, ast.unaryop, ast.operator, ast.cmpop))
        if not allowed or (isinstance(node, ast.keyword) and node.arg is None):
            text = ast.unparse(node) if isinstance(node, (ast.expr, ast.keyword)) else type(node).__name__
            raise ValueError(f"{text!r} is not allowed in the expression {self.source!r}: pass a function instead")

    def __call__(self, scope: Mapping[str, Any]) -> Any:
        """The value of the expression with the names in ``scope``.

        :raises NameError: if it uses another name.
        """
        return self._value(self._tree, scope)

    def _value(self, node: ast.expr, scope: Mapping[str, Any]) -> Any:
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            return _LITERALS[type(node)]([self._value(element, scope) for element in node.elts])
        return getattr(self, f"_value_of_{type(node).__name__.lower()}")(node, scope)

    def _value_of_constant(self, node: ast.Constant, scope: Mapping[str, Any]) -> Any:  # noqa: ARG002 - one signature
        return node.value

    def _value_of_name(self, node: ast.Name, scope: Mapping[str, Any]) -> Any:
        if node.id not in scope:
            raise NameError(f"name {node.id!r} in the expression {self.source!r} is none of {', '.join(scope)}")
        return scope[node.id]

    def _value_of_attribute(self, node: ast.Attribute, scope: Mapping[str, Any]) -> Any:
        return getattr(self._value(node.value, scope), node.attr)

    def _value_of_subscript(self, node: ast.Subscript, scope: Mapping[str, Any]) -> Any:
        return self._value(node.value, scope)[self._value(node.slice, scope)]

    def _value_of_slice(self, node: ast.Slice, scope: Mapping[str, Any]) -> Any:
        return slice(*(None if bound is None else self._value(bound, scope)
                       for bound in (node.lower, node.upper, node.step)))

    def _value_of_joinedstr(self, node: ast.JoinedStr, scope: Mapping[str, Any]) -> Any:
        return "".join(self._value(part, scope) for part in node.values)

    def _value_of_formattedvalue(self, node: ast.FormattedValue, scope: Mapping[str, Any]) -> Any:
        value = _CONVERSIONS[node.conversion](self._value(node.value, scope))
        return format(value, "" if node.format_spec is None else self._value(node.format_spec, scope))

    def _value_of_call(self, node: ast.Call, scope: Mapping[str, Any]) -> Any:
        return self._value(node.func, scope)(
            *(self._value(argument, scope) for argument in node.args),
            **{str(keyword.arg): self._value(keyword.value, scope) for keyword in node.keywords})

    def _value_of_boolop(self, node: ast.BoolOp, scope: Mapping[str, Any]) -> Any:
        decisive = isinstance(node.op, ast.Or)
        for operand in node.values[:-1]:
            value = self._value(operand, scope)
            if bool(value) is decisive:
                return value
        return self._value(node.values[-1], scope)

    def _value_of_unaryop(self, node: ast.UnaryOp, scope: Mapping[str, Any]) -> Any:
        return _UNARY[type(node.op)](self._value(node.operand, scope))

    def _value_of_binop(self, node: ast.BinOp, scope: Mapping[str, Any]) -> Any:
        return _BINARY[type(node.op)](self._value(node.left, scope), self._value(node.right, scope))

    def _value_of_compare(self, node: ast.Compare, scope: Mapping[str, Any]) -> Any:
        left = self._value(node.left, scope)
        result: Any = True
        for comparison, operand in zip(node.ops, node.comparators, strict=True):
            right = self._value(operand, scope)
            result = _COMPARISONS[type(comparison)](left, right)
            if not result:
                break
            left = right
        return result

    def _value_of_ifexp(self, node: ast.IfExp, scope: Mapping[str, Any]) -> Any:
        return self._value(node.body if self._value(node.test, scope) else node.orelse, scope)

    def _value_of_dict(self, node: ast.Dict, scope: Mapping[str, Any]) -> Any:
        keys = (self._value(key, scope) for key in node.keys if key is not None)
        return dict(zip(keys, [self._value(value, scope) for value in node.values], strict=True))
