"""Contract suites for formats and connectors: subclass one, say where a fresh target is, and pytest does the rest.

    from vexarrow.testing import ConnectorContract, Spot

    class TestAcme(ConnectorContract):
        def place(self, folder):
            return Spot("acme://localhost/" + folder.name)

What the plugin's capabilities declare decides which tests must pass and which must be refused; none is skipped. The
plugin is found through its entry point, so the package that holds it has to be installed. `samples` are the records
that the suites use, `facts` compares records bit by bit. This package alone needs pytest.
"""

from __future__ import annotations

from vexarrow.errors import MissingDependency

try:
    import pytest
except ImportError as error:
    raise MissingDependency("vexarrow.testing needs pytest: pip install 'vexarrow[testing]'") from error

pytest.register_assert_rewrite(
    *(f"{__name__}.{name}" for name in ("contract", "connector_contract", "format_contract", "spots"))
)

from vexarrow.testing import samples  # noqa: E402 - asserts of what is imported here have to be rewritten first
from vexarrow.testing.connector_contract import ConnectorContract  # noqa: E402
from vexarrow.testing.facts import Fact, facts  # noqa: E402
from vexarrow.testing.format_contract import FormatContract  # noqa: E402
from vexarrow.testing.spots import Spot, copied, pages, read, write  # noqa: E402

__all__ = [
    "ConnectorContract",
    "Fact",
    "FormatContract",
    "Spot",
    "copied",
    "facts",
    "pages",
    "read",
    "samples",
    "write",
]
