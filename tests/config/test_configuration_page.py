"""docs/configuration.md lists every setting there is, as the code has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ottla.config.settings import SETTINGS, UNIT_ROWS
from ottla.config.topic_settings import INERT_SETTINGS, TOPIC_SETTINGS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize("key", [*SETTINGS, *UNIT_ROWS, *TOPIC_SETTINGS, *INERT_SETTINGS])
def test_every_setting_is_documented(key: str) -> None:
    assert f"| `{key}` |" in PAGE


def test_page_is_fresh() -> None:
    script = ROOT / "scripts" / "generate_configuration_page.py"

    done = subprocess.run(
        [sys.executable, script, "--check"], check=False, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")
