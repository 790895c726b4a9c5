"""``ipv8 identity``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..framework import Group
from ..options import IPV4, PORT, SERVER, TEXT, FilePath, Seconds, TreePath, ValueType, json_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..identity import Node, Place

__all__ = ["identity"]

LONGEST_WAIT = 86_400.0
LONGEST_PATH = 1024
LONGEST_PASSPHRASE = 4096
BOUND = re.compile(r"(.+?)\s*(>=|<=)\s*(-?[0-9]{1,15})", re.DOTALL)
RANGE = re.compile(r"(.+?)=(-?[0-9]{1,15}):(-?[0-9]{1,15}):(-?[0-9]{1,15})(?::([0-9]{1,15}))?", re.DOTALL)


class _Name(ValueType):
    name = "name"

    def read(self, text: str) -> str:
        from ...attestation.pseudonyms import check_pseudonym_name

        return check_pseudonym_name(text)


class _PublicKey(ValueType):
    name = "key"
    completes = "file"

    def read(self, text: str) -> Any:
        from ...keyvault.crypto import default_eccrypto

        digits = text
        if len(text) <= LONGEST_PATH and Path(text).is_file():
            with open(text, encoding="utf-8", errors="replace") as file:
                digits = file.read(LONGEST_PATH).strip()
        try:
            return default_eccrypto.key_from_network(bytes.fromhex(digits))
        except ValueError:
            raise ValueError(f"{text[:20]!r} is neither a public key in hex digits nor a file with one: make such a "
                             "file with 'ipv8 identity key NAME > FILE'") from None


class _Id(ValueType):
    name = "id"

    def read(self, text: str) -> bytes:
        if re.fullmatch("[0-9a-fA-F]{64}", text) is None:
            raise ValueError(f"{text!r} is not the id of a credential, 64 hex digits: 'ipv8 identity show' prints them")
        return bytes.fromhex(text)


class _Claim(ValueType):
    name = "name=value"

    def read(self, text: str) -> tuple[str, Any]:
        import json

        name, separator, value = text.partition("=")
        if not name or not separator:
            raise ValueError(f"{text!r} is no claim, such as given_name=Ann or citizen=true")
        try:
            return name, json.loads(value)
        except (ValueError, RecursionError):
            return name, value


class _Range(ValueType):
    name = "name=value:low:high"

    def read(self, text: str) -> tuple[str, tuple[Any, int]]:
        from ...attestation.credentials.ranges import Range

        found = RANGE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no range, such as age=34:0:150, or income=34000:0:100000:1000 with a step")
        name, value, low, high, step = found.groups()
        return name, (Range(int(low), int(high), int(step or 1)), int(value))


class _Bound(ValueType):
    name = "bound"

    def read(self, text: str) -> Any:
        from ...attestation.credentials.ranges import Bound

        found = BOUND.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no bound, such as 'age>=18' or 'age<=65'")
        name, operator, threshold = found.groups()
        return Bound(name, operator == ">=", int(threshold))


NAME, PUBLIC_KEY, ID, CLAIM, RANGES, BOUNDS = _Name(), _PublicKey(), _Id(), _Claim(), _Range(), _Bound()


def _place_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where the pseudonyms are."""
    for option in (
        click.option("--passphrase-file", type=FilePath("the passphrase", exists=True, may_be_pipe=True),
                     help="A file with the passphrase that encrypts keys and credentials."),
        click.option("--directory", type=TreePath("pseudonyms"), help="Where the pseudonyms are kept."),
    ):
        function = option(function)
    return function


def _place(directory: str | None, passphrase_file: str | None) -> Place:
    from ..identity import Place

    if directory is None:
        from platformdirs import user_data_path

        directory = str(user_data_path("ipv8", appauthor=False) / "identity")
    passphrase = None
    if passphrase_file is not None:
        with open(passphrase_file, encoding="utf-8-sig") as file:  # some editors put a mark in front of the text
            try:
                passphrase = file.readline(LONGEST_PASSPHRASE + 1).rstrip("\r\n")
            except UnicodeDecodeError as e:
                raise ValueError(f"{passphrase_file} is not a text in UTF-8: its first line must have the passphrase"
                                 ) from e
        if not passphrase:
            raise ValueError(f"the first line of {passphrase_file} is empty: it must have the passphrase")
        if len(passphrase) > LONGEST_PASSPHRASE:
            raise ValueError(f"the first line of {passphrase_file} has more than {LONGEST_PASSPHRASE} characters")
    return Place(directory, passphrase)


