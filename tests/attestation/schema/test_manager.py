"""Identity formats, and how their weaknesses are told."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from ipv8.attestation import identity_formats
from ipv8.attestation.default_identity_formats import FORMATS, STRONGER_FORMATS
from ipv8.attestation.identity_formats import Attestation, IdentityAlgorithm, WeakFormatWarning, warn_of_weakness
from ipv8.attestation.schema.manager import SchemaManager
from ipv8.attestation.wallet.bonehexact.algorithm import BonehExactAlgorithm
from ipv8.attestation.wallet.pengbaorange.algorithm import PengBaoRangeAlgorithm


@pytest.fixture
def schemas() -> SchemaManager:
    manager = SchemaManager()
    manager.register_default_schemas()
    return manager


def test_default_formats(schemas: SchemaManager) -> None:
    assert schemas.formats == FORMATS
    assert list(FORMATS) == ["id_metadata", "id_metadata_big", "id_metadata_huge", "id_metadata_range_18plus"]
    for name in FORMATS:
        algorithm = schemas.get_algorithm_instance(name)
        expected = PengBaoRangeAlgorithm if "range" in name else BonehExactAlgorithm
        assert type(algorithm) is expected
        assert algorithm.id_format == name
        assert schemas.get_algorithm_instance(name) is not algorithm
    assert schemas.algorithms == {"bonehexact": BonehExactAlgorithm, "pengbaorange": PengBaoRangeAlgorithm}
    assert not SchemaManager().formats


def test_stronger_formats(schemas: SchemaManager) -> None:
    schemas.register_stronger_schemas()
    assert schemas.formats == FORMATS | STRONGER_FORMATS
    for name in STRONGER_FORMATS:
        algorithm: Any = schemas.get_algorithm_instance(name)
        assert algorithm.key_size >= 512


def test_formats_of_programs(schemas: SchemaManager) -> None:
    schemas.register_schema("mine", "bonehexact", {"key_size": 40, "hash": "sha256"})
    assert schemas.formats["mine"] == {"algorithm": "bonehexact", "key_size": 40, "hash": "sha256"}
    algorithm: Any = schemas.get_algorithm_instance("mine")
    assert algorithm.key_size == 40
    schemas.register_schema("mine", "unknown", {"algorithm": "bonehexact"})
    assert schemas.formats["mine"]["algorithm"] == "bonehexact"


def test_unknown_names(schemas: SchemaManager) -> None:
    with pytest.raises(KeyError):
        schemas.get_algorithm_instance("unknown")
    with pytest.raises(RuntimeError, match="irmaexact"):
        schemas.get_algorithm_class("irmaexact")


def test_algorithms_of_programs(schemas: SchemaManager) -> None:
    class Mine(BonehExactAlgorithm):
        weakness = ""

    schemas.algorithms["bonehexact"] = Mine
    assert type(schemas.get_algorithm_instance("id_metadata")) is Mine
    assert schemas.weakness_of("id_metadata") is None


def test_all_default_formats_tell_their_weaknesses(schemas: SchemaManager) -> None:
    for name in FORMATS:
        weakness = schemas.weakness_of(name)
        assert weakness is not None
        assert "hides nothing" in weakness
        assert "historic" in weakness
    with pytest.raises(KeyError):
        schemas.weakness_of("unknown")


def test_the_warning_comes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_formats, "_warned", False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            warn_of_weakness("id_metadata", "It is weak.")
    assert [entry.category for entry in caught] == [WeakFormatWarning]
    assert "id_metadata" in str(caught[0].message)
    assert "doc/attestation.md" in str(caught[0].message)


def test_base_classes() -> None:
    with pytest.raises(TypeError):
        Attestation()  # type: ignore[abstract]
    with pytest.raises(TypeError):
        IdentityAlgorithm("x", {"x": {}})  # type: ignore[abstract]
    for method in (Attestation.unserialize, lambda s, f: Attestation.unserialize_private(None, s, f)):
        with pytest.raises(NotImplementedError):
            method(b"", "x")
    assert identity_formats.__all__ == ["Attestation", "IdentityAlgorithm"]
