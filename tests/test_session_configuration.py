"""Encrypted sessions in the configuration of a node (doc/configuration.md)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ipv8 import Community, ConfigBuilder, IPv8
from ipv8.configuration import ConfigurationError
from ipv8.sessions import SessionService


class Quiet(Community):
    community_id = b"an overlay without policy".ljust(20)[:20]


class Secret(Community):
    community_id = b"a secret overlay....".ljust(20)[:20]
    encryption = "require"


def configuration(*classes: type[Community], **options: Any) -> dict[str, Any]:
    builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("me")
    builder.set_address("127.0.0.1").set_port(0).set_log_level("CRITICAL")
    for overlay_class in classes:
        builder.add_overlay(overlay_class.__name__, "me", [], [], {}, [])
    if options:
        builder.set_sessions(**options)
    return builder.finalize()


def node(*classes: type[Community], **options: Any) -> IPv8:
    return IPv8(configuration(*classes, **options), extra_communities={cls.__name__: cls for cls in classes})


async def test_all_overlays_of_the_node_answer() -> None:
    async with node(Quiet, padding=32, overlays={}) as ipv8:
        assert ipv8.sessions is not None
        assert ipv8.sessions.settings.padding == 32
        overlay = ipv8.get_overlay(Quiet)
        assert overlay is not None
        assert overlay._overlay_sessions is not None
        assert overlay._overlay_sessions.encryption == "accept"
    assert SessionService.find(ipv8.endpoint) is None


async def test_policies_by_class() -> None:
    async with node(Quiet, overlays={"Quiet": "prefer"}) as ipv8:
        overlay = ipv8.get_overlay(Quiet)
        assert overlay is not None
        assert overlay.encryption == "prefer"


async def test_sessions_that_an_overlay_asked_for_end_with_the_node() -> None:
    async with node(Quiet, Secret) as ipv8:
        assert ipv8.sessions is None
        assert SessionService.find(ipv8.endpoint) is not None
    assert SessionService.find(ipv8.endpoint) is None


async def test_disabled() -> None:
    async with node(Quiet, enabled=False) as ipv8:
        assert ipv8.sessions is None
        assert SessionService.find(ipv8.endpoint) is None


@pytest.mark.parametrize(("options", "message"), [
    ({"hybrid": "autoo"}, "did you mean 'auto'"), ({"cipher": "des"}, "aes"), ({"paddin": 3}, "padding"),
    ({"padding": 0}, "positive"), ({"idle_timeout": "long"}, "number of seconds"),
    ({"overlays": {"Quiet": "prefers"}}, "did you mean 'prefer'"), ({"overlays": ["Quiet"]}, "dictionary"),
    ({"enabled": "yes"}, "True or False"), ({"overlays": {"Quit": "require"}}, "'Quit'; did you mean 'Quiet'"),
])
def test_mistakes_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        node(Quiet, **options)


def test_policy_of_an_overlay_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    config = configuration(Quiet)
    config["logger"] = {}
    config["sessions"] = {"overlays": {"DHTDiscoveryCommunity": "require"}}

    async def main() -> None:
        async with IPv8(config, extra_communities={"Quiet": Quiet}):
            pass

    asyncio.run(main())
    assert "no overlay of the class 'DHTDiscoveryCommunity'" in caplog.text
