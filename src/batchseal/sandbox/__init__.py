"""A stand-in for the remote signing service: tokens, a three-level CA and CSC v1, on loopback, in a process of its own.

It signs for whoever stands in the client services file. Its certificates are worth nothing outside: trust `root.pem` in
tests only. It behaves well; misbehaviour is the business of test doubles.
"""
