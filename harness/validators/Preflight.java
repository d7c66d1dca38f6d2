import java.io.*;
import java.util.*;
import org.apache.pdfbox.preflight.PreflightDocument;
import org.apache.pdfbox.preflight.ValidationResult.ValidationError;
import org.apache.pdfbox.preflight.exception.SyntaxValidationException;
import org.apache.pdfbox.preflight.parser.PreflightParser;

/** What PDFBox Preflight has against the files that standard input names as PDF/A-1b (ISO 19005-1): a line for each complaint. */
public class Preflight {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String path; (path = lines.readLine()) != null; ) {
            List<ValidationError> found;
            try {
                PreflightParser parser = new PreflightParser(new File(path));
                parser.parse();
                try (PreflightDocument document = parser.getPreflightDocument()) {
                    document.validate();
                    found = document.getResult().getErrorsList();
                }
            } catch (SyntaxValidationException problem) {
                found = problem.getResult().getErrorsList();
            }
            System.out.println("FILE\t" + path);
            for (ValidationError one : found) {
                String details = String.valueOf(one.getDetails()).replaceAll("\\s+", " ");
                System.out.println("BAD\t" + one.getErrorCode() + " " + details);
            }
        }
    }
}
