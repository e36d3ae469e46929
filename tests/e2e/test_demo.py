"""The demo, in its quick form: the whole loop on real parts, with a real Label Studio."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shoptalk.processes.sockets import free_port
from tests.e2e.stack import LABEL_STUDIO, ROOT, models_folder, need

pytestmark = [pytest.mark.slow, pytest.mark.label_studio, pytest.mark.timeout(1500)]


def test_the_whole_loop(tmp_path: Path) -> None:
    need((LABEL_STUDIO / "bin" / "label-studio").exists(), "Label Studio is not installed; run 'make label-studio'")
    models = models_folder()
    summary = tmp_path / "summary.json"
    environment = {**os.environ, "SHOPTALK_MODELS": str(models), "SHOPTALK_PORT": str(free_port())}
    command = [sys.executable, "-m", "shoptalk.cli", "demo", "--quick"]
    command += ["--summary", str(summary), "--folder", str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, timeout=1400, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(summary.read_text())
    assert found["conversations"] >= 120
    assert found["turns_stored"] >= 2 * found["conversations"]
    assert sum(found["pii_removed"].values()) > 50
    assert found["tasks_pushed"] >= 100
    assert found["annotations_pulled"] >= 100
    assert found["adapter"] == "shop@v1"
    assert found["gate"]["verdict"] == "promote"
    assert found["holdout"]["conversations"] >= 30
    assert found["holdout"]["loss_candidate"] <= 0.75 * found["holdout"]["loss_base"]
    assert found["swap"] == {"requests": 40, "errors": 0, "mixed": 0}
    assert found["drift"]["after"]["p_value"] < 0.01
    report = Path(found["drift"]["report"]).read_text()
    assert "<html" in report.lower()
    assert set(found["seconds"]) == {"start", "chat", "label", "learn", "swap", "watch", "total"}
