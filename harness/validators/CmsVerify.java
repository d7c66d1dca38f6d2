import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.Security;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.cms.Attribute;
import org.bouncycastle.asn1.cms.CMSObjectIdentifiers;
import org.bouncycastle.asn1.ocsp.OCSPResponse;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x509.ExtendedKeyUsage;
import org.bouncycastle.asn1.x509.KeyPurposeId;
import org.bouncycastle.cert.X509CRLHolder;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.ocsp.BasicOCSPResp;
import org.bouncycastle.cert.ocsp.CertificateStatus;
import org.bouncycastle.cert.ocsp.OCSPResp;
import org.bouncycastle.cert.ocsp.SingleResp;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.SignerId;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.ContentVerifierProvider;
import org.bouncycastle.operator.DigestCalculatorProvider;
import org.bouncycastle.operator.jcajce.JcaContentVerifierProviderBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.tsp.TimeStampToken;
import org.bouncycastle.util.Selector;
import org.bouncycastle.util.Store;

/**
 * Judges CMS signatures of levels up to LTA with Bouncy Castle. Each line of standard input is a file, a tab, and the file that was
 * signed if the signature is detached. Prints for each the file and eight fields, separated by tabs: the signature's verdict, the
 * numbers of certificates, CRLs and OCSP responses in SignedData, the verdicts on the signature time stamp (its signer and its
 * imprint) and on the archive time stamp (its signer alone), "true", "false" or "none"; the signature algorithm; and what is missing
 * of the material, separated by semicolons. A file that cannot be read has "FAIL" and the reason.
 */
public final class CmsVerify {
    static final ASN1ObjectIdentifier ARCHIVE = new ASN1ObjectIdentifier("0.4.0.1733.2.4"); // EN 319 122-1 5.5.3

    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        StringBuilder out = new StringBuilder();
        for (String line; (line = lines.readLine()) != null;) {
            String[] parts = line.split("\t", -1);
            out.append(parts[0]).append('\t');
            try {
                out.append(report(Files.readAllBytes(Path.of(parts[0])), parts[1]));
            } catch (Throwable problem) {
                out.append("FAIL\t").append(String.valueOf(problem).replaceAll("\\s+", " "));
            }
            out.append('\n');
        }
        System.out.write(out.toString().getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }

