"""Settings from the environment and shoptalk.toml. tests/docs/test_reference.py holds the documents to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoptalk.errors import ConfigurationError
from shoptalk.settings import Settings, load_settings, unknown_variables


def test_defaults_follow_the_home_folder(bare: Path) -> None:
    settings = load_settings(home=Path("shop"))
    assert settings.models_path == Path("shop/models")
    assert settings.database == "sqlite:///shop/shoptalk.db"
    assert settings.jobs_database == "sqlite:///shop/jobs.db"
    assert settings.artifacts == "shop/artifacts"
    assert settings.base_url == "http://127.0.0.1:8000"
    assert "the shop" in settings.prompt


def test_the_environment_wins_over_the_file(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "shoptalk.toml").write_text('port = 8100\nshop_name = "Tea & Co"\norder_id_patterns = ["T-[0-9]+"]\n')
    monkeypatch.setenv("SHOPTALK_PORT", "8200")
    settings = load_settings()
    assert (settings.port, settings.shop_name, settings.order_id_patterns) == (8200, "Tea & Co", ["T-[0-9]+"])
    assert load_settings(port=8300).port == 8300


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("SHOPTALK_PORT", "http", "valid integer"),
        ("SHOPTALK_PORT", "70000", "less than or equal to 65535"),
        ("SHOPTALK_ENGINE", "magic", "'embedded', 'vllm' or 'null'"),
        ("SHOPTALK_MODEL_ALIAS", "My Shop", "pattern"),
        ("SHOPTALK_HOLDOUT_SHARE", "1", "less than 0.9"),
        ("SHOPTALK_ORDER_ID_PATTERNS", "T-[0-9]+", "JSON"),
    ],
)
def test_a_wrong_value_names_its_variable(
    bare: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, fix: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert name in caught.value.message
    assert fix in caught.value.message


def test_what_is_trained_can_be_served(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPTALK_MAX_RANK", "8")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "\n  SHOPTALK_TRAIN_RANK (16) must not exceed SHOPTALK_MAX_RANK (8)" in caught.value.message
    assert load_settings(train_rank=8).max_rank == 8


def test_secrets_are_not_repeated_in_errors(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPTALK_SECRET_KEY", "topsecret")
    monkeypatch.setenv("SHOPTALK_PORT", "http-topsecret")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "topsecret" not in caught.value.message


def test_an_unknown_name_in_the_file_is_refused(bare: Path) -> None:
    (bare / "shoptalk.toml").write_text("prot = 8100\n")
    with pytest.raises(ConfigurationError, match=r"SHOPTALK_PROT.*did you mean SHOPTALK_PORT"):
        load_settings()


def test_a_variable_that_sets_nothing_is_reported() -> None:
    names = ["SHOPTALK_PORT", "shoptalk_host", "SHOPTALK_PROT", "SHOPTALK_XYZZY", "PATH"]
    assert unknown_variables(names) == [
        "SHOPTALK_PROT: there is no such setting; did you mean SHOPTALK_PORT?",
        "SHOPTALK_XYZZY: there is no such setting; docs/reference/settings.md lists those there are",
    ]


def test_a_file_that_is_not_toml_is_named(bare: Path) -> None:
    (bare / "shoptalk.toml").write_text("port: 8100\n")
    with pytest.raises(ConfigurationError, match=r"shoptalk\.toml"):
        load_settings()


def test_settings_cannot_change(bare: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


def test_every_setting_says_what_it_does() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
