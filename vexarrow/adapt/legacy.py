"""Projections in the files of others: the original tool's JSON, and plain matrices of numpy, which are never unpickled.

They hold a matrix and hardly a word about it: no bias (it is zero, unless an .npz has one) and no report. Nothing is
known of their quality, and `verdict` is missing in their headers.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.adapt.model import ModelCard
from vexarrow.adapt.projection import Projection
from vexarrow.adapt.weights_file import MOST_BYTES
from vexarrow.errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

UNKNOWN = "nothing is known of its quality: measure it with `vex-adapt evaluate` on pairs of your own"
_WEIGHT, _BIAS = ("weight", "W"), ("bias", "b")


def from_json(data: bytes, name: str) -> Projection:
    """The original's `{from, to, d_source, d_target, pairs, eval_cos, trained, W}`, of a file called `name`.

    W is [d_source, d_target], in rows or flat; one of [d_target, d_source] is turned round, where its rows tell. Raises
    DataError for anything else.
    """
    said = _parsed(data, name)
    source, target = _cards(said, name)
    weight = _numbers(said, name)
    flat = weight.ndim == 1
    if flat and weight.size == source.dim * target.dim:
        weight = weight.reshape(source.dim, target.dim)
    if weight.shape == (target.dim, source.dim) != (source.dim, target.dim):
        weight = weight.T
    if weight.shape != (source.dim, target.dim):
        found = f"{weight.size:,} numbers" if flat else f"{weight.shape[0]} rows of {weight.shape[1]}"
        raise DataError(f"{name}: it speaks of {source.dim} to {target.dim} dimensions, its W has {found}")
    notes = {key: said[key] for key in ("pairs", "eval_cos", "trained") if _is_plain(said.get(key))}
    return _projection(weight, None, source, target, name, {"original": notes})


def models_of(location: str) -> tuple[ModelCard, ModelCard]:
    """The two models of the original's file at a path. Raises DataError, OSError."""
    with open(location, "rb") as file:
        return _cards(_parsed(file.read(), location), location)


def from_numpy(data: bytes, name: str, source: str | None = None, target: str | None = None) -> Projection:
    """A matrix [d_in, d_out] (.npy), or an .npz with `weight` or `W` and, where there is one, `bias` or `b`.

    A matrix that has as many rows as its bias has numbers, and another number of columns, is turned round: torch keeps
    them so. Raises UsageError when the models are not named, DataError for a file that is no such thing.
    """
    if not source or not target:
        raise UsageError(f"{name} does not say which models it is between: name both (--from and --to)")
    weight, bias = _arrays(data, name)
    if weight.ndim != 2 or not weight.size:
        raise DataError(f"{name}: a projection is a matrix, this has the shape {weight.shape}")
    if bias is not None and bias.shape == weight.shape[:1] != weight.shape[1:]:
        weight = weight.T
    cards = ModelCard(source, weight.shape[0]), ModelCard(target, weight.shape[1])
    return _projection(weight, bias, *cards, name, {})


def _projection(
    weight: NDArray[Any],
    bias: NDArray[Any] | None,
    source: ModelCard,
    target: ModelCard,
    name: str,
    notes: dict[str, Any],
) -> Projection:
    offset = np.zeros(target.dim, np.float32) if bias is None else np.ascontiguousarray(bias, np.float32)
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
            return Projection(np.ascontiguousarray(weight, np.float32), offset, source, target, header=notes)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


# -- JSON -----------------------------------------------------------------------------------------------


def _parsed(data: bytes, name: str) -> Any:
    import simdjson

    try:
        said = simdjson.Parser().parse(data)
    except (ValueError, RuntimeError) as error:
        raise DataError(f"{name}: no JSON: {error}") from error
    if not isinstance(said, simdjson.Object) or "W" not in said:
        raise DataError(f"{name}: no projection: the original tool's have from, to, d_source, d_target and W")
    return said


def _cards(said: Any, name: str) -> tuple[ModelCard, ModelCard]:
    found = []
    for model, dim in (("from", "d_source"), ("to", "d_target")):
        try:
            found.append(ModelCard.from_json({"name": said[model], "dim": said[dim]}))
        except (KeyError, DataError) as error:
            raise DataError(f"{name}: its {model!r} has to be the name of a model, its {dim!r} a number") from error
    return found[0], found[1]


def _numbers(said: Any, name: str) -> NDArray[np.float64]:
    """W as a matrix, or as one row where it is flat; no number becomes an object of Python."""
    import simdjson

    rows = said["W"]
    try:
        if not isinstance(rows, simdjson.Array):
            raise TypeError("W is no array")
        whole = np.frombuffer(memoryview(rows.as_buffer(of_type="d")), np.float64)
        if not len(rows) or not isinstance(rows[0], simdjson.Array):
            if whole.size != len(rows):
                raise TypeError("W is no matrix")
            return whole
        lengths = {len(row) if isinstance(row, simdjson.Array) else 0 for row in rows}
        if len(lengths) != 1 or whole.size != len(rows) * lengths.pop():
            raise TypeError("the rows of W are not of one length")
        return whole.reshape(len(rows), -1)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name}: W is no matrix of numbers ({error})") from error


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


# -- numpy ----------------------------------------------------------------------------------------------


def _arrays(data: bytes, name: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
    try:
        if not zipfile.is_zipfile(io.BytesIO(data)):
            return _number_array(np.load(io.BytesIO(data), allow_pickle=False)), None
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            if sum(member.file_size for member in members.infolist()) > MOST_BYTES:
                raise DataError(f"{name}: larger than any projection")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            weight, bias = (next((key for key in keys if key in arrays), None) for keys in (_WEIGHT, _BIAS))
            if weight is None:
                raise DataError(f"{name}: no array in it is called {' or '.join(_WEIGHT)}; it has {arrays.files}")
            return _number_array(arrays[weight]), None if bias is None else _number_array(arrays[bias])
    except (ValueError, TypeError, OSError, EOFError, SyntaxError, zipfile.BadZipFile, MemoryError) as error:
        raise DataError(f"{name}: no matrix of numpy that can be read without pickle: {error}") from error


def _number_array(array: Any) -> NDArray[Any]:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise ValueError("it does not hold numbers")
    return array
