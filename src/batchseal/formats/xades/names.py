"""Namespaces and algorithm identifiers of XML signatures (XMLDSig 1.1, RFC 6931, ETSI EN 319 132-1)."""

DS = "http://www.w3.org/2000/09/xmldsig#"
XADES = "http://uri.etsi.org/01903/v1.3.2#"
XADES_141 = "http://uri.etsi.org/01903/v1.4.1#"
SIGNED_PROPERTIES = "http://uri.etsi.org/01903#SignedProperties"

EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
EXCLUSIVE_WITH_COMMENTS = EXCLUSIVE + "WithComments"
ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"
XPATH2_FILTER = "http://www.w3.org/2002/06/xmldsig-filter2"

# Both leave out every signature of the document, so that signatures do not cover each other.
XPATH_EXPRESSION = "not(ancestor-or-self::ds:Signature)"
XPATH2_FILTER_EXPRESSION = "/descendant::ds:Signature"

# A reference to the whole document. The first form leaves comments out, whatever the transforms say (XMLDSig 4.4.3.3).
WHOLE_DOCUMENT = ""
WHOLE_DOCUMENT_WITH_COMMENTS = "#xpointer(/)"

DIGESTS = {
    "sha1": "http://www.w3.org/2000/09/xmldsig#sha1",  # only of a signature policy, whose publisher has chosen it
    "sha256": "http://www.w3.org/2001/04/xmlenc#sha256",
    "sha384": "http://www.w3.org/2001/04/xmldsig-more#sha384",
    "sha512": "http://www.w3.org/2001/04/xmlenc#sha512",
}


def signature_method(key_type: str, scheme: str, digest_algorithm: str) -> str:
    """The identifier of a signature algorithm (RFC 6931 2.3); the arguments are fields of a Credential."""
    if scheme == "pss":  # its salt is as long as the digest, as in `algorithms.pss_parameters`
        return f"http://www.w3.org/2007/05/xmldsig-more#{digest_algorithm}-rsa-MGF1"
    name = {"rsa": "rsa", "ec": "ecdsa"}[key_type]
    return f"http://www.w3.org/2001/04/xmldsig-more#{name}-{digest_algorithm}"
