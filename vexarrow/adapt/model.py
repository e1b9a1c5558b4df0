"""What a projection says of the two models that it stands between, and what all adapters have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vexarrow.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ModelCard:
    """An embedding model as it was used. `dim`: length of its vectors.

    None means not known. `revision`: of the weights; two builds of one model give vectors of cosine 0.925 to 0.995.
    `prefix`: text put before each text, or the task type; "" is none. `normalised`: whether the vectors had length 1.
    """

    name: str
    dim: int
    provider: str | None = None
    revision: str | None = None
    prefix: str | None = None
    normalised: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """All fields, for a header."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> ModelCard:
        """The inverse; keys that are not known are left alone. Raises DataError for a card without name or dim."""
        try:
            known = {name: said[name] for name in cls.__slots__ if name in said}
            card = cls(**known)
        except TypeError as error:
            raise DataError(f"the header does not describe its models: {error}") from error
        name, dim = said["name"], said["dim"]
        if not isinstance(name, str) or type(dim) is not int or dim < 1:
            raise DataError("the header does not describe its models: each needs a name and a dimension")
        return card


class Adapter(Protocol):
    """Translates vectors of the source model into the space of the target model. Thread-safe.

    `checksum`: "sha256:..." of what decides its results; records that it made carry it.
    """

    @property
    def source(self) -> ModelCard:
        """The model whose vectors it takes."""
        ...

    @property
    def target(self) -> ModelCard:
        """The model in whose space its results are."""
        ...

    @property
    def checksum(self) -> str:
        """Of all that decides the results."""
        ...

    def matrix(self, vectors: Any, /) -> NDArray[np.float32]:
        """[n, d_in] to [n, d_out] float32, rows of length 1."""
        ...

    def leverage(self, vectors: Any, /) -> NDArray[np.float32] | None:
        """How far each row lies from what was trained on, None where nothing is known."""
        ...

    @property
    def leverage_limit(self) -> float | None:
        """The leverage that 99 % of the training vectors stay below; None where nothing is known."""
        ...
