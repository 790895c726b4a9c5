"""Which identity formats there are, and which algorithm each of them has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..default_identity_formats import FORMATS, STRONGER_FORMATS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..identity_formats import IdentityAlgorithm

__all__ = ["SchemaManager"]


class SchemaManager:
    """The known formats.

    ``formats`` has their parameters by name, ``algorithms`` the classes of algorithms that programs added or that were
    needed before.
    """

    def __init__(self) -> None:
        self.formats: dict[str, dict[str, Any]] = {}
        self.algorithms: dict[str, type[IdentityAlgorithm[Any]]] = {}

    def get_algorithm_class(self, algorithm_name: str) -> type[IdentityAlgorithm[Any]]:
        """The class of an algorithm; ``RuntimeError`` if there is none of that name."""
        if algorithm_name not in self.algorithms:
            self.algorithms[algorithm_name] = self._import(algorithm_name)
        return self.algorithms[algorithm_name]

    @staticmethod
    def _import(algorithm_name: str) -> type[IdentityAlgorithm[Any]]:
        if algorithm_name == "bonehexact":
            from ..wallet.bonehexact.algorithm import BonehExactAlgorithm
            return BonehExactAlgorithm
        if algorithm_name == "pengbaorange":
            from ..wallet.pengbaorange.algorithm import PengBaoRangeAlgorithm
            return PengBaoRangeAlgorithm
        raise RuntimeError(f"There is no algorithm {algorithm_name!r}: put its class into algorithms first")

    def register_schema(self, schema_name: str, algorithm_name: str, parameters: Mapping[str, Any]) -> None:
        """Add a format, or replace that of the same name."""
        self.formats[schema_name] = {"algorithm": algorithm_name, **parameters}

    def register_default_schemas(self) -> None:
        """Add the formats that every node knows."""
        self._register(FORMATS)

    def register_stronger_schemas(self) -> None:
        """Add formats with larger keys, which only nodes know that add them as well."""
        self._register(STRONGER_FORMATS)

    def _register(self, formats: Mapping[str, Mapping[str, Any]]) -> None:
        for name, parameters in formats.items():
            others = {key: value for key, value in parameters.items() if key != "algorithm"}
            self.register_schema(name, parameters["algorithm"], others)

    def get_algorithm_instance(self, schema_name: str) -> IdentityAlgorithm[Any]:
        """A new object of the algorithm of a format; ``KeyError`` if there is no format of that name."""
        algorithm = self.get_algorithm_class(self.formats[schema_name]["algorithm"])
        return algorithm(schema_name, self.formats)

    def weakness_of(self, schema_name: str) -> str | None:
        """What a format does not protect from, in words; ``None`` if nothing is known. Errors are as above."""
        return self.get_algorithm_class(self.formats[schema_name]["algorithm"]).weakness or None
