"""Prints the ids that an embedded Chroma directory holds; a process of its own, because Chroma keeps what it opened.

Run: python -m tests.faults.index_contents DIRECTORY
"""

import json
import sys


def main(directory: str) -> None:
    """Print {collection name: sorted ids} as JSON."""
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(path=directory, settings=Settings(anonymized_telemetry=False))
    held = {collection.name: sorted(collection.get(include=[])["ids"]) for collection in client.list_collections()}
    print(json.dumps(held))


if __name__ == "__main__":
    main(sys.argv[1])
