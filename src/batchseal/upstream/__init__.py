"""The connection to the signing service, which holds the private keys: digests go out, verified signatures come back.

Owns every call to the signing service and to the time stamp authorities. Promises that every signature and every time stamp was
verified before it leaves this package. Leaves to others which digests must be signed, and where the signatures are stored.

    interface                `Upstream`, which the pipeline uses, and `SigningService`, which each provider implements
    remote, state, watch     the only `Upstream`; its state for operators; warnings in the log
    accounts, tokens, probe  for whom a call is made; bearer tokens; checks of bearer tokens that callers bring
    lane, breaker, verify    batches and retries of sign calls; no calls while the service is down; verification
    grants, waiting          the permission that each sign call needs; answers that come later
    csc, wire, keys          the provider that speaks CSC v1 and v2
    transport, answers       HTTP; failed calls as typed errors
    local, pkcs11, pkcs11_process   the provider with keys on this machine: PKCS#12 files and PKCS#11 tokens
    timestamps, trust        time stamp authorities (RFC 3161); the roots that they and signers must lead to
    revocation               whether certificates were revoked, and validation material
    ocsp, crl                which OCSP answers (RFC 6960) and lists of revoked certificates (RFC 5280) count
    certification_path       the certificates between a signer and a root
    inquiry, places, public_hosts   requests to the places that certificates name; which places; which of them are public
    remarks                  what an operator should know about a certificate
"""
