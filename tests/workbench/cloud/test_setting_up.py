"""The setup names what is missing, taken or wrong in one line, before it starts anything."""

import fcntl
import os
import string
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from workbench.cli.app import app
from workbench.cloud import emulated_stack, interpreter
from workbench.cloud.emulator import check_port, emulator
from workbench.cloud.errors import CloudError
from workbench.cloud.gateway import without_punctuation
from workbench.cloud.processes import run_command
from workbench.servers.loopback import listen

RUN = CliRunner()
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def fake_python(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


def test_a_missing_emulator_is_one_line(tmp_path):
    done = RUN.invoke(app, ["cloud", "--out", str(tmp_path), "--python", str(tmp_path / "none")])
    assert done.exit_code == 1
    assert done.stderr == f"scalper: {tmp_path / 'none'} is missing: make cloud sets it up\n"


def test_a_used_port_is_one_line(tmp_path):
    taken = listen(0)
    port = str(taken.getsockname()[1])
    with taken:
        taken.listen()
        done = RUN.invoke(
            app, ["cloud", "--out", str(tmp_path), "--python", sys.executable, "--port", port]
        )
        with pytest.raises(CloudError, match=f"port {port}: "):
            check_port(int(port))
    assert done.exit_code == 1
    assert done.stderr.startswith(f"scalper: port {port}: ")
    assert done.stderr.count("\n") == 1


def test_a_second_run_in_the_same_folder_is_refused(tmp_path):
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = RUN.invoke(app, ["cloud", "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert "is in use by another run" in done.stderr


def test_an_emulator_that_does_not_start_is_reported_with_its_last_line(tmp_path):
    broken = fake_python(tmp_path / "python", "echo no such module; exit 3")
    with (
        pytest.raises(CloudError, match=r"did not start: no such module \(log: "),
        emulator(broken, clock_url="http://127.0.0.1:1/", folder=tmp_path),
    ):
        pass


def test_a_failed_command_is_reported_with_its_last_lines(tmp_path):
    with pytest.raises(CloudError, match=r"^sam deploy failed: one / two \(log: "):
        run_command(
            "sam deploy",
            ["sh", "-c", "echo one; echo two; exit 1"],
            os.environ,
            cwd=tmp_path,
            log=tmp_path / "log",
            within_s=10,
        )


def test_a_command_that_takes_too_long_is_ended(tmp_path):
    with pytest.raises(CloudError, match="took longer than"):
        run_command(
            "sam", ["sleep", "60"], os.environ, cwd=tmp_path, log=tmp_path / "l", within_s=0.2
        )


def test_the_templates_python_is_found_behind_a_shim_that_does_not_run(tmp_path):
    fake_python(tmp_path / "bin" / "python9.9", "exit 127")
    works = fake_python(tmp_path / "versions" / "9.9.1" / "bin" / "python9.9", "echo 9.9")
    environment = {"PATH": str(tmp_path / "bin"), "PYENV_ROOT": str(tmp_path)}
    assert interpreter.find("9.9", environment) == works
    assert interpreter.find("9.8", environment) is None
    assert interpreter.version_of(Path(sys.executable)) == HERE


def test_every_schedule_has_the_time_zone_that_the_gateway_uses(monkeypatch):
    emulated_stack._check_zones()
    monkeypatch.setattr(emulated_stack, "ZONE", "Europe/London")
    with pytest.raises(CloudError, match="schedules are in"):
        emulated_stack._check_zones()


def test_a_generated_secret_holds_no_punctuation_where_the_template_excludes_it():
    asked = {"PasswordLength": 32, "ExcludePunctuation": True, "ExcludeCharacters": "0"}
    said = without_punctuation({"GenerateSecretString": asked})["GenerateSecretString"]
    assert set(said["ExcludeCharacters"]) == {"0", *string.punctuation}
    kept = {"GenerateSecretString": {"PasswordLength": 32}}
    assert without_punctuation(kept) == kept
    assert without_punctuation({"SecretString": "{}"}) == {"SecretString": "{}"}
