"""The commands of the command line, one file each. Each has `run(arguments)`, which returns the process's exit code."""
