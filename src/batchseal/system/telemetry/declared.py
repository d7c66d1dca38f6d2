"""Every metric of the service: its name, its type, its labels, and what it means. `DECLARED` is the only list of them.

The names follow the conventions of Prometheus: they begin with `batchseal_`, say their base unit (seconds, bytes), and counters
end in `_total`. No label holds an operation, a document or a reference. A label that names a client service, a credential or an
address is `inner`: it is shown at the management listener, and at the API's port only to those who see the parts of
`/health/ready`.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `most` bounds how many values each of its labels may have; later ones are counted as "other"."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    most: int = 100
    by_workers: bool = False  # the workers count it, with prometheus_client; all others come from the signer

    @property
    def is_inner(self) -> bool:
        """Whether a label names something that strangers must not learn."""
        return not INNER.isdisjoint(self.labels)


INNER = frozenset(("client_service", "credential", "authority", "instance", "address"))
# Of requests, of calls to the signing service, and of whole operations, which may wait for hours.
REQUEST_SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 30, 100, 300)
CALL_SECONDS = (0.05, 0.2, 0.5, 1, 2, 5, 15, 60)
OPERATION_SECONDS = (0.05, 0.2, 1, 5, 30, 120, 600, 3600)
STORE_SECONDS = (0.001, 0.01, 0.1, 1, 10)
# A histogram has a dozen samples for each combination of its labels.
MOST_OF_A_HISTOGRAM = 20


def _counter(name: str, text: str, *labels: str, by_workers: bool = False) -> Metric:
    return Metric(name, Kind.COUNTER, text, labels, by_workers=by_workers)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, text, labels)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str, by_workers: bool = False) -> Metric:
    return Metric(name, Kind.HISTOGRAM, text, labels, buckets, MOST_OF_A_HISTOGRAM, by_workers)


DECLARED = {
    metric.name: metric
    for metric in (
        # The service itself.
        _gauge("batchseal_build_info", "Always 1; its labels say what runs.", "version", "kernel"),
        _gauge("batchseal_instance_info", "Always 1; its labels say which instance answers.", "instance", "address"),
        _gauge("batchseal_instances", "Instances that use the database and are alive, this one included."),
        # Requests, counted by the workers.
        _counter("batchseal_requests_total", "Requests by route and HTTP status.", "route", "status", by_workers=True),
        _counter("batchseal_request_body_bytes_total", "Bytes of request bodies read.", by_workers=True),
        _histogram(
            "batchseal_request_seconds",
            "Seconds from the headers to the end of the reply, by route.",
            REQUEST_SECONDS,
            "route",
            by_workers=True,
        ),
        _counter(
            "batchseal_documents_received_total",
            "Documents of accepted requests, by client service and media type.",
            *("client_service", "content_type"),
            by_workers=True,
        ),
        # Operations, counted by the signer.
        _counter(
            "batchseal_documents_signed_total", "Documents that were signed, by client service.", "client_service"
        ),
        _counter("batchseal_documents_failed_total", "Documents that failed, by client service.", "client_service"),
        _counter("batchseal_operations_finished_total", "Operations that ended.", "mode", "status"),
        _histogram(
            "batchseal_operation_seconds",
            "Seconds from the registration of an operation to its end.",
            OPERATION_SECONDS,
            "mode",
        ),
        _gauge("batchseal_queue_documents", "Documents of this instance that wait to be signed."),
        _gauge("batchseal_queue_oldest_seconds", "Age of the oldest operation of this instance that is not finished."),
        _gauge("batchseal_operations_held", "Operations that wait for `batchseal operations resume` after a restore."),
        _gauge("batchseal_leases_held", "Operations that this instance works on."),
        _counter("batchseal_leases_lost_total", "Operations that were given up because the lease had gone."),
        _counter("batchseal_takeovers_total", "Operations that were claimed here and taken in by another instance."),
        # The signing service.
        _gauge("batchseal_upstream_up", "1 if the signing service answers and gives a usable credential, else 0."),
        _gauge("batchseal_upstream_breaker_open", "1 while no call is made because several in a row failed, else 0."),
        _counter("batchseal_upstream_breaker_opened_total", "How often calls were stopped after several had failed."),
        _counter("batchseal_upstream_sign_calls_total", "Sign calls to the signing service."),
        _counter("batchseal_upstream_sign_calls_failed_total", "Sign calls that failed as a whole."),
        _histogram(
            "batchseal_upstream_call_seconds",
            "Seconds of a sign call with its grant, by credential and by how it ended.",
            CALL_SECONDS,
            *("credential", "outcome"),
        ),
        _counter("batchseal_upstream_digests_total", "Digests sent in sign calls, by credential.", "credential"),
        _gauge("batchseal_upstream_digests_waiting", "Digests that wait for a sign call."),
        _gauge(
            "batchseal_upstream_quota_gone", "1 if the signing service lately said that a quota is used up, else 0."
        ),
        _histogram("batchseal_grant_seconds", "Seconds until a grant was given.", CALL_SECONDS, "credential"),
        _gauge("batchseal_grants_lapsed", "Grants of credentials that need a person, which have ended."),
        _gauge("batchseal_grant_left_seconds", "Seconds until the first of these grants ends."),
        _gauge("batchseal_grant_left_signatures", "Signatures that are left of the grant that has fewest."),
        _gauge("batchseal_grant_left_ratio", "The part of its signatures that such a grant has left, from 0 to 1."),
        _gauge("batchseal_certificate_days_left", "Days until the first certificate in use ends."),
        _gauge(
            "batchseal_certificate_expiry_timestamp_seconds",
            "When the first certificate of a credential's chain ends, in Unix time.",
            "credential",
        ),
        _gauge("batchseal_certificates_revoked", "Certificates that are found to be revoked."),
        _counter("batchseal_revocation_requests_total", "Requests about the revocation of certificates."),
        _counter("batchseal_revocation_requests_failed_total", "Such requests that failed."),
        # Time stamps.
        _counter("batchseal_timestamps_total", "Time stamps asked for, by authority.", "authority", "outcome"),
        _gauge("batchseal_timestamp_budget_remaining", "Requests that are left of the budget.", "authority"),
        _counter("batchseal_evidence_records_made_total", "Evidence records that were made."),
        _counter("batchseal_evidence_records_given_up_total", "Evidence records for which no time stamp came."),
        _gauge("batchseal_evidence_records_late", "Evidence records that wait for a time stamp longer than usual."),
        # What client services are told, and files that appear in folders.
        _counter("batchseal_webhooks_delivered_total", "Events that client services were told of."),
        _counter("batchseal_webhooks_failed_tries_total", "Tries to tell a client service of an event that failed."),
        _counter("batchseal_webhooks_given_up_total", "Events that were given up after all tries."),
        _counter("batchseal_webhooks_seconds_total", "Seconds that these calls took in all."),
        _gauge("batchseal_webhooks_waiting", "Events that wait to be told."),
        _gauge("batchseal_webhooks_oldest_seconds", "Age of the oldest event that waits."),
        _gauge("batchseal_webhooks_off", "Client services whose webhook is switched off, since it answered 410."),
        _counter("batchseal_hotfolder_files_signed_total", "Files of hot folders that were signed."),
        _counter("batchseal_hotfolder_files_failed_total", "Files of hot folders that failed."),
        _gauge("batchseal_hotfolder_files_waiting", "Files in hot folders that are ready and wait to be signed."),
        _gauge(
            "batchseal_hotfolder_oldest_seconds",
            "Seconds since the oldest file that waits in a hot folder, ready or not, was seen first.",
        ),
        _gauge("batchseal_hotfolder_batches", "Operations of hot folders that are under way."),
        _gauge("batchseal_hotfolder_folders", "Hot folders that are watched."),
        _gauge("batchseal_hotfolder_folders_stalled", "Hot folders that cannot be read or written just now."),
        # Space, memory and the payload store.
        _gauge("batchseal_payload_bytes", "Bytes of payloads: stored, and reserved by uploads under way.", "state"),
        _gauge("batchseal_budget_bytes", "What requests may use in all.", "kind"),
        _gauge("batchseal_budget_used_bytes", "What they use now.", "kind"),
        _histogram(
            "batchseal_store_request_seconds",
            "Seconds of the signer's requests to the payload store.",
            STORE_SECONDS,
            "operation",
        ),
        _counter("batchseal_store_errors_total", "Such requests that failed.", "operation"),
        # The audit trail.
        _gauge("batchseal_audit_unchained_entries", "Entries of this instance that are not in the chain yet."),
        _gauge(
            "batchseal_audit_time_stamp_timestamp_seconds",
            "When the head of the audit chain was last time-stamped, in Unix time; 0: never.",
        ),
        _gauge(
            "batchseal_audit_last_verified_timestamp_seconds",
            "When the audit chain was last verified and found intact, in Unix time; 0: never.",
        ),
        _gauge(
            "batchseal_audit_unverified_entries",
            "Entries of the audit chain behind the one up to which it was last found intact.",
        ),
        _gauge(
            "batchseal_audit_broken",
            "1 from when the audit chain was found broken until it is found intact or that was acknowledged.",
        ),
    )
}
