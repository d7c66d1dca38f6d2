"""Facts about signature algorithms that both the formats and the signing services use."""

from asn1crypto import algos

# The digest algorithms that a credential may use, and the length of their digests in bytes.
DIGEST_BYTES = {"sha256": 32, "sha384": 48, "sha512": 64}


def pss_parameters(digest_name: str) -> algos.RSASSAPSSParams:
    """The parameters of RSASSA-PSS (RFC 4055 3.1): this digest, MGF1 with the same digest, and a salt as long as the digest."""
    algorithm = {"algorithm": digest_name}
    return algos.RSASSAPSSParams(
        {
            "hash_algorithm": algorithm,
            "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": algorithm},
            "salt_length": DIGEST_BYTES[digest_name],
        }
    )
