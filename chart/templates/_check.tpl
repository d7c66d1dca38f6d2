{{- /* Values that do not go together stop the release, and say which value would mend it. values.schema.json judges each by itself. */ -}}

{{- /* Whether payloads lie where every instance reads them. */ -}}
{{- define "batchseal.shared" -}}
{{- if and .Values.payloadStore (ne .Values.payloadStore "local") }}true{{ end }}
{{- end }}

{{- define "batchseal.check" -}}
{{- $shared := include "batchseal.shared" . }}
{{- if and (gt (int .Values.replicas) 1) (not $shared) }}
{{- fail "replicas: several instances need a payloadStore that all of them read (s3://... or shared:/payloads)" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (not $shared) }}
{{- fail "autoscaling: several instances need a payloadStore that all of them read (s3://... or shared:/payloads)" }}
{{- end }}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) }}
{{- fail "autoscaling: minReplicas is larger than maxReplicas" }}
{{- end }}
{{- if and $shared (not (include "batchseal.database" .)) }}
{{- fail "databaseSecret: with payloadStore the instances need a database outside of them" }}
{{- end }}
{{- if and (hasPrefix "shared:" .Values.payloadStore) (not .Values.sharedVolumeClaim) }}
{{- fail "sharedVolumeClaim: payloadStore=shared:/payloads needs a claim (ReadWriteMany), which is mounted at /payloads" }}
{{- end }}
{{- include "batchseal.checkSecrets" . }}
{{- include "batchseal.checkPorts" . }}
{{- end }}

{{- define "batchseal.checkSecrets" -}}
{{- $secrets := .Values.secrets }}
{{- range $made, $given := dict
  "clientServices" (dict "clientServicesSecret" .Values.clientServicesSecret)
  "databaseUrl" (dict "databaseSecret" .Values.databaseSecret)
  "databaseOwnerUrl" (dict "databaseOwnerSecret" .Values.databaseOwnerSecret)
  "proxyPassword" (dict "proxy.passwordSecret" .Values.proxy.passwordSecret)
  "payloadKeys" (dict "payloadKeysSecret" .Values.payloadKeysSecret)
  "tokenKeys" (dict "tokenKeysSecret" .Values.tokenKeysSecret)
  "store" (dict "storeSecret" .Values.storeSecret)
  "caBundle" (dict "caBundle.configMap" .Values.caBundle.configMap "caBundle.secret" .Values.caBundle.secret)
  "clientCertificate" (dict "clientCertificateSecret" .Values.clientCertificateSecret)
  "oidcSecret" (dict "operator.oidc.secret" .Values.operator.oidc.secret)
}}
{{- range $name, $value := $given }}
{{- if and $value (get $secrets $made) }}
{{- fail (printf "secrets.%s: %s names a Secret that exists; give one of the two" $made $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $source := dict "caBundle" .Values.caBundle "timestamps.roots" .Values.timestamps.roots "signerRoots" .Values.signerRoots }}
{{- if and $source.configMap $source.secret }}
{{- fail (printf "%s: give a configMap or a secret, not both" $name) }}
{{- end }}
{{- end }}
{{- if and (include "batchseal.proxyPassword" .) (not .Values.proxy.hostname) }}
{{- fail "proxy.hostname: there is a password for a proxy, and no proxy" }}
{{- end }}
{{- end }}

{{- define "batchseal.checkPorts" -}}
{{- $operator := .Values.operator }}
{{- if and .Values.proxy.hostname (not .Values.proxy.port) }}
{{- fail "proxy.port: the proxy needs a port" }}
{{- end }}
{{- if or (eq (int $operator.port) 8080) (eq (int .Values.managementPort) 8080) }}
{{- fail "operator.port, managementPort: 8080 is the port of the API" }}
{{- end }}
{{- if and $operator.port (eq (int $operator.port) (int .Values.managementPort)) }}
{{- fail "operator.port, managementPort: the two need different ports" }}
{{- end }}
{{- if and $operator.ingress.enabled (not $operator.port) }}
{{- fail "operator.ingress: the operator's page is off; give operator.port" }}
{{- end }}
{{- if and $operator.ingress.enabled (not (or .Values.trustedProxies .Values.tls.secret)) }}
{{- fail "trustedProxies: nobody can sign in to the operator's page before the service knows by whom TLS is ended; give the addresses of the ingress controller" }}
{{- end }}
{{- if and $operator.ingress.enabled (not $operator.ingress.host) }}
{{- fail "operator.ingress.host: without a host the operator's page would be shown under every name that leads to the ingress controller" }}
{{- end }}
{{- if and $operator.oidc.issuer (not (and $operator.oidc.client $operator.url $operator.roles)) }}
{{- fail "operator.oidc: an issuer needs operator.oidc.client, operator.url and operator.roles" }}
{{- end }}
{{- if and .Values.tls.clientCaSecret (not .Values.tls.secret) }}
{{- fail "tls.secret: callers can prove themselves by certificates only where the service listens with TLS" }}
{{- end }}
{{- if and .Values.tls.clientCaSecret (not .Values.managementPort) }}
{{- fail "managementPort: the probes of Kubernetes have no certificate for tls.clientCaSecret, and ask this port instead" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.managementPort) }}
{{- fail "managementPort: serviceMonitor reads metrics from this port" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.managementFrom) }}
{{- fail "networkPolicy.managementFrom: the policy keeps Prometheus from the metrics; name it here" }}
{{- end }}
{{- if and $operator.port .Values.networkPolicy.enabled (not .Values.networkPolicy.operatorFrom) }}
{{- fail "networkPolicy.operatorFrom: the policy keeps everybody from the operator's page; name who may reach it" }}
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
{{- fail "httpRoute.parentRefs: a route needs a gateway" }}
{{- end }}
{{- if and .Values.volume.existingClaim .Values.volume.retention }}
{{- fail "volume.retention: the StatefulSet does not delete a claim that it has not made (volume.existingClaim)" }}
{{- end }}
{{- end }}
