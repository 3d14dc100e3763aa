"""What an open bank measured, and what follows from it: alerts, advice, settings on trial, reports."""

import json
import logging
import math
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from sqlalchemy import Connection

from reasoning_bank.background.tasks import Guarded
from reasoning_bank.errors import BusyError, StorageError
from reasoning_bank.monitoring.advice import OptimizationReport, Optimizer, Recommendation
from reasoning_bank.monitoring.alerts import Alert, Alerts, Threshold, at_once, changes, judged, read_thresholds
from reasoning_bank.monitoring.metrics import PerformanceMonitor
from reasoning_bank.monitoring.pages import page_of
from reasoning_bank.monitoring.report import Report, period, report_of
from reasoning_bank.monitoring.rollups import Gathering, Rollups, as_snapshot, quarter_of
from reasoning_bank.monitoring.snapshot import Snapshot
from reasoning_bank.monitoring.trials import Trial
from reasoning_bank.monitoring.windows import QUARTER_S
from reasoning_bank.opening import Rooms
from reasoning_bank.opening.tuning import Tuner, machine_figures
from reasoning_bank.opening.webhook import Webhook
from reasoning_bank.records import JsonValue
from reasoning_bank.settings import Settings
from reasoning_bank.storage import rollups, tuning

logger = logging.getLogger(__name__)

