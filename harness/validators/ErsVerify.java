import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.Security;
import java.util.Date;
import org.bouncycastle.asn1.tsp.ArchiveTimeStamp;
import org.bouncycastle.asn1.tsp.EvidenceRecord;
import org.bouncycastle.asn1.tsp.PartialHashtree;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.DigestCalculatorProvider;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.tsp.ers.ERSByteData;
import org.bouncycastle.tsp.ers.ERSEvidenceRecord;
import org.bouncycastle.util.encoders.Hex;

/**
 * Judges evidence records (RFC 4998) with Bouncy Castle. Each line of standard input is a record, a tab, and the document that it
 * is about. Prints for each the record and four fields, separated by tabs: whether the record is about the document, whether its
 * time stamp has the signature of the certificate in it, the number of lists in its reduced tree, and what was stamped. A record
 * that cannot be read has "FAIL" and the reason.
 */
public final class ErsVerify {
    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        StringBuilder out = new StringBuilder();
        for (String line; (line = lines.readLine()) != null;) {
            String[] parts = line.split("\t", -1);
            out.append(parts[0]).append('\t');
            try {
                out.append(report(Files.readAllBytes(Path.of(parts[0])), Files.readAllBytes(Path.of(parts[1]))));
            } catch (Throwable problem) {
                out.append("FAIL\t").append(String.valueOf(problem).replaceAll("\\s+", " "));
            }
            out.append('\n');
        }
        System.out.print(out);
    }

    static String report(byte[] encoded, byte[] document) throws Exception {
        DigestCalculatorProvider digests = new JcaDigestCalculatorProviderBuilder().build();
        ERSEvidenceRecord record = new ERSEvidenceRecord(encoded, digests);
        boolean present = record.isContaining(new ERSByteData(document), new Date());
        X509CertificateHolder certificate = record.getSigningCertificate();
        boolean stamped = true;
        try {
            record.validate(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(certificate));
        } catch (Exception problem) {
            stamped = false;
        }
        ArchiveTimeStamp first = EvidenceRecord.getInstance(encoded).getArchiveTimeStampSequence()
            .getArchiveTimeStampChains()[0].getArchiveTimestamps()[0];
        PartialHashtree[] reduced = first.getReducedHashTree();
        int lists = reduced == null ? 0 : reduced.length;
        return present + "\t" + stamped + "\t" + lists + "\t" + Hex.toHexString(record.getPrimaryRootHash());
    }
}
