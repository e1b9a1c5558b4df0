"""Qdrant's engine with both its faces, as a process: `python -m tests.engines._qdrant_server FOLDER PORT GRPC_PORT`."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from tests.engines import _qdrant_grpc, _qdrant_rest
from tests.engines._qdrant_core import Engine


def main() -> None:
    """Serve until standard input ends."""
    folder, port, grpc_port = sys.argv[1:4]
    key = os.environ.get("QDRANT_FACE_KEY")
    engine = Engine(Path(folder))
    server = _qdrant_grpc.serve(engine, int(grpc_port), key)
    http = _qdrant_rest.serve(engine, int(port), key)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    sys.stdin.read()
    server.stop(0)
    os._exit(0)


if __name__ == "__main__":
    main()
