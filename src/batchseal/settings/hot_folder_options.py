"""The settings about hot folders. `options.py` has the rest, `hot_folders.py` what a client service says of its folders."""

from dataclasses import dataclass

from batchseal.settings.declaration import VENDOR, option
from batchseal.settings.operator_options import OperatorOptions


# Only Settings is made. What a base would generate beside its fields costs memory in the health probe of a container.
@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False, match_args=False)
class HotFolderOptions(OperatorOptions):
    """Everything about hot folders, on top of the settings about the payload store."""

    hot_folder_enabled: bool = option(
        False,
        "sign files that appear in the inputFolder of a client service; the signed files go to its outputFolder",
        dotted="hot.folder.enabled",
        group="hot folder",
    )
    hot_folder_threshold: int = option(
        1000,
        "number of ready files from which on a folder is worked on at the times of --hot-folder-cron; also the most files that "
        "one operation takes",
        dotted=VENDOR + "hot.folder.documents.processing.threshold",
        group="hot folder",
    )
    hot_folder_cron: str = option(
        "0 0/5 * * * ?",
        "when folders are worked on that hold --hot-folder-threshold ready files: second, minute, hour, day of the month, month, "
        "day of the week, in the time zone of the service",
        dotted=VENDOR + "scheduler.task.processHotFoldersByDocumentThreshold.cron-expression",
        group="hot folder",
    )
    hot_folder_lock_minutes: int = option(
        1440,
        "accepted without effect: the service keeps no locks that would have to run out",
        dotted=VENDOR + "scheduler.task.handleSignatureTasks.lock-time",
        group="hot folder",
    )
    hot_folder_flush: int = option(
        300,
        "seconds after the oldest waiting file came in which all ready files of its folder are signed, however few; 0: off. If "
        "--hot-folder-cron is set and this is not, it happens at the times of --hot-folder-cron only",
        group="hot folder",
    )
    hot_folder_look: float = option(2.0, "seconds between two looks into the folders", group="hot folder")
    hot_folder_ready: str = option(
        "still",
        "when a file is ready: still (size and times are the same in two looks), done (an empty file with .done behind its name "
        "lies beside it), rename (as soon as it has a name that is not ignored)",
        group="hot folder",
        choices=("still", "done", "rename"),
    )
    hot_folder_ignore: str = option(
        ".* ~$* *~ *.tmp *.part *.filepart Thumbs.db desktop.ini",
        "names of files and folders that are left alone, separated by spaces; * stands for any characters, ? for one",
        group="hot folder",
    )
    hot_folder_unfinished: int = option(
        600,
        "seconds for which a PDF without its end, an XML document that stops early, and a file with holes are waited for before "
        "they are refused",
        group="hot folder",
    )
    hot_folder_failure: str = option(
        "{name}.txt",
        "name of the text that says why a file was not signed; {name} stands for the name of the file",
        group="hot folder",
    )
    hot_folder_mode: str = option(
        "0664",
        "permissions of results and of texts about failures, in octal digits; originals keep theirs",
        group="hot folder",
    )
    hot_folder_output_days: int = option(
        0, "days after which files are removed from output folders; 0: never", group="hot folder"
    )
    hot_folder_backup_days: int = option(
        0, "days after which files are removed from backup folders; 0: never", group="hot folder"
    )
