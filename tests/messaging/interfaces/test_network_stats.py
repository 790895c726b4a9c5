from __future__ import annotations

from ipv8.messaging.interfaces.network_stats import DropCounter, NetworkStat


def test_network_stat_starts_at_zero() -> None:
    stat = NetworkStat(7)
    assert stat.to_dict() == {"identifier": 7, "num_up": 0, "num_down": 0, "bytes_up": 0, "bytes_down": 0,
                              "first_measured_up": 0, "first_measured_down": 0, "last_measured_up": 0,
                              "last_measured_down": 0}


def test_network_stat_counts() -> None:
    stat = NetworkStat(1)
    stat.add_sent_stat(10.0, 1500)
    stat.add_sent_stat(12.0, 2070)
    stat.add_received_stat(11.0, 1500)
    stat.add_received_stat(15.0, 2085)
    assert (stat.first_measured_up, stat.last_measured_up) == (10.0, 12.0)
    assert (stat.first_measured_down, stat.last_measured_down) == (11.0, 15.0)
    assert str(stat) == "NetworkStat{num_up:2, num_down:2, bytes_up:3570, bytes_down:3585, ...}"


def test_network_stat_counters_can_be_assigned() -> None:
    stat = NetworkStat(1)
    stat.num_up, stat.num_down, stat.bytes_up, stat.bytes_down = 1, 2, 3, 4
    assert [stat.to_dict()[key] for key in ("num_up", "num_down", "bytes_up", "bytes_down")] == [1, 2, 3, 4]


def test_drop_counter() -> None:
    drops = DropCounter()
    assert drops[DropCounter.SHORT] == 0
    assert drops == {}
    drops.count(DropCounter.SHORT)
    drops.count("bad_signature", 3)
    drops.merge({"short": 2, "undecodable": 1})
    assert drops == {"short": 3, "bad_signature": 3, "undecodable": 1}
