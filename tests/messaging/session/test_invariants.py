"""What must hold for sessions whatever the network does, by a state machine (doc/protocol/sessions.md section 8)."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.session import answering, channel as channels, machine as machines, openings, roaming, wire
from ipv8.messaging.session.channel import Channel
from ipv8.messaging.session.keys import Epoch
from ipv8.messaging.session.window import ReplayWindow
from tests.messaging.session.network import Network, Node, Received

FORMER_EPOCH_TIME, SESSIONS_PER_PAIR = channels.FORMER_EPOCH_TIME, machines.SESSIONS_PER_PAIR
ATTACKER = UDPv4Address("9.9.9.9", 999)
SETTINGS = settings(max_examples=30, stateful_step_count=25, deadline=None, derandomize=True,
                    suppress_health_check=list(HealthCheck))
NODES = st.integers(0, 2)
SECONDS = st.sampled_from([0.05, 0.3, 1.0, 2.0, 5.0, 11.0, 40.0])


class Sessions(RuleBasedStateMachine):
    """Three nodes, a network that does what it likes, and somebody who has a copy of every datagram."""

    @initialize(seed=st.integers(0, 1 << 16))
    def begin(self, seed: int) -> None:
        for table in (REPEATED, CONFIRMED, SEALED):
            table.clear()
        self.network = Network(seed)
        self.nodes = [Node(self.network, number, rekey_after=20.0) for number in (1, 2, 3)]
        self.copies: list[tuple[Any, Any, bytes]] = []
        self.network.taps.append(self.copy)
        self.said = 0
        self.restarted_at = 0.0
        self.to_attacker = self.from_attacker = 0
        self.attacker_answers = False
        self.copied_first: Node | None = None

    def copy(self, source: Any, address: Any, datagram: bytes) -> None:
        self.copies.append((source, address, datagram))
        if address == ATTACKER:
            self.to_attacker += len(datagram)
        node = self.copied_first
        if node is not None and source == node.address:
            for other in self.nodes:
                if address in {ATTACKER, other.address} and other is not node:
                    self.network.inject(ATTACKER, other.address, datagram, delay=0.001)
        elif node is not None and address == ATTACKER:
            self.network.inject(ATTACKER, node.address, datagram, delay=0.001)

    def pair(self, number: int, other: int) -> tuple[Node, Node]:
        return self.nodes[number], self.nodes[other if other != number else (other + 1) % 3]

    # What happens

    @rule(number=NODES, other=NODES)
    def say(self, number: int, other: int) -> None:
        sender, receiver = self.pair(number, other)
        self.say_to(sender, receiver)

    def say_to(self, sender: Node, receiver: Node) -> bytes:
        self.said += 1
        content = b"%d to %d: %d" % (sender.number, receiver.number, self.said)
        sender.say(receiver, content)
        return content

    @rule(number=NODES, other=NODES)
    def open(self, number: int, other: int) -> None:
        sender, receiver = self.pair(number, other)
        sender.open(receiver)
        receiver.open(sender)

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.network.run(seconds)

    @rule(number=NODES, other=NODES, seconds=st.integers(1, 30))
    def talk(self, number: int, other: int, seconds: int) -> None:
        sender, receiver = self.pair(number, other)
        for _ in range(seconds):
            self.say_to(sender, receiver)
            self.network.run(1)

    @rule(loss=st.sampled_from([0.0, 0.0, 0.2, 0.4, 1.0]), repeats=st.sampled_from([0.0, 0.3]),
          jitter=st.sampled_from([0.0, 0.2, 1.0]))
    def change_network(self, loss: float, repeats: float, jitter: float) -> None:
        self.network.loss, self.network.repeats, self.network.jitter = loss, repeats, jitter

    @rule(number=NODES, port=st.integers(1, 50000))
    def move(self, number: int, port: int) -> None:
        node = self.nodes[number]
        self.network.rewritten[node.address] = UDPv4Address("1.0.9.9", port * 3 + number)

    @rule(number=NODES)
    def restart(self, number: int) -> None:
        self.nodes[number].restart()
        self.restarted_at = self.network.now

    @rule(number=NODES)
    def resume_from_snapshot(self, number: int) -> None:
        """What the driver does in a fork, and when its clocks disagree."""
        node = self.nodes[number]
        node.machine.drop_all("snapshot")
        self.restarted_at = self.network.now
        node.note(node.machine.take_events())

    @rule(which=st.integers(0, 1 << 20), from_attacker=st.booleans(), is_init=st.booleans())
    def replay(self, which: int, from_attacker: bool, is_init: bool) -> None:
        copies = [copy for copy in self.copies if not is_init or copy[2][22] == wire.Datagram.INIT]
        if copies:
            source, address, datagram = copies[which % len(copies)]
            if address == ATTACKER:
                return
            if from_attacker:
                source = ATTACKER
                self.from_attacker += len(datagram)
            self.network.inject(source, address, datagram)

    @rule(number=NODES, seconds=st.integers(1, 6))
    def forward_faster(self, number: int, seconds: int) -> None:
        """Everything from a node also comes from somebody else, and sooner; what is sent to him, he forwards.

        Afterwards he loses the address, within 8 s; within 12 s if a node has just lost its sessions.
        """
        node = self.nodes[number]
        if node.address in self.network.rewritten or self.network.loss:
            return
        self.copied_first = node
        self.attacker_answers = True
        others = [other for other in self.nodes if other is not node]
        for _ in range(seconds):
            for other in others:
                self.say_to(node, other)
            self.network.run(1)
        self.copied_first = None
        for _ in range(8 if self.network.now > self.restarted_at + 30 else 12):
            for other in others:
                self.say_to(node, other)
                self.say_to(other, node)
            self.network.run(1)
        for other in others:
            channel = other.channel(node)
            assert channel is None or channel.address != ATTACKER, "I7: a forwarder keeps the address"

    @rule(which=st.integers(0, 1 << 20), bit=st.integers(0, 1 << 20))
    def change_a_bit(self, which: int, bit: int) -> None:
        """A datagram with one bit changed has no effect but on counters."""
        if not self.copies:
            return
        recent = self.copies[-30:]  # older ones belong to no session
        source, address, datagram = recent[which % len(recent)]
        node = self.network.receiver(address)
        kind = datagram[22]
        if node is None or kind not in {wire.Datagram.INIT, wire.Datagram.RESPONSE, wire.Datagram.DATA}:
            return
        end = wire.MAC2_OFFSET if kind == wire.Datagram.INIT else len(datagram)
        position = 23 * 8 + bit % ((end - 23) * 8)
        changed = bytearray(datagram)
        changed[position // 8] ^= 1 << position % 8
        before = fingerprint(node)
        node.note(node.machine.receive(bytes(changed), source, self.network.now))
        assert fingerprint(node) == before, "I6: a failed input changes state"

    @rule(seconds=st.integers(1, 8))
    def outage(self, seconds: int) -> None:
        """For some time, nothing arrives."""
        self.network.loss = 1.0
        first, second = self.nodes[:2]
        self.say_to(first, second)
        self.say_to(second, first)
        self.network.run(seconds)
        self.settle()

    @rule()
    def settle(self) -> None:
        """After trouble, both directions work again within 12 s, and both sides agree on the session."""
        network = self.network
        network.loss = network.repeats = network.jitter = 0.0
        network.rewritten.clear()
        first, second = self.nodes[:2]
        network.run(2)
        for _ in range(12):
            self.say_to(first, second)
            self.say_to(second, first)
            network.run(1)
        mine, other = first.channel(second), second.channel(first)
        assert mine is not None, "I3: there is no session"
        assert other is not None, "I3: there is no session"
        same = mine.epoch.own_index == other.epoch.remote_index
        heard = other.epoch.remote_index in first.machine.epochs and mine.epoch.remote_index in second.machine.epochs
        assert same or heard, "I10: the sides use different sessions"
        there, back = self.say_to(first, second), self.say_to(second, first)
        network.run(0.5)
        assert there in second.heard(), "I3: a message does not arrive"
        assert back in first.heard(), "I3: a message does not arrive"

    # What always holds

    @invariant()
    def nothing_is_sealed_twice(self) -> None:
        assert not REPEATED, "I1: a counter is used twice"

    @invariant()
    def messages_come_once_and_from_their_sender(self) -> None:
        for node in self.nodes:
            heard = node.heard()
            assert len(heard) == len(set(heard)), "I2: a message is delivered twice"
            for event in node.told(Received):
                sender = int(event.frame[10:].split()[0])
                public = self.nodes[sender - 1].public
                assert event.channel.remote_bin == public, "I2: a message is delivered from another key"

    @invariant()
    def tables_are_bounded(self) -> None:
        for node in self.nodes:
            machine = node.machine
            assert len(machine.channels()) <= machine.settings.max_sessions, "I4: too many sessions"
            assert len(machine.answering) <= answering.HALF_OPEN, "I4: too many half-open handshakes"
            assert len(machine.openings) <= openings.OPENING_AT_ONCE, "I4: too many attempts"
            assert machine.openings.held_bytes <= openings.HELD_BYTES_IN_ALL, "I4: too many frames wait"
            pairs = Counter(channel.remote_bin for channel in machine.channels())
            assert max(pairs.values(), default=0) <= SESSIONS_PER_PAIR, "I4: too many sessions of a pair"

    @invariant()
    def nothing_is_amplified(self) -> None:
        amplified = self.to_attacker > self.from_attacker and not self.attacker_answers
        assert not amplified, "I5: more is sent to somebody than he sent"

    @invariant()
    def former_epochs_go(self) -> None:
        for node in self.nodes:
            now = self.network.now
            for channel in node.machine.channels():
                known = CONFIRMED.get(channel)
                if known is not None and now > known[1] + FORMER_EPOCH_TIME:
                    oldest = min(epoch.number for epoch in live(channel))
                    assert oldest >= known[0], "I9: the keys of a former epoch are kept"


def live(channel: Channel) -> list[Epoch]:
    return [epoch for epoch in channel.machine.epochs.values() if epoch.channel is channel]


def fingerprint(node: Node) -> Any:
    """The state of a machine, without counters."""
    machine = node.machine
    state = [(id(channel), channel.state, channel.address, channel.epoch.number, channel.window.top,
              channel.window.missing, channel.made) for channel in machine.channels()]
    return state, set(machine.epochs), len(machine.answering), len(machine.openings), len(node.events)


SEALED: defaultdict[tuple[bytes, bytes], set[int]] = defaultdict(set)
REPEATED: list[int] = []
CONFIRMED: dict[Channel, tuple[int, float]] = {}


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watch what is sealed with which counter, and when the first datagram under an epoch comes."""
    seal, confirm = Epoch.seal, Channel._confirm

    def watch_seal(epoch: Epoch, counter: int, plaintext: bytes) -> bytes:
        used = SEALED[epoch.hash, epoch.remote_index]
        if counter in used:
            REPEATED.append(counter)
        used.add(counter)
        return seal(epoch, counter, plaintext)

    def watch_confirm(channel: Channel, epoch: Epoch, now: float) -> None:
        confirm(channel, epoch, now)
        CONFIRMED[channel] = epoch.number, now

    monkeypatch.setattr(Epoch, "seal", watch_seal)
    monkeypatch.setattr(Channel, "_confirm", watch_confirm)


