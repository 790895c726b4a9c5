"""Launching overlays in a running program, each after those that it needs (doc/configuration.md).

A configuration describes a whole node as data. A launcher describes one overlay as code: when to start it, with which
key and settings, and what to do afterwards::

    @overlay("my_package.community", "MyCommunity")
    @walk_strategy(RandomWalk, target_peers=30)
    @after("DHTLauncher")
    @precondition("session.config.my_community.enabled")
    @set_in_session("my_community")
    class MyLauncher(CommunityLauncher):
        ...

    loader = IPv8CommunityLoader()
    loader.set_launcher(MyLauncher())
    loader.load(ipv8, session)
"""

from __future__ import annotations

import heapq
import inspect
import logging
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, Union, cast

from .expressions import Expression, get_attribute, has_attribute
from .reexports import reexports

if TYPE_CHECKING:
    from types import ModuleType

    from .bootstrapping.bootstrapper_interface import Bootstrapper
    from .community import Community
    from .messaging.interfaces.endpoint import Endpoint
    from .overlay import Overlay
    from .peer import Peer
    from .peerdiscovery.discovery import DiscoveryStrategy
    from .peerdiscovery.network import Network

__all__ = [
    "CommunityLauncher",
    "CommunityLoader",
    "IPv8CommunityLoader",
    "after",
    "bootstrapper",
    "kwargs",
    "name",
    "overlay",
    "precondition",
    "set_in_session",
    "walk_strategy",
]

SessionT = TypeVar("SessionT")
CommunityT = TypeVar("CommunityT")
LauncherT = TypeVar("LauncherT", bound="type[CommunityLauncher[Any, Any]]")
ClassSource = Union["ModuleType", str, type, Callable[[], type]]

_HARMLESS_BUILTINS: dict[str, Callable[..., Any]] = {
    **{function.__name__: function for function in (
        all, any, bool, bytes, callable, dict, float, int, isinstance, len, list, max, min, set, str, tuple)},
    "getattr": get_attribute, "hasattr": has_attribute,
}


class CommunityLauncher(Generic[SessionT, CommunityT]):
    """How to launch one overlay. Subclasses override methods, by themselves or by the decorators of this module.

    The class attribute ``hiddenimports`` has the names of the modules that are imported by name. Tools that freeze an
    application do not find these on their own.
    """

    hiddenimports: set[str] = set()  # noqa: RUF012 - public class attribute; decorators replace, never extend it

    def __init__(self) -> None:
        self.community_args: list[Any] = []
        self.community_kwargs: dict[str, Any] = {}

    def get_name(self) -> str:
        """The name of this launcher, as :meth:`not_before` of other launchers returns it."""
        return type(self).__name__

    def not_before(self) -> list[str]:
        """The names of launchers that are launched before this one, if they are registered and launched at all."""
        return []

    def should_launch(self, session: SessionT) -> bool:  # noqa: ARG002 - for overriding
        """Whether to launch; called when the launchers of :meth:`not_before` have been launched."""
        return True

    def prepare(self, overlay_provider: Any, session: SessionT) -> None:
        """Called before the overlay is made."""

    def finalize(self, ipv8: Any, session: SessionT, community: CommunityT) -> None:
        """Called after ``community`` was made and added to the overlays."""

    def get_kwargs(self, session: SessionT) -> dict[str, Any]:  # noqa: ARG002 - for overriding
        """Additional attributes of the overlay's settings object."""
        return dict(self.community_kwargs)

    def get_overlay_class(self) -> type[CommunityT]:
        """The class of the overlay."""
        raise NotImplementedError(f"{type(self).__name__} needs get_overlay_class(), or @overlay")

    def get_walk_strategies(self) -> list[tuple[type[DiscoveryStrategy[Any]], dict[str, Any], int]]:
        """The walkers: class, keyword arguments, and the number of peers from which on it takes no steps (-1: none)."""
        return []

    def get_bootstrappers(self, session: SessionT) -> list[tuple[type[Bootstrapper], dict[str, Any]]]:  # noqa: ARG002 - for overriding
        """The bootstrappers: class and keyword arguments."""
        return []

    def get_my_peer(self, ipv8: Any, session: SessionT) -> Peer:  # noqa: ARG002 - for overriding
        """The identity of the overlay, by default with a new curve25519 key."""
        from .keyvault.crypto import default_eccrypto
        from .peer import Peer

        return Peer(default_eccrypto.generate_key("curve25519"))


