"""Device groups, the runs that wait for them, and their threads: without training."""

import os
import signal
import threading
import time
from types import SimpleNamespace

import jax
import pytest

from sharp_unet_jax.sweeps import device_groups
from sharp_unet_jax.sweeps.events import Stopped


def test_devices_left_over_are_in_no_group():
    assert device_groups.split(list("abcdefgh"), 3) == [["a", "b", "c"], ["d", "e", "f"]]


def waiting(dealt):
    """Return the groups and the runs that wait for each, of those that share a queue once."""
    queues = {id(waiting): waiting for _, waiting in dealt}
    taken = {key: [waiting.get() for _ in range(waiting.qsize())] for key, waiting in queues.items()}
    return [("".join(device.name for device in group), taken.pop(id(waiting), None)) for group, waiting in dealt]


def test_groups_of_one_process_take_the_next_run_and_others_take_turns(monkeypatch):
    devices = [
        SimpleNamespace(name=name, process_index=int(process)) for name, process in zip("abcdef", "001122", strict=True)
    ]
    ones = [devices[i : i + 1] for i in range(6)]
    across = [devices[0:1], devices[1:3], devices[3:5], devices[5:6]]
    expected = {0: ([("a", [0, 1, 6]), ("b", None)], [("a", [0, 4]), ("bc", [1, 5])]),
                1: ([("c", [2, 3]), ("d", None)], [("bc", [1, 5]), ("de", [2, 6])]),
                2: ([("e", [4, 5]), ("f", None)], [("de", [2, 6]), ("f", [3])])}  # fmt: skip
    for process, (of_ones, of_across) in expected.items():
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        assert waiting(device_groups.deal(range(7), ones)) == of_ones
        assert waiting(device_groups.deal(range(7), across)) == of_across


def events(names, *, after=None, error=None, done=None):
    """Yield `names`, once the event `after` is set; raise `error`; set `done` at the end."""
    if after:
        assert after.wait(10)
    yield from names
    if done:
        done.set()
    if error:
        raise error


def test_events_of_all_works_come_whatever_the_order():
    first, stop = threading.Event(), threading.Event()
    works = [events("ab", after=first), events("cd", done=first)]
    assert list(device_groups.side_by_side(works, stop)) == ["c", "d", "a", "b"]
    assert not stop.is_set()  # it would stop the other processes of the sweep


def stopping(stop, name, stopped=None):
    """Yield `name`, wait until `stop` is set, append `name` to `stopped` and raise Stopped."""
    yield name
    if stop.wait(10) and stopped is not None:
        stopped.append(name)
    raise Stopped(name)


def test_an_error_stops_the_other_works_and_is_raised_when_they_ended():
    stop, seen, stopped = threading.Event(), [], []
    works = [stopping(stop, "a", stopped), events("b", error=OSError("no space"))]
    with pytest.raises(OSError, match="no space"):
        list(map(seen.append, device_groups.side_by_side(works, stop)))
    assert sorted(seen) == ["a", "b"]
    assert stopped == ["a"]


def test_works_that_all_stop_are_named_together():
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped, match="a, b"):
        list(device_groups.side_by_side([stopping(stop, "b"), stopping(stop, "a")], stop))


@pytest.mark.parametrize("names", ["a", "ab"])
def test_whoever_stops_listening_stops_the_works(names):
    stop, stopped = threading.Event(), []
    following = device_groups.side_by_side([stopping(stop, name, stopped) for name in names], stop)
    next(following)
    following.close()
    assert stop.is_set()
    assert sorted(stopped) == list(names)


@pytest.mark.parametrize(("works", "ahead"), [(1, 0), (2, 1)])
def test_no_work_runs_far_ahead_of_whoever_listens(works, ahead):
    begun = dict.fromkeys(range(works), -1)

    def counting(work):
        for number in range(5):
            begun[work] = number
            yield work, number

    for work, number in device_groups.side_by_side([counting(work) for work in begun], threading.Event()):
        time.sleep(0.02)
        assert begun[work] <= number + ahead
    assert set(begun.values()) == {4}


def test_a_work_alone_runs_in_another_thread_and_its_error_is_raised():
    def work():
        yield threading.current_thread()
        raise OSError("no space")

    following = device_groups.side_by_side([work()], threading.Event())
    assert next(following) is not threading.current_thread()
    with pytest.raises(OSError, match="no space"):
        next(following)


@pytest.fixture
def interrupts():
    """Let Ctrl-C raise KeyboardInterrupt, whoever handled it before."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_waits_for_the_works_and_a_second_one_does_not():
    """It is raised in the thread that waits, as in a notebook."""
    stop, finish, finished = threading.Event(), threading.Event(), []

    def busy():
        yield "begun"
        finish.wait(10)  # as a compiled epoch does, whatever is asked
        finished.append(stop.is_set())
        yield "ended"

    def interrupt(twice):
        time.sleep(0.2)  # until the other thread waits
        os.kill(os.getpid(), signal.SIGINT)
        stop.wait(10)
        if twice:
            os.kill(os.getpid(), signal.SIGINT)
        else:
            finish.set()

    def wait(following, twice):
        threading.Thread(target=interrupt, args=(twice,)).start()
        next(following)

    for waited in (True, False):
        stop.clear(), finish.clear(), finished.clear()
        following = device_groups.side_by_side([busy()], stop)
        assert next(following) == "begun"
        with pytest.raises(KeyboardInterrupt):
            wait(following, twice=not waited)
        assert finished == [True] * waited
