"""Made-up engineering lessons and questions for them: as many as asked for, the same for the same number."""

import itertools
import random
from dataclasses import dataclass

SYSTEMS = (
    *("PostgreSQL", "Redis", "Kafka", "nginx", "Kubernetes", "Terraform", "Django", "React", "gRPC", "Elasticsearch"),
    *("RabbitMQ", "MySQL", "Docker", "Jenkins", "GraphQL", "SQLite", "Celery", "Prometheus", "OpenSSL", "systemd"),
)
PARTS = (
    *("connection pool", "retry loop", "schema migration", "cache key", "health check", "build cache", "config map"),
    *("session cookie", "index rebuild", "consumer group", "rate limiter", "feature flag", "certificate", "cron job"),
    *("log rotation", "file handle", "worker queue", "query plan", "time zone", "unit test"),
)
SYMPTOMS = (
    *("times out under load", "leaks memory overnight", "returns stale rows", "fails only on the build server"),
    *("deadlocks after a deploy", "loses the last message", "restarts every hour", "rejects valid requests"),
    *("doubles its latency", "fills the disk", "ignores the new setting", "breaks after midnight"),
)
CAUSES = (
    *("a default that changed", "a missing index", "two writers without a lock", "an unbounded buffer"),
    *("a clock that went backwards", "a shared temporary file", "an expired token", "a swallowed exception"),
    *("a wrong unit", "an old library", "a race at start-up", "a proxy that strips a header"),
)
REMEDIES = (
    *("set an explicit limit and alert on it", "take the lock first and keep the transaction short"),
    *("pin the version and read its changelog", "make the call idempotent and retry it with jitter"),
    *("measure before and after with the same input", "pass the clock in and test across midnight"),
    *("close it in a finally block", "add the index concurrently and verify the plan"),
    *("roll out to one node and watch it for an hour", "log the raw header and compare both sides"),
)
PLAIN = {
    "times out under load": "becomes too slow when many people use it",
    "leaks memory overnight": "needs more and more RAM",
    "returns stale rows": "shows old data",
    "fails only on the build server": "passes on my laptop but not in CI",
    "deadlocks after a deploy": "hangs since the release",
    "loses the last message": "drops an event",
    "restarts every hour": "keeps crashing and coming back",
    "rejects valid requests": "says no to correct input",
    "doubles its latency": "got twice as slow",
    "fills the disk": "uses up all storage",
    "ignores the new setting": "does not see my configuration",
    "breaks after midnight": "is wrong on the next day",
}


@dataclass(frozen=True)
class Lesson:
    """A lesson as an assistant would store it, and a question it answers, half of them in other words."""

    task: str
    title: str
    description: str
    content: str
    question: str


def lesson(number: int) -> Lesson:
    """The lesson of that number; each number has its own words."""
    rng = random.Random(number)  # noqa: S311 -- the same number is always the same lesson
    combinations = len(SYSTEMS) * len(PARTS) * len(SYMPTOMS)
    place = (number * 2_654_435_761) % combinations  # spreads neighbours over all combinations
    system = SYSTEMS[place % len(SYSTEMS)]
    part = PARTS[place // len(SYSTEMS) % len(PARTS)]
    symptom = SYMPTOMS[place // (len(SYSTEMS) * len(PARTS))]
    cause, first, second = rng.choice(CAUSES), *rng.sample(REMEDIES, 2)
    service = f"service-{number // combinations}-{rng.randrange(997)}"
    said = PLAIN[symptom] if number % 2 else symptom
    return Lesson(
        task=f"Find out why the {part} of {system} in {service} {symptom}",
        title=f"{system}: {part} {symptom} because of {cause}",
        description=f"Use when {system} {symptom} and the {part} was touched lately",
        content=f"The reason was {cause}. To fix it {first}; then {second}. Reproduce it in {service} first.",
        question=f"our {system} {part} {said}, what should I check?",
    )


def questions(stored: int, count: int, *, seed: int) -> list[str]:
    """Distinct questions about stored lessons."""
    rng = random.Random(seed)  # noqa: S311 -- the same questions in each run
    numbers = itertools.islice(iter(lambda: rng.randrange(stored), None), 50 * count)
    asked = dict.fromkeys(f"{lesson(number).question} (case {rng.randrange(10**6)})" for number in numbers)
    return list(asked)[:count]