def _node_options(wait: float, alone: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options of commands that talk to another node.

    :param wait: how many seconds are waited for it by default.
    :param alone: whether the other one comes to this node.
    """
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        options = [
            click.option("--wait", type=Seconds(LONGEST_WAIT), default=wait, show_default=True,
                         help="How many seconds to wait for the other one."),
            click.option("-p", "--port", type=PORT, default=0, show_default=True,
                         help="The UDP port to listen on; 0 for any."),
            click.option("--listen-address", type=IPV4, default="0.0.0.0", show_default=True,  # noqa: S104 - a node
                         help="The IPv4 address to listen on."),
            click.option("--peer", "peers", type=SERVER, multiple=True,
                         help="A node to start from, instead of the bootstrap servers; may be given again."),
        ]
        if alone:
            options.append(click.option("--alone", is_flag=True, help="Look for nobody: the other one knows the "
                                                                      "address of this node."))
        for option in options:
            function = option(function)
        return function

    return add


def _node(peers: tuple[tuple[str, int], ...], listen_address: str, port: int, wait: float,
          alone: bool = False) -> Node:
    from ..identity import Node

    return Node(peers, alone, listen_address, port, wait)


def _tell(facts: dict[str, Any], text: str, as_json: bool) -> None:
    """Print the facts as JSON, or the text."""
    import json

    print(json.dumps(facts) if as_json else text)


def _print(report: dict[str, Any], as_json: bool) -> None:
    from ..identity import lines

    _tell(report, "\n".join(lines(report)), as_json)


@click.group(cls=Group, examples=(
    ("ipv8 identity create me", "make a pseudonym"),
    ("ipv8 identity show me", "print its public key, its attributes and its credentials"),
))
def identity() -> None:
    """Keep pseudonyms and their credentials.

    Each pseudonym has a key of its own. It holds, issues, shows and verifies credentials.
    """


@identity.command("list", examples=(("ipv8 identity list", "print the names of all pseudonyms"),))
@_place_options
@json_option
def list_(directory: str | None, passphrase_file: str | None, as_json: bool) -> None:
    """Print the names of all pseudonyms."""
    import json

    names = _place(directory, passphrase_file).folder.list_pseudonym_files()
    print(json.dumps(names) if as_json else "\n".join(names) or "There are no pseudonyms.")


@identity.command("create", short_help="Make a pseudonym.", examples=(("ipv8 identity create me", "make a pseudonym"),))
@click.argument("name", type=NAME)
@_place_options
@json_option
def create(name: str, directory: str | None, passphrase_file: str | None, as_json: bool) -> None:
    """Make the pseudonym NAME, with a new key that only its owner can read."""
    folder = _place(directory, passphrase_file).folder
    if name in folder.list_pseudonym_files():
        raise FileExistsError(f"there is a pseudonym {name!r} already: choose another name")
    made = folder.get_or_create_private_key(name)
    _print({"name": name, "public_key": made.pub().key_to_bin().hex()}, as_json)


@identity.command("key", short_help="Print the public key of a pseudonym.", examples=(
    ("ipv8 identity key me > me.pub", "make a file for others"),
))
@click.argument("name", type=NAME)
@_place_options
@json_option
def key(name: str, directory: str | None, passphrase_file: str | None, as_json: bool) -> None:
    """Print the public key of the pseudonym NAME in hex digits."""
    public_key = _place(directory, passphrase_file).key(name).pub().key_to_bin().hex()
    _tell({"name": name, "public_key": public_key}, public_key, as_json)


@identity.command("remove", short_help="Delete a pseudonym.", examples=(
    ("ipv8 identity remove me --yes", "delete a pseudonym"),
))
@click.argument("name", type=NAME)
@click.option("--yes", is_flag=True, help="Delete it really.")
@_place_options
@json_option
def remove(name: str, yes: bool, directory: str | None, passphrase_file: str | None, as_json: bool) -> int:
    """Delete the pseudonym NAME: its key, its attributes and its credentials."""
    place = _place(directory, passphrase_file)
    private_key = place.key(name)
    if not yes:
        reason = f"The key and all credentials of {name!r} would be lost: give --yes to delete them."
        _tell({"name": name, "deleted": False, "reason": reason}, reason, as_json)
        return 1
    place.forget(private_key)
    place.folder.remove_pseudonym_file(name)
    _tell({"name": name, "deleted": True}, f"The pseudonym {name!r} is deleted.", as_json)
    return 0


@identity.command("show", short_help="Print a pseudonym and its credentials.", examples=(
    ("ipv8 identity show me --json", "print all that it has, for a program"),
))
@click.argument("name", type=NAME)
@_place_options
@json_option
def show(name: str, directory: str | None, passphrase_file: str | None, as_json: bool) -> None:
    """Print the public key of the pseudonym NAME, its credentials, its attributes, and what it has issued."""
    from ...attestation.credentials.did import did_of
    from ..identity import describe

    place = _place(directory, passphrase_file)
    private_key = place.key(name)
    store = place.open_store()
    try:
        held = [describe(entry) for entry in store.held_by(private_key.pub())]
        issued = [{"id": entry.id.hex(), "type": entry.type, "holder": entry.holder.hex(),
                   "expires": entry.expires or None, "revoked": entry.revoked}
                  for entry in store.issued_by(private_key.pub())]
    finally:
        store.close()
    _print({"name": name, "public_key": private_key.pub().key_to_bin().hex(), "did": did_of(private_key),
            "credentials": held, "attributes": place.attributes(private_key), "issued": issued}, as_json)


@identity.command("export", short_help="Print a credential as SD-JWT.", examples=(
    (f"ipv8 identity export me {'5f' * 32}", "print a credential as SD-JWT"),
))
@click.argument("name", type=NAME)
@click.argument("credential", type=ID)
@_place_options
@json_option
def export(name: str, credential: bytes, directory: str | None, passphrase_file: str | None, as_json: bool) -> None:
    """Print the CREDENTIAL with this id of the pseudonym NAME as SD-JWT (RFC 9901), with all its claims."""
    place = _place(directory, passphrase_file)
    private_key = place.key(name)
    store = place.open_store()
    try:
        held = store.get_held(private_key.pub(), credential)
    finally:
        store.close()
    if held is None:
        raise FileNotFoundError(f"{name!r} has no credential {credential.hex()}: 'ipv8 identity show {name}' prints "
                                "those that it has")
    _tell({"id": credential.hex(), "sd_jwt": held.to_sd_jwt()}, held.to_sd_jwt(), as_json)


@identity.command("import", short_help="Keep an SD-JWT of somebody else.", examples=(
    ("ipv8 identity import me credential.txt", "keep an SD-JWT of a did:key"),
))
@click.argument("name", type=NAME)
@click.argument("file", type=FilePath("an SD-JWT", exists=True, may_be_pipe=True))
@click.option("--issuer", type=PUBLIC_KEY, help="The public key of the issuer, if its name is no did:key.")
@_place_options
@json_option
def import_(name: str, file: str, issuer: Any, directory: str | None, passphrase_file: str | None,
            as_json: bool) -> None:
    """Keep the SD-JWT (RFC 9901) in FILE, which is bound to the key of the pseudonym NAME."""
    from ...attestation.credentials.did import verify_key_of
    from ...attestation.credentials.policy import ANY_ISSUER, Policy
    from ...attestation.credentials.sdjwt import MAX_SD_JWT_SIZE, HeldSdJwt
    from ..identity import describe

    place = _place(directory, passphrase_file)
    private_key = place.key(name)
    with open(file, encoding="ascii", errors="replace") as source:
        held = HeldSdJwt(source.read(MAX_SD_JWT_SIZE + 1).strip())
    issuers = ANY_ISSUER if issuer is None else {str(held.payload.get("iss")): issuer}
    held.check(Policy(issuers, allow_unknown_status=True))
    if verify_key_of(held.holder) != verify_key_of(private_key):
        raise ValueError(f"this credential is bound to another key than that of {name!r}")
    store = place.open_store()
    try:
        store.add_held(private_key.pub(), held)
    finally:
        store.close()
    _print(describe(held), as_json)


@identity.command("revoke", short_help="Take a credential back.", examples=(
    (f"ipv8 identity revoke me {'5f' * 32}", "take a credential back"),
))
@click.argument("name", type=NAME)
@click.argument("credential", type=ID)
@_place_options
@json_option
def revoke(name: str, credential: bytes, directory: str | None, passphrase_file: str | None, as_json: bool) -> None:
    """Revoke the CREDENTIAL with this id, which the pseudonym NAME has issued.

    Verifiers learn of it when the status list that they have has expired, which takes an hour at most.
    """
    place = _place(directory, passphrase_file)
    private_key = place.key(name)
    store = place.open_store()
    try:
        store.set_revoked(private_key.pub(), credential)
    except KeyError as e:
        raise ValueError(e.args[0]) from None
    finally:
        store.close()
    _tell({"id": credential.hex(), "revoked": True}, "The credential is revoked.", as_json)


@identity.command("request", short_help="Ask an authority for a credential.", examples=(
    ("ipv8 identity request me person --authority city.pub --peer 192.0.2.1:8090", "ask for a credential"),))
@click.argument("name", type=NAME)
@click.argument("type_", metavar="TYPE", type=TEXT)
@click.option("--authority", type=PUBLIC_KEY, required=True, help="The public key of the authority.")
@click.option("--detail", "details", type=CLAIM, multiple=True,
              help="What the authority needs to know; may be given again.")
@_node_options(60.0, alone=False)
@_place_options
@json_option
def request(name: str, type_: str, authority: Any, details: tuple[tuple[str, Any], ...], directory: str | None,
            passphrase_file: str | None, as_json: bool, **node: Any) -> int:
    """Ask an authority for a credential of TYPE for the pseudonym NAME, and keep it.

    The exit status is 0 if it was issued, and 1 if not.
    """
    from .. import identity as library

    return library.run(_place(directory, passphrase_file), name, _node(**node),
                       library.requesting(authority, type_, dict(details)), as_json)


@identity.command("attest", short_help="Issue a credential to a holder.", examples=(
    ("ipv8 identity attest city person --holder me.pub --claim name=Ann --range age=34:0:150",
     "issue a credential to a holder, when it asks"),))
@click.argument("name", type=NAME)
@click.argument("type_", metavar="TYPE", type=TEXT)
@click.option("--holder", type=PUBLIC_KEY, required=True, help="The public key of the holder.")
@click.option("--claim", "claims", type=CLAIM, multiple=True, help="A claim; may be given again.")
@click.option("--range", "ranges", type=RANGES, multiple=True,
              help="A number of which bounds can be proven, and the range; may be given again.")
@click.option("--days", type=Seconds(36_500.0, "days"), default=90.0, show_default=True, help="How long it is valid.")
@_node_options(300.0, alone=True)
@_place_options
@json_option
def attest(name: str, type_: str, holder: Any, claims: tuple[tuple[str, Any], ...], ranges: tuple[Any, ...],
           days: float, directory: str | None, passphrase_file: str | None, as_json: bool, **node: Any) -> int:
    """Wait until a holder asks the pseudonym NAME for a credential of TYPE, and issue it.

    The exit status is 0 if it was issued, and 1 if nobody asked.
    """
    from ...attestation.credentials.exchange import IssueOrder
    from .. import identity as library

    order = IssueOrder(dict(claims), dict(ranges), lifetime=days * 86_400)
    return library.run(_place(directory, passphrase_file), name, _node(**node),
                       library.attesting(holder, type_, order), as_json)


@identity.command("present", short_help="Show a verifier a credential.", examples=(
    ("ipv8 identity present me --verifier bar.pub --claim name --claim age",
     "show a verifier a name, and bounds of an age"),))
@click.argument("name", type=NAME)
@click.option("--verifier", type=PUBLIC_KEY, required=True, help="The public key of the verifier.")
@click.option("--claim", "claims", type=TEXT, multiple=True, metavar="NAME",
              help="A claim that may be shown, or of which bounds may be proven; may be given again.")
@_node_options(300.0, alone=True)
@_place_options
@json_option
def present(name: str, verifier: Any, claims: tuple[str, ...], directory: str | None, passphrase_file: str | None,
            as_json: bool, **node: Any) -> int:
    """Wait until a verifier asks the pseudonym NAME for a presentation, and give it.

    It is refused if anything is asked for that --claim does not allow. The exit status is 0 if it was given, and 1 if
    not.
    """
    from .. import identity as library

    return library.run(_place(directory, passphrase_file), name, _node(**node),
                       library.presenting(verifier, claims), as_json)


@identity.command("verify", examples=(
    ("ipv8 identity verify bar --holder me.pub --issuer city.pub --claim name --bound 'age>=18'",
     "let a holder prove something"),))
@click.argument("name", type=NAME)
@click.option("--holder", type=PUBLIC_KEY, required=True, help="The public key of the holder.")
@click.option("--issuer", "issuers", type=PUBLIC_KEY, multiple=True, required=True,
              help="The public key of an authority whose credentials are accepted; may be given again.")
@click.option("--type", "types", type=TEXT, multiple=True,
              help="A type of credential that will do; may be given again.")
@click.option("--claim", "claims", type=TEXT, multiple=True, metavar="NAME",
              help="A claim to ask for; may be given again.")
@click.option("--bound", "bounds", type=BOUNDS, multiple=True,
              help="What must be proven of a number; may be given again.")
@click.option("--purpose", default="", help="Why, for the holder.")
@click.option("--unknown-status", is_flag=True, help="Accept credentials of which it is not known whether they are "
                                                     "revoked.")
@_node_options(60.0, alone=False)
@_place_options
@json_option
def verify(name: str, holder: Any, issuers: tuple[Any, ...], types: tuple[str, ...], claims: tuple[str, ...],
           bounds: tuple[Any, ...], purpose: str, unknown_status: bool, directory: str | None,
           passphrase_file: str | None, as_json: bool, **node: Any) -> int:
    """Let a holder prove claims and bounds to the pseudonym NAME.

    The exit status is 0 if they are proven, and 1 if not.
    """
    from ...attestation.credentials.exchange import PresentationRequest
    from .. import identity as library

    return library.run(_place(directory, passphrase_file), name, _node(**node), library.verifying(
        holder, issuers, PresentationRequest(types, claims, bounds, purpose), unknown_status), as_json)
