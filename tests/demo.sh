#!/usr/bin/env bash
# A tour of the command line: out of a VEKTOR database, into Parquet, one namespace alone, and read by DuckDB.
# Every command is printed before it runs, and can be pasted.
set -euo pipefail
data="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/data"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
cp "$data/slipstream-memory.db" "$scratch"
cd "$scratch"

show() {
    printf '\n$ %s\n' "$1"
    eval "$1"
}

show 'vex export --from vektor --db slipstream-memory.db --output memories.vmig.jsonl'
show 'cat memories.vmig.meta.json'
show 'vex convert memories.vmig.jsonl memories.parquet'
show 'vex convert memories.parquet games.parquet --namespace games'
show 'vex inspect memories.parquet'
show "$(cat <<'COMMAND'
python -c "import duckdb; duckdb.sql('FROM \"memories.parquet\" SELECT namespace, count(*) AS n GROUP BY namespace ORDER BY n DESC, namespace LIMIT 5').show()"
COMMAND
)"
