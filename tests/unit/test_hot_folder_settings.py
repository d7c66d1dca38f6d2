"""Settings of hot folders: those of the original with their own names, ours, and what a client service asks of its files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from batchseal.commands.settings_flags import read_settings
from batchseal.errors import ConfigurationError
from batchseal.settings.client_services import ClientService, made_by_sandbox
from batchseal.settings.hot_folders import HotFolder, read_hot_folder
from batchseal.settings.load import Settings, load_settings

PREFIX = "--einvoice-integration-client."
# As the manual of the original writes them.
ORIGINAL = [
    "--hot.folder.enabled=true",
    f"{PREFIX}hot.folder.documents.processing.threshold=250",
    f"{PREFIX}scheduler.task.processHotFoldersByDocumentThreshold.cron-expression=0 0/5 * * * ?",
    f"{PREFIX}scheduler.task.handleSignatureTasks.lock-time=1440",
    "--force.database.recreate=false",
]


def settings_of(*arguments: str) -> Settings:
    return read_settings("serve", "", arguments)


def test_the_parameters_of_the_original_work_unchanged() -> None:
    settings = settings_of(*ORIGINAL)
    assert (settings.hot_folder_enabled, settings.hot_folder_threshold) == (True, 250)
    assert (settings.hot_folder_cron, settings.hot_folder_lock_minutes) == ("0 0/5 * * * ?", 1440)
    assert settings_of(*ORIGINAL) == settings_of(
        "--hot-folder-enabled=true",
        "--hot-folder-threshold=250",
        "--hot-folder-cron=0 0/5 * * * ?",
        "--hot-folder-lock-minutes=1440",
    )


@pytest.mark.parametrize(
    ("flags", "waits_for_cron"),
    [
        ([], False),
        (["--hot-folder-cron=0 0/5 * * * ?"], True),
        (["--hot-folder-cron=0 0/5 * * * ?", "--hot-folder-flush=60"], False),
        (["--hot-folder-flush=60"], False),
    ],
)
def test_a_flush_that_nobody_has_set_waits_for_the_times_that_somebody_has_set(
    flags: list[str], waits_for_cron: bool
) -> None:
    assert settings_of("--hot-folder-enabled=true", *flags).hot_folder_flush_at_cron is waits_for_cron


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--hot-folder-cron=every minute", "--hot-folder-cron"),
        ("--hot-folder-threshold=0", "--hot-folder-threshold"),
        ("--hot-folder-threshold=20000", "--max-documents"),
        ("--hot-folder-look=0", "--hot-folder-look"),
        ("--hot-folder-flush=-1", "--hot-folder-flush"),
        ("--hot-folder-unfinished=-1", "--hot-folder-unfinished"),
        ("--hot-folder-mode=0699", "--hot-folder-mode"),
        ("--hot-folder-mode=0060", "--hot-folder-mode"),
        ("--hot-folder-failure={name}", "--hot-folder-failure"),
        ("--hot-folder-failure=failure.txt", "--hot-folder-failure"),
        ("--hot-folder-failure=errors/{name}.txt", "--hot-folder-failure"),
        ("--hot-folder-ready=soon", "still, done, rename"),
        ("--hot-folder-output-days=-3", "--hot-folder-output-days"),
    ],
)
def test_what_cannot_be_used_is_named(flag: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        settings_of("--hot-folder-enabled=true", flag)
    if "soon" not in flag:
        assert load_settings({}, {}).hot_folder_enabled is False  # and nothing of it is judged while it is off


def read(entry: Mapping[str, Any]) -> HotFolder:
    return HotFolder("in", "backup", "out", *read_hot_folder(entry, ConfigurationError))


def test_the_first_pattern_that_fits_counts() -> None:
    folder = read(
        {
            "signatureInfo": {"reason": "Invoice", "signatureLevel": None},
            "otherTypes": False,
            "patterns": [
                {"path": "contracts/**", "signatureInfo": {"signatureLevel": "LTA"}, "otherTypes": True},
                {"path": "*/*.xml", "signatureInfo": None},
                {"path": "a?b[1].pdf"},
            ],
        }
    )
    for path, level, others in (
        ("fatura.pdf", None, False),
        ("contracts/2026/11/x.pdf", "LTA", True),
        ("contracts", None, False),
        ("2026/x.xml", None, False),
        ("2026/11/x.xml", None, False),
    ):
        asked = folder.asked_of(path)
        assert (asked.info.get("signatureLevel"), asked.other_types) == (level, others), path
    assert folder.asked_of("fatura.pdf").info == {"reason": "Invoice"}
    assert folder.asked_of("2026/x.xml").path == "*/*.xml"
    assert folder.asked_of("2026/11/x.xml").path == ""
    assert folder.asked_of("a_b[1].pdf").path == "a?b[1].pdf"
    assert folder.asked_of("a\nb[1].pdf").path == "a?b[1].pdf"


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"signatureinfo": {}}, "unknown key 'signatureinfo'"),
        ({"signatureInfo": {"level": "T"}}, "unknown key 'level'"),
        ({"signatureInfo": {"signatureLevel": "t"}}, "signatureLevel is not one of B, T, LT, LTA"),
        ({"signatureInfo": {"reason": 7}}, "reason is not a text"),
        ({"signatureInfo": {"applyTimestamp": "yes"}}, "applyTimestamp"),
        ({"signatureInfo": {"advancedSignatureInfo": {"signatureTransform": "X"}}}, "signatureTransform"),
        ({"signatureInfo": {"visibleSignatureInfo": {"area": "wide"}}}, "area"),
        ({"otherTypes": 1}, "otherTypes"),
        ({"patterns": {}}, "patterns"),
        ({"patterns": [{"path": "/abs"}]}, r"patterns\[0\].path"),
        ({"patterns": [{"path": "../up"}]}, r"patterns\[0\].path"),
        ({"patterns": [{"path": "x"}, {"signatureInfo": {}}]}, r"patterns\[1\].path"),
        ([], "hotFolder is not an object"),
    ],
)
def test_a_mistake_is_named(entry: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        read_hot_folder(entry, ConfigurationError)


def test_the_sandbox_does_not_take_a_hot_folder_for_its_own() -> None:
    """Files of an operator would be signed by a key that nobody trusts, because a setting is missing."""
    plain = ClientService("sandbox-client", "secret", folders=("", "", ""))
    assert made_by_sandbox({"sandbox-client": plain})
    assert not made_by_sandbox({"sandbox-client": ClientService("sandbox-client", "s", folders=("in", "", ""))})


def test_a_client_service_without_folders_has_no_hot_folder() -> None:
    assert ClientService("A", "s").hot_folder is None
    assert ClientService("A", "s", folders=("", "", "")).hot_folder is None
    found = ClientService("A", "s", folders=("in", "", str(Path("/out")))).hot_folder
    assert found is not None and found.missing == ["backupFolder"]
