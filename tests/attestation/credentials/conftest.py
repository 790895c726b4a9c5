"""Keys for the tests of credentials."""

from __future__ import annotations

import pytest

from tests.attestation.credentials.helpers import Cast


@pytest.fixture(scope="session")
def cast() -> Cast:
    return Cast()
