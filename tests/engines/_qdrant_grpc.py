"""The gRPC face of the engine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.engines._qdrant_core import Code, Engine, Fault, edge, filter_of, grpc, id_of, point_id, q


class Points(q.PointsServicer):  # type: ignore[misc]
    """What clients do with points."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def Upsert(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        return self._run("Points/Upsert", context, lambda: self._upsert(request))

    def _upsert(self, request: Any) -> Any:
        self.engine.get(request.collection_name).upsert(request.points)
        return _done()

    def Scroll(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._run("Points/Scroll", context, lambda: scrolled(self.engine, request))

    def Get(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._run("Points/Get", context, lambda: retrieved(self.engine, request))

    def Count(self, request: Any, context: Any) -> Any:  # noqa: N802
        def run() -> Any:
            return q.CountResponse(result=q.CountResult(count=self.engine.count(request)), time=0.0)

        return self._run("Points/Count", context, run)

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._run("Points/Delete", context, lambda: deleted(self.engine, request))

    def CreateFieldIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
        def run() -> Any:
            self.engine.index(request)
            return _done()

        return self._run("Points/CreateFieldIndex", context, run)

    def Facet(self, request: Any, context: Any) -> Any:  # noqa: N802
        def run() -> Any:
            hits = [q.FacetHit(value=_facet(value), count=count) for value, count in self.engine.facet(request)]
            return q.FacetResponse(hits=hits, time=0.0)

        return self._run("Points/Facet", context, run)

    def _run(self, method: str, context: Any, work: Callable[[], Any]) -> Any:
        return answered(self.engine, method, context, work)


class Collections(q.CollectionsServicer):  # type: ignore[misc]
    """What clients do with collections."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def Get(self, request: Any, context: Any) -> Any:  # noqa: N802
        def run() -> Any:
            return q.GetCollectionInfoResponse(result=self.engine.get(request.collection_name).info(), time=0.0)

        return answered(self.engine, "Collections/Get", context, run)

    def List(self, request: Any, context: Any) -> Any:  # noqa: N802
        def run() -> Any:
            names = [q.CollectionDescription(name=name) for name in self.engine.collections]
            return q.ListCollectionsResponse(collections=names, time=0.0)

        return answered(self.engine, "Collections/List", context, run)

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        def run() -> Any:
            self.engine.create(request)
            return q.CollectionOperationResponse(result=True, time=0.0)

        return answered(self.engine, "Collections/Create", context, run)

    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        def run() -> Any:
            self.engine.update(request)
            return q.CollectionOperationResponse(result=True, time=0.0)

        return answered(self.engine, "Collections/Update", context, run)

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        def run() -> Any:
            return q.CollectionOperationResponse(result=self.engine.delete(request.collection_name), time=0.0)

        return answered(self.engine, "Collections/Delete", context, run)

    def CollectionExists(self, request: Any, context: Any) -> Any:  # noqa: N802
        def run() -> Any:
            there = request.collection_name in self.engine.collections
            return q.CollectionExistsResponse(result=q.CollectionExists(exists=there), time=0.0)

        return answered(self.engine, "Collections/CollectionExists", context, run)


class Health(q.QdrantServicer):  # type: ignore[misc]
    """What it is."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def HealthCheck(self, request: Any, context: Any) -> Any:  # noqa: N802
        return q.HealthCheckReply(title="qdrant - vector search engine", version=self.engine.version)


def scrolled(engine: Engine, request: Any) -> Any:
    """A ScrollResponse."""
    collection = engine.get(request.collection_name)
    found, offset = collection.scroll(request)
    following = None if offset is None else point_id(offset)
    points = [collection.point(one, old=engine.old_vectors) for one in found]
    return q.ScrollResponse(next_page_offset=following, result=points, time=0.0)


def retrieved(engine: Engine, request: Any) -> Any:
    """A GetResponse."""
    collection = engine.get(request.collection_name)
    found = collection.retrieve(request.ids, request)
    return q.GetResponse(result=[collection.point(one, old=engine.old_vectors) for one in found], time=0.0)


def deleted(engine: Engine, request: Any) -> Any:
    """A PointsOperationResponse."""
    collection = engine.get(request.collection_name)
    selector = request.points
    with collection.lock:
        if selector.WhichOneof("points_selector_one_of") == "filter":
            collection.shard.update(edge.UpdateOperation.delete_points_by_filter(filter_of(selector.filter)))
        else:
            collection.shard.update(edge.UpdateOperation.delete_points([id_of(one) for one in selector.points.ids]))
    return _done()


def _done() -> Any:
    result = q.UpdateResult(operation_id=0, status=q.UpdateStatus.Completed)
    return q.PointsOperationResponse(result=result, time=0.0)


def _facet(value: Any) -> Any:
    if isinstance(value, bool):
        return q.FacetValue(bool_value=value)
    return q.FacetValue(integer_value=value) if isinstance(value, int) else q.FacetValue(string_value=value)


def answered(engine: Engine, method: str, context: Any, work: Callable[[], Any]) -> Any:
    """The answer of a method, or its error as a status."""
    try:
        lost = engine.enter(method)
        answer = work()
        if lost is not None:
            raise lost
        return answer
    except Fault as fault:
        if fault.retry_after is not None:
            context.set_trailing_metadata((("retry-after", str(fault.retry_after)),))
        context.abort(fault.code, str(fault))
    except Exception as error:  # noqa: BLE001 - Edge raises plain Exceptions, for what a server calls wrong input
        context.abort(Code.INVALID_ARGUMENT, f"Wrong input: {error}")


class Keys(grpc.ServerInterceptor):  # type: ignore[misc]
    """Lets nobody in without the key."""

    def __init__(self, key: str | None) -> None:
        self.key = key

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        given = dict(details.invocation_metadata)
        if self.key is None or details.method.endswith("/HealthCheck") or self.key in _keys(given):
            return continuation(details)

        def refuse(request: Any, context: Any) -> None:
            context.abort(Code.UNAUTHENTICATED, "Invalid API key or JWT" if _keys(given) else "Must provide an API key")

        return grpc.unary_unary_rpc_method_handler(refuse)


def _keys(headers: dict[str, str]) -> list[str]:
    found = [headers.get("api-key"), headers.get("authorization", "").removeprefix("Bearer ")]
    return [one for one in found if one]


def serve(engine: Engine, port: int, key: str | None) -> Any:
    """A running gRPC server on 127.0.0.1."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(8), interceptors=[Keys(key)], options=options)
    q.add_PointsServicer_to_server(Points(engine), server)
    q.add_CollectionsServicer_to_server(Collections(engine), server)
    q.add_QdrantServicer_to_server(Health(engine), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server