    static String report(byte[] signed, String content) throws Exception {
        CMSSignedData data = content.isEmpty()
            ? new CMSSignedData(signed)
            : new CMSSignedData(new CMSProcessableByteArray(Files.readAllBytes(Path.of(content))), signed);
        SignerInformation signer = only(data.getSignerInfos().getSigners());
        Collection<X509CertificateHolder> certificates = data.getCertificates().getMatches(null);
        X509CertificateHolder leaf = named(data.getCertificates(), signer.getSID());
        Collection<X509CRLHolder> crls = data.getCRLs().getMatches(null);
        List<BasicOCSPResp> responses = new ArrayList<>();
        for (Object one : data.getOtherRevocationInfo(CMSObjectIdentifiers.id_ri_ocsp_response).getMatches(null))
            responses.add((BasicOCSPResp) new OCSPResp(OCSPResponse.getInstance((ASN1Encodable) one)).getResponseObject());
        List<X509CertificateHolder> known = new ArrayList<>(certificates);
        List<X509CertificateHolder> leaves = new ArrayList<>(List.of(leaf));
        String stamp = "none", archive = "none";
        TimeStampToken token = token(signer, PKCSObjectIdentifiers.id_aa_signatureTimeStampToken);
        if (token != null) {
            MessageDigest digest = MessageDigest.getInstance(token.getTimeStampInfo().getMessageImprintAlgOID().getId());
            boolean about = MessageDigest.isEqual(
                digest.digest(signer.getSignature()), token.getTimeStampInfo().getMessageImprintDigest());
            stamp = String.valueOf(about && isValid(token));
            known.addAll(token.getCertificates().getMatches(null));
            leaves.add(named(token.getCertificates(), token.getSID()));
        }
        if ((token = token(signer, ARCHIVE)) != null) archive = String.valueOf(isValid(token));
        boolean valid = signer.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(leaf));
        List<String> lacking = new ArrayList<>();
        for (X509CertificateHolder one : leaves) lacking(one, known, crls, responses, lacking);
        return String.join("\t", String.valueOf(valid), String.valueOf(certificates.size()), String.valueOf(crls.size()),
            String.valueOf(responses.size()), stamp, archive, signer.getEncryptionAlgOID(), String.join(";", lacking));
    }

    static TimeStampToken token(SignerInformation signer, ASN1ObjectIdentifier type) throws Exception {
        Attribute found = signer.getUnsignedAttributes() == null ? null : signer.getUnsignedAttributes().get(type);
        if (found == null) return null;
        return new TimeStampToken(new CMSSignedData(found.getAttrValues().getObjectAt(0).toASN1Primitive().getEncoded()));
    }

    /** Whether the token is signed by the certificate that it names, which is for time stamps. */
    static boolean isValid(TimeStampToken token) throws Exception {
        X509CertificateHolder authority = named(token.getCertificates(), token.getSID());
        if (!isFor(authority, KeyPurposeId.id_kp_timeStamping)) return false;
        return token.isSignatureValid(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(authority));
    }

    /** Adds what is missing between a certificate and its root: an issuer, or an answer that it was not revoked. */
    static void lacking(X509CertificateHolder from, Collection<X509CertificateHolder> known, Collection<X509CRLHolder> crls,
            Collection<BasicOCSPResp> responses, List<String> lacking) throws Exception {
        for (X509CertificateHolder at = from; !at.getSubject().equals(at.getIssuer());) {
            X509CertificateHolder issuer = null;
            for (X509CertificateHolder one : known)
                if (one.getSubject().equals(at.getIssuer()) && at.isSignatureValid(verifier(one))) issuer = one;
            if (issuer == null) {
                lacking.add("the issuer of " + at.getSubject());
                return;
            }
            boolean answered = false;
            for (BasicOCSPResp one : responses) answered |= isGood(one, at, issuer, known);
            for (X509CRLHolder one : crls)
                answered |= one.getIssuer().equals(issuer.getSubject()) && one.isSignatureValid(verifier(issuer))
                    && one.getRevokedCertificate(at.getSerialNumber()) == null;
            if (!answered) lacking.add("an answer about " + at.getSubject());
            at = issuer;
        }
    }

    /** Whether the response says that the certificate is good, signed by its issuer or by a responder of the issuer (RFC 6960). */
    static boolean isGood(BasicOCSPResp response, X509CertificateHolder about, X509CertificateHolder issuer,
            Collection<X509CertificateHolder> known) throws Exception {
        DigestCalculatorProvider digests = new JcaDigestCalculatorProviderBuilder().setProvider("BC").build();
        for (SingleResp one : response.getResponses()) {
            if (!one.getCertID().getSerialNumber().equals(about.getSerialNumber())) continue;
            if (!one.getCertID().matchesIssuer(issuer, digests) || one.getCertStatus() != CertificateStatus.GOOD) continue;
            if (response.isSignatureValid(verifier(issuer))) return true;
            for (X509CertificateHolder responder : known)
                if (isFor(responder, KeyPurposeId.id_kp_OCSPSigning) && responder.isSignatureValid(verifier(issuer))
                    && response.isSignatureValid(verifier(responder))) return true;
        }
        return false;
    }

    static boolean isFor(X509CertificateHolder certificate, KeyPurposeId purpose) {
        ExtendedKeyUsage usage = ExtendedKeyUsage.fromExtensions(certificate.getExtensions());
        return usage != null && usage.hasKeyPurposeId(purpose);
    }

    static ContentVerifierProvider verifier(X509CertificateHolder certificate) throws Exception {
        return new JcaContentVerifierProviderBuilder().setProvider("BC").build(certificate);
    }

    @SuppressWarnings("unchecked")
    static X509CertificateHolder named(Store<X509CertificateHolder> certificates, SignerId name) {
        return only(certificates.getMatches((Selector<X509CertificateHolder>) (Selector<?>) name));
    }

    static <T> T only(Collection<T> found) {
        if (found.size() != 1) throw new IllegalArgumentException(found.size() + " in place of one");
        return found.iterator().next();
    }
}
