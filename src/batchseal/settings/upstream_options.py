"""The settings about the signing service, time stamps and validation material. `options.py` has the others."""

from dataclasses import dataclass

from batchseal.settings.declaration import VENDOR, option, upstream


# Only Settings is made. What a base would generate beside its fields costs memory in the health probe of a container.
@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False, match_args=False)
class UpstreamOptions:
    """Everything about those who are asked for something over the network."""

    service_domain: str = option(
        "",
        "address of the signing service; empty: the built-in sandbox signs, for tests only, and not for client services of "
        "yours unless --sandbox says so",
        dotted=VENDOR + "service.domain",
        group="upstream",
    )
    proxy_hostname: str = option(
        "",
        "host name of the HTTP proxy for outgoing requests; empty: no proxy",
        dotted=VENDOR + "rest.provider.proxy.hostname",
        group="upstream",
    )
    proxy_port: int = option(0, "port of that proxy", dotted=VENDOR + "rest.provider.proxy.port", group="upstream")
    proxy_user: str = upstream("", "user name for that proxy", dotted=VENDOR + "rest.provider.proxy.username")
    proxy_password: str = upstream(
        "",
        "password for that proxy; better set by an environment variable than by a flag",
        dotted=VENDOR + "rest.provider.proxy.password",
        secret=True,
    )
    no_proxy: str = upstream(
        "", "hosts and domains that are reached without the proxy, separated by commas", variable="NO_PROXY"
    )
    ca_bundle: str = upstream("", "PEM file with the certificate authorities to trust, instead of those of the system")
    client_certificate: str = upstream(
        "", "PEM file with a certificate and its key, for a signing service that asks its clients for one"
    )
    upstream_url: str = upstream(
        "",
        "where signatures come from: https://..., pkcs12:FILE or pkcs11:...; empty: from --service-domain",
        dotted="upstream.url",
    )
    upstream_protocol: str = upstream(
        "auto",
        "version of the CSC API; auto: the signing service is asked which one it has",
        dotted="upstream.protocol",
        choices=("auto", "csc1", "csc2"),
    )
    upstream_digests: str = upstream(
        "base64", "how digests are encoded in requests to the signing service", choices=("base64", "urlencoded")
    )
    upstream_pss: bool = upstream(False, "sign with RSASSA-PSS if the credential offers it", dotted="upstream.pss")
    upstream_allow_http: bool = upstream(
        False, "allow a signing service without TLS on another machine", dotted="upstream.allow-http"
    )
    upstream_tries: int = upstream(5, "how often a document is sent to the signing service before it fails")
    upstream_timeout: int = upstream(
        60, "seconds that a call to the signing service may take, in addition to the time for its documents"
    )
    upstream_patience: int = upstream(
        86_400, "seconds for which the signing service may be out of reach before documents fail"
    )
    timestamp_urls: str = upstream(
        "",
        "addresses of time stamp authorities (RFC 3161), the preferred one first, separated by spaces; a limit may follow each: "
        "https://tsa.example/;20/1200 allows 20 requests in 1,200 seconds",
        dotted="timestamp.urls",
    )
    timestamp_roots: str = upstream(
        "",
        "PEM file with the root certificates that time stamps must lead to; empty: --ca-bundle, or those of the system",
    )
    check_revocation: bool = upstream(
        False,
        "before anything is signed, ask whether the signer's certificate was revoked, at levels B and T too; at LT and LTA it "
        "always is",
        dotted="check.revocation",
    )
    revocation_max_age: int = upstream(
        24, "hours after which an answer about a certificate is asked for again, if it does not end earlier itself"
    )
    revocation_private_hosts: str = upstream(
        "",
        "hosts with private addresses that may be asked about certificates, separated by spaces; others are asked only at "
        "public addresses, since whoever makes a certificate chooses the hosts that it names",
    )
    crl_embed_bytes: int = upstream(
        256 << 10,
        "largest list of revoked certificates (CRL) that a document of level LT or LTA takes in, in bytes; larger ones are used, "
        "but such a document fails",
    )
    signer_roots: str = upstream(
        "",
        "PEM file with the root certificates that signers' certificates must lead to before anybody is asked about them; empty: "
        "--ca-bundle, or those of the system",
    )
