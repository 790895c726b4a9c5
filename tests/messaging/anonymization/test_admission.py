from __future__ import annotations

import itertools
from typing import Any

import pytest

from ipv8.messaging.address import TunnelledAddress
from ipv8.messaging.anonymization.admission import ADMISSION, Origin, admits, inside_circuit, own_circuit
from ipv8.messaging.anonymization.community import TunnelCommunity
from ipv8.messaging.anonymization.tunnel import (
    CIRCUIT_TYPE_DATA,
    CIRCUIT_TYPE_IP_SEEDER,
    CIRCUIT_TYPE_RP_DOWNLOADER,
    CIRCUIT_TYPE_RP_SEEDER,
    Circuit,
)
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.test.messaging.anonymization.base import TestTunnelBase

PLACES = dict(zip("sPEDISCdi", Origin, strict=True))
"""A letter for each place: socket, plaintext cell, exit; own circuit for data, to an introduction point, to a
rendezvous point as service, and as client; inside the data of the first two."""

TABLE = {
    0: "s", 1: "EDISC", 2: "P", 3: "P", 4: "E", 5: "DISC", 6: "ESC", 7: "DISC", 8: "s", 9: "E", 10: "I", 11: "E",
    12: "S", 13: "si", 14: "d", 15: "E", 16: "C", 17: "sE", 18: "Dd", 19: "ESC", 20: "DISC", 40: "EDSC",
}
OF_PROGRAMS = "EDISC"


def expected(msg_id: int) -> set[Origin]:
    return {PLACES[letter] for letter in TABLE.get(msg_id, OF_PROGRAMS)}


@pytest.mark.parametrize(("msg_id", "origin"), list(itertools.product([*range(31), 40, 255], Origin)))
def test_each_cell_of_the_table(msg_id: int, origin: Origin) -> None:
    assert admits(msg_id, origin) == (origin in expected(msg_id))


def test_the_table_has_all_messages_of_the_specification() -> None:
    assert sorted(ADMISSION) == [*range(21), 40]


def test_origins_of_circuits() -> None:
    assert own_circuit(CIRCUIT_TYPE_DATA) == own_circuit("SPEED_TEST") == Origin.CIRCUIT_DATA
    assert inside_circuit(CIRCUIT_TYPE_DATA) == Origin.INSIDE_DATA
    assert inside_circuit(CIRCUIT_TYPE_IP_SEEDER) == Origin.INSIDE_IP_SEEDER
    for ctype in (CIRCUIT_TYPE_RP_SEEDER, CIRCUIT_TYPE_RP_DOWNLOADER):
        assert not any(admits(msg_id, inside_circuit(ctype)) for msg_id in range(256))


SOURCE = ("1.2.3.4", 5)
CIRCUITS = {1: CIRCUIT_TYPE_DATA, 2: CIRCUIT_TYPE_IP_SEEDER, 3: CIRCUIT_TYPE_RP_SEEDER, 4: CIRCUIT_TYPE_RP_DOWNLOADER,
            5: "SPEED_TEST"}


class TestAdmissionOfACommunity(TestTunnelBase[Any]):
    """What the community does with a message for each circuit and each kind of source."""

    def setUp(self) -> None:
        super().setUp()
        self.initialize(TunnelCommunity, 1)
        self.community = self.overlay(0)
        for circuit_id, ctype in CIRCUITS.items():
            self.community.circuits[circuit_id] = Circuit(circuit_id, 1, ctype)
        self.handled: list[tuple[Any, ...]] = []
        for msg_id in range(256):
            self.community.decode_map_private[msg_id] = lambda *arguments: self.handled.append(arguments)

    async def test_own_circuits(self) -> None:
        for circuit_id, ctype in CIRCUITS.items():
            for source, origin in ((SOURCE, own_circuit(ctype)), (TunnelledAddress(*SOURCE), inside_circuit(ctype))):
                for msg_id in (1, *range(4, 31)):
                    self.handled.clear()
                    before = self.community.drops[DropCounter.NOT_ADMITTED]
                    packet = self.community.get_prefix() + bytes((msg_id,)) + circuit_id.to_bytes(4, "big")
                    self.community.on_packet_from_circuit(source, packet, circuit_id)
                    assert bool(self.handled) == admits(msg_id, origin), (ctype, msg_id)
                    assert self.community.drops[DropCounter.NOT_ADMITTED] - before == (not self.handled)

    async def test_create_and_created_never_come_out_of_data(self) -> None:
        for msg_id in (2, 3):
            packet = self.community.get_prefix() + bytes((msg_id,)) + bytes(4)
            self.community.on_packet_from_circuit(TunnelledAddress(*SOURCE), packet, 1)
        assert not self.handled

    async def test_encrypted_cells_carry_no_create_and_plain_ones_nothing_else(self) -> None:
        for msg_id in range(31):
            for is_plain in (False, True):
                self.handled.clear()
                cell = bytes.fromhex("00" "00000001") + bytes((is_plain, 0, msg_id))
                self.community.on_cell(SOURCE, self.community.get_prefix() + cell)
                fits = is_plain == (msg_id in {2, 3})
                admitted = is_plain or admits(msg_id, Origin.CIRCUIT_DATA)
                assert bool(self.handled) == (fits and admitted), (msg_id, is_plain)

    async def test_unknown_circuits_have_no_messages(self) -> None:
        for msg_id in (1, *range(4, 31)):
            packet = self.community.get_prefix() + bytes((msg_id,)) + bytes(4)
            self.community.on_packet_from_circuit(SOURCE, packet, 77)
        assert not self.handled

    async def test_short_packets_and_other_prefixes(self) -> None:
        for packet in (b"", self.community.get_prefix(), bytes(40)):
            self.community.on_packet_from_circuit(SOURCE, packet, 1)
        for size in range(8):
            self.community.on_cell(SOURCE, self.community.get_prefix() + bytes(size))
        assert not self.handled

    async def test_no_socket_sends_to_where_something_came_out_of_a_circuit(self) -> None:
        before = self.endpoint(0).bytes_up
        self.endpoint(0).send(TunnelledAddress(*self.address(0)), b"secret")
        assert self.endpoint(0).bytes_up == before
        assert self.endpoint(0).drops[DropCounter.SEND_NO_ROUTE] == 1
