"""A replacement for the remote signing service, for demonstrations and tests. It runs on loopback, in a process of its own.

Owns a token endpoint, a certification authority of three levels, CSC v1, and a time stamp authority. It signs for every client
service in the configuration file. Its certificates prove nothing: trust its `root.pem` in tests only. It behaves as the standards
say; servers that misbehave are left to the tests.

    __main__     the command line                    authority    keys and certificates
    server       the HTTP endpoints                  grants       bearer tokens and CSC's SAD
    timestamps   the answers of the time stamp authority (RFC 3161)
"""
