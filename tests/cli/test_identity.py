"""``ipv8 identity``: pseudonyms, and credentials between two command lines."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.attestation.identity.manager import IdentityManager
from ipv8.attestation.wallet.database import AttestationsDB
from ipv8.cli.main import main
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.keyvault.passphrases import is_encrypted

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
KEY = default_eccrypto.generate_key("curve25519").pub().key_to_bin().hex()


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Call a command with the pseudonyms of this test; the exit status and what it printed."""
    def call(command: str, *arguments: str, status: int = 0) -> str:
        found = main(["identity", command, *arguments, "--directory", str(tmp_path / "identity")])
        output = capsys.readouterr()
        assert found == status, output
        return output.out if found != 2 else output.err

    return call


def shown(call: Any, name: str) -> Any:
    return json.loads(call("show", name, "--json"))


def test_making_listing_and_removing(call: Any, tmp_path: Path) -> None:
    assert "no pseudonyms" in call("list")
    made = json.loads(call("create", "me", "--json"))
    call("create", "other")
    assert call("list").split() == ["me", "other"]
    assert json.loads(call("list", "--json")) == ["me", "other"]
    assert shown(call, "me")["public_key"] == made["public_key"]
    assert "did:key:z6Mk" in call("show", "me")
    assert call("key", "me") == f"{made['public_key']}\n"
    assert "already" in call("create", "me", status=2)
    assert json.loads(call("key", "me", "--json")) == {"name": "me", "public_key": made["public_key"]}
    assert "--yes" in call("remove", "me", status=1)
    assert json.loads(call("remove", "me", "--json", status=1))["deleted"] is False
    assert "deleted" in call("remove", "me", "--yes")
    assert call("list").split() == ["other"]
    call("create", "third")
    assert json.loads(call("remove", "third", "--yes", "--json")) == {"name": "third", "deleted": True}
    assert (tmp_path / "identity" / "pseudonyms" / "other").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("arguments", [("show", "me"), ("remove", "me"), ("export", "me", "00" * 32),
                                       ("revoke", "me", "00" * 32), ("present", "me", "--verifier", KEY)])
def test_pseudonyms_that_do_not_exist(call: Any, arguments: tuple[str, ...]) -> None:
    assert "ipv8 identity create me" in call(*arguments, status=2)


@pytest.mark.parametrize(("arguments", "message"), [
    (("create", "../me"), "cannot be the name"), (("export", "me", "12"), "64 hex digits"),
    (("verify", "me", "--holder", "zz", "--issuer", KEY), "public key"),
    (("verify", "me", "--holder", KEY, "--issuer", KEY, "--bound", "age=18"), "bound"),
    (("attest", "me", "t", "--holder", KEY, "--claim", "x"), "claim"),
    (("attest", "me", "t", "--holder", KEY, "--range", "age=34"), "range"),
    (("verify", "me", "--holder", KEY), "--issuer"), (("import", "me", "nowhere"), "no file")])
def test_wrong_arguments(call: Any, arguments: tuple[str, ...], message: str) -> None:
    assert message in call(*arguments, status=2)


def test_passphrases(call: Any, tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_text("secret\n")
    call("create", "me", "--passphrase-file", str(file))
    assert is_encrypted((tmp_path / "identity" / "pseudonyms" / "me").read_bytes())
    assert "encrypted" in call("show", "me", status=2)
    call("show", "me", "--passphrase-file", str(file))
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())  # the mark that some editors write
    call("show", "me", "--passphrase-file", str(file))
    file.write_bytes(b"\xff\n")
    assert "is not a text in UTF-8" in call("show", "me", "--passphrase-file", str(file), status=2)
    file.write_text("\n")
    assert "empty" in call("show", "me", "--passphrase-file", str(file), status=2)
    file.write_text("x" * 5000)
    assert "has more than 4096 characters" in call("show", "me", "--passphrase-file", str(file), status=2)


def test_removing_deletes_attributes(call: Any, tmp_path: Path) -> None:
    call("create", "me")
    path = tmp_path / "identity" / "pseudonyms" / "me"
    key = default_eccrypto.key_from_private_bin(path.read_bytes())
    manager = IdentityManager(str(tmp_path / "identity" / "sqlite" / "identity.db"))
    manager.get_pseudonym(key).create_credential(bytes(32), {"name": "x"})
    manager.close()
    assert shown(call, "me")["attributes"] == [{"description": {"name": "x"}, "attesters": []}]
    call("remove", "me", "--yes")
    manager = IdentityManager(str(tmp_path / "identity" / "sqlite" / "identity.db"))
    assert manager.get_pseudonym(key.pub()).get_credentials() == []
    manager.close()


