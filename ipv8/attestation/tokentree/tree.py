"""The tokens of one key: a tree that grows from its genesis hash (doc/protocol/identity.md section 3.2)."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha3_256
from typing import TYPE_CHECKING

from ...fill import Fill
from ...keyvault.keys import PublicKey
from .token import HASH_SIZE, Token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...keyvault.keys import PrivateKey

__all__ = ["MAX_UNCHAINED", "TokenTree"]

MAX_UNCHAINED = 100
"""Tokens of a tree whose predecessor is not known; the oldest is evicted first."""

DEFAULT_DEPTH = 1000
UNLIMITED = -1


class TokenTree:
    """The tokens that one key has signed, each of which follows another one or the genesis hash.

    Each signature is verified once: the tree remembers the hashes of tokens whose signatures are good.

    :param public_key: whose tokens these are.
    :param private_key: the same, for a tree that can grow by new tokens.
    :raises RuntimeError: if not exactly one of the keys is given.
    """

    def __init__(self, public_key: PublicKey | None = None, private_key: PrivateKey | None = None) -> None:
        if public_key is not None and private_key is None:
            own_public = public_key.pub()
        elif public_key is None and private_key is not None:
            own_public = private_key.pub()
        else:
            raise RuntimeError("Specify either public_key or private_key!")
        assert isinstance(own_public, PublicKey)
        self.public_key = own_public
        self.private_key = private_key
        self.genesis_hash = sha3_256(own_public.key_to_bin()).digest()
        #: All tokens that are connected with the genesis hash, by their hashes, in the order in which they were added.
        self.elements: dict[bytes, Token] = {}
        #: Tokens with good signatures whose predecessor is not known, oldest first.
        self.unchained: OrderedDict[Token, None] = OrderedDict()
        self.unchained_max_size = MAX_UNCHAINED
        self._waiting: dict[bytes, list[Token]] = {}
        self._verified: set[bytes] = set()

    # Growing

    def add(self, content: bytes, after: Token | None = None) -> Token:
        """A new token for ``content`` after a token, or after the genesis hash.

        :raises RuntimeError: without the private key.
        """
        return self._add(after, content=content)

    def add_by_hash(self, content_hash: bytes, after: Token | None = None) -> Token:
        """The same for content of which only the hash is known."""
        return self._add(after, content_hash=content_hash)

    def _add(self, after: Token | None, content: bytes | None = None, content_hash: bytes | None = None) -> Token:
        if self.private_key is None:
            raise RuntimeError("Attempted to create token without a key!")
        previous = self.genesis_hash if after is None else after.get_hash()
        token = Token(previous, content=content, content_hash=content_hash, private_key=self.private_key)
        self._verified.add(token.get_hash())
        self._append(token)
        return token

    def gather_token(self, token: Token) -> Token | None:
        """Add a token that somebody sent.

        :returns: the token, or the equal one that was there before; ``None`` if its signature is bad, or it waits in
            ``unchained`` for its predecessor.
        """
        if not self._is_signed(token):
            return None
        token_hash = token.get_hash()
        self._verified.add(token_hash)
        if token.previous_token_hash != self.genesis_hash and token.previous_token_hash not in self.elements:
            self._wait(token)
            return None
        known = self.elements.get(token_hash)
        if known is not None:
            if known.content is None and token.content is not None:
                known.receive_content(token.content)
            return known
        self._append(token)
        self._append_chain_reaction_token(token)
        return token

    def _is_signed(self, token: Token) -> bool:
        token_hash = token.get_hash()
        if token_hash in self._verified:
            return True
        good = token.verify(self.public_key)
        if good and token_hash in self.elements:
            self._verified.add(token_hash)
        return good

    def _append(self, token: Token) -> None:
        self.elements[token.get_hash()] = token

    def _append_chain_reaction_token(self, token: Token) -> None:
        """Add all tokens that have waited for ``token``, and those that have waited for them."""
        arrived = [token]
        while arrived:
            for follower in self._waiting.pop(arrived.pop().get_hash(), ()):
                self.unchained.pop(follower, None)
                if follower.get_hash() not in self.elements:
                    self._append(follower)
                    arrived.append(follower)

    def _wait(self, token: Token) -> None:
        if token in self.unchained:
            return
        self.unchained[token] = None
        self._waiting.setdefault(token.previous_token_hash, []).append(token)
        while len(self.unchained) > self.unchained_max_size:
            evicted, _ = self.unchained.popitem(last=False)
            siblings = self._waiting.get(evicted.previous_token_hash, [])
            if evicted in siblings:
                siblings.remove(evicted)
            if not siblings:
                self._waiting.pop(evicted.previous_token_hash, None)
            self._verified.discard(evicted.get_hash())

    def get_missing(self) -> set[bytes]:
        """The hashes of all tokens that the unchained ones follow; unchained tokens may be among them."""
        return {token.previous_token_hash for token in self.unchained}

    # Paths to the root

    def _walk(self, token: Token, maxdepth: int) -> list[Token]:
        """``token`` and all tokens before it, root last; empty if one is missing, forged or too deep."""
        path = [token]
        while self._is_signed(token):
            if maxdepth != UNLIMITED and len(path) > maxdepth:
                return []
            if token.previous_token_hash == self.genesis_hash:
                return path
            previous = self.elements.get(token.previous_token_hash)
            if previous is None:
                return []
            token = previous
            path.append(token)
        return []

    def verify(self, token: Token, maxdepth: int = DEFAULT_DEPTH) -> bool:
        """Whether a token and all before it are signed and connected with the genesis hash.

        :param maxdepth: how many tokens the path may have at most; -1 for any number.
        """
        return bool(self._walk(token, maxdepth))

    def get_root_path(self, token: Token, maxdepth: int = DEFAULT_DEPTH) -> list[Token]:
        """A token and all before it, root last; ``[]`` where :meth:`verify` is false."""
        return self._walk(token, maxdepth)

    def longest_path(self) -> list[Token]:
        """The longest path of good tokens, root first; of several, the one whose last token was added last.

        This takes time in proportion to the number of tokens.
        """
        followers: dict[bytes, list[Token]] = {}
        order: dict[bytes, int] = {}
        for number, (token_hash, token) in enumerate(self.elements.items()):
            followers.setdefault(token.previous_token_hash, []).append(token)
            order[token_hash] = number
        last: Token | None = None
        level = [token for token in followers.get(self.genesis_hash, ()) if self._is_signed(token)]
        while level:
            last = max(level, key=lambda token: order[token.get_hash()])
            level = [token for parent in level for token in followers.get(parent.get_hash(), ())
                     if self._is_signed(token)]
        return [] if last is None else self._walk(last, UNLIMITED)[::-1]

    # Bytes

    def serialize_public(self, up_to: Token | None = None) -> bytes:
        """All tokens in the order in which they were added; or ``up_to`` and all tokens before it, root last."""
        if up_to is None:
            return b"".join(token.get_plaintext_signed() for token in self.elements.values())
        return b"".join(token.get_plaintext_signed() for token in self._ancestry(up_to))

    def _ancestry(self, token: Token) -> Iterator[Token]:
        current: Token | None = token
        while current is not None:
            yield current
            current = self.elements.get(current.previous_token_hash)

    def read_public(self, s: bytes) -> list[Token]:
        """The tokens in ``s``, which are not added; ``struct.error`` if the last one is not complete."""
        size = 2 * HASH_SIZE + self.public_key.get_signature_length()
        return [Token.unserialize(s, self.public_key, offset) for offset in range(0, len(s), size)]

    def unserialize_public(self, s: bytes) -> bool:
        """Gather the tokens in ``s``.

        :returns: whether each of them was good and connected at the time when it was gathered. Tokens that come before
            their predecessors are connected in the end, but make this ``False``; see :meth:`gather_public`.
        :raises struct.error: if the last token is not complete. Those before it are gathered.
        """
        size = 2 * HASH_SIZE + self.public_key.get_signature_length()
        correct = True
        for offset in range(0, len(s), size):
            correct &= self.gather_token(Token.unserialize(s, self.public_key, offset)) is not None
        return correct

    def gather_public(self, s: bytes) -> tuple[bool, list[Token]]:
        """Gather the tokens in ``s``, in whatever order they are.

        :returns: whether all of them are good and connected in the end, and the tokens that are.
        :raises struct.error: if the last token is not complete; then none is gathered.
        """
        tokens = self.read_public(s)
        for token in tokens:
            self.gather_token(token)
        connected = [token for token in tokens if token.get_hash() in self.elements]
        return len(connected) == len(tokens), connected

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("unchained", len(self.unchained), self.unchained_max_size, rule="the oldest goes first")
