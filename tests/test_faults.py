"""Loading and reading while things go wrong on the way: every store, every fault.

All traffic of a place goes through a proxy that injects one kind of fault into some of the requests. A run has to end
as if nothing had happened: counts that balance, and every record equal to what was loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.engines.embedding import KEY, embedding_server
from tests.engines.proxy import GRPC_FAULTS, HTTP_FAULTS, TCP_FAULTS, Fault, Script, grpc_proxy, http_proxy, tcp_proxy
from tests.places import STORES, Addresses, Places, content, host
from vexarrow.embedding import Reembed
from vexarrow.engine import Plan, run
from vexarrow.errors import VexError
from vexarrow.testing import Spot, samples, write

pytestmark = pytest.mark.slow

ROWS, PAGE, MANY = 300, 50, 3000
# A request that is never answered fails after so many seconds, every other one at once.
OPTIONS = {"timeout": "1.5"}
Proxy = Callable[[str, Script], AbstractContextManager[str]]
FAULTS: Mapping[str, tuple[Proxy, Mapping[str, Fault]]] = {
    "http": (http_proxy, HTTP_FAULTS),
    "grpc": (grpc_proxy, GRPC_FAULTS),
    "tcp": (tcp_proxy, TCP_FAULTS),
}
GONE = {"http": HTTP_FAULTS["503"], "grpc": GRPC_FAULTS["UNAVAILABLE"], "tcp": Fault("gone", "reset", after=3000)}
LOST = {"http": HTTP_FAULTS["503 after the work"], "grpc": GRPC_FAULTS["UNAVAILABLE after the work"]}
# Every so many requests one suffers: fewer where there are few, and of connections all.
EVERY = {("weaviate", "http"): 1}
WAYS = [(store, *way) for store, one in STORES.items() for way in one.ways]
CASES = [
    pytest.param(*way, fault, id=f"{'-'.join(way)}-{name}") for way in WAYS for name, fault in FAULTS[way[2]][1].items()
]


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with Places(tmp_path_factory.mktemp("faults")) as every:
        yield every


@pytest.fixture(scope="session")
def start(places: Places) -> Spot:
    """A file of records."""
    spot = places.fresh("jsonl")
    write(spot, samples.many(ROWS))
    return spot


@pytest.fixture(scope="session")
def long(places: Places) -> Spot:
    """A file of so many records that a page of them is sent in several requests at once."""
    spot = places.fresh("jsonl")
    write(spot, samples.many(MANY))
    return spot


def copied(places: Places, source: Spot, target: Spot, *, expected: int = ROWS, rows: int | None = PAGE) -> None:
    report = places.copied(source, target, rows=rows)
    counts = report.counts
    assert (counts.read, counts.written, counts.rejected, counts.skipped) == (expected, expected, 0, 0), report.codes


@contextmanager
def through(direct: Addresses, at: str, kind: str, script: Script) -> Iterator[Addresses]:
    """Addresses, with a proxy in front of one of them."""
    upstream = f"http://{direct[at]}" if kind == "http" else direct[at]
    with FAULTS[kind][0](upstream, script) as address:
        yield {**direct, at: host(address)}


@pytest.mark.parametrize(("store", "at", "kind", "fault"), CASES)
def test_a_fault_on_the_way_changes_nothing(
    places: Places, start: Spot, store: str, at: str, kind: str, fault: Fault
) -> None:
    every = 1 if kind == "tcp" else EVERY.get((store, at), 4)
    loading, reading = (Script([fault], every=every, in_a_row=1, most=2) for _ in range(2))
    name, back, spot = places.name(), places.fresh("jsonl"), STORES[store].spot
    direct = STORES[store].made(places.addresses(store), name)
    with through(direct, at, kind, loading) as proxied:
        copied(places, start, spot(proxied, name, OPTIONS))
    with through(direct, at, kind, reading) as proxied:
        copied(places, spot(proxied, name, OPTIONS), back)
    assert loading.injected[fault.name]
    assert reading.injected[fault.name]
    assert content(back) == content(spot(direct, name, {})) == content(start)


@pytest.mark.parametrize(("store", "at", "kind"), WAYS)
def test_faults_of_every_kind_among_requests_side_by_side_change_nothing(
    places: Places, long: Spot, store: str, at: str, kind: str
) -> None:
    faults = [fault for fault in FAULTS[kind][1].values() if fault.kind != "silence"]  # large requests take their time
    script = Script(faults, every=1 if kind == "tcp" else 2, in_a_row=2, most=len(faults))
    name, back, spot = places.name(), places.fresh("jsonl"), STORES[store].spot
    direct = STORES[store].made(places.addresses(store), name)
    with through(direct, at, kind, script) as proxied:
        copied(places, long, spot(proxied, name, {}), expected=MANY, rows=None)
        copied(places, spot(proxied, name, {}), back, expected=MANY, rows=500)
    assert script.injected.total() > len(faults) / 2
    assert content(back) == content(long)


@pytest.mark.parametrize(
    ("store", "at", "kind"), [*(way for way in WAYS if way[2] != "tcp"), ("pinecone", "control", "http")]
)
def test_the_answer_to_every_request_may_be_lost_once_even_where_something_is_created(
    places: Places, start: Spot, store: str, at: str, kind: str
) -> None:
    script = Script([LOST[kind]], every=1, in_a_row=1)
    name, back, spot = places.name(), places.fresh("jsonl"), STORES[store].spot
    # A Pinecone index has an address of its own, known when it is there.
    known = places.addresses(store)
    with through(known if at in known else STORES[store].made(known, name), at, kind, script) as proxied:
        places.copied(start, spot(proxied, name, {}), rows=ROWS)
        places.copied(spot(proxied, name, {}), back, rows=ROWS)
    assert 2 * script.injected.total() == script.requests > 3
    assert content(back) == content(start)


@pytest.mark.parametrize(("store", "at", "kind"), WAYS)
def test_a_server_that_stays_away_is_an_error_and_the_run_can_be_repeated(
    places: Places, start: Spot, store: str, at: str, kind: str
) -> None:
    spared = 0 if kind == "tcp" or (store, at) in EVERY else 4
    script = Script([GONE[kind]], every=1, in_a_row=ROWS, spared=spared)
    name, spot = places.name(), STORES[store].spot
    direct = STORES[store].made(places.addresses(store), name)
    with through(direct, at, kind, script) as proxied, pytest.raises(VexError) as caught:
        copied(places, start, spot(proxied, name, {**OPTIONS, "retries": "1"}))
    assert script.injected
    assert name in str(caught.value) or proxied[at] in str(caught.value)
    copied(places, start, spot(direct, name, {}))
    assert content(spot(direct, name, {})) == content(start)


@pytest.mark.parametrize(("store", "at", "kind"), WAYS)
def test_a_server_that_goes_away_while_it_is_read_leaves_no_file(
    places: Places, start: Spot, store: str, at: str, kind: str
) -> None:
    script = Script([GONE[kind]], every=1, in_a_row=ROWS, spared=0 if kind == "tcp" or (store, at) in EVERY else 3)
    name, back, spot = places.name(), places.fresh("jsonl"), STORES[store].spot
    direct = STORES[store].made(places.addresses(store), name)
    copied(places, start, spot(direct, name, {}))
    with through(direct, at, kind, script) as proxied, pytest.raises(VexError):
        copied(places, spot(proxied, name, {**OPTIONS, "retries": "1"}), back)
    assert script.injected
    assert not Path(back.text).exists()


@pytest.mark.parametrize("name", HTTP_FAULTS)
def test_a_fault_on_the_way_to_an_embedding_server_changes_no_vector(places: Places, start: Spot, name: str) -> None:
    script = Script([HTTP_FAULTS[name]], every=4, in_a_row=1, most=2)
    direct, proxied = places.fresh("jsonl"), places.fresh("jsonl")
    with embedding_server() as server, http_proxy(server.address, script) as address:
        embedded(start, direct, f"{server.address}/v1")
        embedded(start, proxied, f"{address}/v1")
    assert script.injected[name]
    assert content(proxied) == content(direct) != content(start)


def embedded(source: Spot, target: Spot, url: str) -> None:
    """A run with new vectors for all records."""
    wish = Reembed("openai:tiny", force=True, url=url, key=KEY, cached=False, batch=16, timeout=1)
    with wish.transform() as transform:
        report = run(Plan(source.source(), target.target(), transforms=[transform], rows=PAGE))
    assert (report.counts.read, report.counts.written) == (ROWS, ROWS), report.codes
