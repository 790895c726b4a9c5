"""``/identity``: the pseudonyms of the node, and their attributes."""

from __future__ import annotations

import base64
import functools
import json
import sqlite3
from typing import TYPE_CHECKING, Any

from aiohttp import web
from marshmallow import Schema
from marshmallow.fields import Boolean, Dict, Float, Integer, List, Nested, Raw, String

from ..attestation.communication_manager import CommunicationManager, OtherRequestError
from ..database import DatabaseException
from ..service import IPv8
from ..util import strip_sha1_padding
from .apidocs import docs, json_schema, response_schema
from .base_endpoint import HTTP_BAD_REQUEST, LEGACY, BaseEndpoint, Response, changes_state, makes_pseudonyms, plain
from .parameters import BadRequest, Conflict, NotFound, boolean, json_object, missing, text, unbase64
from .schema import DefaultResponseSchema, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiohttp.web import Request

    from ..attestation.communication_manager import CommunicationChannel
    from ..peer import Peer

__all__ = ["CredentialListResponseSchema", "CredentialSchema", "IdentityEndpoint", "PseudonymListResponseSchema",
           "ez_b64_decode", "ez_b64_encode"]

WEAKNESS = "X-IPv8-Weakness"
"""The header that says what the format of an attestation does not protect from."""

HASH_SIZE = 20
"""Bytes of the hash of an attribute."""

UNUSABLE = (PermissionError, ValueError, DatabaseException, sqlite3.OperationalError)
"""Why a pseudonym cannot be loaded or removed."""

LONGEST_METADATA = 8192
"""Characters of the name and of the description of an attribute that is asked for."""


def ez_b64_encode(s: bytes) -> str:
    """The base64 of some bytes, as text."""
    return base64.b64encode(s).decode()


def ez_b64_decode(s: str) -> bytes:
    """The bytes of some base64."""
    return base64.b64decode(s)


class PseudonymListResponseSchema(Schema):
    """The names of pseudonyms."""

    names = List(String())


class CredentialSchema(Schema):
    """An attribute, and who attests it."""

    name = String()
    hash = String()
    metadata = Dict(keys=String())
    attesters = List(String())


class CredentialListResponseSchema(Schema):
    """Attributes."""

    names = List(Nested(CredentialSchema))


PUBLIC_KEY = schema(PublicKeyResponse={"public_key": String})
SCHEMAS = schema(SchemaListResponse={"schemas": [String]})
PEERS = schema(PeerListResponse={"peers": [String]})
SEEN = {"request_id": (String, "of the request that was seen, if another one must not be decided about")}
SEEN_METADATA = {**SEEN, "metadata": (Raw, "of the request that was seen, as text or as an object")}
NAMED = schema(AllowVerification={"name*": (String, "the name of the attribute"), **SEEN})
REFUSED = schema(RefuseAttestation={"name*": (String, "the name of the attribute"), **SEEN_METADATA})
PSEUDONYM = schema(PseudonymState={
    "name": String, "loaded": (Boolean, "whether its overlays run; the other numbers are 0 if they do not"),
    "public_key": (String(allow_none=True, metadata={"description": "base64; null if it is not loaded"})),
    "peers": Integer, "attributes": Integer, "attestation_requests": Integer, "verification_requests": Integer})
FORMATS = schema(FormatsResponse={"formats": [schema(IdentityFormat={
    "name": String, "algorithm": String,
    "weakness": String(allow_none=True, metadata={"description": "what it does not protect from"})})]})
DISALLOWED = schema(DisallowVerification={"name*": (String, "the name of the attribute"), **SEEN})
REQUEST = schema(AttestationRequest={
    "name*": (String, "the name of the attribute"), "schema*": (String, "the format of the attestation"),
    "metadata": (Dict, "what else is to be attested")})
ATTESTATION = schema(Attestation={"name*": (String, "the name of the attribute"),
                                  "value*": (String, "its value, as base64"), **SEEN_METADATA})
