// Signs a batch of PDF files, with nothing but .NET 8 or newer: dotnet run REFERENCE FILE...
//
// The environment says where and as whom: BATCHSEAL_URL, BATCHSEAL_CLIENT_ID, BATCHSEAL_SECRET. Signed files are written to the
// folder "signed". Exit code: 0 if every file was signed.
//
// This example was not run by those who wrote it: see README.md beside it.

using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json.Nodes;

var url = Environment.GetEnvironmentVariable("BATCHSEAL_URL");
var client = new Client(url + "/signstash/einvoice-integration-client-ws/api/v0", url + "/oauth2/authorization-server/oauth/token");
return await client.Run(args[0], args[1..]);

/// <summary>The service refused a call. <c>Code</c> is the <c>errorCode</c> of its reply.</summary>
sealed class Refused(HttpStatusCode status, JsonNode? problem)
    : Exception($"{(int)status} {problem?["errorCode"]}: {problem?["causeMessage"]}")
{
    public string? Code { get; } = problem?["errorCode"]?.ToString();
}

sealed class Client(string api, string tokenUrl)
{
    /// <summary>How often a batch that has failed is handed in again.</summary>
    const int Resubmissions = 2;

    readonly HttpClient http = new() { Timeout = TimeSpan.FromSeconds(120) };
    string token = "";

    public async Task<int> Run(string reference, string[] files)
    {
        await LogIn();
        await Register(reference, files);
        var operation = await Ended(reference);
        for (var again = 0; again < Resubmissions && operation["status"]!.ToString() != "EXECUTED"; again++)
        {
            // 5 resubmit: the same request once more. What is signed already is not signed again.
            Console.WriteLine($"{operation["documentsFailed"]} of {operation["documentsTotal"]} documents failed; handing them in again");
            await Register(reference, files);
            operation = await Ended(reference);
        }
        var failed = await Fetch(operation["id"]!.GetValue<long>(), "signed");
        var total = operation["documentsTotal"]!.GetValue<int>();
        Console.WriteLine($"{total - failed.Count} of {total} documents are signed");
        failed.ForEach(Console.Error.WriteLine);
        return failed.Count == 0 ? 0 : 1;
    }

    /// <summary>1 token: it lives for an hour, and is good for any number of calls.</summary>
    async Task LogIn()
    {
        var pair = Environment.GetEnvironmentVariable("BATCHSEAL_CLIENT_ID") + ":" + Environment.GetEnvironmentVariable("BATCHSEAL_SECRET");
        var basic = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(pair)));
        using var reply = await Call(() => new(HttpMethod.Post, tokenUrl)
        {
            Content = new FormUrlEncodedContent([new("grant_type", "client_credentials")]),
        }, basic);
        token = (await reply.Content.ReadFromJsonAsync<JsonNode>())!["access_token"]!.ToString();
    }

    /// <summary>2 register: the service answers once the batch is stored. A repeated call signs nothing twice.</summary>
    async Task Register(string reference, string[] files)
    {
        var documents = files.Select(file => new
        {
            documentRequest = new
            {
                externalReference = Path.GetFileNameWithoutExtension(file),
                name = Path.GetFileName(file),
                contentType = "application/pdf",
                base64Content = Convert.ToBase64String(File.ReadAllBytes(file)),
            },
            signatureInfo = new { signatureType = "PAdES", reason = "Invoice issued" },
        });
        var body = new { externalReference = reference, description = "An example in C#", documents };
        try
        {
            using var reply = await Call(() => new(HttpMethod.Post, api + "/async/document/sign/base64/") { Content = JsonContent.Create(body) });
        }
        catch (Refused refusal) when (refusal.Code == "0.0.7")
        {
            // The reference is taken: an earlier call got through, whose reply was lost.
        }
    }

    /// <summary>3 poll: the service holds each reply back for up to 30 s, or until the batch has ended.</summary>
    async Task<JsonNode> Ended(string reference)
    {
        while (true)
        {
            using var reply = await Call(() =>
            {
                var request = new HttpRequestMessage(HttpMethod.Get, api + "/async/operation/status/withExternalReference/" + Uri.EscapeDataString(reference));
                request.Headers.Add("Prefer", "wait=30");
                return request;
            });
            var operation = (await reply.Content.ReadFromJsonAsync<JsonNode>())![0]!; // the newest comes first
            if (operation["status"]!.ToString() is "EXECUTED" or "EXECUTION_FAILED") return operation;
        }
    }

    /// <summary>4 fetch: each signed document as it is. Returns why documents were not signed.</summary>
    async Task<List<string>> Fetch(long id, string folder)
    {
        var detail = $"{api}/operation/sign/detail/{id}";
        using var reply = await Call(() => new(HttpMethod.Get, detail + "/contentInResponse/false"));
        var documents = (await reply.Content.ReadFromJsonAsync<JsonNode>())!["documentList"]!.AsArray();
        Directory.CreateDirectory(folder);
        var failed = new List<string>();
        for (var ordinal = 0; ordinal < documents.Count; ordinal++)
        {
            var document = documents[ordinal]!;
            if (document["signStatus"]!.ToString() == "SIGNED")
            {
                var number = ordinal;
                using var content = await Call(() => new(HttpMethod.Get, $"{detail}/documents/{number}"));
                var name = Path.GetFileName(document["name"]!.ToString());
                await File.WriteAllBytesAsync(Path.Combine(folder, name), await content.Content.ReadAsByteArrayAsync());
            }
            else
            {
                failed.Add($"{document["name"]}: {document["signError"]} {document["causeMessage"]}");
            }
        }
        return failed;
    }

    /// <summary>One call. Waits and repeats it while the service has no room (429, 503), and renews the token once (401).</summary>
    async Task<HttpResponseMessage> Call(Func<HttpRequestMessage> make, AuthenticationHeaderValue? own = null)
    {
        for (var attempt = 0; attempt < 10; attempt++)
        {
            using var request = make(); // a request can be sent once
            request.Headers.Authorization = own ?? new AuthenticationHeaderValue("Bearer", token);
            var reply = await http.SendAsync(request);
            if (reply.IsSuccessStatusCode) return reply;
            if (reply.StatusCode is HttpStatusCode.TooManyRequests or HttpStatusCode.ServiceUnavailable)
            {
                await Task.Delay(reply.Headers.RetryAfter?.Delta ?? TimeSpan.FromSeconds(1 << attempt));
            }
            else if (reply.StatusCode == HttpStatusCode.Unauthorized && own is null && attempt == 0)
            {
                await LogIn();
            }
            else
            {
                var said = await reply.Content.ReadAsStringAsync();
                throw new Refused(reply.StatusCode, said.StartsWith('{') ? JsonNode.Parse(said) : null);
            }
            reply.Dispose();
        }
        throw new HttpRequestException("the service had no room for a long time");
    }
}
