"""A connection to PostgreSQL on which every wait has an end, and COPY moves whole buffers.

psycopg makes the connection; from there on its public layer over libpq (`psycopg.pq`) is used: it has no time-outs of
its own, hands out a row of a COPY at a time without a Python frame each, and takes buffers as they are.
"""

from __future__ import annotations

import select
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from vexarrow.errors import MissingDependency, SchemaError, TransientError

from ._pgvector_errors import connecting_error, sorted_error

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.pq.abc import PGresult

    from ._pgvector_address import Address

Row = tuple[Any, ...]
# What libpq is given at a time: larger buffers make it copy what it could not send yet again and again.
_CHUNK = 128 << 10
# Where there is no time-out (an index is built), a server that has gone is noticed within one and a half minutes.
_ALIVE = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "6", "tcp_user_timeout": "90000"}
# Text of numbers and times has to be the same whatever the server's settings are.
_SETTINGS = (
    "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'iso_8601'; SET extra_float_digits = 1; "
    "SET bytea_output = 'hex'; SET statement_timeout = 0; SET lock_timeout = 0; SET client_min_messages = error; "
    "SET idle_in_transaction_session_timeout = 0"
)


def psycopg() -> Any:
    """The client library. Raises MissingDependency."""
    try:
        import psycopg as library
    except ImportError as error:
        raise MissingDependency("pgvector needs psycopg: pip install 'vexarrow[pgvector]'") from error
    return library


