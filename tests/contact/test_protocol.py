"""What introductions add to every community: the names that the ecosystem knows, and few others."""

from __future__ import annotations

from ipv8.community import Community
from ipv8.contact.introductions import Introductions
from ipv8.contact.messages import IntroductionMessages
from ipv8.contact.nat import Nat
from ipv8.contact.parts import Contact
from ipv8.contact.protocol import IntroductionProtocol
from ipv8.contact.relaying import Relaying
from ipv8.contact.targets import Targets

OF_THE_ECOSYSTEM = {
    "create_introduction_request", "create_introduction_response", "create_puncture", "create_puncture_request",
    "get_peer_for_introduction", "guess_address", "introduction_request_callback", "introduction_response_callback",
    "my_preferred_address", "on_introduction_request", "on_introduction_response", "on_new_introduction_request",
    "on_new_introduction_response", "on_new_puncture", "on_new_puncture_request", "on_old_introduction_request",
    "on_old_introduction_response", "on_old_puncture_request", "on_puncture", "on_puncture_request", "settings_class",
}
OTHERS = {
    "anonymize": "whether nobody may learn where the node is",
    "contribution_reporter": "overlays report what others did for them",
    "contact": "the parts, for programs that want to know more",
    "introduction_handlers": "what a community registers",
    "introduction_observers": "walkers are told of answers",
    "is_acquainted": "overlays that know others than peers say so",
    "mapping": "programs show it to people",
    "nat_type": "likewise",
    "prefer_trusted": "an option",
    "trust": "who is trusted how far",
    "on_unconfirmed_address": "the overlay is told when a peer may have moved",
}


def test_the_classes_have_the_names_of_the_ecosystem_and_few_others() -> None:
    names = {name for part in (IntroductionMessages, IntroductionProtocol) for name in vars(part)
             if not name.startswith("_")}
    assert names == OF_THE_ECOSYSTEM | OTHERS.keys()


def test_no_part_shares_a_base_with_a_community() -> None:
    for part in (Contact, Introductions, Nat, Relaying, Targets):
        assert set(part.__mro__) & set(Community.__mro__) == {object}
