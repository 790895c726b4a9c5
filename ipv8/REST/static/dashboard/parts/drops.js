// Why packets are dropped, in words.

const MEANINGS = {
  short: "too short to have a message id",
  unknown_prefix: "for an overlay that this node does not run",
  wrong_route: "came by a way that its overlay does not accept, such as unencrypted",
  bad_source: "from an address that cannot be answered",
  banned: "from an address that is banned for what it sent before",
  rate_limited: "from a peer that sends more than its budget allows",
  receive_failed: "the operating system reported an error instead of a packet",
  listener_error: "the handler failed: a fault of this program, see the log",
  unknown_id: "of a kind that its overlay does not know",
  bad_signature: "its signature is wrong",
  undecodable: "its content is not as the protocol says",
  unsolicited: "answers a question that this node did not ask, or no longer waits for",
  bad_target: "names an address to which no packet may go",
  not_confidential: "came in clear, but has to come in an encrypted session",
  replayed: "was received before",
  no_route: "for a peer that this node does not know, or too large to be carried",
  unknown_circuit: "for a circuit that does not exist, or no longer does",
  wrong_neighbour: "not from the node at the other end of the link of its circuit",
  not_authentic: "made with other keys, or changed on the way",
  no_keys: "a hop of the circuit has no keys yet",
  not_admitted: "a message that may not arrive in this way",
  exit_refused: "data of a kind that this exit does not pass on",
  relay_full: "too many cells of the circuit wait to be passed on",
  relay_limited: "over the bandwidth that the settings allow for others",
  send_malformed: "not sent: the address or the content was none",
  send_unresolved: "not sent: its address is a name, which has to be resolved first",
  send_no_interface: "not sent: no socket for this kind of address",
  send_no_route: "not sent: to the address of a key, and no peer carries it there",
  send_too_big: "not sent: larger than a datagram can be",
  send_failed: "not sent: the operating system refused, as the address is unreachable or not allowed",
  send_queue_full: "not sent: too many packets waited",
  plaintext_blocked: "not sent: there is no encrypted session, and the overlay sends nothing in clear",
  send_closed: "not sent: the socket is not open",
};

/** What a reason means. @param {string} reason */
export function meaningOf(reason) {
  return MEANINGS[reason] ?? reason.replaceAll("_", " ");
}