VERIFICATION = schema(VerificationRequest={
    "hash*": (String, "of the attribute, as base64"), "value*": (String, "that it should have, as base64"),
    "schema*": (String, "the format of the attestation")})
ATTESTATION_REQUESTS = schema(AttestationRequestsResponse={"requests": [schema(OutstandingAttestationRequest={
    "peer": String, "attribute_name": String, "metadata": (String, "JSON")})]})
REQUESTS = schema(RequestsResponse={"requests": [schema(OutstandingRequest={
    "kind": (String, "attestation or verification"), "peer": (String, "its public key, as base64"),
    "attribute_name": String, "metadata": (Dict, "what else is to be attested"),
    "format": String(allow_none=True, metadata={"description": "of the attestation that is asked for"}),
    "hash": String(allow_none=True, metadata={"description": "of the attribute to be verified, as base64"}),
    "request_id": String(allow_none=True, metadata={"description": "for the decision about this very request"})})]})
VERIFICATION_REQUESTS = schema(VerificationRequestsResponse={"requests": [schema(OutstandingVerificationRequest={
    "peer": String, "attribute_name": String})]})
OUTPUTS = schema(VerificationOutputResponse={"outputs": [schema(VerificationOutput={
    "hash": String, "reference": String, "match": Float})]})
WRONG = {400: {"description": "An argument is missing or impossible."}}
LOAD = {"in": "query", "name": "load", "type": "boolean",
        "description": "whether a pseudonym that is not loaded is loaded, and made if there is none"}
NOT_LOADED = {404: {"schema": DefaultResponseSchema, "description": "The pseudonym is not loaded."}}
UNKNOWN = {**WRONG, 404: {"schema": DefaultResponseSchema, "description": "Nobody asked for that."},
           409: {"schema": DefaultResponseSchema, "description": "Something else is asked for now."}}


def loading(empty: str | None = None) -> Callable[[Any], Any]:
    """Let a handler get the pseudonym that the path names, which is made if there is none.

    A request with ``load=false`` in its query gets only a pseudonym that is loaded.

    :param empty: what the response has a list of, for a node without pseudonyms; by default that is an error.
    """
    def decorate(handler: Any) -> Any:
        @functools.wraps(handler)
        async def handle(self: IdentityEndpoint, request: Request) -> Response:
            if self.communication_manager is None:
                return Response({empty: []}) if empty is not None else _refuse("communication manager is not loaded")
            if not self._may_load(request):
                raise NotFound("this pseudonym is not loaded")
            return await handler(self, request, await self._load(request))  # type: ignore[no-any-return]

        return makes_pseudonyms(docs(parameters=[LOAD], responses=NOT_LOADED)(handle))

    return decorate


def deciding(*names: str) -> Callable[[Any], Any]:
    """Let a handler get the pseudonym that the path names, and a body that has all of these names."""
    def decorate(handler: Any) -> Any:
        @functools.wraps(handler)
        async def handle(self: IdentityEndpoint, request: Request) -> Response:
            if self.communication_manager is None:
                return _refuse("communication manager is not loaded")
            body = await json_object(request)
            if missing(body, names):
                return Response({"error": "incorrect parameters"}, status=HTTP_BAD_REQUEST)
            for name in names:
                text(body, name)
            return await handler(self, request, await self._load(request), body)  # type: ignore[no-any-return]

        return handle

    return decorate


