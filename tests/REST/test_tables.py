"""Which tables a node shows, and how full they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.community import Community
from ipv8.contact.liveness import Departures
from ipv8.dht.community import DHTCommunity
from ipv8.events import EventBus
from ipv8.fill import Fill
from ipv8.limits import BoundedDict
from ipv8.REST.observation.tables import Tables
from ipv8.service import IPv8

from ..instructions import instructions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PAGE = Path(__file__).parents[2] / "doc" / "security.md"
SECTION = re.compile(r"^\| in `([\w.]+)` \| \| what \|\n\|---\|---\|---\|\n((?:\|.*\n)+)", re.MULTILINE)
EVICTS = re.compile(r"goes first|evicted|(forgotten|dropped|refused|removed|closed) first|is emptied|further|given up|"
                    r"makes? room|is closed|reset|are kept")
IS_NO_SIZE = re.compile(r"LIFETIME|SECONDS|TIME$|PER_SECOND|AT_ONCE|_AGE")

TUNNELS, DHT, CHAIN = "HiddenTunnelCommunity", "DHTDiscoveryCommunity", "TrustChainCommunity"
CONTACT = "_contact_parts."
ATTESTATION, IDENTITY = "AttestationCommunity", "IdentityCommunity"

#: The caps of tables, and the owner and name of a table that has each; without an owner if any may have it.
SHOWN = {
    "messaging.interfaces.udp.transport.SEND_QUEUE_PACKETS": ("UDPIPv4", "_transport.send queue"),
    "messaging.interfaces.dispatcher.endpoint.MAX_GUESSES": ("ipv8.messaging.interfaces.dispatcher.endpoint", "_guess"),
    "messaging.cache.CACHE_SIZE": ("ipv8.messaging.cache", "PACKED_IPV4"),
    "messaging.inet.REMEMBERED_HOSTS": ("ipv8.messaging.inet", "_parse_host"),
    "keyvault.crypto.VERIFIED_KEYS_CAPACITY": ("ipv8.keyvault.crypto", "default_eccrypto.verified keys"),
    "requestcache.MAX_CACHES": (CHAIN, "_request_cache.requests"),
    "messaging.session.answering.HALF_OPEN": ("SessionService", "machine.answering._entries"),
    "messaging.session.openings.OPENING_LATER": ("SessionService", "machine.openings._queue"),
    "messaging.session.openings.PAUSES": ("SessionService", "machine.openings._pauses"),
    "messaging.session.machine.MAX_SESSIONS": ("SessionService", "machine.sessions"),
    "session_streams.MAX_ACCEPTED_STREAMS": ("SessionService", "streams.streams of others"),
    "session_streams.MAX_COUNTED_PEERS": ("SessionService", "streams._begun_by_peer"),
    "contact.introductions.PENDING_LIMIT": (DHT, CONTACT + "_introductions._pending._pending"),
    "contact.introductions.LEDGER_LIMIT": (DHT, CONTACT + "_introductions._ledger._counts"),
    "contact.targets.CREDIT_LIMIT": ("Targets", "_credits"),
    "contact.targets.REMEMBERED_HOSTS": ("ipv8.contact.targets", "_kind_of_host"),
    "contact.nat.WITNESS_LIMIT": (DHT, CONTACT + "_nat._ipv4._votes"),
    "contact.nat.TRACKER_LIMIT": (DHT, CONTACT + "_nat.trackers._keys"),
    "contact.nat.EXPECTED_LIMIT": (DHT, CONTACT + "_nat._expected"),
    "contact.nat.DETOUR_LIMIT": (DHT, CONTACT + "_nat._detours"),
    "contact.relaying.REMEMBERED_RELAYED_PEERS": (DHT, CONTACT + "_relaying._relayed"),
    "contact.carriage.DESTINATION_LIMIT": (DHT, CONTACT + "_relaying._budget._destinations._pools"),
    "contact.carriage.ROUTE_LIMIT": (DHT, CONTACT + "_relaying._routes._hops"),
    "contact.carriage.MEETING_LIMIT": (DHT, CONTACT + "_relaying._meetings._met"),
    "contact.carriage.ORIGIN_LIMIT": (DHT, CONTACT + "_relaying._counters._origins"),
    "contact.liveness.MAX_DEPARTURES": ("", "_departures._heeded"),
    "peerdiscovery.graph.addresses.MAX_ADDRESSES": ("Network", "_book.addresses"),
    "peerdiscovery.graph.services.MAX_UNVERIFIED_SERVICES": ("Network", "_services.services of unverified peers"),
    "peerdiscovery.graph.tables.REVERSE_CACHE_SIZE": ("Network", "reverse_ip_lookup"),
    "peerdiscovery.graph.addresses.MAX_TRACKED_SERVICES": ("Network", "_book._tracked"),
    "peerdiscovery.graph.neighborhoods.MAX_TRACKED_SERVICES": ("Network", "_neighborhoods._all"),
    "peerdiscovery.graph.neighborhoods.REMEMBERED_HOSTS": ("ipv8.peerdiscovery.graph.neighborhoods",
                                                           "_public_network_of"),
    "peerdiscovery.discovery.MAX_FAILURES": ("RandomWalk of DiscoveryCommunity", "_failures"),
    "peerdiscovery.churn.MAX_PINGED": ("RandomChurn of DiscoveryCommunity", "_pinged"),
    "dht.storage.MAX_KEYS": (DHT, "storage UDPIPv4.keys"),
    "dht.storage.MAX_BYTES": (DHT, "storage UDPIPv4.bytes of values"),
    "dht.values.MAX_READ_VALUES": (DHT, "_value_reader._read"),
    "dht.admission.MAX_VISITORS": (DHT, "admission._visitors"),
    "dht.admission.MAX_PROVEN_ADDRESSES": (DHT, "admission._proven"),
    "dht.admission.MAX_REMEMBERED_REQUESTS": (DHT, "admission._accepted"),
    "dht.finder.MAX_DISTRUSTED": (DHT, "finder._distrusted"),
    "dht.timing.MAX_PACED": (DHT, "measurements.pacer._sent"),
    "dht.timing.MAX_OPEN": (DHT, "measurements.open_ways._open"),
    "dht.tokens.MAX_RECEIVED_TOKENS": (DHT, "tokens"),
    "dht.peer_store.MAX_STORED_PEERS": (DHT, "store"),
    "dht.lookup_log.MAX_RUNNING": (DHT, "lookups._running"),
    "attestation.trustchain.base.MAX_NEW_BLOCKS": (CHAIN, "_new_blocks"),
    "attestation.trustchain.blockcache.MAX_CACHED": (CHAIN, "persistence.my_blocks_cache.blocks"),
    "attestation.trustchain.broadcast.MAX_WAITING_RELAYS": (CHAIN, "_relays"),
    "attestation.trustchain.crawl_protocol.MAX_DIALECTS": (CHAIN, "long_dialects"),
    "attestation.trustchain.crawl_protocol.MAX_REMEMBERED_REQUESTS": (CHAIN, "_answered_requests"),
    "attestation.trustchain.crawl_protocol.MAX_UNPROVEN_CRAWLERS": (CHAIN, "_unproven_crawlers"),
    "attestation.trustchain.crawl_protocol.MAX_PROVEN_CRAWLERS": (CHAIN, "_proven_crawlers"),
    "attestation.trustchain.queries.MAX_KNOWN_KEYS": (CHAIN, "persistence._key_ids"),
    "attestation.trustchain.queries.MAX_CONTIGUOUS": (CHAIN, "persistence._contiguous"),
    "attestation.trustchain.signatures.MAX_VERIFIED": ("ipv8.attestation.trustchain.signatures", "signatures"),
    "attestation.trustchain.validation.MAX_KEYS": ("ipv8.attestation.trustchain.validation", "_keys"),
    "attestation.tokentree.tree.MAX_UNCHAINED": (IDENTITY, "pseudonym_manager.tree.unchained"),
    "attestation.identity.manager.MAX_PSEUDONYMS": (IDENTITY, "identity_manager.pseudonyms"),
    "attestation.identity.known_hashes.MAX_KNOWN_HASHES": (IDENTITY, "known_attestation_hashes"),
    "attestation.identity.community.MAX_PERMISSIONS": (IDENTITY, "permissions"),
    "attestation.identity.community.MAX_SUBJECTS_ASKED": (IDENTITY, "_missing"),
    "attestation.credentials.exchange.MAX_STATUS_LISTS": (IDENTITY, "credentials._status_lists"),
    "attestation.credentials.questions.MAX_QUESTIONS": (IDENTITY, "credentials._questions.questions"),
    "attestation.credentials.questions.MAX_ANSWERS": (IDENTITY, "credentials._questions._answers"),
    "attestation.credentials.questions.MAX_UNDECIDED": (IDENTITY, "credentials._questions.undecided questions"),
    "attestation.credentials.questions.MAX_PEERS_WITH_BUDGETS": (IDENTITY, "credentials._questions._question_budget"),
    "attestation.wallet.base.MAX_REQUESTERS": (ATTESTATION, "_request_budget"),
    "attestation.wallet.base.MAX_PROMPTS": (ATTESTATION, "prompts.prompts"),
    "attestation.wallet.base.MAX_SEEN_REQUESTS": (ATTESTATION, "_seen_requests"),
    "attestation.wallet.enrolment.MAX_MADE": (ATTESTATION, "_made"),
    "attestation.wallet.consents.MAX_CONSENTS": (ATTESTATION, "consents._answers_left"),
    "attestation.wallet.consents.MAX_OPENED": (ATTESTATION, "consents.opened"),
    "attestation.wallet.primitives.field.FIELDS_CACHE_SIZE": ("ipv8.attestation.wallet.primitives.field", "_field_of"),
    "attestation.wallet.primitives.field.STEPS_CACHE_SIZE": ("ipv8.attestation.wallet.primitives.field",
                                                             "window_steps"),
    "attestation.wallet.sending.MAX_TRANSFERS": (ATTESTATION, "shipping.transfers"),
    "trust.reports.MAX_CONTRIBUTORS": ("NodeTrust", "reporter._contributors"),
    "messaging.anonymization.joining.MAX_EXTENDING_CIRCUITS": (TUNNELS, "extensions._budgets"),
    "messaging.anonymization.joining.MAX_BLOCKS": (TUNNELS, "extensions._blocks"),
    "messaging.anonymization.joining.MAX_PENDING": (TUNNELS, "extensions.pending"),
    "messaging.anonymization.joining.MAX_PEER_LOOKUPS": (TUNNELS, "extensions.lookups of nodes"),
    "messaging.anonymization.base.MAX_DATA_HEADERS": (TUNNELS, "_data_headers"),
    "messaging.anonymization.community.MAX_TESTED_CIRCUITS": (TUNNELS, "_test_budget"),
    "messaging.anonymization.exit_policy.NAME_CACHE_SIZE": (TUNNELS, "resolver._found"),
    "messaging.anonymization.exit_policy.MAX_RESOLUTIONS": (TUNNELS, "resolver.names looked up"),
    "messaging.anonymization.endpoint.QUEUE_LENGTH": ("TunnelEndpoint", "send_queue"),
    "messaging.anonymization.endpoint.MAX_ADDRESSES": ("TunnelEndpoint", "_used"),
    "messaging.anonymization.guards.MAX_GUARDS": (TUNNELS, "path.guards.guards"),
    "messaging.anonymization.path.MAX_FAILED_NODES": (TUNNELS, "path.back_off._failed"),
    "messaging.anonymization.pool.MAX_KINDS": (TUNNELS, "pool._wanted"),
    "messaging.anonymization.scheduler.TOTAL_QUEUE_LIMIT": (TUNNELS, "crypto_endpoint._relay_lane.queue.cells"),
    "messaging.anonymization.renewal.MAX_OFFERS_KEPT": (TUNNELS, "renewal._answered"),
    "messaging.anonymization.budgets.MAX_SOURCES": (TUNNELS, "_registry.introductions._hosts"),
    "messaging.anonymization.intro_points.MAX_REGISTRATIONS": (TUNNELS, "_registry.registrations"),
    "messaging.anonymization.intro_points.MAX_PEX_OVERLAYS": (TUNNELS, "pex.overlays"),
    "messaging.anonymization.rendezvous.MAX_COOKIES": (TUNNELS, "_rendezvous.cookies"),
    "messaging.anonymization.swarming.MAX_UNFIT": (TUNNELS, "_unfit"),
    "stream_limits.MAX_MEMORY": ("SessionService", "streams.memory.received bytes"),
    "messaging.anonymization.socks5.streams.MAX_EXIT_STREAMS": (TUNNELS, "streams.streams of others"),
    "messaging.anonymization.socks5.streams.MAX_COUNTED_CIRCUITS": (TUNNELS, "streams._circuit_handshakes"),
    "events.MAX_LEFT": ("EventBus", "_left"),
    "events.MAX_TOPICS": ("EventBus", "_receivers"),
}

ONE_PEER = "of one peer, address, circuit, session or key: there would be a row for each"
RUNNING = "work that runs and ends by itself, not a table"
ONE_REQUEST = "of one lookup, request or message, which ends soon"
OPTIONAL = "of a part that only some programs make"
HTTP = "of the HTTP interface, not of the node"
HISTORY = "the last things that happened: always full after a while"
DATABASE = "rows of a database"

#: Other limits that evict or refuse something, and why they are no row.
NOT_SHOWN = {
    "messaging.interfaces.udp.batch.MAX_CACHED_SOURCES": "in a buffer that reads many datagrams by one system call; "
                                                         "the sources that overlays see are in UDPIPv4._sources",
    "messaging.interfaces.udp.scopes.MAX_SCOPES": "of IPv6 sockets, which this node does not have",
    "messaging.interfaces.udp.filter.MAX_SOURCES": OPTIONAL,
    "messaging.interfaces.meter.MAX_COUNTS": "of what watches the node",
    "messaging.interfaces.meter.MAX_SLOW": HISTORY,
    "messaging.interfaces.udp.filter.MAX_BANNED": OPTIONAL,
    "messaging.session.openings.HELD_FRAMES": ONE_PEER,
    "messaging.session.openings.HELD_BYTES": ONE_PEER,
    "messaging.session.machine.SESSIONS_PER_PAIR": ONE_PEER,
    "blobs.MAX_SERVED": OPTIONAL,
    "asking.MAX_ANSWERS": "of one declared message, for 10 s, in the function that handles it",
    "contact.carriage.AUTHORS_PER_BUDGET": ONE_PEER,
    "contact.carriage.ROUTES_PER_CARRIER": ONE_PEER,
    "peerdiscovery.graph.addresses.MAX_INTRODUCTIONS": ONE_PEER,
    "peerdiscovery.network.MAX_SERVICES_PER_PEER": ONE_PEER,
    "peerdiscovery.tracker.TrackerLimits.peers": "of trackers, which are no nodes",
    "peerdiscovery.tracker.TrackerLimits.peers_per_service": "of trackers, which are no nodes",
    "bootstrapping.resolver.MAX_NAMES": OPTIONAL,
    "bootstrapping.resolver.MAX_LOOK_UPS": RUNNING,
    "dht.storage.MAX_BYTES_PER_SOURCE": ONE_PEER,
    "dht.storage.MAX_VALUES_PER_KEY": ONE_PEER,
    "dht.storage.MAX_CLAIMS": ONE_PEER,
    "dht.lookup.MAX_CANDIDATES": ONE_REQUEST,
    "dht.lookup_log.MAX_STEPS": ONE_REQUEST,
    "attestation.trustchain.community.MAX_SIGNING": RUNNING,
    "attestation.trustchain.crawl_protocol.MAX_UNPROVEN_REQUESTS": ONE_PEER,
    "attestation.trustchain.store.MAX_PROOFS": DATABASE,
    "attestation.communication_manager.MAX_OUTSTANDING": "of the pseudonyms of the HTTP interface",
    "attestation.communication_manager.MAX_OUTPUTS": "likewise",
    "attestation.identity.manager.MAX_TOKENS_OF_OTHERS": ONE_PEER,
    "attestation.identity.manager.MAX_METADATA_OF_OTHERS": ONE_PEER,
    "attestation.identity.manager.MAX_ATTESTATIONS_OF_OTHERS": ONE_PEER,
    "attestation.identity.community.MAX_ATTESTERS": ONE_PEER,
    "attestation.credentials.questions.MAX_UNDECIDED_OF_PEER": ONE_PEER,
    "attestation.wallet.base.MAX_PROMPTS_PER_PEER": ONE_PEER,
    "attestation.wallet.caches.MAX_ASSEMBLIES": ONE_REQUEST,
    "attestation.wallet.chunks.MAX_CHUNKS": ONE_REQUEST,
    "attestation.wallet.chunks.MAX_CHUNK_BYTES": ONE_REQUEST,
    "trust.heights.MAX_RANGES": ONE_PEER,
    "trust.selection.MAX_BUDGETS": OPTIONAL,
    "trust.strategy.MAX_ASKED": OPTIONAL,
    "messaging.anonymization.exit_socket.QUEUE_LENGTH": ONE_PEER,
    "messaging.anonymization.exit_socket.MAX_WAITING": ONE_PEER,
    "messaging.anonymization.removal.MAX_REMOVED": HISTORY,
    "messaging.anonymization.scheduler.QUEUE_LIMIT": ONE_PEER,
    "messaging.anonymization.intro_points.MAX_REGISTRATIONS_PER_CIRCUIT": ONE_PEER,
    "messaging.anonymization.intro_points.MAX_REGISTRATIONS_PER_KEY": ONE_PEER,
    "messaging.anonymization.introducing.MAX_DHT_LOOKUPS": RUNNING,
    "messaging.anonymization.pex.MAX_KEYS_TOLD": ONE_REQUEST,
    "messaging.anonymization.pex.MAX_LEARNT": "of an overlay that runs for one hidden service",
    "messaging.anonymization.end_to_end.MAX_CIRCUITS_OF_SERVICE": "of a hidden service that a program offers",
    "messaging.anonymization.end_to_end.MAX_KEYS_SEEN": "likewise",
    "messaging.anonymization.hidden_services.MAX_UNLINKED": "likewise",
    "messaging.anonymization.hidden_services.MAX_CLIENTS": "likewise",
    "messaging.anonymization.swarm.MAX_INTRO_POINTS": "likewise",
    "messaging.anonymization.swarm.MAX_FAILURES": "likewise",
    "stream_limits.MAX_CONNECTION_BYTES": ONE_PEER,
    "stream_limits.MAX_STREAMS": ONE_PEER,
    "stream_limits.MAX_DROPPED": ONE_PEER,
    "messaging.anonymization.socks5.isolation.MAX_GROUPS": "of a SOCKS5 server, which runs beside the node",
    "messaging.anonymization.socks5.server.MAX_CLIENTS": "likewise",
    "messaging.anonymization.socks5.association.MAX_DESTINATIONS": "likewise",
    "events.MAX_QUEUED": "of one subscriber",
    "events.MAX_KEPT": HISTORY,
    "REST.observation.peers.MAX_NODES": ONE_REQUEST,
    "REST.observation.peers.MAX_EDGES": ONE_REQUEST,
    **dict.fromkeys((
        "REST.access.MAX_CLIENTS", "REST.access.MAX_NAMES", "REST.tickets.MAX_TICKETS",
        "REST.isolation_endpoint.MAX_ADDED_SERVERS", "REST.noblock_dht_endpoint.MAX_SEARCHES",
        "REST.tunnel_endpoint.MAX_SPEED_TESTS", "REST.speed_test.MAX_LINES",
        "REST.observation.log.MAX_RECORDS", "REST.observation.loop.MAX_SLOW",
        "REST.asyncio_endpoint.MAX_MEASUREMENTS", "REST.asyncio_endpoint.MAX_MESSAGES"), HTTP),
}


class Hidden(Community):
    """An overlay of a program, whose packets go through circuits."""

    community_id = b"\x2a" * 20


class Own(Community):
    """An overlay of a program with tables."""

    community_id = b"\x2b" * 20

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.remembered: BoundedDict[int, int] = BoundedDict(10)
        self.waiting = [1, 2, 3]

    def capped(self) -> Iterator[Fill]:
        yield Fill("waiting", len(self.waiting), 4, "queue")


def configuration(directory: Path) -> dict[str, Any]:
    walkers = [{"strategy": "RandomWalk", "peers": 20, "init": {}}]
    churn = [*walkers, {"strategy": "RandomChurn", "peers": -1, "init": {}}]
    memory = {"working_directory": ":memory:"}
    overlays = {"DiscoveryCommunity": {}, TUNNELS: {}, DHT: {}, ATTESTATION: memory, IDENTITY: memory, CHAIN: memory,
                "Hidden": {"anonymize": True}, "Own": {}}
    return {"interfaces": [{"interface": "UDPIPv4", "ip": "127.0.0.1", "port": 0}],
            "keys": [{"alias": "me", "generation": "curve25519", "file": str(directory / "key.pem")}],
            "logger": {"level": "WARNING"}, "working_directory": str(directory), "walker_interval": 10.0,
            "sessions": {}, "trust": {"key": "me"},
            "overlays": [{"class": name, "key": "me", "walkers": churn if name == "DiscoveryCommunity" else walkers,
                          "bootstrappers": [], "initialize": options, "on_start": []}
                         for name, options in overlays.items()]}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[IPv8]:
    async with IPv8(configuration(tmp_path), extra_communities={"Hidden": Hidden, "Own": Own}) as node:
        dht = node.get_overlay(DHTCommunity)
        assert dht is not None
        dht.get_storage(dht.my_peer)
        for part in (*node.network.peer_observers, *node.endpoint.gate.shared_objects()):
            found: tuple[Any, ...] = (part, getattr(part, "listener", None))
            for listener in found:
                if hasattr(listener, "_departures"):
                    listener._departures = Departures()  # as after the first goodbye
        for overlay in node.overlays:
            assert isinstance(overlay, Community)
            contact = overlay.contact
            assert contact.introductions
            assert contact.nat
            assert contact.relaying
        yield node


def sizes_on_the_page() -> dict[str, int]:
    """The limits on the page that evict or refuse something when they are reached."""
    found = {}
    for room, rows in SECTION.findall(PAGE.read_text(encoding="utf-8")):
        for row in rows.splitlines():
            names, values, text = (cell.strip() for cell in row.strip("|").split(" | ", 2))
            first, *others = re.findall(r"`([\w.]+)`", names)
            full = f"{room}.{first}".removeprefix("ipv8.")
            constants = [full, *(f"{full.rpartition('.')[0]}.{other}" for other in others)]
            for constant, value in zip(constants, values.split(", "), strict=True):
                if EVICTS.search(text) and value.isdigit() and not IS_NO_SIZE.search(constant):
                    found[constant] = int(value)
    return found


def test_every_table_on_the_page_is_known() -> None:
    page = sizes_on_the_page()
    assert len(page) > 150
    assert page.keys() - SHOWN.keys() - NOT_SHOWN.keys() == set()
    assert SHOWN.keys().isdisjoint(NOT_SHOWN)
    assert NOT_SHOWN.keys() - page.keys() == set(), "an exception for what is no limit of the page any more"


async def test_a_node_shows_the_tables_on_the_page(node: IPv8) -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = {(row.owner, row.name): row for row in Tables(node, EventBus()).rows()}
    rows |= {("", name[name.index("_departures"):]): row for (_, name), row in rows.items() if "_departures" in name}
    missing = [f"{constant}: {place}" for constant, place in SHOWN.items() if place not in rows]
    assert not missing
    for constant, place in SHOWN.items():
        name = constant.rpartition(".")[2]
        assert f"`{name}`" in text or f".{name}`" in text, constant
        module = __import__(f"ipv8.{constant.rpartition('.')[0]}", fromlist=[name])
        assert rows[place].capacity == getattr(module, name), constant


async def test_each_table_is_shown_once(node: IPv8) -> None:
    rows = Tables(node, EventBus()).rows()
    places = [(row.owner, row.name) for row in rows]
    assert len(places) == len(set(places)), [place for place in places if places.count(place) > 1]
    assert {row.kind for row in rows} == {"table", "budgets", "queue", "cache"}
    assert all(row.capacity > 1 and row.size >= 0 for row in rows)
    assert [(row.owner, row.name) for row in rows if not row.rule] == [("Own", "waiting")]
    assert not [place for place in places if "._buckets" in place[1] or place[1].count("._entries") > 1]


async def test_tables_of_a_program(node: IPv8) -> None:
    own = next(overlay for overlay in node.overlays if isinstance(overlay, Own))
    own.remembered[1] = 1
    tables = Tables(node, EventBus())
    found = {row.name: (row.kind, row.size, row.capacity) for row in tables.rows() if row.owner == "Own"}
    assert found["remembered"] == ("table", 1, 10)
    assert found["waiting"] == ("queue", 3, 4)
    assert found["peers"] == ("table", 0, own.max_peers + 1)


async def test_tables_are_looked_at_once_a_second(node: IPv8, monkeypatch: pytest.MonkeyPatch) -> None:
    own = next(overlay for overlay in node.overlays if isinstance(overlay, Own))
    now = 100.0
    monkeypatch.setattr("ipv8.REST.observation.tables.clock.monotonic", lambda: now)
    tables = Tables(node, EventBus())

    def size() -> int:
        return next(row.size for row in tables.rows() if row.name == "remembered")

    assert size() == 0
    own.remembered[1] = 1
    assert size() == 0
    now += 1
    assert size() == 1


async def test_cost_of_a_look(node: IPv8) -> None:
    tables = Tables(node, EventBus())
    rows = len(tables.rows())
    assert rows > 250
    assert instructions(lambda: sum(1 for _ in tables._look())) < 1000 * rows