_LOOKS: Final = 3
"""Looks at the process for each judgement of its figures."""
FLUSH_S: Final = 180.0
"""A kill loses at most the figures of so many seconds."""
_DAY: Final = timedelta(days=1)
_LATELY: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of advice: the trials that began, and why the rest was left."""

    begun: Sequence[Trial]
    left: Sequence[tuple[Recommendation, str]]


@dataclass(frozen=True, slots=True)
class Rulebook:
    """What figures are held to: thresholds, rules of advice, and the machine they are measured on."""

    thresholds: Sequence[Threshold]
    optimizer: Optimizer
    machine: Mapping[str, float]


def read_rulebook(settings: Settings) -> Rulebook:
    """The rules of the settings, read from files.

    Raises:
        ConfigError: the file of thresholds cannot be used.
    """
    return Rulebook(read_thresholds(settings.monitoring.alerts), Optimizer(), machine_figures())


@asynccontextmanager
async def open_figures(
    rooms: Rooms, monitor: PerformanceMonitor, settings: Settings, *, now: Callable[[], datetime]
) -> AsyncGenerator["Figures"]:
    """The figures of an open bank, judged and written as long as this lasts.

    Raises:
        ConfigError: the file of thresholds cannot be used.
    """
    rules = await anyio.to_thread.run_sync(read_rulebook, settings)
    figures = Figures(rooms, monitor, settings, rules, now=now)
    task = Guarded("figures", figures.run)
    rooms.watched.append(task)
    async with task:
        yield figures


class Figures:
    """The figures of an open bank and what follows from them; `run` is its task as long as the bank is open.

    Args:
        rooms: what the open bank consists of.
        monitor: what measures this process.
        settings: those of the user.
        rules: see `read_rulebook`.
        now: the clock, aware UTC.
    """

    def __init__(
        self,
        rooms: Rooms,
        monitor: PerformanceMonitor,
        settings: Settings,
        rules: Rulebook,
        *,
        now: Callable[[], datetime],
    ) -> None:
        chosen = settings.monitoring
        self.optimizer = rules.optimizer
        self.thresholds = rules.thresholds
        self._rooms = rooms
        self._monitor = monitor
        self._settings = chosen
        self._machine = rules.machine
        self._now = now
        self._alerts: Alerts = {}
        self._gathering = Gathering(lambda since: monitor.quarters(since, running=True))
        self._tuner = Tuner(settings, rooms.settings, rooms.database, self._change_now, now=now)
        self._webhook = Webhook(chosen.webhook_url.get_secret_value()) if chosen.webhook_url else None
        self._flushed: datetime | None = None
        self._reported: datetime | None = None
        self._writing = anyio.Lock()

    # What this process measured

    def snapshot(self) -> Snapshot:
        """Every figure of this process as of now."""
        return self._monitor.snapshot()

    def alerts(self) -> list[Alert]:
        """What this process has raised, or is about to, the worst first."""
        order = ("critical", "warning", "pending")
        said = [alert for alert in self._alerts.values() if alert.level != "ok"]
        return sorted(said, key=lambda alert: (order.index(alert.level), alert.threshold.name, alert.metric))

    def recommendations(self) -> OptimizationReport:
        """What to change, by the figures of this process since its start, a day at most."""
        return self.optimizer.run_system_optimization(self.snapshot(), further=self._further())

    # What all processes measured, as far as it is written

    async def stored(self, *, back: timedelta = _DAY) -> Snapshot:
        """What all processes of the bank measured lately, as one snapshot."""
        await self.flush()
        now = self._now()
        since = quarter_of(now - back)
        return await self._rooms.database.read(
            lambda c: as_snapshot(rollups.between(c, since=since, until=now.timestamp() + 1), at=now)
        )

    async def stored_alerts(self) -> list[Alert]:
        """The thresholds that all processes pass together: each in its window, gauges as they stood lately."""
        day, lately = await self.stored(), await self.stored(back=_LATELY)
        return at_once(self.thresholds, replace(day, gauges=lately.gauges))

    async def stored_recommendations(self) -> OptimizationReport:
        """What to change, by what all processes measured in the last day, or since a setting was changed on advice."""
        snapshot = await self.stored(back=await self._since_change())
        return self.optimizer.run_system_optimization(snapshot, further=self._further())

    async def report(self, since: datetime, until: datetime) -> Report:
        """What all processes measured in a period, rounded to quarters of an hour; the one that runs ends now."""
        await self.flush()
        now = self._now()
        end = datetime.fromtimestamp(math.ceil(until.timestamp() / QUARTER_S) * QUARTER_S, UTC)
        until = min(end, now) if since < now else until
        return await self._rooms.database.read(lambda c: self._report(c, since, until))

    # What is changed

    async def apply(self, *, only: Collection[str] | None = None, stored: bool = False) -> Applied:
        """Begin a trial of each safe piece of advice; what does not help is taken back by itself.

        Args:
            only: names of recommendations; None: all.
            stored: by the figures of all processes, instead of this one's.
        """
        back = await self._since_change()
        if not stored and back < _LATELY:
            return Applied([], [])  # what this process measured lately is still about the setting before
        snapshot = await self.stored(back=back) if stored else self.snapshot()
        window = "24h" if stored else "15m"
        report = self.optimizer.run_system_optimization(snapshot, further=self._further(), window=window)
        wanted = [each for each in report.recommendations if only is None or each.name in only]
        begun = await self._tuner.apply(wanted, snapshot, report.window)
        names = {trial.setting for trial in begun}
        left = [
            (each, self._tuner.refusal(each) or "it is on trial, was taken back lately, or another change is on trial")
            for each in wanted
            if each.setting not in names
        ]
        await self._tuner.look(self._gathering.totals(self._monitor.totals(), self.snapshot()))
        return Applied(begun, left)

    async def trials(self) -> list[Trial]:
        """Every setting that was changed on advice, oldest first."""
        return await self._rooms.database.read(tuning.listing)

    async def _since_change(self) -> timedelta:
        """How long nothing was changed on advice, a day at most: figures from before are about other settings."""
        last = max((trial.decided_at or trial.applied_at for trial in await self.trials()), default=None)
        return min(_DAY, self._now() - last) if last else _DAY

    async def take_back(self) -> int:
        """Take back every setting that was changed on advice; how many."""
        return await self._rooms.database.write(lambda c: tuning.take_back(c, now=self._now()))

    async def reset(self, *, stored: bool = False) -> int:
        """Begin the figures of this process anew.

        Args:
            stored: forget those that were written too, of all processes.

        Returns:
            Rows that were forgotten.
        """
        async with self._writing:  # what is being written now is of before
            self._monitor.reset()
            self._gathering.forget()
            self._tuner.forget()
            self._alerts = {}
            return await self._rooms.database.write(rollups.forget) if stored else 0

    # As long as the bank is open

    async def run(self) -> None:
        """Judge, write and try, until cancelled; what was measured last is written then."""
        async with AsyncExitStack() as stack:
            if self._webhook is not None:
                await stack.enter_async_context(Guarded("webhook", self._webhook.run))
            try:
                while True:
                    await anyio.sleep(_LOOKS * self._settings.sample_s)
                    await self._quietly(self.look)
            finally:
                with anyio.CancelScope(shield=True):
                    await self._quietly(self.flush)

    async def look(self) -> None:
        """Judge the figures of this process, follow and decide trials, and write what is due.

        Raises:
            StorageError: the bank cannot be read or written.
        """
        snapshot = self.snapshot()
        self._gathering.look(snapshot)
        self._judge(snapshot)
        if self._due(snapshot.at):
            await self.flush()
            await self._write_daily_report()
        if self._settings.tune != "off":
            if self._settings.tune == "apply":
                await self.apply()
            await self._tuner.look(self._gathering.totals(self._monitor.totals(), snapshot))

    async def flush(self) -> None:
        """Add what was measured since the last time to the bank's figures.

        Raises:
            StorageError: it could not be written; the next time makes up for it.
        """
        if not self._settings.rollups:
            return
        # One after another, and to its end: what was written and not noted as written would be added twice.
        async with self._writing:
            with anyio.CancelScope(shield=True):
                await self._write(self._gathering.unwritten())

    async def _write(self, new: Rollups) -> None:
        self._flushed = self._now()
        oldest = self._flushed - timedelta(days=self._settings.retention_days)

        def write(connection: Connection) -> None:
            rollups.add(connection, new)
            rollups.forget(connection, before=oldest)

        if new:
            await self._rooms.database.write(write)
            self._gathering.written(new)

    def _further(self) -> dict[str, float]:
        return {**self._tuner.figures(), **self._machine}

    def _due(self, at: datetime) -> bool:
        flushed = self._flushed
        return flushed is None or (at - flushed).total_seconds() >= FLUSH_S or quarter_of(at) != quarter_of(flushed)

    def _judge(self, snapshot: Snapshot) -> None:
        before, self._alerts = self._alerts, judged(self.thresholds, self._alerts, snapshot)
        for alert in changes(before, self._alerts):
            if alert.raised == "ok":
                logger.info("alert over: %s", alert.line)
            else:
                logger.warning("alert, %s: %s", alert.raised, alert.line)
            if self._webhook is not None:
                self._webhook.post(_told(alert))

    def _change_now(self, setting: str, value: float) -> bool:
        group, _, name = setting.removeprefix("cache.").rpartition(".")
        kept = self._rooms.caches.named().get(group) if name == "size" else None
        if kept is None or kept.memory is None:
            return False
        kept.memory.resize(int(value))
        return True

    def _report(self, connection: Connection, since: datetime, until: datetime) -> Report:
        first = quarter_of(since)
        found = rollups.between(connection, since=first, until=until.timestamp())
        snapshot = as_snapshot(found, at=until)
        advice = self.optimizer.run_system_optimization(snapshot, further=self._further(), window="start")
        changed = tuning.listing(connection, since=since)
        return report_of(
            found,
            since=datetime.fromtimestamp(first, UTC),
            until=until,
            thresholds=self.thresholds,
            advice=advice.recommendations,
            tuning=[trial for trial in changed if trial.applied_at < until],
        )

    async def _write_daily_report(self) -> None:
        """Yesterday's report into the directory of the settings, once, by whichever process is first.

        Yesterday is over when the other processes had the time to write the end of it.
        """
        directory = self._settings.daily_report
        if directory is None:
            return
        since, until = period("yesterday", now=self._now() - 2 * timedelta(seconds=FLUSH_S))
        path = directory / f"{since:%Y-%m-%d}.html"
        if since == self._reported or await anyio.to_thread.run_sync(path.exists):
            return
        report = await self.report(since, until)
        if report.figures:
            await anyio.to_thread.run_sync(_write, report, path)
            logger.info("wrote the report on %s", since.date())
        self._reported = since

    async def _quietly(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (StorageError, BusyError) as error:
            logger.warning("figures are written later: %s", error)
        except OSError as error:
            logger.warning("the daily report could not be written: %s", error)


def _told(alert: Alert) -> Mapping[str, JsonValue]:
    """What the webhook says of an alert; `text` is what chat servers show."""
    event = "cleared" if alert.raised == "ok" else "raised"
    return {
        "text": f"reasoning-bank: alert {event}: {alert.line}",
        "event": event,
        "alert": alert.plain(),
        "host": socket.gethostname(),
        "process": os.getpid(),
    }


def _write(report: Report, path: Path) -> None:
    """Write a report as a page and as JSON; complete or not at all, and for nobody but the owner of the bank."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for target, text in ((path.with_suffix(".json"), json.dumps(report.plain())), (path, page_of(report))):
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(text, encoding="utf-8")
        draft.replace(target)
