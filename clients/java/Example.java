import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Signs a batch of PDF files, with nothing but Java 17 or newer: {@code java Example.java REFERENCE FILE...}
 *
 * <p>The environment says where and as whom: BATCHSEAL_URL, BATCHSEAL_CLIENT_ID, BATCHSEAL_SECRET. Signed files are written to the
 * folder {@code signed}. Exit code: 0 if every file was signed. The few fields that are needed are read by patterns, so that no JSON
 * library is; where you have one, use it.
 */
public final class Example {
    private static final String URL = System.getenv("BATCHSEAL_URL");
    private static final String API = URL + "/signstash/einvoice-integration-client-ws/api/v0";
    private static final String TOKEN_URL = URL + "/oauth2/authorization-server/oauth/token";
    /** How often a batch that has failed is handed in again. */
    private static final int RESUBMISSIONS = 2;

    private final HttpClient client = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();
    private String token = "";

    /** The service refused a call. {@code code} is the {@code errorCode} of its reply. */
    private static final class Refused extends IOException {
        final String code;

        Refused(int status, String body) {
            super(status + " " + field(body, "errorCode") + ": " + field(body, "causeMessage"));
            code = field(body, "errorCode");
        }
    }

    private record Operation(long id, String status, int total, int failed) {}

    public static void main(String[] arguments) throws Exception {
        List<Path> files = Arrays.stream(arguments).skip(1).map(Path::of).toList();
        System.exit(new Example().run(arguments[0], files));
    }

    private int run(String reference, List<Path> files) throws IOException, InterruptedException {
        logIn();
        register(reference, files);
        Operation operation = ended(reference);
        for (int again = 0; again < RESUBMISSIONS && !operation.status().equals("EXECUTED"); again++) {
            // 5 resubmit: the same request once more. What is signed already is not signed again.
            System.out.println(operation.failed() + " of " + operation.total() + " documents failed; handing them in again");
            register(reference, files);
            operation = ended(reference);
        }
        List<String> failed = fetch(operation.id(), Path.of("signed"));
        System.out.println((operation.total() - failed.size()) + " of " + operation.total() + " documents are signed");
        failed.forEach(System.err::println);
        return failed.isEmpty() ? 0 : 1;
    }

    /** 1 token: it lives for an hour, and is good for any number of calls. */
    private void logIn() throws IOException, InterruptedException {
        String pair = System.getenv("BATCHSEAL_CLIENT_ID") + ":" + System.getenv("BATCHSEAL_SECRET");
        String basic = "Basic " + Base64.getEncoder().encodeToString(pair.getBytes(StandardCharsets.UTF_8));
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(TOKEN_URL))
                .header("Content-Type", "application/x-www-form-urlencoded")
                .POST(HttpRequest.BodyPublishers.ofString("grant_type=client_credentials"));
        token = field(text(call(request, basic)), "access_token");
    }

    /** 2 register: the service answers once the batch is stored. The reference is unique, so a repeated call signs nothing twice. */
    private void register(String reference, List<Path> files) throws IOException, InterruptedException {
        List<String> documents = new ArrayList<>();
        for (Path file : files) {
            String name = file.getFileName().toString();
            documents.add("""
                    {"documentRequest": {"externalReference": %s, "name": %s, "contentType": "application/pdf",
                     "base64Content": "%s"}, "signatureInfo": {"signatureType": "PAdES", "reason": "Invoice issued"}}"""
                    .formatted(quoted(name.replaceFirst("\\.[^.]*$", "")), quoted(name),
                            Base64.getEncoder().encodeToString(Files.readAllBytes(file))));
        }
        String body = "{\"externalReference\": %s, \"description\": \"An example in Java\", \"documents\": [%s]}"
                .formatted(quoted(reference), String.join(",", documents));
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(API + "/async/document/sign/base64/"))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body));
        try {
            call(request, null);
        } catch (Refused refusal) {
            if (!refusal.code.equals("0.0.7")) { // the reference is taken: an earlier call got through, whose reply was lost
                throw refusal;
            }
        }
    }

    /** 3 poll: the service holds each reply back for up to 30 s, or until the batch has ended. */
    private Operation ended(String reference) throws IOException, InterruptedException {
        String encoded = URLEncoder.encode(reference, StandardCharsets.UTF_8).replace("+", "%20");
        URI address = URI.create(API + "/async/operation/status/withExternalReference/" + encoded);
        while (true) {
            String entry = text(call(HttpRequest.newBuilder(address).header("Prefer", "wait=30"), null));
            String status = field(entry, "status"); // of the first entry, which is the newest
            if (status.equals("EXECUTED") || status.equals("EXECUTION_FAILED")) {
                int total = Integer.parseInt(field(entry, "documentsTotal"));
                return new Operation(Long.parseLong(field(entry, "id")), status, total, Integer.parseInt(field(entry, "documentsFailed")));
            }
        }
    }

    /** 4 fetch: each signed document as it is. Returns why documents were not signed. */
    private List<String> fetch(long id, Path folder) throws IOException, InterruptedException {
        String detail = API + "/operation/sign/detail/" + id;
        String result = text(call(HttpRequest.newBuilder(URI.create(detail + "/contentInResponse/false")), null));
        String list = result.substring(result.indexOf("\"documentList\""));
        Files.createDirectories(folder);
        List<String> failed = new ArrayList<>();
        Matcher entries = Pattern.compile("\\{[^{}]*\"signStatus\"[^{}]*").matcher(list);
        for (int ordinal = 0; entries.find(); ordinal++) {
            String entry = entries.group();
            if (field(entry, "signStatus").equals("SIGNED")) {
                URI address = URI.create(detail + "/documents/" + ordinal);
                Path name = Path.of(field(entry, "name")).getFileName();
                Files.write(folder.resolve(name), call(HttpRequest.newBuilder(address), null));
            } else {
                failed.add(field(entry, "name") + ": " + field(entry, "signError") + " " + field(entry, "causeMessage"));
            }
        }
        return failed;
    }

    /** One call. Waits and repeats it while the service has no room (429, 503), and renews the token once (401). */
    private byte[] call(HttpRequest.Builder request, String own) throws IOException, InterruptedException {
        for (int attempt = 0; attempt < 10; attempt++) {
            request.timeout(Duration.ofSeconds(120)).setHeader("Authorization", own != null ? own : "Bearer " + token);
            HttpResponse<byte[]> reply = client.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
            int status = reply.statusCode();
            if (status < 300) {
                return reply.body();
            }
            if (status == 429 || status == 503) {
                String asked = reply.headers().firstValue("Retry-After").orElse(String.valueOf(1 << attempt));
                Thread.sleep(1000 * Long.parseLong(asked));
            } else if (status == 401 && own == null && attempt == 0) {
                logIn();
            } else {
                throw new Refused(status, text(reply.body()));
            }
        }
        throw new IOException("the service had no room for a long time");
    }

    private static String text(byte[] body) {
        return new String(body, StandardCharsets.UTF_8);
    }

    /** The value of the first field of this name: a text or a number. */
    private static String field(String json, String name) {
        Matcher found = Pattern.compile("\"" + name + "\"\\s*:\\s*(?:\"((?:[^\"\\\\]|\\\\.)*)\"|(-?\\d+))").matcher(json);
        if (!found.find()) {
            return "";
        }
        return found.group(1) != null ? found.group(1).replaceAll("\\\\(.)", "$1") : found.group(2);
    }

    private static String quoted(String text) {
        return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
    }
}
