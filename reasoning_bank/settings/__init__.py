"""The one place where configuration is read: arguments, environment, a TOML file, defaults.

Precedence: argument > `REASONING_BANK_*` > TOML file > default. Groups nest with two underscores in the
environment (`REASONING_BANK_CACHE__MEMORIES__SIZE`) and are tables in TOML (`[cache.memories]`). Only `opening/`,
`bank.py`, `mcp/` and `cli/` see Settings; every other room takes plain keyword arguments. Only `loading.py` reads the
environment.
"""

from reasoning_bank.settings.caches import CacheSettings, NamedCacheSettings
from reasoning_bank.settings.groups import Group, HttpSettings, LimitSettings, RetrievalSettings, Settings
from reasoning_bank.settings.language import LanguageModelSettings, LearningSettings, ProviderSettings
from reasoning_bank.settings.loading import default_config_file, load_settings, project_directory, setting_names

__all__ = [
    "CacheSettings",
    "Group",
    "HttpSettings",
    "LanguageModelSettings",
    "LearningSettings",
    "LimitSettings",
    "NamedCacheSettings",
    "ProviderSettings",
    "RetrievalSettings",
    "Settings",
    "default_config_file",
    "load_settings",
    "project_directory",
    "setting_names",
]
