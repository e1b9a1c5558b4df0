"""One file a store. Each exports a `Connector`, which an entry point of `vexarrow.connectors` names."""