class Session:
    """One connection, for one thread at a time. `timeout`: seconds without a sign of life after which it is given up.

    Every method raises an error of vexarrow, with the place in its message. After one, `alive` says whether the
    connection can go on.
    """

    def __init__(self, connection: Connection[Row], place: str, timeout: float) -> None:
        self._connection = connection
        self._pg: Any = connection.pgconn
        self._place = place
        self._timeout = timeout
        self._poll = select.poll()
        self._poll.register(self._pg.socket, select.POLLIN)
        self._lost: type[Exception] = psycopg().Error

    @classmethod
    def opened(cls, address: Address, timeout: float) -> Session:
        """A new connection; transactions are begun by hand."""
        library = psycopg()
        seconds = str(max(2, int(timeout + 0.5)))
        try:
            said = library.conninfo.conninfo_to_dict(address.conninfo)
            ours = {"connect_timeout": seconds, **_ALIVE}
            ours = {name: value for name, value in ours.items() if name not in said}
            given = {**ours, **address.parameters, "client_encoding": "UTF8"}
            connection = library.connect(address.conninfo, autocommit=True, **given)
        except library.Error as error:
            raise connecting_error(address.place, str(error)) from None  # its context may hold the password
        session = cls(connection, address.place, timeout)
        try:
            session.run(_SETTINGS)
            if session._pg.parameter_status(b"server_encoding") == b"SQL_ASCII":
                # It holds whatever bytes it was given: a row that is not UTF-8 must not be the end of all.
                session.run("SET client_encoding = SQL_ASCII")
        except BaseException:
            session.close()
            raise
        return session

    @property
    def alive(self) -> bool:
        """Whether it can be used for more: connected, and in no transaction."""
        return not self._connection.closed and int(self._pg.transaction_status) == 0

    @property
    def version(self) -> int:
        """The server's version, such as 180004."""
        return int(self._pg.server_version)

    def close(self) -> None:
        """Disconnect; the server rolls back what was not committed."""
        with suppress(self._lost):
            self._connection.close()

    def literal(self, text: str) -> str:
        """A text as an SQL literal. Raises SchemaError for U+0000, which PostgreSQL has no place for."""
        if "\0" in text:
            raise SchemaError(f"{self._place}: PostgreSQL holds no text with U+0000")
        escaped: bytes = psycopg().pq.Escaping(self._pg).escape_literal(text.encode())
        return escaped.decode()

    # -- statements -------------------------------------------------------------------------------------------------

    def run(self, sql: str, *, patient: bool = False) -> None:
        """Run statements; several of them are one transaction. `patient`: it may take as long as it takes."""
        self._begin(lambda: self._pg.send_query(sql.encode()))
        self._end(None if patient else self._timeout)

    def rows(self, sql: str, *values: str | None) -> list[tuple[str | None, ...]]:
        """The rows of a query as texts; `$1` and so on stand for the values."""
        given = [None if value is None else value.encode() for value in values]
        self._begin(lambda: self._pg.send_query_params(sql.encode(), given))
        results = self._end(self._timeout)
        return [row for result in results for row in _texts(result)]

    def value(self, sql: str, *values: str | None) -> str | None:
        """The first column of the first row, None when there is none."""
        rows = self.rows(sql, *values)
        return rows[0][0] if rows else None

    # -- COPY -------------------------------------------------------------------------------------------------------

    def copy_in(self, sql: str, buffers: Iterable[Any]) -> None:
        """COPY FROM STDIN: send buffers of bytes, which are the whole input."""
        self._begin(lambda: self._pg.send_query(sql.encode()))
        self._expect("COPY_IN")
        for buffer in buffers:
            view = memoryview(buffer)
            for start in range(0, len(view), _CHUNK):
                self._begin(partial(self._pg.put_copy_data, view[start : start + _CHUNK]))
        self._begin(lambda: self._pg.put_copy_end())
        self._end(self._timeout)

    def copy_out(self, sql: str) -> Iterator[memoryview]:
        """COPY TO STDOUT: the messages of the server, of which each is a row and the first also has the header.

        A generator that is closed before its end leaves a connection that is good for nothing more.
        """
        self._begin(lambda: self._pg.send_query(sql.encode()))
        self._expect("COPY_OUT")
        dry = False
        take, more = self._pg.get_copy_data, self._pg.consume_input
        try:
            while (found := take(1))[0] >= 0:
                if found[0]:
                    dry = False
                    yield found[1]
                    continue
                if dry:  # what has come already is read without waiting, which would let other threads go first
                    self._wait(select.POLLIN, self._timeout)
                more()
                dry = True
        except self._lost as error:
            self.close()
            raise sorted_error(self._place, "", _first_line(error)) from None
        self._end(self._timeout)

    # -- the protocol -----------------------------------------------------------------------------------------------

    def _begin(self, send: Any) -> None:
        self._guarded(send)
        while self._guarded(self._pg.flush):
            if self._wait(select.POLLIN | select.POLLOUT, self._timeout) & select.POLLIN:
                self._guarded(self._pg.consume_input)

    def _next(self, timeout: float | None) -> PGresult | None:
        while self._pg.is_busy():
            self._wait(select.POLLIN, timeout)
            self._guarded(self._pg.consume_input)
        result: PGresult | None = self._guarded(self._pg.get_result)
        return result

    def _expect(self, status: str) -> None:
        result = self._next(self._timeout)
        if result is None or _status(result) != status:
            self._end(self._timeout, result)
            raise SchemaError(f"{self._place}: the server did not begin a COPY")

    def _end(self, timeout: float | None, first: PGresult | None = None) -> list[PGresult]:
        """Every result up to the end of a command. Raises for the first that is an error."""
        results = [] if first is None else [first]
        while (result := self._next(timeout)) is not None:
            results.append(result)
            if _status(result) in ("COPY_IN", "COPY_OUT"):
                break
        failed = next((one for one in results if _status(one) == "FATAL_ERROR"), None)
        if failed is not None:
            raise sorted_error(self._place, *_failure(failed))
        return results

    def _guarded(self, call: Any) -> Any:
        try:
            return call()
        except self._lost as error:
            self.close()
            raise sorted_error(self._place, "", _first_line(error)) from None

    def _wait(self, events: int, timeout: float | None) -> int:
        self._poll.modify(self._pg.socket, events)
        found = self._poll.poll(None if timeout is None else timeout * 1000)
        if not found:
            self.close()
            raise TransientError(f"{self._place}: no answer within {timeout:g} s")
        return found[0][1]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _status(result: PGresult) -> str:
    from psycopg.pq import ExecStatus

    return ExecStatus(result.status).name


def _texts(result: PGresult) -> Iterator[tuple[str | None, ...]]:
    for row in range(result.ntuples):
        values = (result.get_value(row, column) for column in range(result.nfields))
        yield tuple(None if value is None else value.decode("utf-8", "replace") for value in values)


def _failure(result: PGresult) -> tuple[str, str]:
    """SQLSTATE and message of a failed result, on one line."""
    from psycopg.pq import DiagnosticField

    fields = (DiagnosticField.SQLSTATE, DiagnosticField.MESSAGE_PRIMARY, DiagnosticField.MESSAGE_DETAIL)
    state, message, _ = ((result.error_field(one) or b"").decode("utf-8", "replace") for one in fields)
    return state, " ".join(message.split()) or "no reason was given"


def quoted(name: str) -> str:
    """An identifier in SQL. Raises SchemaError for one that PostgreSQL cannot have."""
    if not name or "\0" in name:
        raise SchemaError(f"{name!r} is no name of a table or column")
    return '"' + name.replace('"', '""') + '"'
