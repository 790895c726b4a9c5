"""What the nodes of the demonstration do: they keep a common clock."""

from ipv8 import IPv8
from ipv8.cli.demo.activity import Activity
from ipv8.cli.demo.network import LocalNetwork

from .overlay import ClockCommunity

CLOCKS = 1
"""The id of the message with the clock."""


class CommonClock(Activity):
    """Each node tells its clock to the others."""

    watched = ClockCommunity
    columns = ("sent", "clock")
    legend = "sent: clock messages"

    def figures(self, node: IPv8) -> tuple[int, ...]:
        overlay = node.get_overlay(ClockCommunity)
        assert overlay is not None
        counts = node.endpoint.get_statistics(overlay.get_prefix())
        return counts[CLOCKS].num_up if CLOCKS in counts else 0, overlay.lamport_clock

    def is_done(self, network: LocalNetwork) -> bool:
        """Whether every node sent its clock, and all clocks are as close as messages in flight allow."""
        figures = [view.figures for view in network.views()]
        clocks = [clock for _, clock in figures]
        return all(sent for sent, _ in figures) and max(clocks) - min(clocks) <= network.size

    def summary(self, network: LocalNetwork) -> str:
        clocks = [view.figures[1] for view in network.views()]
        return f"Their clocks read {min(clocks)} to {max(clocks)}."
