"""A replacement for the remote signing service, for demonstrations and tests. It runs on loopback, in a process of its own.

Owns a token endpoint, a certification authority of three levels, CSC v1, a time stamp authority, an OCSP responder and CRLs. It
signs for every client service in the configuration file. Its certificates prove nothing: trust its `root.pem` in tests only. It
behaves as the standards say; servers that misbehave are left to the tests.

    __main__      the command line                  authority     keys and certificates, and their folder
    server        the HTTP endpoints                certificates  the form of certificates
    grants        bearer tokens and CSC's SAD       register      which certificates are issued, and which are revoked
    timestamps    time stamp tokens (RFC 3161)      status        OCSP answers (RFC 6960) and CRLs (RFC 5280)

To revoke a certificate, write its name or serial number into `revoked.txt` in the folder (`register` has the form). The signing
service is not told: a revoked key goes on to sign, so that it shows who asks for the status. `GET /sandbox/requests` tells how
often it was asked for, by serial number and by issuer, and how many signatures were given, by credential:
`{"ocsp": {"4A7F00C2": 1}, "crl": {"intermediate": 2}, "issuers": {}, "signatures": {"sandbox-client": 2500}}`.
"""
