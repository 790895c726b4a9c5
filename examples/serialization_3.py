"""Payload classes with a message number."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from ipv8.community import Community, CommunitySettings
from ipv8.configuration import ConfigBuilder
from ipv8.lazy_community import lazy_wrapper
from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8.peer import Peer
from ipv8_service import IPv8


@vp_compile
class Question(VariablePayload):
    msg_id = 1
    format_list = ["I"]
    names = ["value"]


@vp_compile
class Answer(VariablePayload):
    msg_id = 2
    format_list = ["I"]
    names = ["value"]


class QuizCommunity(Community):
    community_id = os.urandom(20)

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.answered = asyncio.Event()
        self.add_message_handler(Question, self.on_question)  # the number is that of the class
        self.add_message_handler(Answer, self.on_answer)

    def ask(self, peer: Peer) -> None:
        packet = self.ezr_pack(Question.msg_id, Question(42))  # in two steps
        self.endpoint.send(peer.address, packet)

    @lazy_wrapper(Question)
    def on_question(self, peer: Peer, question: Question) -> None:
        print("Asked by", peer, "\n", question)
        self.ez_send(peer, Answer(43))  # in one step: it packs the payload with its number and sends it

    @lazy_wrapper(Answer)
    def on_answer(self, peer: Peer, answer: Answer) -> None:
        print("Answered by", peer, "\n", answer)
        self.answered.set()


def configure() -> dict[str, Any]:
    builder = ConfigBuilder().clear_keys().clear_overlays().set_address("127.0.0.1").set_log_level("WARNING")
    builder.add_ephemeral_key("my peer")
    builder.add_overlay("QuizCommunity", "my peer", [], [], {}, [])
    return builder.finalize()


async def main() -> None:
    classes = {"QuizCommunity": QuizCommunity}
    async with (
        IPv8(configure(), extra_communities=classes) as one,
        IPv8(configure(), extra_communities=classes) as other,
    ):
        sender, receiver = one.get_overlay(QuizCommunity), other.get_overlay(QuizCommunity)
        assert sender is not None
        assert receiver is not None
        sender.ask(Peer(receiver.my_peer.public_key, other.endpoint.get_address()))
        await sender.answered.wait()


if __name__ == "__main__":
    asyncio.run(main())
