"""All questions, one after the other: `python -m benchmarks`, with the options that each of them takes.

Not with --records, which is for one question.
"""

import subprocess
import sys

QUESTIONS = (
    "help_time",
    "jsonl_to_parquet",
    "parquet_to_jsonl",
    "namespace_filter",
    "validate",
    "vektor_to_jsonl",
    "jsonl_to_vektor",
    "pgvector_load",
    "pgvector_read",
    "qdrant_load",
    "qdrant_read",
    "chroma_load",
    "chroma_read",
    "pinecone_load",
    "pinecone_read",
    "weaviate_load",
    "weaviate_read",
    "projection_memory",
    "projection_parquet",
    "projection_jsonl",
    "projection_train",
)

if __name__ == "__main__":
    if any(argument.startswith("--rec") for argument in sys.argv):
        sys.exit("--records is for one question: python -m benchmarks.jsonl_to_parquet --records 20000")
    asked = {name: [sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]] for name in QUESTIONS}
    failed = [name for name, command in asked.items() if subprocess.run(command).returncode]
    sys.exit(f"not answered: {', '.join(failed)}" if failed else 0)
