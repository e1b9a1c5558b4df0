"""One file a file layout. Each exports a `Format`, which an entry point of `vexarrow.formats` names."""
