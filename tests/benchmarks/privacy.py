"""What redaction finds, what it takes for a secret, and what it costs: `python -m tests.benchmarks privacy [PART ...]`.

Parts: `planted` (made-up secrets by every door of a bank with Chroma and a scripted model, then looked for in each file
it leaves), `clean` (false findings in installed Python code and its documents, and in the evaluation sets), `cost` (per
50 KB, with RE2 and without) and `suspicion` (attacks found, ordinary texts suspected, time per megabyte).
"""

import asyncio
import json
import random
import statistics
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reasoning_bank.privacy.redaction import Redactor
from reasoning_bank.privacy.rules import RuleSet, packaged_rules, rule_set
from reasoning_bank.privacy.suspicion import suspicion
from tests.benchmarks.machine import RESULTS, evaluation_data, machine
from tests.privacy.planted import DOORS, assigned_doors, leaks, planted, settings_of
from tests.privacy.test_personal import KINDS
from tests.privacy.test_redaction import PROBES
from tests.privacy.test_suspicion import ATTACKS, HOSTILE, ORDINARY

SECRETS = 720
SIZE = 50_000


def brought_in() -> dict[str, Any]:
    """Secrets by every door, and how many were found again."""
    pairs = assigned_doors(planted(SECRETS, random.Random(5)))
    with TemporaryDirectory() as name:
        directory = Path(name)
        settings = settings_of(directory, vectors={"search": "chroma"})
        found = asyncio.run(leaks(directory, pairs, settings))
        files = sorted({file.name for file in directory.rglob("*") if file.is_file()})
    keys = [secret for _, secret in pairs if secret.is_key]
    lost = [leak for leak in found if leak.secret.is_key]
    return {
        "secrets": len(pairs),
        "kinds": len({secret.kind for _, secret in pairs}),
        "provider_keys": len(keys),
        "provider_kinds": len({secret.kind for secret in keys}),
        "recall_provider_keys": 1 - len(lost) / len(keys),
        "recall_assigned": 1 - (len(found) - len(lost)) / (len(pairs) - len(keys)),
        "found_again": [[leak.door, leak.secret.kind, list(leak.places)] for leak in found],
        "by_door": {door: sum(name == door for name, _ in pairs) for door in DOORS},
        "files_searched": files,
    }


def clean() -> dict[str, Any]:
    """False findings per 100 KB; all texts are public and hold no secrets of ours."""
    return {name: _findings(texts) for name, texts in _texts().items()}


def _findings(texts: Iterator[str]) -> dict[str, Any]:
    secrets, personal = Redactor("redact", b"salt"), Redactor("redact", b"salt", rules=rule_set(KINDS))
    size, kinds, people = 0, Counter[str](), Counter[str]()
    for text in texts:
        size += len(text)
        kinds.update(finding.kind for finding in secrets.text(text).findings)
        people.update(finding.kind for finding in personal.text(text).findings)
    per = 100_000 / max(size, 1)
    return {"characters": size, "per_100_kb": sum(kinds.values()) * per, "kinds": kinds, "with_personal": people}


def _texts() -> dict[str, Iterator[str]]:
    library, packages = Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib"))
    code = [file for file in sorted(library.rglob("*.py")) if packages not in file.parents][:900]
    found = {
        "python library": _read(code),
        "installed packages": _read(sorted(packages.rglob("*.py"))[::25]),
        "their documents": _read([*sorted(packages.rglob("METADATA")), *sorted(packages.rglob("*.md"))]),
    }
    if data := evaluation_data():
        for file in sorted([*data.glob("*/corpus.jsonl"), *data.glob("prompts/*.jsonl")]):
            rows = file.read_text(encoding="utf-8").splitlines()
            found[file.parent.name] = (json.loads(row)["text"] for row in rows)
    return found


def _read(files: list[Path]) -> Iterator[str]:
    return (file.read_text(encoding="utf-8", errors="replace") for file in files)


def cost() -> dict[str, Any]:
    """Median milliseconds for 50 KB of each kind of text."""
    personal = rule_set(KINDS)
    re2, sys.modules["re2"] = sys.modules.get("re2"), None  # type: ignore[assignment]
    plain = RuleSet(packaged_rules().rules)
    if re2 is not None:
        sys.modules["re2"] = re2
    redactors = {
        "secrets": Redactor("redact", b"salt"),
        "secrets, words found one by one": Redactor("redact", b"salt", rules=plain),
        "secrets and personal data": Redactor("redact", b"salt", rules=personal),
    }
    return {
        name: {which: _median_ms(lambda text=text, each=each: each.text(text)) for which, each in redactors.items()}
        for name, text in _samples().items()
    }


def _samples() -> Mapping[str, str]:
    texts = {name: "".join(parts)[:SIZE] for name, parts in _texts().items()}
    lines = [f"step {n}: used {secret.text} here" for n, secret in enumerate(planted(400, random.Random(3)))]
    hostile = {f"hostile: {name}": text[:SIZE] for name, text in PROBES.items()}
    return {**texts, "a secret in each line": "\n".join(lines)[:SIZE], **hostile}


def _median_ms(work: Callable[[], object]) -> float:
    taken: list[float] = []
    for _ in range(7):
        started = time.process_time()
        work()
        taken.append(1000 * (time.process_time() - started))
    return round(statistics.median(taken), 2)


def suspected() -> dict[str, Any]:
    """Attacks found, ordinary texts suspected, and time."""
    attacks = [text for texts in ATTACKS.values() for text in texts]
    ordinary = [text for texts in _texts().values() for text in texts if len(text) < 20_000]
    found = [each for each in map(suspicion, ordinary) if each]
    hostile = {name: text * (1_000_000 // len(text)) for name, text in HOSTILE.items()}
    return {
        "attacks": len(attacks),
        "found": sum(suspicion(text) is not None for text in attacks),
        "near_misses": len(ORDINARY),
        "near_misses_suspected": sum(suspicion(text) is not None for text in ORDINARY),
        "ordinary_texts": len(ordinary),
        "ordinary_suspected": len(found),
        "evidence": [each.evidence for each in found],
        "ms_per_hostile_megabyte": {
            name: _median_ms(lambda text=text: suspicion(text)) for name, text in hostile.items()
        },
    }


PARTS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "planted": brought_in,
    "clean": clean,
    "cost": cost,
    "suspicion": suspected,
}


def main(arguments: list[str]) -> None:
    """Measure the parts named, or all; the result is written to results/privacy.json."""
    file = RESULTS / "privacy.json"
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name in arguments or PARTS:
        report[name] = PARTS[name]()
        print(name, json.dumps(report[name], indent=1)[:6_000])
    report["machine"] = machine()
    file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
