"""How many records are moved at once: by how long the last ones took in this process."""

import pytest

from apps.audit.moving.pace import AIM, FEWEST, MOST, Pace


class Work:
    """What takes so many seconds a record, and how many it was asked to move each time."""

    def __init__(self, seconds_each=0.0, left=10**9):
        self.now, self.seconds_each, self.left, self.asked = 0.0, seconds_each, left, []
        self.pace = Pace(lambda: self.now)

    def __call__(self, size):
        self.asked.append(size)
        self.now += size * self.seconds_each
        moved = min(size, self.left)
        self.left -= moved
        return moved

    def go(self, times=1, most=MOST):
        for _ in range(times):
            result = self.pace.move(self, most)
        return result


def test_it_begins_with_few_and_takes_more_as_long_as_that_is_quick():
    work = Work()
    work.go(7)
    assert work.asked == [100, 200, 400, 800, 1600, 2000, 2000]


def test_it_does_not_take_more_than_asked_for():
    work = Work()
    work.go(3, most=150)
    assert work.asked == [100, 150, 150]


@pytest.mark.parametrize("seconds_each", [0.0005, 0.001, 0.004, 0.008])
def test_a_transaction_takes_about_as_long_as_it_may(seconds_each):
    work = Work(seconds_each)
    work.go(20)
    assert AIM / 4 <= work.asked[-1] * seconds_each <= AIM


def test_a_slow_worker_takes_few_but_never_none():
    work = Work(seconds_each=1.0)
    work.go(5)
    assert work.asked == [FEWEST] * 5


def test_it_takes_less_when_that_has_become_slow():
    work = Work()
    work.go(6)
    work.seconds_each = 0.003
    work.go(4)
    assert work.asked[-4:] == [2000, 1000, 500, 250]


def test_after_a_failure_it_begins_with_few_again():
    work = Work()
    work.go(6)

    def fails(size):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work.pace.move(fails)
    work.go(2)
    assert work.asked[-2:] == [100, 200]


def test_what_was_not_full_says_nothing_about_more():
    work = Work(left=150)
    assert work.go() == (100, True)
    assert work.go() == (50, False)
    assert work.go() == (0, False)
    assert work.asked == [100, 200, 200]
