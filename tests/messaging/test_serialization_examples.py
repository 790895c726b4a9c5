"""The example programs of the serialization chapter run, and print what they promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

EXPECTED = {
    1: ["object at 0x", "HandWrittenMessage\n| field1: 1\n| field2: 2\n000000010002", "DataclassMessage\n| field1: 1"],
    2: ["Reading\n| temperature: 21.5", "Battery\n"],
    3: ["Question\n| msg_id: 1\n| value: 42", "Answer\n| msg_id: 2\n| value: 43"],
    4: ["VariableMessage\n| dictionary: {'temperature': 21.5", "DataclassMessage\n| dictionary: {'temperature': 21.5"],
    5: ["| author: {'name': 'Ada', 'born': 1815}", "| tags: ['bytes', 'fields']"],
    6: ["b'Hello there' with a valid signature"],
    7: [
        "00060000000100020003 = ",
        "001000000000000000010000000000000002010010000000000000000300000000000000040000000000000007",
        "07 = Message(item=Item(foo=1, bar=2), items=[Item(foo=3, bar=4)], baz=7)",
    ],
}


@pytest.mark.parametrize("number", EXPECTED)
def test_example(number: Any, tmp_path: Any) -> None:
    program = EXAMPLES / f"serialization_{number}.py"
    # A program that stands in the tree finds the package there, wherever it is started.
    done = subprocess.run(
        [sys.executable, program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    for text in EXPECTED[number]:
        assert text in done.stdout
    assert not list(tmp_path.iterdir())


def test_both_ways_to_send_json_give_the_same_bytes(tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "serialization_4.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    packed = [line.split(" = ")[0] for line in done.stdout.splitlines() if " = " in line]
    assert len(packed) == 2
    assert len(set(packed)) == 1


def test_five_ways_give_the_same_bytes(tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "serialization_1.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert done.stdout.count("000000010002 = {'field1': 1, 'field2': 2} in 6 bytes") == 5
    assert done.stdout.count("object at 0x") == 1
