"""Requests that are tried again, run side by side, and are split when a server refuses them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from vexarrow import patience
from vexarrow.delivery import by_size, deliver, last_of_each
from vexarrow.errors import AccessError, Refused, TransientError, UsageError, VexError
from vexarrow.location import Location
from vexarrow.patience import Requests


def test_a_request_that_fails_for_a_passing_reason_is_tried_again_after_the_time_that_the_server_says() -> None:
    tries: list[float] = []

    def request() -> str:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise TransientError("busy", 0.05)
        return "done"

    assert Requests().call(request) == "done"
    assert all(later - earlier >= 0.05 for earlier, later in pairwise(tries))


def test_after_the_last_try_the_error_of_the_server_is_raised() -> None:
    tries = []

    def request() -> None:
        tries.append(1)
        raise TransientError(f"busy {len(tries)}", 0)

    with pytest.raises(TransientError, match="busy 3"):
        Requests(retries=2).call(request)


def test_a_server_that_answered_before_is_given_time_to_start_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT", 0.02)
    requests, tries = Requests(), []

    def request() -> None:
        tries.append(time.monotonic())
        raise TransientError("refused")

    requests.call(lambda: None)
    with pytest.raises(TransientError):
        requests.call(request)
    waits = [later - earlier for earlier, later in pairwise(tries)]
    assert all(wait >= least for wait, least in zip(waits, (0.01, 0.06, 0.36), strict=True))


def test_requests_that_have_not_begun_when_all_is_closed_end_with_an_error() -> None:
    requests, begun = Requests(concurrency=2), threading.Event()

    def request(item: int) -> None:
        begun.set()
        time.sleep(0.05)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(requests.map, request, range(20))
        begun.wait()
        requests.close()
        with pytest.raises(VexError, match="given up"):
            waiting.result(5)


def test_what_cannot_pass_is_not_tried_again() -> None:
    tries = []

    def request() -> None:
        tries.append(1)
        raise AccessError("no")

    with pytest.raises(AccessError):
        Requests().call(request)
    assert tries == [1]


def test_results_come_in_the_order_of_the_items_and_no_more_run_at_once_than_allowed() -> None:
    inside, most = 0, 0
    lock = threading.Lock()

    def request(item: int) -> int:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.01)
        with lock:
            inside -= 1
        return item * 2

    requests = Requests(concurrency=3)
    assert requests.map(request, range(20)) == [item * 2 for item in range(20)]
    assert most == 3
    requests.close()


def test_fewer_requests_run_at_once_after_the_server_asked_for_it() -> None:
    inside, seen = 0, []
    lock, asked = threading.Lock(), threading.Event()

    def request(item: int) -> None:
        nonlocal inside
        with lock:
            inside += 1
            seen.append((asked.is_set(), inside))
        time.sleep(0.01)
        with lock:
            inside -= 1
        if item == 0 and not asked.is_set():
            asked.set()
            raise TransientError("slow down", 0, throttled=True)

    requests = Requests(concurrency=8)
    requests.map(request, range(40))
    late = [count for after, count in seen if after][8:]
    assert max(late) < 8
    requests.close()


def test_an_error_for_good_ends_the_rest() -> None:
    begun = []

    def request(item: int) -> None:
        begun.append(item)
        if item == 0:
            raise AccessError("no")
        time.sleep(0.02)

    requests = Requests(concurrency=2)
    with pytest.raises(AccessError):
        requests.map(request, range(50))
    assert len(begun) < 10
    requests.close()


def test_a_refused_request_is_split_until_the_records_at_fault_are_known() -> None:
    sent: list[int] = []

    def send(part: range) -> None:
        if {3, 17} & set(part):
            raise Refused(f"bad record among {len(part)}")
        sent.extend(part)

    requests = Requests()
    rejects = deliver(requests, send, [range(10), range(10, 20)])
    requests.close()
    assert [(reject.row, reject.code) for reject in rejects] == [(3, "refused"), (17, "refused")]
    assert sorted(sent) == [row for row in range(20) if row not in (3, 17)]


def test_requests_are_cut_by_bytes_and_rows() -> None:
    assert by_size([1, 1, 9, 50, 1, 1, 1], most_bytes=10, most_rows=2) == [
        range(2),
        range(2, 3),
        range(3, 4),
        range(4, 6),
        range(6, 7),
    ]
    assert by_size([], most_bytes=10, most_rows=2) == []


def test_of_records_with_one_id_the_last_is_kept() -> None:
    assert last_of_each(["a", "b", "a", "c"]) == [1, 2, 3]
    assert last_of_each(["a", "b"]) is None


@pytest.mark.parametrize("options", [{"concurrency": "0"}, {"concurrency": "x"}, {"retries": "-1"}, {"timeout": "0"}])
def test_options_that_make_no_sense_are_an_error(options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        Requests.of(Location("x", options=options))


def test_a_call_inside_of_a_call_is_part_of_it_and_waits_for_no_place_of_its_own() -> None:
    requests = Requests(concurrency=1)
    assert requests.call(lambda: requests.call(lambda: 5)) == 5
    tries = []

    def inner() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise TransientError("busy", 0)
        return "done"

    assert requests.call(lambda: requests.call(inner)) == "done"
