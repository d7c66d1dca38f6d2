import java.io.*;
import java.security.PublicKey;
import java.security.cert.*;
import javax.xml.crypto.dsig.*;
import javax.xml.crypto.dsig.dom.DOMValidateContext;
import javax.xml.parsers.*;
import org.w3c.dom.*;

/** Verifies every XML signature of the files that standard input names, each line a certificate, a tab, a file. */
public class XmlVerify {
    static final String XADES = "http://uri.etsi.org/01903/v1.3.2#";

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line; (line = lines.readLine()) != null; ) {
            String[] parts = line.split("\t");
            String verdicts;
            try {
                verdicts = verify(key(parts[0]), new File(parts[1]));
            } catch (Exception problem) {
                verdicts = "FAIL " + String.valueOf(problem).replaceAll("\\s+", " ");
            }
            System.out.println(parts[1] + "\t" + verdicts);
        }
    }

    static PublicKey key(String path) throws Exception {
        try (InputStream file = new FileInputStream(path)) {
            return CertificateFactory.getInstance("X.509").generateCertificate(file).getPublicKey();
        }
    }

    /** "true" or "false" for each signature, in the order of the document. */
    static String verify(PublicKey key, File file) throws Exception {
        DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
        factory.setNamespaceAware(true);
        NodeList signatures = factory.newDocumentBuilder().parse(file).getElementsByTagNameNS(XMLSignature.XMLNS, "Signature");
        StringBuilder verdicts = new StringBuilder();
        for (int at = 0; at < signatures.getLength(); at++) {
            DOMValidateContext context = new DOMValidateContext(key, signatures.item(at));
            NodeList named = ((Element) signatures.item(at)).getElementsByTagNameNS(XADES, "SignedProperties");
            for (int i = 0; i < named.getLength(); i++) context.setIdAttributeNS((Element) named.item(i), null, "Id");
            XMLSignature signature = XMLSignatureFactory.getInstance("DOM").unmarshalXMLSignature(context);
            verdicts.append(at == 0 ? "" : " ").append(signature.validate(context));
        }
        return verdicts.toString();
    }
}
