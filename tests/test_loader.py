"""Launchers: the order they go in, what they build, and the decorators that make them."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8 import loader
from ipv8.loader import (
    CommunityLauncher,
    CommunityLoader,
    IPv8CommunityLoader,
    after,
    bootstrapper,
    kwargs,
    name,
    overlay,
    precondition,
    set_in_session,
    walk_strategy,
)


class Settings(SimpleNamespace):
    pass


class FakeOverlay:
    settings_class = Settings

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bootstrappers: list[Any] = []


class FakeStrategy:
    def __init__(self, overlay: FakeOverlay, timeout: float = 1.0) -> None:
        self.overlay = overlay
        self.timeout = timeout


class FakeBootstrapper:
    def __init__(self, addresses: tuple[str, ...] = ()) -> None:
        self.addresses = addresses


class RecordingLoader(CommunityLoader):
    def __init__(self) -> None:
        super().__init__()
        self.launched: list[str] = []

    def _launch(self, launcher: CommunityLauncher[Any, Any], overlay_provider: Any, session: Any) -> None:
        self.launched.append(launcher.get_name())
        launcher.finalize(overlay_provider, session, launcher.get_name())


def make_launcher(own_name: str, *others: str, when: Any = None) -> CommunityLauncher[Any, Any]:
    @name(own_name)
    @after(*others)
    class Launcher(CommunityLauncher[Any, Any]):
        def should_launch(self, session: Any) -> bool:
            return when is None or bool(when(session))

    return Launcher()


def load(*launchers: CommunityLauncher[Any, Any], session: Any = None) -> list[str]:
    community_loader = RecordingLoader()
    for launcher in launchers:
        community_loader.set_launcher(launcher)
    community_loader.load(None, session)
    return community_loader.launched


def provider() -> Any:
    return SimpleNamespace(endpoint="endpoint", network="network", overlays=[], strategies=[])


def test_defaults() -> None:
    class Plain(CommunityLauncher[Any, Any]):
        pass

    plain = Plain()
    plain.community_kwargs["a"] = 1
    assert plain.get_name() == "Plain"
    assert plain.not_before() == []
    assert plain.should_launch(None)
    assert plain.get_kwargs(None) == {"a": 1}
    assert plain.get_kwargs(None) is not plain.community_kwargs
    for nothing in (plain.get_walk_strategies(), plain.get_bootstrappers(None), plain.community_args):
        assert list(nothing) == []
    assert plain.get_my_peer(None, None) != plain.get_my_peer(None, None)
    with pytest.raises(NotImplementedError, match="Plain needs get_overlay_class"):
        plain.get_overlay_class()


def test_order_without_requirements_is_that_of_registration() -> None:
    assert load(make_launcher("c"), make_launcher("a"), make_launcher("b")) == ["c", "a", "b"]


def test_requirements_go_first() -> None:
    assert load(make_launcher("a", "c"), make_launcher("b"), make_launcher("c", "b")) == ["b", "c", "a"]


def test_unregistered_and_unwilling_requirements_do_not_hold_up() -> None:
    unwilling = make_launcher("b", when=lambda _: False)
    assert load(make_launcher("a", "b", "nobody"), unwilling) == ["a"]


def test_cycle_is_named_and_others_are_launched() -> None:
    community_loader = RecordingLoader()
    for launcher in (make_launcher("a", "b"), make_launcher("b", "a"), make_launcher("c")):
        community_loader.set_launcher(launcher)
    with pytest.raises(RuntimeError, match=r"wait for one another.*a, b"):
        community_loader.load(None, None)
    assert community_loader.launched == ["c"]


def test_launcher_that_waits_for_itself() -> None:
    with pytest.raises(RuntimeError, match="a"):
        load(make_launcher("a", "a"))


def test_cycle_through_an_unwilling_launcher_is_none() -> None:
    assert load(make_launcher("a", "b"), make_launcher("b", "c"),
                make_launcher("c", "a", when=lambda _: False)) == ["b", "a"]


def test_condition_is_asked_after_the_requirement_was_launched() -> None:
    @set_in_session("dht")
    @name("dht")
    class DHT(CommunityLauncher[Any, Any]):
        pass

    session = SimpleNamespace(dht=None)
    assert load(make_launcher("user", "dht", when=lambda s: s.dht), DHT(), session=session) == ["dht", "user"]


def test_second_load_launches_only_what_is_new() -> None:
    community_loader = RecordingLoader()
    community_loader.set_launcher(make_launcher("a"))
    community_loader.load(None, None)
    community_loader.set_launcher(make_launcher("b", "a"))
    community_loader.load(None, None)
    assert community_loader.launched == ["a", "b"]
    assert community_loader.has_launched("b")


def round_robin(names: list[str], requirements: dict[str, list[str]]) -> list[str]:
    """The order that is specified: over and over again, taking what is ready."""
    queue, done = list(names), []
    while queue:
        current = queue.pop(0)
        if any(other in queue for other in requirements[current]):
            queue.append(current)
        else:
            done.append(current)
    return done


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_order_is_that_of_the_round_robin(data: st.DataObject) -> None:
    names = [f"n{index}" for index in range(data.draw(st.integers(1, 8)))]
    ranks = data.draw(st.permutations(names))
    requirements = {own: [other for other in ranks[:ranks.index(own)] if data.draw(st.booleans())] for own in names}
    assert load(*(make_launcher(own, *requirements[own]) for own in names)) == round_robin(names, requirements)


def test_registration(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    community_loader = RecordingLoader()
    first, second, third = make_launcher("a"), make_launcher("a"), make_launcher("a")
    community_loader.set_launcher(first)
    community_loader.set_launcher(second)
    assert community_loader.get_launcher("a") is second
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert not community_loader.has_launched("a")
    assert not community_loader.has_launched("b")
    community_loader.load(None, None)
    community_loader.set_launcher(third)
    assert community_loader.get_launcher("a") is second
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR"]
    community_loader.del_launcher(second)
    community_loader.del_launcher(second)
    with pytest.raises(KeyError):
        community_loader.get_launcher("a")
    with pytest.raises(AssertionError, match="is not a CommunityLauncher"):
        community_loader.set_launcher("a")  # type: ignore[arg-type]  # the mistake that is tested


def test_base_loader_cannot_launch() -> None:
    community_loader = CommunityLoader()
    community_loader.set_launcher(make_launcher("a"))
    with pytest.raises(NotImplementedError, match="IPv8CommunityLoader"):
        community_loader.load(None, None)


def test_launch() -> None:
    steps: list[str] = []

    @overlay(FakeOverlay)
    @walk_strategy(FakeStrategy, kw_args={"timeout": 3.0})
    @walk_strategy(lambda: FakeStrategy, target_peers=-1)
    @bootstrapper(FakeBootstrapper, kw_args={"addresses": ("a",)})
    @bootstrapper(lambda: FakeBootstrapper)
    @kwargs(port="session.port", title="'x'", both=lambda session: session.port + 1)
    @set_in_session("community")
    class Launcher(CommunityLauncher[Any, Any]):
        def prepare(self, overlay_provider: Any, session: Any) -> None:
            steps.append(f"prepare {len(overlay_provider.overlays)}")

        def get_my_peer(self, ipv8: Any, session: Any) -> Any:
            return "me"

        def finalize(self, ipv8: Any, session: Any, community: Any) -> None:
            steps.append(f"finalize {len(ipv8.overlays)}")

    node, session = provider(), SimpleNamespace(port=5)
    community_loader = IPv8CommunityLoader()
    community_loader.set_launcher(Launcher())
    community_loader.load(node, session)

    (community,) = node.overlays
    assert session.community is community
    assert vars(community.settings) == {"my_peer": "me", "endpoint": "endpoint", "network": "network", "port": 5,
                                        "title": "x", "both": 6}
    assert [(strategy.overlay, strategy.timeout, peers) for strategy, peers in node.strategies] == [
        (community, 1.0, -1), (community, 3.0, 20)]
    assert [b.addresses for b in community.bootstrappers] == [(), ("a",)]
    assert steps == ["prepare 0", "finalize 1"]


def test_after_collects_names_inner_first() -> None:
    @after("c")
    @after("a", "b")
    class Launcher(CommunityLauncher[Any, Any]):
        def not_before(self) -> list[str]:
            return ["own"]

    assert Launcher().not_before() == ["own", "a", "b", "c"]


@pytest.mark.parametrize(("condition", "expected"), [
    ("session.enabled", True),
    ("not session.enabled", False),
    ("session.enabled and self.get_name() == 'Launcher'", True),
    ("len(session.names) > 1", False),
    ("hasattr(session, 'names') and not hasattr(session, 'x')", True),
    ("getattr(session, 'x', 5) == 5", True),
    ("callable(self.get_name) and not callable(session.names)", True),
    ("f'{session.names[0]}' in session.names[0:1]", True),
    ("any(name == self.get_name()[0].lower() for name in session.names)", False),
    ("(lambda: session.enabled)()", True),
    (lambda session: session.names, True),
])
def test_precondition(condition: Any, expected: bool) -> None:
    @precondition(condition)
    class Launcher(CommunityLauncher[Any, Any]):
        pass

    assert Launcher().should_launch(SimpleNamespace(enabled=True, names=["a"])) is expected


def test_all_preconditions_count() -> None:
    @precondition("session.b")
    @precondition("session.a")
    class Launcher(CommunityLauncher[Any, Any]):
        pass

    for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert Launcher().should_launch(SimpleNamespace(a=a, b=b)) is bool(a and b)


def test_mistake_in_an_expression_shows_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="is not an expression"):
        precondition("session.")
    with pytest.raises(ValueError, match="is not an expression"):
        kwargs(a="session.a = 1")


def test_modules_by_name_are_noted_and_overlays_imported_late() -> None:
    class Parent(CommunityLauncher[Any, Any]):
        pass

    @overlay("no.such.module", "Nothing")
    @walk_strategy("json", "JSONDecoder")
    @bootstrapper("json.encoder", "JSONEncoder")
    class Launcher(Parent):
        pass

    assert Launcher.hiddenimports == {"no.such.module", "json", "json.encoder"}
    assert Parent.hiddenimports == CommunityLauncher.hiddenimports == set()
    strategies: list[Any] = Launcher().get_walk_strategies()
    assert strategies[0][0] is json.JSONDecoder
    with pytest.raises(ModuleNotFoundError):
        Launcher().get_overlay_class()


def test_overlay_from_module_and_function() -> None:
    @overlay(json, "JSONDecoder")
    class ByModule(CommunityLauncher[Any, Any]):
        pass

    called: list[int] = []

    def get_class() -> type:
        called.append(1)
        return FakeOverlay

    @overlay(get_class)
    class ByFunction(CommunityLauncher[Any, Any]):
        pass

    assert ByModule().get_overlay_class() is json.JSONDecoder
    assert not called
    assert ByFunction().get_overlay_class() is FakeOverlay
    assert called


def test_module_needs_the_name_of_a_class() -> None:
    with pytest.raises(ValueError, match="name of a class in json"):
        walk_strategy("json")(type("Launcher", (CommunityLauncher,), {}))


def test_decorators_are_public() -> None:
    assert {"name", "after", "precondition", "overlay", "walk_strategy", "bootstrapper", "set_in_session",
            "kwargs"} < set(loader.__all__)


@pytest.mark.parametrize(("decorate", "message"), [
    (kwargs(limitt="5"), "kwargs of Launcher: the settings of LimitedOverlay do not know 'limitt'"),
    (kwargs(limit="'x'"), "kwargs of Launcher: the setting 'limit' must be a number"),
    (walk_strategy(FakeStrategy, kw_args={"timout": 1}), "no argument 'timout'; did you mean 'timeout'"),
    (bootstrapper(FakeBootstrapper, kw_args={"adresses": 1}), "no argument 'adresses'; did you mean"),
])
def test_typos_are_found_before_anything_is_made(decorate: Any, message: str) -> None:
    class LimitedSettings(Settings):
        limit: int = 5

    class LimitedOverlay(FakeOverlay):
        settings_class = LimitedSettings

    class Launcher(CommunityLauncher[Any, Any]):
        def get_overlay_class(self) -> Any:
            return LimitedOverlay

    loader = IPv8CommunityLoader()
    loader.set_launcher(decorate(Launcher)())
    node = provider()
    with pytest.raises(ValueError, match=message):
        loader.load(node, None)
    assert node.overlays == []


def test_settings_that_nobody_declares_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    @kwargs(colour="'red'")
    class Launcher(CommunityLauncher[Any, Any]):
        def get_overlay_class(self) -> Any:
            return FakeOverlay

    loader = IPv8CommunityLoader()
    loader.set_launcher(Launcher())
    node = provider()
    loader.load(node, None)
    assert len(node.overlays) == 1
    assert "the settings of FakeOverlay do not know 'colour'" in caplog.text
