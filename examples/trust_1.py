"""Who is trusted for what they did, what a hundred fake identities gain, and why."""

from ipv8.trust import TrustGraph


def main() -> None:
    graph = TrustGraph(b"me", rng=1)  # a fixed seed, so that the numbers are the same each time
    graph.add(b"me", b"alice", 3.0)  # Alice stored three values for me
    graph.add(b"me", b"bob", 1.0)
    graph.add(b"alice", b"carol", 5.0)
    graph.add(b"bob", b"carol", 1.0)
    graph.add(b"me", b"mallory", 1.0)
    for key, score in graph.top(4):
        print(key.decode(), round(score, 1))

    honest = graph.score(b"mallory")
    for number in range(100):  # Mallory invents friends, who are full of praise
        fake = b"fake %d" % number
        graph.add(b"mallory", fake, 1000.0)
        graph.add(fake, b"mallory", 1000.0)
    gain = sum(graph.score(b"fake %d" % number) for number in range(100))
    print("Mallory gains", round(graph.score(b"mallory") - honest, 1))
    print("All fakes together have less than Mallory earned:", gain <= honest)

    why = graph.explain(b"carol")
    for path in why.paths:
        print(" > ".join(key.decode() for key in path.nodes))


if __name__ == "__main__":
    main()
