"""A guard before tau2's `calculate`, which evaluates what a model wrote: `9**9**9` would hold the process for hours."""

from __future__ import annotations

import ast

_LONGEST = 1_000
_DEEPEST = 40
_LARGEST_BASE = 1e6
_LARGEST_EXPONENT = 64


def is_bounded(expression: object) -> bool:
    """Say whether tau2's `calculate` ends at once on this value; anything that is no string it refuses by itself."""
    if not isinstance(expression, str):
        return True
    if len(expression) > _LONGEST or expression.count("(") > _DEEPEST:
        return False
    if "**" not in expression.replace(" ", ""):
        return True
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True  # tau2 reports the syntax error itself
    return all(
        _is_small(node) for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)
    )


def _is_small(power: ast.BinOp) -> bool:
    return _constant(power.left, _LARGEST_BASE) and _constant(power.right, _LARGEST_EXPONENT)


def _constant(node: ast.expr, largest: float) -> bool:
    if isinstance(node, ast.UnaryOp):
        return _constant(node.operand, largest)
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and abs(node.value) <= largest
