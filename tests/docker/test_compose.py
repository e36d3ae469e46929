"""The container files, checked without an engine: what they name exists, and nothing is open to the world.

`FILE` describes the part of the Compose specification that these files use; nothing else passes.
"""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from chatbot.api.routes import chat, feedback, health, registry, releases
from shoptalk.cli.main import app
from shoptalk.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(p for p in DOCKER.iterdir() if p.name == "Dockerfile" or p.suffix == ".Dockerfile")
INSTRUCTIONS = {
    "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN", "SHELL", "STOPSIGNAL",
    "USER", "VOLUME", "WORKDIR",
}  # fmt: skip
DURATION = re.compile(r"(\d+(ms|s|m|h))+")
PORT = re.compile(r"(?P<host>[\d.]+):(?P<published>\d{1,5}):(?P<target>\d{1,5})(/(tcp|udp))?")
VARIABLE = re.compile(r"\$\{(?P<name>[A-Z][A-Z0-9_]*)(?P<rest>:?[-?][^}]*)?\}")
Check = Callable[[Any], bool]


class Compose(yaml.SafeLoader):
    """A YAML loader that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(k, deep=True) for k, _ in node.value if k.tag != "tag:yaml.org,2002:merge"]
        assert len(keys) == len(set(keys)), f"a key is given twice at {node.start_mark}"
        return super().construct_mapping(node, deep)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.load((DOCKER / "compose.yaml").read_text(), Compose))


def text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(text, value))


def duration(value: Any) -> bool:
    return isinstance(value, str) and DURATION.fullmatch(value) is not None


def a_test(value: Any) -> bool:
    """Accept `["CMD", program, ...]`, `["CMD-SHELL", line]` or a line."""
    if isinstance(value, list):
        return texts(value) and (
            (value[0] == "CMD" and len(value) > 1) or (value[0] == "CMD-SHELL" and len(value) == 2)
        )
    return text(value)


def ports(value: Any) -> bool:
    return texts(value) and all(PORT.fullmatch(p) for p in value)


def environment(value: Any) -> bool:
    names = isinstance(value, dict) and all(re.fullmatch(r"[A-Z][A-Z0-9_]*", k) for k in value)
    return names and all(isinstance(v, str | int) and not isinstance(v, bool) for v in value.values())


def exactly(known: Mapping[str, Check], needed: tuple[str, ...] = ()) -> Check:
    """Return a check for a mapping that has only known keys, each valid by its own check."""

    def check(value: Any) -> bool:
        if not isinstance(value, dict):
            return False
        assert set(value) <= set(known), f"unknown keys: {sorted(set(value) - set(known))}"
        assert set(needed) <= set(value), f"missing keys: {sorted(set(needed) - set(value))}"
        for key, item in value.items():
            assert known[key](item), f"{key}: {item!r}"
        return True

    return check


def each(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(check(item) for item in value.values())


def one_of(*values: Any) -> Check:
    return lambda value: value in values


def a_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


HEALTH = exactly(
    {"test": a_test, "interval": duration, "timeout": duration, "start_period": duration, "retries": a_count},
    ("test", "interval", "timeout", "retries"),
)
CONDITION = exactly(
    {"condition": one_of("service_started", "service_healthy", "service_completed_successfully")}, ("condition",)
)
SERVICE = exactly(
    {
        "image": text,
        "build": exactly({"context": text, "dockerfile": text, "target": text}, ("context", "dockerfile")),
        "init": one_of(True, False),
        "restart": one_of("no", "always", "on-failure", "unless-stopped"),
        "cap_drop": texts,
        "security_opt": texts,
        "volumes": texts,
        "environment": environment,
        "ports": ports,
        "healthcheck": HEALTH,
        "cpu_shares": a_count,
        "depends_on": each(CONDITION),
    }
)
FILE = exactly(
    {
        "name": lambda v: isinstance(v, str) and re.fullmatch(r"[a-z0-9][a-z0-9_-]*", v) is not None,
        "x-shoptalk": lambda _: True,
        "x-settings": environment,
        "services": each(SERVICE),
        "volumes": each(lambda v: v == {}),
    },
    ("services",),
)


def test_the_file_follows_the_specification(compose: dict[str, Any]) -> None:
    assert FILE(compose)
    assert set(compose["services"]) == {"api", "worker", "label-studio", "postgres"}
    for name, service in compose["services"].items():
        assert ("image" in service) != ("build" in service), name


@pytest.mark.parametrize(
    "service",
    [
        {"image": "x", "prots": ["127.0.0.1:1:1"]},
        {"image": "x", "ports": [8000]},
        {"image": "x", "ports": ["8000:8000"]},
        {"image": "x", "healthcheck": {"test": ["curl"], "interval": "5s", "timeout": "5s", "retries": 3}},
        {"image": "x", "healthcheck": {"test": "true", "interval": 5, "timeout": "5s", "retries": 3}},
        {"image": "x", "depends_on": {"y": {"condition": "ready"}}},
        {"image": "x", "environment": {"lower": "1"}},
        {"image": "x", "environment": {"FLAG": True}},
    ],
)
def test_the_checker_notices_mistakes(service: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        assert FILE({"services": {"x": service}})


def test_everything_that_services_name_exists(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        for other, want in service.get("depends_on", {}).items():
            assert want["condition"] != "service_healthy" or "healthcheck" in services[other]
        for volume in service.get("volumes", ()):
            name, _, folder = volume.partition(":")
            assert name in compose["volumes"]
            assert folder.startswith("/")
        if build := service.get("build"):
            file = (DOCKER / build["context"] / build["dockerfile"]).resolve()
            assert file in DOCKERFILES
            targets = {i.words[-1] for i in parse(file) if i.name == "FROM" and "AS" in i.words}
            assert build.get("target") in (targets or {None})


def test_every_port_is_published_on_this_machine_only(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert published
    matches = [PORT.fullmatch(port) for port in published]
    assert {m["host"] for m in matches if m} == {"127.0.0.1"}
    assert all(m and 0 < int(m[part]) < 65536 for m in matches for part in ("published", "target"))
    assert "ports" not in compose["services"]["postgres"]


def test_every_setting_exists(compose: dict[str, Any]) -> None:
    known = {f"SHOPTALK_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"SHOPTALK_[A-Z_]+", "\n".join(p.read_text() for p in DOCKER.iterdir() if p.is_file())))
    assert named
    assert named <= known


def test_secrets_come_from_a_file_outside_the_repository(compose: dict[str, Any]) -> None:
    offered = dict(
        line.split("=", 1)
        for line in (DOCKER / ".env.example").read_text().splitlines()
        if "=" in line and line[0] != "#"
    )
    used: dict[str, str] = {}
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            for match in VARIABLE.finditer(str(value)):
                used[match["name"]] = match["rest"] or ""
            if re.search("PASSWORD|SECRET|TOKEN", name):
                assert VARIABLE.fullmatch(value), f"{name} has a value of its own"
    assert set(used) == set(offered)
    for name, rest in used.items():
        if re.search("PASSWORD|SECRET|TOKEN", name):
            assert rest.startswith(":?"), f"{name} must be given"
            assert offered[name] == "", f"{name} has a value in the example"


def test_health_checks_ask_routes_that_exist(compose: dict[str, Any]) -> None:
    modules = (health, chat, feedback, registry, releases)
    routes = {getattr(route, "path", None) for module in modules for route in module.router.routes}
    checks = _health_checks(DOCKER / "Dockerfile")
    ours = [compose["services"]["api"]["healthcheck"]["test"], *(c for c in checks if "shoptalk" not in c)]
    asked = [re.findall(r"http://127\.0\.0\.1:8000(/[a-z]+)", " ".join(test)) for test in ours]
    assert asked == [["/readyz"], ["/healthz"]]
    assert {path for paths in asked for path in paths} <= routes


def test_the_workers_health_check_is_a_command(compose: dict[str, Any]) -> None:
    asked = [c for c in _health_checks(DOCKER / "Dockerfile") if "shoptalk" in c]
    assert asked == [["shoptalk", "worker", "--check"]]
    assert compose["services"]["worker"]["healthcheck"]["test"] == ["CMD", *asked[0]]
    assert CliRunner().invoke(app, [*asked[0][1:], "--help"]).exit_code == 0


def test_every_service_is_health_checked(compose: dict[str, Any]) -> None:
    assert [name for name, service in compose["services"].items() if "healthcheck" not in service] == []


def _health_checks(file: Path) -> list[list[str]]:
    """Return the command of each HEALTHCHECK, which is in JSON form."""
    return [json.loads(i.rest.partition("CMD ")[2]) for i in parse(file) if i.name == "HEALTHCHECK"]


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, its lines joined."""

    name: str
    rest: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.rest)


