"""Where the documents of an operation are stored between its request and its result.

A payload is written once, by one writer, then read many times, then deleted. `interface` is what every store implements; `local`
keeps payloads as files in a folder. A payload is a sequence of frames (`frames`), whatever store it lies in, and `records` says
what the frames hold beside the documents themselves.

What comes after a payload was committed never changes it. Signatures and time stamps stand in the database. Documents that are
prepared later go into a further payload of the same operation, and `operation` reads all payloads of an operation as one.
"""
