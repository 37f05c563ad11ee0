"""The table of `make bench`: what a peer does badly is a cell of it, and not the end of a row."""

from benchmarks.measure import Peer, in_turns, measured
from benchmarks.report import Beside, Line, Result, table


def breaks() -> float:
    raise TimeoutError("no answer\nfor 20 s")


def test_a_peer_that_fails_leaves_ours_measured() -> None:
    peer = Peer("runner", breaks)

    found = in_turns({"ours": lambda: 2.0}, 3, [peer])

    assert found == {"ours": 2.0}
    assert peer.beside() == Beside(name="runner", failure="TimeoutError: no answer")


def test_a_peer_that_has_failed_once_is_not_asked_again() -> None:
    asked: list[int] = []

    def work() -> float:
        asked.append(1)
        return breaks()

    in_turns({}, 3, [Peer("runner", work)])

    assert asked == [1]


def test_what_is_not_the_peer_s_is_taken_off() -> None:
    peer = Peer("runner", iter([3.0, 5.0, 4.0]).__next__)
    in_turns({}, 3, [peer])

    assert peer.beside(1000, less=1.0) == Beside(name="runner", value=3000.0)


def test_the_table_says_why_a_peer_has_no_figure() -> None:
    failed = measured("runner", breaks)
    line = Line(what="a step", value=2.0, unit="ms", peers=(failed,))

    text = table([Result("step", (line,))])

    assert "2.00 ms" in text
    assert "runner failed: TimeoutError: no answer" in text
    assert "step  failed" not in text
