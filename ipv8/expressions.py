"""The expressions of launchers: Python, as text (doc/configuration.md).

An expression is part of the program that defines it. It is evaluated like the rest of that program, with all names that
Python has built in. Nothing is forbidden: never take an expression from a file or a peer.

It is compiled when it is defined, so that the traceback of a mistake shows the definition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Expression"]


class Expression:
    """A compiled expression.

    :param source: its text.
    :raises ValueError: if it is not an expression, or is nested too deeply to be compiled.
    """

    __slots__ = ("_code", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        try:
            self._code = compile(source.strip(), f"<expression {source!r:.200}>", "eval")
        except SyntaxError as e:
            raise ValueError(f"{source!r:.200} is not an expression: {e.msg}") from e
        except (RecursionError, MemoryError) as e:
            raise ValueError(f"{source!r:.200} is nested too deeply: pass a function instead") from e
        except ValueError as e:  # for example because of a zero byte
            raise ValueError(f"{source!r:.200} is not an expression: {e}") from e

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"

    def __call__(self, scope: Mapping[str, Any]) -> Any:
        """The value of the expression with the names in ``scope``, in addition to those that Python has built in.

        :raises NameError: if it uses another name.
        """
        try:
            return eval(self._code, dict(scope))  # noqa: S307 - code of the program, see above
        except NameError as e:
            innermost = e.__traceback__
            while innermost is not None and innermost.tb_next is not None:
                innermost = innermost.tb_next
            if innermost is not None and innermost.tb_frame.f_code.co_filename == self._code.co_filename:
                raise NameError(f"name {e.name!r} in the expression {self.source!r} is none of "
                                f"{', '.join(sorted(scope))}, or of what Python has built in") from e
            raise
