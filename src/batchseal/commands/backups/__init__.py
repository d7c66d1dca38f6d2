"""What a backup is: a folder with a dump of the database, all payloads that it names, and a manifest with checksums.

    manifest.json     written last: a folder without it is no backup
    database.dump.zst what pg_dump writes, of one snapshot
    payloads.jsonl    one line for each payload: its operation, its record, its length, its checksum
    payloads.bin      the payloads, one behind the other, in the order of the lines

`taking.py` makes one of a service that may run, `restoring.py` puts one into an empty folder. Keys and files of client services
are not part of it. An interrupted command leaves no files of a backup; a folder that was half restored says so, and no service
starts in it.
"""
