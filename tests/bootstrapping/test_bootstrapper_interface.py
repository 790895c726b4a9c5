from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ipv8.bootstrapping.bootstrapper_interface import Bootstrapper
from ipv8.bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
from ipv8.bootstrapping.multicast.bootstrapper import MulticastBootstrapper
from ipv8.bootstrapping.udpbroadcast.bootstrapper import UDPBroadcastBootstrapper

if TYPE_CHECKING:
    from collections.abc import Callable


def test_interface() -> None:
    assert Bootstrapper.__abstractmethods__ == {"initialize", "get_addresses", "keep_alive", "blacklist", "unload"}
    with pytest.raises(TypeError):
        Bootstrapper()  # type: ignore[abstract]  # what is shown


@pytest.mark.parametrize("make", [lambda: DispersyBootstrapper([], []), UDPBroadcastBootstrapper,
                                  MulticastBootstrapper])
async def test_nothing_happens_before_the_initialization(overlay: Any, make: Callable[[], Bootstrapper]) -> None:
    bootstrapper = make()
    assert bootstrapper.initialized is False
    assert list(await bootstrapper.get_addresses(overlay, 1.0)) == []
    bootstrapper.keep_alive(overlay)
    assert list(bootstrapper.blacklist()) == []
    bootstrapper.unload()
    assert overlay.walks == []
    assert overlay.get_tasks() == []
