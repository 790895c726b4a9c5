"""Making keys and showing who owns them."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

import pytest

from ipv8.cli.main import main
from ipv8.configuration import CURVES
from ipv8.keyvault.files import load_private_key

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("curve", CURVES)
def test_generate_and_show(curve: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "key.pem"
    assert main(["key", "generate", str(path), "--curve", curve]) == 0
    generated = capsys.readouterr().out
    assert main(["key", "show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert generated == shown

    key = load_private_key(path)
    mid = key.pub().key_to_hash()
    assert dict(line.rsplit(None, 1) for line in shown.splitlines()) == {
        "public key": key.pub().key_to_bin().hex(), "mid": mid.hex(), "mid base64": base64.b64encode(mid).decode()}
    if os.name == "posix":
        assert path.stat().st_mode & 0o077 == 0


def test_secret_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "key.pem"
    main(["key", "generate", str(path)])
    output = "".join(capsys.readouterr())
    secret = path.read_bytes().removeprefix(b"LibNaCLSK:")
    for form in (secret[:32], secret[32:64]):
        assert form.hex() not in output
        assert base64.b64encode(form).decode()[:40] not in output


def test_existing_files_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "key.pem"
    path.write_text("precious")
    assert main(["key", "generate", str(path)]) == 2
    assert "exists: move it away first" in capsys.readouterr().err
    assert path.read_text() == "precious"


@pytest.mark.parametrize(("content", "message"), [
    (None, "make it with 'ipv8 key generate "), (b"", "it is empty"), (b"junk", "does not hold a private key")])
def test_no_key(content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    assert main(["key", "show", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_unknown_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "generate", str(tmp_path / "key.pem"), "--curve", "curve25518"]) == 2
    assert "did you mean 'curve25519'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "key.pem")
    assert main(["key", "generate", "--json", path]) == 0
    generated = capsys.readouterr().out
    assert main(["key", "show", path, "--json"]) == 0
    assert capsys.readouterr().out == generated
    public_key = load_private_key(path).pub()
    mid = public_key.key_to_hash()
    assert json.loads(generated) == {
        "file": path, "curve": "curve25519", "public_key": public_key.key_to_bin().hex(), "mid": mid.hex(),
        "mid_base64": base64.b64encode(mid).decode()}


@pytest.mark.parametrize("action", ["generate", "show"])
@pytest.mark.parametrize(("path", "message"), [
    ("", "must not be empty"), (" ", "must not be empty"), ("x\0y", "zero byte"), (".", "is a directory"),
    ("some/", "is a directory"), ("no/such/directory/key", "there is no directory"), ("x" * 300, "File name too long"),
    ("key.pem/key", "Not a directory")])
def test_paths_that_cannot_be(action: str, path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                              capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key.pem").write_bytes(b"x")
    assert main(["key", action, path]) == 2
    assert message in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.pem"]
