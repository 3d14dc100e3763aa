"""Settings: precedence, bounds, unknown keys, and the files in config/."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from reasoning_bank.errors import ConfigError
from reasoning_bank.settings import CacheSettings, Group, Settings, load_settings, project_directory, setting_names
from tests.reference import default_toml

CONFIG = Path(__file__).resolve().parent.parent / "config"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests decide themselves what the environment says."""
    for name in list(os.environ):
        if name.startswith("REASONING_BANK_"):
            monkeypatch.delenv(name)


def toml(directory: Path, text: str) -> Path:
    path = directory / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_argument_wins_over_environment_over_file_over_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = toml(tmp_path, "[retrieval]\nk = 4\nfloor = 0.4\ntoken_budget = 400\n")
    monkeypatch.setenv("REASONING_BANK_RETRIEVAL__K", "5")
    monkeypatch.setenv("REASONING_BANK_RETRIEVAL__FLOOR", "0.45")
    settings = load_settings(path, retrieval={"k": 6})
    assert (settings.retrieval.k, settings.retrieval.floor, settings.retrieval.token_budget) == (6, 0.45, 400)
    assert settings.compression.max_tokens == 12_000


def test_an_argument_of_none_means_not_given(tmp_path: Path) -> None:
    assert load_settings(toml(tmp_path, 'profile = "full"'), profile=None).profile == "full"


def test_an_empty_variable_means_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REASONING_BANK_WORKSPACE", "")
    assert load_settings().workspace is None


def test_the_file_is_found_by_variable_and_in_the_configuration_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named = toml(tmp_path, 'workspace = "named"')
    monkeypatch.setenv("REASONING_BANK_CONFIG", str(named))
    assert load_settings().workspace == "named"


