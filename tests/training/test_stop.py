"""Signals and time budgets."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from understudy.errors import Interrupted
from understudy.training.stop import Stop


def test_the_first_signal_is_a_wish_and_the_second_is_obeyed() -> None:
    found = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs start with SIGINT ignored
    try:
        with Stop() as stop:
            assert stop.signal_number is None
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.signal_number == signal.SIGINT
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, found)


def test_handlers_go_back_even_after_a_failure() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stop = Stop()

    def work() -> None:
        with stop:
            os.kill(os.getpid(), signal.SIGTERM)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert stop.signal_number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_another_thread_it_only_keeps_the_time() -> None:
    stops: list[Stop] = []

    def work() -> None:
        with Stop(budget_s=1e6) as stop:
            stops.append(stop)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not stops[0].out_of_time()


def test_a_budget_runs_out() -> None:
    assert Stop().remaining() is None
    assert not Stop().out_of_time(1e9)
    assert Stop(budget_s=0).out_of_time()
    long = Stop(budget_s=1000)
    assert not long.out_of_time(500)
    assert long.out_of_time(1000)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_work_without_checkpoints_where_it_is(number: int) -> None:
    before = signal.getsignal(number)
    reached = []

    def work(stop: Stop) -> None:
        with stop.at_once():
            reached.append("begun")
            os.kill(os.getpid(), number)
            reached.append("gone on")

    with Stop() as stop:
        with pytest.raises(Interrupted, match=f"signal {number:d}"):
            work(stop)
        assert stop.signal_number == number
        with pytest.raises(Interrupted):  # one that came before
            work(stop)
        assert reached == ["begun"]
    assert signal.getsignal(number) is before


def test_outside_of_it_a_signal_is_a_wish_again() -> None:
    with Stop() as stop:
        with stop.at_once():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_number == signal.SIGTERM
