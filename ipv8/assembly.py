"""What a node is made of: the classes and objects that the blocks of a configuration name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .checks import call_problem, did_you_mean
from .class_tables import _COMMUNITIES, _GENERAL_STRATEGIES, _WALKERS
from .configuration import ConfigurationError
from .messaging.interfaces.dispatcher.endpoint import INTERFACES, DispatcherEndpoint
from .validation import check_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from .overlay import Overlay
    from .peerdiscovery.discovery import DiscoveryStrategy

    Block = Mapping[str, Any]

__all__ = ["UnknownClassError", "UnknownMethodError", "bind_calls", "create_endpoint", "create_strategies",
           "plan_overlays"]


class UnknownClassError(ConfigurationError, RuntimeError):
    """A configuration names an overlay or a strategy that does not exist."""


class UnknownMethodError(ConfigurationError, AttributeError):
    """A configuration names a method that an overlay does not have."""


def plan_overlays(blocks: Iterable[Block], extra: Mapping[str, type[Overlay[Any]]],
                  ) -> list[tuple[Block, type[Overlay[Any]]]]:
    """The configured overlays with their classes.

    :param extra: classes of the program, by the names that they have in the configuration.
    :raises UnknownClassError: for a name that nobody knows.
    """
    planned = []
    for block in blocks:
        name = block["class"]
        overlay_class = _COMMUNITIES.get(name) or extra.get(name)
        if overlay_class is None:
            raise UnknownClassError(f"there is no overlay class {name!r}{did_you_mean(name, [*_COMMUNITIES, *extra])}: "
                                    "pass classes of your own as extra_communities={'Name': Class}, or name them "
                                    "'module:Class' in a file for 'ipv8 run'")
        planned.append((block, overlay_class))
    return planned


def create_endpoint(blocks: Iterable[Block]) -> DispatcherEndpoint:
    """The endpoint with the configured interfaces; none is open.

    :raises ConfigurationError: for an interface that does not exist, or arguments that it does not take.
    """
    arguments = {block["interface"]: {key: int(value) if key == "port" else value  # a whole number, maybe 8090.0
                                      for key, value in block.items() if key != "interface"} for block in blocks}
    for name, given in arguments.items():
        if name not in INTERFACES:
            raise ConfigurationError(f"there is no interface {name!r}{did_you_mean(name, INTERFACES)}")
        check_arguments(f"the interface {name}", INTERFACES[name], given)
    return DispatcherEndpoint(list(arguments), **arguments)


def create_strategies(block: Block, overlay: Overlay[Any]) -> Iterator[tuple[DiscoveryStrategy[Any], int]]:
    """The walkers of an overlay, each with the number of peers that it wants.

    :raises UnknownClassError: for a strategy that does not exist.
    """
    own = overlay.get_available_strategies()
    for walker in block["walkers"]:
        name = walker["strategy"]
        strategy_class = _WALKERS.get(name) or own.get(name) or _GENERAL_STRATEGIES.get(name)
        if strategy_class is None or not _is_strategy(strategy_class):
            raise UnknownClassError(f"{block['class']} has no discovery strategy {name!r}"
                                    f"{did_you_mean(name, [*_WALKERS, *own, *_GENERAL_STRATEGIES])}")
        check_arguments(f"the walker {name} of {block['class']}", strategy_class, walker["init"], passed=1)
        yield strategy_class(overlay, **walker["init"]), walker["peers"]


def bind_calls(block: Block, overlay: Overlay[Any]) -> Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]:
    """The calls to make when the node starts: methods of the overlay, with their arguments.

    :raises UnknownMethodError: for a method that the overlay does not have.
    :raises ConfigurationError: for arguments that it does not take.
    """
    for method, *arguments in block["on_start"]:
        if not callable(getattr(overlay, method, None)):
            raise UnknownMethodError(f"on_start of {block['class']}: it has no method {method!r}"
                                     f"{did_you_mean(method, _methods_of(overlay))}")
        function = getattr(overlay, method)
        problem = call_problem(function, arguments)
        if problem is not None:
            raise ConfigurationError(f"on_start of {block['class']}: {method}() {problem}")
        yield function, tuple(arguments)


def _is_strategy(candidate: object) -> bool:
    from .peerdiscovery.discovery import DiscoveryStrategy

    return isinstance(candidate, type) and issubclass(candidate, DiscoveryStrategy)


def _methods_of(overlay: object) -> list[str]:
    return [name for name in dir(type(overlay)) if not name.startswith("_") and callable(getattr(type(overlay), name))]
