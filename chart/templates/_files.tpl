{{- /* Files that the pod gets from Secrets and ConfigMaps, which Kubernetes renews in place. */ -}}

{{- /* The name of a Secret that exists (`given`), or else of the one that the chart makes of `made`; empty if there is neither. */ -}}
{{- define "batchseal.secret" -}}
{{- if .given }}
{{- .given }}
{{- else if .made }}
{{- include "batchseal.fullname" .root }}-{{ .suffix }}
{{- end }}
{{- end }}

{{- define "batchseal.clientServices" -}}
{{- with .Values }}
{{- include "batchseal.secret" (dict "root" $ "given" .clientServicesSecret "made" .secrets.clientServices "suffix" "client-services") }}
{{- end }}
{{- end }}

{{- define "batchseal.database" -}}
{{- include "batchseal.secret" (dict "root" . "given" .Values.databaseSecret "made" .Values.secrets.databaseUrl "suffix" "database") }}
{{- end }}

{{- define "batchseal.proxyPassword" -}}
{{- include "batchseal.secret" (dict "root" . "given" .Values.proxy.passwordSecret "made" .Values.secrets.proxyPassword "suffix" "proxy") }}
{{- end }}

{{- define "batchseal.store" -}}
{{- include "batchseal.secret" (dict "root" . "given" .Values.storeSecret "made" .Values.secrets.store "suffix" "store") }}
{{- end }}

{{- /* Certificates from `source` (configMap or secret, and key), as an entry of batchseal.files. */ -}}
{{- define "batchseal.certificates" -}}
{{- $source := .source }}
{{- if or $source.configMap $source.secret }}
{{ .volume }}:
  {{- if $source.configMap }}
  configMap: {{ $source.configMap }}
  {{- else }}
  secret: {{ $source.secret }}
  {{- end }}
  flags: {--{{ .flag }}: {{ $source.key | quote }}}
{{- end }}
{{- end }}

{{- /* Each volume by its name: its Secret or ConfigMap, and the key of it that each flag of the service names. */ -}}
{{- define "batchseal.files" -}}
{{- $secrets := .Values.secrets }}
{{- with include "batchseal.database" . }}
database: {secret: {{ . }}, flags: {--database-url-file: url}}
{{- end }}
{{- with include "batchseal.secret" (dict "root" . "given" .Values.databaseOwnerSecret "made" $secrets.databaseOwnerUrl "suffix" "database-owner") }}
database-owner: {secret: {{ . }}, flags: {--database-owner-url-file: url}}
{{- end }}
{{- with include "batchseal.secret" (dict "root" . "given" .Values.payloadKeysSecret "made" $secrets.payloadKeys "suffix" "payload-keys") }}
payload: {secret: {{ . }}, flags: {--payload-key-file: payload.keys}}
{{- end }}
{{- with include "batchseal.secret" (dict "root" . "given" .Values.tokenKeysSecret "made" $secrets.tokenKeys "suffix" "token-keys") }}
token: {secret: {{ . }}, flags: {--token-key-file: token.keys}}
{{- end }}
{{- with include "batchseal.secret" (dict "root" . "given" .Values.clientCertificateSecret "made" $secrets.clientCertificate "suffix" "client-certificate") }}
client-certificate: {secret: {{ . }}, flags: {--client-certificate: client.pem}}
{{- end }}
{{- with .Values.tls.secret }}
tls: {secret: {{ . }}, flags: {--tls-certificate: tls.crt, --tls-key: tls.key}}
{{- end }}
{{- with .Values.tls.clientCaSecret }}
tls-client-ca: {secret: {{ . }}, flags: {--tls-client-ca: ca.crt}}
{{- end }}
{{- if .Values.operator.port }}
{{- with include "batchseal.secret" (dict "root" . "given" .Values.operator.oidc.secret "made" $secrets.oidcSecret "suffix" "oidc") }}
oidc: {secret: {{ . }}, flags: {--operator-oidc-secret-file: client-secret}}
{{- end }}
{{- end }}
{{- $bundle := .Values.caBundle }}
{{- if $secrets.caBundle }}
{{- $bundle = dict "secret" (printf "%s-ca-bundle" (include "batchseal.fullname" .)) "key" "ca.crt" }}
{{- end }}
{{- include "batchseal.certificates" (dict "volume" "ca-bundle" "flag" "ca-bundle" "source" $bundle) }}
{{- include "batchseal.certificates" (dict "volume" "timestamp-roots" "flag" "timestamp-roots" "source" .Values.timestamps.roots) }}
{{- include "batchseal.certificates" (dict "volume" "signer-roots" "flag" "signer-roots" "source" .Values.signerRoots) }}
{{- end }}
