"""Settings of what is measured, and of what follows from it."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from reasoning_bank.errors import ConfigError
from reasoning_bank.settings.fields import Directory, Group
from reasoning_bank.upstream import checked_url


class MonitoringSettings(Group):
    """What the bank measures of itself, and what it does with it."""

    sample_s: float = Field(
        default=5.0, ge=0.1, le=3_600, description="Pause between looks at memory, CPU, event loop and queue (seconds)."
    )
    slow_query_ms: float = Field(
        default=100.0, ge=0, le=3_600_000, description="A statement above this is logged with its plan (milliseconds)."
    )
    rollups: bool = Field(
        default=True, description="Keep figures per quarter of an hour in the bank, so that trends outlive a restart."
    )
    retention_days: float = Field(default=30.0, gt=0, le=3_650, description="How long those are kept (days).")
    alerts: Directory | None = Field(
        default=None, description="TOML file with thresholds of your own; see config/alerts.toml."
    )
    webhook_url: SecretStr | None = Field(
        default=None,
        description="Where an alert is posted as JSON when it is raised and when it clears.",
    )
    daily_report: Directory | None = Field(
        default=None, description="Directory into which a server writes a report every day; unset writes none."
    )
    tune: Literal["off", "advise", "apply"] = Field(
        default="advise",
        description="What follows from advice: nothing, showing it, or also applying what is safe, on trial.",
    )
    trial_s: float = Field(
        default=900.0,
        ge=1,
        le=604_800,
        description="How long an applied setting has to show that it helps, or is taken back (seconds).",
    )

    @field_validator("webhook_url")
    @classmethod
    def _an_address(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            try:
                checked_url(url.get_secret_value().partition("?")[0], key=None, settings="monitoring")
            except ConfigError:  # whose text may repeat the address, and that may be a secret
                raise ValueError("send an address to post to, such as https://hooks.example.com/…") from None
        return url
