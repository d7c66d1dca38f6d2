<?php
// Signs a batch of PDF files, with nothing but PHP 8.1 or newer and its curl extension: php example.php REFERENCE FILE...
//
// The environment says where and as whom: BATCHSEAL_URL, BATCHSEAL_CLIENT_ID, BATCHSEAL_SECRET. Signed files are written to the
// folder `signed`. Exit code: 0 if every file was signed.

declare(strict_types=1);

define('API', getenv('BATCHSEAL_URL') . '/signstash/einvoice-integration-client-ws/api/v0');
define('TOKEN_URL', getenv('BATCHSEAL_URL') . '/oauth2/authorization-server/oauth/token');
// How often a batch that has failed is handed in again.
const RESUBMISSIONS = 2;

/** The service refused a call. `errorCode` is that of its reply. */
final class Refused extends RuntimeException
{
    public function __construct(int $status, public readonly string $errorCode, string $cause)
    {
        parent::__construct("$status $errorCode: $cause", $status);
    }
}

final class Client
{
    private string $token = '';

    /** One call. Waits and repeats it while the service has no room (429, 503), and renews the token once (401). */
    private function call(string $url, array $headers = [], ?string $body = null, ?string $own = null): string
    {
        for ($attempt = 0; $attempt < 10; $attempt++) {
            $retryAfter = 2 ** $attempt;
            $handle = curl_init($url);
            curl_setopt_array($handle, [
                CURLOPT_RETURNTRANSFER => true,
                CURLOPT_TIMEOUT => 120,
                CURLOPT_HTTPHEADER => [...$headers, 'Authorization: ' . ($own ?? "Bearer $this->token")],
                CURLOPT_HEADERFUNCTION => function ($handle, string $line) use (&$retryAfter): int {
                    if (preg_match('/^Retry-After: *(\d+)/i', $line, $match)) {
                        $retryAfter = (int) $match[1];
                    }
                    return strlen($line);
                },
            ]);
            if ($body !== null) {
                curl_setopt_array($handle, [CURLOPT_POST => true, CURLOPT_POSTFIELDS => $body]);
            }
            $reply = curl_exec($handle);
            $status = curl_getinfo($handle, CURLINFO_RESPONSE_CODE);
            if ($reply === false) {
                throw new RuntimeException(curl_error($handle));
            }
            if ($status < 300) {
                return $reply;
            }
            if ($status === 429 || $status === 503) {
                sleep($retryAfter);
            } elseif ($status === 401 && $own === null && $attempt === 0) {
                $this->logIn();
            } else {
                $problem = json_decode($reply, true) ?? [];
                throw new Refused($status, $problem['errorCode'] ?? '', $problem['causeMessage'] ?? '');
            }
        }
        throw new RuntimeException('the service had no room for a long time');
    }

    /** 1 token: it lives for an hour, and is good for any number of calls. */
    public function logIn(): void
    {
        $basic = 'Basic ' . base64_encode(getenv('BATCHSEAL_CLIENT_ID') . ':' . getenv('BATCHSEAL_SECRET'));
        $reply = $this->call(TOKEN_URL, [], 'grant_type=client_credentials', $basic);
        $this->token = json_decode($reply, true, flags: JSON_THROW_ON_ERROR)['access_token'];
    }

    /** 2 register: the service answers once the batch is stored. The reference is unique, so a repeated call signs nothing twice. */
    public function register(string $reference, array $files): void
    {
        $documents = array_map(fn (string $file): array => [
            'documentRequest' => [
                'externalReference' => pathinfo($file, PATHINFO_FILENAME),
                'name' => basename($file),
                'contentType' => 'application/pdf',
                'base64Content' => base64_encode(file_get_contents($file)),
            ],
            'signatureInfo' => ['signatureType' => 'PAdES', 'reason' => 'Invoice issued'],
        ], $files);
        $request = ['externalReference' => $reference, 'description' => 'An example in PHP', 'documents' => $documents];
        try {
            $body = json_encode($request, JSON_THROW_ON_ERROR);
            $this->call(API . '/async/document/sign/base64/', ['Content-Type: application/json'], $body);
        } catch (Refused $refusal) {
            if ($refusal->errorCode !== '0.0.7') { // the reference is taken: an earlier call got through, whose reply was lost
                throw $refusal;
            }
        }
    }

    /** 3 poll: the service holds each reply back for up to 30 s, or until the batch has ended. */
    public function ended(string $reference): array
    {
        while (true) {
            $path = API . '/async/operation/status/withExternalReference/' . rawurlencode($reference);
            [$operation] = json_decode($this->call($path, ['Prefer: wait=30']), true, flags: JSON_THROW_ON_ERROR); // the newest
            if (in_array($operation['status'], ['EXECUTED', 'EXECUTION_FAILED'], true)) {
                return $operation;
            }
        }
    }

    /** 4 fetch: each signed document as it is. Returns why documents were not signed. */
    public function fetch(int $id, string $folder): array
    {
        $detail = API . "/operation/sign/detail/$id";
        $result = json_decode($this->call("$detail/contentInResponse/false"), true, flags: JSON_THROW_ON_ERROR);
        is_dir($folder) || mkdir($folder);
        $failed = [];
        foreach ($result['documentList'] as $ordinal => $document) {
            if ($document['signStatus'] === 'SIGNED') {
                $content = $this->call("$detail/documents/$ordinal", ['Accept: */*']);
                file_put_contents("$folder/" . basename($document['name']), $content);
            } else {
                $failed[] = "{$document['name']}: {$document['signError']} " . ($document['causeMessage'] ?? '');
            }
        }
        return $failed;
    }
}

[, $reference] = $argv;
$files = array_slice($argv, 2);
$client = new Client();
$client->logIn();
$client->register($reference, $files);
$operation = $client->ended($reference);
for ($again = 0; $again < RESUBMISSIONS && $operation['status'] !== 'EXECUTED'; $again++) {
    // 5 resubmit: the same request once more. What is signed already is not signed again.
    echo "{$operation['documentsFailed']} of {$operation['documentsTotal']} documents failed; handing them in again\n";
    $client->register($reference, $files);
    $operation = $client->ended($reference);
}
$failed = $client->fetch($operation['id'], 'signed');
echo $operation['documentsTotal'] - count($failed), " of {$operation['documentsTotal']} documents are signed\n";
foreach ($failed as $text) {
    fwrite(STDERR, "$text\n");
}
exit($failed ? 1 : 0);
