{{- /* The command line of the service, as a list in YAML. */ -}}

{{- define "batchseal.arguments" -}}
- --temp-folder=/tmp/batchseal
- --drain-seconds={{ .Values.drainSeconds }}
{{- with .Values.advertisedAddress }}
- {{ printf "--server.host.port=%s" . | quote }}
{{- end }}
{{- with .Values.serviceDomain }}
- {{ printf "--einvoice-integration-client.service.domain=%s" . | quote }}
{{- end }}
{{- if .Values.sandbox }}
- --sandbox=true
{{- end }}
{{- with .Values.trustedProxies }}
- {{ printf "--trusted-proxies=%s" . | quote }}
{{- end }}
{{- with .Values.payloadStore }}
- {{ printf "--payload-store=%s" . | quote }}
{{- end }}
{{- range $volume, $file := include "batchseal.files" . | fromYaml }}
{{- range $flag, $key := $file.flags }}
- {{ printf "%s=/run/secrets/batchseal/%s/%s" $flag $volume $key | quote }}
{{- end }}
{{- end }}
{{- with .Values.databasePooler }}
- --database-pooler={{ . }}
{{- end }}
{{- with .Values.proxy }}
{{- if .hostname }}
- {{ printf "--proxy-hostname=%s" .hostname | quote }}
- --proxy-port={{ .port | int }}
{{- end }}
{{- with .user }}
- {{ printf "--proxy-user=%s" . | quote }}
{{- end }}
{{- with .noProxy }}
- {{ printf "--no-proxy=%s" . | quote }}
{{- end }}
{{- end }}
{{- with .Values.timestamps.urls }}
- {{ printf "--timestamp-urls=%s" . | quote }}
{{- end }}
{{- with .Values.webhooks.hosts }}
- {{ printf "--webhook-hosts=%s" (join " " .) | quote }}
{{- end }}
{{- if .Values.webhooks.allowHttp }}
- --webhook-allow-http=true
{{- end }}
{{- with .Values.managementPort }}
- --management-port={{ . | int }}
- --management-host=0.0.0.0
{{- end }}
{{- include "batchseal.operatorArguments" . }}
{{- if or .Values.hotFoldersClaim .Values.hotFolderVolumes }}
- --hot-folder-enabled=true
{{- range $name, $value := .Values.hotFolderSettings }}
- {{ printf "--hot-folder-%s=%s" $name (ternary $value (toJson $value) (kindIs "string" $value)) | quote }}
{{- end }}
{{- end }}
{{- range .Values.arguments }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{- define "batchseal.operatorArguments" -}}
{{- with .Values.operator }}
{{- if .port }}
- --operator-port={{ .port | int }}
- --operator-host=0.0.0.0
{{- with .url }}
- {{ printf "--operator-url=%s" . | quote }}
{{- end }}
{{- with .roles }}
- {{ printf "--operator-roles=%s" . | quote }}
{{- end }}
{{- if .oidc.issuer }}
- {{ printf "--operator-oidc-issuer=%s" .oidc.issuer | quote }}
- {{ printf "--operator-oidc-client=%s" .oidc.client | quote }}
- {{ printf "--operator-oidc-groups=%s" .oidc.groups | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
