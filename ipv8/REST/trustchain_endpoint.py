"""``/trustchain``: the blocks that the node knows (doc/trustchain.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from marshmallow.fields import Integer, Raw, String

from ..attestation.trustchain.community import TrustChainCommunity
from ..service import IPv8
from .apidocs import docs, response_schema
from .base_endpoint import HTTP_NOT_FOUND, BaseEndpoint, FromNode, Response, plain
from .parameters import hexadecimal, limited
from .schema import schema

if TYPE_CHECKING:
    from aiohttp.web import Request

    from ..attestation.trustchain.block import TrustChainBlock

__all__ = ["TrustchainEndpoint"]

MAX_BLOCKS = 1000
"""Blocks that one response has."""

MAX_SKIPPED = 10_000
"""Blocks of one author that are skipped; they are read nevertheless."""

LAST_OFFSET = 1_000_000_000

HASH_BYTES = 32

BLOCK_FIELDS = {
    "transaction": Raw(metadata={"description": "what was signed"}), "type": String, "public_key": String,
    "sequence_number": Integer, "link_public_key": String, "link_sequence_number": Integer, "previous_hash": String,
    "signature": String, "hash": String, "timestamp": (Integer, "milliseconds since the Unix epoch"),
    "insert_time": Raw(allow_none=True, metadata={"description": "when it was stored"})}
BLOCK = schema(Block={**BLOCK_FIELDS, "linked": schema(LinkedBlock=BLOCK_FIELDS)})
HOW_MANY = {"in": "query", "name": "limit", "type": "integer", "description": "how many, 1 to 1000"}
SKIPPED = {"in": "query", "name": "offset", "type": "integer", "description": "how many are skipped"}
NOTHING = {404: {"description": "There is no TrustChain, or no such block."},
           400: {"description": "An argument is impossible."}}


class TrustchainEndpoint(BaseEndpoint[IPv8]):
    """Shows blocks and their authors."""

    trustchain = FromNode[TrustChainCommunity](lambda node: node.get_overlay(TrustChainCommunity))

    def setup_routes(self) -> None:
        """Add the routes."""
        self.app.add_routes([
            web.get("/recent", self.get_recent_blocks),
            web.get("/blocks/{block_hash}", self.get_block),
            web.get("/users", self.get_users),
            web.get("/users/{pub_key}/blocks", self.get_blocks_for_user),
        ])

    def is_available(self, _: Request) -> bool:
        """Whether there is a TrustChain."""
        return self.trustchain is not None

    @docs(tags=["TrustChain"], summary="The newest blocks, by their timestamps.", responses=NOTHING, parameters=[
        HOW_MANY, SKIPPED])
    @response_schema(schema(RecentBlocksResponse={"blocks": [BLOCK]}))
    async def get_recent_blocks(self, request: Request) -> Response:
        """The newest blocks first."""
        chain = self.trustchain
        if chain is None:
            return _not_found("Trustchain community not found")
        blocks = chain.persistence.get_recent_blocks(limited(request, "limit", 10, 1, MAX_BLOCKS),
                                                     limited(request, "offset", 0, 0, LAST_OFFSET))
        return Response({"blocks": [_describe(block) for block in blocks]})

    @docs(tags=["TrustChain"], summary="A block, with its partner if that is known.", responses=NOTHING)
    @response_schema(schema(BlockResponse={"block": BLOCK}))
    async def get_block(self, request: Request) -> Response:
        """The block with a hash."""
        chain = self.trustchain
        if chain is None:
            return _not_found("Trustchain community not found")
        block = chain.persistence.get_block_with_hash(hexadecimal(request, "block_hash", HASH_BYTES))
        if block is None:
            return _not_found("the block with the provided hash could not be found")
        return Response({"block": _with_partner(chain, block)})

    @docs(tags=["TrustChain"], summary="The authors with the longest chains.", responses=NOTHING, parameters=[HOW_MANY])
    @response_schema(schema(TrustChainUsersResponse={"users": [schema(TrustChainUser={
        "public_key": String, "blocks": (Integer, "the highest sequence number")})]}))
    async def get_users(self, request: Request) -> Response:
        """The authors, that with the longest chain first."""
        chain = self.trustchain
        if chain is None:
            return _not_found("Trustchain community not found")
        users = chain.persistence.get_users(limited(request, "limit", 100, 1, MAX_BLOCKS))
        return Response({"users": [{"public_key": plain(user["public_key"]), "blocks": user["blocks"]}
                                   for user in users]})

    @docs(tags=["TrustChain"], summary="The newest blocks of an author.", responses=NOTHING,
          parameters=[HOW_MANY, SKIPPED])
    @response_schema(schema(UserBlocksResponse={"blocks": [BLOCK]}))
    async def get_blocks_for_user(self, request: Request) -> Response:
        """The blocks of an author, the highest sequence number first."""
        chain = self.trustchain
        if chain is None:
            return _not_found("Trustchain community not found")
        if not request.match_info["pub_key"]:
            return _not_found("a public key is missing")
        skipped, limit = limited(request, "offset", 0, 0, MAX_SKIPPED), limited(request, "limit", 100, 1, MAX_BLOCKS)
        blocks = chain.persistence.get_latest_blocks(hexadecimal(request, "pub_key", None), skipped + limit)
        return Response({"blocks": [_with_partner(chain, block) for block in blocks[skipped:]]})


def _describe(block: TrustChainBlock) -> dict[str, Any]:
    described: dict[str, Any] = plain(dict(block))
    return described


def _with_partner(chain: TrustChainCommunity, block: TrustChainBlock) -> dict[str, Any]:
    described = _describe(block)
    linked = chain.persistence.get_linked(block)
    if linked is not None:
        described["linked"] = _describe(linked)
    return described


def _not_found(error: str) -> Response:
    return Response({"error": error}, status=HTTP_NOT_FOUND)