def test_removing_with_a_passphrase(call: Any, tmp_path: Path) -> None:
    """The private keys of attestations are encrypted too. Without the passphrase, nothing is deleted."""
    file, directory = tmp_path / "passphrase", tmp_path / "identity"
    file.write_text("secret\n")
    call("create", "me")
    key = default_eccrypto.key_from_private_bin((directory / "pseudonyms" / "me").read_bytes())
    manager = IdentityManager(str(directory / "sqlite" / "identity.db"))
    manager.get_pseudonym(key).create_credential(b"SHA-1" + bytes(7) + b"h" * 20, {"name": "x"})
    manager.close()
    wallet = AttestationsDB(str(directory), "attestations", "secret")
    wallet.execute("INSERT INTO attestations(hash, blob, key, id_format) VALUES(?, 'b', 'k', 'f')", (b"h" * 20,))
    wallet.commit()
    wallet.close()
    assert "passphrase" in call("remove", "me", "--yes", status=2)
    assert shown(call, "me")["attributes"]
    call("remove", "me", "--yes", "--passphrase-file", str(file))
    wallet = AttestationsDB(str(directory), "attestations", "secret")
    assert wallet.get_all() == []
    wallet.close()
    assert not (directory / "pseudonyms" / "me").exists()


@pytest.mark.parametrize("name", ["credentials", "identity"])
def test_files_that_cannot_be_used(call: Any, tmp_path: Path, name: str) -> None:
    call("create", "me")
    file = tmp_path / "identity" / "sqlite" / f"{name}.db"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"something else" * 1000)
    assert str(file) in call("show", "me", status=2)
    assert str(file) in call("remove", "me", "--yes", status=2)
    assert call("list").split() == ["me"]


class Other:
    """Another command line, which waits for this one."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ipv8", "identity", *arguments, "--alone", "--listen-address", "127.0.0.1", "--port",
             str(self.port), "--wait", "30", "--json", "--directory", str(directory)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @property
    def peer(self) -> tuple[str, ...]:
        """The options to reach it."""
        return "--peer", f"127.0.0.1:{self.port}", "--listen-address", "127.0.0.1", "--wait", "30"

    def end(self, status: int = 0) -> Any:
        """What it printed."""
        output, errors = self.process.communicate(timeout=40)
        assert self.process.returncode == status, errors
        return json.loads(output)


@pytest.mark.slow
def test_a_credential_from_request_to_revocation(call: Any, tmp_path: Path) -> None:
    directory = tmp_path / "identity"
    keys = {name: json.loads(call("create", name, "--json"))["public_key"]
            for name in ("authority", "holder", "verifier")}
    authority = Other(directory, "attest", "authority", "person", "--holder", keys["holder"], "--claim",
                      "given_name=Ann", "--claim", "citizen=true", "--range", "age=34:0:150")
    (tmp_path / "authority.pub").write_text(call("key", "authority"))
    got = json.loads(call("request", "holder", "person", "--authority", str(tmp_path / "authority.pub"), "--detail",
                          "n=1", "--json", *authority.peer))
    assert got["credential"]["claims"] == {"given_name": "Ann", "citizen": True}
    assert authority.end()["details"] == {"n": 1}
    credential = got["credential"]["id"]
    assert shown(call, "holder")["credentials"][0]["ranges"] == {"age": [0, 150, 1]}
    (issued,) = shown(call, "authority")["issued"]
    assert (issued["id"], issued["revoked"]) == (credential, False)

    def verify(allowed: tuple[str, ...], status: int, *asked: str, holder_status: int) -> Any:
        holder = Other(directory, "present", "holder", "--verifier", keys["verifier"], *allowed)
        report = json.loads(call("verify", "verifier", "--holder", keys["holder"], "--issuer", keys["authority"],
                                 *asked, "--unknown-status", "--json", *holder.peer, status=status))
        holder.end(holder_status)
        return report

    allowed = ("--claim", "given_name", "--claim", "age")
    proven = verify(allowed, 0, "--claim", "given_name", "--bound", "age>=18", holder_status=0)
    assert (proven["claims"], proven["bounds"]) == ({"given_name": "Ann"}, ["age >= 18"])
    assert "refuses" in verify(allowed, 1, "--claim", "citizen", holder_status=1)["reason"]

    exported = call("export", "holder", credential)
    file = tmp_path / "credential.txt"
    file.write_text(exported)
    imported = json.loads(call("import", "holder", str(file), "--json"))
    assert imported["form"] == "SD-JWT"
    assert imported["claims"]["given_name"] == "Ann"
    assert "another key" in call("import", "verifier", str(file), status=2)
    assert "has no credential" in call("export", "verifier", credential, status=2)
    assert "revoked" in call("revoke", "authority", credential)
    assert shown(call, "authority")["issued"][0]["revoked"]
    assert "no credential" in call("revoke", "holder", credential, status=2)


def test_peers_that_are_not_there(call: Any) -> None:
    call("create", "me")
    report = json.loads(call("request", "me", "person", "--authority", KEY, "--peer", "127.0.0.1:9", "--listen-address",
                             "127.0.0.1", "--wait", "0.2", "--json", status=1))
    assert "not found" in report["reason"]
