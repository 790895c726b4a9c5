"""Points in time on two clocks."""

from __future__ import annotations

import copy
import json
import math
import pickle
from typing import Any

from ipv8.dht.moments import NEVER, Moment, age


def test_a_moment_is_the_wall_time(two_clocks: Any) -> None:
    moment = Moment.now()
    assert moment == two_clocks.wall
    assert moment + 1 == two_clocks.wall + 1
    assert json.dumps([moment]) == json.dumps([two_clocks.wall])
    assert age(moment) == 0


def test_its_age_does_not_depend_on_the_wall_clock(two_clocks: Any) -> None:
    moment = Moment.now()
    for step in (-7200, 86400, -10 ** 9):
        two_clocks.wall += step
        assert age(moment) == 0
    two_clocks.advance(5)
    assert age(moment) == 5
    assert age(copy.deepcopy(moment)) == age(pickle.loads(pickle.dumps(moment))) == 5


def test_numbers_of_programs_are_wall_times(two_clocks: Any) -> None:
    assert age(two_clocks.wall - 3) == 3
    assert age(NEVER) == age(0) == math.inf