class CommunityLoader:
    """Launches each of its launchers once, in an order that follows ``not_before``.

    ``community_launchers`` has, by name, the launchers and whether they have been launched.
    """

    def __init__(self) -> None:
        self.community_launchers: dict[str, tuple[CommunityLauncher[Any, Any], bool]] = {}
        self._logger = logging.getLogger(type(self).__name__)

    def get_launcher(self, launcher_name: str) -> CommunityLauncher[Any, Any]:
        """The launcher called ``launcher_name``; ``KeyError`` if there is none."""
        return self.community_launchers[launcher_name][0]

    def has_launched(self, launcher_name: str) -> bool:
        """Whether the launcher called ``launcher_name`` is registered and has been launched."""
        return launcher_name in self.community_launchers and self.community_launchers[launcher_name][1]

    def set_launcher(self, launcher: CommunityLauncher[Any, Any]) -> None:
        """Register ``launcher``. It replaces one of the same name, unless that has been launched already."""
        assert isinstance(launcher, CommunityLauncher), f"{launcher!r} is not a CommunityLauncher"
        name = launcher.get_name()
        if self.has_launched(name):
            self._logger.error("The launcher %s has been launched already and cannot be replaced.", name)
            return
        if name in self.community_launchers:
            self._logger.info("The launcher %s is replaced by another one.", name)
        self.community_launchers[name] = (launcher, False)

    def del_launcher(self, launcher: CommunityLauncher[Any, Any]) -> None:
        """Forget ``launcher``, if it is registered."""
        self.community_launchers.pop(launcher.get_name(), None)

    def load(self, overlay_provider: Any, session: Any) -> None:
        """Launch all registered launchers that should launch and have not been launched.

        :raises RuntimeError: if launchers wait for one another. All others have been launched then.
        """
        pending = {name: launcher for name, (launcher, launched) in self.community_launchers.items() if not launched}
        schedule = _Schedule({name: launcher.not_before() for name, launcher in pending.items()})
        while pending:
            name = schedule.next()
            if name is None:
                name = next((other for other in schedule.waiting() if not pending[other].should_launch(session)), None)
                if name is None:
                    raise RuntimeError("these launchers wait for one another by not_before(): "
                                       + ", ".join(schedule.waiting()))
                del pending[name]
            else:
                launcher = pending.pop(name)
                if launcher.should_launch(session):
                    self._launch(launcher, overlay_provider, session)
                    self.community_launchers[name] = (launcher, True)
            schedule.done(name)

    def _launch(self, launcher: CommunityLauncher[Any, Any], ipv8: Any, session: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not know how to launch: use IPv8CommunityLoader")


class _Schedule:
    """Topological order of names: that of a loop which goes over all names again and again and takes the ready ones.

    Names are ordered by the round in which that loop takes them, then by their index. A name that waits for another one
    is taken in the same round if it comes after it, otherwise in the next round.
    """

    def __init__(self, requirements: dict[str, list[str]]) -> None:
        self._index = {name: index for index, name in enumerate(requirements)}
        self._names = list(requirements)
        self._round = dict.fromkeys(requirements, 0)
        self._blockers = {name: {other for other in others if other in requirements}
                          for name, others in requirements.items()}
        self._dependents: dict[str, list[str]] = {name: [] for name in requirements}
        for name, others in self._blockers.items():
            for other in others:
                self._dependents[other].append(name)
        self._ready = [(0, index) for name, index in self._index.items() if not self._blockers[name]]

    def next(self) -> str | None:
        """The next name; ``None`` if all names that are left wait for one another."""
        return self._names[heapq.heappop(self._ready)[1]] if self._ready else None

    def waiting(self) -> list[str]:
        """The names that wait for others."""
        return [name for name in self._names if self._blockers.get(name)]

    def done(self, name: str) -> None:
        """Note that nothing waits for ``name`` any more."""
        self._blockers.pop(name)
        for dependent in self._dependents[name]:
            blockers = self._blockers.get(dependent)
            if blockers:
                later = self._round[name] + (self._index[dependent] < self._index[name])
                self._round[dependent] = max(self._round[dependent], later)
                blockers.discard(name)
                if not blockers:
                    heapq.heappush(self._ready, (self._round[dependent], self._index[dependent]))


class IPv8CommunityLoader(CommunityLoader):
    """Launches into an object with ``endpoint``, ``network``, ``overlays`` and ``strategies``, such as the service."""

    def _launch(self, launcher: CommunityLauncher[Any, Any], ipv8: _OverlayProvider, session: Any) -> None:
        launcher.prepare(ipv8, session)
        overlay_class = launcher.get_overlay_class()
        strategies = launcher.get_walk_strategies()
        my_peer = launcher.get_my_peer(ipv8, session)
        extra = launcher.get_kwargs(session)
        community = overlay_class(overlay_class.settings_class(
            my_peer=my_peer, endpoint=ipv8.endpoint, network=ipv8.network, **extra))
        ipv8.overlays.append(community)
        for strategy_class, arguments, target_peers in strategies:
            ipv8.strategies.append((strategy_class(community, **arguments), target_peers))
        for bootstrapper_class, arguments in launcher.get_bootstrappers(session):
            cast("Community", community).bootstrappers.append(bootstrapper_class(**arguments))
        launcher.finalize(ipv8, session, community)


class _OverlayProvider(Protocol):
    endpoint: Endpoint
    network: Network
    overlays: list[Overlay[Any]]
    strategies: list[tuple[DiscoveryStrategy[Any], int]]


# -- class decorators ------------------------------------------------------------------------------------------------

class Decorator(Protocol):
    """Changes a class of launchers and returns it."""

    def __call__(self, launcher_class: LauncherT, /) -> LauncherT:
        """Change ``launcher_class``."""


def _remember_import(launcher_class: type[CommunityLauncher[Any, Any]], module: str) -> None:
    launcher_class.hiddenimports = {*launcher_class.hiddenimports, module}


def _override(launcher_class: LauncherT, method: str, function: Callable[..., Any]) -> LauncherT:
    setattr(launcher_class, method, function)
    return launcher_class


def _resolve(source: ClassSource, class_name: str | None) -> type:
    """The class that ``source`` is, returns or contains."""
    if isinstance(source, str):
        source = import_module(source)  # only the program knows which one it is
    if inspect.ismodule(source):
        if class_name is None:
            raise ValueError(f"the name of a class in {source.__name__} is missing")
        return cast("type", getattr(source, class_name))
    return source if isinstance(source, type) else source()


def _condition(expression: str | Callable[[Any], Any]) -> Callable[[object, Any], Any]:
    """``expression`` as a function of the launcher and the session; a callable gets only the session."""
    if not isinstance(expression, str):
        return lambda _, session: expression(session)
    compiled = Expression(expression)
    return lambda launcher, session: compiled({**_HARMLESS_BUILTINS, "self": launcher, "session": session})


def name(str_name: str) -> Decorator:
    """Call the launcher ``str_name``."""
    def decorate(cls: LauncherT, /) -> LauncherT:
        return _override(cls, "get_name", lambda _: str_name)
    return decorate


def after(*launcher_name: str) -> Decorator:
    """Launch after the launchers with these names."""
    def decorate(cls: LauncherT, /) -> LauncherT:
        inner = cls.not_before
        return _override(cls, "not_before", lambda self: [*inner(self), *launcher_name])
    return decorate


def precondition(str_condition: str | Callable[[Any], Any]) -> Decorator:
    """Launch only if ``str_condition`` is true as well.

    :param str_condition: text over ``session`` and ``self`` (the launcher) as :class:`~ipv8.expressions.Expression`
        allows it, or a function that gets the session.
    """
    condition = _condition(str_condition)

    def decorate(cls: LauncherT, /) -> LauncherT:
        inner = cls.should_launch
        return _override(cls, "should_launch", lambda self, session: (
            inner(self, session) and bool(condition(self, session))))
    return decorate


def overlay(str_module_or_class: ClassSource, str_definition: str | None = None) -> Decorator:
    """The overlay to launch: a class, a function that returns it, or a module (or its name) and the name of the class.

    Functions are called and modules are imported when the overlay is launched.
    """
    def decorate(cls: LauncherT, /) -> LauncherT:
        if isinstance(str_module_or_class, str):
            _remember_import(cls, str_module_or_class)
        return _override(cls, "get_overlay_class", lambda _: _resolve(str_module_or_class, str_definition))
    return decorate


def walk_strategy(str_module_or_class: ClassSource, str_definition: str | None = None, target_peers: int = 20,
                  kw_args: dict[str, Any] | None = None) -> Decorator:
    """Let a strategy walk for the overlay; the class is looked up at once.

    :param str_module_or_class: as for :func:`overlay`.
    :param target_peers: the number of peers from which on the strategy takes no steps; -1 for any number.
    :param kw_args: keyword arguments of its constructor.
    """
    def decorate(cls: LauncherT, /) -> LauncherT:
        if isinstance(str_module_or_class, str):
            _remember_import(cls, str_module_or_class)
        entry = (_resolve(str_module_or_class, str_definition), kw_args or {}, target_peers)
        inner = cls.get_walk_strategies
        return _override(cls, "get_walk_strategies", lambda self: [*inner(self), entry])
    return decorate


def bootstrapper(str_module_or_class: ClassSource, str_definition: str | None = None,
                 kw_args: dict[str, Any] | None = None) -> Decorator:
    """Add a bootstrapper, which finds the first peers of the overlay; the class is looked up at once.

    :param str_module_or_class: as for :func:`overlay`.
    :param kw_args: keyword arguments of its constructor.
    """
    def decorate(cls: LauncherT, /) -> LauncherT:
        if isinstance(str_module_or_class, str):
            _remember_import(cls, str_module_or_class)
        entry = (_resolve(str_module_or_class, str_definition), kw_args or {})
        inner = cls.get_bootstrappers
        return _override(cls, "get_bootstrappers", lambda self, session: [*inner(self, session), entry])
    return decorate


def set_in_session(attribute_name: str) -> Decorator:
    """Store the overlay as an attribute of the session after the launch."""
    def decorate(cls: LauncherT, /) -> LauncherT:
        inner = cls.finalize

        def finalize(self: Any, ipv8: Any, session: Any, community: Any) -> None:
            inner(self, ipv8, session, community)
            setattr(session, attribute_name, community)

        return _override(cls, "finalize", finalize)
    return decorate


def kwargs(**kw_args: str | Callable[[Any], Any]) -> Decorator:
    """Set attributes of the overlay's settings to values that are computed at launch.

    :param kw_args: for each attribute an expression or a function as for :func:`precondition`.
    """
    values = {attribute: _condition(expression) for attribute, expression in kw_args.items()}

    def decorate(cls: LauncherT, /) -> LauncherT:
        inner = cls.get_kwargs
        return _override(cls, "get_kwargs", lambda self, session: {
            **inner(self, session), **{attribute: value(self, session) for attribute, value in values.items()}})
    return decorate


if TYPE_CHECKING:  # programs import these from here
    from .keyvault.crypto import default_eccrypto as default_eccrypto
    from .peer import Peer as Peer
else:
    __getattr__, __dir__ = reexports(__name__, {".keyvault.crypto": "default_eccrypto", ".peer": "Peer"})
