"""The parts of `batchseal operations`: the filter that its flags make, what it prints, and what is held after a restore."""
