"""The link to the service that holds the keys: digests go out, verified signatures come back.

`interface` says what the pipeline sees (`Upstream`) and what a provider implements (`SigningService`); `remote` is the one
`Upstream`, over `lane` (calls of one credential), `breaker` and `verify`. Providers: `csc` speaks CSC v1 and v2 over
`transport`, `tokens` and `grants`; `local` signs with PKCS#12 files and PKCS#11 tokens. Beside them `timestamps` asks RFC 3161
authorities, `probe` judges foreign bearer tokens, `remarks` says what an operator should know.
"""
