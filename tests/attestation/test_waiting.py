"""Requests that wait for a decision: which one is shown, and which one a decision is about."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ipv8.attestation.waiting import Asked, OtherRequestError, WaitingRequests
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.peer import Peer

PEER = Peer(default_eccrypto.generate_key("curve25519").pub())
POINTER = PEER, "name"


def guest(**more: Any) -> Asked:
    return Asked(PEER, "name", '{"role": "guest", "age": 1}', **more)


def owner() -> Asked:
    return Asked(PEER, "name", '{"role": "owner", "age": 1}')


class Waiting(WaitingRequests[Any]):

    def __init__(self, capacity: int = 10) -> None:
        self.told: list[Asked] = []
        super().__init__(capacity, self.told.append)

    def ask(self, asked: Asked) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.add(asked, future)
        return future


async def test_the_same_again_takes_the_place() -> None:
    waiting = Waiting()
    first, second = waiting.ask(guest()), waiting.ask(guest())
    assert await first is None
    assert waiting.take(POINTER, guest().request_id) is second
    assert waiting.told == [guest(), guest()]


@pytest.mark.parametrize("end", ["decided", "forgotten", "resolved by the program"])
async def test_something_else_waits_until_the_first_has_ended(end: str) -> None:
    waiting = Waiting()
    first, second, third = waiting.ask(guest()), waiting.ask(owner()), waiting.ask(guest(id_format="other"))
    assert await second is None  # the newest of those that nobody has seen
    assert waiting.asked(POINTER) == guest()
    if end == "decided":
        assert waiting.take(POINTER) is first
    first.set_result(None if end == "forgotten" else b"value")
    await asyncio.sleep(0)
    assert waiting.asked(POINTER) == guest(id_format="other")
    assert waiting.told == [guest(), guest(id_format="other")]
    assert waiting.take(POINTER, metadata=guest().metadata) is third
    third.set_result(b"value")
    await asyncio.sleep(0)
    assert not waiting.shown
    assert not waiting._newer


async def test_one_that_ends_while_it_waits_is_not_shown() -> None:
    waiting = Waiting()
    first, second = waiting.ask(guest()), waiting.ask(owner())
    first.set_result(None)
    second.set_result(None)
    await asyncio.sleep(0)
    assert not waiting.shown
    assert waiting.told == [guest()]


async def test_one_that_has_ended_makes_room_at_once() -> None:
    waiting = Waiting()
    waiting.ask(guest()).set_result(b"value")
    second = waiting.ask(owner())
    await asyncio.sleep(0)
    assert waiting.take(POINTER) is second


async def test_decisions_about_another_request() -> None:
    waiting = Waiting()
    future = waiting.ask(guest())
    wrong: Any
    for wrong in ({"request_id": owner().request_id}, {"request_id": ""}, {"metadata": owner().metadata},
                  {"metadata": '{"age": 1, "role": "guest"}'}, {"metadata": {"role": "guest", "age": True}},
                  {"metadata": {}}, {"metadata": {"role": object()}},
                  {"request_id": guest().request_id, "metadata": owner().metadata}):
        with pytest.raises(OtherRequestError):
            waiting.take(POINTER, **wrong)
    assert waiting.take(POINTER, guest().request_id, {"age": 1, "role": "guest"}) is future
    with pytest.raises(KeyError):
        waiting.take(POINTER, guest().request_id)


async def test_requests_that_a_program_puts_there_are_known_by_nothing() -> None:
    waiting = Waiting()
    future = waiting.shown[POINTER] = asyncio.get_running_loop().create_future()
    assert waiting.asked(POINTER) is None
    with pytest.raises(OtherRequestError):
        waiting.take(POINTER, request_id=guest().request_id)
    with pytest.raises(OtherRequestError):
        waiting.take(POINTER, metadata="{}")
    assert waiting.take(POINTER) is future


def test_numbers_of_requests() -> None:
    other = Peer(default_eccrypto.generate_key("curve25519").pub())
    different = [guest(), owner(), guest(id_format="other"), guest(attribute_hash=b"h"),
                 guest()._replace(name="other"), guest()._replace(peer=other), guest()._replace(metadata="{}")]
    assert len({asked.request_id for asked in different}) == len(different)
    assert guest().request_id == guest().request_id


async def test_all_are_bounded_and_cleared() -> None:
    waiting = Waiting(capacity=2)
    futures = [waiting.ask(Asked(PEER, f"{number}", metadata)) for number in range(3) for metadata in ("{}", "[]")]
    assert await futures[0] is None
    assert not any(future.done() for future in futures[2:])
    waiting.clear()
    assert await asyncio.gather(*futures) == [None] * 6
    assert not waiting.shown
    assert not waiting._newer