@pytest.mark.timeout(240)
def test_invariants() -> None:
    run_state_machine_as_test(Sessions, settings=SETTINGS)


# Without one of the rules, an invariant breaks.


def keep_keys_of_snapshot(patch: pytest.MonkeyPatch) -> None:
    def go_back(machine: machines.Machine, reason: str) -> None:
        for channel in machine.channels():
            channel.counter = 0

    patch.setattr(machines.Machine, "drop_all", go_back)


def take_replays(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReplayWindow, "is_new", lambda window, counter: True)
    patch.setattr(ReplayWindow, "take", lambda window, counter: setattr(window, "top", max(window.top, counter)))


def never_repeat(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(openings, "INIT_AFTER", ())
    patch.setattr(openings, "GIVE_UP_AFTER", 1e9)


def keep_all_sessions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machines, "SESSIONS_PER_PAIR", 1000)


def answer_with_more(patch: pytest.MonkeyPatch) -> None:
    on_init = answering.Answering.on_init

    def answer_often(self: answering.Answering, datagram: bytes, address: Any, now: float) -> None:
        for _ in range(3):
            on_init(self, datagram, address, now)

    patch.setattr(answering.Answering, "on_init", answer_often)


def note_before_opening(patch: pytest.MonkeyPatch) -> None:
    is_new = ReplayWindow.is_new

    def note(window: ReplayWindow, counter: int) -> bool:
        new = is_new(window, counter)
        if new and counter > window.top + 50:
            window.take(counter - 1)
        return new

    patch.setattr(ReplayWindow, "is_new", note)


def ignore_evidence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(roaming.Roaming, "is_evidence", lambda *args: False)
    patch.setattr(roaming, "PROBE_INTERVAL", 30.0)


def keep_former_epochs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(channels, "FORMER_EPOCH_TIME", 1e9)


def prefer_older_sessions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machines, "_is_preferred", lambda channel, other, now: channel.made < other.made)
    patch.setattr(channels, "DEAD_AFTER", 1e9)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("broken", "message"), [
    (keep_keys_of_snapshot, "I1:"), (take_replays, "I2:"), (never_repeat, "I3:"), (keep_all_sessions, "I4:"),
    (answer_with_more, "I5:"),
    (note_before_opening, "I[67]:"),  # what is not taken does not prove an address
    (ignore_evidence, "I[37]:"),  # what a forwarder keeps does not arrive
    (keep_former_epochs, "I9:"), (prefer_older_sessions, "I10:"),
])
def test_each_rule_is_needed(monkeypatch: pytest.MonkeyPatch, broken: Any, message: str) -> None:
    broken(monkeypatch)
    with pytest.raises(AssertionError, match=message):
        run_state_machine_as_test(Sessions, settings=settings(SETTINGS, max_examples=3000, phases=[Phase.generate]))