class IdentityEndpoint(BaseEndpoint[IPv8]):
    """Pseudonyms: what they are asked for, what they ask for, and what they have.

    :param middlewares: of the application.
    """

    def __init__(self, middlewares: Iterable[Any] = ()) -> None:
        self.communication_manager: CommunicationManager | None = None
        super().__init__(middlewares)
        self.app.on_shutdown.append(self.on_shutdown)

    def setup_routes(self) -> None:
        """Add the routes."""
        self.app.add_routes([
            web.get("", self.list_pseudonyms),
            web.get("/{pseudonym_name}", self.get_pseudonym),
            web.put("/{pseudonym_name}", self.load_pseudonym),
            web.get("/{pseudonym_name}/formats", self.list_formats),
            web.get("/{pseudonym_name}/schemas", self.list_schemas),
            web.get("/{pseudonym_name}/public_key", self.get_pseudonym_public_key),
            web.get("/{pseudonym_name}/unload", self.unload_pseudonym, allow_head=False),
            web.post("/{pseudonym_name}/unload", self.post_unload),
            web.get("/{pseudonym_name}/remove", self.remove_pseudonym, allow_head=False),
            web.post("/{pseudonym_name}/remove", self.delete_pseudonym),
            web.delete("/{pseudonym_name}", self.delete_pseudonym),
            web.get("/{pseudonym_name}/credentials", self.list_pseudonym_credentials),
            web.get("/{pseudonym_name}/credentials/{subject_key}", self.list_subject_credentials),
            web.get("/{pseudonym_name}/peers", self.list_pseudonym_peers),
            web.put("/{pseudonym_name}/allow/{verifier_key}", self.allow_pseudonym_verification),
            web.put("/{pseudonym_name}/disallow/{verifier_key}", self.disallow_pseudonym_verification),
            web.put("/{pseudonym_name}/request/{authority_key}", self.create_pseudonym_credential),
            web.put("/{pseudonym_name}/attest/{subject_key}", self.attest_pseudonym_credential),
            web.put("/{pseudonym_name}/refuse/{subject_key}", self.refuse_pseudonym_credential),
            web.put("/{pseudonym_name}/verify/{subject_key}", self.verify_pseudonym_credential),
            web.get("/{pseudonym_name}/requests", self.list_requests),
            web.get("/{pseudonym_name}/outstanding/attestations", self.list_pseudonym_outstanding_attestations),
            web.get("/{pseudonym_name}/outstanding/verifications", self.list_pseudonym_outstanding_verifications),
            web.get("/{pseudonym_name}/verifications", self.list_pseudonym_verification_output),
        ])

    def initialize(self, session: IPv8) -> None:
        """Use pseudonyms of this node, unless others are used already."""
        super().initialize(session)
        if self.communication_manager is None:
            self.communication_manager = CommunicationManager(session)

    def is_available(self, _: Request) -> bool:
        """Whether there are pseudonyms."""
        return self.communication_manager is not None

    async def on_shutdown(self, _: web.Application) -> None:
        """Unload all pseudonyms."""
        if self.communication_manager is not None:
            await self.communication_manager.shutdown()

    async def _load(self, request: Request) -> CommunicationChannel:
        assert self.communication_manager is not None, "the caller has looked"
        try:
            return await self.communication_manager.load(request.match_info["pseudonym_name"],
                                                         request.headers.get("X-Rendezvous"))
        except UNUSABLE as e:  # an impossible name, or a key or a database that cannot be read
            raise BadRequest(str(e)) from e

    def _may_load(self, request: Request) -> bool:
        """Whether a request is for a pseudonym that is loaded, or may load it."""
        if "load" not in request.query or boolean(dict(request.query), "load"):
            return True
        manager = self.communication_manager
        return manager is not None and request.match_info["pseudonym_name"] in manager.name_to_channel

    def _peer(self, channel: CommunicationChannel, request: Request, name: str) -> Peer | None:
        """The peer whose key the path has; ``None`` if it is not known."""
        wanted = unbase64(request.match_info[name], name)
        return next((peer for peer in channel.peers if peer.public_key.key_to_bin() == wanted), None)

    # Pseudonyms

    @docs(tags=["Identity"], summary="The names of all pseudonyms.")
    @response_schema(PseudonymListResponseSchema)
    async def list_pseudonyms(self, request: Request) -> Response:
        """All names, whatever the request."""
        del request
        manager = self.communication_manager
        return Response({"names": [] if manager is None else manager.list_names()})

    @docs(tags=["Identity"], summary="The state of a pseudonym, which is not loaded by this.", responses={
        404: {"schema": DefaultResponseSchema, "description": "There is no pseudonym of this name."}})
    @response_schema(PSEUDONYM)
    async def get_pseudonym(self, request: Request) -> Response:
        """Whether it is loaded, and how much it has then."""
        manager, name = self.communication_manager, request.match_info["pseudonym_name"]
        if manager is None or name not in manager.list_names():
            raise NotFound("there is no pseudonym of this name")
        return Response(_state(name, manager.name_to_channel.get(name)))

    @docs(tags=["Identity"], summary="Start the overlays of a pseudonym, which is made if there is none.",
          responses=WRONG)
    @response_schema(PSEUDONYM)
    async def load_pseudonym(self, request: Request) -> Response:
        """Load a pseudonym."""
        if self.communication_manager is None:
            return _refuse("communication manager is not loaded")
        return Response(_state(request.match_info["pseudonym_name"], await self._load(request)))

    @docs(tags=["Identity"], summary="The formats that attestations may have, and what is weak in them.",
          responses=WRONG)
    @response_schema(FORMATS)
    @loading("formats")
    async def list_formats(self, _: Request, channel: CommunicationChannel) -> Response:
        """All formats with their weaknesses."""
        manager = channel.attestation_overlay.schema_manager
        return Response({"formats": [
            {"name": name, "algorithm": parameters["algorithm"], "weakness": manager.weakness_of(name)}
            for name, parameters in manager.formats.items()]})

    @docs(tags=["Identity"], summary="The formats that attestations may have.", responses=WRONG)
    @response_schema(SCHEMAS)
    @loading("schemas")
    async def list_schemas(self, _: Request, channel: CommunicationChannel) -> Response:
        """All formats."""
        return Response({"schemas": channel.schemas})

    @docs(tags=["Identity"], summary="The public key of a pseudonym.", responses=WRONG)
    @response_schema(PUBLIC_KEY)
    @loading()
    async def get_pseudonym_public_key(self, _: Request, channel: CommunicationChannel) -> Response:
        """The public key."""
        return Response({"public_key": ez_b64_encode(channel.public_key_bin)})

    @docs(tags=["Identity"], summary="Stop the overlays of a pseudonym.", responses=WRONG)
    @response_schema(DefaultResponseSchema)
    @changes_state
    async def unload_pseudonym(self, request: Request) -> Response:
        """Unload a pseudonym. That of an unknown one succeeds."""
        if self.communication_manager is None:
            return _refuse("communication manager is not loaded")
        await self.communication_manager.unload(request.match_info["pseudonym_name"])
        return Response({"success": True})

    @docs(tags=["Identity"], summary="Stop the overlays of a pseudonym.", responses=WRONG)
    @response_schema(DefaultResponseSchema)
    async def post_unload(self, request: Request) -> Response:
        """As :meth:`unload_pseudonym`."""
        return await self.unload_pseudonym(request)

    @docs(tags=["Identity"], summary="Delete a pseudonym with its key and its attributes.", responses=WRONG)
    @response_schema(DefaultResponseSchema)
    @changes_state
    async def remove_pseudonym(self, request: Request) -> Response:
        """Delete a pseudonym. That of an unknown one succeeds."""
        if self.communication_manager is None:
            return _refuse("communication manager is not loaded")
        name = request.match_info["pseudonym_name"]
        if LEGACY.get() and name not in self.communication_manager.list_loaded():
            return Response({"success": True})  # others do not remove it then
        try:
            await self.communication_manager.remove(name)
        except UNUSABLE as e:
            raise BadRequest(str(e)) from e
        return Response({"success": True})

    @docs(tags=["Identity"], summary="Delete a pseudonym with its key and its attributes.", responses=WRONG)
    @response_schema(DefaultResponseSchema)
    async def delete_pseudonym(self, request: Request) -> Response:
        """As :meth:`remove_pseudonym`."""
        return await self.remove_pseudonym(request)

    # What there is

    @docs(tags=["Identity"], summary="The attributes of a pseudonym.", responses=WRONG)
    @response_schema(CredentialListResponseSchema)
    @loading("names")
    async def list_pseudonym_credentials(self, _: Request, channel: CommunicationChannel) -> Response:
        """Our attributes."""
        return Response({"names": _credentials(channel.get_my_attributes())})

    @docs(tags=["Identity"], summary="The attributes of a peer that are known.", responses=WRONG)
    @response_schema(CredentialListResponseSchema)
    @loading("names")
    async def list_subject_credentials(self, request: Request, channel: CommunicationChannel) -> Response:
        """The attributes of a peer."""
        subject = self._peer(channel, request, "subject_key")
        if subject is None:
            return _unknown("failed to find subject")
        return Response({"names": _credentials(channel.get_attributes(subject))})

    @docs(tags=["Identity"], summary="The peers of a pseudonym, by their public keys.", responses=WRONG)
    @response_schema(PEERS)
    @loading("peers")
    async def list_pseudonym_peers(self, _: Request, channel: CommunicationChannel) -> Response:
        """The peers."""
        return Response({"peers": [ez_b64_encode(peer.public_key.key_to_bin()) for peer in channel.peers]})

    @docs(tags=["Identity"], summary="All requests that wait for a decision.", responses=WRONG)
    @response_schema(REQUESTS)
    @loading("requests")
    async def list_requests(self, _: Request, channel: CommunicationChannel) -> Response:
        """What peers want to have attested, and to verify."""
        wanted = [("attestation", pointer, metadata, channel.waiting_attestations.asked(pointer))
                  for pointer, (_, metadata) in channel.attestation_requests.items()]
        wanted += [("verification", pointer, "{}", channel.waiting_verifications.asked(pointer))
                   for pointer in channel.verify_requests]
        return Response({"requests": [
            {"kind": kind, "peer": ez_b64_encode(peer.public_key.key_to_bin()), "attribute_name": name,
             "metadata": _metadata(metadata), "format": asked and asked.id_format,
             "hash": ez_b64_encode(asked.attribute_hash) if asked and asked.attribute_hash else None,
             "request_id": asked and asked.request_id} for kind, (peer, name), metadata, asked in wanted]})

    @docs(tags=["Identity"], summary="The requests for attestations that wait.", responses=WRONG)
    @response_schema(ATTESTATION_REQUESTS)
    @loading("requests")
    async def list_pseudonym_outstanding_attestations(self, _: Request, channel: CommunicationChannel) -> Response:
        """What peers want to have attested."""
        return Response({"requests": [
            {"peer": ez_b64_encode(peer.public_key.key_to_bin()), "attribute_name": name, "metadata": metadata}
            for (peer, name), (_, metadata) in tuple(channel.attestation_requests.items())]})

    @docs(tags=["Identity"], summary="The requests for verifications that wait.", responses=WRONG)
    @response_schema(VERIFICATION_REQUESTS)
    @loading("requests")
    async def list_pseudonym_outstanding_verifications(self, _: Request, channel: CommunicationChannel) -> Response:
        """What peers want to verify."""
        return Response({"requests": [
            {"peer": ez_b64_encode(peer.public_key.key_to_bin()), "attribute_name": name}
            for peer, name in tuple(channel.verify_requests)]})

    @docs(tags=["Identity"], summary="The results of verifications.", responses=WRONG)
    @response_schema(OUTPUTS)
    @loading("outputs")
    async def list_pseudonym_verification_output(self, _: Request, channel: CommunicationChannel) -> Response:
        """What was verified, and how certain it is."""
        outputs = []
        for attribute_hash, results in tuple(channel.verification_output.items()):
            reference, match = results[0] if results else (b"", None)
            if match is not None:
                outputs.append({"hash": ez_b64_encode(attribute_hash), "reference": ez_b64_encode(reference),
                                "match": match})
        return Response({"outputs": outputs})

    # What to do

    @docs(tags=["Identity"], summary="Let a peer verify an attribute.", responses=UNKNOWN)
    @json_schema(NAMED)
    @response_schema(DefaultResponseSchema)
    @deciding("name")
    async def allow_pseudonym_verification(self, request: Request, channel: CommunicationChannel,
                                           body: dict[str, Any]) -> Response:
        """Allow a verification that was asked for."""
        seen = _seen(body)
        return self._decide(request, channel, "verifier",
                            lambda peer: channel.allow_verification(peer, body["name"], **seen))

    @docs(tags=["Identity"], summary="Do not let a peer verify an attribute.", responses=UNKNOWN)
    @json_schema(DISALLOWED)
    @response_schema(DefaultResponseSchema)
    @deciding("name")
    async def disallow_pseudonym_verification(self, request: Request, channel: CommunicationChannel,
                                              body: dict[str, Any]) -> Response:
        """Refuse a verification that was asked for."""
        seen = _seen(body)
        return self._decide(request, channel, "verifier",
                            lambda peer: channel.disallow_verification(peer, body["name"], **seen))

    @docs(tags=["Identity"], summary="Attest an attribute of a peer.", responses=UNKNOWN)
    @json_schema(ATTESTATION)
    @response_schema(DefaultResponseSchema)
    @deciding("name", "value")
    async def attest_pseudonym_credential(self, request: Request, channel: CommunicationChannel,
                                          body: dict[str, Any]) -> Response:
        """Attest what was asked for."""
        value, seen = unbase64(body["value"], "value"), _seen(body, "metadata")
        formats: list[str | None] = []

        def attest(peer: Peer) -> None:
            asked = channel.waiting_attestations.asked((peer, body["name"]))
            channel.attest(peer, body["name"], value, **seen)
            formats.append(asked and asked.id_format)

        response = self._decide(request, channel, "subject", attest)
        return _done(channel, formats[0]) if formats else response

    @docs(tags=["Identity"], summary="Do not attest an attribute of a peer.", responses=UNKNOWN)
    @json_schema(REFUSED)
    @response_schema(DefaultResponseSchema)
    @deciding("name")
    async def refuse_pseudonym_credential(self, request: Request, channel: CommunicationChannel,
                                          body: dict[str, Any]) -> Response:
        """Refuse an attestation that was asked for."""
        seen = _seen(body, "metadata")
        return self._decide(request, channel, "subject",
                            lambda peer: channel.refuse_attestation(peer, body["name"], **seen))

    def _decide(self, request: Request, channel: CommunicationChannel, role: str,
                decide: Callable[[Peer], None]) -> Response:
        """Decide what a peer has asked for."""
        peer = self._peer(channel, request, f"{role}_key")
        if peer is None:
            return _unknown(f"failed to find {role}")
        try:
            decide(peer)
        except KeyError as e:
            raise NotFound("this peer has not asked for an attribute of this name") from e
        except OtherRequestError as e:
            raise Conflict(str(e)) from e
        return Response({"success": True})

    @docs(tags=["Identity"], summary="Ask a peer to attest an attribute.", responses=WRONG)
    @json_schema(REQUEST)
    @response_schema(DefaultResponseSchema)
    @deciding("name", "schema")
    async def create_pseudonym_credential(self, request: Request, channel: CommunicationChannel,
                                          body: dict[str, Any]) -> Response:
        """Ask for an attestation."""
        metadata = body.get("metadata", {})
        if not isinstance(metadata, dict):
            raise BadRequest("metadata must be a JSON object") from TypeError("metadata")
        try:
            length = len(json.dumps(metadata, allow_nan=False))
        except (RecursionError, ValueError) as e:
            raise BadRequest("metadata must be JSON that all programs can read, with finite numbers") from e
        for name, size in (("metadata", length), ("name", len(body["name"]))):
            if size > LONGEST_METADATA:
                raise BadRequest(f"{name} must have at most {LONGEST_METADATA} characters") from ValueError(name)
        _check_schema(channel, body["schema"])
        authority = self._peer(channel, request, "authority_key")
        if authority is None:
            return _unknown("failed to find authority")
        try:
            channel.request_attestation(authority, body["name"], body["schema"], metadata)
        except ValueError as e:  # the metadata has names that the request needs itself
            raise BadRequest(str(e)) from e
        return _done(channel, body["schema"])

    @docs(tags=["Identity"], summary="Verify an attribute of a peer.", responses=WRONG)
    @json_schema(VERIFICATION)
    @response_schema(DefaultResponseSchema)
    @deciding("hash", "value", "schema")
    async def verify_pseudonym_credential(self, request: Request, channel: CommunicationChannel,
                                          body: dict[str, Any]) -> Response:
        """Begin a verification."""
        attribute_hash = strip_sha1_padding(unbase64(body["hash"], "hash"))
        value = unbase64(body["value"], "value")
        _check_schema(channel, body["schema"])
        subject = self._peer(channel, request, "subject_key")
        if subject is None:
            return _unknown("failed to find subject")
        if len(attribute_hash) != HASH_SIZE and not LEGACY.get():
            raise BadRequest(f"hash must have {HASH_SIZE} bytes") from ValueError("hash")
        try:
            channel.verify(subject, attribute_hash, [value], body["schema"])
        except RuntimeError as e:
            raise BadRequest("this attribute is being verified already: wait for its result") from e
        return _done(channel, body["schema"])


