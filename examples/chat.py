"""Peers that greet each other: a whole overlay in the short form."""

from ipv8 import Community, Peer, message, run


class Chat(Community):
    community_id = bytes.fromhex("5b3e09c1a7d84f62b0c4e817932d6fa5c8017be4")

    def started(self) -> None:
        self.register_task("greet", self.greet, interval=1.0)

    def greet(self) -> None:
        for peer in self.get_peers():
            self.hello.send(peer, "hello there")

    @message(1)
    def hello(self, peer: Peer, text: str) -> None:
        print(peer, "says", text)


if __name__ == "__main__":
    run(Chat)