@pytest.mark.skipif(sys.platform != "linux", reason="XDG decides only on Linux")
def test_the_file_in_the_configuration_directory_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "reasoning-bank").mkdir()
    (tmp_path / "reasoning-bank" / "config.toml").write_text('workspace = "found"', encoding="utf-8")
    assert load_settings().workspace == "found"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[vectors]\nserach = 'auto'", "unknown setting 'vectors.serach'; did you mean 'vectors.search'?"),
        ("[retreival]\nk = 3", "unknown setting 'retreival'; did you mean 'retrieval'?"),
        ("floor = 0.4", "unknown setting 'floor'; did you mean 'retrieval.floor'?"),
        ("[retrieval]\nk = 0", "setting 'retrieval.k': Input should be greater than or equal to 1"),
        ("[compression]\nratio = 1.5", "setting 'compression.ratio': Input should be less than or equal to 1"),
        ("profile = 'all'", "setting 'profile': Input should be 'core' or 'full'"),
        ("profile = 'ful'", "not 'ful'; did you mean 'full'?"),
        ("[retrieval]\nwithout = ['semantik']", "not 'semantik'; did you mean 'semantic'?"),
        ("[http]\nhost = ''", "setting 'http.host': String should have at least 1 character"),
        ("completely_different_xyz = 1", "unknown setting 'completely_different_xyz'"),
        ("profile = ", "is not TOML"),
    ],
)
def test_a_wrong_file_says_what_is_wrong_and_what_was_meant(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(toml(tmp_path, text))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("REASONING_BANK_DATADIR", "data_dir"),
        ("REASONING_BANK_FLOOR", "retrieval.floor"),
        ("REASONING_BANK_CACHE__MEMORIES__SIZES", "cache.memories.size"),
        ("reasoning_bank_profle", "profile"),
    ],
)
def test_an_unknown_variable_is_an_error_that_names_the_nearest(
    monkeypatch: pytest.MonkeyPatch, variable: str, meant: str
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
        load_settings()


def test_a_missing_file_is_an_error_not_a_default(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration file"):
        load_settings(tmp_path / "absent.toml")


def test_a_secret_never_appears_in_text_or_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS__API_KEY", "sk-not-to-be-seen")
    assert "not-to-be-seen" not in repr(load_settings())
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS", "sk-not-to-be-seen")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert "not-to-be-seen" not in str(caught.value)


def test_a_list_is_written_with_commas_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REASONING_BANK_HTTP__ALLOWED_HOSTS", "a.example, b.example:*")
    assert load_settings().http.allowed_hosts == ("a.example", "b.example:*")


def test_headers_are_json_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REASONING_BANK_VECTORS__CHROMA_HEADERS", '{"X-Token": "t"}')
    assert load_settings().vectors.chroma_headers["X-Token"].get_secret_value() == "t"


def test_a_home_directory_is_expanded_and_relative_paths_are_made_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(data_dir="~/bank").data_dir == Path.home() / "bank"
    assert load_settings(data_dir="bank").data_dir == Path.cwd() / "bank"
    monkeypatch.setenv("REASONING_BANK_DATA_DIR", "~/other")
    assert load_settings().data_dir == Path.home() / "other"


def test_settings_are_frozen() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.retrieval.k = 5


def test_every_setting_has_a_description_and_numbers_have_bounds() -> None:
    for name, info in setting_names():
        assert info.description, name
        assert info.description.endswith("."), name
        if info.annotation is int or info.annotation is float:
            assert len(info.metadata) == 2, f"{name} needs a lower and an upper bound"


def test_every_group_says_what_it_is_about() -> None:
    for info in Settings.model_fields.values():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Group):
            assert info.annotation.__doc__ != Group.__doc__


def test_default_toml_is_what_make_docs_writes() -> None:
    assert (CONFIG / "default.toml").read_text(encoding="utf-8") == default_toml()


def test_default_toml_equals_the_defaults() -> None:
    assert load_settings(CONFIG / "default.toml") == load_settings()


def test_development_settings_show_and_forget() -> None:
    settings = load_settings(CONFIG / "development.toml")
    assert (settings.profile, settings.log_level, settings.durability) == ("full", "DEBUG", "process")
    assert settings.cache.memories.ttl_s == 60
    assert settings.data_dir != Settings().data_dir


def test_production_settings_keep_and_guard() -> None:
    settings = load_settings(CONFIG / "production.toml")
    assert (settings.durability, settings.http.auth, settings.assets.allow_download) == ("full", "required", False)
    assert settings.cache.memories.ttl_s == 3_600
    assert settings.cache.memories.size > Settings().cache.memories.size


def test_keys_of_the_files_in_config_are_commented_with_a_reason() -> None:
    """A value without its reason is a number nobody dares to change."""
    for name in ("development", "production"):
        lines = (CONFIG / f"{name}.toml").read_text(encoding="utf-8").splitlines()
        tables = [index for index, line in enumerate(lines) if line.startswith("[")]
        assert tables, name
        for index in tables:
            assert lines[index + 1].startswith("#"), f"{name}.toml: {lines[index]} begins without a reason"


def test_what_a_cache_is_not_told_is_the_default_of_that_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REASONING_BANK_CACHE__RETRIEVAL__POLICY", "lfu")
    cache = load_settings(toml(tmp_path, "[cache.retrieval]\nsize = 7\n")).cache.retrieval
    assert (cache.size, cache.policy, cache.ttl_s) == (7, "lfu", CacheSettings().retrieval.ttl_s)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[cache.memories]\nbackend = 'redis'", "cache.memories.backend is 'redis' and can only be 'memory': worker"),
        ("[cache.tools]\nbackend = 'file'", "it holds prompts as they came, which privacy has not seen"),
        ("[monitoring]\nwebhook_url = 'foo'", "setting 'monitoring.webhook_url': send an address to post to"),
        ("[cache.queries]\nbackend = 'redis'", "set cache.redis_url, such as redis://"),
        ("[cache.tools]\nbackend = 'disk'", "setting 'cache.tools.backend': Input should be 'memory'"),
        ("[cache.tols]\nsize = 1", "unknown setting 'cache.tols'; did you mean 'cache.tools"),
        ("[cache]\nmemories_size = 1", "unknown setting 'cache.memories_size'; did you mean 'cache.memories.size'"),
    ],
)
def test_a_cache_that_cannot_be_says_why(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(toml(tmp_path, text))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "url", ["ftp://hooks.example/secret", "http://169.254.169.254/secret", "https://user:pw@hooks.example/secret"]
)
def test_a_webhook_that_cannot_be_one_is_refused_without_naming_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"monitoring\.webhook_url") as caught:
        load_settings(monitoring={"webhook_url": url})
    assert "secret" not in str(caught.value)


def test_the_project_of_the_host_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CLAUDE_PROJECT_DIR", raising=False)
    assert project_directory() is None
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(tmp_path))
    assert project_directory() == tmp_path


def test_reading_settings_loads_nothing_heavy() -> None:
    code = (
        "import sys, reasoning_bank.settings as s; s.load_settings();"
        "print([m for m in ('numpy', 'torch', 'chromadb', 'onnxruntime', 'sqlalchemy', 'mcp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True, timeout=30)
    assert done.stdout.strip() == "[]"


def leaves(model: BaseModel) -> set[str]:
    return {
        f"{name}.{inner}" if isinstance(value, Group) else name
        for name, value in model
        for inner in (leaves(value) if isinstance(value, Group) else {""})
    }


def test_default_toml_mentions_every_setting() -> None:
    text = (CONFIG / "default.toml").read_text(encoding="utf-8")
    values = tomllib.loads(text.replace("\n# data_dir", "\ndata_dir"))
    assert "data_dir" in values
    for name in leaves(Settings()):
        last = name.rsplit(".", 1)[-1]
        assert f"\n{last} = " in text or f"\n# {last} = " in text, name