def _done(channel: CommunicationChannel, id_format: str | None) -> Response:
    """It is done. What the format does not protect from is in a header, as clients compare the body."""
    weakness = None if id_format is None else channel.attestation_overlay.schema_manager.weakness_of(id_format)
    return Response({"success": True}, headers=None if weakness is None else {WEAKNESS: weakness})


def _seen(body: dict[str, Any], *more: str) -> dict[str, Any]:
    """What a client says of the request that it decides about, if it does."""
    seen = {name: body[name] for name in ("request_id", *more) if body.get(name) is not None}
    if "request_id" in seen:
        text(seen, "request_id")
    if not isinstance(seen.get("metadata", ""), (str, dict)):
        raise BadRequest("metadata must be text or a JSON object") from TypeError("metadata")
    return seen


def _check_schema(channel: CommunicationChannel, name: str) -> None:
    if name not in channel.schemas:
        raise BadRequest(f"there is no schema of this name; there are {', '.join(channel.schemas)}") from KeyError(name)


def _state(name: str, channel: CommunicationChannel | None) -> dict[str, Any]:
    if channel is None:
        return {"name": name, "loaded": False, "public_key": None, "peers": 0, "attributes": 0,
                "attestation_requests": 0, "verification_requests": 0}
    return {"name": name, "loaded": True, "public_key": ez_b64_encode(channel.public_key_bin),
            "peers": len(channel.peers), "attributes": len(channel.get_my_attributes()),
            "attestation_requests": len(channel.attestation_requests),
            "verification_requests": len(channel.verify_requests)}


def _credentials(attributes: dict[bytes, tuple[str, dict[str, Any], list[bytes]]]) -> list[dict[str, Any]]:
    return [{"name": name, "hash": ez_b64_encode(strip_sha1_padding(attribute_hash)), "metadata": plain(metadata),
             "attesters": [ez_b64_encode(attester) for attester in attesters]}
            for attribute_hash, (name, metadata, attesters) in attributes.items()]


def _metadata(text: str) -> dict[str, Any]:
    """What a peer wants to have attested besides an attribute; empty if that is nested too deep to be read."""
    try:
        described: dict[str, Any] = plain(json.loads(text))
    except RecursionError:
        return {}
    return described


def _refuse(error: str) -> Response:
    return Response({"success": False, "error": error})


def _unknown(error: str) -> Response:
    """Nobody with this key is known. The status is 200, as clients look at ``success``."""
    return Response({"success": False, "error": error}, headers={"X-IPv8-Status": "404"})
