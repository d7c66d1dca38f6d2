"""The link to the service that holds the keys: digests go out, verified signatures come back.

`interface` says what the pipeline sees (`Upstream`) and what a provider implements (`SigningService`); `remote` is the one
`Upstream`, over `lane` (calls of one credential) and `verify`; `csc` speaks CSC v1 over `transport` and `tokens`; `probe`
judges foreign bearer tokens.
"""
