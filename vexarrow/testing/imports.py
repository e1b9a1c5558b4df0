"""What the import of a plugin's module brings with it, found out in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

from vexarrow import plugins
from vexarrow.protocols import Connector, Format

_SCRIPT = """
import importlib, sys
import vexarrow.protocols, vexarrow.errors, vexarrow.selection, vexarrow.location
before = set(sys.modules)
importlib.import_module(sys.argv[1])
print(*{name.partition(".")[0] for name in set(sys.modules) - before})
"""


def foreign_imports(plugin: Connector | Format) -> set[str]:
    """Top-level modules, other than the standard library, vexarrow and the plugin's own package, that importing the
    plugin's module imports."""
    group = plugins.FORMATS if isinstance(plugin, Format) else plugins.CONNECTORS
    entry = next(entry for entry in entry_points(group=group) if entry.name == plugin.name)
    done = subprocess.run([sys.executable, "-c", _SCRIPT, entry.module], capture_output=True, text=True, check=True)
    return set(done.stdout.split()) - sys.stdlib_module_names - {"vexarrow", entry.module.partition(".")[0]}
