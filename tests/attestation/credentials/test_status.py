"""Status lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ipv8.attestation.credentials.errors import CredentialError
from ipv8.attestation.credentials.status import LIST_SIZE, STATUS_LIFETIME, StatusList, list_of
from tests.attestation.credentials.helpers import NOW

if TYPE_CHECKING:
    from tests.attestation.credentials.helpers import Cast


@given(revoked=st.sets(st.integers(0, 3 * LIST_SIZE)), number=st.integers(0, 2))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lists_round_trip(cast: Cast, revoked: set[int], number: int) -> None:
    made = StatusList.create(cast.authority, number, revoked, NOW)
    read = StatusList.from_bytes(made.to_bytes())
    assert read == made
    for status in revoked:
        if list_of(status) == number:
            assert read.is_revoked(status)
        else:
            with pytest.raises(CredentialError):
                read.is_revoked(status)
    first = number * LIST_SIZE
    assert read.is_revoked(first) is (first in revoked)


def test_a_list_fits_into_a_packet(cast: Cast) -> None:
    assert len(StatusList.create(cast.authority, 0, range(LIST_SIZE), NOW).to_bytes()) < 1000


def test_lists_expire(cast: Cast) -> None:
    made = StatusList.create(cast.authority, 0, [], NOW)
    assert made.is_current(NOW)
    assert made.is_current(NOW + STATUS_LIFETIME - 1)
    assert not made.is_current(NOW + STATUS_LIFETIME)


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bits(cast: Cast, position: int, bit: int) -> None:
    data = bytearray(StatusList.create(cast.authority, 0, [5], NOW).to_bytes())
    data[position % len(data)] ^= 1 << bit
    with pytest.raises(CredentialError):
        StatusList.from_bytes(bytes(data))


@given(data=st.binary(max_size=1000))
@settings(deadline=None)
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(CredentialError):
        StatusList.from_bytes(data)


def test_truncated_and_extended(cast: Cast) -> None:
    data = StatusList.create(cast.authority, 0, [5], NOW).to_bytes()
    for wrong in (data[:-1], data + b"x", b"\x02" + data[1:]):
        with pytest.raises(CredentialError):
            StatusList.from_bytes(wrong)