def parse(file: Path) -> list[Instruction]:
    lines = [line for line in file.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = []
    for line in joined.splitlines():
        name, _, rest = line.partition(" ")
        found.append(Instruction(name, rest.strip()))
    return found


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda p: p.name)
def test_a_dockerfile_is_sound(file: Path) -> None:
    steps = parse(file)
    assert {i.name for i in steps} <= INSTRUCTIONS
    assert steps[0].name == "FROM"
    assert all(i.rest for i in steps)
    stages: list[str] = []
    for words in (i.words for i in steps if i.name == "FROM"):
        assert len(words) in (1, 3)
        assert words[0] in stages or words[0] == "python:3.11-slim"
        stages += words[2:] if words[1:2] == ["AS"] else []
    assert len(stages) == len(set(stages))
    users = [i.words for i in steps if i.name == "USER"]
    assert users
    assert users[-1] not in (["root"], ["0"])
    assert not [i for i in steps if i.name in ("ENV", "ARG") and re.search("PASSWORD|SECRET_KEY|USER_TOKEN", i.rest)]


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda p: p.name)
def test_copied_files_exist_and_are_not_ignored(file: Path) -> None:
    rules = [r for r in file.with_name(f"{file.name}.dockerignore").read_text().splitlines() if r and r[0] != "#"]
    copied = [source for i in parse(file) if i.name == "COPY" for source in i.words[:-1]]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert not ignored(source, rules), source


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda p: p.name)
@pytest.mark.parametrize(
    "path",
    [
        "docker/.env", ".env", "data/secret.key", "data/shoptalk.db", "data/models", ".git/config", ".venv/bin/python",
        ".venv-label-studio", "shoptalk.toml", "tests/conftest.py", "shoptalk/secret.key", "chatbot/.env",
    ],
)  # fmt: skip
def test_secrets_and_data_stay_out(file: Path, path: str) -> None:
    rules = [r for r in file.with_name(f"{file.name}.dockerignore").read_text().splitlines() if r and r[0] != "#"]
    assert ignored(path, rules)


def ignored(path: str, rules: list[str]) -> bool:
    """Return whether Docker ignores a path: the last rule that fits the path, or a folder above it, counts."""
    out = False
    above = [str(p) for p in (Path(path), *Path(path).parents) if str(p) != "."]
    for rule in rules:
        keep, pattern = rule.startswith("!"), rule.lstrip("!")
        anywhere = pattern.removeprefix("**/")
        fits = any(
            fnmatch.fnmatchcase(name, pattern)
            or (anywhere != pattern and fnmatch.fnmatchcase(Path(name).name, anywhere))
            for name in above
        )
        if fits:
            out = not keep
    return out


def test_every_package_is_in_the_image() -> None:
    copied = {source for i in parse(DOCKER / "Dockerfile") if i.name == "COPY" for source in i.words[:-1]}
    packages = {p.parent.name for p in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert packages <= copied


def test_the_api_has_the_routes_of_the_health_checks() -> None:
    paths = {getattr(route, "path", None) for route in health.router.routes}
    assert {"/healthz", "/readyz", "/metrics"} <= paths
