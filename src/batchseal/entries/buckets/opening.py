"""Opens the prefixes of a client service. The client for objects is loaded with the first request."""

from batchseal.entries.buckets.names import PrefixName
from batchseal.entries.buckets.place import BucketPlace
from batchseal.payloads.stores import prefix_beside
from batchseal.settings.load import Settings


def bucket_place(settings: Settings, input: PrefixName, output: PrefixName, backup: PrefixName) -> BucketPlace:
    """Nothing is asked of the store yet. Raises ConfigurationError."""
    sources, results, originals = (
        prefix_beside(settings, one.bucket, one.prefix, str(one))[0] for one in (input, output, backup)
    )
    return BucketPlace(sources, results, originals, settings.temp_folder, settings.hot_folder_threshold)
