import com.itextpdf.text.ExceptionConverter;
import com.itextpdf.text.pdf.AcroFields;
import com.itextpdf.text.pdf.PdfArray;
import com.itextpdf.text.pdf.PdfDictionary;
import com.itextpdf.text.pdf.PdfName;
import com.itextpdf.text.pdf.PdfReader;
import com.itextpdf.text.pdf.security.PdfPKCS7;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.GeneralSecurityException;
import java.security.NoSuchAlgorithmException;
import java.security.Security;
import org.bouncycastle.jce.provider.BouncyCastleProvider;

/**
 * Reads file names from standard input. For each prints "FILE name pages rebuilt" and, per signature, "SIG field covers verifies
 * revision revisions" (verifies: true, false or unknown, the algorithm being none of iText's), or "FAIL name reason"; fields are separated by tabs. "rebuilt" tells that iText refused the xref as it stands.
 */
public final class ITextVerify {
    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        BufferedReader names = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        StringBuilder out = new StringBuilder();
        for (String name; (name = names.readLine()) != null;) {
            try {
                out.append(report(name));
            } catch (Throwable problem) {
                out.append("FAIL\t").append(name).append('\t').append(String.valueOf(problem).replaceAll("\\s+", " ")).append('\n');
            }
        }
        System.out.write(out.toString().getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }

    private static String verifies(PdfReader reader, byte[] file, String field) {
        try {
            AcroFields fields = reader.getAcroFields();
            boolean good = reader.isEncrypted() ? verifiesAsItStands(fields, file, field) : fields.verifySignature(field).verify();
            return String.valueOf(good);
        } catch (ExceptionConverter wrapped) {
            return wrapped.getException() instanceof NoSuchAlgorithmException ? "unknown" : "false";
        } catch (GeneralSecurityException | RuntimeException problem) {
            return "false";
        }
    }

    /** iText's own way decrypts /Contents, which is never encrypted (ISO 32000-2 7.6.2), so it takes no signature of an encrypted file. */
    private static boolean verifiesAsItStands(AcroFields fields, byte[] file, String field) throws GeneralSecurityException {
        PdfDictionary signature = fields.getSignatureDictionary(field);
        byte[] contents = signature.getAsString(PdfName.CONTENTS).getOriginalBytes();
        PdfPKCS7 signed = new PdfPKCS7(contents, signature.getAsName(PdfName.SUBFILTER), null);
        PdfArray range = signature.getAsArray(PdfName.BYTERANGE);
        for (int at = 0; at < range.size(); at += 2) {
            signed.update(file, range.getAsNumber(at).intValue(), range.getAsNumber(at + 1).intValue());
        }
        return signed.verify();
    }

    private static String report(String name) throws Exception {
        byte[] file = Files.readAllBytes(Paths.get(name));
        PdfReader reader = new PdfReader(file);
        try {
            AcroFields fields = reader.getAcroFields();
            StringBuilder lines = new StringBuilder();
            lines.append(String.format("FILE\t%s\t%d\t%b%n", name, reader.getNumberOfPages(), reader.isRebuilt()));
            for (String field : fields.getSignatureNames()) {
                lines.append(String.format("SIG\t%s\t%b\t%s\t%d\t%d%n", field, fields.signatureCoversWholeDocument(field),
                    verifies(reader, file, field), fields.getRevision(field), fields.getTotalRevisions()));
            }
            return lines.toString();
        } finally {
            reader.close();
        }
    }
}
